//! Rows of A as 16-bit integers, `[row][run][quad][4]`: what the tile of `i32x4.dot_i16x8_s` reads. Each element is
//! widened once for all columns, and rows that lie apart are brought together.

use super::{Rows, Writer};
use ir::DType;
use kernel::*;

/// Eight elements at a time are copied in a loop where there are more of them than this.
const UNROLL_LIMIT: usize = 4;

/// Widens a block of rows.
pub fn write(k: &mut K, writer: &Writer, from: &Rows, to: V<I32>) {
    for row in 0..writer.block {
        let (pointer, offset) = from.at(row);
        let source = k.let_("source", pointer + offset as i32);
        let target = k.let_("target", to + (row * writer.panels.widened_bytes()) as i32);
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
    let signed = writer.operands.a.dtype == DType::I8;
    let eight = |at: E<I32>, offset: u32| if signed { v128_load8x8_s(at, offset) } else { v128_load8x8_u(at, offset) };
    let pairs = extent / 8;
    if pairs > UNROLL_LIMIT {
        k.for_("i", 0, 8 * pairs, 8, |k, i| k.store::<I16x8>(target + i * 2, 0, eight(source + i, 0)));
    } else {
        (0..pairs).for_each(|i| k.store::<I16x8>(target, 16 * i as u32, eight(source.get(), 8 * i as u32)));
    }
    let quads = writer.panels.quads();
    for (q, at) in quads.iter().enumerate().skip(2 * pairs) {
        let four: E<I8x16> = v128_load32_zero(source, *at as u32).cast();
        let wide = if signed { i16x8_extend_low_i8x16_s(four) } else { i16x8_extend_low_i8x16_u(four) };
        k.store_lane::<8>(target.get(), 8 * q as u32, wide, 0);
    }
    k.set(target, target + (8 * quads.len()) as i32);
    0
}
