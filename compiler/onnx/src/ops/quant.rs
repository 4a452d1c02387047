//! Quantisation: integers (or narrow floats) with scales and zero points, per tensor, per axis or per block. Products of
//! quantised tensors are exact sums of `i32`.

use super::{Row, many, one};
use crate::error::{Fault, invalid};
use crate::site::Site;
use crate::tensor::dtype;
use ir::ops::contract::matmul::MatMul;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::pointwise::{Fn, Pointwise};
use ir::{DType, Dim, ValueId};

pub(super) const ROWS: &[Row] = &[
    one("ConvInteger", conv_integer),
    one("DequantizeLinear", dequantize_linear),
    many("DynamicQuantizeLinear", dynamic_quantize),
    one("MatMulInteger", matmul_integer),
    one("QLinearConv", qlinear_conv),
    one("QLinearMatMul", qlinear_matmul),
    one("QuantizeLinear", quantize_linear),
];

/// A scale and a zero point.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub scale: ValueId,
    pub zero: Option<ValueId>,
}

/// The type of an attribute that names one; 0 and nothing are none.
fn dtype_attribute(s: &Site, name: &str) -> Result<Option<DType>, Fault> {
    match s.attributes.int_or(name, 0)? {
        0 => Ok(None),
        number => dtype(i32::try_from(number).unwrap_or(-1)).map(Some),
    }
}

/// The smallest and the largest number of an integer type.
fn range(to: DType) -> (f64, f64) {
    let bits = to.bits() as i32;
    match to.class() {
        ir::dtype::Class::Signed => (-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0),
        _ => (0.0, 2f64.powi(bits) - 1.0),
    }
}

/// A parameter of a grid, so that it broadcasts to `x`: one number, one per element of an axis, or one per block.
fn spread(s: &mut Site, parameter: ValueId, x: ValueId) -> Result<ValueId, Fault> {
    let (shape, rank) = (s.shape(parameter), s.rank(x));
    if s.ty(parameter).elements() == 1 {
        return s.reshape(parameter, vec![]);
    }
    let axis = s.axis_attribute(1, rank)?;
    if shape.len() == 1 {
        let mut column = vec![Dim::from(1i64); rank];
        column[axis] = shape[0].clone();
        return s.reshape(parameter, column);
    }
    let block = s.attributes.int_or("block_size", 0)?;
    if shape.len() != rank || block < 1 {
        invalid!("a scale {} with blocks of {block} does not fit {}", s.ty(parameter), s.ty(x));
    }
    let (mut apart, mut repeated, mut joined) = (shape.clone(), shape.clone(), shape.clone());
    apart.insert(axis + 1, 1i64.into());
    repeated.insert(axis + 1, block.into());
    joined[axis] = shape[axis].clone() * block;
    let parameter = s.reshape(parameter, apart)?;
    let parameter = s.expand(parameter, repeated)?;
    let parameter = s.reshape(parameter, joined)?;
    let size = s.shape(x)[axis].clone();
    s.slice(parameter, axis, 0i64.into(), size, 1)
}

/// `saturate(round(x / scale) + zero)`; floats are only converted.
pub(super) fn quantize(s: &mut Site, x: ValueId, grid: Grid, to: DType) -> Result<ValueId, Fault> {
    let scaled = s.binary(Fn::Div, x, grid.scale)?;
    to_grid(s, scaled, grid.zero, to)
}

/// The steps of a grid as elements of its type.
fn to_grid(s: &mut Site, steps: ValueId, zero: Option<ValueId>, to: DType) -> Result<ValueId, Fault> {
    let working = s.dtype(steps);
    let mut y = if to.is_float() { steps } else { s.unary(Fn::Round, steps)? };
    if let Some(zero) = zero {
        let zero = s.cast(zero, working)?;
        y = s.binary(Fn::Add, y, zero)?;
    }
    if to.is_float() {
        return super::elementwise::cast_to(s, y, to);
    }
    let (low, high) = range(to);
    let y = s.map(Fn::Clamp, [y.into(), low.into(), high.into()])?;
    s.cast(y, to)
}

/// `(x − zero) · scale`, in the scale's type.
pub(super) fn dequantize(s: &mut Site, x: ValueId, grid: Grid) -> Result<ValueId, Fault> {
    let result = s.dtype(grid.scale);
    let working = if result == DType::F64 { DType::F64 } else { DType::F32 };
    let mut y = s.cast(x, working)?;
    if let Some(zero) = grid.zero {
        let zero = s.cast(zero, working)?;
        y = s.binary(Fn::Sub, y, zero)?;
    }
    let scale = s.cast(grid.scale, working)?;
    let y = s.binary(Fn::Mul, y, scale)?;
    s.cast(y, result)
}

pub(super) fn quantize_linear(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, scale, zero) = (s.input(0)?, s.input(1)?, s.optional(2));
    let to = match (zero, dtype_attribute(s, "output_dtype")?) {
        (Some(zero), _) => s.dtype(zero),
        (None, Some(to)) => to,
        (None, None) => DType::U8,
    };
    let own = if s.dtype(scale).is_narrow_float() { s.dtype(x) } else { s.dtype(scale) };
    let working = dtype_attribute(s, "precision")?.unwrap_or(own);
    let working = if working.is_float() { working } else { DType::F32 };
    let scale = spread(s, scale, x)?;
    let zero = zero.map(|zero| spread(s, zero, x)).transpose()?;
    let (x, scale) = (s.cast(x, working)?, s.cast(scale, working)?);
    quantize(s, x, Grid { scale, zero }, to)
}

pub(super) fn dequantize_linear(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, scale, zero) = (s.input(0)?, s.input(1)?, s.optional(2));
    let to = dtype_attribute(s, "output_dtype")?;
    let scale = spread(s, scale, x)?;
    let scale = if s.dtype(scale).is_narrow_float() { s.cast(scale, to.unwrap_or(DType::F32))? } else { scale };
    let zero = zero.map(|zero| spread(s, zero, x)).transpose()?;
    let y = dequantize(s, x, Grid { scale, zero })?;
    match to {
        Some(to) => s.cast(y, to),
        None => Ok(y),
    }
}

/// A grid of `u8` over the range of the elements and 0.
pub(super) fn dynamic_grid(s: &mut Site, x: ValueId) -> Result<Grid, Fault> {
    let axes: Vec<usize> = (0..s.rank(x)).collect();
    let (low, high) = (s.reduce(ReduceKind::Min, x, &axes, false)?, s.reduce(ReduceKind::Max, x, &axes, false)?);
    let scale = s.term("div(sub(max(?b, 0.0), min(?a, 0.0)), 255.0)", &[low, high])?;
    // Nothing but zeros: any scale will do.
    let safe = s.term("select(equal(?a, 0.0), 1.0, ?a)", &[scale])?;
    let zero = s.term("clamp(round(div(neg(min(?a, 0.0)), ?b)), 0.0, 255.0)", &[low, safe])?;
    Ok(Grid { scale: safe, zero: Some(s.cast(zero, DType::U8)?) })
}

fn dynamic_quantize(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let x = s.input(0)?;
    let grid = dynamic_grid(s, x)?;
    let y = quantize(s, x, grid, DType::U8)?;
    Ok(vec![y, grid.scale, grid.zero.expect("was just made")])
}

/// What a quantised tensor counts, as `i32`: `x − zero`, where zero points run along `axis` unless there is one.
pub(super) fn centred(s: &mut Site, x: ValueId, zero: Option<ValueId>, axis: usize) -> Result<ValueId, Fault> {
    let wide = s.cast(x, DType::I32)?;
    let Some(zero) = zero else { return Ok(wide) };
    let zero = along(s, zero, x, axis)?;
    let zero = s.cast(zero, DType::I32)?;
    s.binary(Fn::Sub, wide, zero)
}

/// A parameter that is one number, one per element of `axis` of `x`, or broadcasts already.
pub(super) fn along(s: &mut Site, parameter: ValueId, x: ValueId, axis: usize) -> Result<ValueId, Fault> {
    if s.ty(parameter).elements() == 1 {
        return s.reshape(parameter, vec![]);
    }
    if s.rank(parameter) != 1 {
        return Ok(parameter);
    }
    let rank = s.rank(x);
    if axis >= rank {
        invalid!("{} runs along dimension {}, which {} has not", s.ty(parameter), axis + 1, s.ty(x));
    }
    let mut shape = vec![Dim::from(1i64); rank];
    shape[axis] = s.size(parameter, 0)?;
    s.reshape(parameter, shape)
}

fn product(s: &mut Site, a: ValueId, b: ValueId) -> Result<ValueId, Fault> {
    s.add(MatMul { transpose_b: false, epilogue: Pointwise::identity() }, &[a, b])
}

/// Exact product of two quantised matrices: zero points by row on the left, by column on the right.
pub(super) fn integer_matmul(s: &mut Site, [a, b]: [ValueId; 2], [a_zero, b_zero]: [Option<ValueId>; 2]) -> Result<ValueId, Fault> {
    let (rows, columns) = (s.rank(a).max(2) - 2, s.rank(b).max(1) - 1);
    let (a, b) = (centred(s, a, a_zero, rows)?, centred(s, b, b_zero, columns)?);
    if s.rank(a) < 2 || s.rank(b) < 2 {
        s.inputs = vec![Some(a), Some(b)];
        return super::matmul::matmul(s);
    }
    product(s, a, b)
}

fn matmul_integer(s: &mut Site) -> Result<ValueId, Fault> {
    let (a, b) = (s.input(0)?, s.input(1)?);
    let zeros = [s.optional(2), s.optional(3)];
    integer_matmul(s, [a, b], zeros)
}

fn conv_integer(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, w) = (s.input(0)?, s.input(1)?);
    let (x, w) = (centred(s, x, s.optional(2), 1)?, centred(s, w, s.optional(3), 0)?);
    s.inputs = vec![Some(x), Some(w)];
    super::conv::conv(s)
}

/// `i32` sums to the grid of the result: one multiplication by `scale_a · scale_b / scale_y`.
pub(super) fn requantize(s: &mut Site, sums: ValueId, scales: [ValueId; 2], grid: Grid, to: DType) -> Result<ValueId, Fault> {
    let [a, b] = scales;
    let [a, b, y] = [s.cast(a, DType::F32)?, s.cast(b, DType::F32)?, s.cast(grid.scale, DType::F32)?];
    let factor = s.term("div(mul(?a, ?b), ?c)", &[a, b, y])?;
    let sums = s.cast(sums, DType::F32)?;
    let steps = s.binary(Fn::Mul, sums, factor)?;
    to_grid(s, steps, grid.zero, to)
}

fn qlinear_matmul(s: &mut Site) -> Result<ValueId, Fault> {
    let [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero] = inputs(s)?;
    let (rows, columns) = (s.rank(a).max(2) - 2, s.rank(b).max(1) - 1);
    let scales = [along(s, a_scale, a, rows)?, along(s, b_scale, b, columns)?];
    let sums = integer_matmul(s, [a, b], [Some(a_zero), Some(b_zero)])?;
    let grid = Grid { scale: along(s, y_scale, sums, rows)?, zero: Some(along(s, y_zero, sums, rows)?) };
    requantize(s, sums, scales, grid, s.dtype(y_zero))
}

fn qlinear_conv(s: &mut Site) -> Result<ValueId, Fault> {
    let [x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero] = inputs(s)?;
    let (x, counted) = (centred(s, x, Some(x_zero), 1)?, centred(s, w, Some(w_zero), 0)?);
    let bias = s.optional(8);
    s.inputs = vec![Some(x), Some(counted), bias];
    let sums = super::conv::conv(s)?;
    // The weights' scales run along the output's channels.
    let scales = [x_scale, along(s, w_scale, sums, 1)?];
    requantize(s, sums, scales, Grid { scale: y_scale, zero: Some(y_zero) }, s.dtype(y_zero))
}

fn inputs<const N: usize>(s: &Site) -> Result<[ValueId; N], Fault> {
    let values = (0..N).map(|i| s.input(i)).collect::<Result<Vec<_>, _>>()?;
    Ok(values.try_into().expect("as many as were asked for"))
}
