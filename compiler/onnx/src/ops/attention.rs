//! Attention over heads: products, masks and softmax spelled out, so that passes see what they see in any other export.

use super::{Row, many};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use crate::tensor::dtype;
use ir::ops::contract::matmul::MatMul;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::reduce::softmax::Softmax;
use ir::pointwise::{Fn, Pointwise};
use ir::{B8, DType, Dim, Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[many("Attention", attention)];

/// Elements of a mask that follows from positions.
const MASK_LIMIT: i64 = 1 << 26;

/// `[B, S, H·D] → [B, H, S, D]`
pub(super) fn split_heads(s: &mut Site, x: ValueId, heads: i64) -> Result<ValueId, Fault> {
    let shape = s.shape(x);
    let width = shape.last().filter(|_| shape.len() == 3 && heads > 0).and_then(|w| w.div_exact(&heads.into()));
    let Some(width) = width else { invalid!("{} cannot be split into {heads} heads", s.ty(x)) };
    let x = s.reshape(x, vec![shape[0].clone(), shape[1].clone(), heads.into(), width])?;
    s.transpose(x, &[0, 2, 1, 3])
}

/// `[B, H, S, D] → [B, S, H·D]`
pub(super) fn join_heads(s: &mut Site, x: ValueId) -> Result<ValueId, Fault> {
    let [batch, heads, length, width] = s.dims(x)?;
    let x = s.transpose(x, &[0, 2, 1, 3])?;
    s.reshape(x, vec![batch, length, heads * width])
}

/// A product of `a: [B, H, …]` with `b: [B, H/g, …]`, each matrix of `b` serving g neighbouring heads.
pub(crate) fn grouped_product(s: &mut Site, a: ValueId, b: ValueId, transpose_b: bool) -> Result<ValueId, Fault> {
    let (left, right) = (s.dims::<4>(a)?, s.dims::<4>(b)?);
    let op = MatMul { transpose_b, epilogue: Pointwise::identity() };
    if left[1] == right[1] {
        return s.add(op, &[a, b]);
    }
    let Some(group) = left[1].div_exact(&right[1]) else { invalid!("{} heads do not divide into groups of {}", left[1], right[1]) };
    let part = |shape: &[Dim], heads: [Dim; 2]| {
        let [outer, inner] = heads;
        vec![shape[0].clone(), outer, inner, shape[2].clone(), shape[3].clone()]
    };
    let a = s.reshape(a, part(&left, [right[1].clone(), group]))?;
    let b = s.reshape(b, part(&right, [right[1].clone(), 1i64.into()]))?;
    let product = s.add(op, &[a, b])?;
    let [_, _, _, rows, columns] = s.dims(product)?;
    let [batch, heads, ..] = left;
    s.reshape(product, vec![batch, heads, rows, columns])
}

/// Which positions a query may attend to, as far as positions decide: `lower ≤ key − query ≤ upper`, where a query's
/// position counts the keys before its block.
struct Reach {
    lower: Option<i64>,
    upper: Option<i64>,
}

fn reach(s: &Site) -> Result<Reach, Fault> {
    let bound = |name: &str| Ok::<_, Fault>(Some(s.attributes.int_or(name, -1)?).filter(|w| *w >= 0));
    let (left, right) = (bound("left_window_size")?, bound("right_window_size")?);
    let causal = s.attributes.flag("is_causal")?.then_some(0);
    Ok(Reach { lower: left.map(|w| -w), upper: right.into_iter().chain(causal).min() })
}

impl Reach {
    /// A constant mask `[queries, keys]` for `offset` keys before the queries.
    fn mask(&self, s: &mut Site, [queries, keys, offset]: [i64; 3]) -> ValueId {
        let inside = |i: usize| {
            let distance = i as i64 % keys - (i as i64 / keys + offset);
            self.lower.is_none_or(|l| distance >= l) && self.upper.is_none_or(|u| distance <= u)
        };
        let elements: Vec<B8> = (0..(queries * keys) as usize).map(|i| B8(u8::from(inside(i)))).collect();
        s.constant_value(Tensor::new(&[queries as usize, keys as usize], &elements))
    }

    /// The mask `[B, 1, queries, keys]` where the number of keys differs from sample to sample.
    fn mask_per_sample(&self, s: &mut Site, valid: ValueId, queries: i64, keys: i64) -> Result<ValueId, Fault> {
        let (rows, columns) = positions(s, queries, keys);
        // distance = column − (row + valid − queries)
        let start = s.binary(Fn::Sub, valid, queries as f64)?;
        let distance = s.term("sub(?a, add(?b, ?c))", &[columns, rows, start])?;
        let text = match (self.lower, self.upper) {
            (Some(l), Some(u)) => format!("and(greater_equal(?a, {l}.0), less_equal(?a, {u}.0))"),
            (Some(l), None) => format!("greater_equal(?a, {l}.0)"),
            (None, Some(u)) => format!("less_equal(?a, {u}.0)"),
            (None, None) => unreachable!("asked for only with a bound"),
        };
        s.term(&text, &[distance])
    }
}

/// Row numbers `[rows, 1]` and column numbers `[columns]`.
fn positions(s: &mut Site, rows: i64, columns: i64) -> (ValueId, ValueId) {
    let numbers = |shape: &[usize]| Tensor::from_fn(DType::F32, shape, |i| i as f64);
    (s.constant_value(numbers(&[rows as usize, 1])), s.constant_value(numbers(&[columns as usize])))
}

/// A mask that is shorter than the keys says nothing of the last ones: they are not attended to.
fn whole_mask(s: &mut Site, mask: ValueId, keys: &Dim) -> Result<ValueId, Fault> {
    let shape = s.shape(mask);
    let Some(given) = shape.last().filter(|d| **d != 1 && *d != keys) else { return Ok(mask) };
    let rank = shape.len();
    let mut after = vec![Dim::from(0i64); rank];
    after[rank - 1] = keys.clone() - given.clone();
    let value = if s.dtype(mask) == DType::Bool { 0.0 } else { f64::NEG_INFINITY };
    s.add(ir::ops::shuffle::pad::Pad { before: vec![0i64.into(); rank], after, value }, &[mask])
}

/// The largest score of a row is −∞ when nothing may be attended to: such rows of probabilities are 0.
pub(super) fn softmax_with_empty_rows(s: &mut Site, scores: ValueId) -> Result<ValueId, Fault> {
    let rank = s.rank(scores);
    let largest = s.reduce(ReduceKind::Max, scores, &[rank - 1], true)?;
    let probabilities = softmax(s, scores)?;
    s.term(&format!("select(equal(?a, {:?}), 0.0, ?b)", f64::NEG_INFINITY), &[largest, probabilities])
}

pub(crate) fn softmax(s: &mut Site, scores: ValueId) -> Result<ValueId, Fault> {
    let axis = s.rank(scores) as i64 - 1;
    s.add(Softmax { axis, log: false, epilogue: Pointwise::identity() }, &[scores])
}

/// `scale`, or 1 / √ of the head's width.
pub(crate) fn scale_of(s: &Site, q: ValueId) -> Result<f64, Fault> {
    match s.attributes.float("scale")? {
        Some(scale) => Ok(scale),
        None => match s.shape(q).last().and_then(Dim::as_const) {
            Some(width) => Ok(1.0 / (width as f64).sqrt()),
            None => Err(Fault::run_time("width of the heads")),
        },
    }
}

/// `scale · q · kᵀ`. Types of 16 bits scale both operands, as the specification says, lest the product overflow.
fn scores(s: &mut Site, q: ValueId, k: ValueId, scale: f64) -> Result<ValueId, Fault> {
    if s.graph.ty(q).dtype.bytes() > 2 || scale < 0.0 {
        let product = grouped_product(s, q, k, true)?;
        return s.binary(Fn::Mul, product, scale);
    }
    let (q, k) = (s.binary(Fn::Mul, q, scale.sqrt())?, s.binary(Fn::Mul, k, scale.sqrt())?);
    grouped_product(s, q, k, true)
}

fn attention(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let (mut q, mut k, mut v) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let is_flat = s.rank(q) == 3;
    if is_flat {
        let (heads, shared) = (s.attributes.int_or("q_num_heads", 0)?, s.attributes.int_or("kv_num_heads", 0)?);
        (q, k, v) = (split_heads(s, q, heads)?, split_heads(s, k, shared)?, split_heads(s, v, shared)?);
    }
    if [q, k, v].iter().any(|x| s.rank(*x) != 4) {
        invalid!("query, key and value must have 3 or 4 dimensions, found {}, {} and {}", s.ty(q), s.ty(k), s.ty(v));
    }
    let mut past = Dim::from(0i64);
    if let (Some(past_k), Some(past_v)) = (s.optional(4), s.optional(5)) {
        past = s.size(past_k, 2)?;
        (k, v) = (s.concat(&[past_k, k], 2)?, s.concat(&[past_v, v], 2)?);
    }
    let scale = scale_of(s, q)?;
    let raw = scores(s, q, k, scale)?;
    let softcap = s.attributes.float_or("softcap", 0.0)?;
    let capped = if softcap > 0.0 { s.term(&format!("mul(tanh(div(?a, {softcap:?})), {softcap:?})"), &[raw])? } else { raw };
    let (masked, may_be_empty) = masked(s, capped, past)?;
    let own = s.dtype(masked);
    let precise = match s.attributes.int("softmax_precision")? {
        Some(number) => s.cast(masked, dtype(i32::try_from(number).unwrap_or(-1))?)?,
        None => masked,
    };
    let probabilities = if may_be_empty { softmax_with_empty_rows(s, precise)? } else { softmax(s, precise)? };
    let probabilities = s.cast(probabilities, own)?;
    let y = grouped_product(s, probabilities, v, false)?;
    let y = if is_flat { join_heads(s, y)? } else { y };
    let inner = match s.attributes.int_or("qk_matmul_output_mode", 0)? {
        0 => raw,
        1 => capped,
        2 => masked,
        3 => probabilities,
        mode => invalid!("qk_matmul_output_mode is {mode}; expected 0, 1, 2 or 3"),
    };
    Ok(vec![y, k, v, inner])
}

/// Scores with masks applied, and whether a row may have nothing left.
fn masked(s: &mut Site, scores: ValueId, past: Dim) -> Result<(ValueId, bool), Fault> {
    let mut result = scores;
    let shape = s.shape(scores);
    let mut masks = vec![];
    let mut may_be_empty = false;
    if let Some(mask) = s.optional(3) {
        let mask = whole_mask(s, mask, &shape[3])?;
        may_be_empty = true;
        if s.dtype(mask) == DType::Bool {
            masks.push(mask);
        } else {
            let bias = s.cast(mask, s.dtype(scores))?;
            result = s.binary(Fn::Add, scores, bias)?;
        }
    }
    let sizes = || match shape[2].as_const().zip(shape[3].as_const()) {
        Some((queries, keys)) if queries.saturating_mul(keys) > MASK_LIMIT => {
            unsupported!("a mask of {queries} queries by {keys} keys is larger than {MASK_LIMIT} elements")
        }
        known => known.ok_or_else(|| Fault::run_time("size of the mask")),
    };
    let reach = reach(s)?;
    let valid = match s.optional(6) {
        Some(counts) => {
            let counts = s.cast(counts, DType::F32)?;
            Some(s.reshape(counts, vec![shape[0].clone(), 1i64.into(), 1i64.into(), 1i64.into()])?)
        }
        None => None,
    };
    if let Some(valid) = valid {
        let (queries, keys) = sizes()?;
        let (_, columns) = positions(s, queries, keys);
        masks.push(s.binary(Fn::Less, columns, valid)?);
        may_be_empty = true;
    }
    if reach.lower.is_some() || reach.upper.is_some() {
        let (queries, keys) = sizes()?;
        masks.push(match (valid, past.as_const()) {
            (Some(valid), _) => reach.mask_per_sample(s, valid, queries, keys)?,
            (None, Some(past)) => reach.mask(s, [queries, keys, past]),
            (None, None) => return Err(Fault::run_time("size of the mask")),
        });
        may_be_empty |= reach.lower.is_some();
    }
    for mask in masks {
        result = s.map(Fn::Select, [mask.into(), result.into(), f64::NEG_INFINITY.into()])?;
    }
    Ok((result, may_be_empty))
}
