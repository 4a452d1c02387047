//! Packs matrices into the order in which the contraction kernels read them: panels of a few columns, depth-major.
//!
//! For every batch: the full panels, `[panel][depth][4·vectors]`, then one narrower panel with the remaining columns,
//! rounded up to whole vectors. Columns beyond the matrix are zero at export and arbitrary at run time: they never
//! reach a stored element.

use super::contract::nest::{Nest, positions};
use super::shuffle;
use crate::LowerError;
use crate::cx::{Cx, NodeCx};
use crate::extent::Extent;
use crate::view::{Linear, View};
use ir::{DType, Dim, Tensor};
use std::collections::BTreeMap;

/// Shape of a packed matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    pub columns: usize,
    pub depth: usize,
    /// Vectors of four columns in a full panel.
    pub vectors: usize,
    /// Elements between one batch and the next.
    pub gap: usize,
}

impl Panels {
    /// Number of full panels.
    pub fn full(&self) -> usize {
        self.columns / (4 * self.vectors)
    }
    /// Columns in the narrower last panel; 0 if there is none.
    pub fn tail(&self) -> usize {
        self.columns % (4 * self.vectors)
    }
    /// Elements per batch.
    pub fn elements(&self) -> usize {
        self.depth * (self.full() * 4 * self.vectors + self.tail().next_multiple_of(4)) + self.gap
    }
    /// Bytes per batch.
    pub fn bytes(&self) -> usize {
        4 * self.elements()
    }
    /// First element, first column and columns of each panel.
    pub fn panels(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let width = 4 * self.vectors;
        let full = (0..self.full()).map(move |p| (p * self.depth * width, p * width, width));
        full.chain((self.tail() > 0).then(|| (self.full() * self.depth * width, self.full() * width, self.tail())))
    }
}

/// The bytes of a constant B in packed order, one matrix per batch that B has.
pub fn constant(tensor: &Tensor, b: &Linear, nest: &Nest, panels: &Panels) -> Vec<u8> {
    let from = tensor.as_slice::<f32>();
    let batch = positions(&batch_axes(nest));
    let columns = positions(&nest.columns_in_b);
    let depth = positions(&nest.depth_in_b);
    let mut out = vec![0f32; batch.len() * panels.elements()];
    for (z, at) in batch.iter().enumerate() {
        for (start, first, width) in panels.panels() {
            let row = width.next_multiple_of(4);
            for (d, down) in depth.iter().enumerate() {
                let to = &mut out[z * panels.elements() + start + d * row..][..width];
                for (o, across) in to.iter_mut().zip(&columns[first..]) {
                    *o = from[(b.base + at + down + across) as usize];
                }
            }
        }
    }
    bytemuck::cast_slice(&out).to_vec()
}

/// Extent and stride of the batch axes that B has.
fn batch_axes(nest: &Nest) -> Vec<(usize, i64)> {
    nest.batch.iter().filter(|a| a.b != 0).map(|a| (a.extent, a.b)).collect()
}

/// Adds steps that pack a B that is computed at run time; the packed matrix.
pub fn at_run_time(cx: &mut Cx, nx: &NodeCx, view: &View, b: &Linear, nest: &Nest, panels: &Panels) -> Result<View, LowerError> {
    let columns = match nest.columns_in_b[..] {
        [] => 0,
        [(_, stride)] => stride,
        _ => {
            return Err(LowerError::Unsupported {
                layer: nx.name.clone(),
                what: "a computed operand whose columns span several dimensions".into(),
            });
        }
    };
    let batch = batch_axes(nest);
    let free_batch: Vec<Extent> = nest.batch.iter().filter(|a| a.b != 0).map(|a| a.extent()).collect();
    let total = panels.elements() * batch.iter().map(|(e, _)| e).product::<usize>();
    let packed = cx.temporary(&format!("{} packed", nx.name), DType::F32, &[total]);
    let width = 4 * panels.vectors;
    // (first element, first column, number of panels, columns per panel)
    let parts = [(0, 0, panels.full(), width), (panels.full() * panels.depth * width, panels.full() * width, 1, panels.tail())];
    for (start, first, count, columns_here) in parts.into_iter().filter(|(_, _, count, c)| *count > 0 && *c > 0) {
        let row = columns_here.next_multiple_of(4);
        let mut shape: Vec<usize> = batch.iter().map(|(e, _)| *e).collect();
        let mut from: Vec<i64> = batch.iter().map(|(_, s)| *s).collect();
        let mut to = from.clone();
        let mut stride = panels.elements() as i64;
        for (t, (extent, _)) in to.iter_mut().zip(&batch).rev() {
            *t = stride;
            stride *= *extent as i64;
        }
        shape.push(count);
        from.push(width as i64 * columns);
        to.push((panels.depth * row) as i64);
        let mut inner = (panels.depth * row) as i64;
        for (extent, stride) in &nest.depth_in_b {
            inner /= *extent as i64;
            shape.push(*extent);
            from.push(*stride);
            to.push(inner);
        }
        shape.push(columns_here);
        from.push(columns);
        to.push(1);
        // What is free among [batch…, panels, depth…, columns of one].
        let mut free: BTreeMap<usize, Dim> = free_batch.iter().enumerate().filter_map(|(d, e)| Some((d, e.free.clone()?))).collect();
        free.extend(nest.free_columns().map(|columns| (batch.len(), columns.clone().ceil_div(width))));
        free.extend(nest.free_depth.as_ref().map(|depth| (batch.len() + 1, depth.clone())));
        let source =
            View { shape: shape.clone(), free: free.clone(), offset: b.base + first as i64 * columns, strides: from, ..view.clone() };
        let target = View { shape, free, offset: start as i64, strides: to, ..packed.clone() };
        shuffle::copy(cx, &source, &target, nx.origin)?;
    }
    Ok(packed)
}
