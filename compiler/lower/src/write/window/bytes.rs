//! Depthwise convolution of bytes whose channels lie side by side. Rows of the window are taken in pairs: two taps of a
//! channel stand beside each other as 16-bit lanes, and one `i32x4.dot_i16x8_s` adds their products to four channels. The
//! weights are stored as `[channel / 8][row][tap][8]` bytes; a step of their own brings them into the order in which they are
//! read, `[channel / 8][half][pair of rows][tap][4][2]`; in a last row without a partner, neighbouring taps are pairs. In
//! relaxed variants that step makes, and the kernel reads, the order of `quads.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::loops::{Tasks, for_even_tiles, for_rows};
use super::{Cursor, Nest, Place, bytes, quads};
use crate::cx::{Cx, NodeCx, new_kernel, pointer};
use crate::lanes::{self, Lanes, Pattern};
use crate::pointwise;
use crate::view::{Source, View, linear};
use crate::write::halves::owner;
use ir::algorithm::{Axis, Combine};
use ir::tensor::indices;
use ir::{DType, Tensor};
use kernel::{E, I16x8, I32, I32x4, K, V, i8x16_shuffle, i32_lt_u, i32x4_dot_i16x8_s, load, select, v128_load8x8_s, v128_load8x8_u};

/// Channels of a group.
pub const GROUP: usize = 8;
/// Widest tile: its sums, the weights of a row and a column are in registers.
const WIDEST: usize = 7;
/// Largest window: all taps are written out.
const MOST_TAPS: usize = 49;

/// How a nest is written in this form.
pub struct Bytes<'a> {
    pub channel: Axis,
    /// The axis of the tiles: the positions that share columns of the operand.
    pub tiled: Axis,
    weights: &'a Tensor,
    /// Bytes from the operand's position to each row of the window, and from tap to tap in it.
    pub rows: Vec<i64>,
    pub tap: i64,
    pub taps: usize,
    /// A saturating conversion is all that bounds the results.
    pub saturates: bool,
}

impl<'a> Bytes<'a> {
    /// The form, if it fits the nest.
    pub fn of(nest: &Nest, nx: &'a NodeCx) -> Option<Bytes<'a>> {
        let access = nest.window.w.as_ref().filter(|_| nest.window.combine == Combine::Sum)?;
        let weights = nx.constants[access.operand].as_deref().filter(|t| t.dtype == DType::I8)?;
        let side_by_side = |axis: &Axis| nest.x.stride(*axis) == 1 && nest.out.stride(*axis) == 1;
        let channel = nest.parallel.iter().copied().find(side_by_side)?;
        let others = || nest.parallel.iter().copied().filter(|axis| *axis != channel);
        let forwards = nest.parallel.iter().chain(&nest.reduced).all(|axis| nest.x.stride(*axis) >= 0);
        let others_matter = access.index.iter().any(|d| others().any(|axis| d.coefficient(axis) != 0));
        let is_byte = matches!(nest.x.view.dtype, DType::U8 | DType::I8);
        let (row, outer) = nest.reduced.split_last()?;
        if !forwards || others_matter || !is_byte || nest.extents[channel] < GROUP || nest.product(&nest.reduced) > MOST_TAPS {
            return None;
        }
        let sums = nest.product(&nest.reduced) as f64 * 255.0 * 128.0;
        let operands =
            nest.window.epilogue.operands.iter().map(|e| pointwise::magnitude(&nx.constants[e.operand], nx.inputs[e.operand].dtype));
        let magnitudes: Vec<f64> = std::iter::once(sums).chain(operands).collect();
        let extents: Vec<usize> = outer.iter().map(|a| nest.extents[*a]).collect();
        let along = |tap: Vec<usize>| outer.iter().zip(&tap).map(|(a, t)| nest.x.step(*a) * *t as i64).sum();
        Some(Bytes {
            channel,
            tiled: others().next_back()?,
            weights,
            rows: indices(&extents).map(along).collect(),
            tap: nest.x.step(*row),
            taps: nest.extents[*row],
            saturates: pointwise::saturates(nest.epilogue(), &nest.types, &magnitudes),
        })
    }

    pub fn write(&self, cx: &mut Cx, nest: &Nest, nx: &NodeCx) {
        let rows: Vec<Axis> = nest.parallel.iter().copied().filter(|a| ![self.channel, self.tiled].contains(a)).collect();
        let tasks = Tasks::of_parts(nest.product(&rows), nest.tasks_wanted(cx), nest.extents[self.tiled], 2 * WIDEST);
        let mut k =
            new_kernel(nest.short_name(&format!("pairs_c{}_w{}", nest.extents[self.channel], nest.extents[self.tiled])), &cx.options);
        let is_relaxed = cx.options.relaxed_dot && nest.x.view.dtype == DType::U8;
        let form =
            if is_relaxed { Form::Quads(quads::Locals::new(&mut k, self.taps)) } else { Form::Pairs(Locals::new(&mut k, self.taps)) };
        let weights = self.expanded(cx, nest, nx, &form);
        let mut args = vec![nest.x.arg(), nest.out.arg(), weights.arg_at(0)];
        let (x, out, w) = (nest.x.param(&mut k, "x"), nest.out.param(&mut k, "out"), pointer(&mut k, "w", &weights));
        let operands: Vec<V<I32>> = nest.operands.iter().map(|operand| operand.param(&mut k, "operand")).collect();
        args.extend(nest.operands.iter().map(Place::arg));
        // Strided columns are shared by few taps.
        let widest = if is_relaxed || nest.x.step(self.tiled) > self.tap { quads::WIDEST } else { WIDEST };
        for_rows(&mut k, nest, &rows, Some(self.tiled), &tasks, |k, row| {
            let all: Vec<Cursor> = [Cursor { place: &nest.x, at: x }, Cursor { place: &nest.out, at: out }]
                .into_iter()
                .chain(nest.operands.iter().zip(&operands).map(|(place, at)| Cursor { place, at: *at }))
                .map(|cursor| cursor.moved(k, "at_row", row))
                .collect();
            for_even_tiles(k, tasks.positions, widest, |k, start, width| {
                let at_tile: Vec<Cursor> = all.iter().map(|c| c.moved(k, "at_tile", &[(self.tiled, start.clone())])).collect();
                self.channels(k, nest, &form, &at_tile, w, width);
            });
        });
        cx.step(k.finish(), args, tasks.count(), nest.macs(), nx.origin, &[&nest.out.view], &[]);
    }

    /// Bytes of the weights of half a group.
    fn half_bytes(&self) -> usize {
        16 * (self.rows.len() / 2 * self.taps + self.rows.len() % 2 * self.taps.div_ceil(2))
    }

    /// The weight of a tap in a row of the window.
    fn weight(&self, nest: &Nest, row: usize, tap: usize, channel: usize) -> i8 {
        let access = nest.window.w.as_ref().expect("checked by `of`");
        // Only strides and shape matter, not where the tensor lies.
        let view = View::dense(nest.x.view.source, self.weights.dtype, &self.weights.shape);
        let linear = linear(&view, &access.index, nest.extents.len());
        let mut rest = row * self.taps + tap;
        let mut at = linear.base + linear.strides[self.channel] * channel as i64;
        for axis in nest.reduced.iter().rev() {
            at += linear.strides[*axis] * (rest % nest.extents[*axis]) as i64;
            rest /= nest.extents[*axis];
        }
        self.weights.as_slice::<i8>()[at as usize]
    }

    /// `[group][row][tap][8]`: the weights as the file has them.
    fn pack(&self, nest: &Nest) -> Vec<u8> {
        let channels = nest.extents[self.channel];
        let groups = (0..channels.div_ceil(GROUP)).map(|group| first_channel(group, channels));
        let taps = || indices(&[self.rows.len(), self.taps]);
        let group =
            |first| taps().flat_map(move |at| (first..first + GROUP).map(move |channel| self.weight(nest, at[0], at[1], channel) as u8));
        groups.flat_map(group).collect()
    }

    /// Bytes of a group's weights in the order in which they are read, whichever form reads them.
    fn group_bytes(&self) -> usize {
        (2 * self.half_bytes()).max(self.quad_bytes())
    }

    /// Adds the step that brings stored weights into the order of a form, a group at a time; the result.
    fn expanded(&self, cx: &mut Cx, nest: &Nest, nx: &NodeCx, form: &Form) -> View {
        let stored = cx.weight(&format!("{} weights", nx.name), self.pack(nest), nx.origin);
        let stored = View::dense(Source::Weight(stored), DType::I8, &[0]);
        let groups = nest.extents[self.channel].div_ceil(GROUP);
        let expanded = cx.temporary(&format!("{} expanded weights", nx.name), DType::I8, &[groups * self.group_bytes()]);
        let mut k = K::new(match form {
            Form::Pairs(_) => "weights_in_pairs",
            Form::Quads(_) => "weights_in_quads",
        });
        let (from, to) = (pointer(&mut k, "from", &stored), pointer(&mut k, "to", &expanded));
        let task = k.task();
        let source = k.let_("source", from + task * (GROUP * self.rows.len() * self.taps) as i32);
        let target = k.let_("target", to + task * self.group_bytes() as i32);
        match form {
            Form::Pairs(_) => self.expand_pairs(&mut k, source, target),
            Form::Quads(_) => self.expand_quads(&mut k, source, target),
        }
        cx.step(k.finish(), vec![stored.arg_at(0), expanded.arg_at(0)], groups as u32, 0, owner(nx.origin), &[&expanded], &[]);
        expanded
    }

    /// Where a group's weights of a tap are stored; nowhere beyond the window.
    pub fn stored(&self, row: usize, tap: usize) -> Option<u32> {
        (row < self.rows.len() && tap < self.taps).then_some((GROUP * (row * self.taps + tap)) as u32)
    }

    fn expand_pairs(&self, k: &mut K, source: V<I32>, target: V<I32>) {
        let none = k.let_("none", lanes::zero::<I16x8>());
        let mut pairs = vec![];
        for row in (1..self.rows.len()).step_by(2) {
            pairs.extend((0..self.taps).map(|tap| [(row - 1, tap), (row, tap)]));
        }
        if !self.rows.len().is_multiple_of(2) {
            let last = self.rows.len() - 1;
            pairs.extend((0..self.taps).step_by(2).map(|tap| [(last, tap), (last, tap + 1)]));
        }
        for (i, pair) in pairs.into_iter().enumerate() {
            let read = |(row, tap)| self.stored(row, tap).map(|at| v128_load8x8_s(source, at));
            let [first, second] = pair.map(|tap| read(tap).map_or(none, |tap| k.let_("tap", tap)));
            for (half, interleave) in [LOW, HIGH].into_iter().enumerate() {
                let at = (half * self.half_bytes() + 16 * i) as u32;
                k.store::<I16x8>(target, at, i8x16_shuffle::<I16x8>(interleave, first, second));
            }
        }
    }

    /// All channels of one tile. Cursors: the operand, the output, the epilogue's operands.
    fn channels(&self, k: &mut K, nest: &Nest, form: &Form, at_tile: &[Cursor], w: V<I32>, width: usize) {
        let channels = nest.extents[self.channel];
        k.for_("channel", 0, channels.next_multiple_of(GROUP), GROUP as u32, |k, packed| {
            let w = k.let_("at_weights", w + packed * (self.group_bytes() / GROUP) as i32);
            let channel = if channels.is_multiple_of(GROUP) {
                packed
            } else {
                let last = (channels - GROUP) as i32;
                k.let_("first", select::<I32>(i32_lt_u(packed, last), packed, last))
            };
            let cursors: Vec<Cursor> = at_tile.iter().map(|c| c.moved(k, "at", &[(self.channel, channel.get())])).collect();
            match form {
                Form::Pairs(locals) => (0..2).for_each(|half| self.half(k, nest, locals, &cursors, (w, half), width)),
                Form::Quads(locals) => self.eight(k, nest, locals, &cursors, w, width),
            }
        });
    }

    /// Four channels of one tile.
    fn half(&self, k: &mut K, nest: &Nest, locals: &Locals, cursors: &[Cursor], (w, half): (V<I32>, usize), width: usize) {
        let signed = nest.x.view.dtype == DType::I8;
        let interleave = if half == 0 { LOW } else { HIGH };
        let read = |at: i64| -> E<I16x8> {
            let at = cursors[0].at + bytes(at);
            if signed { v128_load8x8_s(at, 0) } else { v128_load8x8_u(at, 0) }
        };
        let sums = &locals.sums[..width];
        sums.iter().for_each(|sum| k.set(*sum, lanes::zero::<I32x4>()));
        let steps = |position: usize, tap: usize| nest.x.step(self.tiled) * position as i64 + self.tap * tap as i64;
        for (pair, rows) in self.rows.chunks(2).enumerate() {
            // Taps of one row alone are taken two at a time.
            let at_once = 3 - rows.len();
            let taps = || (0..self.taps).step_by(at_once).enumerate();
            for (i, _) in taps() {
                let weight = (half * self.half_bytes() + 16 * (pair * self.taps + i)) as u32;
                k.set(locals.weights[i], load::<I16x8>(w, weight));
            }
            // Which positions and weights read the column at each distance.
            let mut columns: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
            let mut partners = BTreeSet::new();
            for position in 0..width {
                for (i, tap) in taps() {
                    columns.entry(steps(position, tap)).or_default().push((position, i));
                    if at_once == 2 && tap + 1 < self.taps {
                        partners.insert(steps(position, tap));
                    }
                }
            }
            let mut read_before: BTreeMap<i64, V<I16x8>> = BTreeMap::new();
            let mut column = |k: &mut K, at: i64| *read_before.entry(at).or_insert_with(|| k.let_("column", read(at)));
            for (distance, uses) in columns {
                let upper = column(k, rows[0] + distance);
                let lower = match rows.get(1) {
                    Some(row) => column(k, row + distance),
                    None if partners.contains(&distance) => column(k, rows[0] + distance + self.tap),
                    None => upper,
                };
                k.set(locals.column, i8x16_shuffle::<I16x8>(interleave, upper, lower));
                for (position, i) in uses {
                    k.set(sums[position], sums[position] + i32x4_dot_i16x8_s(locals.column, locals.weights[i]));
                }
            }
        }
        self.finish(k, nest, sums, &cursors[1..], half);
    }

    /// The epilogue and the stores of four channels.
    fn finish(&self, k: &mut K, nest: &Nest, sums: &[V<I32x4>], cursors: &[Cursor], half: usize) {
        let (out, operands) = cursors.split_first().expect("the output is there");
        // What does not change along the tile is loaded once.
        let fixed: Vec<Option<Lanes>> =
            operands.iter().map(|c| (c.place.step(self.tiled) == 0).then(|| self.operand(k, c, 0, half).bind(k))).collect();
        let dtype = out.place.view.dtype;
        let narrows = self.saturates && self.lanes_of(out.place) == Pattern::Contiguous;
        for (position, sum) in sums.iter().enumerate() {
            let mut args = vec![Lanes::I32(sum.get())];
            for (c, fixed) in operands.iter().zip(&fixed) {
                args.push(match fixed {
                    Some(value) => value.clone(),
                    None => self.operand(k, c, position, half),
                });
            }
            if !narrows {
                let value = pointwise::emit(k, nest.epilogue(), &nest.types, &args);
                lanes::store(k, dtype, self.at(out, position, half), 0, self.lanes_of(out.place), 4, value);
                continue;
            }
            let none = pointwise::Hoisted::default();
            let Lanes::I32(value) = pointwise::emit_uncut(k, nest.epilogue(), &nest.types, &args, &none) else {
                panic!("what is quantised is an integer")
            };
            k.set(*sum, value);
        }
        for (first, sums) in sums.chunks(4).enumerate().filter(|_| narrows) {
            let packed = k.let_("packed", lanes::bytes_of_four(dtype, sums));
            for position in 0..sums.len() {
                k.store_lane::<4>(self.at(out, 4 * first + position, half), 0, packed.get(), position as u8);
            }
        }
    }
}

impl Bytes<'_> {
    /// How the channels of an operand lie in memory.
    pub fn lanes_of(&self, place: &Place) -> Pattern {
        Pattern::of(place.step(self.channel), place.view.dtype.bytes())
    }

    /// Half a group of channels of a position.
    pub fn at(&self, c: &Cursor, position: usize, half: usize) -> E<I32> {
        c.at + bytes(c.place.step(self.tiled) * position as i64 + c.place.step(self.channel) * 4 * half as i64)
    }

    /// Half a group of channels of the epilogue's operand.
    pub fn operand(&self, k: &mut K, c: &Cursor, position: usize, half: usize) -> Lanes {
        lanes::load(k, c.place.view.dtype, self.at(c, position, half), 0, self.lanes_of(c.place), 4)
    }
}

/// How a kernel multiplies, with its locals.
enum Form {
    Pairs(Locals),
    Quads(quads::Locals),
}

/// Interleave the lower or the upper halves of two vectors of 16-bit lanes.
const LOW: [u8; 16] = [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23];
const HIGH: [u8; 16] = [8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31];

/// The first channel of a group: the last group reaches back rather than beyond the end.
fn first_channel(group: usize, channels: usize) -> usize {
    (group * GROUP).min(channels - GROUP)
}

/// Locals that all tile widths share.
struct Locals {
    sums: Vec<V<I32x4>>,
    /// The weights of a pair of rows.
    weights: Vec<V<I16x8>>,
    column: V<I16x8>,
}

impl Locals {
    fn new(k: &mut K, taps: usize) -> Locals {
        Locals {
            sums: (0..WIDEST).map(|_| k.local("sum")).collect(),
            weights: (0..taps).map(|_| k.local("weight")).collect(),
            column: k.local("column"),
        }
    }
}
