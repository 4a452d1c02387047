//! Matrix products.

use super::{Row, one};
use crate::error::{Fault, invalid};
use crate::site::Site;
use ir::ValueId;
use ir::ops::contract::matmul::MatMul;
use ir::pointwise::{Fn, Pointwise};

pub(super) const ROWS: &[Row] = &[one("Gemm", gemm), one("MatMul", matmul)];

/// numpy's `matmul`: a vector operand is a row on the left, a column on the right.
pub(super) fn matmul(s: &mut Site) -> Result<ValueId, Fault> {
    let (mut a, mut b) = (s.input(0)?, s.input(1)?);
    if s.rank(a) == 0 || s.rank(b) == 0 {
        invalid!("the operands need at least one dimension, found {} and {}", s.ty(a), s.ty(b));
    }
    let (row, column) = (s.rank(a) == 1, s.rank(b) == 1);
    if row {
        let k = s.shape(a)[0].clone();
        a = s.reshape(a, vec![1i64.into(), k])?;
    }
    if column {
        let k = s.shape(b)[0].clone();
        b = s.reshape(b, vec![k, 1i64.into()])?;
    }
    let product = s.add(MatMul::plain(), &[a, b])?;
    let mut shape = s.shape(product);
    let rank = shape.len();
    if column {
        shape.remove(rank - 1);
    }
    if row {
        shape.remove(rank - 2);
    }
    s.reshape(product, shape)
}

/// `alpha · A' · B' + beta · C`
pub(super) fn gemm(s: &mut Site) -> Result<ValueId, Fault> {
    let (mut a, b) = (s.input(0)?, s.input(1)?);
    if s.rank(a) != 2 || s.rank(b) != 2 {
        invalid!("the operands must be matrices, found {} and {}", s.ty(a), s.ty(b));
    }
    if s.attributes.flag("transA")? {
        a = s.transpose(a, &[1, 0])?;
    }
    let (alpha, beta) = (s.attributes.float_or("alpha", 1.0)?, s.attributes.float_or("beta", 1.0)?);
    let transpose_b = s.attributes.flag("transB")?;
    let mut product = s.add(MatMul { transpose_b, epilogue: Pointwise::identity() }, &[a, b])?;
    if alpha != 1.0 {
        product = s.binary(Fn::Mul, product, alpha)?;
    }
    let Some(mut c) = s.optional(2).filter(|_| beta != 0.0) else { return Ok(product) };
    if !ir::ops::broadcasts_into(&s.shape(c), &s.shape(product)) {
        invalid!("the bias {} does not broadcast to the product {}", s.ty(c), s.ty(product));
    }
    if beta != 1.0 {
        c = s.binary(Fn::Mul, c, beta)?;
    }
    s.binary(Fn::Add, product, c)
}
