//! Operators that onnxruntime's optimiser writes (domain `com.microsoft`): fused convolutions and products, forms of GELU,
//! normalisations of sums. The quantised ones are in `contrib_quant`.

use super::norm::{normalize, scaled};
use super::reduce::mean_over;
use super::{Row, conv, elementwise, many, matmul, one, term, term_with};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::contract::matmul::MatMul;
use ir::ops::gather::gather_op::Gather;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::pointwise::{Fn, Pointwise};
use ir::{DType, Tensor, ValueId};

pub(super) const DOMAIN: &str = "com.microsoft";

pub(super) const ROWS: &[Row] = &[
    term("BiasGelu", "mul(mul(add(?a, ?b), add(erf(mul(add(?a, ?b), 0.7071067811865476)), 1.0)), 0.5)").of(DOMAIN),
    many("EmbedLayerNormalization", embed_layer).of(DOMAIN),
    one("FastGelu", fast_gelu).of(DOMAIN),
    one("FusedConv", fused_conv).of(DOMAIN),
    one("FusedGemm", fused_gemm).of(DOMAIN),
    one("FusedMatMul", fused_matmul).of(DOMAIN),
    one("Gelu", elementwise::gelu).of(DOMAIN),
    term_with("QuickGelu", "mul(?a, sigmoid(mul(?a, $alpha)))", &[("alpha", 1.702)]).of(DOMAIN),
    // Registered by onnxruntime in both domains.
    many("SimplifiedLayerNormalization", simplified_layer),
    many("SimplifiedLayerNormalization", simplified_layer).of(DOMAIN),
    many("SkipLayerNormalization", |s| skip_layer(s, true)).of(DOMAIN),
    many("SkipSimplifiedLayerNormalization", |s| skip_layer(s, false)).of(DOMAIN),
];

fn fast_gelu(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let x = match s.optional(1) {
        Some(bias) => s.binary(Fn::Add, x, bias)?,
        None => x,
    };
    elementwise::gelu_tanh(s, x)
}

/// The function that the attribute `activation` names; its parameters are `alpha` and `beta`.
fn activate(s: &mut Site, x: ValueId, alpha: Option<f64>, beta: Option<f64>) -> Result<ValueId, Fault> {
    let or = |given: Option<f64>, default: f64| given.unwrap_or(default);
    let text = match s.attributes.string_or("activation", "")? {
        "" => return Ok(x),
        "Relu" => "relu(?a)".to_string(),
        "Sigmoid" => "sigmoid(?a)".to_string(),
        "Tanh" => "tanh(?a)".to_string(),
        "LeakyRelu" => format!("select(less(?a, 0.0), mul(?a, {:?}), ?a)", or(alpha, 0.01)),
        "Clip" => format!("clamp(?a, {:?}, {:?})", or(alpha, f64::from(f32::MIN)), or(beta, f64::from(f32::MAX))),
        "HardSigmoid" => format!("clamp(add(mul(?a, {:?}), {:?}), 0.0, 1.0)", or(alpha, 0.2), or(beta, 0.5)),
        other => unsupported!("the activation `{other}` is not supported"),
    };
    s.term(&text, &[x])
}

/// A convolution, a sum with another tensor, an activation.
fn fused_conv(s: &mut Site) -> Result<ValueId, Fault> {
    let mut y = conv::conv(s)?;
    if let Some(other) = s.optional(3) {
        y = s.binary(Fn::Add, y, other)?;
    }
    let parameter = |i: usize| Ok::<_, Fault>(s.attributes.floats("activation_params")?.and_then(|p| p.get(i)).map(|p| f64::from(*p)));
    let (alpha, beta) = (parameter(0)?, parameter(1)?);
    activate(s, y, alpha, beta)
}

fn fused_gemm(s: &mut Site) -> Result<ValueId, Fault> {
    let y = matmul::gemm(s)?;
    let (alpha, beta) = (s.attributes.float("activation_alpha")?, s.attributes.float("activation_beta")?);
    activate(s, y, alpha, beta)
}

/// A product of matrices whose last two dimensions may be exchanged, and whose batches may stand before the rows.
fn fused_matmul(s: &mut Site) -> Result<ValueId, Fault> {
    let mut operands = vec![];
    for (i, transpose, batch) in [(0, "transA", "transBatchA"), (1, "transB", "transBatchB")] {
        let x = s.input(i)?;
        let rank = s.rank(x);
        let mut perm: Vec<usize> = (0..rank).collect();
        if rank > 2 && s.attributes.flag(batch)? {
            // [rows, batches…, columns] is meant: the first dimension goes behind the batches.
            perm = (1..rank - 1).chain([0, rank - 1]).collect();
        }
        if rank > 1 && s.attributes.flag(transpose)? {
            perm.swap(rank - 2, rank - 1);
        }
        operands.push(Some(if perm.is_sorted() { x } else { s.transpose(x, &perm)? }));
    }
    s.inputs = operands;
    let product = matmul::matmul(s)?;
    match s.attributes.float_or("alpha", 1.0)? {
        1.0 => Ok(product),
        alpha => s.binary(Fn::Mul, product, alpha),
    }
}

/// Statistics of rows, as the second and third output of normalisations: the mean (0 unless `center`) and 1 / √(var + ε).
fn statistics(s: &mut Site, x: ValueId, epsilon: f64, center: bool) -> Result<[ValueId; 2], Fault> {
    let axes = [s.rank(x) - 1];
    let x = s.cast(x, DType::F32)?;
    let mean = mean_over(s, x, &axes, true)?;
    let distance = if center { s.binary(Fn::Sub, x, mean)? } else { x };
    let squares = s.binary(Fn::Mul, distance, distance)?;
    let variance = mean_over(s, squares, &axes, true)?;
    Ok([mean, s.term(&format!("reciprocal(sqrt(add(?a, {epsilon:?})))"), &[variance])?])
}

fn simplified_layer(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let (x, scale) = (s.input(0)?, s.input(1)?);
    let rank = s.rank(x);
    let axis = s.axis_attribute(-1, rank)?;
    let epsilon = s.attributes.float_or("epsilon", 1e-5)?;
    let y = normalize(s, x, axis..rank, epsilon, false)?;
    let y = scaled(s, y, Some(scale), None)?;
    if s.outputs.len() < 2 {
        return Ok(vec![y]);
    }
    if axis + 1 != rank {
        unsupported!("statistics over several dimensions are not supported");
    }
    let [_, inverse] = statistics(s, x, epsilon, false)?;
    Ok(vec![y, inverse])
}

/// A normalisation of `input + skip (+ bias)`. The fourth output is the sum.
fn skip_layer(s: &mut Site, center: bool) -> Result<Vec<ValueId>, Fault> {
    let (x, skip, gamma) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let (beta, bias) = if center { (s.optional(3), s.optional(4)) } else { (None, s.optional(3)) };
    let mut sum = s.binary(Fn::Add, x, skip)?;
    if let Some(bias) = bias {
        sum = s.binary(Fn::Add, sum, bias)?;
    }
    let epsilon = s.attributes.float_or("epsilon", 1e-12)?;
    let rank = s.rank(sum);
    if rank == 0 {
        invalid!("the input {} has no rows", s.ty(x));
    }
    let y = normalize(s, sum, rank - 1..rank, epsilon, center)?;
    let y = scaled(s, y, Some(gamma), beta)?;
    if s.outputs.len() < 2 {
        return Ok(vec![y]);
    }
    let [mean, inverse] = statistics(s, sum, epsilon, center)?;
    Ok(vec![y, mean, inverse, sum])
}

/// Word, position and segment embeddings, added and normalised.
fn embed_layer(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let (ids, words, positions) = (s.input(0)?, s.input(2)?, s.input(3)?);
    let (gamma, beta) = (s.input(5)?, s.input(6)?);
    let lookup = |s: &mut Site, table: ValueId, ids: ValueId| s.add(Gather { axis: 0 }, &[table, ids]);
    let mut sum = lookup(s, words, ids)?;
    let places = match s.optional(8) {
        Some(ids) => lookup(s, positions, ids)?,
        None => {
            let length = s.shape(ids).get(1).cloned().ok_or_else(|| Fault::invalid("the ids must be [batch, sequence]"))?;
            s.slice(positions, 0, 0i64.into(), length, 1)?
        }
    };
    sum = s.binary(Fn::Add, sum, places)?;
    if let (Some(ids), Some(table)) = (s.optional(1), s.optional(4)) {
        let segments = lookup(s, table, ids)?;
        sum = s.binary(Fn::Add, sum, segments)?;
    }
    let rank = s.rank(sum);
    if rank == 0 {
        invalid!("the embeddings {} have no rows", s.ty(sum));
    }
    let epsilon = s.attributes.float_or("epsilon", 1e-12)?;
    let y = normalize(s, sum, rank - 1..rank, epsilon, true)?;
    let y = scaled(s, y, Some(gamma), Some(beta))?;
    // Words that count, per sample.
    let counts = match s.optional(7) {
        Some(mask) => {
            let mask = s.cast(mask, DType::I32)?;
            s.reduce(ReduceKind::Sum, mask, &[1], false)?
        }
        None => {
            let zero = s.constant_value(Tensor::scalar(0i32));
            s.expand(zero, s.shape(ids)[..1].to_vec())?
        }
    };
    Ok(vec![y, counts, sum])
}

/// `a · b` of two matrices.
pub(super) fn product(s: &mut Site, a: ValueId, b: ValueId, transpose_b: bool) -> Result<ValueId, Fault> {
    s.add(MatMul { transpose_b, epilogue: Pointwise::identity() }, &[a, b])
}
