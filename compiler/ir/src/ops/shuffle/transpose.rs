//! `transpose(x)`: permutes dimensions.

use crate::algorithm::{Access, Affine, Algorithm, Piece, Shuffle};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::{Tensor, strides};
use crate::{attrs, op_error};

attrs! {
    /// Output dimension d is input dimension `perm[d]`.
    pub struct Transpose {
        pub perm: Vec<i64>,
    }
}

impl OpDef for Transpose {
    fn arity(&self) -> Arity {
        Arity::Exactly(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = inputs[0];
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        if sorted != (0..x.rank() as i64).collect::<Vec<_>>() {
            op_error!("transpose: {:?} is not a permutation of the {} dimensions of {x}", self.perm, x.rank());
        }
        Ok(vec![TensorType { dtype: x.dtype, shape: self.perm.iter().map(|p| x.shape[*p as usize].clone()).collect() }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let x = inputs[0];
        let shape: Vec<usize> = self.perm.iter().map(|p| x.shape[*p as usize]).collect();
        let from = strides(&x.shape);
        Ok(vec![x.gather_elements(&shape, |index| Some(index.iter().zip(&self.perm).map(|(i, p)| i * from[*p as usize]).sum()))])
    }

    fn algorithm(&self, _inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let mut index = vec![Affine::constant(0i64); self.perm.len()];
        for (d, p) in self.perm.iter().enumerate() {
            index[*p as usize] = Affine::axis(d);
        }
        let piece = Piece { start: vec![Dim::from(0i64); output.rank()], extent: output.shape.clone(), read: Access::new(0, index) };
        Algorithm::Shuffle(Shuffle { pieces: vec![piece] })
    }
}
