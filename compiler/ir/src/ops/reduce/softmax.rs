//! `softmax(x)`: exp(x − max) / Σ exp(x − max) along one axis, or its logarithm.

use crate::algorithm::{Access, Affine, Algorithm, Combine, Epilogue, Reduce as ReduceNest, Stage};
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::pointwise::{Fn, Operand, Pointwise};
use crate::tensor::{Tensor, strides};
use crate::{attrs, for_dtype, op_error};

attrs! {
    /// Along `axis` (0..rank). With `log`: x − max − log Σ exp(x − max).
    pub struct Softmax {
        pub axis: i64,
        pub log: bool,
        pub epilogue: Pointwise,
    }
}

impl OpDef for Softmax {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = inputs[0];
        if self.axis < 0 || self.axis >= x.rank() as i64 {
            op_error!("softmax: axis {} is out of range for {x}", self.axis);
        }
        if !x.dtype.is_float() {
            op_error!("softmax needs floating-point elements, found {x}");
        }
        Ok(vec![x.clone()])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let x = inputs[0];
        let axis = self.axis as usize;
        let (n, stride) = (x.shape[axis], strides(&x.shape)[axis]);
        let mut out = Tensor::zeros(x.dtype, &x.shape);
        for_dtype!(x.dtype, T => {
            use crate::dtype::Element;
            let xv: Vec<f64> = x.as_slice::<T>().iter().map(|v| Element::to_f64(*v)).collect();
            let ov = out.as_mut_slice::<T>();
            for first in (0..xv.len()).filter(|i| (i / stride) % n == 0) {
                let group: Vec<f64> = (0..n).map(|i| xv[first + i * stride]).collect();
                let max = group.iter().fold(f64::NEG_INFINITY, |m, v| if m.is_nan() || v.is_nan() { f64::NAN } else { m.max(*v) });
                let sum: f64 = group.iter().map(|v| libm::exp(v - max)).sum();
                for (i, v) in group.iter().enumerate() {
                    let y = if self.log { v - max - libm::log(sum) } else { libm::exp(v - max) / sum };
                    ov[first + i * stride] = <T as Element>::from_f64(y);
                }
            }
        });
        Ok(vec![out])
    }

    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let out: Vec<Affine> = (0..output.rank()).map(Affine::axis).collect();
        let mut exp = Pointwise::identity();
        let shifted = exp.push(Fn::Sub, vec![Operand::Arg(0), Operand::Arg(1)]);
        exp.push(Fn::Exp, vec![shifted]);
        let mut finish = Pointwise::identity();
        if self.log {
            let shifted = finish.push(Fn::Sub, vec![Operand::Arg(0), Operand::Arg(1)]);
            let log = finish.push(Fn::Log, vec![Operand::Arg(2)]);
            finish.push(Fn::Sub, vec![shifted, log]);
        } else {
            finish = exp.clone();
            let last = Operand::Step(finish.steps.len() - 1);
            if inputs[0].dtype == DType::F32 {
                // One division per group; the quotients differ by their last bit.
                let scale = finish.push(Fn::Reciprocal, vec![Operand::Arg(2)]);
                finish.push(Fn::Mul, vec![last, scale]);
            } else {
                finish.push(Fn::Div, vec![last, Operand::Arg(2)]);
            }
        }
        Algorithm::Reduce(ReduceNest {
            axes: output.shape.clone(),
            reduced: vec![self.axis as usize],
            x: Access::new(0, out.clone()),
            stages: vec![Stage { combine: Combine::Max, body: Pointwise::identity() }, Stage { combine: Combine::Sum, body: exp }],
            finish,
            per_group: false,
            epilogue: Epilogue::broadcast(&self.epilogue, inputs, 1, &out),
            out,
        })
    }

    fn epilogue(&self) -> Option<&Pointwise> {
        Some(&self.epilogue)
    }
    fn epilogue_mut(&mut self) -> Option<&mut Pointwise> {
        Some(&mut self.epilogue)
    }
}
