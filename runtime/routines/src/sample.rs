//! Sampling of images between their elements: at given positions, and over regions.

use crate::tensor::{DType, Tensor, product};
use crate::{Call, Done, Status, fail};

/// Most spatial dimensions.
const AXES: usize = 3;
/// Most elements along one axis that a sample takes.
const TAPS: usize = 4;

/// What lies outside an image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outside {
    Zeros,
    Border,
    Reflection,
}

/// The elements along one axis that a sample takes, and their weights; an element outside counts as zero.
#[derive(Clone, Copy)]
struct Taps {
    at: [Option<usize>; TAPS],
    weight: [f64; TAPS],
    n: usize,
}

impl Taps {
    fn get(&self, i: usize) -> Option<(usize, f64)> {
        Some(((*self.at.get(i)?)?, *self.weight.get(i)?))
    }
}

fn reflect(x: f64, low: f64, high: f64) -> f64 {
    let range = high - low;
    if range <= 0.0 {
        return low;
    }
    let from = (x - low).abs();
    let turns = libm::floor(from / range);
    let rest = from - turns * range;
    if turns % 2.0 == 0.0 { low + rest } else { high - rest }
}

/// Position `x` of an axis of `size` elements: nearest (1), linear (0) or cubic (2).
fn taps(x: f64, size: usize, mode: i64, outside: Outside, align: bool) -> Taps {
    let (low, high) = if align { (0.0, size as f64 - 1.0) } else { (-0.5, size as f64 - 0.5) };
    let last = size as f64 - 1.0;
    let bring = |x: f64| match outside {
        Outside::Zeros => x,
        Outside::Border => x.clamp(0.0, last.max(0.0)),
        Outside::Reflection if x < low || x > high => reflect(x, low, high).clamp(0.0, last.max(0.0)),
        Outside::Reflection => x.clamp(0.0, last.max(0.0)),
    };
    let inside = |x: f64| if x >= 0.0 && x <= last { Some(x as usize) } else { None };
    let mut taps = Taps { at: [None; TAPS], weight: [0.0; TAPS], n: 1 };
    match mode {
        1 => {
            taps.at[0] = inside(libm::rint(bring(x)));
            taps.weight[0] = 1.0;
        }
        0 => {
            let x = bring(x);
            let base = libm::floor(x);
            taps.n = 2;
            taps.at[0] = inside(base);
            taps.at[1] = inside(base + 1.0);
            taps.weight[1] = x - base;
            taps.weight[0] = 1.0 - (x - base);
        }
        _ => {
            let base = libm::floor(x);
            taps.n = 4;
            for i in 0..4 {
                let at = base + i as f64 - 1.0;
                let distance = (x - at).abs();
                taps.at[i] = inside(libm::floor(bring(at)));
                taps.weight[i] = crate::resize::cubic(distance, -0.75);
            }
        }
    }
    taps
}

/// Inputs: images `[N, C, spatial…]`, positions `[N, out…, axes]`, the last axis of the image first. Integers: nearest, linear or
/// cubic as 1, 0, 2; zeros, border or reflection as 0, 1, 2; whether −1 and 1 are the centres of the corner elements.
pub fn grid_sample(call: &mut Call) -> Done {
    let (x, grid) = (call.inputs[0], call.inputs[1]);
    let (mode, align) = (call.int(0), call.int(2) != 0);
    let outside = match call.int(1) {
        0 => Outside::Zeros,
        1 => Outside::Border,
        _ => Outside::Reflection,
    };
    let [out, ..] = &mut call.outputs;
    let n = x.rank().saturating_sub(2).min(AXES);
    let (channels, image) = (x.dim(1), product(x.shape.get(2..).unwrap_or(&[])));
    let places = product(out.shape.get(2..).unwrap_or(&[]));
    // In the precision of the positions, as frameworks do: it decides ties.
    let round = |v: f64| if grid.dtype == DType::F64 { v } else { f64::from(v as f32) };
    for batch in 0..x.dim(0) {
        for place in 0..places {
            let mut axes = [Taps { at: [None; TAPS], weight: [0.0; TAPS], n: 1 }; AXES];
            let mut total = 1;
            for (d, axis) in axes.iter_mut().enumerate().take(n) {
                let size = x.dim(2 + d);
                let g = grid.float((batch * places + place) * n + n - 1 - d);
                let position = if align {
                    round(round(round(g + 1.0) / 2.0) * (size as f64 - 1.0))
                } else {
                    round(round(round(g + 1.0) * size as f64) - 1.0) / 2.0
                };
                *axis = taps(position, size, mode, outside, align);
                total *= axis.n;
            }
            for c in 0..channels {
                let mut sum = 0.0;
                for tap in 0..total {
                    let (mut rest, mut at, mut weight, mut stride) = (tap, Some(0), 1.0, 1);
                    for d in (0..n).rev() {
                        let Some(axis) = axes.get(d) else { continue };
                        let hit = axis.get(rest % axis.n.max(1));
                        rest /= axis.n.max(1);
                        at = at.and_then(|at| hit.map(|(p, _)| at + p * stride));
                        weight *= hit.map_or(0.0, |(_, w)| w);
                        stride *= x.dim(2 + d);
                    }
                    if let Some(at) = at {
                        sum += weight * x.float((batch * channels + c) * image + at);
                    }
                }
                out.set_float((batch * channels + c) * places + place, sum);
            }
        }
    }
    Ok(())
}

/// Four elements around a position and their weights. Outside by up to one element, the border counts.
fn bilinear(x: f64, y: f64, width: usize, height: usize) -> Option<[(usize, f64); 4]> {
    if !(y >= -1.0 && y <= height as f64 && x >= -1.0 && x <= width as f64) || width == 0 || height == 0 {
        return None;
    }
    let along = |v: f64, size: usize| {
        let v = v.max(0.0);
        let low = v as usize;
        if low + 1 >= size { (size - 1, size - 1, 0.0) } else { (low, low + 1, v - low as f64) }
    };
    let ((top, bottom, fy), (left, right, fx)) = (along(y, height), along(x, width));
    Some([
        (top * width + left, (1.0 - fy) * (1.0 - fx)),
        (top * width + right, (1.0 - fy) * fx),
        (bottom * width + left, fy * (1.0 - fx)),
        (bottom * width + right, fy * fx),
    ])
}

/// Inputs: images, regions `[n, 4]` (x1, y1, x2, y2), the image of each. Integers: whether maxima are meant, samples per cell and
/// axis (0: as many as elements), whether half an element is subtracted. Float: the regions' scale.
pub fn roi_align(call: &mut Call) -> Done {
    let [x, regions, batches, ..] = call.inputs;
    let (maximum, ratio, half) = (call.int(0) != 0, call.int(1), call.int(2) != 0);
    let scale = call.float(0);
    let [out, ..] = &mut call.outputs;
    let (channels, height, width) = (x.dim(1), x.dim(2), x.dim(3));
    let (rows, columns) = (out.dim(2), out.dim(3));
    for r in 0..out.dim(0) {
        let Some(batch) = batches.index(r, x.dim(0)) else { return fail(Status::IndexOutOfRange, batches.int(r) as usize) };
        let edge = |i: usize| regions.float(4 * r + i) * scale - if half { 0.5 } else { 0.0 };
        let (left, top) = (edge(0), edge(1));
        let least = |size: f64| if half { size } else { size.max(1.0) };
        let (cell_width, cell_height) = (least(edge(2) - left) / columns as f64, least(edge(3) - top) / rows as f64);
        let samples = |cell: f64| if ratio > 0 { ratio as usize } else { libm::ceil(cell).clamp(0.0, 4096.0) as usize };
        let (nx, ny) = (samples(cell_width), samples(cell_height));
        let count = (nx * ny).max(1) as f64;
        for row in 0..rows {
            for column in 0..columns {
                for c in 0..channels {
                    let plane = (batch * channels + c) * height * width;
                    let (mut sum, mut best) = (0.0, None);
                    for iy in 0..ny {
                        let y = top + row as f64 * cell_height + (iy as f64 + 0.5) * cell_height / ny as f64;
                        for ix in 0..nx {
                            let at = left + column as f64 * cell_width + (ix as f64 + 0.5) * cell_width / nx as f64;
                            let taps = bilinear(at, y, width, height).unwrap_or([(0, 0.0); 4]);
                            let values = taps.map(|(i, w)| w * x.float(plane + i));
                            let [a, b, c, d] = values;
                            sum += a + b + c + d;
                            let most = a.max(b).max(c.max(d));
                            best = Some(best.map_or(most, |best: f64| best.max(most)));
                        }
                    }
                    let value = if maximum { best.unwrap_or(0.0) } else { sum / count };
                    out.set_float(((r * channels + c) * rows + row) * columns + column, value);
                }
            }
        }
    }
    Ok(())
}

/// The linear interpolation of an image plane at a position; zeros outside.
pub(crate) fn sample(x: &Tensor, plane: usize, height: usize, width: usize, at: (f64, f64)) -> f64 {
    let (base_y, base_x) = (libm::floor(at.0), libm::floor(at.1));
    let value = |y: f64, x_at: f64| {
        let inside = y >= 0.0 && x_at >= 0.0 && y < height as f64 && x_at < width as f64;
        if inside { x.float(plane + y as usize * width + x_at as usize) } else { 0.0 }
    };
    let (fy, fx) = (at.0 - base_y, at.1 - base_x);
    let row = |y: f64| value(y, base_x) * (1.0 - fx) + value(y, base_x + 1.0) * fx;
    row(base_y) * (1.0 - fy) + row(base_y + 1.0) * fy
}
