//! `matmul(a, b)`: batched matrix product with numpy broadcasting of the leading dimensions. Both operands have rank ≥ 2.

use super::{sum_type, widened};
use crate::algorithm::{Access, Affine, Algorithm, Contract, Epilogue};
use crate::graph::TensorType;
use crate::ops::map::broadcast_dims;
use crate::ops::{Arity, OpDef, OpError};
use crate::pointwise::Pointwise;
use crate::tensor::{Tensor, indices, strides};
use crate::{attrs, for_dtype, op_error};

attrs! {
    /// `a: […, m, k]`, `b: […, k, n]` → `[…, m, n]`. With `transpose_b`, `b: […, n, k]`. Two 8-bit integers give `i32`.
    pub struct MatMul {
        pub transpose_b: bool,
        pub epilogue: Pointwise,
    }
}

impl MatMul {
    pub fn plain() -> MatMul {
        MatMul { transpose_b: false, epilogue: Pointwise::identity() }
    }
}

impl OpDef for MatMul {
    fn arity(&self) -> Arity {
        Arity::Exactly(2)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let (a, b) = (inputs[0], inputs[1]);
        if a.rank() < 2 || b.rank() < 2 {
            op_error!("matmul needs operands of rank 2 or more, found {a} and {b}");
        }
        let Some(dtype) = sum_type(a.dtype, b.dtype) else {
            op_error!("matmul needs operands of one type or two 8-bit integers, found {a} and {b}");
        };
        let (ra, rb) = (a.rank(), b.rank());
        let (bk, bn) = if self.transpose_b { (rb - 1, rb - 2) } else { (rb - 2, rb - 1) };
        if a.shape[ra - 1] != b.shape[bk] {
            op_error!("matmul: inner sizes {} and {} of {a} and {b} differ", a.shape[ra - 1], b.shape[bk]);
        }
        let mut shape = broadcast_dims(&[&a.shape[..ra - 2], &b.shape[..rb - 2]])?;
        shape.extend([a.shape[ra - 2].clone(), b.shape[bn].clone()]);
        Ok(vec![TensorType { dtype, shape }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let (a, b) = (inputs[0], inputs[1]);
        let types = [TensorType::of(a), TensorType::of(b)];
        let shape = self.infer(&[&types[0], &types[1]])?[0].const_shape().expect("constant inputs");
        let [a, b] = &widened(a, b);
        let (ra, rb, r) = (a.rank(), b.rank(), shape.len());
        let (m, k, n) = (shape[r - 2], a.shape[ra - 1], shape[r - 1]);
        let mut out = Tensor::zeros(a.dtype, &shape);
        let batch = |t: &Tensor, index: &[usize]| -> usize {
            let lead = &t.shape[..t.rank() - 2];
            let at = &index[index.len() - lead.len()..];
            lead.iter().zip(at).zip(strides(lead)).map(|((d, i), s)| if *d == 1 { 0 } else { i * s }).sum()
        };
        let (kb, nb) = if self.transpose_b { (1, b.shape[rb - 1]) } else { (b.shape[rb - 1], 1) };
        for_dtype!(a.dtype, T => {
            use crate::ops::map::Arith;
            let (av, bv) = (a.as_slice::<T>(), b.as_slice::<T>());
            let ov = out.as_mut_slice::<T>();
            for (z, index) in indices(&shape[..r - 2]).enumerate() {
                let (a0, b0, o0) = (batch(a, &index) * m * k, batch(b, &index) * k * n, z * m * n);
                for i in 0..m {
                    for j in 0..n {
                        let mut sum = <T as Arith>::ACC_ZERO;
                        for l in 0..k {
                            sum = T::mul_acc(sum, av[a0 + i * k + l], bv[b0 + l * kb + j * nb]);
                        }
                        ov[o0 + i * n + j] = T::from_acc(sum);
                    }
                }
            }
        });
        Ok(vec![out])
    }

    /// Axes: the batch dimensions, m, n, k.
    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let (a, b) = (inputs[0], inputs[1]);
        let r = output.rank();
        let (m, n, k) = (r - 2, r - 1, r);
        let mut axes = output.shape.clone();
        axes.push(a.shape[a.rank() - 1].clone());
        let out: Vec<Affine> = (0..r).map(Affine::axis).collect();
        let operand = |number: usize, t: &TensorType, row: usize, column: usize| {
            let mut access = Access::broadcast(number, &t.shape[..t.rank() - 2], &out[..r - 2]);
            access.index.extend([Affine::axis(row), Affine::axis(column)]);
            access
        };
        let (row, column) = if self.transpose_b { (n, k) } else { (k, n) };
        Algorithm::Contract(Contract {
            a: operand(0, a, m, k),
            b: operand(1, b, row, column),
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
