//! Normalisations: core `normalize`, or plain scale and shift where the statistics are constants.

use super::{Row, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::contract::conv::DataLayout;
use ir::ops::reduce::normalize::Normalize;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::{Fn, Pointwise};
use ir::{Dim, ValueId};

pub(super) const ROWS: &[Row] = &[
    one("BatchNormalization", batch),
    one("GroupNormalization", group),
    one("InstanceNormalization", instance),
    one("LRN", local_response),
    one("LayerNormalization", layer),
    one("LpNormalization", lp),
    one("MeanVarianceNormalization", mean_variance),
    one("RMSNormalization", rms),
];

fn normalize(s: &mut Site, x: ValueId, axes: impl Iterator<Item = usize>, epsilon: f64, center: bool) -> Result<ValueId, Fault> {
    s.add(Normalize { axes: axes.map(|a| a as i64).collect(), epsilon, center, epilogue: Pointwise::identity() }, &[x])
}

/// `x·m + a` with `m = scale / √(var + ε)` and `a = bias − mean·m`.
fn batch(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    if s.attributes.flag("training_mode")? {
        return Err(Fault::unsupported("batch normalization in training mode is not supported").hint("call model.eval() before the export"));
    }
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
    let [scale, bias, mean, variance] = parameters[..] else { invalid!("scale, bias, mean and variance are needed") };
    let deviation = s.binary(Fn::Add, variance, epsilon)?;
    let deviation = s.unary(Fn::Sqrt, deviation)?;
    let factor = s.binary(Fn::Div, scale, deviation)?;
    let shift = s.term("sub(?a, mul(?b, ?c))", &[bias, mean, factor])?;
    s.term("add(mul(?a, ?b), ?c)", &[x, factor, shift])
}

fn scaled(s: &mut Site, x: ValueId, scale: Option<ValueId>, bias: Option<ValueId>) -> Result<ValueId, Fault> {
    let x = match scale {
        Some(scale) => s.binary(Fn::Mul, x, scale)?,
        None => x,
    };
    match bias {
        Some(bias) => s.binary(Fn::Add, x, bias),
        None => Ok(x),
    }
}

fn layer(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let rank = s.rank(x);
    let axis = s.axis_attribute(-1, rank)?;
    let epsilon = s.attributes.float_or("epsilon", 1e-5)?;
    let y = normalize(s, x, axis..rank, epsilon, true)?;
    scaled(s, y, s.optional(1), s.optional(2))
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
