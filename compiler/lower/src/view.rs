//! Views: where a tensor's elements are, as a source, an offset and one stride per dimension. No kernel code.

use crate::extent::{Extent, room};
use crate::plan::{Arg, BufferId, WeightId};
use ir::algorithm::{Access, Affine};
use ir::{DType, Dim};
use std::collections::BTreeMap;

/// What holds a tensor's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    Buffer(BufferId),
    Weight(WeightId),
}

/// A tensor in memory. Offset and strides count elements.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub source: Source,
    pub dtype: DType,
    /// Sizes; of free dimensions the largest.
    pub shape: Vec<usize>,
    /// The dimensions of free size.
    pub free: BTreeMap<usize, Dim>,
    pub offset: i64,
    pub strides: Vec<i64>,
}

impl View {
    /// Row-major without gaps.
    pub fn dense(source: Source, dtype: DType, shape: &[usize]) -> View {
        let strides = ir::tensor::strides(shape).into_iter().map(|s| s as i64).collect();
        View { source, dtype, shape: shape.to_vec(), free: BTreeMap::new(), offset: 0, strides }
    }

    /// Row-major with [`room`] for the dimensions of free size; and the elements that takes.
    pub fn roomy(source: Source, dtype: DType, extents: &[Extent]) -> (View, usize) {
        let taken: Vec<usize> = extents.iter().map(|e| if e.is_free() { room(e.most) } else { e.most }).collect();
        let strides = ir::tensor::strides(&taken).into_iter().map(|s| s as i64).collect();
        let free = extents.iter().enumerate().filter_map(|(d, e)| Some((d, e.free.clone()?))).collect();
        let view = View { source, dtype, shape: extents.iter().map(|e| e.most).collect(), free, offset: 0, strides };
        (view, taken.iter().fold(1usize, |n, d| n.saturating_mul(*d)))
    }

    pub fn extents(&self) -> Vec<Extent> {
        self.shape.iter().enumerate().map(|(d, most)| Extent { most: *most, free: self.free.get(&d).cloned() }).collect()
    }

    /// True when the elements lie row-major without gaps from offset 0 on, whatever the free sizes are.
    pub fn is_dense(&self) -> bool {
        self.offset == 0 && self.dense_from() == 0
    }

    /// The first of the last dimensions whose elements lie row-major without gaps, whatever the free sizes are.
    pub fn dense_from(&self) -> usize {
        let mut inner = Dim::from(1);
        for (d, extent) in self.extents().iter().enumerate().rev() {
            if !extent.is_one() && inner.as_const() != Some(self.strides[d]) {
                return d + 1;
            }
            inner = inner * extent.dim();
        }
        0
    }

    /// The same elements under other dimensions, if all strides are still constant and no room is lost.
    pub fn reshaped(&self, to: &[Extent]) -> Option<View> {
        let from = self.extents();
        let several = |extents: &[Extent]| -> Vec<usize> { (0..extents.len()).filter(|d| !extents[*d].is_one()).collect() };
        let (ins, outs) = (several(&from), several(to));
        let mut strides = vec![0i64; to.len()];
        let (mut i, mut o) = (0, 0);
        while i < ins.len() || o < outs.len() {
            // The shortest groups of dimensions with the same number of elements on both sides.
            let (first_i, first_o) = (i, o);
            let (mut left, mut right) = (from[*ins.get(i)?].dim(), to[*outs.get(o)?].dim());
            (i, o) = (i + 1, o + 1);
            while left != right {
                let is_left_smaller = match (left.as_const(), right.as_const()) {
                    (Some(l), Some(r)) => l < r,
                    _ if right.div_exact(&left).is_some() => true,
                    _ => {
                        left.div_exact(&right)?;
                        false
                    }
                };
                if is_left_smaller {
                    left = left * from[*ins.get(i)?].dim();
                    i += 1;
                } else {
                    right = right * to[*outs.get(o)?].dim();
                    o += 1;
                }
            }
            let (group, split) = (&ins[first_i..i], &outs[first_o..o]);
            if let ([from], [to]) = (group, split) {
                strides[*to] = self.strides[*from];
                continue;
            }
            // As one dimension: each holds the next one without gaps.
            let holds = |w: &[usize]| !from[w[1]].is_free() && self.strides[w[0]] == self.strides[w[1]] * from[w[1]].most as i64;
            let is_fixed = split[1..].iter().all(|d| !to[*d].is_free());
            if !group.windows(2).all(holds) || !is_fixed || taken(group, &from) < taken(split, to) {
                return None;
            }
            let mut stride = self.strides[group[group.len() - 1]];
            for d in split.iter().rev() {
                strides[*d] = stride;
                stride *= to[*d].most as i64;
            }
        }
        let free = to.iter().enumerate().filter_map(|(d, e)| Some((d, e.free.clone()?))).collect();
        Some(View { shape: to.iter().map(|e| e.most).collect(), free, strides, ..self.clone() })
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The parameter value that points `elements` past the source's first byte.
    ///
    /// # Panics
    /// When the position is before the source: halos are wide enough by construction.
    pub fn arg_at(&self, elements: i64) -> Arg {
        let bytes = elements.saturating_mul(self.dtype.bytes() as i64);
        assert!(bytes >= 0, "position lies inside the source");
        // Past all addresses only where the source is too large, which ends lowering with an error.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.source {
            Source::Buffer(b) => Arg::Buffer(b, bytes),
            Source::Weight(w) => Arg::Weight(w, bytes),
        }
    }
}

/// Elements that dimensions take in memory.
fn taken(dims: &[usize], extents: &[Extent]) -> usize {
    dims.iter().map(|d| if extents[*d].is_free() { room(extents[*d].most) } else { extents[*d].most }).product()
}

/// An access to a view as one linear function of the nest's axes: `base + Σ strides[axis] · axis`, in elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    pub base: i64,
    pub strides: Vec<i64>,
}

/// The position of `index` in `view` for a nest of `axes` axes.
///
/// # Panics
/// When an index is offset by a free size: the caller has seen to that.
pub fn linear(view: &View, index: &[Affine], axes: usize) -> Linear {
    let mut out = Linear { base: view.offset, strides: vec![0; axes] };
    for (affine, stride) in index.iter().zip(&view.strides) {
        out.base += affine.offset.as_const().expect("bound size") * stride;
        for (axis, c) in &affine.terms {
            out.strides[*axis] += c * stride;
        }
    }
    out
}

/// How far an access reaches before and after each dimension of a tensor of `shape`.
pub fn reach(access: &Access, shape: &[usize], axes: &[Dim]) -> (Vec<usize>, Vec<usize>) {
    let extent = |axis: usize| axes[axis].as_const().expect("bound size");
    let ends = access.index.iter().zip(shape).map(|(affine, size)| {
        let offset = affine.offset.as_const().expect("bound size");
        let (mut low, mut high) = (offset, offset);
        for (axis, c) in &affine.terms {
            let step = c * (extent(*axis) - 1).max(0);
            if step < 0 { low += step } else { high += step }
        }
        ((-low).max(0) as usize, (high - (*size as i64 - 1)).max(0) as usize)
    });
    ends.unzip()
}
