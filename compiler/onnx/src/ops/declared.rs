//! Shapes that are inputs of the model: the sizes come from what the file declares of a node's outputs, and a check at run time
//! refuses other values. Where positions depend on such inputs, a routine takes them at run time.

use super::{Expansion, expand_row};
use crate::error::{Fault, Kind, invalid, unsupported};
use crate::site::Site;
use ir::attr::{Attr, AttrValue};
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::routine::Reduction;
use ir::ops::routine::check::{CheckAxes, CheckSizes};
use ir::ops::routine::dynamic::{DynamicPad, DynamicSlice, PadMode, ReduceAxes};
use ir::ops::routine::sample::{Coordinates, Resize, Rounding, Sampling};
use ir::pointwise::Fn;
use ir::{DType, Dim, Tensor, ValueId};

/// What a tensor that decides sizes must hold: per element, two values; and values that every element may have.
struct Expected {
    input: usize,
    sizes: Vec<Dim>,
    other: Vec<Dim>,
    wild: Vec<i64>,
}

impl Expected {
    fn new(input: usize, sizes: Vec<Dim>) -> Expected {
        Expected { input, other: sizes.clone(), sizes, wild: vec![] }
    }
}

type Result<T> = std::result::Result<T, Fault>;

/// Operators whose run-time sizes follow from the declared ones: the rows of [`expected`].
const CHECKED: &[&str] = &[
    "AffineGrid",
    "BlackmanWindow",
    "CenterCropPad",
    "Col2Im",
    "ConstantOfShape",
    "Expand",
    "HammingWindow",
    "HannWindow",
    "MaxUnpool",
    "OneHot",
    "Reshape",
    "Resize",
    "Split",
    "Tile",
    "TopK",
];

/// Another way to expand a node whose row failed, if there is one.
pub(super) fn fallback(expansion: Expansion, s: &mut Site, fault: &Fault) -> Option<Result<Vec<ValueId>>> {
    let one = |v: Result<ValueId>| v.map(|v| vec![v]);
    let resampling = matches!(s.op_type, "Resize" | "Upsample") && fault.kind == Kind::Unsupported;
    if resampling {
        let free_sizes = s.optional(3).filter(|v| s.constant(*v).is_none() && s.shape(*v) != [Dim::from(0i64)]);
        return Some(match free_sizes {
            Some(_) if s.attributes.string_or("keep_aspect_ratio_policy", "stretch").is_ok_and(|p| p == "stretch") => checked(expansion, s),
            _ => one(resize(s)),
        });
    }
    if !fault.is_run_time() {
        return None;
    }
    Some(match s.op_type {
        "Squeeze" => one(change_axes(s, false)),
        "Unsqueeze" => one(change_axes(s, true)),
        "Slice" => one(slice(s)),
        "Pad" => one(pad(s)),
        "Range" => one(range(s)),
        "Trilu" => one(trilu(s)),
        name if name.starts_with("Reduce") => one(reduce(s)),
        name if CHECKED.contains(&name) => checked(expansion, s),
        _ => return None,
    })
}

/// Runs the row with the sizes that follow from the declared types, and checks the tensors that it did not look at.
fn checked(expansion: Expansion, s: &mut Site) -> Result<Vec<ValueId>> {
    let expected = expected(s)?;
    let lists: Vec<ValueId> = expected.iter().map(|e| s.input(e.input)).collect::<Result<_>>()?;
    // The data is checked before it is used, or, where there is none, the result.
    let guards_data = !expected.iter().any(|e| e.input == 0);
    if guards_data {
        let mut data = s.input(0)?;
        for (e, list) in expected.iter().zip(&lists) {
            data = check(s, data, *list, e)?;
        }
        s.inputs[0] = Some(data);
    }
    for e in &expected {
        let list = s.sizes_value(e.sizes.clone())?;
        s.inputs[e.input] = Some(list);
    }
    let mut results = match expand_row(expansion, s) {
        Err(fault) if s.op_type == "Resize" && fault.kind == Kind::Unsupported => vec![resize(s)?],
        results => results?,
    };
    if !guards_data {
        for (e, list) in expected.iter().zip(&lists) {
            results[0] = check(s, results[0], *list, e)?;
        }
    }
    Ok(results)
}

fn check(s: &mut Site, data: ValueId, list: ValueId, e: &Expected) -> Result<ValueId> {
    s.add(CheckSizes { expected: e.sizes.clone(), other: e.other.clone(), wild: e.wild.clone() }, &[data, list])
}

/// What the inputs that decide sizes must hold, by operator.
fn expected(s: &mut Site) -> Result<Vec<Expected>> {
    let unknown = || Fault::run_time("shape");
    let length = |s: &Site, i: usize| -> Result<usize> {
        let elements = s.ty(s.input(i)?).elements();
        elements.as_const().and_then(|n| usize::try_from(n).ok()).ok_or_else(unknown)
    };
    Ok(vec![match s.op_type {
        "Reshape" => {
            let shape = s.declared(0)?;
            let x = s.input(0)?;
            let from = s.shape(x);
            let copies = !s.attributes.flag("allowzero")?;
            let other = shape.iter().enumerate().map(|(i, d)| if copies && from.get(i) == Some(d) { 0i64.into() } else { d.clone() });
            Expected { input: 1, other: other.collect(), sizes: shape, wild: vec![-1] }
        }
        "Expand" => {
            let shape = s.declared(0)?;
            let x = s.input(0)?;
            let n = length(s, 1)?;
            let from = s.shape(x);
            if n > shape.len() {
                return Err(unknown());
            }
            let sizes = shape[shape.len() - n..].to_vec();
            let own = |i: usize| (from.len() + i).checked_sub(n).and_then(|at| from.get(at));
            let other = sizes.iter().enumerate().map(|(i, d)| if own(i) == Some(d) { 1i64.into() } else { d.clone() });
            Expected { input: 1, other: other.collect(), sizes, wild: vec![] }
        }
        "Tile" => {
            let (shape, x) = (s.declared(0)?, s.input(0)?);
            let repeats = shape.iter().zip(s.shape(x)).map(|(to, from)| to.div_exact(&from).ok_or_else(unknown));
            Expected::new(1, repeats.collect::<Result<_>>()?)
        }
        "Split" => {
            let x = s.input(0)?;
            let axis = s.axis_attribute(0, s.rank(x))?;
            let sizes = (0..s.outputs.len()).map(|i| s.declared(i)?.get(axis).cloned().ok_or_else(unknown));
            Expected::new(1, sizes.collect::<Result<_>>()?)
        }
        "TopK" => {
            let x = s.input(0)?;
            let axis = s.axis_attribute(-1, s.rank(x))?;
            Expected::new(1, vec![s.declared(0)?.get(axis).cloned().ok_or_else(unknown)?])
        }
        "OneHot" => {
            let indices = s.input(0)?;
            let axis = s.axis_attribute(-1, s.rank(indices) + 1)?;
            Expected::new(1, vec![s.declared(0)?.get(axis).cloned().ok_or_else(unknown)?])
        }
        "ConstantOfShape" => Expected::new(0, s.declared(0)?),
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => Expected::new(0, s.declared(0)?),
        "AffineGrid" => {
            let (grid, theta) = (s.declared(0)?, s.input(0)?);
            if grid.is_empty() || s.rank(theta) != 3 {
                return Err(unknown());
            }
            // The number of channels does not matter.
            let any = Dim::from(1i64);
            let sizes = [grid[0].clone(), any].into_iter().chain(grid[1..grid.len() - 1].iter().cloned()).collect();
            let list = s.input(1)?;
            return affine_channels(s, list, sizes);
        }
        "Col2Im" => Expected::new(1, s.declared(0)?.get(2..).unwrap_or_default().to_vec()),
        "MaxUnpool" => Expected::new(2, s.declared(0)?),
        "CenterCropPad" => {
            let (shape, x) = (s.declared(0)?, s.input(0)?);
            let sizes = match s.attributes.ints("axes")? {
                Some(axes) => axes.iter().map(|a| shape.get(s.axis(*a, s.rank(x))?).cloned().ok_or_else(unknown)).collect::<Result<_>>()?,
                None => shape,
            };
            Expected::new(1, sizes)
        }
        "Resize" => {
            let (shape, x) = (s.declared(0)?, s.input(0)?);
            let sizes = match s.attributes.ints("axes")? {
                Some(axes) => axes.iter().map(|a| shape.get(s.axis(*a, s.rank(x))?).cloned().ok_or_else(unknown)).collect::<Result<_>>()?,
                None => shape,
            };
            Expected::new(3, sizes)
        }
        _ => return Err(unknown()),
    }])
}

/// The size of an affine grid: the number of channels may be anything, so that only the other elements are checked.
fn affine_channels(s: &mut Site, list: ValueId, sizes: Vec<Dim>) -> Result<Vec<Expected>> {
    let n = sizes.len() as i64;
    let rest = s.slice(list, 0, 2i64.into(), (n - 2).into(), 1)?;
    let theta = s.input(0)?;
    let theta = check(s, theta, rest, &Expected::new(1, sizes[2..].to_vec()))?;
    s.inputs[0] = Some(theta);
    let known = s.sizes_value(sizes)?;
    s.inputs[1] = Some(known);
    Ok(vec![])
}

fn change_axes(s: &mut Site, insert: bool) -> Result<ValueId> {
    let (x, axes) = (s.input(0)?, s.input(1)?);
    let after = s.declared(0)?;
    let checked = s.add(CheckAxes { insert, before: s.shape(x), after: after.clone() }, &[x, axes])?;
    s.reshape(checked, after)
}

fn list_or_nothing(s: &mut Site, i: usize) -> ValueId {
    s.optional(i).unwrap_or_else(|| super::routine::nothing(s, DType::I64))
}

fn slice(s: &mut Site) -> Result<ValueId> {
    let (x, starts, ends) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let (axes, steps) = (list_or_nothing(s, 3), list_or_nothing(s, 4));
    let shape = s.declared(0)?;
    s.add(DynamicSlice { shape }, &[x, starts, ends, axes, steps])
}

fn pad(s: &mut Site) -> Result<ValueId> {
    let (x, pads) = (s.input(0)?, s.input(1)?);
    let dtype = s.dtype(x);
    let value = s.optional(2).unwrap_or_else(|| s.constant_value(Tensor::zeros(dtype, &[])));
    let axes = list_or_nothing(s, 3);
    let shape = s.declared(0)?;
    let name = s.attributes.string_or("mode", "constant")?;
    let Some(mode) = PadMode::from_attr(&Attr::Name(name.into())) else { invalid!("the mode `{name}` does not exist") };
    s.add(DynamicPad { mode, shape }, &[x, pads, value, axes])
}

/// `start + i · delta` for as many i as declared, which must be as many as the limit allows.
fn range(s: &mut Site) -> Result<ValueId> {
    let (start, limit, delta) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let shape = s.declared(0)?;
    let dtype = s.dtype(start);
    let Some(n) = shape.first().and_then(Dim::as_const).and_then(|n| usize::try_from(n).ok()) else { return Err(Fault::run_time("range")) };
    let wide = [start, limit, delta].map(|v| s.cast(v, DType::F64));
    let [low, high, step] = wide;
    let count = s.term("ceil(div(sub(?a, ?b), ?c))", &[high?, low?, step?])?;
    let count = s.term("max(?a, 0.0)", &[count])?;
    let count = s.cast(count, DType::I64)?;
    let start = check(s, start, count, &Expected::new(0, shape))?;
    let i = s.positions(dtype, 1, 0, n as i64)?;
    s.term("add(?a, mul(?b, ?c))", &[start, i, delta])
}

fn trilu(s: &mut Site) -> Result<ValueId> {
    let (x, k) = (s.input(0)?, s.input(1)?);
    let shape = s.const_shape(x, "size of the matrix")?;
    let [.., rows, columns] = shape[..] else { invalid!("a matrix is needed, found {}", s.ty(x)) };
    const LIMIT: i64 = 1 << 24;
    if rows.max(columns) > LIMIT {
        unsupported!("a diagonal known at run time of a matrix of {rows} x {columns}: at most {LIMIT} rows and columns");
    }
    let row = s.constant_value(Tensor::from_fn(DType::I64, &[rows as usize, 1], |i| i as f64));
    let column = s.constant_value(Tensor::from_fn(DType::I64, &[columns as usize], |i| i as f64));
    let upper = s.attributes.int_or("upper", 1)? != 0;
    let k = s.reshape(k, vec![])?;
    let diagonal = s.binary(Fn::Add, row, k)?;
    let mask = s.binary(if upper { Fn::GreaterEqual } else { Fn::LessEqual }, column, diagonal)?;
    if s.dtype(x) == DType::Bool {
        return s.binary(Fn::And, x, mask);
    }
    s.map(Fn::Select, [mask.into(), x.into(), 0.0.into()])
}

/// A reduction whose axes are known at run time only.
fn reduce(s: &mut Site) -> Result<ValueId> {
    let (mut x, axes) = (s.input(0)?, s.input(1)?);
    let shape = s.declared(0)?;
    let (keepdims, noop) = (s.attributes.int_or("keepdims", 1)? != 0, s.attributes.flag("noop_with_empty_axes")?);
    let (before, kind, after) = match s.op_type {
        "ReduceL1" => ("abs(?a)", Reduction::Add, ""),
        "ReduceL2" => ("mul(?a, ?a)", Reduction::Add, "sqrt(?a)"),
        "ReduceLogSum" => ("", Reduction::Add, "log(?a)"),
        "ReduceMax" => ("", Reduction::Max, ""),
        "ReduceMin" => ("", Reduction::Min, ""),
        "ReduceProd" => ("", Reduction::Mul, ""),
        "ReduceSumSquare" => ("mul(?a, ?a)", Reduction::Add, ""),
        _ => ("", Reduction::Add, ""),
    };
    let elements = s.ty(x).elements();
    // The largest element of all, so that no power overflows.
    let all: Vec<usize> = (0..s.rank(x)).collect();
    let most = match s.op_type {
        "ReduceLogSumExp" => Some(s.reduce(ReduceKind::Max, x, &all, false)?),
        _ => None,
    };
    if let Some(most) = most {
        x = s.term("exp(sub(?a, ?b))", &[x, most])?;
    }
    if !before.is_empty() {
        x = s.term(before, &[x])?;
    }
    let result = s.add(ReduceAxes { kind, keepdims, noop, shape: shape.clone() }, &[x, axes])?;
    if let Some(most) = most {
        return s.term("add(log(?a), ?b)", &[result, most]);
    }
    if s.op_type == "ReduceMean" {
        let groups: Dim = shape.iter().product();
        let Some(count) = elements.div_exact(&groups) else { return Err(Fault::run_time("number of elements")) };
        let count = s.size_operand(&count, s.dtype(x))?;
        return s.binary(Fn::Div, result, count);
    }
    if after.is_empty() { Ok(result) } else { s.term(after, &[result]) }
}

/// Resampling by any kernel, with scales that may be known at run time only.
fn resize(s: &mut Site) -> Result<ValueId> {
    let x = s.input(0)?;
    let old = s.op_type == "Upsample" || s.version < 11;
    let named = |name: &str, default: &'static str| s.attributes.string_or(name, default);
    let mode = match named("mode", "nearest")? {
        "nearest" => Sampling::Nearest,
        "linear" | "bilinear" => Sampling::Linear,
        "cubic" => Sampling::Cubic,
        other => invalid!("the mode `{other}` does not exist; expected `nearest`, `linear` or `cubic`"),
    };
    let (coordinates, rounding) = if old {
        ("asymmetric", "floor")
    } else {
        (named("coordinate_transformation_mode", "half_pixel")?, named("nearest_mode", "round_prefer_floor")?)
    };
    let Some(coordinates) = Coordinates::from_attr(&Attr::Name(coordinates.into())) else {
        invalid!("the coordinate transformation `{coordinates}` does not exist")
    };
    let Some(rounding) = Rounding::from_attr(&Attr::Name(rounding.into())) else { invalid!("the rounding `{rounding}` does not exist") };
    let given = |s: &Site, i: usize| s.optional(i).filter(|v| s.shape(*v).first().is_none_or(|d| *d != 0));
    let mut scales_value = if old { given(s, 1) } else { given(s, 2) };
    let sizes_value = if old { None } else { given(s, 3) };
    let from = s.shape(x);
    let axes: Vec<usize> = match s.attributes.ints("axes")? {
        Some(axes) => axes.iter().map(|a| s.axis(*a, from.len())).collect::<Result<_>>()?,
        None => (0..from.len()).collect(),
    };
    let size_of = |axis: usize| from[axis].as_const().map(|d| d as f64).ok_or_else(|| Fault::run_time("size of the image"));
    let sizes_from: Vec<f64> = axes.iter().map(|a| size_of(*a)).collect::<Result<_>>()?;
    let mut shape = from.clone();
    let mut scales: Vec<f64> = vec![];
    let known = match (s.attributes.floats("scales")?, scales_value) {
        (Some(list), _) => Some(list.iter().map(|v| f64::from(*v)).collect::<Vec<_>>()),
        (None, Some(v)) => s.constant(v).map(|t| t.to_f64s()),
        (None, None) => None,
    };
    match (known, scales_value, sizes_value) {
        (Some(list), ..) => scales = list,
        (None, Some(_), _) => shape = s.declared(0)?,
        (None, None, Some(v)) if s.constant(v).is_none() => {
            // One scale for all axes, the smallest or the largest of those asked for.
            shape = s.declared(0)?;
            let smallest = s.attributes.string_or("keep_aspect_ratio_policy", "stretch")? == "not_larger";
            let from = s.constant_value(Tensor::from_fn(DType::F64, &[sizes_from.len()], |i| sizes_from[i]));
            let wanted = s.cast(v, DType::F64)?;
            let each = s.binary(Fn::Div, wanted, from)?;
            let kind = if smallest { ReduceKind::Min } else { ReduceKind::Max };
            let common = s.reduce(kind, each, &[0], true)?;
            let common = s.expand(common, vec![(sizes_from.len() as i64).into()])?;
            scales_value = Some(common);
        }
        (None, None, Some(v)) => {
            let wanted = s.ints(v, "sizes")?;
            if wanted.len() != axes.len() {
                invalid!("{} sizes are given for {} axes", wanted.len(), axes.len());
            }
            let each: Vec<f64> = wanted.iter().zip(&sizes_from).map(|(to, from)| *to as f64 / from).collect();
            let common = match s.attributes.string_or("keep_aspect_ratio_policy", "stretch")? {
                "stretch" => None,
                "not_larger" => each.iter().copied().reduce(f64::min),
                "not_smaller" => each.iter().copied().reduce(f64::max),
                other => invalid!("the policy `{other}` does not exist"),
            };
            scales = each.iter().map(|own| common.unwrap_or(*own)).collect();
            for (i, axis) in axes.iter().enumerate() {
                let to = if common.is_some() { (scales[i] * sizes_from[i] + 0.5).floor() as i64 } else { wanted[i] };
                shape[*axis] = to.into();
            }
        }
        (None, None, None) => invalid!("scales and sizes are missing"),
    }
    if !scales.is_empty() && sizes_value.is_none() {
        if scales.len() != axes.len() {
            invalid!("{} scales are given for {} axes", scales.len(), axes.len());
        }
        for (i, axis) in axes.iter().enumerate() {
            shape[*axis] = ((sizes_from[i] * scales[i]).floor() as i64).into();
        }
    }
    let scales_input = match (scales.is_empty(), scales_value) {
        (true, Some(v)) => v,
        _ => super::routine::nothing(s, DType::F32),
    };
    let region = if !old && coordinates == Coordinates::Crop { given(s, 1) } else { None };
    let region = region.unwrap_or_else(|| super::routine::nothing(s, DType::F32));
    let op = Resize {
        mode,
        coordinates,
        rounding,
        exclude_outside: s.attributes.flag("exclude_outside")?,
        antialias: s.attributes.flag("antialias")?,
        cubic: s.attributes.float_or("cubic_coeff_a", -0.75)?,
        extrapolation: s.attributes.float_or("extrapolation_value", 0.0)?,
        axes: axes.iter().map(|a| *a as i64).collect(),
        scales: scales.iter().map(|v| v.to_bits() as i64).collect(),
        shape,
    };
    s.add(op, &[x, scales_input, region])
}
