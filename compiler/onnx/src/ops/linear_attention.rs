//! Recurrent forms of attention: states that each position updates, unrolled; and the convolution that goes before them.

use super::attention::{grouped_product, join_heads, split_heads};
use super::{Row, many};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::contract::conv::{Conv, DataLayout};
use ir::pointwise::{Fn, Pointwise};
use ir::{Dim, Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[many("CausalConvWithState", causal_conv), many("LinearAttention", linear_attention)];

/// Positions that are unrolled.
const LENGTH_LIMIT: i64 = 1 << 10;

/// Zeros of a shape, in the type of another value.
fn zeros(s: &mut Site, shape: Vec<Dim>, like: ValueId) -> Result<ValueId, Fault> {
    let zero = s.constant_value(Tensor::from_fn(s.dtype(like), &[], |_| 0.0));
    s.expand(zero, shape)
}

/// Sₜ = decay · Sₜ₋₁ + β · k ⊗ (v − (decay · Sₜ₋₁)ᵀ k); oₜ = scale · qᵀ Sₜ. Without `delta` the correction is left out.
fn linear_attention(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let (heads, shared) = (s.attributes.int_or("q_num_heads", 0)?, s.attributes.int_or("kv_num_heads", 0)?);
    let (gated, delta) = match s.attributes.string_or("update_rule", "gated_delta")? {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => invalid!("the update rule `{other}` does not exist"),
    };
    let (q, k, v) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let own = s.dtype(q);
    let working = if own == ir::DType::F64 { own } else { ir::DType::F32 };
    let mut unpacked = vec![];
    for (x, heads) in [(q, heads), (k, shared), (v, shared)] {
        let x = s.cast(x, working)?;
        unpacked.push(split_heads(s, x, heads)?);
    }
    let [q, k, v] = unpacked[..] else { invalid!("query, key and value are needed") };
    let shape = s.shape(k);
    let (length, width) = (shape[2].as_const(), shape[3].as_const());
    let (Some(length), Some(width)) = (length, width) else { return Err(Fault::run_time("length of the sequence")) };
    if length > LENGTH_LIMIT {
        unsupported!("linear attention over more than {LENGTH_LIMIT} positions is not supported");
    }
    let scale = match s.attributes.float_or("scale", 0.0)? {
        0.0 => 1.0 / (width as f64).sqrt(),
        scale => scale,
    };
    let q = s.binary(Fn::Mul, q, scale)?;
    // One number per head or per element of the key: [B, H, T, 1 or d].
    let factor = |s: &mut Site, i: usize, needed: bool| -> Result<Option<ValueId>, Fault> {
        if !needed {
            return Ok(None);
        }
        let x = s.input(i)?;
        let x = s.cast(x, working)?;
        let last = s.size(x, 2)?;
        let heads = if last == 1 { 1 } else { shared };
        split_heads(s, x, heads).map(Some)
    };
    let decay = match factor(s, 4, gated)? {
        Some(g) => Some(s.unary(Fn::Exp, g)?),
        None => None,
    };
    let beta = factor(s, 5, delta)?;
    let mut state = match s.optional(3) {
        Some(past) => s.cast(past, working)?,
        None => zeros(s, vec![shape[0].clone(), shape[1].clone(), shape[3].clone(), s.size(v, 3)?], q)?,
    };
    let mut outputs = vec![];
    for t in 0..length {
        let at = |s: &mut Site, x: ValueId| s.slice(x, 2, t.into(), 1i64.into(), 1);
        let (query, key, value) = (at(s, q)?, at(s, k)?, at(s, v)?);
        let column = s.transpose(key, &[0, 1, 3, 2])?;
        if let Some(decay) = decay {
            let decay = at(s, decay)?;
            let decay = s.transpose(decay, &[0, 1, 3, 2])?;
            state = s.binary(Fn::Mul, state, decay)?;
        }
        let mut new = value;
        if let Some(beta) = beta {
            let recalled = grouped_product(s, key, state, false)?;
            let beta = at(s, beta)?;
            new = s.term("mul(sub(?a, ?b), ?c)", &[value, recalled, beta])?;
        }
        state = s.term("add(?a, mul(?b, ?c))", &[state, column, new])?;
        outputs.push(grouped_product(s, query, state, false)?);
    }
    let output = s.concat(&outputs, 2)?;
    let output = join_heads(s, output)?;
    let past_type = s.optional(3).map_or(own, |past| s.dtype(past));
    Ok(vec![s.cast(output, own)?, s.cast(state, past_type)?])
}

/// A depthwise convolution of the past values and the new ones; the last ones are the next state.
fn causal_conv(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let (x, w) = (s.input(0)?, s.input(1)?);
    let (shape, kernel) = (s.shape(x), s.const_shape(w, "shape of the weights")?);
    let ([batch, channels, _], [_, 1, width]) = (&shape[..], &kernel[..]) else {
        invalid!("the input must be [batch, channels, length] and the weights [channels, 1, k], found {} and {}", s.ty(x), s.ty(w))
    };
    let Some(group) = channels.as_const() else { return Err(Fault::run_time("number of channels")) };
    let past = match s.optional(3) {
        Some(past) => s.cast(past, s.dtype(x))?,
        None => zeros(s, vec![batch.clone(), channels.clone(), Dim::from(width - 1)], x)?,
    };
    let all = if *width > 1 { s.concat(&[past, x], 2)? } else { x };
    let op = Conv {
        strides: vec![1],
        pads: vec![0, 0],
        dilations: vec![1],
        group,
        data: DataLayout::Nchw,
        pad_value: 0,
        epilogue: Pointwise::identity(),
    };
    let mut y = s.add(op, &[all, w])?;
    if let Some(bias) = s.optional(2) {
        let bias = s.per_channel(bias, 3)?;
        y = s.binary(Fn::Add, y, bias)?;
    }
    let y = match s.attributes.string_or("activation", "none")? {
        "none" | "" => y,
        "silu" | "swish" => s.term("mul(?a, sigmoid(?a))", &[y])?,
        other => invalid!("the activation `{other}` does not exist; expected `silu`, `swish` or `none`"),
    };
    let start = s.size(all, 2)? - (width - 1);
    let state = s.slice(all, 2, start, Dim::from(width - 1), 1)?;
    Ok(vec![y, state])
}
