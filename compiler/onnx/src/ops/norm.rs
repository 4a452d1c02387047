//! Normalisations: core `normalize`, or plain scale and shift where the statistics are constants.

use super::reduce::mean_over;
use super::{Row, many, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use crate::tensor::dtype;
use ir::ops::contract::conv::DataLayout;
use ir::ops::reduce::normalize::Normalize;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::{Fn, Pointwise};
use ir::{Dim, ValueId};

pub(super) const ROWS: &[Row] = &[
    many("BatchNormalization", batch),
    one("GroupNormalization", group),
    one("InstanceNormalization", instance),
    one("LRN", local_response),
    many("LayerNormalization", layer),
    one("LpNormalization", lp),
    one("MeanVarianceNormalization", mean_variance),
    one("RMSNormalization", rms),
];

pub(super) fn normalize(s: &mut Site, x: ValueId, axes: impl Iterator<Item = usize>, epsilon: f64, center: bool) -> Result<ValueId, Fault> {
    s.add(Normalize { axes: axes.map(|a| a as i64).collect(), epsilon, center, epilogue: Pointwise::identity() }, &[x])
}

/// `x·m + a` with `m = scale / √(var + ε)` and `a = bias − mean·m`. In training mode mean and variance are those of `x`, and
/// the running ones move towards them.
fn batch(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let x = s.input(0)?;
    let training = s.version >= 14 && s.attributes.flag("training_mode")?;
    if s.version < 9 && s.attributes.int_or("spatial", 1)? == 0 {
        unsupported!("batch normalization with statistics per element (spatial = 0) is not supported");
    }
    let epsilon = s.attributes.float_or("epsilon", 1e-5)?;
    let rank = s.rank(x);
    if rank < 2 {
        invalid!("the input needs channels, found {}", s.ty(x));
    }
    let mut parameters = vec![];
    for i in 1..5 {
        let parameter = s.input(i)?;
        if s.rank(parameter) != 1 || s.shape(parameter)[0] != s.shape(x)[1] {
            invalid!("parameter {} of {} does not fit the channels of {}", i + 1, s.ty(parameter), s.ty(x));
        }
        let parameter = s.per_channel(parameter, rank)?;
        parameters.push(s.cast(parameter, s.dtype(x))?);
    }
    let [scale, bias, mut mean, mut variance] = parameters[..] else { invalid!("scale, bias, mean and variance are needed") };
    let mut running = vec![];
    if training {
        let others: Vec<usize> = (0..rank).filter(|d| *d != 1).collect();
        let found_mean = mean_over(s, x, &others, true)?;
        let distance = s.binary(Fn::Sub, x, found_mean)?;
        let squares = s.binary(Fn::Mul, distance, distance)?;
        let found_variance = mean_over(s, squares, &others, true)?;
        let momentum = s.attributes.float_or("momentum", 0.9)?;
        for (i, old, found) in [(3, mean, found_mean), (4, variance, found_variance)] {
            let text = format!("add(mul(?a, {momentum:?}), mul(?b, {:?}))", 1.0 - momentum);
            let shape: Vec<Dim> = s.shape(x)[1..2].to_vec();
            // The statistics of one image have a leading 1, the running ones need not.
            let (old, found) = (s.reshape(old, shape.clone())?, s.reshape(found, shape)?);
            let new = s.term(&text, &[old, found])?;
            running.push(s.cast(new, s.dtype(s.input(i)?))?);
        }
        (mean, variance) = (found_mean, found_variance);
    }
    let deviation = s.binary(Fn::Add, variance, epsilon)?;
    let deviation = s.unary(Fn::Sqrt, deviation)?;
    let factor = s.binary(Fn::Div, scale, deviation)?;
    let shift = s.term("sub(?a, mul(?b, ?c))", &[bias, mean, factor])?;
    let y = s.term("add(mul(?a, ?b), ?c)", &[x, factor, shift])?;
    Ok([vec![y], running].concat())
}

pub(super) fn scaled(s: &mut Site, x: ValueId, scale: Option<ValueId>, bias: Option<ValueId>) -> Result<ValueId, Fault> {
    let x = match scale {
        Some(scale) => s.binary(Fn::Mul, x, scale)?,
        None => x,
    };
    match bias {
        Some(bias) => s.binary(Fn::Add, x, bias),
        None => Ok(x),
    }
}

/// The second output is the mean, the third 1 / √(var + ε).
fn layer(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let x = s.input(0)?;
    let rank = s.rank(x);
    let axis = s.axis_attribute(-1, rank)?;
    let epsilon = s.attributes.float_or("epsilon", 1e-5)?;
    let y = normalize(s, x, axis..rank, epsilon, true)?;
    let y = scaled(s, y, s.optional(1), s.optional(2))?;
    if s.outputs.len() < 2 {
        return Ok(vec![y]);
    }
    // Statistics are f32 unless `stash_type` names bf16.
    let stash = dtype(i32::try_from(s.attributes.int_or("stash_type", 1)?).unwrap_or(-1))?;
    let x = s.cast(x, stash)?;
    let axes: Vec<usize> = (axis..rank).collect();
    let mean = mean_over(s, x, &axes, true)?;
    let distance = s.binary(Fn::Sub, x, mean)?;
    let squares = s.binary(Fn::Mul, distance, distance)?;
    let variance = mean_over(s, squares, &axes, true)?;
    let text = format!("reciprocal(sqrt(add(?a, {epsilon:?})))");
    let inverse = s.term(&text, &[variance])?;
    Ok(vec![y, mean, inverse])
}

fn rms(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let rank = s.rank(x);
    let axis = s.axis_attribute(-1, rank)?;
    let epsilon = s.attributes.float_or("epsilon", 1e-5)?;
    let y = normalize(s, x, axis..rank, epsilon, false)?;
    scaled(s, y, s.optional(1), None)
}

fn instance(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, scale, bias) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let rank = s.rank(x);
    if rank < 3 {
        invalid!("the input needs channels and spatial dimensions, found {}", s.ty(x));
    }
    let epsilon = s.attributes.float_or("epsilon", 1e-5)?;
    let y = normalize(s, x, 2..rank, epsilon, true)?;
    let (scale, bias) = (s.per_channel(scale, rank)?, s.per_channel(bias, rank)?);
    scaled(s, y, Some(scale), Some(bias))
}

/// Scale and bias have one element per group before operator set 21, then one per channel.
fn group(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, scale, bias) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let shape = s.shape(x);
    let groups = s.attributes.int_or("num_groups", 0)?;
    if shape.len() < 2 || groups < 1 {
        invalid!("channels and a number of groups are needed, found {} and {groups}", s.ty(x));
    }
    let Some(width) = shape[1].div_exact(&groups.into()) else { invalid!("{} channels do not divide into {groups} groups", shape[1]) };
    let epsilon = s.attributes.float_or("epsilon", 1e-5)?;
    let mut grouped = shape.clone();
    grouped.splice(1..2, [Dim::from(groups), width]);
    let y = s.reshape(x, grouped)?;
    let y = normalize(s, y, 2..shape.len() + 1, epsilon, true)?;
    if s.version < 21 {
        let (scale, bias) = (s.per_channel(scale, shape.len() + 1)?, s.per_channel(bias, shape.len() + 1)?);
        let y = scaled(s, y, Some(scale), Some(bias))?;
        return s.reshape(y, shape);
    }
    let rank = shape.len();
    let y = s.reshape(y, shape)?;
    let (scale, bias) = (s.per_channel(scale, rank)?, s.per_channel(bias, rank)?);
    scaled(s, y, Some(scale), Some(bias))
}

fn mean_variance(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let axes = s.attributes.ints("axes")?.unwrap_or(&[0, 2, 3]);
    let axes = s.axes(axes, s.rank(x))?;
    normalize(s, x, axes.into_iter(), 1e-9, true)
}

fn lp(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let axis = s.axis_attribute(-1, s.rank(x))?;
    let norm = match s.attributes.int_or("p", 2)? {
        1 => {
            let sizes = s.unary(Fn::Abs, x)?;
            s.reduce(ReduceKind::Sum, sizes, &[axis], true)?
        }
        2 => {
            let squares = s.binary(Fn::Mul, x, x)?;
            let sum = s.reduce(ReduceKind::Sum, squares, &[axis], true)?;
            s.unary(Fn::Sqrt, sum)?
        }
        p => unsupported!("the norm with p = {p} is not supported"),
    };
    // What has no length stays zero.
    s.term("div(?a, select(equal(?b, 0.0), 1.0, ?b))", &[x, norm])
}

/// `x / (bias + alpha / size · Σ x²)^beta`, the sum over neighbouring channels: a window over `[N, 1, C, rest]`.
fn local_response(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let size = s.attributes.int_or("size", 0)?;
    if shape.len() < 3 || !(1..=1 << 20).contains(&size) {
        invalid!("an image and a size are needed, found {} and {size}", s.ty(x));
    }
    let (alpha, beta, bias) =
        (s.attributes.float_or("alpha", 1e-4)?, s.attributes.float_or("beta", 0.75)?, s.attributes.float_or("bias", 1.0)?);
    let squares = s.binary(Fn::Mul, x, x)?;
    let planes = vec![shape[0].clone(), 1i64.into(), shape[1].clone(), shape[2..].iter().product()];
    let squares = s.reshape(squares, planes)?;
    let window = Pool {
        kind: PoolKind::Sum,
        kernel: vec![size, 1],
        strides: vec![1, 1],
        pads: vec![(size - 1) / 2, 0, size / 2, 0],
        dilations: vec![1, 1],
        data: DataLayout::Nchw,
        epilogue: Pointwise::identity(),
    };
    let sums = s.add(window, &[squares])?;
    let sums = s.reshape(sums, shape)?;
    let scaled = s.binary(Fn::Mul, sums, alpha / size as f64)?;
    let shifted = s.binary(Fn::Add, scaled, bias)?;
    let powers = s.binary(Fn::Pow, shifted, beta)?;
    s.binary(Fn::Div, x, powers)
}
