//! The fast form: the channels lie side by side in the operand and the output. Rows outside, then tiles of a row, then
//! four channels at a time; a column that is loaded once serves all taps of its row (sliding reuse), and the weights lie
//! in the order in which they are read: `[channel / 4][tap][4]`.

use std::collections::BTreeMap;

use super::loops::{Tasks, for_even_tiles, for_rows, for_taps, split_taps};
use super::{Cursor, Nest, Place, bytes};
use crate::cx::{Cx, NodeCx, new_kernel, pointer};
use crate::lanes::{self, Lanes, Pattern};
use crate::pointwise;
use crate::view::linear;
use crate::write::halves;
use ir::algorithm::{Axis, Combine};
use ir::tensor::indices;
use ir::{DType, Tensor};
use kernel::{E, F32x4, I32, I32x4, K, V, f32x4_ne, f32x4_pmax, f32x4_pmin, i32_lt_u, load, select};

/// Vector registers that V8 has to give on x64.
const REGISTERS: usize = 15;
/// Combinations in one unrolled body: a larger one costs more code than its loop costs time. Those with masks of NaN
/// count double.
const UNROLLED: usize = 128;
/// Channels in a vector.
const LANES: usize = 4;

/// How a nest is written in this form.
pub struct Channels<'a> {
    channel: Axis,
    /// The axis of the tiles: the positions that share columns of the operand, where there are such.
    tiled: Axis,
    /// Widest tile.
    widest: usize,
    weights: Option<&'a Tensor>,
}

impl<'a> Channels<'a> {
    /// The form, if it fits the nest.
    pub fn of(nest: &Nest, nx: &'a NodeCx) -> Option<Channels<'a>> {
        let side_by_side = |axis: &Axis| nest.x.stride(*axis) == 1 && nest.out.stride(*axis) == 1;
        let channel = nest.parallel.iter().copied().find(side_by_side)?;
        let others = || nest.parallel.iter().copied().filter(|axis| *axis != channel);
        // An axis slides when a dimension of the operand is indexed by it and by the innermost tap.
        let innermost = nest.reduced.last();
        let slides = |axis: &Axis| {
            let dimensions = &nest.window.x.index;
            innermost.is_some_and(|tap| dimensions.iter().any(|d| d.coefficient(*axis) != 0 && d.coefficient(*tap) != 0))
        };
        let tiled = others().find(slides).or_else(|| others().next_back())?;
        let weights = match &nest.window.w {
            None => None,
            Some(access) => {
                let tensor = nx.constants[access.operand].as_deref()?;
                let others_matter = access.index.iter().any(|d| others().any(|axis| d.coefficient(axis) != 0));
                if others_matter || tensor.dtype != DType::F32 {
                    return None;
                }
                Some(tensor)
            }
        };
        let forwards = nest.parallel.iter().chain(&nest.reduced).all(|axis| nest.x.stride(*axis) >= 0);
        if nest.x.view.dtype != DType::F32 || !forwards || nest.window.combine == Combine::Product {
            return None;
        }
        let widest = widest_tile(nest, tiled, weights.is_some());
        Some(Channels { channel, tiled, widest, weights })
    }

    pub fn write(&self, cx: &mut Cx, nest: &Nest, nx: &NodeCx) {
        let rows: Vec<Axis> = nest.parallel.iter().copied().filter(|a| ![self.channel, self.tiled].contains(a)).collect();
        // A part of a row is two tiles at least.
        let tasks = Tasks::of_parts(nest.product(&rows), nest.tasks_wanted(cx), nest.extents[self.tiled], 2 * self.widest);
        let name = nest.name(&format!("c{}_w{}", nest.extents[self.channel], nest.extents[self.tiled]));
        let mut k = new_kernel(name, &cx.options);
        let mut args = vec![nest.x.arg(), nest.out.arg()];
        let x = nest.x.param(&mut k, "x");
        let out = nest.out.param(&mut k, "out");
        let weights = self.weights.map(|tensor| {
            let weights = halves::constant(cx, &format!("{} weights", nx.name), self.pack(nest, tensor), nx.origin);
            args.push(weights.arg_at(0));
            pointer(&mut k, "w", &weights)
        });
        let operands: Vec<V<I32>> = nest.operands.iter().map(|operand| operand.param(&mut k, "operand")).collect();
        args.extend(nest.operands.iter().map(Place::arg));
        let state = State::new(&mut k, self, nest);
        for_rows(&mut k, nest, &rows, Some(self.tiled), &tasks, |k, row| {
            let all: Vec<Cursor> = [Cursor { place: &nest.x, at: x }, Cursor { place: &nest.out, at: out }]
                .into_iter()
                .chain(nest.operands.iter().zip(&operands).map(|(place, at)| Cursor { place, at: *at }))
                .map(|cursor| cursor.moved(k, "at_row", row))
                .collect();
            for_even_tiles(k, tasks.positions, self.widest, |k, start, width| {
                let at_tile: Vec<Cursor> = all.iter().map(|c| c.moved(k, "at_tile", &[(self.tiled, start.clone())])).collect();
                state.tile(k, &at_tile, weights, width);
            });
        });
        cx.step(k.finish(), args, tasks.count(), nest.macs(), nx.origin, &[&nest.out.view], &[]);
    }

    /// `[group][tap][4]`: the weights of four channels, from [`first_channel`] on, for every tap.
    fn pack(&self, nest: &Nest, tensor: &Tensor) -> Vec<u8> {
        let access = nest.window.w.as_ref().expect("weights come from an access");
        // Only strides and shape matter, not where the tensor lies.
        let view = crate::view::View::dense(nest.x.view.source, tensor.dtype, &tensor.shape);
        let linear = linear(&view, &access.index, nest.extents.len());
        let channels = nest.extents[self.channel];
        let values = tensor.as_slice::<f32>();
        let taps: Vec<usize> = nest.reduced.iter().map(|a| nest.extents[*a]).collect();
        let mut packed = vec![];
        for group in 0..channels.div_ceil(LANES) {
            let first = first_channel(group, channels);
            for tap in indices(&taps) {
                let at: i64 = linear.base + nest.reduced.iter().zip(&tap).map(|(a, i)| linear.strides[*a] * *i as i64).sum::<i64>();
                for channel in first..first + LANES {
                    let inside = channel < channels;
                    packed.push(if inside { values[(at + linear.strides[self.channel] * channel as i64) as usize] } else { 0.0 });
                }
            }
        }
        bytemuck::cast_slice(&packed).to_vec()
    }
}

/// The first channel of a group of four: the last group reaches back rather than beyond the end.
fn first_channel(group: usize, channels: usize) -> usize {
    (group * LANES).min(channels.saturating_sub(LANES))
}

/// As many positions as the registers allow, beside the weights of a row, a column and a product. More than eight give
/// nothing.
fn widest_tile(nest: &Nest, tiled: Axis, weights: bool) -> usize {
    const MOST: usize = 8;
    let taps = nest.reduced.last().map_or(1, |a| nest.extents[*a]);
    let stride = nest.reduced.last().map_or(1, |a| nest.x.stride(tiled) / nest.x.stride(*a).max(1));
    match (weights, nest.window.combine) {
        // Strided columns are shared by few taps: four positions keep the span of columns short.
        (true, _) if stride > 1 => 4,
        (true, _) => (REGISTERS - 2).saturating_sub(taps).clamp(4, MOST),
        (false, Combine::Sum) => MOST,
        // Each position has a mask of NaN beside its value.
        (false, _) => 4,
    }
}

/// What the bodies of all tile widths share.
struct State<'s> {
    form: &'s Channels<'s>,
    nest: &'s Nest<'s>,
    /// One accumulator, and for min and max one mask of lanes that met NaN, per position.
    sums: Vec<V<F32x4>>,
    nans: Vec<V<I32x4>>,
    /// One weight vector per tap of a row.
    weights: Vec<V<F32x4>>,
    column: V<F32x4>,
    column_nan: V<I32x4>,
    /// The axes that are loops, and those that are unrolled.
    looped: &'s [Axis],
    unrolled: &'s [Axis],
}

impl<'s> State<'s> {
    fn new(k: &mut K, form: &'s Channels<'s>, nest: &'s Nest<'s>) -> State<'s> {
        let masks = if nest.window.combine == Combine::Sum { 0 } else { form.widest };
        let limit = if masks > 0 { UNROLLED / 2 } else { UNROLLED };
        let (looped, unrolled) = split_taps(nest, limit / form.widest.min(nest.extents[form.tiled]));
        let locals = |k: &mut K, name: &str, n: usize| (0..n).map(|_| k.local(name)).collect();
        let sums = locals(k, "sum", form.widest);
        let column = k.local("column");
        let row_taps = unrolled.last().map_or(1, |a| nest.extents[*a]);
        let weights = if form.weights.is_some() { locals(k, "weight", row_taps) } else { vec![] };
        let nans = (0..masks).map(|_| k.local("is_nan")).collect();
        let column_nan = k.local("column_nan");
        State { form, nest, sums, nans, weights, column, column_nan, looped, unrolled }
    }

    /// All channels of one tile. Cursors: the operand, the output, the epilogue's operands.
    fn tile(&self, k: &mut K, at_tile: &[Cursor], weights: Option<V<I32>>, width: usize) {
        let channels = self.nest.extents[self.form.channel];
        let n = channels.min(LANES);
        if channels <= LANES {
            return self.group(k, at_tile, weights, width, n);
        }
        k.for_("channel", 0, channels.next_multiple_of(LANES), LANES as u32, |k, packed| {
            let weights = weights.map(|w| k.let_("at_weights", w + packed * (self.taps() * 4) as i32));
            let channel = match channels % LANES {
                0 => packed,
                _ => {
                    let last = (channels - LANES) as i32;
                    k.let_("first", select::<I32>(i32_lt_u(packed, last), packed, last))
                }
            };
            let cursors: Vec<Cursor> = at_tile.iter().map(|c| c.moved(k, "at", &[(self.form.channel, channel.get())])).collect();
            self.group(k, &cursors, weights, width, n);
        });
    }

    fn taps(&self) -> usize {
        self.nest.product(&self.nest.reduced)
    }

    /// `n` channels of one tile.
    fn group(&self, k: &mut K, cursors: &[Cursor], weights: Option<V<I32>>, width: usize, n: usize) {
        let looped = self.nest.product(self.looped) > 1;
        if looped {
            self.start(k, width);
        }
        // The weights of consecutive taps follow each other whatever the loops.
        let weights = match weights {
            Some(w) if looped => Some(k.let_("next_weights", w)),
            w => w,
        };
        for_taps(k, self.nest, self.looped, [Some(cursors[0])], &mut |k, [x]| {
            let x = x.expect("the operand is there");
            let mut started = looped;
            let (row, outer) = self.unrolled.split_last().map_or((None, self.unrolled), |(row, outer)| (Some(*row), outer));
            let extents: Vec<usize> = outer.iter().map(|a| self.nest.extents[*a]).collect();
            for (i, tap) in indices(&extents).enumerate() {
                let offset = outer.iter().zip(&tap).map(|(a, t)| self.nest.x.step(*a) * *t as i64).sum();
                self.row(k, x.at, offset, weights.map(|w| (w, i)), row, width, n, started);
                started = true;
            }
            if let Some(w) = weights
                && looped
            {
                k.set(w, w + (self.nest.product(self.unrolled) * 16) as i32);
            }
        });
        self.finish(k, &cursors[1], &cursors[2..], width, n);
    }

    /// The identity of the combination, which loops start from.
    fn start(&self, k: &mut K, width: usize) {
        let identity = match self.nest.window.combine {
            Combine::Max => f32::NEG_INFINITY,
            Combine::Min => f32::INFINITY,
            _ => 0.0,
        };
        let identity = k.constant(identity);
        self.sums[..width].iter().for_each(|sum| k.set(*sum, identity));
        self.clear_nans(k, width);
    }

    fn clear_nans(&self, k: &mut K, width: usize) {
        self.nans.iter().take(width).for_each(|nan| k.set(*nan, lanes::zero::<I32x4>()));
    }

    /// The taps of one row of the window: `offset` bytes into the operand, row `weights.1` of the packed weights.
    fn row(
        &self,
        k: &mut K,
        x: V<I32>,
        offset: i64,
        weights: Option<(V<I32>, usize)>,
        row: Option<Axis>,
        width: usize,
        n: usize,
        started: bool,
    ) {
        let taps = row.map_or(1, |axis| self.nest.extents[axis]);
        if let Some((at, i)) = weights {
            for (tap, weight) in self.weights.iter().enumerate() {
                k.set(*weight, load::<F32x4>(at, (16 * (i * taps + tap)) as u32));
            }
        }
        if !started {
            self.clear_nans(k, width);
        }
        // Which positions and taps read the column at each distance, in order: the taps of a position stay in theirs.
        let mut columns: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
        for position in 0..width {
            for tap in 0..taps {
                let along = row.map_or(0, |axis| self.nest.x.step(axis) * tap as i64);
                let distance = offset + self.nest.x.step(self.form.tiled) * position as i64 + along;
                columns.entry(distance).or_default().push((position, tap));
            }
        }
        for (distance, uses) in columns {
            let column = kernel::load_partial(x + bytes(distance), 0, n);
            k.set(self.column, column);
            if !self.nans.is_empty() && uses.iter().any(|(_, tap)| started || *tap > 0) {
                k.set(self.column_nan, f32x4_ne(self.column, self.column).cast::<I32x4>());
            }
            for (position, tap) in uses {
                self.combine(k, position, tap, started || tap > 0);
            }
        }
    }

    fn combine(&self, k: &mut K, position: usize, tap: usize, started: bool) {
        let (sum, x) = (self.sums[position], self.column);
        let value: E<F32x4> = match (self.weights.get(tap), self.nest.window.combine) {
            (Some(w), _) if started => k.mul_add(x, w, sum),
            (Some(w), _) => x * w,
            (None, _) if !started => x.get(),
            (None, Combine::Sum) => sum + x,
            // `pmax` drops a NaN in its second operand, and `f32x4.max` costs eight instructions on x64: the mask keeps it.
            (None, combine) => {
                let nan = self.nans[position];
                k.set(nan, nan | self.column_nan);
                if combine == Combine::Min { f32x4_pmin(sum, x) } else { f32x4_pmax(sum, x) }
            }
        };
        k.set(sum, value);
    }

    /// The epilogue and the stores.
    fn finish(&self, k: &mut K, out: &Cursor, operands: &[Cursor], width: usize, n: usize) {
        for (sum, nan) in self.sums[..width].iter().zip(&self.nans) {
            k.set(*sum, *sum | nan.cast::<F32x4>());
        }
        let tiled = self.form.tiled;
        let lanes_of = |place: &Place| Pattern::of(place.step(self.form.channel), place.view.dtype.bytes());
        let read = |k: &mut K, c: &Cursor, position: usize| {
            let at = c.at + bytes(c.place.step(tiled) * position as i64);
            lanes::load(k, c.place.view.dtype, at, 0, lanes_of(c.place), n)
        };
        // What does not change along the tile is loaded once.
        let fixed: Vec<Option<Lanes>> =
            operands.iter().map(|c| (width == 1 || c.place.step(tiled) == 0).then(|| read(k, c, 0).bind(k))).collect();
        for (position, sum) in self.sums[..width].iter().enumerate() {
            let mut args = vec![Lanes::F32(sum.get())];
            for (c, fixed) in operands.iter().zip(&fixed) {
                args.push(match fixed {
                    Some(value) => value.clone(),
                    None => read(k, c, position),
                });
            }
            let value = pointwise::emit(k, self.nest.epilogue(), &self.nest.types, &args);
            let at = out.at + bytes(out.place.step(tiled) * position as i64);
            lanes::store(k, out.place.view.dtype, at, 0, lanes_of(out.place), n, value);
        }
    }
}
