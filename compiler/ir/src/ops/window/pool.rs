//! `pool(x)`: the maximum or the sum over a sliding window. An average is a sum divided by the (constant) counts, which
//! the importer writes as an epilogue.

use crate::algorithm::{Access, Affine, Algorithm, Combine, Epilogue, Window};
use crate::dim::Dim;
use crate::dtype::{Element, lowest};
use crate::graph::TensorType;
use crate::ops::contract::conv::{DataLayout, window_size};
use crate::ops::{Arity, OpDef, OpError};
use crate::pointwise::{Fn, Literal, Pointwise};
use crate::tensor::{Tensor, indices, strides};
use crate::{attr_enum, attrs, for_dtype, op_error};

attr_enum! {
    /// What a window is reduced to.
    pub enum PoolKind {
        Max = "max",
        Sum = "sum",
    }
}

attrs! {
    /// `x: [N, C, spatial…]` (or channels last). Positions outside the input do not count (−∞ for max, 0 for sum).
    /// `pads` holds the begins of all spatial axes, then the ends; a ceiling output size is written as larger end pads.
    pub struct Pool {
        pub kind: PoolKind,
        pub kernel: Vec<i64>,
        pub strides: Vec<i64>,
        pub pads: Vec<i64>,
        pub dilations: Vec<i64>,
        pub data: DataLayout,
        pub epilogue: Pointwise,
    }
}

impl OpDef for Pool {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = inputs[0];
        let s = self.kernel.len();
        if x.rank() != s + 2 {
            op_error!("pool over {s} spatial axes needs an input of rank {}, found {x}", s + 2);
        }
        if self.strides.len() != s || self.dilations.len() != s || self.pads.len() != 2 * s {
            op_error!("pool over {s} spatial axes needs {s} strides, {s} dilations and {} pads", 2 * s);
        }
        if self.strides.iter().chain(&self.dilations).chain(&self.kernel).any(|v| *v < 1) {
            op_error!("pool needs positive kernel sizes, strides and dilations");
        }
        let mut shape = x.shape.clone();
        for i in 0..s {
            let axis = self.data.spatial() + i;
            shape[axis] = window_size(&x.shape[axis], self.kernel[i], self.strides[i], self.dilations[i], self.pads[i] + self.pads[s + i]);
            if shape[axis].as_const().is_some_and(|d| d < 0) {
                op_error!("pool: the kernel {:?} does not fit into {x}", self.kernel);
            }
        }
        Ok(vec![TensorType { dtype: x.dtype, shape }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let x = inputs[0];
        let shape = self.infer(&[&TensorType::of(x)])?[0].const_shape().expect("constant input");
        let (first, xs) = (self.data.spatial(), strides(&x.shape));
        let s = self.kernel.len();
        let kernel: Vec<usize> = self.kernel.iter().map(|k| *k as usize).collect();
        let taps: Vec<Vec<usize>> = indices(&kernel).collect();
        let mut out = Tensor::zeros(x.dtype, &shape);
        for_dtype!(x.dtype, T => {
            use crate::ops::map::Arith;
            let xv = x.as_slice::<T>();
            let f = match self.kind { PoolKind::Max => Fn::Max, PoolKind::Sum => Fn::Add };
            for (o, index) in out.as_mut_slice::<T>().iter_mut().zip(indices(&shape)) {
                let mut result: Option<T> = None;
                'taps: for tap in &taps {
                    let mut at: usize = index.iter().zip(&xs).enumerate().map(|(d, (i, s))| if d >= first && d < first + kernel.len() { 0 } else { i * s }).sum();
                    for i in 0..s {
                        let p = index[first + i] as i64 * self.strides[i] + tap[i] as i64 * self.dilations[i] - self.pads[i];
                        if p < 0 || p >= x.shape[first + i] as i64 {
                            continue 'taps;
                        }
                        at += p as usize * xs[first + i];
                    }
                    result = Some(result.map_or(xv[at], |r| T::apply(f, &[r, xv[at]])));
                }
                *o = result.unwrap_or_else(|| match self.kind {
                    PoolKind::Max => lowest::<T>(),
                    PoolKind::Sum => Element::from_i64(0),
                });
            }
        });
        Ok(vec![out])
    }

    /// Axes: n, spatial…, c, kernel….
    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let s = self.kernel.len();
        let (first, c) = (self.data.spatial(), self.data.channel(s + 2));
        let (ch, k0) = (1 + s, 2 + s);
        let mut axes = vec![output.shape[0].clone()];
        axes.extend((0..s).map(|i| output.shape[first + i].clone()));
        axes.push(output.shape[c].clone());
        axes.extend(self.kernel.iter().map(|k| Dim::from(*k)));
        let (mut x, mut out) = (vec![Affine::axis(0); s + 2], vec![Affine::axis(0); s + 2]);
        for i in 0..s {
            x[first + i] = Affine::scaled(1 + i, self.strides[i], -self.pads[i]).plus(k0 + i, self.dilations[i]);
            out[first + i] = Affine::axis(1 + i);
        }
        (x[c], out[c]) = (Affine::axis(ch), Affine::axis(ch));
        let (combine, pad) = match self.kind {
            PoolKind::Max if inputs[0].dtype.is_float() => (Combine::Max, Literal::Float(f64::NEG_INFINITY)),
            PoolKind::Max => (Combine::Max, for_dtype!(inputs[0].dtype, T => Literal::Int(lowest::<T>().to_i64()))),
            PoolKind::Sum => (Combine::Sum, Literal::Float(0.0)),
        };
        let padded = self.pads.iter().any(|p| *p != 0);
        Algorithm::Window(Window {
            axes,
            x: Access { operand: 0, index: x, pad: padded.then_some(pad) },
            w: None,
            combine,
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
