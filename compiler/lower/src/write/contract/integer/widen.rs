//! Rows of A as 16-bit integers, `[row][run][quad][4]`, the even elements of a quad before the odd ones: what the tile of
//! `i32x4.dot_i16x8_s` reads. Each element is widened once for all columns, and rows that lie apart are brought together.

use super::{Rows, Writer};
use ir::DType;
use kernel::*;

/// Sixteen elements at a time are widened in a loop where there are more of them than this.
const UNROLL_LIMIT: usize = 4;

/// Widens the rows of a tile.
pub fn write(k: &mut K, writer: &Writer, from: &Rows, to: V<I32>) {
    if let Rows::Uniform { base, stride } = from {
        let (source, target) = (k.let_("source", base.get()), k.let_("target", to.get()));
        k.for_("target_row", 0, writer.rows, 1, |k, _| {
            let moved = runs(k, writer, source, target, &writer.nest.depth_in_a);
            k.set(source, source + (stride - moved) as i32);
        });
        return;
    }
    let bytes = writer.panels.widened_bytes();
    for row in 0..writer.rows {
        let (pointer, offset) = from.at(row);
        let source = k.let_("source", pointer + offset as i32);
        let target = k.let_("target", to + (row * bytes) as i32);
        runs(k, writer, source, target, &writer.nest.depth_in_a);
    }
}

/// The runs of a row; `target` is moved to their end. Returns by how many bytes `source` was moved.
fn runs(k: &mut K, writer: &Writer, source: V<I32>, target: V<I32>, axes: &[(usize, i64)]) -> i64 {
    let (extent, stride) = axes[0];
    if axes.len() > 1 {
        k.for_("run", 0, extent, 1, |k, _| {
            let moved = runs(k, writer, source, target, &axes[1..]);
            k.set(source, source + (stride - moved) as i32);
        });
        return extent as i64 * stride;
    }
    let quads = writer.panels.quads();
    let signed = writer.operands.a.dtype == DType::I8;
    let vectors = extent / 16;
    if vectors > UNROLL_LIMIT {
        k.for_("i", 0, 16 * vectors, 16, |k, i| {
            let to = k.let_("to", target + i * 2);
            store(k, signed, load(source + i, 0), 4, to, 0);
        });
    } else {
        (0..vectors).for_each(|i| store(k, signed, load(source, 16 * i as u32), 4, target, 32 * i as u32));
    }
    let mut done = 4 * vectors;
    if extent % 16 >= 8 {
        store(k, signed, v128_load64_zero(source, 4 * done as u32).cast(), 2, target, 8 * done as u32);
        done += 2;
    }
    for (q, at) in quads.iter().enumerate().skip(done) {
        store(k, signed, v128_load32_zero(source, *at as u32).cast(), 1, target, 8 * q as u32);
    }
    k.set(target, target + (8 * quads.len()) as i32);
    0
}

/// Widens the first `quads` quads of a vector and stores them.
fn store(k: &mut K, signed: bool, bytes: E<I16x8>, quads: usize, target: V<I32>, offset: u32) {
    let bytes = k.let_("bytes", bytes);
    let [even, odd] = if signed {
        [i16x8_shr_s(i16x8_shl(bytes, 8), 8), i16x8_shr_s(bytes, 8)]
    } else {
        [bytes & k.constant_i32x4(0x00ff_00ff).cast::<I16x8>(), i16x8_shr_u(bytes, 8)]
    };
    let (even, odd) = (k.let_("even", even), k.let_("odd", odd));
    let low = shuffle32::<I16x8>([0, 4, 1, 5], even, odd);
    match quads {
        1 => k.store_lane::<8>(target.get(), offset, low, 0),
        2 => k.store::<I16x8>(target, offset, low),
        _ => {
            k.store::<I16x8>(target, offset, low);
            k.store::<I16x8>(target, offset + 16, shuffle32::<I16x8>([2, 6, 3, 7], even, odd));
        }
    }
}
