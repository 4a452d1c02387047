//! Resampling along axes, one after the other, with any of ONNX's kernels and coordinate transformations.

use crate::tensor::{Cut, cut, dim};
use crate::{Call, Done, Shapes};

/// Two intermediate tensors, as large as the largest.
pub fn scratch(shapes: &Shapes) -> usize {
    let (from, to) = (shapes.input(0), shapes.output(0));
    let most: usize = from.iter().zip(to).map(|(a, b)| (*a).max(*b)).product();
    2 * most
}

/// Keys' cubic kernel with the parameter `a`.
pub(crate) fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// What the integers and floats of a call mean.
struct How {
    /// Nearest 0, linear 1, cubic 2.
    mode: i64,
    /// Half pixel 0, PyTorch's half pixel 1, aligned corners 2, asymmetric 3, symmetric half pixel 4, crop 5.
    coordinates: i64,
    /// Nearest: prefer floor 0, prefer ceiling 1, floor 2, ceiling 3.
    rounding: i64,
    /// Elements outside do not count, instead of counting as the border.
    exclude: bool,
    antialias: bool,
    a: f64,
}

/// One axis.
struct Axis {
    from: f64,
    to: f64,
    scale: f64,
    /// Ends of the region of interest.
    region: (f64, f64),
}

/// Coordinate in the input of position `o` of the output.
fn coordinate(axis: &Axis, o: f64, how: &How) -> f64 {
    let length = axis.scale * axis.from;
    let half_pixel = (o + 0.5) / axis.scale - 0.5;
    match how.coordinates {
        1 if length <= 1.0 => -0.5,
        2 if length == 1.0 => 0.0,
        2 => o * (axis.from - 1.0) / (length - 1.0),
        3 => o / axis.scale,
        4 => axis.from / 2.0 * (1.0 - axis.to / length) + half_pixel,
        5 => {
            let (start, end) = axis.region;
            let along = if length == 1.0 {
                (end - start) * (axis.from - 1.0) / 2.0
            } else {
                o * (end - start) * (axis.from - 1.0) / (length - 1.0)
            };
            along + start * (axis.from - 1.0)
        }
        _ => half_pixel,
    }
}

/// First element, number of elements and the kernel around a coordinate: weights follow from [`weight`].
struct Window {
    base: f64,
    ratio: f64,
    start: i64,
    n: i64,
    /// Stretches the kernel when an antialiased axis shrinks.
    stretch: f64,
}

fn window(x: f64, axis: &Axis, how: &How) -> Window {
    // A coordinate on an element belongs to the window on its left.
    let base = libm::ceil(x) - 1.0;
    let stretch = if how.antialias { axis.scale.min(1.0) } else { 1.0 };
    let support = if how.mode == 2 { 2.0 } else { 1.0 };
    let start = if how.mode == 0 { 0 } else { libm::floor(-support / stretch) as i64 + 1 };
    Window { base, ratio: x - base, start, n: 2 - 2 * start, stretch }
}

fn weight(w: &Window, i: i64, how: &How) -> f64 {
    let distance = (i as f64 - w.ratio) * w.stretch;
    match how.mode {
        0 => {
            let second = w.ratio == 1.0
                || match how.rounding {
                    0 => w.ratio > 0.5,
                    1 => w.ratio >= 0.5,
                    2 => false,
                    _ => true,
                };
            f64::from(second == (i == 1))
        }
        1 => (1.0 - distance.abs()).clamp(0.0, 1.0),
        _ => cubic(distance, how.a),
    }
}

/// Resamples one axis of `from` into `to`.
fn along(from: &[u64], to: &mut [u64], cut: Cut, axis: &Axis, how: &How) {
    let n_to = axis.to as usize;
    let last = cut.n as i64 - 1;
    for o in 0..n_to {
        let w = window(coordinate(axis, o as f64, how), axis, how);
        let weight_at = |i: i64| {
            let at = (w.base as i64).saturating_add(i);
            let outside = at < 0 || at > last;
            if how.exclude && outside { 0.0 } else { weight(&w, i, how) }
        };
        let taps = w.start..w.start + w.n;
        let total: f64 = taps.clone().map(weight_at).sum();
        let total = if (how.exclude || how.antialias) && total != 0.0 { total } else { 1.0 };
        for outer in 0..cut.outer {
            for inner in 0..cut.inner {
                let mut sum = 0.0;
                for i in taps.clone() {
                    let factor = weight_at(i);
                    if factor != 0.0 {
                        let at = (w.base as i64).saturating_add(i).clamp(0, last.max(0)) as usize;
                        sum += factor * from.get(cut.at(outer, at, inner)).map_or(0.0, |b| f64::from_bits(*b));
                    }
                }
                if let Some(target) = to.get_mut((outer * n_to + o) * cut.inner + inner) {
                    *target = (sum / total).to_bits();
                }
            }
        }
    }
}

/// Inputs: data, scales (or nothing), region of interest (starts, then ends; or nothing); one entry per axis of the list of axes.
/// Integers: as in [`How`], then the number of axes and the axes. Floats: `a`, the value outside a cropped region, and, where scales
/// are not an input, the scales.
pub fn resize(call: &mut Call) -> Done {
    let [x, scales, region, ..] = call.inputs;
    let how = How {
        mode: call.int(0),
        coordinates: call.int(1),
        rounding: call.int(2),
        exclude: call.int(3) != 0,
        antialias: call.int(4) != 0 && call.int(0) != 0,
        a: call.float(0),
    };
    let n = call.int(5).max(0) as usize;
    let (ints, floats) = (call.ints, call.floats);
    let axis_at = |i: usize| ints.get(6 + i).copied().unwrap_or(0) as usize;
    let [out, ..] = &mut call.outputs;
    let (to_shape, outside) = (out.shape, floats.get(1).copied().unwrap_or(0.0));
    let describe = |i: usize| {
        let (d, own) = (axis_at(i), floats.get(2 + i).copied());
        let scale = own.unwrap_or_else(|| scales.float(i));
        let region = if region.is_empty() { (0.0, 1.0) } else { (region.float(i), region.float(n + i)) };
        Axis { from: x.dim(d) as f64, to: dim(to_shape, d) as f64, scale, region }
    };
    for i in 0..n {
        let axis = describe(i);
        // Scales known at run time only must give the planned size.
        if floats.len() < 3 {
            let size = axis.from * axis.scale;
            // Rounded down, or to the nearest. What is not a number is neither.
            if !(-0.5..1.0).contains(&(size - axis.to)) {
                return crate::fail(crate::Status::SizeOutOfBounds, size as usize);
            }
        }
    }
    let half = call.scratch.len() / 2;
    let (mut a, mut b) = call.scratch.split_at_mut(half);
    a.iter_mut().enumerate().take(x.len()).for_each(|(i, v)| *v = x.float(i).to_bits());
    // Axes before `i` have the output's sizes already.
    for i in 0..n {
        let (d, axis) = (axis_at(i), describe(i));
        if axis.scale == 1.0 && axis.from == axis.to && how.coordinates != 5 {
            continue;
        }
        let done = |e: usize| (0..i).any(|j| axis_at(j) == e);
        let size = |e: usize| if done(e) { dim(to_shape, e) } else { x.dim(e) };
        let cut = Cut { outer: (0..d).map(size).product(), n: x.dim(d), inner: (d + 1..x.rank()).map(size).product() };
        along(a, b, cut, &axis, &how);
        (a, b) = (b, a);
    }
    for i in 0..out.len() {
        out.set_float(i, a.get(i).map_or(0.0, |v| f64::from_bits(*v)));
    }
    if how.coordinates == 5 {
        for i in 0..n {
            let (c, axis) = (cut(to_shape, axis_at(i)), describe(i));
            for o in 0..c.n {
                let at = coordinate(&axis, o as f64, &how);
                if at < 0.0 || at > axis.from - 1.0 {
                    (0..c.outer * c.inner).for_each(|p| out.set_float(c.at(p / c.inner.max(1), o, p % c.inner.max(1)), outside));
                }
            }
        }
    }
    Ok(())
}
