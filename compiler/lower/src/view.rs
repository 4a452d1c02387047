//! Views: where a tensor's elements are, as a source, an offset and one stride per dimension. No kernel code.

use crate::plan::{Arg, BufferId, WeightId};
use ir::algorithm::{Access, Affine};
use ir::{DType, Dim};

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
    pub shape: Vec<usize>,
    pub offset: i64,
    pub strides: Vec<i64>,
}

impl View {
    /// Row-major without gaps.
    pub fn dense(source: Source, dtype: DType, shape: &[usize]) -> View {
        let strides = ir::tensor::strides(shape).into_iter().map(|s| s as i64).collect();
        View { source, dtype, shape: shape.to_vec(), offset: 0, strides }
    }

    /// True when the elements lie row-major without gaps from offset 0 on.
    pub fn is_dense(&self) -> bool {
        let dense = ir::tensor::strides(&self.shape);
        let fits = |d: usize| self.shape[d] == 1 || self.strides[d] == dense[d] as i64;
        self.offset == 0 && (0..self.shape.len()).all(fits)
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The parameter value that points `elements` past the source's first byte.
    ///
    /// # Panics
    /// When the position is before the source: halos are wide enough by construction.
    pub fn arg_at(&self, elements: i64) -> Arg {
        let bytes = u32::try_from(elements * self.dtype.bytes() as i64).expect("position lies inside the source");
        match self.source {
            Source::Buffer(b) => Arg::Buffer(b, bytes),
            Source::Weight(w) => Arg::Weight(w, bytes),
        }
    }
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
/// When an index holds a free size: the caller has bound all symbols.
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
