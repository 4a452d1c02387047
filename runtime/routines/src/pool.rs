//! Windows with positions: pooling that says where its maxima are, its inverse, regions, and blocks added up.

use crate::tensor::{Combine, dim, product};
use crate::{Call, Done, Status, expect_size, fail};

/// Most spatial dimensions.
const AXES: usize = 4;

/// Coordinates of a row-major position in a box given by a function, last dimension first.
fn coordinates(mut i: usize, n: usize, size: impl Fn(usize) -> usize) -> [usize; AXES] {
    let mut at = [0; AXES];
    for d in (0..n.min(AXES)).rev() {
        let size = size(d).max(1);
        if let Some(a) = at.get_mut(d) {
            *a = i % size;
        }
        i /= size;
    }
    at
}

fn get(list: &[usize; AXES], d: usize) -> usize {
    list.get(d).copied().unwrap_or(0)
}

/// Input: `[N, C, spatial…]`. Integers: whether positions count columns first, then per spatial axis kernel, stride, pad before,
/// dilation. Outputs: maxima, and their positions in the flattened input as `i64`.
pub fn max_pool_indices(call: &mut Call) -> Done {
    let x = call.inputs[0];
    let n = x.rank().saturating_sub(2);
    let columns_first = call.int(0) != 0;
    let ints = call.ints;
    let attribute = |axis: usize, which: usize| ints.get(1 + 4 * axis + which).copied().unwrap_or(1);
    let [y, indices, ..] = &mut call.outputs;
    let image = product(x.shape.get(2..).unwrap_or(&[]));
    let result = product(y.shape.get(2..).unwrap_or(&[]));
    let taps: usize = (0..n).map(|d| attribute(d, 0) as usize).product();
    for i in 0..y.len() {
        let (plane, place) = (i / result.max(1), i % result.max(1));
        let at = coordinates(place, n, |d| dim(y.shape, 2 + d));
        let mut best: Option<(i64, usize, i64)> = None;
        for tap in 0..taps {
            let tap = coordinates(tap, n, |d| attribute(d, 0) as usize);
            let (mut position, mut column_position, mut stride, mut inside) = (0i64, 0i64, 1i64, true);
            for d in 0..n {
                let p = get(&at, d) as i64 * attribute(d, 1) + get(&tap, d) as i64 * attribute(d, 3) - attribute(d, 2);
                let size = x.dim(2 + d) as i64;
                inside &= p >= 0 && p < size;
                position = position * size + p;
                column_position += p * stride;
                stride *= size;
            }
            if inside {
                let from = plane * image + position as usize;
                let key = x.key(from);
                if best.is_none_or(|(k, ..)| key > k) {
                    best = Some((key, from, if columns_first { column_position } else { position }));
                }
            }
        }
        match best {
            Some((_, from, position)) => {
                y.set_bits(i, x.bits(from));
                indices.set_int(i, (plane * image) as i64 + position);
            }
            None => {
                y.set_bits(i, Combine::Max.neutral(x.dtype));
                indices.set_int(i, -1);
            }
        }
    }
    Ok(())
}

/// Inputs: elements, their positions in an image of the original size. Integers: that size (`[N, C, spatial…]`), which the
/// output contains.
pub fn max_unpool(call: &mut Call) -> Done {
    let (x, indices) = (call.inputs[0], call.inputs[1]);
    let ints = call.ints;
    let [out, ..] = &mut call.outputs;
    let rank = out.shape.len();
    out.clear();
    for i in 0..x.len() {
        let mut rest = indices.int(i);
        let (mut at, mut stride) = (0, 1);
        for d in (0..rank).rev() {
            let size = ints.get(d).copied().unwrap_or(1).max(1);
            let p = rest.rem_euclid(size) as usize;
            rest = rest.div_euclid(size);
            if p >= out.dim(d) {
                rest = -1;
                break;
            }
            at += stride * p;
            stride *= out.dim(d);
        }
        if rest != 0 {
            return fail(Status::IndexOutOfRange, indices.int(i) as usize);
        }
        out.set_bits(at, x.bits(i));
    }
    Ok(())
}

/// Inputs: images, regions `[batch, x1, y1, x2, y2]`. Float: the regions' scale. An empty cell gives 0.
pub fn max_roi_pool(call: &mut Call) -> Done {
    let (x, regions) = (call.inputs[0], call.inputs[1]);
    let scale = call.float(0);
    let [out, ..] = &mut call.outputs;
    let (channels, height, width) = (x.dim(1), x.dim(2) as f64, x.dim(3) as f64);
    let (rows, columns) = (out.dim(2), out.dim(3));
    for r in 0..out.dim(0) {
        let batch = regions.float(5 * r);
        if batch < 0.0 || batch >= x.dim(0) as f64 {
            return fail(Status::IndexOutOfRange, batch as usize);
        }
        let edge = |i: usize| libm::round(regions.float(5 * r + i) * scale);
        let (x1, y1, x2, y2) = (edge(1), edge(2), edge(3), edge(4));
        let (cell_height, cell_width) = ((y2 - y1 + 1.0).max(1.0) / rows as f64, (x2 - x1 + 1.0).max(1.0) / columns as f64);
        for row in 0..rows {
            let low = (libm::floor(row as f64 * cell_height) + y1).clamp(0.0, height);
            let high = (libm::ceil((row + 1) as f64 * cell_height) + y1).clamp(0.0, height);
            for column in 0..columns {
                let left = (libm::floor(column as f64 * cell_width) + x1).clamp(0.0, width);
                let right = (libm::ceil((column + 1) as f64 * cell_width) + x1).clamp(0.0, width);
                for c in 0..channels {
                    let plane = (batch as usize * channels + c) * x.dim(2);
                    let mut best: Option<(i64, usize)> = None;
                    for h in low as usize..high as usize {
                        for w in left as usize..right as usize {
                            let at = (plane + h) * x.dim(3) + w;
                            let key = x.key(at);
                            if best.is_none_or(|(k, _)| key > k) {
                                best = Some((key, at));
                            }
                        }
                    }
                    out.set_bits(((r * channels + c) * rows + row) * columns + column, best.map_or(0, |(_, at)| x.bits(at)));
                }
            }
        }
    }
    Ok(())
}

/// Inputs: `[N, C · block, positions]`, the size of the block. Integers per spatial axis: dilation, pad before, pad after, stride.
/// Output: `[N, C, image…]`.
pub fn col2im(call: &mut Call) -> Done {
    let (x, blocks) = (call.inputs[0], call.inputs[1]);
    let ints = call.ints;
    // The block, then the integers.
    let attribute = |axis: usize, which: usize| match which.checked_sub(1) {
        None => blocks.int(axis).max(1),
        Some(i) => ints.get(4 * axis + i).copied().unwrap_or(1),
    };
    let [out, ..] = &mut call.outputs;
    let n = out.shape.len().saturating_sub(2);
    let block = (0..n).fold(1usize, |block, d| block.saturating_mul(usize::try_from(attribute(d, 0)).unwrap_or(usize::MAX)));
    let image = product(out.shape.get(2..).unwrap_or(&[]));
    let places = |d: usize| {
        let reach = attribute(d, 1).saturating_mul(attribute(d, 0) - 1).saturating_add(1);
        let padded = (dim(out.shape, 2 + d) as i64).saturating_add(attribute(d, 2)).saturating_add(attribute(d, 3));
        let room = padded.saturating_sub(reach);
        if room < 0 { 0 } else { usize::try_from(room / attribute(d, 4).max(1)).unwrap_or(usize::MAX).saturating_add(1) }
    };
    let mut sizes = [1usize; AXES];
    sizes.iter_mut().enumerate().take(n).for_each(|(d, s)| *s = places(d));
    let positions = x.dim(2);
    expect_size(sizes.iter().fold(1usize, |product, size| product.saturating_mul(*size)), positions)?;
    expect_size(out.dim(1).saturating_mul(block), x.dim(1))?;
    out.clear();
    for i in 0..x.len() {
        let (position, row) = (i % positions.max(1), i / positions.max(1));
        let (tap, plane) = (row % block.max(1), row / block.max(1));
        let tap = coordinates(tap, n, |d| attribute(d, 0) as usize);
        let place = coordinates(position, n, |d| get(&sizes, d));
        let (mut at, mut inside) = (0i64, true);
        for d in 0..n {
            let p = get(&place, d) as i64 * attribute(d, 4) + get(&tap, d) as i64 * attribute(d, 1) - attribute(d, 2);
            let size = dim(out.shape, 2 + d) as i64;
            inside &= p >= 0 && p < size;
            at = at * size + p;
        }
        if inside {
            let at = plane * image + at as usize;
            let sum = Combine::Add.apply(x.dtype, out.as_ref().bits(at), x.bits(i));
            out.set_bits(at, sum);
        }
    }
    Ok(())
}
