//! `concat(x, …)`: joins tensors along one dimension.

use crate::algorithm::{Access, Affine, Algorithm, Piece, Shuffle};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::{Tensor, strides};
use crate::{attrs, op_error};

attrs! {
    /// Along `axis` (0..rank); the other dimensions agree.
    pub struct Concat {
        pub axis: i64,
    }
}

impl OpDef for Concat {
    fn arity(&self) -> Arity {
        Arity::AtLeast(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let first = inputs[0];
        if self.axis < 0 || self.axis >= first.rank() as i64 {
            op_error!("concat: axis {} is out of range for {first}", self.axis);
        }
        let axis = self.axis as usize;
        for other in &inputs[1..] {
            let fits = |d: usize| d == axis || other.shape[d] == first.shape[d];
            if other.dtype != first.dtype || other.rank() != first.rank() || !(0..first.rank()).all(fits) {
                op_error!("concat along axis {axis}: {other} does not fit {first}");
            }
        }
        let mut shape = first.shape.clone();
        shape[axis] = inputs.iter().fold(Dim::from(0i64), |sum, t| sum + t.shape[axis].clone());
        Ok(vec![TensorType { dtype: first.dtype, shape }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let axis = self.axis as usize;
        let mut shape = inputs[0].shape.clone();
        shape[axis] = inputs.iter().map(|t| t.shape[axis]).sum();
        let mut out = Tensor::zeros(inputs[0].dtype, &shape);
        let inner = strides(&shape)[axis] * out.dtype.bytes();
        let outer: usize = shape[..axis].iter().product();
        let mut at = 0;
        for o in 0..outer {
            for t in inputs {
                let bytes = t.shape[axis] * inner;
                out.bytes_mut()[at..][..bytes].copy_from_slice(&t.bytes()[o * bytes..][..bytes]);
                at += bytes;
            }
        }
        Ok(vec![out])
    }

    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let axis = self.axis as usize;
        let mut start = vec![Dim::from(0i64); output.rank()];
        let pieces = inputs.iter().enumerate().map(|(i, t)| {
            let read = Access::new(i, (0..t.rank()).map(Affine::axis).collect());
            let piece = Piece { start: start.clone(), extent: t.shape.clone(), read };
            start[axis] = start[axis].clone() + t.shape[axis].clone();
            piece
        });
        Algorithm::Shuffle(Shuffle { pieces: pieces.collect() })
    }

    fn sizes(&self, known: &[Option<&[Dim]>], types: &[&TensorType]) -> Option<Vec<Dim>> {
        let parts: Option<Vec<&[Dim]>> = known.iter().copied().collect();
        types.iter().all(|t| t.rank() == 1).then(|| parts.map(|p| p.concat())).flatten()
    }
}
