//! One register tile: zero the sums, walk along the depth, apply the epilogue, store. Sums run in the depth's order in
//! one register each, so that every schedule gives the same bits.

use super::nest::InPlace;
use super::{Pointers, Writer, nest};
use crate::lanes::{self, Lanes, Pattern};
use crate::pointwise;
use ir::DType;
use kernel::{E, F32x4, I32, I32x4, K, V, f32x4_relaxed_madd, f32x4_splat, i32x4_dot_i16x8_s, load, load_splat32, shuffle32, shuffle64};

/// A tile of `rows` × `vectors`; the last vector holds `last_lanes` columns.
pub struct Tile<'a> {
    pub writer: &'a Writer<'a>,
    pub rows: usize,
    pub vectors: usize,
    pub last_lanes: usize,
}

/// Addresses of the rows of one operand: equally far apart, or one pointer each. Strides in bytes.
#[derive(Clone)]
pub enum Rows {
    Uniform { base: V<I32>, stride: i64 },
    Each(Vec<V<I32>>),
}

impl Rows {
    pub fn at(&self, row: usize) -> (V<I32>, u32) {
        match self {
            Rows::Uniform { base, stride } => (*base, (row as i64 * stride) as u32),
            Rows::Each(pointers) => (pointers[row], 0),
        }
    }

    pub fn same_for_all(&self) -> bool {
        matches!(self, Rows::Uniform { stride: 0, .. })
    }

    /// One pointer each, where there are few enough for the registers. The stride is said once then, outside of the loop over the
    /// depth, so that kernels may share the loop.
    pub fn apart(self, k: &mut K, rows: usize) -> Rows {
        match self {
            Rows::Uniform { base, stride } if stride != 0 && rows <= MOST_POINTERS => {
                let mut pointers = vec![base];
                for r in 1..rows {
                    pointers.push(k.let_("row_ptr", pointers[r - 1] + stride as i32));
                }
                Rows::Each(pointers)
            }
            other => other,
        }
    }

    /// Copies of the pointers that a loop may move.
    pub fn moving(&self, k: &mut K) -> Rows {
        match self {
            Rows::Uniform { base, stride } => Rows::Uniform { base: k.let_("a_ptr", *base), stride: *stride },
            Rows::Each(pointers) => Rows::Each(pointers.iter().map(|p| k.let_("a_ptr", *p)).collect()),
        }
    }

    pub fn advance(&self, k: &mut K, bytes: i64) {
        if bytes == 0 {
            return;
        }
        match self {
            Rows::Uniform { base, .. } => k.set(*base, *base + bytes as i32),
            Rows::Each(pointers) => pointers.iter().for_each(|p| k.set(*p, *p + bytes as i32)),
        }
    }
}

/// Rows whose pointers a loop over the depth has registers for, beside its own.
const MOST_POINTERS: usize = 6;
/// Longest stretch of depth that is written out without a loop.
const UNROLL_LIMIT: usize = 12;
/// Steps of depth per iteration of a longer loop.
const UNROLL: usize = 4;

type Sums = Vec<Vec<V<F32x4>>>;

impl Tile<'_> {
    /// A tile whose rows follow each other along the innermost row axis, from `row` on.
    pub fn uniform(&self, k: &mut K, p: &Pointers, row: E<I32>) {
        let nest = self.writer.nest;
        self.write(k, p.b, &|k, i| {
            let stride = nest.inner_stride(i);
            let base = if stride == 0 { p.at[i] } else { k.in_local("tile_ptr", p.at[i] + row.clone() * stride as i32) };
            Rows::Uniform { base, stride }
        });
    }

    /// A tile of the rows from number `row` on, over all row axes.
    pub fn flat(&self, k: &mut K, p: &Pointers, row: V<I32>) {
        let nest = self.writer.nest;
        self.write(k, p.b, &|k, i| {
            if let Some(stride) = nest.uniform_stride(i) {
                let base = if stride == 0 { p.at[i] } else { k.in_local("tile_ptr", p.at[i] + row * stride as i32) };
                return Rows::Uniform { base, stride };
            }
            let each = (0..self.rows).map(|r| {
                let coordinates = nest::coordinates(k, nest.rows.iter().map(|a| a.extent), row + r as i32);
                let position = nest::offset(&coordinates, nest.rows.iter().map(|a| a.at[i]), p.at[i].get());
                k.let_("row_ptr", position)
            });
            Rows::Each(each.collect())
        });
    }

    fn write(&self, k: &mut K, b: V<I32>, rows: &dyn Fn(&mut K, usize) -> Rows) {
        let a = rows(k, 0);
        let sums: Sums = (0..self.rows).map(|_| (0..self.vectors).map(|_| k.local("sum")).collect()).collect();
        for sum in sums.iter().flatten() {
            k.set(*sum, f32x4_splat(0.0f32));
        }
        let axes = &self.writer.nest.depth_in_a;
        if let Some(now) = self.writer.sizes.depth {
            let a = a.apart(k, self.rows).moving(k);
            self.free_depth(k, &sums, &a, b, axes[0].1, now);
        } else if length(axes) <= UNROLL_LIMIT {
            self.steps(k, &sums, &a, b, 0, &nest::positions(axes));
        } else {
            let a = a.apart(k, self.rows).moving(k);
            self.depth(k, &sums, &a, b, axes);
        }
        self.finish(k, &sums, rows);
    }

    /// Bytes of B from one step of depth to the next: of one panel row where it is packed.
    fn step_bytes(&self) -> usize {
        match self.writer.nest.in_place {
            None => 16 * self.vectors,
            Some(InPlace::Rows(step)) => step as usize,
            Some(InPlace::Columns(_)) => 4,
        }
    }

    /// Loops over the depth axes, outermost first. Returns by how many bytes A's pointers were moved.
    fn depth(&self, k: &mut K, sums: &Sums, a: &Rows, b: V<I32>, axes: &[(usize, i64)]) -> i64 {
        if length(axes) <= UNROLL_LIMIT {
            self.steps(k, sums, a, b, 0, &nest::positions(axes));
            return 0;
        }
        let (extent, stride) = axes[0];
        if axes.len() > 1 {
            let per_step = length(&axes[1..]) * self.step_bytes();
            k.for_("b_outer", b, b + (extent * per_step) as i32, per_step as u32, |k, b| {
                let moved = self.depth(k, sums, a, b, &axes[1..]);
                a.advance(k, stride - moved);
            });
            return extent as i64 * stride;
        }
        let main = extent / UNROLL * UNROLL;
        let step = UNROLL * self.step_bytes();
        k.for_("b_ptr", b, b + (main * self.step_bytes()) as i32, step as u32, |k, b| {
            self.steps(k, sums, a, b, 0, &nest::positions(&[(UNROLL, stride)]));
            a.advance(k, UNROLL as i64 * stride);
        });
        self.steps(k, sums, a, b, main, &nest::positions(&[(extent - main, stride)]));
        main as i64 * stride
    }

    /// A loop over a depth that is only known at run time.
    fn free_depth(&self, k: &mut K, sums: &Sums, a: &Rows, b: V<I32>, stride: i64, now: V<I32>) {
        let end = |k: &mut K, steps: E<I32>| k.let_("b_end", b + steps * self.step_bytes() as i32);
        let main = end(k, now & -(UNROLL as i32));
        let last = end(k, now.get());
        for (start, end, steps) in [(b, main, UNROLL), (main, last, 1)] {
            k.for_("b_ptr", start, end, (steps * self.step_bytes()) as u32, |k, b| {
                self.steps(k, sums, a, b, 0, &nest::positions(&[(steps, stride)]));
                a.advance(k, steps as i64 * stride);
            });
        }
    }

    /// Steps of depth without a loop: A at `positions` (bytes), B from its row number `first` on.
    fn steps(&self, k: &mut K, sums: &Sums, a: &Rows, b: V<I32>, first: usize, positions: &[i64]) {
        if let Some(InPlace::Columns(column)) = self.writer.nest.in_place {
            for (i, four) in positions.chunks_exact(4).enumerate() {
                self.four_steps(k, sums, a, b, (4 * (first + 4 * i), column as usize), four);
            }
            return;
        }
        let fused = crate::schedule::fused(self.rows, self.vectors, self.writer.options.relaxed);
        for (i, position) in positions.iter().enumerate() {
            let at = (first + i) * self.step_bytes();
            let columns: Vec<E<F32x4>> = (0..self.vectors)
                .map(|v| {
                    let vector = load::<F32x4>(b, (at + 16 * v) as u32);
                    if self.rows == 1 { vector } else { k.let_("b", vector).get() }
                })
                .collect();
            for (r, row) in sums.iter().enumerate() {
                let (pointer, offset) = a.at(r);
                let element = load_splat32::<F32x4>(pointer, offset + *position as u32);
                let element = if self.vectors == 1 { element } else { k.let_("a", element).get() };
                for (sum, column) in row.iter().zip(&columns) {
                    let next = match self.writer.is_of_pairs() {
                        true => (sum.cast::<I32x4>() + i32x4_dot_i16x8_s(column.clone().cast(), element.clone().cast())).cast(),
                        false if fused => f32x4_relaxed_madd(element.clone(), column, *sum),
                        false => *sum + element.clone() * column,
                    };
                    k.set(*sum, next);
                }
            }
        }
    }

    /// Four steps of depth over columns that each lie by themselves: four of them at a time become vectors in registers. B's
    /// first step is `at` bytes behind `b`, its columns are `column` bytes apart.
    fn four_steps(&self, k: &mut K, sums: &Sums, a: &Rows, b: V<I32>, (at, column): (usize, usize), positions: &[i64]) {
        let fused = crate::schedule::fused(self.rows, self.vectors, self.writer.options.relaxed);
        for v in 0..self.vectors {
            let four: Vec<V<I32x4>> = (0..4).map(|c| k.let_("column", load::<I32x4>(b, (at + (4 * v + c) * column) as u32))).collect();
            let mut pair = |lanes: [u8; 4], x: usize, y: usize| k.let_("pair", shuffle32::<I32x4>(lanes, four[x], four[y]));
            let low = [pair([0, 4, 1, 5], 0, 1), pair([0, 4, 1, 5], 2, 3)];
            let high = [pair([2, 6, 3, 7], 0, 1), pair([2, 6, 3, 7], 2, 3)];
            for (d, position) in positions.iter().enumerate() {
                let [x, y] = if d < 2 { low } else { high };
                let step = k.let_("step", shuffle64::<I32x4>(if d % 2 == 0 { [0, 2] } else { [1, 3] }, x, y));
                for (r, row) in sums.iter().enumerate() {
                    let (pointer, offset) = a.at(r);
                    let element = load_splat32::<F32x4>(pointer, offset + *position as u32);
                    let product = step.get().cast::<F32x4>();
                    let next = if fused { f32x4_relaxed_madd(element, product, row[v]) } else { row[v] + element * product };
                    k.set(row[v], next);
                }
            }
        }
    }

    /// Epilogue and stores, one vector of columns after the other.
    fn finish(&self, k: &mut K, sums: &Sums, rows: &dyn Fn(&mut K, usize) -> Rows) {
        let writer = self.writer;
        let out = rows(k, 1);
        let extras: Vec<Rows> = (0..writer.operands.extras.len()).map(|i| rows(k, 2 + i)).collect();
        if let Rows::Uniform { base, stride } = out
            && self.finishes_later(&extras)
        {
            return self.finish_later(k, sums, (base, stride), &extras);
        }
        let is_long = writer.sizes.depth.is_some() || length(&writer.nest.depth_in_a) > UNROLL_LIMIT;
        let mut apart = |rows: Rows| if is_long { rows.apart(k, self.rows) } else { rows };
        let (out, extras) = (apart(out), extras.into_iter().map(&mut apart).collect::<Vec<_>>());
        for v in 0..self.vectors {
            let lanes = if v + 1 == self.vectors { self.last_lanes } else { 4 };
            let load_extra = |k: &mut K, i: usize, r: usize| {
                let (pointer, offset) = extras[i].at(r);
                let (pattern, step) = writer.pattern(2 + i);
                lanes::load(k, writer.operands.extras[i].dtype, pointer, offset + v as u32 * step, pattern, lanes)
            };
            let shared: Vec<Option<Lanes>> =
                (0..extras.len()).map(|i| extras[i].same_for_all().then(|| load_extra(k, i, 0)).map(|l| hold(k, l))).collect();
            for (r, row) in sums.iter().enumerate() {
                let sum = if writer.is_of_pairs() { Lanes::I32(row[v].get().cast()) } else { Lanes::F32(row[v].get()) };
                let mut args = vec![sum];
                for (i, shared) in shared.iter().enumerate() {
                    args.push(shared.clone().unwrap_or_else(|| load_extra(k, i, r)));
                }
                let value = pointwise::emit(k, &writer.operands.body, &writer.operands.types, &args);
                let (pointer, offset) = out.at(r);
                let (pattern, step) = writer.pattern(1);
                lanes::store(k, writer.operands.output.dtype, pointer, offset + v as u32 * step, pattern, lanes, value);
            }
        }
    }
}

impl Tile<'_> {
    /// An epilogue with an elementary function needs the registers that the sums occupy.
    fn finishes_later(&self, extras: &[Rows]) -> bool {
        let operands = &self.writer.operands;
        let is_heavy = operands.body.steps.iter().any(|s| !pointwise::is_cheap(s.f));
        let is_plain = operands.output.dtype == DType::F32 && self.writer.pattern(1).0 == Pattern::Contiguous;
        is_heavy && is_plain && self.rows * self.vectors > 1 && extras.iter().all(|e| matches!(e, Rows::Uniform { .. }))
    }

    /// Stores the sums as they are, then runs the epilogue over them row by row.
    fn finish_later(&self, k: &mut K, sums: &Sums, (base, stride): (V<I32>, i64), extras: &[Rows]) {
        let writer = self.writer;
        let operands = &writer.operands;
        let lanes_of = |v: usize| if v + 1 == self.vectors { self.last_lanes } else { 4 };
        for (r, row) in sums.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                let at = (r as i64 * stride) as u32 + 16 * v as u32;
                lanes::store(k, DType::F32, base, at, Pattern::Contiguous, lanes_of(v), Lanes::F32(sum.get()));
            }
        }
        let load_extra = |k: &mut K, i: usize, v: usize, pointer: V<I32>| {
            let (pattern, step) = writer.pattern(2 + i);
            lanes::load(k, operands.extras[i].dtype, pointer, v as u32 * step, pattern, lanes_of(v))
        };
        // [vector][operand]: what all rows share.
        let shared: Vec<Vec<Option<Lanes>>> = (0..self.vectors)
            .map(|v| {
                let held = extras.iter().enumerate().map(|(i, rows)| rows.same_for_all().then(|| load_extra(k, i, v, rows.at(0).0)));
                held.collect::<Vec<_>>().into_iter().map(|l| l.map(|l| hold(k, l))).collect()
            })
            .collect();
        k.for_("finished", 0, self.rows, 1, |k, row| {
            let at = k.let_("at", base + row * stride as i32);
            let pointers: Vec<V<I32>> = extras
                .iter()
                .map(|rows| match rows {
                    Rows::Uniform { base, stride } if *stride != 0 => k.let_("extra_at", *base + row * *stride as i32),
                    rows => rows.at(0).0,
                })
                .collect();
            for (v, shared) in shared.iter().enumerate() {
                let mut args = vec![lanes::load(k, DType::F32, at, 16 * v as u32, Pattern::Contiguous, lanes_of(v))];
                for (i, shared) in shared.iter().enumerate() {
                    args.push(shared.clone().unwrap_or_else(|| load_extra(k, i, v, pointers[i])));
                }
                let value = pointwise::emit(k, &operands.body, &operands.types, &args);
                lanes::store(k, DType::F32, at, 16 * v as u32, Pattern::Contiguous, lanes_of(v), value);
            }
        });
    }
}

fn length(axes: &[(usize, i64)]) -> usize {
    axes.iter().map(|(e, _)| e).product()
}

/// Four elements in locals, so that several rows can use them.
pub fn hold(k: &mut K, lanes: Lanes) -> Lanes {
    match lanes {
        Lanes::F32(e) => Lanes::F32(k.in_local("extra", e).get()),
        Lanes::I32(e) => Lanes::I32(k.in_local("extra", e).get()),
        Lanes::Mask(e) => Lanes::Mask(k.in_local("extra", e).get()),
        Lanes::I64(pair) => Lanes::I64(pair.map(|e| k.in_local("extra", e).get())),
        Lanes::F64(pair) => Lanes::F64(pair.map(|e| k.in_local("extra", e).get())),
    }
}

/// Whether an operand of this type has its columns side by side.
pub fn pattern(column_stride: i64, dtype: DType) -> (Pattern, u32) {
    match column_stride {
        0 => (Pattern::Splat, 0),
        s if s == dtype.bytes() as i64 => (Pattern::Contiguous, 4 * s as u32),
        s => (Pattern::Strided(s), 4 * s as u32),
    }
}
