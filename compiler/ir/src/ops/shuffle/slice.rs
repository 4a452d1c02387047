//! `slice(x)`: every step-th element between two positions of each dimension; steps may be negative.

use crate::algorithm::{Access, Affine, Algorithm, Piece, Shuffle};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::{Tensor, strides};
use crate::{attrs, op_error};

attrs! {
    /// Per dimension: the first index, the number of elements, the step (not 0). Indices stay inside the input.
    pub struct Slice {
        pub starts: Vec<Dim>,
        pub counts: Vec<Dim>,
        pub steps: Vec<i64>,
    }
}

impl OpDef for Slice {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = inputs[0];
        if [self.starts.len(), self.counts.len(), self.steps.len()] != [x.rank(); 3] {
            op_error!("slice of {x} needs {} starts, counts and steps", x.rank());
        }
        if self.steps.contains(&0) {
            op_error!("slice: a step is 0");
        }
        for (d, size) in x.shape.iter().enumerate() {
            let (Some(size), Some(start), Some(count)) = (size.as_const(), self.starts[d].as_const(), self.counts[d].as_const()) else {
                continue;
            };
            let last = start + (count - 1) * self.steps[d];
            if count < 0 || (count > 0 && (start < 0 || start >= size || last < 0 || last >= size)) {
                op_error!("slice: {count} elements from {start} in steps of {} do not lie in dimension {d} of {x}", self.steps[d]);
            }
        }
        Ok(vec![TensorType { dtype: x.dtype, shape: self.counts.clone() }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let x = inputs[0];
        let (Some(starts), Some(shape)) = (crate::dim::const_dims(&self.starts), crate::dim::const_dims(&self.counts)) else {
            op_error!("slice: positions are not known");
        };
        let from = strides(&x.shape);
        Ok(vec![x.gather_elements(&shape, |index| {
            let at = |d: usize| (starts[d] as i64 + index[d] as i64 * self.steps[d]) as usize * from[d];
            Some((0..index.len()).map(at).sum())
        })])
    }

    fn algorithm(&self, _inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let index = (0..output.rank()).map(|d| Affine::scaled(d, self.steps[d], self.starts[d].clone())).collect();
        let piece = Piece { start: vec![Dim::from(0i64); output.rank()], extent: output.shape.clone(), read: Access::new(0, index) };
        Algorithm::Shuffle(Shuffle { pieces: vec![piece] })
    }

    fn sizes(&self, known: &[Option<&[Dim]>], _types: &[&TensorType]) -> Option<Vec<Dim>> {
        let ([start], [count], [step]) = (&self.starts[..], &self.counts[..], &self.steps[..]) else { return None };
        let (start, count) = (start.as_const()?, count.as_const()?);
        (0..count).map(|i| known[0]?.get(usize::try_from(start + i * step).ok()?).cloned()).collect()
    }
}
