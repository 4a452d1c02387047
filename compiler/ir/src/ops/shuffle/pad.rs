//! `pad(x)`: surrounds a tensor with a constant. Other modes are concatenations of slices.

use crate::algorithm::{Access, Affine, Algorithm, Piece, Shuffle};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::pointwise::Literal;
use crate::tensor::{Tensor, strides};
use crate::{attrs, op_error};

attrs! {
    /// Elements to add before and after each dimension (not negative).
    pub struct Pad {
        pub before: Vec<Dim>,
        pub after: Vec<Dim>,
        pub value: f64,
    }
}

impl OpDef for Pad {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = inputs[0];
        if self.before.len() != x.rank() || self.after.len() != x.rank() {
            op_error!("pad of {x} needs {} sizes before and after", x.rank());
        }
        if let Some(p) = self.before.iter().chain(&self.after).find(|p| p.as_const().is_some_and(|p| p < 0)) {
            op_error!("pad: the size {p} is negative");
        }
        let shape = (0..x.rank()).map(|d| x.shape[d].clone() + self.before[d].clone() + self.after[d].clone());
        Ok(vec![TensorType { dtype: x.dtype, shape: shape.collect() }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let x = inputs[0];
        let Some(before) = crate::dim::const_dims(&self.before) else { op_error!("pad: sizes are not known") };
        let shape = self.infer(&[&TensorType::of(x)])?[0].const_shape().expect("constant sizes");
        let mut out = Tensor::from_fn(x.dtype, &shape, |_| self.value);
        let size = x.dtype.bytes();
        let to = strides(&shape);
        for (i, index) in crate::tensor::indices(&x.shape).enumerate() {
            let at: usize = index.iter().zip(&before).zip(&to).map(|((i, b), s)| (i + b) * s).sum();
            out.bytes_mut()[at * size..][..size].copy_from_slice(&x.bytes()[i * size..][..size]);
        }
        Ok(vec![out])
    }

    fn algorithm(&self, _inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let index = (0..output.rank()).map(|d| Affine::scaled(d, 1, -self.before[d].clone())).collect();
        let read = Access::padded(0, index, Literal::Float(self.value));
        Algorithm::Shuffle(Shuffle {
            pieces: vec![Piece { start: vec![Dim::from(0i64); output.rank()], extent: output.shape.clone(), read }],
        })
    }
}
