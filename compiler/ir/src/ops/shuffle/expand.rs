//! `expand(x)`: broadcasts to a shape.

use crate::algorithm::{Access, Affine, Algorithm, Piece, Shuffle};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::Tensor;
use crate::{attrs, op_error};

attrs! {
    /// The output's shape; the input broadcasts to it.
    pub struct Expand {
        pub shape: Vec<Dim>,
    }
}

impl OpDef for Expand {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = inputs[0];
        if !crate::ops::broadcasts_into(&x.shape, &self.shape) {
            op_error!("expand: {x} does not broadcast to {:?}", self.shape);
        }
        Ok(vec![TensorType { dtype: x.dtype, shape: self.shape.clone() }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let Some(shape) = crate::dim::const_dims(&self.shape) else { op_error!("expand: {:?} is not a known shape", self.shape) };
        Ok(vec![crate::ops::map::scalar::broadcast_to(inputs[0], &shape)])
    }

    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let out: Vec<Affine> = (0..output.rank()).map(Affine::axis).collect();
        let read = Access::broadcast(0, &inputs[0].shape, &out);
        Algorithm::Shuffle(Shuffle { pieces: vec![Piece { start: vec![Dim::from(0i64); out.len()], extent: output.shape.clone(), read }] })
    }

    fn sizes(&self, known: &[Option<&[Dim]>], _types: &[&TensorType]) -> Option<Vec<Dim>> {
        let [n] = &self.shape[..] else { return None };
        match known[0]? {
            [one] => Some(vec![one.clone(); usize::try_from(n.as_const()?).ok().filter(|n| *n <= 64)?]),
            many => Some(many.to_vec()),
        }
    }
}
