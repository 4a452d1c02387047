//! Operators that are routines: sorts, selections and updates by data, sampling, random numbers. Counts that depend on data are
//! those that the model declares.

use super::{Row, many, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::{Arg, Site};
use crate::tensor::dtype;
use ir::attr::{Attr, AttrValue};
use ir::ops::contract::matmul::MatMul;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::routine::Reduction;
use ir::ops::routine::detect::{Det, NonMaxSuppression};
use ir::ops::routine::dynamic::Cumulate;
use ir::ops::routine::pool::{Col2Im, MaxPoolIndices, MaxRoiPool, MaxUnpool};
use ir::ops::routine::random::{Bernoulli, Multinomial, RandomNormal, RandomUniform};
use ir::ops::routine::sample::{DeformConv, GridSample, Outside, RoiAlign, Sampling};
use ir::ops::routine::scatter::{GatherElements, GatherNd, ScatterElements, ScatterNd, TensorScatter};
use ir::ops::routine::select::{Compress, NonZero, ReverseSequence, TopK, Unique};
use ir::pointwise::{Fn, Pointwise};
use ir::{DType, Dim, Op, Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[
    one("AffineGrid", affine_grid),
    one("Bernoulli", bernoulli),
    one("CenterCropPad", center_crop_pad),
    one("Col2Im", col2im),
    one("Compress", compress),
    one("CumProd", |s| cumulate(s, true)),
    one("CumSum", |s| cumulate(s, false)),
    one("DeformConv", deform_conv),
    one("Det", |s| {
        let x = s.input(0)?;
        s.add(Det {}, &[x])
    }),
    one("GatherElements", gather_elements),
    one("GatherND", gather_nd),
    one("GridSample", grid_sample),
    one("Hardmax", |s| hardmax(s, 1, true)),
    one("Hardmax", |s| hardmax(s, -1, false)).since(13),
    one("MaxRoiPool", max_roi_pool),
    one("MaxUnpool", max_unpool),
    one("Multinomial", multinomial),
    one("NonMaxSuppression", non_max_suppression),
    one("NonZero", nonzero),
    one("RandomNormal", |s| random(s, false, false)),
    one("RandomNormalLike", |s| random(s, false, true)),
    one("RandomUniform", |s| random(s, true, false)),
    one("RandomUniformLike", |s| random(s, true, true)),
    one("ReverseSequence", reverse_sequence),
    one("RoiAlign", roi_align),
    one("Scatter", scatter_elements),
    one("ScatterElements", scatter_elements),
    one("ScatterND", scatter_nd),
    one("TensorScatter", tensor_scatter),
    many("TopK", top_k),
    many("Unique", unique),
];

/// The value of an enum that has the attribute's names.
fn choice<T: AttrValue>(s: &Site, attribute: &str, default: &'static str) -> Result<T, Fault> {
    let name = s.attributes.string_or(attribute, default)?;
    match T::from_attr(&Attr::Name(name.into())) {
        Some(value) => Ok(value),
        None => invalid!("the {attribute} `{name}` does not exist; expected {}", T::EXPECTED),
    }
}

/// Adds a node with several outputs.
fn add_all(s: &mut Site, op: impl Into<Op>, inputs: &[ValueId]) -> Result<Vec<ValueId>, Fault> {
    let first = s.add(op, inputs)?;
    let node = s.graph.producer(first).expect("a node was added");
    Ok(s.graph.node(node).outputs.clone())
}

/// One dimension of an output as the model declares it.
fn count(s: &mut Site, output: usize, dim: usize) -> Result<Vec<Dim>, Fault> {
    let shape = s.declared(output)?;
    match shape.get(dim) {
        Some(size) => Ok(vec![size.clone()]),
        None => invalid!("output {} is declared as {shape:?}, which has no dimension {dim}", output + 1),
    }
}

/// A count that the model declares as a number, or else one that is found at run time: how many elements of `flags` are true.
fn count_of(s: &mut Site, output: usize, dim: usize, flags: ValueId) -> Result<Vec<Dim>, Fault> {
    if let Some(known) = declared_number(s, output, dim) {
        return Ok(known);
    }
    s.another_symbol()?;
    let known = s.graph.node_ids().map(|id| s.graph.node(id)).find_map(|node| match &node.op {
        Op::NonZero(NonZero { count }) if node.inputs[0] == flags => Some(count.clone()),
        _ => None,
    });
    if let Some(known) = known {
        return Ok(known);
    }
    let n = s.ty(flags).elements();
    let flat = s.reshape(flags, vec![n.clone()])?;
    let flat = match s.dtype(flat) {
        DType::Bool => flat,
        _ => {
            let zero = if s.dtype(flat).is_float() { Arg::Float(0.0) } else { Arg::Int(0) };
            let equal = s.binary(Fn::Equal, flat, zero)?;
            s.unary(Fn::Not, equal)?
        }
    };
    let numbers = s.cast(flat, DType::I64)?;
    let sum = s.reduce(ReduceKind::Sum, numbers, &[0], false)?;
    match declared_most(s, output, dim) {
        Some(most) => Ok(vec![s.measured(sum, &n.min(most), true)?]),
        None => Ok(vec![s.measured(sum, &n, false)?]),
    }
}

/// The largest value that options give a dimension of an output which the model declares by name.
fn declared_most(s: &mut Site, output: usize, dim: usize) -> Option<i64> {
    let symbols = s.graph.symbols.clone();
    let count = count(s, output, dim).ok()?;
    let most = count[0].range(&s.graph.symbols).1;
    s.graph.symbols = symbols;
    most
}

/// A dimension of an output, if the model declares a number.
fn declared_number(s: &mut Site, output: usize, dim: usize) -> Option<Vec<Dim>> {
    let symbols = s.graph.symbols.clone();
    let known = count(s, output, dim).ok().filter(|count| count[0].is_const());
    if known.is_none() {
        // A name without bounds is of no use.
        s.graph.symbols = symbols;
    }
    known
}

/// An empty list: an input that is left out.
pub(super) fn nothing(s: &mut Site, dtype: DType) -> ValueId {
    s.constant_value(Tensor::zeros(dtype, &[0]))
}

fn cumulate(s: &mut Site, product: bool) -> Result<ValueId, Fault> {
    let (x, axis) = (s.input(0)?, s.input(1)?);
    s.add(Cumulate { product, exclusive: s.attributes.flag("exclusive")?, reverse: s.attributes.flag("reverse")? }, &[x, axis])
}

/// `k` is an attribute before operator set 10.
fn top_k(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let x = s.input(0)?;
    let axis = s.axis_attribute(-1, s.rank(x))? as i64;
    let k = match s.attributes.int("k")? {
        Some(k) => vec![Dim::from(k)],
        None => {
            let k = s.input(1)?;
            match s.sizes(k, "k") {
                Err(fault) if fault.is_run_time() && declared_number(s, 0, axis as usize).is_none() => {
                    let most = s.shape(x)[axis as usize].clone();
                    vec![s.measured(k, &most, true)?]
                }
                known => known?,
            }
        }
    };
    let largest = s.attributes.int_or("largest", 1)? != 0;
    add_all(s, TopK { axis, largest, k }, &[x])
}

fn unique(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let x = s.input(0)?;
    let given = s.attributes.int("axis")?;
    let axis = match given {
        Some(axis) => s.axis(axis, s.rank(x))? as i64,
        None => -1,
    };
    // Any output that is there declares the count.
    let count = match (s.outputs.first().is_some_and(|o| !o.is_empty()), s.outputs.get(1).is_some_and(|o| !o.is_empty())) {
        (true, _) => count(s, 0, axis.max(0) as usize)?,
        (false, true) => count(s, 1, 0)?,
        _ => count(s, 3, 0)?,
    };
    let sorted = s.attributes.int_or("sorted", 1)? != 0;
    add_all(s, Unique { axis, sorted, count }, &[x])
}

fn nonzero(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let count = match s.constant(x) {
        Some(known) => vec![Dim::from(known.to_f64s().iter().filter(|v| **v != 0.0).count() as i64)],
        None => count_of(s, 0, 1, x)?,
    };
    s.add(NonZero { count }, &[x])
}

fn compress(s: &mut Site) -> Result<ValueId, Fault> {
    let (mut x, condition) = (s.input(0)?, s.input(1)?);
    let axis = match s.attributes.int("axis")? {
        Some(axis) => s.axis(axis, s.rank(x))?,
        None => {
            let elements = s.ty(x).elements();
            x = s.reshape(x, vec![elements])?;
            0
        }
    };
    let count = match s.constant(condition) {
        Some(known) => vec![Dim::from(known.to_i64s().iter().filter(|v| **v != 0).count() as i64)],
        None => count_of(s, 0, axis, condition)?,
    };
    s.add(Compress { axis: axis as i64, count }, &[x, condition])
}

fn gather_elements(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, indices) = (s.input(0)?, s.input(1)?);
    let axis = s.axis_attribute(0, s.rank(x))? as i64;
    s.add(GatherElements { axis }, &[x, indices])
}

fn gather_nd(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, indices) = (s.input(0)?, s.input(1)?);
    s.add(GatherNd { batch: s.attributes.int_or("batch_dims", 0)? }, &[x, indices])
}

fn scatter_elements(s: &mut Site) -> Result<ValueId, Fault> {
    let inputs = [s.input(0)?, s.input(1)?, s.input(2)?];
    let axis = s.axis_attribute(0, s.rank(inputs[0]))? as i64;
    let reduction: Reduction = choice(s, "reduction", "none")?;
    s.add(ScatterElements { axis, reduction }, &inputs)
}

fn scatter_nd(s: &mut Site) -> Result<ValueId, Fault> {
    let inputs = [s.input(0)?, s.input(1)?, s.input(2)?];
    let reduction: Reduction = choice(s, "reduction", "none")?;
    s.add(ScatterNd { reduction }, &inputs)
}

fn tensor_scatter(s: &mut Site) -> Result<ValueId, Fault> {
    let (cache, update) = (s.input(0)?, s.input(1)?);
    let axis = s.axis_attribute(-2, s.rank(cache))? as i64;
    let first = match s.optional(2) {
        Some(first) => first,
        None => {
            let batches = s.const_shape(cache, "number of batches")?[0];
            s.constant_value(Tensor::zeros(DType::I64, &[batches as usize]))
        }
    };
    let circular = match s.attributes.string_or("mode", "linear")? {
        "linear" => false,
        "circular" => true,
        other => invalid!("the mode `{other}` does not exist; expected `linear` or `circular`"),
    };
    s.add(TensorScatter { axis, circular }, &[cache, update, first])
}

fn reverse_sequence(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, lengths) = (s.input(0)?, s.input(1)?);
    let (time, batch) = (s.attributes.int_or("time_axis", 0)?, s.attributes.int_or("batch_axis", 1)?);
    s.add(ReverseSequence { time, batch }, &[x, lengths])
}

/// 1 at the first maximum, else 0. Before operator set 13 the axis cuts the shape into a matrix.
fn hardmax(s: &mut Site, default: i64, rows: bool) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let mut axis = s.axis_attribute(default, shape.len())?;
    let mut flat = x;
    if rows {
        flat = s.reshape(x, vec![shape[..axis].iter().product(), shape[axis..].iter().product()])?;
        axis = 1;
    }
    let n = s.const_shape(flat, "size of the axis")?[axis];
    let best = add_all(s, TopK { axis: axis as i64, largest: true, k: vec![1i64.into()] }, &[flat])?[1];
    let positions = s.positions(DType::I64, s.rank(flat), axis, n)?;
    let hit = s.binary(Fn::Equal, best, positions)?;
    let result = s.cast(hit, s.dtype(x))?;
    s.reshape(result, shape)
}

/// The maxima alone, or also where they are.
pub(super) fn max_pool(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    if s.outputs.iter().filter(|o| !o.is_empty()).count() < 2 {
        return super::pool::max_pool(s).map(|y| vec![y]);
    }
    let x = s.input(0)?;
    let (g, beyond) = super::pool::window(s, x)?;
    let n = g.axes();
    let mut pads = g.pads.clone();
    pads[n..].iter_mut().zip(&beyond).for_each(|(pad, more)| *pad += more);
    let columns_first = s.attributes.flag("storage_order")?;
    let op = MaxPoolIndices { kernel: g.kernel.clone(), strides: g.strides.clone(), pads, dilations: g.dilations.clone(), columns_first };
    add_all(s, op, &[x])
}

fn max_unpool(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, indices) = (s.input(0)?, s.input(1)?);
    let from = s.shape(x);
    let Some(kernel) = s.attributes.ints("kernel_shape")? else { invalid!("the attribute `kernel_shape` is missing") };
    let n = kernel.len();
    let strides = s.attributes.ints("strides")?.map_or(vec![1; n], <[i64]>::to_vec);
    let pads = s.attributes.ints("pads")?.map_or(vec![0; 2 * n], <[i64]>::to_vec);
    if from.len() != n + 2 || strides.len() != n || pads.len() != 2 * n {
        invalid!("a window {kernel:?} does not fit {}", s.ty(x));
    }
    let mut original = from[..2].to_vec();
    original.extend((0..n).map(|i| (from[2 + i].clone() - 1) * strides[i] + kernel[i] - pads[i] - pads[n + i]));
    let shape = match s.optional(2) {
        Some(shape) => s.sizes(shape, "output shape")?,
        None => original.clone(),
    };
    s.add(MaxUnpool { original, shape }, &[x, indices])
}

fn pair(s: &Site, attribute: &str) -> Result<Vec<i64>, Fault> {
    match s.attributes.ints(attribute)? {
        Some(list) => Ok(list.to_vec()),
        None => invalid!("the attribute `{attribute}` is missing"),
    }
}

fn max_roi_pool(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, regions) = (s.input(0)?, s.input(1)?);
    s.add(MaxRoiPool { size: pair(s, "pooled_shape")?, scale: s.attributes.float_or("spatial_scale", 1.0)? }, &[x, regions])
}

fn roi_align(s: &mut Site) -> Result<ValueId, Fault> {
    let inputs = [s.input(0)?, s.input(1)?, s.input(2)?];
    let half_pixel = match s.attributes.string("coordinate_transformation_mode")? {
        Some(mode) => mode == "half_pixel",
        // The attribute came with operator set 16; before, coordinates were of centres.
        None => s.version >= 16,
    };
    let op = RoiAlign {
        size: vec![s.attributes.int_or("output_height", 1)?, s.attributes.int_or("output_width", 1)?],
        maximum: s.attributes.string_or("mode", "avg")? == "max",
        samples: s.attributes.int_or("sampling_ratio", 0)?,
        half_pixel,
        scale: s.attributes.float_or("spatial_scale", 1.0)?,
    };
    s.add(op, &inputs)
}

/// The names of modes changed with operator set 20.
fn grid_sample(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, grid) = (s.input(0)?, s.input(1)?);
    let mode = match s.attributes.string_or("mode", "linear")? {
        "linear" | "bilinear" => Sampling::Linear,
        "cubic" | "bicubic" => Sampling::Cubic,
        "nearest" => Sampling::Nearest,
        other => invalid!("the mode `{other}` does not exist; expected `linear`, `cubic` or `nearest`"),
    };
    let outside: Outside = choice(s, "padding_mode", "zeros")?;
    s.add(GridSample { mode, outside, align_corners: s.attributes.flag("align_corners")? }, &[x, grid])
}

/// `θ` times the homogeneous coordinates of all places.
fn affine_grid(s: &mut Site) -> Result<ValueId, Fault> {
    let (theta, size) = (s.input(0)?, s.input(1)?);
    let size = s.ints(size, "size")?;
    let n = size.len().saturating_sub(2);
    let corners = s.attributes.flag("align_corners")?;
    let image: Vec<usize> = size[2.min(size.len())..].iter().map(|d| *d as usize).collect();
    let places = image.iter().try_fold(1usize, |places, size| places.checked_mul(*size)).filter(|places| *places <= 1 << 24);
    let is_grid = (1..=3).contains(&n) && size.iter().all(|d| *d > 0) && s.rank(theta) == 3;
    let Some(places) = places.filter(|_| is_grid) else { invalid!("a grid of size {size:?} cannot be made by {}", s.ty(theta)) };
    let coordinate = |place: usize, axis: usize| {
        let inner: usize = image[axis + 1..].iter().product();
        let (i, size) = ((place / inner % image[axis]) as f64, image[axis] as f64);
        match corners {
            true if size == 1.0 => -1.0,
            true => -1.0 + 2.0 * i / (size - 1.0),
            false => (2.0 * i + 1.0) / size - 1.0,
        }
    };
    // Rows: the last axis first, then ones.
    let rows = Tensor::from_fn(s.dtype(theta), &[places, n + 1], |i| match i % (n + 1) {
        row if row == n => 1.0,
        row => coordinate(i / (n + 1), n - 1 - row),
    });
    let rows = s.constant_value(rows);
    let grid = s.add(MatMul { transpose_b: true, epilogue: Pointwise::identity() }, &[rows, theta])?;
    let mut shape = vec![Dim::from(size[0])];
    shape.extend(image.iter().map(|d| Dim::from(*d)));
    shape.push((n as i64).into());
    s.reshape(grid, shape)
}

fn deform_conv(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, w, offset) = (s.input(0)?, s.input(1)?, s.input(2)?);
    if s.rank(x) != 4 {
        unsupported!("deformable convolution of {} is not supported; images [N, C, H, W] are", s.ty(x));
    }
    let dtype = s.dtype(x);
    let bias = s.optional(3).unwrap_or_else(|| nothing(s, dtype));
    let mask = s.optional(4).unwrap_or_else(|| nothing(s, dtype));
    let list = |name: &str, default: i64, n: usize| Ok::<_, Fault>(s.attributes.ints(name)?.map_or(vec![default; n], <[i64]>::to_vec));
    let op = DeformConv {
        groups: s.attributes.int_or("group", 1)?,
        offset_groups: s.attributes.int_or("offset_group", 1)?,
        strides: list("strides", 1, 2)?,
        pads: list("pads", 0, 4)?,
        dilations: list("dilations", 1, 2)?,
    };
    s.add(op, &[x, w, offset, bias, mask])
}

/// The block is a tensor; the image's size is known or declared.
fn col2im(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, image, block) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let image = s.sizes(image, "size of the image")?;
    if image.iter().any(|size| size.as_const().is_some_and(|size| size < 0)) {
        invalid!("an image cannot have a negative size: {image:?}");
    }
    let n = image.len();
    let list = |name: &str, default: i64, n: usize| Ok::<_, Fault>(s.attributes.ints(name)?.map_or(vec![default; n], <[i64]>::to_vec));
    let (dilations, pads, strides) = (list("dilations", 1, n)?, list("pads", 0, 2 * n)?, list("strides", 1, n)?);
    let channels = match s.ints(block, "block") {
        Ok(known) => {
            let size = known.iter().try_fold(1i64, |product, side| product.checked_mul(*side));
            size.filter(|size| *size > 0).and_then(|size| s.shape(x).get(1)?.div_exact(&size.into()))
        }
        Err(_) => s.declared(0)?.get(1).cloned(),
    };
    let Some(channels) = channels else { invalid!("{} does not hold whole blocks", s.ty(x)) };
    s.add(Col2Im { channels: vec![channels], image, dilations, pads, strides }, &[x, block])
}

fn non_max_suppression(s: &mut Site) -> Result<ValueId, Fault> {
    let (boxes, scores) = (s.input(0)?, s.input(1)?);
    let most = s.optional(2).unwrap_or_else(|| s.constant_value(Tensor::scalar(0i64)));
    let overlap = s.optional(3).unwrap_or_else(|| s.constant_value(Tensor::scalar(0f32)));
    let least = s.optional(4).unwrap_or_else(|| s.constant_value(Tensor::scalar(f32::NEG_INFINITY)));
    let center = s.attributes.flag("center_point_box")?;
    let inputs = [boxes, scores, most, overlap, least];
    if let Some(count) = declared_number(s, 0, 0) {
        return s.add(NonMaxSuppression { center, padded: false, count }, &inputs);
    }
    // As many rows as there can be, −1 behind those that there are.
    let [batches, classes, n] = s.dims(scores)?;
    let per_class = match s.scalar(most) {
        Some(most) => n.min(most.clamp(0.0, f64::from(i32::MAX)) as i64),
        None => n,
    };
    let rows = batches * classes * per_class;
    let padded = s.add(NonMaxSuppression { center, padded: true, count: vec![rows.clone()] }, &inputs)?;
    let batch = s.slice(padded, 1, 0i64.into(), 1i64.into(), 1)?;
    let is_there = s.binary(Fn::GreaterEqual, batch, 0i64)?;
    let numbers = s.cast(is_there, DType::I64)?;
    let sum = s.reduce(ReduceKind::Sum, numbers, &[0, 1], false)?;
    let count = s.measured(sum, &rows, false)?;
    s.slice(padded, 0, 0i64.into(), count, 1)
}

/// Crops and pads both ends alike; the odd element goes to, or comes from, the end.
fn center_crop_pad(s: &mut Site) -> Result<ValueId, Fault> {
    let (mut x, target) = (s.input(0)?, s.input(1)?);
    let target = s.ints(target, "shape")?;
    let rank = s.rank(x);
    let axes = match s.attributes.ints("axes")? {
        Some(axes) => axes.iter().map(|a| s.axis(*a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let from = s.const_shape(x, "shape")?;
    if axes.len() != target.len() || target.iter().any(|t| *t < 0) {
        invalid!("the sizes {target:?} do not fit {} axes", axes.len());
    }
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (axis, to) in axes.into_iter().zip(target) {
        let more = to - from[axis];
        if more < 0 {
            x = s.slice(x, axis, (-more / 2).into(), to.into(), 1)?;
        } else {
            (before[axis], after[axis]) = (more / 2, more - more / 2);
        }
    }
    if before.iter().chain(&after).all(|p| *p == 0) { Ok(x) } else { super::pad::constant(s, x, &before, &after, 0.0) }
}

/// The attribute `seed`, or one that follows from the node's name, so that layers differ and exports repeat.
fn seed(s: &Site) -> Result<i64, Fault> {
    Ok(match s.attributes.float("seed")? {
        Some(seed) => seed.to_bits() as i64,
        None => s.name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)) as i64,
    })
}

fn dtype_attribute(s: &Site, default: DType) -> Result<DType, Fault> {
    match s.attributes.int("dtype")? {
        Some(number) => dtype(i32::try_from(number).unwrap_or(-1)),
        None => Ok(default),
    }
}

fn random(s: &mut Site, uniform: bool, like: bool) -> Result<ValueId, Fault> {
    let (shape, default) = if like {
        let x = s.input(0)?;
        (s.shape(x), s.dtype(x))
    } else {
        let Some(shape) = s.attributes.ints("shape")? else { invalid!("the attribute `shape` is missing") };
        (shape.iter().map(|d| Dim::from(*d)).collect(), DType::F32)
    };
    let (dtype, seed) = (dtype_attribute(s, default)?, seed(s)?);
    let a = &s.attributes;
    if uniform {
        let (low, high) = (a.float_or("low", 0.0)?, a.float_or("high", 1.0)?);
        s.add(RandomUniform { seed, low, high, dtype, shape }, &[])
    } else {
        let (mean, scale) = (a.float_or("mean", 0.0)?, a.float_or("scale", 1.0)?);
        s.add(RandomNormal { seed, mean, scale, dtype, shape }, &[])
    }
}

fn bernoulli(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let (dtype, seed) = (dtype_attribute(s, s.dtype(x))?, seed(s)?);
    s.add(Bernoulli { seed, dtype }, &[x])
}

fn multinomial(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let (dtype, seed) = (dtype_attribute(s, DType::I32)?, seed(s)?);
    s.add(Multinomial { seed, samples: s.attributes.int_or("sample_size", 1)?, dtype }, &[x])
}
