//! The transforms of F(4x4, 3x3) in integers: patches of bytes to 16-bit values, eight channels at a time, and 32-bit
//! products to sums with the epilogue, four channels at a time.

use super::super::transform::{Strip, for_channels, for_tile_rows, mul, rows_per_task, valid, when};
use super::super::{Operands, tile};
use super::winograd::{PATCH, Planes, TILE};
use crate::cx::{Cx, NodeCx, new_kernel, pointer};
use crate::lanes::{self, Lanes, Pattern};
use crate::pointwise;
use crate::view::View;
use ir::DType;
use kernel::*;

/// The inverse of nine modulo 2³².
const NINTH: i32 = 954_437_177;

/// Rows from columns.
pub fn transposed<T: Copy, const ROWS: usize, const COLUMNS: usize>(columns: [[T; ROWS]; COLUMNS]) -> [[T; COLUMNS]; ROWS] {
    std::array::from_fn(|i| std::array::from_fn(|j| columns[j][i]))
}

/// `Bᵀ d`
fn input_1d(k: &mut K, d: [V<I16x8>; PATCH]) -> [V<I16x8>; PATCH] {
    let c = k.let_("c", d[4] - d[2]);
    let e = k.let_("e", d[3] - d[1]);
    let a = k.let_("a", d[4] - i16x8_shl(d[2], 2));
    let b = k.let_("b", d[3] - i16x8_shl(d[1], 2));
    let e2 = k.let_("e", e + e);
    [
        k.let_("t", i16x8_shl(d[0] - d[2], 2) + c),
        k.let_("t", a + b),
        k.let_("t", a - b),
        k.let_("t", c + e2),
        k.let_("t", c - e2),
        k.let_("t", (d[5] - d[3]) - i16x8_shl(e, 2)),
    ]
}

/// `24 G g`, the last one `8 G g`.
pub fn kernel_1d(k: &mut K, g: [V<I16x8>; 3]) -> [V<I16x8>; PATCH] {
    let outer = k.let_("o", g[0] + g[2]);
    let outer2 = k.let_("o", g[0] + i16x8_shl(g[2], 2));
    let inner2 = k.let_("i", i16x8_shl(g[1], 1));
    let negated = |k: &mut K, x: E<I16x8>| k.let_("u", lanes::zero::<I16x8>() - i16x8_shl(x, 2));
    [
        k.let_("u", i16x8_shl(g[0], 2) + i16x8_shl(g[0], 1)),
        negated(k, outer + g[1]),
        negated(k, outer - g[1]),
        k.let_("u", outer2 + inner2),
        k.let_("u", outer2 - inner2),
        k.let_("u", i16x8_shl(g[2], 3)),
    ]
}

/// `Aᵀ m`, where the last of the six is a third of what it should be.
fn output_1d(k: &mut K, m: [V<I32x4>; PATCH]) -> [V<I32x4>; TILE] {
    let sum = k.let_("s", m[1] + m[2]);
    let difference = k.let_("d", m[1] - m[2]);
    let sum2 = k.let_("s", m[3] + m[4]);
    let difference2 = k.let_("d", m[3] - m[4]);
    [
        k.let_("y", m[0] + sum + sum2),
        k.let_("y", difference + i32x4_shl(difference2, 1)),
        k.let_("y", sum + i32x4_shl(sum2, 2)),
        k.let_("y", difference + i32x4_shl(difference2, 3) + (m[5] + i32x4_shl(m[5], 1))),
    ]
}

/// Adds the step that transforms the patches of a strip to `[36][tile][channels]`.
pub fn input(cx: &mut Cx, nx: &NodeCx, strip: &Strip, operands: &Operands, channels: usize, patches: &View, planes: &Planes) {
    let (x, at) = (&operands.a, &operands.linears[0]);
    let (row, column) = (at.strides[1], at.strides[2]);
    let per_task = rows_per_task(strip, channels / 8);
    let signed = x.dtype == DType::I8;
    let mut k = K::new(format!("winograd_4x4_3x3_input_{}_c{channels}", x.dtype));
    let (px, pv) = (pointer(&mut k, "x", x), pointer(&mut k, "patches", patches));
    for_tile_rows(&mut k, strip, per_task, |k, ty| {
        let x_row = k.let_("x_row", px + ty * (TILE as i64 * row) as i32);
        let v_row = k.let_("v_row", pv + ty * (strip.columns * planes.tile) as i32);
        k.for_("tx", 0, strip.columns, 1, |k, tx| {
            let x_tile = k.let_("x_tile", x_row + tx * (TILE as i64 * column) as i32);
            let v_tile = k.let_("v_tile", v_row + tx * planes.tile as i32);
            k.for_("channel", 0, channels, 8, |k, c| {
                let source = k.let_("source", x_tile + c);
                let target = k.let_("target", v_tile + c * 2);
                let columns: [_; PATCH] = std::array::from_fn(|j| {
                    let d = std::array::from_fn(|i| {
                        let offset = (i as i64 * row + j as i64 * column) as u32;
                        k.let_("d", if signed { v128_load8x8_s(source, offset) } else { v128_load8x8_u(source, offset) })
                    });
                    input_1d(k, d)
                });
                for (i, t) in transposed(columns).into_iter().enumerate() {
                    for (j, v) in input_1d(k, t).iter().enumerate() {
                        k.store(target, ((i * PATCH + j) * planes.plane) as u32, *v);
                    }
                }
            });
        });
    });
    let first = at.base + strip.image as i64 * at.strides[0] + (strip.first_row * TILE) as i64 * at.strides[1];
    let tasks = strip.rows.div_ceil(per_task) as u32;
    cx.step(k.finish(), vec![x.arg_at(first), patches.arg_at(0)], tasks, 0, nx.origin, &[patches], &[]);
}

/// The step that turns `[36][tile][channels]` into 4x4 outputs per tile, with the epilogue.
pub struct Output {
    pub strip: Strip,
    /// Rows and columns of the output from the strip's first row on.
    pub limits: (usize, usize),
    pub channels: usize,
    /// A saturating conversion is all that bounds the results.
    pub saturates: bool,
}

/// The output and the epilogue's operands at a tile and four channels.
struct At<'a> {
    pointers: Vec<V<I32>>,
    /// Bytes per row, column and channel.
    strides: &'a [[i64; 3]],
    /// Operands that are the same for all positions.
    shared: Vec<Option<Lanes>>,
}

impl Output {
    pub fn write(&self, cx: &mut Cx, nx: &NodeCx, operands: &Operands, products: &View, planes: &Planes) {
        let strip = &self.strip;
        let per_task = rows_per_task(strip, self.channels / 4);
        let views: Vec<&View> = std::iter::once(&operands.output).chain(&operands.extras).collect();
        let strides: Vec<[i64; 3]> =
            views.iter().zip(&operands.linears[1..]).map(|(v, l)| [1, 2, 4].map(|axis| l.strides[axis] * v.dtype.bytes() as i64)).collect();
        let mut k = new_kernel(format!("winograd_4x4_3x3_output_{}_c{}", operands.output.dtype, self.channels), &cx.options);
        let pm = pointer(&mut k, "products", products);
        let bases: Vec<V<I32>> = views.iter().enumerate().map(|(i, v)| pointer(&mut k, if i == 0 { "out" } else { "extra" }, v)).collect();
        let last_rows = self.limits.0.min(strip.rows * TILE) - (strip.rows - 1) * TILE;
        let last_columns = self.limits.1 - (strip.columns - 1) * TILE;
        for_tile_rows(&mut k, strip, per_task, |k, ty| {
            let m_row = k.let_("m_row", pm + ty * (strip.columns * planes.tile) as i32);
            let rows = valid(k, ty, strip.rows, last_rows, TILE);
            k.for_("tx", 0, strip.columns, 1, |k, tx| {
                let m_tile = k.let_("m_tile", m_row + tx * planes.tile as i32);
                let columns = valid(k, tx, strip.columns, last_columns, TILE);
                let mut tiles = vec![];
                for (base, [row, column, _]) in bases.iter().zip(&strides) {
                    tiles.push(k.let_("tile_ptr", *base + ty * (TILE as i64 * row) as i32 + tx * (TILE as i64 * column) as i32));
                }
                for_channels(k, self.channels, |k, c, _| {
                    let source = k.let_("source", m_tile + c.clone());
                    let mut pointers = vec![];
                    for (tile, [_, _, channel]) in tiles.iter().zip(&strides) {
                        pointers.push(k.in_local("channel_ptr", *tile + mul(c.clone(), *channel)));
                    }
                    let mut at = At { pointers, strides: &strides, shared: vec![] };
                    at.shared = (0..operands.extras.len())
                        .map(|e| (strides[1 + e][..2] == [0, 0]).then(|| at.extra(k, operands, e, (0, 0)).bind(k)))
                        .collect();
                    let halves: [_; PATCH] = std::array::from_fn(|j| {
                        let value = |i: usize| ((i * PATCH + j) * planes.plane) as u32;
                        let m = std::array::from_fn(|i| k.let_("m", load::<I32x4>(source, value(i))));
                        output_1d(k, m)
                    });
                    for (i, half) in transposed(halves).into_iter().enumerate() {
                        let y = output_1d(k, half);
                        when(k, rows, i, |k| match columns {
                            Some(columns) => k.if_else(
                                i32_eq(columns, TILE as i32),
                                |k| self.finish(k, operands, &at, i, &y),
                                |k| self.finish(k, operands, &at, i, &y[..last_columns]),
                            ),
                            None => self.finish(k, operands, &at, i, &y),
                        });
                    }
                });
            });
        });
        let axis = |l: &crate::view::Linear| l.base + strip.image as i64 * l.strides[0] + (strip.first_row * TILE) as i64 * l.strides[1];
        let mut args = vec![products.arg_at(0)];
        args.extend(views.iter().zip(&operands.linears[1..]).map(|(v, l)| v.arg_at(axis(l))));
        let also: Vec<&View> = operands
            .extras
            .iter()
            .filter(|v| v.source == operands.output.source)
            .chain((strip.first_row > 0 || strip.image > 0).then_some(&operands.output))
            .collect();
        let tasks = strip.rows.div_ceil(per_task) as u32;
        cx.step(k.finish(), args, tasks, 0, nx.origin, &[&operands.output], &also);
    }

    /// The epilogue and the stores of one row of a tile. `y`: 576 times the sums.
    fn finish(&self, k: &mut K, operands: &Operands, at: &At, row: usize, y: &[V<I32x4>]) {
        let (body, types, dtype) = (&operands.body, &operands.types, operands.output.dtype);
        let pattern = tile::pattern(at.strides[0][2], dtype).0;
        let narrows = matches!(dtype, DType::U8 | DType::I8) && pattern == Pattern::Contiguous;
        let mut narrow: Vec<V<I32x4>> = vec![];
        for (column, y) in y.iter().enumerate() {
            let ninth = k.constant_i32x4(NINTH);
            let mut args = vec![Lanes::I32(i32x4_shr_s(*y * ninth, 6))];
            for (e, shared) in at.shared.iter().enumerate() {
                args.push(shared.clone().unwrap_or_else(|| at.extra(k, operands, e, (row, column))));
            }
            let value = if narrows && self.saturates {
                pointwise::emit_uncut(k, body, types, &args, &pointwise::Hoisted::default())
            } else {
                pointwise::emit(k, body, types, &args)
            };
            match value {
                Lanes::I32(value) if narrows => narrow.push(k.in_local("value", value)),
                value => lanes::store(k, dtype, at.pointers[0], at.offset(0, (row, column)), pattern, 4, value),
            }
        }
        if narrows {
            // Four channels of each column, side by side.
            let packed = k.let_("packed", lanes::bytes_of_four(dtype, &narrow));
            for column in 0..narrow.len() {
                k.store_lane::<4>(at.pointers[0].get(), at.offset(0, (row, column)), packed.get(), column as u8);
            }
        }
    }
}

impl At<'_> {
    fn offset(&self, operand: usize, (row, column): (usize, usize)) -> u32 {
        (row as i64 * self.strides[operand][0] + column as i64 * self.strides[operand][1]) as u32
    }

    /// Operand `e` of the epilogue at a position of the tile.
    fn extra(&self, k: &mut K, operands: &Operands, e: usize, position: (usize, usize)) -> Lanes {
        let view = &operands.extras[e];
        let (pattern, _) = tile::pattern(self.strides[1 + e][2], view.dtype);
        lanes::load(k, view.dtype, self.pointers[1 + e], self.offset(1 + e, position), pattern, 4)
    }
}
