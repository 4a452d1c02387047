//! `conv(x, w)`: convolution (cross-correlation) over any number of spatial dimensions, with groups.

use super::{sum_type, widened};
use crate::algorithm::{Access, Affine, Algorithm, Combine, Contract, Epilogue, Window};
use crate::dim::Dim;
use crate::dtype::{DType, Element};
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::pointwise::{Literal, Pointwise};
use crate::tensor::{Tensor, indices, strides};
use crate::{attr_enum, attrs, for_dtype, op_error};

attr_enum! {
    /// Where the channels of an image-like tensor are.
    pub enum DataLayout {
        /// `[N, C, spatial…]`
        Nchw = "nchw",
        /// `[N, spatial…, C]`
        Nhwc = "nhwc",
    }
}

impl DataLayout {
    /// Dimension of the channels in a tensor of this rank.
    pub fn channel(self, rank: usize) -> usize {
        match self {
            DataLayout::Nchw => 1,
            DataLayout::Nhwc => rank - 1,
        }
    }
    /// Dimension of the first spatial axis.
    pub fn spatial(self) -> usize {
        match self {
            DataLayout::Nchw => 2,
            DataLayout::Nhwc => 1,
        }
    }
}

attrs! {
    /// `x: [N, C, spatial…]` (or channels last), `w: [M, C/group, kernel…]` in either layout → `[N, M, spatial…]`.
    /// `pads` holds the begins of all spatial axes, then the ends; what they add to `x` has the value `pad_value`. Two
    /// 8-bit integers give exact sums of `i32`.
    pub struct Conv {
        pub strides: Vec<i64>,
        pub pads: Vec<i64>,
        pub dilations: Vec<i64>,
        pub group: i64,
        pub data: DataLayout,
        pub pad_value: i32,
        pub epilogue: Pointwise,
    }
}

/// Size of an output axis of a sliding window.
pub fn window_size(input: &Dim, kernel: i64, stride: i64, dilation: i64, pads: i64) -> Dim {
    (input.clone() + pads - (dilation * (kernel - 1) + 1)).floor_div(stride) + 1
}

impl Conv {
    fn spatial_rank(&self) -> usize {
        self.strides.len()
    }

    /// Index into `x` along spatial axis `s`: `o·stride + k·dilation − pad`.
    fn tap(&self, s: usize, o: usize, k: usize) -> Affine {
        Affine::scaled(o, self.strides[s], -self.pads[s]).plus(k, self.dilations[s])
    }
}

impl OpDef for Conv {
    fn arity(&self) -> Arity {
        Arity::Exactly(2)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let (x, w) = (inputs[0], inputs[1]);
        let s = self.spatial_rank();
        if x.rank() != s + 2 || w.rank() != s + 2 {
            op_error!("conv over {s} spatial axes needs an input and weights of rank {}, found {x} and {w}", s + 2);
        }
        if self.pads.len() != 2 * s || self.dilations.len() != s {
            op_error!(
                "conv over {s} spatial axes needs {} pads and {s} dilations, found {} and {}",
                2 * s,
                self.pads.len(),
                self.dilations.len()
            );
        }
        if self.strides.iter().chain(&self.dilations).any(|v| *v < 1) || self.group < 1 {
            op_error!("conv needs positive strides, dilations and group");
        }
        let Some(dtype) = sum_type(x.dtype, w.dtype) else {
            op_error!("conv needs operands of one type or two 8-bit integers, found {x} and {w}");
        };
        if x.dtype.is_int() && for_dtype!(x.dtype, T => T::from_i64(self.pad_value.into()).to_i64()) != i64::from(self.pad_value) {
            op_error!("conv cannot pad {x} with {}", self.pad_value);
        }
        let Some(kernel) = w.const_shape() else { op_error!("conv needs weights of known size, found {w}") };
        if kernel[2..].contains(&0) {
            op_error!("conv needs a kernel of positive size, found {w}");
        }
        let c = self.data.channel(x.rank());
        if x.shape[c] != kernel[1] as i64 * self.group {
            op_error!(
                "conv with group {} and weights {w} needs {} input channels, found {}",
                self.group,
                kernel[1] as i64 * self.group,
                x.shape[c]
            );
        }
        if kernel[0] as i64 % self.group != 0 {
            op_error!("conv: {} output channels do not divide into {} groups", kernel[0], self.group);
        }
        let mut shape = x.shape.clone();
        shape[c] = kernel[0].into();
        for i in 0..s {
            let axis = self.data.spatial() + i;
            shape[axis] =
                window_size(&x.shape[axis], kernel[2 + i] as i64, self.strides[i], self.dilations[i], self.pads[i] + self.pads[s + i]);
            if shape[axis].as_const().is_some_and(|d| d < 0) {
                op_error!("conv: the kernel of {w} does not fit into {x}");
            }
        }
        Ok(vec![TensorType { dtype, shape }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let (x, w) = (inputs[0], inputs[1]);
        let s = self.spatial_rank();
        let shape = self.infer(&[&TensorType::of(x), &TensorType::of(w)])?[0].const_shape().expect("constant inputs");
        let (c, first) = (self.data.channel(x.rank()), self.data.spatial());
        let (xs, ws) = (strides(&x.shape), strides(&w.shape));
        let (cg, mg) = (w.shape[1], w.shape[0] / self.group as usize);
        let taps: Vec<Vec<usize>> = indices(&w.shape[2..]).collect();
        let [x, w] = &widened(x, w);
        let mut out = Tensor::zeros(x.dtype, &shape);
        for_dtype!(x.dtype, T => {
            use crate::ops::map::Arith;
            let (xv, wv) = (x.as_slice::<T>(), w.as_slice::<T>());
            let ov = out.as_mut_slice::<T>();
            let pad = T::from_i64(self.pad_value.into());
            // Where each tap reads the first channel of the input, unless it is outside, and of the weights.
            let mut reads: Vec<(Option<usize>, usize)> = vec![];
            for (o, index) in indices(&shape).enumerate() {
                let (m, g) = (index[c], index[c] / mg);
                reads.clear();
                for tap in &taps {
                    let (mut xo, mut wo) = (Some(index[0] * xs[0] + g * cg * xs[c]), m * ws[0]);
                    for i in 0..s {
                        let at = index[first + i] as i64 * self.strides[i] + tap[i] as i64 * self.dilations[i] - self.pads[i];
                        let inside = (0..x.shape[first + i] as i64).contains(&at);
                        xo = xo.filter(|_| inside).map(|xo| xo + at as usize * xs[first + i]);
                        wo += tap[i] * ws[2 + i];
                    }
                    if xo.is_some() || self.pad_value != 0 {
                        reads.push((xo, wo));
                    }
                }
                let mut sum = <T as Arith>::ACC_ZERO;
                for (xo, wo) in &reads {
                    for l in 0..cg {
                        sum = T::mul_acc(sum, xo.map_or(pad, |xo| xv[xo + l * xs[c]]), wv[wo + l * ws[1]]);
                    }
                }
                ov[o] = T::from_acc(sum);
            }
        });
        Ok(vec![out])
    }

    /// Depthwise (one input channel per group): a window. Otherwise a contraction with axes
    /// n, spatial…, group, m, kernel…, c.
    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let s = self.spatial_rank();
        let w = inputs[1].const_shape().expect("checked by infer");
        let (group, cg) = (self.group as usize, w[1]);
        let mg = w[0] / group;
        let (first, c) = (self.data.spatial(), self.data.channel(s + 2));
        let mut axes = vec![output.shape[0].clone()];
        axes.extend((0..s).map(|i| output.shape[first + i].clone()));
        // Index of an image-like tensor: n, taps or positions, channel.
        let image = |spatial: &dyn Fn(usize) -> Affine, channel: Affine| {
            let mut index = vec![Affine::axis(0); s + 2];
            (0..s).for_each(|i| index[first + i] = spatial(i));
            index[c] = channel;
            index
        };
        let position = |i: usize| Affine::axis(1 + i);
        let pad = match inputs[0].dtype {
            DType::I8 | DType::U8 => Literal::Int(self.pad_value.into()),
            _ => Literal::Float(self.pad_value.into()),
        };
        if cg == 1 && mg == 1 {
            let (ch, k0) = (1 + s, 2 + s);
            axes.push(group.into());
            axes.extend(w[2..].iter().map(|k| Dim::from(*k)));
            let out = image(&position, Affine::axis(ch));
            let mut weight = vec![Affine::axis(ch), Affine::constant(0i64)];
            weight.extend((0..s).map(|i| Affine::axis(k0 + i)));
            return Algorithm::Window(Window {
                x: Access::padded(0, image(&|i| self.tap(i, 1 + i, k0 + i), Affine::axis(ch)), pad),
                w: Some(Access::new(1, weight)),
                combine: Combine::Sum,
                epilogue: Epilogue::broadcast(&self.epilogue, inputs, 2, &out),
                axes,
                out,
            });
        }
        let (g, m, k0) = (1 + s, 2 + s, 3 + s);
        let l = k0 + s;
        axes.extend([Dim::from(group), mg.into()]);
        axes.extend(w[2..].iter().map(|k| Dim::from(*k)));
        axes.push(cg.into());
        let out_channel = Affine::scaled(g, mg as i64, 0i64).plus(m, 1);
        let out = image(&position, out_channel.clone());
        let mut weight = vec![out_channel, Affine::axis(l)];
        weight.extend((0..s).map(|i| Affine::axis(k0 + i)));
        Algorithm::Contract(Contract {
            a: Access::padded(0, image(&|i| self.tap(i, 1 + i, k0 + i), Affine::scaled(g, cg as i64, 0i64).plus(l, 1)), pad),
            b: Access::new(1, weight),
            epilogue: Epilogue::broadcast(&self.epilogue, inputs, 2, &out),
            axes,
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
