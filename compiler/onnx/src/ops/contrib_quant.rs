//! Quantised operators of onnxruntime (domain `com.microsoft`): computed on real numbers between two grids, except for
//! products, which are exact sums of `i32`.

use super::contrib::{DOMAIN, product};
use super::quant::{Grid, along, dequantize, dynamic_grid, integer_matmul, quantize, requantize};
use super::{Row, one, pool, quant};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::narrow::U4;
use ir::ops::reduce::softmax::Softmax;
use ir::pointwise::{Fn, Pointwise};
use ir::{DType, Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[
    one("DequantizeLinear", quant::dequantize_linear).of(DOMAIN),
    one("DynamicQuantizeMatMul", dynamic_matmul).of(DOMAIN),
    one("MatMulIntegerToFloat", matmul_to_float).of(DOMAIN),
    one("MatMulNBits", matmul_n_bits).of(DOMAIN),
    one("QGemm", qgemm).of(DOMAIN),
    one("QLinearAdd", |s| binary(s, Fn::Add)).of(DOMAIN),
    one("QLinearAveragePool", |s| pooled(s, pool::average_pool)).of(DOMAIN),
    one("QLinearConcat", concat).of(DOMAIN),
    one("QLinearGlobalAveragePool", |s| pooled(s, pool::global_average_pool)).of(DOMAIN),
    one("QLinearLeakyRelu", |s| {
        let alpha = s.attributes.float_or("alpha", 0.01)?;
        unary(s, &|s, x| s.term(&format!("select(less(?a, 0.0), mul(?a, {alpha:?}), ?a)"), &[x]))
    })
    .of(DOMAIN),
    one("QLinearMul", |s| binary(s, Fn::Mul)).of(DOMAIN),
    one("QLinearReduceMean", reduce_mean).of(DOMAIN),
    one("QLinearSigmoid", |s| unary(s, &|s, x| s.unary(Fn::Sigmoid, x))).of(DOMAIN),
    one("QLinearSoftmax", |s| unary(s, &softmax)).of(DOMAIN),
    one("QuantizeLinear", quant::quantize_linear).of(DOMAIN),
];

/// Scale and zero point from two inputs on, which are one number each.
fn grid(s: &mut Site, i: usize) -> Result<Grid, Fault> {
    let scale = s.input(i)?;
    if s.ty(scale).elements() != 1 {
        unsupported!("a scale {} is not supported here", s.ty(scale));
    }
    let scale = s.reshape(scale, vec![])?;
    let zero = s.optional(i + 1).map(|zero| s.reshape(zero, vec![])).transpose()?;
    Ok(Grid { scale, zero })
}

/// The real numbers of a tensor, which its scale and zero point follow.
fn real(s: &mut Site, i: usize) -> Result<ValueId, Fault> {
    let x = s.input(i)?;
    let grid = grid(s, i + 1)?;
    dequantize(s, x, grid)
}

fn result(s: &mut Site, y: ValueId, i: usize, like: ValueId) -> Result<ValueId, Fault> {
    let grid = grid(s, i)?;
    let to = grid.zero.map_or(s.dtype(like), |zero| s.dtype(zero));
    quantize(s, y, grid, to)
}

fn unary(s: &mut Site, f: &dyn std::ops::Fn(&mut Site, ValueId) -> Result<ValueId, Fault>) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let numbers = real(s, 0)?;
    let y = f(s, numbers)?;
    result(s, y, 3, x)
}

fn binary(s: &mut Site, f: Fn) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let (a, b) = (real(s, 0)?, real(s, 3)?);
    let y = s.binary(f, a, b)?;
    result(s, y, 6, x)
}

fn softmax(s: &mut Site, x: ValueId) -> Result<ValueId, Fault> {
    let (axis, shape) = (s.axis_attribute(-1, s.rank(x))?, s.shape(x));
    let op = |axis: usize| Softmax { axis: axis as i64, log: false, epilogue: Pointwise::identity() };
    // Before operator set 13 the axis cuts the shape into a matrix.
    if s.attributes.int_or("opset", 13)? >= 13 {
        return s.add(op(axis), &[x]);
    }
    let rows = s.reshape(x, vec![shape[..axis].iter().product(), shape[axis..].iter().product()])?;
    let y = s.add(op(1), &[rows])?;
    s.reshape(y, shape)
}

/// Triples after the result's grid.
fn concat(s: &mut Site) -> Result<ValueId, Fault> {
    let n = (s.inputs.len().max(2) - 2) / 3;
    let first = s.input(2)?;
    let parts = (0..n).map(|i| real(s, 2 + 3 * i)).collect::<Result<Vec<_>, _>>()?;
    let axis = s.axis_attribute(1, s.rank(first))?;
    let y = s.concat(&parts, axis)?;
    result(s, y, 0, first)
}

fn pooled(s: &mut Site, f: fn(&mut Site) -> Result<ValueId, Fault>) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let given = s.inputs.clone();
    let mut numbers = real(s, 0)?;
    let rank = s.rank(numbers);
    let channels_last = s.attributes.flag("channels_last")?;
    if rank < 3 {
        invalid!("spatial dimensions are needed, found {}", s.ty(numbers));
    }
    if channels_last {
        let perm: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        numbers = s.transpose(numbers, &perm)?;
    }
    s.inputs = vec![Some(numbers)];
    let mut y = f(s)?;
    s.inputs = given;
    if channels_last {
        let perm: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
        y = s.transpose(y, &perm)?;
    }
    result(s, y, 3, x)
}

fn reduce_mean(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let rank = s.rank(x);
    let axes = match s.attributes.ints("axes")? {
        Some(axes) => s.axes(axes, rank)?,
        None => (0..rank).collect(),
    };
    let keepdims = s.attributes.int_or("keepdims", 1)? != 0;
    unary(s, &|s, x| super::reduce::mean_over(s, x, &axes, keepdims))
}

/// `alpha · A' · B' + C`, with `C` in steps of the product's own grid. Without a grid for the result it is a real number.
fn qgemm(s: &mut Site) -> Result<ValueId, Fault> {
    let (mut a, mut b) = (s.input(0)?, s.input(3)?);
    if s.rank(a) != 2 || s.rank(b) != 2 {
        invalid!("the operands must be matrices, found {} and {}", s.ty(a), s.ty(b));
    }
    if s.attributes.flag("transA")? {
        a = s.transpose(a, &[1, 0])?;
    }
    if s.attributes.flag("transB")? {
        b = s.transpose(b, &[1, 0])?;
    }
    let (a_scale, b_scale) = (s.input(1)?, s.input(4)?);
    let (a_scale, b_scale) = (s.reshape(a_scale, vec![])?, along(s, b_scale, b, 1)?);
    let zeros = [s.optional(2), s.optional(5)];
    let mut sums = integer_matmul(s, [a, b], zeros)?;
    if let Some(c) = s.optional(6) {
        sums = s.binary(Fn::Add, sums, c)?;
    }
    let alpha = s.attributes.float_or("alpha", 1.0)?;
    let a_scale = s.binary(Fn::Mul, a_scale, alpha)?;
    match (s.optional(7), s.optional(8)) {
        (Some(_), Some(zero)) => {
            let grid = grid(s, 7)?;
            let to = s.dtype(zero);
            requantize(s, sums, [a_scale, b_scale], grid, to)
        }
        _ => to_float(s, sums, [a_scale, b_scale], None),
    }
}

/// Sums of a product as real numbers.
fn to_float(s: &mut Site, sums: ValueId, [a, b]: [ValueId; 2], bias: Option<ValueId>) -> Result<ValueId, Fault> {
    let scale = s.binary(Fn::Mul, a, b)?;
    let numbers = s.cast(sums, s.dtype(scale))?;
    let y = s.binary(Fn::Mul, numbers, scale)?;
    match bias {
        Some(bias) => s.binary(Fn::Add, y, bias),
        None => Ok(y),
    }
}

fn matmul_to_float(s: &mut Site) -> Result<ValueId, Fault> {
    let (a, b, a_scale, b_scale) = (s.input(0)?, s.input(1)?, s.input(2)?, s.input(3)?);
    let rows = s.rank(a).max(2) - 2;
    let columns = s.rank(b).max(1) - 1;
    let zeros = [s.optional(4), s.optional(5)];
    let scales = [along(s, a_scale, a, rows)?, along(s, b_scale, b, columns)?];
    let sums = integer_matmul(s, [a, b], zeros)?;
    let bias = s.optional(6);
    to_float(s, sums, scales, bias)
}

fn dynamic_matmul(s: &mut Site) -> Result<ValueId, Fault> {
    let (a, b, b_scale) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let grid = dynamic_grid(s, a)?;
    let steps = quantize(s, a, grid, DType::U8)?;
    let columns = s.rank(b).max(1) - 1;
    let b_scale = along(s, b_scale, b, columns)?;
    let b_zero = s.optional(3);
    let sums = integer_matmul(s, [steps, b], [grid.zero, b_zero])?;
    let bias = s.optional(4);
    to_float(s, sums, [grid.scale, b_scale], bias)
}

/// Numbers of `bits` bits, packed from the lowest bits on, each row beginning at a whole byte: one byte per number.
fn codes(s: &Site, packed: ValueId, bits: i64, [rows, width]: [i64; 2], what: &str) -> Result<Tensor, Fault> {
    let tensor = s.constant(packed).ok_or_else(|| Fault::run_time(what))?;
    let stride = width.saturating_mul(bits).saturating_add(7) / 8;
    if tensor.dtype != DType::U8 || tensor.len() as i64 != rows.saturating_mul(stride) {
        invalid!("the {what} {} do not hold {rows} rows of {width} numbers of {bits} bits", s.ty(packed));
    }
    let bytes = tensor.bytes();
    let code = |i: i64| {
        let (row, at) = (i / width, i % width * bits);
        (bytes[(row * stride + at / 8) as usize] >> (at % 8)) & ((1u16 << bits) - 1) as u8
    };
    let codes: Vec<u8> = (0..rows * width).map(code).collect();
    let shape = [rows as usize, width as usize];
    Ok(match bits {
        4 => Tensor::new(&shape, &codes.into_iter().map(U4::from_bits).collect::<Vec<U4>>()),
        _ => Tensor::new(&shape, &codes),
    })
}

/// `A · Bᵀ` with the rows of `B` in blocks, each with a scale and a zero point.
fn matmul_n_bits(s: &mut Site) -> Result<ValueId, Fault> {
    let (a, b, scales) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let (bits, block) = (s.attributes.int_or("bits", 4)?, s.attributes.int_or("block_size", 0)?);
    let (depth, columns) = (s.attributes.int_or("K", 0)?, s.attributes.int_or("N", 0)?);
    if ![2, 4, 8].contains(&bits) || [block, depth, columns].iter().any(|n| !(1..1 << 31).contains(n)) {
        unsupported!("weights of {bits} bits in blocks of {block} ({depth} x {columns}) are not supported");
    }
    if s.optional(4).is_some() {
        unsupported!("weights in another order (`g_idx`) are not supported");
    }
    let blocks = (depth + block - 1) / block;
    let weights = codes(s, b, bits, [columns * blocks, block], "weights")?;
    let dtype = s.dtype(a);
    let column = vec![(columns * blocks).into(), 1i64.into()];
    let weights = s.constant_value(weights);
    let weights = s.cast(weights, dtype)?;
    let scales = s.reshape(scales, column.clone())?;
    let centred = match s.optional(3) {
        Some(zeros) if s.dtype(zeros) == DType::U8 => {
            let zeros = codes(s, zeros, bits, [columns, blocks], "zero points")?;
            let zeros = s.constant_value(zeros);
            let zeros = s.cast(zeros, dtype)?;
            let zeros = s.reshape(zeros, column)?;
            s.binary(Fn::Sub, weights, zeros)?
        }
        Some(zeros) => {
            let zeros = s.reshape(zeros, column)?;
            s.binary(Fn::Sub, weights, zeros)?
        }
        None => s.binary(Fn::Sub, weights, (1i64 << (bits - 1)) as f64)?,
    };
    let weights = s.binary(Fn::Mul, centred, scales)?;
    let weights = s.reshape(weights, vec![columns.into(), (blocks * block).into()])?;
    let weights = s.slice(weights, 1, 0i64.into(), depth.into(), 1)?;
    let y = if s.rank(a) == 1 {
        let row = s.reshape(a, vec![1i64.into(), depth.into()])?;
        let y = product(s, row, weights, true)?;
        s.reshape(y, vec![columns.into()])?
    } else {
        product(s, a, weights, true)?
    };
    match s.optional(5) {
        Some(bias) => s.binary(Fn::Add, y, bias),
        None => Ok(y),
    }
}
