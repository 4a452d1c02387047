//! `normalize(x)`: (x − mean) / √(variance + ε) over groups of axes, or x / √(mean of squares + ε). Scale and shift follow
//! as pointwise work. Layer, instance, group and RMS normalisation are this with different axes.

use crate::algorithm::{Access, Affine, Algorithm, Combine, Epilogue, Reduce as ReduceNest, Stage};
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError, check_axes};
use crate::pointwise::{Fn, Literal, Operand, Pointwise};
use crate::tensor::{Tensor, indices, strides};
use crate::{attrs, for_dtype, op_error};

attrs! {
    /// Over `axes` (0..rank, increasing, of constant size). `center` subtracts the mean first.
    pub struct Normalize {
        pub axes: Vec<i64>,
        pub epsilon: f64,
        pub center: bool,
        pub epilogue: Pointwise,
    }
}

impl Normalize {
    fn group_size(&self, x: &TensorType) -> Option<i64> {
        self.axes.iter().map(|a| x.shape[*a as usize].as_const()).product()
    }
}

impl OpDef for Normalize {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = inputs[0];
        check_axes("normalize", &self.axes, x)?;
        if !x.dtype.is_float() {
            op_error!("normalize needs floating-point elements, found {x}");
        }
        if self.group_size(x).is_none() {
            op_error!("normalize needs axes of known size, found {x}");
        }
        Ok(vec![x.clone()])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let x = inputs[0];
        let reduced = |d: usize| self.axes.contains(&(d as i64));
        let kept: Vec<usize> = (0..x.rank()).map(|d| if reduced(d) { 1 } else { x.shape[d] }).collect();
        let to = strides(&kept);
        let groups: usize = kept.iter().product();
        let at: Vec<usize> = indices(&x.shape)
            .map(|index| index.iter().zip(&kept).zip(&to).map(|((i, k), s)| if *k == 1 { 0 } else { i * s }).sum())
            .collect();
        let values = x.to_f64s();
        let n = (values.len() / groups.max(1)) as f64;
        let mean_of = |f: &dyn std::ops::Fn(usize) -> f64| {
            let mut sums = vec![0.0; groups];
            (0..values.len()).for_each(|i| sums[at[i]] += f(i));
            sums.into_iter().map(|s| s / n).collect::<Vec<f64>>()
        };
        let mean = if self.center { mean_of(&|i| values[i]) } else { vec![0.0; groups] };
        let variance = mean_of(&|i| (values[i] - mean[at[i]]) * (values[i] - mean[at[i]]));
        let mut out = Tensor::zeros(x.dtype, &x.shape);
        for_dtype!(x.dtype, T => {
            use crate::dtype::Element;
            for (i, o) in out.as_mut_slice::<T>().iter_mut().enumerate() {
                *o = <T as Element>::from_f64((values[i] - mean[at[i]]) / libm::sqrt(variance[at[i]] + self.epsilon));
            }
        });
        Ok(vec![out])
    }

    /// Stages: the sum, then the sum of squared differences (two passes, for accuracy).
    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let x = inputs[0];
        let literal = |v: f64| Operand::Literal(Literal::Float(v));
        let inverse = literal(1.0 / self.group_size(x).expect("checked by infer") as f64);
        let out: Vec<Affine> = (0..output.rank()).map(Affine::axis).collect();
        let mut stages = vec![];
        let mut square = Pointwise::identity();
        let mut finish = Pointwise::identity();
        let (mut a, mut b, mut last) = (Operand::Arg(0), Operand::Arg(0), 1);
        if self.center {
            stages.push(Stage { combine: Combine::Sum, body: Pointwise::identity() });
            last = 2;
            for (expression, centered) in [(&mut square, &mut a), (&mut finish, &mut b)] {
                let mean = expression.push(Fn::Mul, vec![Operand::Arg(1), inverse]);
                *centered = expression.push(Fn::Sub, vec![Operand::Arg(0), mean]);
            }
        }
        square.push(Fn::Mul, vec![a, a]);
        stages.push(Stage { combine: Combine::Sum, body: square });
        let variance = finish.push(Fn::Mul, vec![Operand::Arg(last), inverse]);
        let shifted = finish.push(Fn::Add, vec![variance, literal(self.epsilon)]);
        let root = finish.push(Fn::Sqrt, vec![shifted]);
        let scale = finish.push(Fn::Reciprocal, vec![root]);
        finish.push(Fn::Mul, vec![b, scale]);
        Algorithm::Reduce(ReduceNest {
            axes: output.shape.clone(),
            reduced: self.axes.iter().map(|a| *a as usize).collect(),
            x: Access::new(0, out.clone()),
            stages,
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
