//! `if(condition, captured…)`: the results of one of two graphs.

use super::{Subgraph, scalar};
use crate::algorithm::Algorithm;
use crate::attr::{Attr, AttrValue};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::Tensor;
use crate::{attrs, op_error};

attrs! {
    /// `condition: bool[]` chooses; both graphs take all captured values and give the same types, but for sizes: those that differ
    /// are the symbols `sizes`, in order, which the branch defines.
    pub struct If {
        pub then: Subgraph,
        pub otherwise: Subgraph,
        pub sizes: Found,
    }
}

/// Symbols that an operator defines; usually none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found(pub Vec<Dim>);

impl AttrValue for Found {
    const EXPECTED: &'static str = "a list of symbols";
    fn to_attr(&self) -> Attr {
        Attr::Dims(self.0.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Found> {
        match attr {
            Attr::Dims(dims) => Some(Found(dims.clone())),
            _ => None,
        }
    }
    fn default_value() -> Option<Found> {
        Some(Found::default())
    }
}

/// Whether a size of a result is the same whichever way is taken. What a way defines is known within it only.
fn is_one_size(then: &Dim, otherwise: &Dim) -> bool {
    then == otherwise
}

impl If {
    /// The sizes of the results that differ, as (result, dimension), in the order of `sizes`.
    pub fn differing(&self) -> Vec<(usize, usize)> {
        let (then, otherwise) = (self.then.outputs(), self.otherwise.outputs());
        let pairs = then.iter().zip(&otherwise).enumerate();
        let of = |(i, (a, b)): (usize, (&&TensorType, &&TensorType))| -> Vec<(usize, usize)> {
            let differs = |d: &usize| !is_one_size(&a.shape[*d], &b.shape[*d]);
            (0..a.rank().min(b.rank())).filter(differs).map(|d| (i, d)).collect()
        };
        pairs.flat_map(of).collect()
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
        let mut types = vec![];
        let mut sizes = self.sizes.0.iter();
        for (i, (a, b)) in then.iter().zip(&otherwise).enumerate() {
            let fits = a.dtype == b.dtype && a.rank() == b.rank();
            let shape = a.shape.iter().zip(&b.shape).map(|(x, y)| if is_one_size(x, y) { Some(x.clone()) } else { sizes.next().cloned() });
            match shape.collect::<Option<Vec<Dim>>>().filter(|_| fits) {
                Some(shape) => types.push(TensorType { dtype: a.dtype, shape }),
                None => op_error!("result {i} of `if` is {a} or {b}"),
            }
        }
        Ok(types)
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let captured: Vec<Tensor> = inputs[1..].iter().map(|t| (*t).clone()).collect();
        if inputs[0].get_f64(0) != 0.0 { self.then.run(&captured) } else { self.otherwise.run(&captured) }
    }

    fn algorithm(&self, _inputs: &[&TensorType], _output: &TensorType) -> Algorithm {
        Algorithm::Control
    }
}
