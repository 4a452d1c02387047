//! One register tile of a product of bytes: zero the sums, walk along the depth four elements at a time, apply the
//! epilogue, store.

use super::{Method, Rows, Writer};
use crate::lanes::{self, Lanes, Pattern};
use crate::pointwise;
use crate::write::contract::tile::hold;
use ir::DType;
use kernel::*;

/// A tile of the writer's rows × `vectors`; the last vector holds `last_lanes` columns.
pub struct Tile<'a> {
    pub writer: &'a Writer<'a>,
    pub vectors: usize,
    pub last_lanes: usize,
}

/// Quads per iteration of a loop over a run.
const UNROLL: usize = 4;
/// Longest run that is written out without a loop, in quads.
const UNROLL_LIMIT: usize = 8;

/// `[row][vector]`, and then one local of four columns, or two locals with two sums for each of two columns.
type Sums = Vec<Vec<Vec<V<I32x4>>>>;

impl Tile<'_> {
    /// `rows`: where A, the output and the epilogue's operands have the tile's rows.
    pub fn write(&self, k: &mut K, w: V<I32>, rows: &[Rows]) {
        let parts = if self.writer.method == Method::Relaxed { 1 } else { 2 };
        let local = |k: &mut K| {
            let sum = k.local("sum");
            k.set(sum, lanes::zero::<I32x4>());
            sum
        };
        let sums: Sums =
            (0..self.writer.rows).map(|_| (0..self.vectors).map(|_| (0..parts).map(|_| local(k)).collect()).collect()).collect();
        let axes = &self.writer.nest.depth_in_a;
        if axes.len() == 1 && self.loops() == 0 {
            self.quads(k, &sums, &rows[0], w, &self.writer.panels.quads());
        } else {
            let a = rows[0].moving(k);
            self.depth(k, &sums, &a, w, axes);
        }
        self.finish(k, &sums, rows);
    }

    /// Iterations of the loop over a run; what they leave is written out.
    fn loops(&self) -> usize {
        let run = self.writer.panels.run;
        let most = if run.is_multiple_of(4 * UNROLL) { run / (4 * UNROLL) } else { (run - 4) / (4 * UNROLL) };
        if run.div_ceil(4) <= UNROLL_LIMIT { 0 } else { most }
    }

    /// Loops over the depth axes, outermost first. Returns by how many bytes A's pointers were moved.
    fn depth(&self, k: &mut K, sums: &Sums, a: &Rows, w: V<I32>, axes: &[(usize, i64)]) -> i64 {
        let (extent, stride) = axes[0];
        if axes.len() > 1 {
            let inner: usize = axes[1..axes.len() - 1].iter().map(|(e, _)| e).product();
            let step = inner * self.writer.panels.run_bytes(self.vectors);
            k.for_("w_outer", w, w + (extent * step) as i32, step as u32, |k, w| {
                let moved = self.depth(k, sums, a, w, &axes[1..]);
                a.advance(k, stride - moved);
            });
            return extent as i64 * stride;
        }
        let quads = self.writer.panels.quads();
        let main = self.loops() * UNROLL;
        let (bytes, quad_bytes) = ((main * 4) as i64, 16 * self.vectors);
        if main == 0 {
            self.quads(k, sums, a, w, &quads);
            return 0;
        }
        let end = k.let_("w_end", w + (main * quad_bytes) as i32);
        k.for_("w_ptr", w, end, (UNROLL * quad_bytes) as u32, |k, w| {
            self.quads(k, sums, a, w, &quads[..UNROLL]);
            a.advance(k, 4 * UNROLL as i64);
        });
        let rest: Vec<usize> = quads[main..].iter().map(|q| q - bytes as usize).collect();
        self.quads(k, sums, a, end, &rest);
        bytes
    }

    /// Quads of A at these positions (bytes), with the weights from `w` on.
    fn quads(&self, k: &mut K, sums: &Sums, a: &Rows, w: V<I32>, quads: &[usize]) {
        let weights_at = |q: usize| (16 * self.vectors * q) as u32;
        match self.writer.method {
            Method::Relaxed => quads.iter().enumerate().for_each(|(q, at)| self.relaxed(k, sums, a, *at as u32, (w, weights_at(q)))),
            Method::Widened => {
                let mut q = 0;
                while q < quads.len() {
                    let pair = quads.get(q + 1).is_some_and(|next| *next == quads[q] + 4);
                    self.widened(k, sums, a, quads[q] as u32, if pair { 2 } else { 1 }, (w, weights_at(q)));
                    q += if pair { 2 } else { 1 };
                }
            }
        }
    }

    fn relaxed(&self, k: &mut K, sums: &Sums, a: &Rows, at: u32, (w, from): (V<I32>, u32)) {
        let weights: Vec<V<I8x16>> = (0..self.vectors).map(|v| k.let_("weights", load::<I8x16>(w, from + 16 * v as u32))).collect();
        for (r, row) in sums.iter().enumerate() {
            let (pointer, offset) = a.at(r);
            let element = k.let_("a", load_splat32::<I8x16>(pointer, offset + at));
            for (sum, weights) in row.iter().zip(&weights) {
                k.set(sum[0], i32x4_relaxed_dot_i8x16_i7x16_add_s(*weights, element, sum[0]));
            }
        }
    }

    /// One quad, or two that follow each other.
    fn widened(&self, k: &mut K, sums: &Sums, a: &Rows, at: u32, quads: usize, (w, from): (V<I32>, u32)) {
        let signed = self.writer.operands.a.dtype == DType::I8;
        let mut elements: Vec<Vec<V<I16x8>>> = vec![];
        for r in 0..sums.len() {
            let (pointer, offset) = a.at(r);
            let both = if quads == 2 {
                if signed { v128_load8x8_s(pointer, offset + at) } else { v128_load8x8_u(pointer, offset + at) }
            } else {
                let bytes = load_splat32::<I8x16>(pointer, offset + at);
                if signed { i16x8_extend_low_i8x16_s(bytes) } else { i16x8_extend_low_i8x16_u(bytes.cast()) }
            };
            elements.push(vec![k.let_("a", both)]);
        }
        for quad in 0..quads {
            let splats: Vec<V<I16x8>> = elements
                .iter()
                .map(|a| if quads == 1 { a[0] } else { k.let_("a_quad", shuffle64::<I16x8>([quad as u8; 2], a[0], a[0])) })
                .collect();
            for half in 0..2 * self.vectors {
                let weights = k.let_("weights", v128_load8x8_s(w, from + (16 * self.vectors * quad + 8 * half) as u32));
                for (row, a) in sums.iter().zip(&splats) {
                    let sum = row[half / 2][half % 2];
                    k.set(sum, sum + i32x4_dot_i16x8_s(weights, *a));
                }
            }
        }
    }

    /// Epilogue and stores. One vector of columns after the other, so that few constants are in registers.
    fn finish(&self, k: &mut K, sums: &Sums, rows: &[Rows]) {
        let writer = self.writer;
        let extras = &rows[2..];
        let lanes_of = |v: usize| if v + 1 == self.vectors { self.last_lanes } else { 4 };
        let dtype = writer.operands.output.dtype;
        let (pattern, step) = writer.pattern(1);
        let narrows = dtype.bytes() == 1 && dtype.is_int() && pattern == Pattern::Contiguous && self.vectors == 2 && self.last_lanes == 4;
        for v in 0..self.vectors {
            let load_extra = |k: &mut K, i: usize, r: usize| {
                let (pointer, offset) = extras[i].at(r);
                let (pattern, step) = writer.pattern(2 + i);
                lanes::load(k, writer.operands.extras[i].dtype, pointer, offset + v as u32 * step, pattern, lanes_of(v))
            };
            let shared: Vec<Option<Lanes>> =
                (0..extras.len()).map(|i| extras[i].same_for_all().then(|| load_extra(k, i, 0)).map(|l| hold(k, l))).collect();
            for (r, row) in sums.iter().enumerate() {
                let sum = match row[v][..] {
                    [sum] => sum.get(),
                    [low, high] => shuffle32::<I32x4>([0, 2, 4, 6], low, high) + shuffle32::<I32x4>([1, 3, 5, 7], low, high),
                    _ => unreachable!("a sum has one or two parts"),
                };
                let mut args = vec![Lanes::I32(sum)];
                for (i, shared) in shared.iter().enumerate() {
                    args.push(shared.clone().unwrap_or_else(|| load_extra(k, i, r)));
                }
                let value = pointwise::emit(k, &writer.operands.body, &writer.operands.types, &args);
                match value {
                    Lanes::I32(value) if narrows => k.set(row[v][0], value),
                    value => {
                        let (pointer, offset) = rows[1].at(r);
                        lanes::store(k, dtype, pointer, offset + v as u32 * step, pattern, lanes_of(v), value);
                    }
                }
            }
        }
        if narrows {
            for (r, row) in sums.iter().enumerate() {
                let (pointer, offset) = rows[1].at(r);
                k.store_lane::<8>(pointer.get(), offset, lanes::bytes_of(dtype, row[0][0].get(), row[1][0].get()), 0);
            }
        }
    }
}
