//! Dropout: nothing in inference; in training elements are dropped at random, from a seed.

use super::{Row, many};
use crate::error::Fault;
use crate::site::Site;
use ir::ops::routine::random::RandomUniform;
use ir::pointwise::Fn;
use ir::{DType, Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[many("Dropout", dropout)];

/// What is kept grows by 1 / (1 − ratio). The mask says what is kept.
fn dropout(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let x = s.input(0)?;
    // Before operator set 12 training was another operator's business.
    let training = s.optional(2).filter(|t| s.version >= 12 && s.scalar(*t) != Some(0.0));
    let ratio = s.optional(1).map_or(Some(0.5), |ratio| s.scalar(ratio));
    let Some(training) = training.filter(|_| ratio != Some(0.0)) else {
        if s.outputs.len() < 2 {
            return Ok(vec![x]);
        }
        // The mask has the input's type before operator set 10.
        let dtype = if s.version < 10 { s.dtype(x) } else { DType::Bool };
        let kept = s.constant_value(Tensor::from_fn(dtype, &[], |_| 1.0));
        let mask = s.expand(kept, s.shape(x))?;
        return Ok(vec![x, mask]);
    };
    let ratio = match s.optional(1) {
        Some(ratio) => {
            let ratio = s.reshape(ratio, vec![])?;
            s.cast(ratio, DType::F32)?
        }
        None => s.constant_value(Tensor::scalar(0.5f32)),
    };
    // Without a seed, one that follows from the layer's name: different layers drop different elements.
    let seed = match s.attributes.int("seed")? {
        Some(seed) => seed,
        None => s.name.bytes().fold(1i64, |hash, b| hash.wrapping_mul(0x0100_0000_01b3) ^ i64::from(b)),
    };
    let random = s.add(RandomUniform { seed, low: 0.0, high: 1.0, dtype: DType::F32, shape: s.shape(x) }, &[])?;
    let mut mask = s.binary(Fn::GreaterEqual, random, ratio)?;
    let factor = s.term("reciprocal(sub(1.0, ?a))", &[ratio])?;
    let factor = s.cast(factor, s.dtype(x))?;
    let mut y = s.term("select(?a, mul(?b, ?c), 0.0)", &[mask, x, factor])?;
    if s.scalar(training).is_none() {
        let training = s.reshape(training, vec![])?;
        mask = s.term("or(?a, not(?b))", &[mask, training])?;
        y = s.map(Fn::Select, [training.into(), y.into(), x.into()])?;
    }
    Ok(vec![y, mask])
}
