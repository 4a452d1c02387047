//! `measure(n)`: a number that data decides becomes a size. Every size that mentions its symbol is known from here on.

use crate::algorithm::Algorithm;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::Tensor;
use crate::{attrs, op_error};

attrs! {
    /// `n: i64` of one element defines the one symbol in `size`, whose bounds it must keep. The result is `n`.
    pub struct Measure {
        pub size: Vec<Dim>,
        /// Nothing before says that `n` keeps the bounds: that is checked at run time.
        pub checked: bool,
    }
}

impl OpDef for Measure {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        if inputs[0].dtype != DType::I64 || inputs[0].rank() > 1 || inputs[0].elements() != 1 || self.size.len() != 1 {
            op_error!("measure needs one i64 and one symbol, found {} and {:?}", inputs[0], self.size);
        }
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        Ok(vec![inputs[0].clone()])
    }

    fn algorithm(&self, _inputs: &[&TensorType], _output: &TensorType) -> Algorithm {
        Algorithm::Measure(self.size[0].clone())
    }

    fn sizes(&self, _known: &[Option<&[Dim]>], _types: &[&TensorType]) -> Option<Vec<Dim>> {
        Some(self.size.clone())
    }
}
