//! `sizes()`: a one-dimensional `i64` tensor of sizes. Folds to a constant once every symbol is bound.

use crate::algorithm::Algorithm;
use crate::dim::{Dim, const_dims};
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::Tensor;
use crate::{attrs, op_error};

attrs! {
    /// The elements.
    pub struct Sizes {
        pub dims: Vec<Dim>,
    }
}

impl OpDef for Sizes {
    fn arity(&self) -> Arity {
        Arity::Exactly(0)
    }

    fn infer(&self, _inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        Ok(vec![TensorType::new(DType::I64, [self.dims.len()])])
    }

    fn eval(&self, _inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let Some(dims) = const_dims(&self.dims) else { op_error!("sizes {:?} are not known", self.dims) };
        Ok(vec![Tensor::new(&[dims.len()], &dims.iter().map(|d| *d as i64).collect::<Vec<_>>())])
    }

    fn algorithm(&self, _inputs: &[&TensorType], _output: &TensorType) -> Algorithm {
        Algorithm::Sizes(self.dims.clone())
    }

    fn sizes(&self, _known: &[Option<&[Dim]>], _types: &[&TensorType]) -> Option<Vec<Dim>> {
        Some(self.dims.clone())
    }
}
