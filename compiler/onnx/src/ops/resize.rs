//! Resampling along axes: nearest by copies or lookups, linear by lookups and weights, one axis after the other.

use super::{Row, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::gather::gather_op::Gather;
use ir::pointwise::Fn;
use ir::{Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[one("Resize", resize), one("Upsample", upsample)];

/// How coordinates of the output become coordinates of the input, and those become elements.
struct Sampling<'m> {
    linear: bool,
    coordinates: &'m str,
    rounding: &'m str,
}

/// One axis to resample.
struct Axis {
    axis: usize,
    from: i64,
    to: i64,
    scale: f32,
}

const LIMIT: f64 = 8e6;

fn is_linear(mode: &str) -> Result<bool, Fault> {
    match mode {
        "nearest" => Ok(false),
        // `bilinear` is what the first version of Upsample says.
        "linear" | "bilinear" => Ok(true),
        other => Err(Fault::unsupported(format!("the mode `{other}` is not supported")).hint("use nearest or linear interpolation")),
    }
}

/// The scales are an attribute before operator set 9, then an input.
fn upsample(s: &mut Site) -> Result<ValueId, Fault> {
    let linear = is_linear(s.attributes.string_or("mode", "nearest")?)?;
    let scales = match (s.attributes.floats("scales")?, s.optional(1)) {
        (Some(scales), _) => scales.iter().map(|x| f64::from(*x)).collect(),
        (None, Some(scales)) => s.numbers(scales, "scales")?,
        (None, None) => invalid!("the scales are missing"),
    };
    by_scales(s, &scales, &Sampling { linear, coordinates: "asymmetric", rounding: "floor" })
}

fn resize(s: &mut Site) -> Result<ValueId, Fault> {
    let linear = is_linear(s.attributes.string_or("mode", "nearest")?)?;
    if s.version < 11 {
        let scales = s.input(1)?;
        let scales = s.numbers(scales, "scales")?;
        return by_scales(s, &scales, &Sampling { linear, coordinates: "asymmetric", rounding: "floor" });
    }
    let coordinates = s.attributes.string_or("coordinate_transformation_mode", "half_pixel")?;
    let sampling = Sampling { linear, coordinates, rounding: s.attributes.string_or("nearest_mode", "round_prefer_floor")? };
    if s.attributes.flag("antialias")? {
        unsupported!("antialiasing is not supported");
    }
    // Scales or sizes; the one that is not meant may be there with no elements.
    let empty = |v: &ValueId| s.shape(*v).first().is_some_and(|d| *d == 0);
    if let Some(scales) = s.optional(2).filter(|v| !empty(v)) {
        let scales = s.numbers(scales, "scales")?;
        return by_scales(s, &scales, &sampling);
    }
    let Some(sizes) = s.optional(3) else { invalid!("scales and sizes are missing") };
    let sizes = s.ints(sizes, "sizes")?;
    if s.attributes.string_or("keep_aspect_ratio_policy", "stretch")? != "stretch" {
        unsupported!("keeping the aspect ratio is not supported");
    }
    let x = s.input(0)?;
    let axes = resized_axes(s, x, sizes.len())?;
    let shape = s.const_shape(x, "size of the image")?;
    let plan = axes.iter().zip(&sizes).map(|(axis, to)| {
        let from = shape[*axis];
        Axis { axis: *axis, from, to: *to, scale: *to as f32 / from as f32 }
    });
    let plan: Vec<Axis> = plan.filter(|a| a.from != a.to).collect();
    resample(s, x, &plan, &sampling)
}

/// The attribute `axes`, or all; as many as there are scales.
fn resized_axes(s: &Site, x: ValueId, given: usize) -> Result<Vec<usize>, Fault> {
    let rank = s.rank(x);
    let axes = match s.attributes.ints("axes")? {
        Some(axes) => axes.iter().map(|a| s.axis(*a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if axes.len() != given {
        invalid!("{given} scales or sizes are given for {} axes of {}", axes.len(), s.ty(x));
    }
    Ok(axes)
}

fn by_scales(s: &mut Site, scales: &[f64], sampling: &Sampling) -> Result<ValueId, Fault> {
    let mut x = s.input(0)?;
    let axes = resized_axes(s, x, scales.len())?;
    let mut plan = vec![];
    for (axis, scale) in axes.into_iter().zip(scales) {
        if !(1e-6..1e6).contains(scale) {
            invalid!("the scale {scale} of axis {axis} is not possible");
        }
        let whole = scale.fract() == 0.0;
        let copies = !sampling.linear && whole && sampling.coordinates == "asymmetric" && sampling.rounding == "floor";
        if *scale == 1.0 {
            continue;
        }
        if copies {
            x = repeat(s, x, axis, *scale as i64)?;
            continue;
        }
        let from = s.shape(x)[axis].as_const().ok_or_else(|| Fault::run_time("size of the image"))?;
        let scale = *scale as f32;
        plan.push(Axis { axis, from, to: (from as f32 * scale).floor() as i64, scale });
    }
    resample(s, x, &plan, sampling)
}

/// Every element of an axis `n` times: a broadcast between two views.
fn repeat(s: &mut Site, x: ValueId, axis: usize, n: i64) -> Result<ValueId, Fault> {
    let mut joined = s.shape(x);
    let mut apart = joined.clone();
    apart.insert(axis + 1, 1i64.into());
    let mut copied = apart.clone();
    copied[axis + 1] = n.into();
    joined[axis] = joined[axis].clone() * n;
    let x = s.reshape(x, apart)?;
    let x = s.expand(x, copied)?;
    s.reshape(x, joined)
}

/// Coordinates in the input of every position of the output, in `f32` as the exporters' own frameworks compute them.
fn coordinates(axis: &Axis, mode: &str) -> Result<Vec<f32>, Fault> {
    let (from, to, scale) = (axis.from as f32, axis.to as f32, axis.scale);
    // The unrounded size of the output, as the specification's own tests take it.
    let length = if (from * scale - to).abs() < 1e-3 { to } else { from * scale };
    let half_pixel = |o: f32| (o + 0.5) / scale - 0.5;
    let at: Box<dyn std::ops::Fn(f32) -> f32> = match mode {
        "half_pixel" => Box::new(half_pixel),
        "pytorch_half_pixel" => Box::new(move |o| if to > 1.0 { half_pixel(o) } else { 0.0 }),
        "align_corners" => Box::new(move |o| if length > 1.0 { o * (from - 1.0) / (length - 1.0) } else { 0.0 }),
        "asymmetric" => Box::new(move |o| o / scale),
        "half_pixel_symmetric" => {
            let offset = from / 2.0 * (1.0 - to / (from * scale));
            Box::new(move |o| offset + half_pixel(o))
        }
        other => unsupported!("the coordinate transformation `{other}` is not supported"),
    };
    Ok((0..axis.to).map(|o| at(o as f32)).collect())
}

fn resample(s: &mut Site, mut x: ValueId, plan: &[Axis], sampling: &Sampling) -> Result<ValueId, Fault> {
    for a in plan {
        if a.from < 1 || a.to < 1 || a.to as f64 > LIMIT {
            invalid!("axis {} cannot be resampled from {} to {} elements", a.axis, a.from, a.to);
        }
        let at = coordinates(a, sampling.coordinates)?;
        let last = (a.from - 1) as f32;
        x = if sampling.linear {
            let at: Vec<f32> = at.iter().map(|x| x.clamp(0.0, last)).collect();
            let low: Vec<i64> = at.iter().map(|x| x.floor() as i64).collect();
            let high: Vec<i64> = low.iter().map(|i| (i + 1).min(a.from - 1)).collect();
            let mut shape = vec![1; s.rank(x)];
            shape[a.axis] = at.len();
            let weight = Tensor::from_fn(s.dtype(x), &shape, |i| f64::from(at[i] - at[i].floor()));
            let weight = s.constant_value(weight);
            let (low, high) = (lookup(s, x, a.axis, &low)?, lookup(s, x, a.axis, &high)?);
            let rest = s.binary(Fn::Sub, 1.0, weight)?;
            s.term("add(mul(?a, ?b), mul(?c, ?d))", &[low, rest, high, weight])?
        } else {
            let round = |x: f32| match sampling.rounding {
                "round_prefer_floor" => Ok((x - 0.5).ceil()),
                "round_prefer_ceil" => Ok((x + 0.5).floor()),
                "floor" => Ok(x.floor()),
                "ceil" => Ok(x.ceil()),
                other => Err(Fault::invalid(format!("the rounding `{other}` does not exist"))),
            };
            let picks = at.iter().map(|x| round(*x).map(|i| i.clamp(0.0, last) as i64)).collect::<Result<Vec<_>, _>>()?;
            // Equal runs of neighbours are copies.
            let n = a.to / a.from;
            if a.to == n * a.from && picks.iter().enumerate().all(|(i, p)| *p == i as i64 / n) {
                repeat(s, x, a.axis, n)?
            } else {
                lookup(s, x, a.axis, &picks)?
            }
        };
    }
    Ok(x)
}

fn lookup(s: &mut Site, x: ValueId, axis: usize, picks: &[i64]) -> Result<ValueId, Fault> {
    let picks = s.constant_value(Tensor::new(&[picks.len()], picks));
    s.add(Gather { axis: axis as i64 }, &[x, picks])
}
