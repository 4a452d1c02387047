//! `if(condition, captured…)`: the results of one of two graphs.

use super::{Subgraph, scalar};
use crate::algorithm::Algorithm;
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::Tensor;
use crate::{attrs, op_error};

attrs! {
    /// `condition: bool[]` chooses; both graphs take all captured values and give the same types.
    pub struct If {
        pub then: Subgraph,
        pub otherwise: Subgraph,
    }
}

impl OpDef for If {
    fn arity(&self) -> Arity {
        Arity::AtLeast(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        scalar("the condition of `if`", DType::Bool, inputs[0])?;
        self.then.takes("`then`", &inputs[1..])?;
        self.otherwise.takes("`otherwise`", &inputs[1..])?;
        let (then, otherwise) = (self.then.outputs(), self.otherwise.outputs());
        if then.is_empty() || then.len() != otherwise.len() {
            op_error!("`if` needs equally many results of both graphs, found {} and {}", then.len(), otherwise.len());
        }
        match then.iter().zip(&otherwise).position(|(a, b)| a != b) {
            Some(i) => op_error!("result {i} of `if` is {} or {}", then[i], otherwise[i]),
            None => Ok(then.into_iter().cloned().collect()),
        }
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let captured: Vec<Tensor> = inputs[1..].iter().map(|t| (*t).clone()).collect();
        if inputs[0].get_f64(0) != 0.0 { self.then.run(&captured) } else { self.otherwise.run(&captured) }
    }

    fn algorithm(&self, _inputs: &[&TensorType], _output: &TensorType) -> Algorithm {
        Algorithm::Control
    }
}
