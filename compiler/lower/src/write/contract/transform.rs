//! The transforms of patches and products for minimal filtering, over four channels at a time.

use super::winograd::Form;
use super::{Operands, tile};
use crate::cx::{Cx, NodeCx, new_kernel, pointer};
use crate::lanes::{self, Lanes};
use crate::pointwise;
use crate::view::{Linear, View};
use kernel::{E, F32x4, I32, K, V, load, load_partial};

/// A strip of tile rows of one image.
#[derive(Debug, Clone, Copy)]
pub struct Strip {
    pub image: usize,
    pub first_row: usize,
    pub rows: usize,
    pub columns: usize,
}

/// Tiles per task: enough work for one call, several calls per strip.
pub fn rows_per_task(strip: &Strip, vectors: usize) -> usize {
    const VECTORS_PER_TASK: usize = 256;
    VECTORS_PER_TASK.div_ceil(strip.columns * vectors).clamp(1, strip.rows)
}

/// Runs `body(k, channel, lanes)` for every group of four channels; `channel` counts bytes from 0.
pub fn for_channels(k: &mut K, channels: usize, mut body: impl FnMut(&mut K, E<I32>, usize)) {
    k.for_tiles("channel", channels.div_ceil(4) * 4 - if channels.is_multiple_of(4) { 0 } else { 4 }, 4, |k, c, _| body(k, c * 4, 4));
    if !channels.is_multiple_of(4) {
        body(k, (channels / 4 * 16).into(), channels % 4);
    }
}

/// Where one operand is: bytes from row to row, from column to column and from channel to channel.
fn strides(form: &Form, at: &Linear, bytes: usize) -> [i64; 3] {
    let of = |axis: Option<usize>| axis.map_or(0, |axis| at.strides[axis] * bytes as i64);
    [of(form.axes.row), of(Some(form.axes.column)), of(Some(form.axes.output))]
}

/// The element of an operand at which a strip starts.
fn start(form: &Form, at: &Linear, strip: &Strip) -> i64 {
    let row = form.axes.row.map_or(0, |axis| at.strides[axis]);
    at.base + strip.image as i64 * at.strides[0] + (strip.first_row * form.y.tile) as i64 * row
}

/// Values by rows from values by columns.
pub fn rows<T: Copy>(columns: &[Vec<T>]) -> Vec<Vec<T>> {
    (0..columns[0].len()).map(|i| columns.iter().map(|column| column[i]).collect()).collect()
}

/// Adds the step that transforms the patches of a strip to `[tile][value][channels]`.
pub fn input(
    cx: &mut Cx,
    nx: &NodeCx,
    form: &Form,
    strip: &Strip,
    x: &View,
    at: &Linear,
    channels: usize,
    patches: &View,
    patch_bytes: usize,
) {
    let [row, column, _] = strides(form, at, 4);
    let value = 4 * channels.next_multiple_of(4);
    let per_task = rows_per_task(strip, channels.div_ceil(4));
    let mut k = K::new(format!("winograd_{}_input_f32_c{channels}", form.name()));
    let (px, pv) = (pointer(&mut k, "x", x), pointer(&mut k, "patches", patches));
    for_tile_rows(&mut k, strip, per_task, |k, ty| {
        let x_row = k.let_("x_row", px + ty * (form.y.tile as i64 * row) as i32);
        let v_row = k.let_("v_row", pv + ty * (strip.columns * patch_bytes) as i32);
        k.for_("tx", 0, strip.columns, 1, |k, tx| {
            let x_tile = k.let_("x_tile", x_row + tx * (form.x.tile as i64 * column) as i32);
            let v_tile = k.let_("v_tile", v_row + tx * patch_bytes as i32);
            for_channels(k, channels, |k, c, lanes| {
                let source = k.let_("source", x_tile + c.clone());
                let target = k.let_("target", v_tile + c);
                let columns: Vec<_> = (0..form.x.patch())
                    .map(|j| {
                        let d: Vec<_> = (0..form.y.patch())
                            .map(|i| {
                                let offset = (i as i64 * row + j as i64 * column) as u32;
                                let value = if lanes == 4 { load::<F32x4>(source, offset) } else { load_partial(source, offset, lanes) };
                                k.let_("d", value)
                            })
                            .collect();
                        form.y.input(k, &d)
                    })
                    .collect();
                for (i, t) in rows(&columns).iter().enumerate() {
                    for (j, v) in form.x.input(k, t).iter().enumerate() {
                        k.store(target, ((i * form.x.patch() + j) * value) as u32, *v);
                    }
                }
            });
        });
    });
    let tasks = strip.rows.div_ceil(per_task) as u32;
    cx.step(k.finish(), vec![x.arg_at(start(form, at, strip)), patches.arg_at(0)], tasks, 0, nx.origin, &[patches], &[]);
}

/// Calls `body` for each tile row of this task.
pub fn for_tile_rows(k: &mut K, strip: &Strip, per_task: usize, body: impl FnOnce(&mut K, V<I32>)) {
    let start = k.let_("start", k.task() * per_task as i32);
    let mut end = k.let_("end", start + per_task as i32);
    if !strip.rows.is_multiple_of(per_task) {
        end = k.let_("end", kernel::select::<I32>(kernel::i32_lt_u(end, strip.rows), end, strip.rows));
    }
    k.for_("ty", start, end, 1, body);
}

/// Adds the step that turns `[tile][value][outputs]` into the outputs of each tile, with the epilogue. `limits`: rows and columns
/// of the output from the strip's first row on.
pub fn output(
    cx: &mut Cx,
    nx: &NodeCx,
    form: &Form,
    operands: &Operands,
    strip: &Strip,
    limits: (usize, usize),
    outputs: usize,
    products: &View,
    product_bytes: usize,
) {
    let value = 4 * outputs.next_multiple_of(4);
    let per_task = rows_per_task(strip, outputs.div_ceil(4));
    // The output and the epilogue's operands: bytes per row, column and channel.
    let views: Vec<&View> = std::iter::once(&operands.output).chain(&operands.extras).collect();
    let strides: Vec<[i64; 3]> = views.iter().zip(&operands.linears[1..]).map(|(v, l)| strides(form, l, v.dtype.bytes())).collect();
    let mut k = new_kernel(format!("winograd_{}_output_f32_c{outputs}", form.name()), &cx.options);
    let pm = pointer(&mut k, "products", products);
    let bases: Vec<V<I32>> = views.iter().enumerate().map(|(i, v)| pointer(&mut k, if i == 0 { "out" } else { "extra" }, v)).collect();
    let last_rows = limits.0.min(strip.rows * form.y.tile) - (strip.rows - 1) * form.y.tile;
    let last_columns = limits.1 - (strip.columns - 1) * form.x.tile;
    for_tile_rows(&mut k, strip, per_task, |k, ty| {
        let m_row = k.let_("m_row", pm + ty * (strip.columns * product_bytes) as i32);
        let valid_rows = valid(k, ty, strip.rows, last_rows, form.y.tile);
        k.for_("tx", 0, strip.columns, 1, |k, tx| {
            let m_tile = k.let_("m_tile", m_row + tx * product_bytes as i32);
            let valid_columns = valid(k, tx, strip.columns, last_columns, form.x.tile);
            let tiles: Vec<V<I32>> = bases
                .iter()
                .zip(&strides)
                .map(|(base, [row, column, _])| {
                    let at = *base + ty * (form.y.tile as i64 * row) as i32 + tx * (form.x.tile as i64 * column) as i32;
                    k.in_local("tile_ptr", at)
                })
                .collect();
            for_channels(k, outputs, |k, c, lanes| {
                let source = k.let_("source", m_tile + c.clone());
                let pointers: Vec<V<I32>> = tiles
                    .iter()
                    .zip(&strides)
                    .map(|(tile, [_, _, channel])| k.in_local("channel_ptr", *tile + mul(c.clone(), *channel)))
                    .collect();
                let halves: Vec<_> = (0..form.x.patch())
                    .map(|j| {
                        let at = |i: usize| ((i * form.x.patch() + j) * value) as u32;
                        let m: Vec<_> = (0..form.y.patch()).map(|i| k.let_("m", load::<F32x4>(source, at(i)))).collect();
                        form.y.output(k, &m)
                    })
                    .collect();
                for (i, half) in rows(&halves).iter().enumerate() {
                    let y = form.x.output(k, half);
                    when(k, valid_rows, i, |k| {
                        for (j, y) in y.iter().enumerate() {
                            when(k, valid_columns, j, |k| finish(k, operands, &pointers, &strides, (i, j), lanes, *y));
                        }
                    });
                }
            });
        });
    });
    let mut args = vec![products.arg_at(0)];
    args.extend(views.iter().zip(&operands.linears[1..]).map(|(v, l)| v.arg_at(start(form, l, strip))));
    let also: Vec<&View> = operands
        .extras
        .iter()
        .filter(|v| v.source == operands.output.source)
        .chain((strip.first_row > 0 || strip.image > 0).then_some(&operands.output))
        .collect();
    let tasks = strip.rows.div_ceil(per_task) as u32;
    cx.step(k.finish(), args, tasks, 0, nx.origin, &[&operands.output], &also);
}

/// `channel` bytes of a 4-byte index, for an operand with another step per channel.
pub fn mul(c: E<I32>, channel: i64) -> E<I32> {
    match channel {
        4 => c,
        other => kernel::i32_shr_u(c, 2) * other as i32,
    }
}

/// How many of the `whole` rows or columns of a tile exist; `None`: always all.
pub fn valid(k: &mut K, tile: V<I32>, tiles: usize, last: usize, whole: usize) -> Option<V<I32>> {
    (last < whole).then(|| k.let_("valid", kernel::select::<I32>(kernel::i32_eq(tile, (tiles - 1) as i32), last as i32, whole as i32)))
}

pub fn when(k: &mut K, valid: Option<V<I32>>, i: usize, body: impl FnOnce(&mut K)) {
    match valid {
        Some(valid) if i > 0 => k.if_(kernel::i32_gt_u(valid, i as i32), body),
        _ => body(k),
    }
}

/// The epilogue and the store of one output position.
fn finish(k: &mut K, operands: &Operands, pointers: &[V<I32>], strides: &[[i64; 3]], (i, j): (usize, usize), lanes: usize, y: V<F32x4>) {
    let offset = |operand: usize| (i as i64 * strides[operand][0] + j as i64 * strides[operand][1]) as u32;
    let mut args = vec![Lanes::F32(y.get())];
    for (e, view) in operands.extras.iter().enumerate() {
        let (pattern, _) = tile::pattern(strides[1 + e][2], view.dtype);
        args.push(lanes::load(k, view.dtype, pointers[1 + e], offset(1 + e), pattern, lanes));
    }
    let value = pointwise::emit(k, &operands.body, &operands.types, &args);
    let (pattern, _) = tile::pattern(strides[0][2], operands.output.dtype);
    lanes::store(k, operands.output.dtype, pointers[0], offset(0), pattern, lanes, value);
}
