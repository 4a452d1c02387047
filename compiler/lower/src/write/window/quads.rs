//! Depthwise convolution of unsigned bytes by relaxed dot products: four rows of the window at a time, whose taps of a
//! channel stand beside each other in a 32-bit lane. The expanded weights lie as `[channel / 8][four rows][tap][half][4][4]`; rows
//! that are missing have zeros there.

use std::collections::BTreeMap;

use super::bytes::Bytes;
use super::{Cursor, Nest, bytes};
use crate::lanes::{self, Lanes};
use crate::pointwise;
use ir::DType;
use ir::tensor::indices;
use kernel::{I8x16, I32, I32x4, K, V, i8x16_shuffle, i32x4_relaxed_dot_i8x16_i7x16_add_s, load, v128_load64_zero};

/// Widest tile: two sums for each position.
pub const WIDEST: usize = 4;

/// Locals that all tile widths share.
pub struct Locals {
    sums: Vec<[V<I32x4>; 2]>,
    weights: Vec<[V<I8x16>; 2]>,
}

impl Locals {
    pub fn new(k: &mut K, taps: usize) -> Locals {
        Locals {
            sums: (0..WIDEST).map(|_| [k.local("sum"), k.local("sum")]).collect(),
            weights: (0..taps).map(|_| [k.local("weights"), k.local("weights")]).collect(),
        }
    }
}

impl Bytes<'_> {
    /// Bytes of the weights of a group.
    pub fn quad_bytes(&self) -> usize {
        self.rows.len().div_ceil(4) * self.taps * 32
    }

    pub fn expand_quads(&self, k: &mut K, source: V<I32>, target: V<I32>) {
        let none = k.let_("none", lanes::zero::<I8x16>());
        for (i, at) in indices(&[self.rows.len().div_ceil(4), self.taps]).enumerate() {
            let read = |row| self.stored(row, at[1]).map(|from| v128_load64_zero(source, from).cast::<I8x16>());
            let rows: [V<I8x16>; 4] = std::array::from_fn(|r| read(4 * at[0] + r).map_or(none, |row| k.let_("row", row)));
            let upper = k.let_("upper", i8x16_shuffle::<I8x16>(BYTES, rows[0], rows[1]));
            let lower = k.let_("lower", i8x16_shuffle::<I8x16>(BYTES, rows[2], rows[3]));
            for (half, interleave) in [LOW, HIGH].into_iter().enumerate() {
                k.store::<I8x16>(target, (32 * i + 16 * half) as u32, i8x16_shuffle::<I8x16>(interleave, upper, lower));
            }
        }
    }

    /// Eight channels of one tile. Cursors: the operand, the output, the epilogue's operands.
    pub fn eight(&self, k: &mut K, nest: &Nest, locals: &Locals, cursors: &[Cursor], w: V<I32>, width: usize) {
        let sums = &locals.sums[..width];
        sums.iter().flatten().for_each(|sum| k.set(*sum, lanes::zero::<I32x4>()));
        // Which positions and taps read the column at each distance.
        let mut columns: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
        for position in 0..width {
            for tap in 0..self.taps {
                columns.entry(nest.x.step(self.tiled) * position as i64 + self.tap * tap as i64).or_default().push((position, tap));
            }
        }
        for (i, rows) in self.rows.chunks(4).enumerate() {
            for (tap, weights) in locals.weights.iter().enumerate() {
                let at = 32 * (i * self.taps + tap);
                weights.iter().enumerate().for_each(|(h, weight)| k.set(*weight, load::<I8x16>(w, (at + 16 * h) as u32)));
            }
            for (distance, uses) in &columns {
                let mut read: Vec<V<I8x16>> = rows
                    .iter()
                    .map(|row| k.let_("row", v128_load64_zero(cursors[0].at + bytes(row + distance), 0).cast::<I8x16>()))
                    .collect();
                // The weights of missing rows are zeros.
                read.resize(4, read[0]);
                let upper = k.let_("upper", i8x16_shuffle::<I8x16>(BYTES, read[0], read[1]));
                let lower = if rows.len() > 2 { k.let_("lower", i8x16_shuffle::<I8x16>(BYTES, read[2], read[3])) } else { upper };
                for (half, interleave) in [LOW, HIGH].into_iter().enumerate() {
                    let quads = k.let_("quads", i8x16_shuffle::<I8x16>(interleave, upper, lower));
                    for (position, tap) in uses {
                        let sum = sums[*position][half];
                        k.set(sum, i32x4_relaxed_dot_i8x16_i7x16_add_s(locals.weights[*tap][half], quads, sum));
                    }
                }
            }
        }
        self.finish_eight(k, nest, sums, &cursors[1..]);
    }

    /// The epilogue and the stores of eight channels.
    fn finish_eight(&self, k: &mut K, nest: &Nest, sums: &[[V<I32x4>; 2]], cursors: &[Cursor]) {
        let (out, operands) = cursors.split_first().expect("the output is there");
        let dtype = out.place.view.dtype;
        let narrows = matches!(dtype, DType::U8 | DType::I8);
        let none = pointwise::Hoisted::none(nest.epilogue().steps.len());
        for half in 0..2 {
            let fixed: Vec<Option<Lanes>> =
                operands.iter().map(|c| (c.place.step(self.tiled) == 0).then(|| self.operand(k, c, 0, half).bind(k))).collect();
            for (position, sum) in sums.iter().enumerate() {
                let mut args = vec![Lanes::I32(sum[half].get())];
                for (c, fixed) in operands.iter().zip(&fixed) {
                    args.push(fixed.clone().unwrap_or_else(|| self.operand(k, c, position, half)));
                }
                let value = if narrows && self.saturates {
                    pointwise::emit_uncut(k, nest.epilogue(), &nest.types, &args, &none)
                } else {
                    pointwise::emit_after(k, nest.epilogue(), &nest.types, &args, &none)
                };
                match value {
                    Lanes::I32(value) if narrows => k.set(sum[half], value),
                    value => lanes::store(k, dtype, self.at(out, position, half), 0, self.lanes_of(out.place), 4, value),
                }
            }
        }
        if narrows {
            for (position, [low, high]) in sums.iter().enumerate() {
                let packed = lanes::bytes_of(dtype, low.get(), high.get());
                k.store_lane::<8>(self.at(out, position, 0), 0, packed, 0);
            }
        }
    }
}

/// Interleaves the lower eight bytes of two vectors.
const BYTES: [u8; 16] = [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23];
/// Interleave the lower or the upper halves of two vectors of 16-bit lanes.
const LOW: [u8; 16] = [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23];
const HIGH: [u8; 16] = [8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31];
