//! The loop nest of a contraction in terms of strides: axes by class, adjacent ones merged where every operand allows.

use crate::extent::Extent;
use crate::view::Linear;
use ir::Dim;
use ir::algorithm::Contract;
use kernel::{E, I32, K};

/// One loop.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopAxis {
    /// Steps, or the most of them.
    pub extent: usize,
    /// Steps that are only known at run time.
    pub free: Option<Dim>,
    /// Strides of A, the output, and the epilogue's operands, in bytes.
    pub at: Vec<i64>,
    /// Stride of (unpacked) B, in elements.
    pub b: i64,
}

impl LoopAxis {
    /// True when `self` around `inner` is one longer loop for the operands `at` (and for B, if asked).
    fn merges(&self, inner: &LoopAxis, with_b: bool) -> bool {
        let fits = |outer: i64, i: i64| outer == i * inner.extent as i64;
        inner.free.is_none() && self.at.iter().zip(&inner.at).all(|(o, i)| fits(*o, *i)) && (!with_b || fits(self.b, inner.b))
    }

    pub fn extent(&self) -> Extent {
        Extent { most: self.extent, free: self.free.clone() }
    }
}

/// Sizes and strides (bytes, of A and the output) of a batch of matrix products.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    pub batches: (usize, [i64; 2]),
    pub rows: (usize, [i64; 2]),
    pub columns: usize,
    pub depth: usize,
}

/// Where B lies when it is read as it is, not packed: bytes from one step of depth, or one column, to the next. The others
/// follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InPlace {
    Rows(i64),
    Columns(i64),
}

/// Axes by class, outermost first.
#[derive(Debug, Clone, PartialEq)]
pub struct Nest {
    pub batch: Vec<LoopAxis>,
    /// Rows; at least one axis.
    pub rows: Vec<LoopAxis>,
    /// Columns, as one axis of the output and the epilogue's operands; in B they are `columns_in_b`.
    column: LoopAxis,
    pub columns_in_b: Vec<(usize, i64)>,
    /// Depth as A sees it, merged; in B it is `depth_in_b`, in the same order.
    pub depth_in_a: Vec<(usize, i64)>,
    pub depth_in_b: Vec<(usize, i64)>,
    /// Depth that is only known at run time: of the one depth axis.
    pub free_depth: Option<Dim>,
    pub in_place: Option<InPlace>,
}

impl Nest {
    /// `linears` and bytes per element (`sizes`): of A, the output, the epilogue's operands. All sizes are fixed.
    pub fn new(contract: &Contract, linears: &[Linear], sizes: &[i64], b: &Linear) -> Nest {
        let extent = |d: &Dim| Extent::from(d.as_const().expect("bound size") as usize);
        let extents: Vec<Extent> = contract.axes.iter().map(extent).collect();
        Nest::with_extents(contract, &extents, linears, sizes, b).expect("fixed sizes always fit")
    }

    /// As [`Nest::new`], where sizes may be free. `None` when a free size is one of
    /// several along the depth, or among the columns that are no single axis of the output.
    pub fn with_extents(contract: &Contract, extents: &[Extent], linears: &[Linear], sizes: &[i64], b: &Linear) -> Option<Nest> {
        let uses = |index: &[ir::algorithm::Affine], axis: usize| index.iter().any(|i| i.terms.iter().any(|(a, c)| *a == axis && *c != 0));
        let mut nest = Nest {
            batch: vec![],
            rows: vec![],
            column: LoopAxis { extent: 1, free: None, at: vec![0; linears.len()], b: 0 },
            columns_in_b: vec![],
            depth_in_a: vec![],
            depth_in_b: vec![],
            free_depth: None,
            in_place: None,
        };
        let mut columns = vec![];
        for (axis, size) in extents.iter().enumerate() {
            if size.is_one() {
                continue;
            }
            let extent = size.most;
            let l = LoopAxis {
                extent,
                free: size.free.clone(),
                at: linears.iter().zip(sizes).map(|(l, s)| l.strides[axis] * s).collect(),
                b: b.strides[axis],
            };
            match (uses(&contract.out, axis), uses(&contract.a.index, axis), uses(&contract.b.index, axis)) {
                (true, true, true) => nest.batch.push(l),
                (true, false, true) => columns.push(l),
                (true, _, false) => nest.rows.push(l),
                (false, _, _) => {
                    if nest.free_depth.is_some() || (size.is_free() && !nest.depth_in_b.is_empty()) {
                        return None;
                    }
                    nest.free_depth.clone_from(&size.free);
                    nest.depth_in_b.push((extent, l.b));
                    match nest.depth_in_a.last_mut() {
                        Some((e, s)) if *s == l.at[0] * extent as i64 => (*e, *s) = (*e * extent, l.at[0]),
                        _ => nest.depth_in_a.push((extent, l.at[0])),
                    }
                }
            }
        }
        nest.batch = merge(nest.batch, true);
        nest.rows = merge(nest.rows, false);
        if nest.rows.is_empty() {
            nest.rows.push(LoopAxis { extent: 1, free: None, at: vec![0; linears.len()], b: 0 });
        }
        // Columns that are no single axis of the output: all but the innermost become batches.
        nest.columns_in_b = columns.iter().map(|c| (c.extent, c.b)).collect();
        let mut columns = merge(columns, false);
        if nest.columns_in_b.len() > 1 && columns.iter().any(|c| c.free.is_some()) {
            return None;
        }
        if let Some(inner) = columns.pop() {
            if !columns.is_empty() {
                nest.columns_in_b = vec![(inner.extent, inner.b)];
            }
            nest.column = inner;
        }
        nest.batch.extend(columns);
        Some(nest)
    }

    /// `batches` products of dense columns: strides in bytes, of A and the output.
    pub fn product(p: &Product) -> Nest {
        let axis = |(extent, at): (usize, [i64; 2]), b: i64| LoopAxis { extent, free: None, at: at.to_vec(), b };
        Nest {
            // B's batches follow each other in packed order; the stride only says that there is one.
            batch: vec![axis(p.batches, 1)],
            rows: vec![axis(p.rows, 0)],
            column: LoopAxis { extent: p.columns, free: None, at: vec![0, 4], b: 1 },
            columns_in_b: vec![(p.columns, 1)],
            depth_in_a: vec![(p.depth, 4)],
            depth_in_b: vec![(p.depth, 1)],
            free_depth: None,
            in_place: None,
        }
    }

    /// The matrices of B at each of several taps, to be packed; extents and strides in elements.
    pub fn taps(taps: &[(usize, i64)], columns: (usize, i64), depth: (usize, i64)) -> Nest {
        Nest {
            batch: taps.iter().map(|(extent, b)| LoopAxis { extent: *extent, free: None, at: vec![], b: *b }).collect(),
            rows: vec![],
            column: LoopAxis { extent: columns.0, free: None, at: vec![], b: columns.1 },
            columns_in_b: vec![columns],
            depth_in_a: vec![],
            depth_in_b: vec![depth],
            free_depth: None,
            in_place: None,
        }
    }

    /// How a B of free size can be read where it lies. Packing it takes as long as a product of few rows: a cache of keys and
    /// values that a token attends to is read once.
    pub fn readable_in_place(&self) -> Option<InPlace> {
        const MOST_ROWS: usize = 4;
        let ([(columns, across)], [(depth, down)]) = (&self.columns_in_b[..], &self.depth_in_b[..]) else { return None };
        let whole = columns.is_multiple_of(4);
        if self.has_free_rows() || self.rows() > MOST_ROWS || *columns != self.columns() || self.depth_in_a.len() != 1 {
            return None;
        }
        match (across, down) {
            (1, down) if *down > 0 && whole && self.free_columns().is_none() => Some(InPlace::Rows(4 * down)),
            // Behind a free number of columns there is room for whole vectors.
            (across, 1) if *across > 0 && (whole || self.free_columns().is_some()) => {
                (self.free_depth.is_none() && depth.is_multiple_of(4)).then_some(InPlace::Columns(4 * across))
            }
            _ => None,
        }
    }

    /// Cuts one long axis of rows into equal parts, so that blocks of rows can be tasks and stay in a cache; a short one is a
    /// part by itself.
    pub fn split_rows(&mut self) {
        const MOST_PARTS: usize = 16;
        const LEAST_ROWS: usize = 96;
        let [axis] = &self.rows[..] else { return };
        let parts = (2..=MOST_PARTS).rev().find(|n| axis.extent.is_multiple_of(*n) && axis.extent / n >= LEAST_ROWS);
        if axis.free.is_none() {
            let parts = parts.unwrap_or(1);
            let inner = LoopAxis { extent: axis.extent / parts, ..axis.clone() };
            let at = axis.at.iter().map(|stride| stride * inner.extent as i64).collect();
            self.rows = vec![LoopAxis { extent: parts, free: None, at, b: 0 }, inner];
        }
    }

    pub fn batches(&self) -> usize {
        self.batch.iter().map(|a| a.extent).product()
    }
    pub fn columns(&self) -> usize {
        self.column.extent
    }
    /// Columns that are only known at run time.
    pub fn free_columns(&self) -> Option<&Dim> {
        self.column.free.as_ref()
    }
    pub fn has_free_rows(&self) -> bool {
        self.rows.iter().any(|a| a.free.is_some())
    }
    pub fn depth(&self) -> usize {
        self.depth_in_b.iter().map(|(e, _)| e).product()
    }
    /// Row axes around the innermost one.
    pub fn outer(&self) -> &[LoopAxis] {
        &self.rows[..self.rows.len() - 1]
    }
    pub fn outer_rows(&self) -> usize {
        self.outer().iter().map(|a| a.extent).product()
    }
    pub fn inner_rows(&self) -> usize {
        self.rows[self.rows.len() - 1].extent
    }
    pub fn rows(&self) -> usize {
        self.outer_rows() * self.inner_rows()
    }
    pub fn macs(&self) -> u64 {
        (self.batches() * self.rows() * self.columns()) as u64 * self.depth() as u64
    }
    /// Stride of an operand along the columns.
    pub fn column_stride(&self, operand: usize) -> i64 {
        self.column.at[operand]
    }
    /// Stride of an operand along the innermost row axis.
    pub fn inner_stride(&self, operand: usize) -> i64 {
        self.rows[self.rows.len() - 1].at[operand]
    }
    /// The one stride of an operand along all rows, if they are equally far apart.
    pub fn uniform_stride(&self, operand: usize) -> Option<i64> {
        let uniform = self.rows.windows(2).all(|w| w[0].at[operand] == w[1].at[operand] * w[1].extent as i64);
        uniform.then(|| self.inner_stride(operand))
    }
}

fn merge(axes: Vec<LoopAxis>, with_b: bool) -> Vec<LoopAxis> {
    let mut merged: Vec<LoopAxis> = vec![];
    for axis in axes {
        match merged.last_mut() {
            Some(outer) if outer.merges(&axis, with_b) => {
                let Extent { most, free } = outer.extent().times(&axis.extent());
                *outer = LoopAxis { extent: most, free, ..axis };
            }
            _ => merged.push(axis),
        }
    }
    merged
}

/// Splits a row-major number into one coordinate per extent, each in a local.
pub fn coordinates(k: &mut K, extents: impl DoubleEndedIterator<Item = usize>, number: E<I32>) -> Vec<E<I32>> {
    let mut out = vec![];
    let mut rest = number;
    let extents: Vec<usize> = extents.collect();
    for (i, extent) in extents.iter().enumerate().rev() {
        if i == 0 {
            out.push(rest.clone());
            break;
        }
        let number = k.in_local("number", rest);
        let quotient = k.let_("quotient", kernel::i32_div_u(number, *extent as i32));
        out.push(k.let_("coordinate", number - quotient * *extent as i32).get());
        rest = quotient.get();
    }
    out.reverse();
    out
}

/// `base + Σ coordinate · stride`, strides in bytes.
pub fn offset(coordinates: &[E<I32>], strides: impl Iterator<Item = i64>, base: E<I32>) -> E<I32> {
    coordinates.iter().zip(strides).filter(|(_, s)| *s != 0).fold(base, |sum, (c, s)| sum + c.clone() * s as i32)
}

/// Every position of a loop nest in row-major order, given extents and strides.
pub fn positions(axes: &[(usize, i64)]) -> Vec<i64> {
    axes.iter()
        .fold(vec![0], |outer, (extent, stride)| outer.iter().flat_map(|o| (0..*extent as i64).map(move |i| o + i * stride)).collect())
}
