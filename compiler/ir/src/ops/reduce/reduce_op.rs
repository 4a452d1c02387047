//! `reduce(x)`: sum, product, minimum or maximum over axes. Means and norms are reductions with pointwise work around them.

use crate::algorithm::{Access, Affine, Algorithm, Combine, Epilogue, Reduce as ReduceNest, Stage};
use crate::dim::Dim;
use crate::dtype::{Element, highest, lowest};
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError, check_axes};
use crate::pointwise::{Fn, Pointwise};
use crate::tensor::{Tensor, indices, strides};
use crate::{attr_enum, attrs, for_dtype};

attr_enum! {
    /// How the elements of a group combine.
    pub enum ReduceKind {
        Sum = "sum",
        Prod = "prod",
        Min = "min",
        Max = "max",
    }
}

attrs! {
    /// Reduces over `axes` (0..rank, increasing). With `keepdims` they stay as size 1. An empty group gives the
    /// neutral element.
    pub struct Reduce {
        pub kind: ReduceKind,
        pub axes: Vec<i64>,
        pub keepdims: bool,
        pub epilogue: Pointwise,
    }
}

impl Reduce {
    fn is_reduced(&self, axis: usize) -> bool {
        self.axes.contains(&(axis as i64))
    }
}

/// Affine index of a reduced output: reduced axes vanish or become 0.
fn group_index(rank: usize, reduced: impl std::ops::Fn(usize) -> bool, keepdims: bool) -> Vec<Affine> {
    (0..rank).filter(|d| keepdims || !reduced(*d)).map(|d| if reduced(d) { Affine::constant(0i64) } else { Affine::axis(d) }).collect()
}

impl OpDef for Reduce {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = inputs[0];
        check_axes("reduce", &self.axes, x)?;
        let shape = x.shape.iter().enumerate().filter(|(d, _)| self.keepdims || !self.is_reduced(*d));
        let shape = shape.map(|(d, size)| if self.is_reduced(d) { Dim::from(1i64) } else { size.clone() }).collect();
        Ok(vec![TensorType { dtype: x.dtype, shape }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let x = inputs[0];
        let shape = self.infer(&[&TensorType::of(x)])?[0].const_shape().expect("constant input");
        let kept: Vec<usize> = (0..x.rank()).map(|d| if self.is_reduced(d) { 1 } else { x.shape[d] }).collect();
        let to = strides(&kept);
        let mut out = Tensor::zeros(x.dtype, &shape);
        for_dtype!(x.dtype, T => {
            use crate::ops::map::Arith;
            let xv = x.as_slice::<T>();
            let ov = out.as_mut_slice::<T>();
            let at = |index: &[usize]| -> usize { index.iter().zip(&kept).zip(&to).map(|((i, k), s)| if *k == 1 { 0 } else { i * s }).sum() };
            match self.kind {
                ReduceKind::Sum => {
                    let mut sums = vec![<T as Arith>::ACC_ZERO; ov.len()];
                    let one = T::from_i64(1);
                    for (v, index) in xv.iter().zip(indices(&x.shape)) {
                        let i = at(&index);
                        sums[i] = T::mul_acc(sums[i], *v, one);
                    }
                    ov.iter_mut().zip(sums).for_each(|(o, s)| *o = T::from_acc(s));
                }
                kind => {
                    let (f, neutral) = match kind {
                        ReduceKind::Prod => (Fn::Mul, T::from_i64(1)),
                        ReduceKind::Min => (Fn::Min, highest::<T>()),
                        _ => (Fn::Max, lowest::<T>()),
                    };
                    ov.fill(neutral);
                    for (v, index) in xv.iter().zip(indices(&x.shape)) {
                        let i = at(&index);
                        ov[i] = T::apply(f, &[ov[i], *v]);
                    }
                }
            }
        });
        Ok(vec![out])
    }

    fn algorithm(&self, inputs: &[&TensorType], _output: &TensorType) -> Algorithm {
        let x = inputs[0];
        let combine = match self.kind {
            ReduceKind::Sum => Combine::Sum,
            ReduceKind::Prod => Combine::Product,
            ReduceKind::Min => Combine::Min,
            ReduceKind::Max => Combine::Max,
        };
        let out = group_index(x.rank(), |d| self.is_reduced(d), self.keepdims);
        Algorithm::Reduce(ReduceNest {
            axes: x.shape.clone(),
            reduced: self.axes.iter().map(|a| *a as usize).collect(),
            x: Access::new(0, (0..x.rank()).map(Affine::axis).collect()),
            stages: vec![Stage { combine, body: Pointwise::identity() }],
            finish: Pointwise::identity(),
            per_group: true,
            epilogue: Epilogue::broadcast(&self.epilogue, inputs, 1, &out),
            out,
        })
    }

    fn sizes(&self, known: &[Option<&[Dim]>], types: &[&TensorType]) -> Option<Vec<Dim>> {
        let all = known.first().copied().flatten()?.iter().cloned();
        if self.axes != [0] || types[0].rank() != 1 || !self.epilogue.is_identity() {
            return None;
        }
        let size = match self.kind {
            ReduceKind::Sum => all.reduce(|a, b| a + b).unwrap_or(0i64.into()),
            ReduceKind::Prod => all.reduce(|a, b| a * b).unwrap_or(1i64.into()),
            ReduceKind::Min => all.reduce(Dim::min)?,
            ReduceKind::Max => all.reduce(Dim::max)?,
        };
        Some(vec![size])
    }

    fn epilogue(&self) -> Option<&Pointwise> {
        Some(&self.epilogue)
    }
    fn epilogue_mut(&mut self) -> Option<&mut Pointwise> {
        Some(&mut self.epilogue)
    }
}
