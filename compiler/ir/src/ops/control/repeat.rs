//! `loop(trips, keep, carried…, captured…)`: a graph again and again.
//!
//! ```text
//! i = 0
//! while i < trips and keep:
//!     keep, carried…, scanned… = body(i, carried…, captured…)
//!     i = i + 1
//! ```
//! The results are the carried values, then what each iteration gave as `scanned`, stacked along a new first dimension.

use super::{Subgraph, scalar, stacked};
use crate::algorithm::Algorithm;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::Tensor;
use crate::{attrs, op_error};

attrs! {
    /// `trips: i64[]` bounds the iterations, `keep: bool[]` allows the first one. The body gives `keep` for the next one,
    /// then `carried` values of the types that it took, then values to stack. `capacity` is empty, or the number of iterations
    /// that stacked results have room for: another number of iterations is an error.
    pub struct Loop {
        pub carried: i64,
        pub capacity: Vec<Dim>,
        pub body: Subgraph,
    }
}

/// Iterations after which evaluation gives up.
const TRIP_LIMIT: i64 = 1 << 20;

impl OpDef for Loop {
    fn arity(&self) -> Arity {
        Arity::AtLeast(2 + self.carried.max(0) as usize)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        scalar("the number of iterations of `loop`", DType::I64, inputs[0])?;
        scalar("the condition of `loop`", DType::Bool, inputs[1])?;
        let number = TensorType::new(DType::I64, [0i64; 0]);
        let given: Vec<&TensorType> = std::iter::once(&number).chain(inputs[2..].iter().copied()).collect();
        self.body.takes("the body of `loop`", &given)?;
        let outputs = self.body.outputs();
        let Some((keep, results)) = outputs.split_first().filter(|(_, rest)| rest.len() >= self.carried.max(0) as usize) else {
            op_error!("the body of `loop` gives {} results for {} carried values", outputs.len(), self.carried)
        };
        scalar("the condition that the body of `loop` gives", DType::Bool, keep)?;
        let (carried, scanned) = results.split_at(self.carried.max(0) as usize);
        if let Some(i) = (0..carried.len()).find(|i| carried[*i] != inputs[2 + i]) {
            op_error!("carried value {i} of `loop` is {} at first and {} after an iteration", inputs[2 + i], carried[i]);
        }
        if carried.is_empty() && scanned.is_empty() {
            op_error!("`loop` has no results");
        }
        let mut types: Vec<TensorType> = carried.iter().map(|t| (*t).clone()).collect();
        if !scanned.is_empty() {
            let [capacity] = &self.capacity[..] else { op_error!("`loop` stacks results: it needs one capacity") };
            types.extend(scanned.iter().map(|t| stacked(capacity, t)));
        }
        Ok(types)
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let n_carried = self.carried as usize;
        let trips = inputs[0].to_i64s()[0];
        let mut keep = inputs[1].get_f64(0) != 0.0;
        let mut carried: Vec<Tensor> = inputs[2..2 + n_carried].iter().map(|t| (*t).clone()).collect();
        let captured = &inputs[2 + n_carried..];
        let mut stacks: Vec<Vec<u8>> = vec![vec![]; self.body.outputs.len() - 1 - n_carried];
        let mut i = 0i64;
        while i < trips && keep {
            if i == TRIP_LIMIT {
                op_error!("`loop` does not end within {TRIP_LIMIT} iterations");
            }
            let given: Vec<Tensor> =
                std::iter::once(Tensor::scalar(i)).chain(carried).chain(captured.iter().map(|t| (*t).clone())).collect();
            let mut results = self.body.run(&given)?;
            keep = results.remove(0).get_f64(0) != 0.0;
            let scanned = results.split_off(n_carried);
            carried = results;
            stacks.iter_mut().zip(scanned).for_each(|(stack, tensor)| stack.extend(tensor.bytes()));
            i += 1;
        }
        if !stacks.is_empty() && self.capacity[0].as_const() != Some(i) {
            op_error!("`loop` stacks results of {} iterations, and there were {i}", self.capacity[0]);
        }
        for (stack, output) in stacks.iter().zip(&self.body.outputs[1 + n_carried..]) {
            let ty = self.body.ty(output.value);
            let Some(shape) = stacked(&Dim::from(i), ty).const_shape() else { op_error!("the sizes of {ty} are not known") };
            carried.push(Tensor::from_bytes(ty.dtype, &shape, stack).expect("every iteration gave this type"));
        }
        Ok(carried)
    }

    fn algorithm(&self, _inputs: &[&TensorType], _output: &TensorType) -> Algorithm {
        Algorithm::Control
    }
}
