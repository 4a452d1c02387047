//! `reshape(x)`: the same elements in the same order under another shape. Squeeze, unsqueeze and flatten are this.

use crate::algorithm::Algorithm;
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::Tensor;
use crate::{attrs, op_error};

attrs! {
    /// The new shape; its product is the input's.
    pub struct Reshape {
        pub shape: Vec<Dim>,
    }
}

impl OpDef for Reshape {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = inputs[0];
        let elements: Dim = self.shape.iter().product();
        if elements != x.elements() {
            op_error!("reshape: {x} has {} elements, the shape {:?} has {elements}", x.elements(), self.shape);
        }
        Ok(vec![TensorType { dtype: x.dtype, shape: self.shape.clone() }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let Some(shape) = crate::dim::const_dims(&self.shape) else { op_error!("reshape: {:?} is not a known shape", self.shape) };
        Ok(vec![inputs[0].clone().reshaped(&shape)])
    }

    fn algorithm(&self, _inputs: &[&TensorType], _output: &TensorType) -> Algorithm {
        Algorithm::View
    }

    fn sizes(&self, known: &[Option<&[Dim]>], _types: &[&TensorType]) -> Option<Vec<Dim>> {
        (self.shape.len() <= 1).then(|| known[0].map(<[Dim]>::to_vec)).flatten()
    }
}
