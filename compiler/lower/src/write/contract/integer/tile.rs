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
/// The same for widened rows, whose quads take four times the code.
const WIDENED_UNROLL: usize = 2;
const WIDENED_UNROLL_LIMIT: usize = 4;

/// `[row][vector]`
type Sums = Vec<Vec<V<I32x4>>>;

impl Tile<'_> {
    /// `rows`: where A, the output and the epilogue's operands have the tile's rows.
    pub fn write(&self, k: &mut K, w: V<I32>, rows: &[Rows]) {
        let row = |k: &mut K| (0..self.vectors).map(|_| k.local("sum")).collect();
        let sums: Sums = (0..self.writer.rows).map(|_| row(k)).collect();
        self.start(k, &sums, rows);
        let axes = &self.writer.nest.depth_in_a;
        if self.writer.method == Method::Widened {
            self.widened_depth(k, &sums, &rows[0], w);
        } else if axes.len() == 1 && self.loops() == 0 {
            self.quads(k, &sums, &rows[0], w, &self.writer.panels.quads());
        } else {
            let a = rows[0].clone().apart(k, self.writer.rows).moving(k);
            self.depth(k, &sums, &a, w, axes);
        }
        self.finish(k, &sums, rows);
    }

    /// Sets the sums to the bias, or to zeros.
    fn start(&self, k: &mut K, sums: &Sums, rows: &[Rows]) {
        for v in 0..self.vectors {
            let first = sums[0][v];
            if self.writer.starts_with_bias {
                let Lanes::I32(bias) = self.extra(k, rows, 0, 0, v) else { panic!("a bias of sums is an integer") };
                k.set(first, bias);
            } else {
                k.set(first, lanes::zero::<I32x4>());
            }
            sums[1..].iter().for_each(|row| k.set(row[v], first));
        }
    }

    /// Columns of the lanes of a vector.
    fn lanes(&self, vector: usize) -> usize {
        if vector + 1 == self.vectors { self.last_lanes } else { 4 }
    }

    /// Operand `i` of the epilogue for a row and a vector of columns.
    fn extra(&self, k: &mut K, rows: &[Rows], i: usize, row: usize, vector: usize) -> Lanes {
        let (pointer, offset) = rows[2 + i].at(row);
        let (pattern, step) = self.writer.pattern(2 + i);
        lanes::load(k, self.writer.operands.extras[i].dtype, pointer, offset + vector as u32 * step, pattern, self.lanes(vector))
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
        for (q, at) in quads.iter().enumerate() {
            self.relaxed(k, sums, a, *at as u32, (w, (16 * self.vectors * q) as u32));
        }
    }

    fn relaxed(&self, k: &mut K, sums: &Sums, a: &Rows, at: u32, (w, from): (V<I32>, u32)) {
        let weights: Vec<V<I8x16>> = (0..self.vectors).map(|v| k.let_("weights", load::<I8x16>(w, from + 16 * v as u32))).collect();
        for (r, row) in sums.iter().enumerate() {
            let (pointer, offset) = a.at(r);
            let element = k.let_("a", load_splat32::<I8x16>(pointer, offset + at));
            for (sum, weights) in row.iter().zip(&weights) {
                k.set(*sum, i32x4_relaxed_dot_i8x16_i7x16_add_s(*weights, element, *sum));
            }
        }
    }

    /// All quads of widened rows, which follow each other as their weights do.
    fn widened_depth(&self, k: &mut K, sums: &Sums, a: &Rows, w: V<I32>) {
        let (quads, quad_bytes) = (self.writer.panels.widened_bytes() / 8, self.writer.weight_bytes(16 * self.vectors));
        let step = |k: &mut K, a: &Rows, w: V<I32>, q: usize| self.widened(k, sums, a, 8 * q as u32, (w, (q * quad_bytes) as u32));
        if quads <= WIDENED_UNROLL_LIMIT {
            return (0..quads).for_each(|q| step(k, a, w, q));
        }
        let a = a.clone().apart(k, self.writer.rows).moving(k);
        let main = quads / WIDENED_UNROLL * WIDENED_UNROLL;
        let end = k.let_("w_end", w + (main * quad_bytes) as i32);
        k.for_("w_ptr", w, end, (WIDENED_UNROLL * quad_bytes) as u32, |k, w| {
            (0..WIDENED_UNROLL).for_each(|q| step(k, &a, w, q));
            a.advance(k, 8 * WIDENED_UNROLL as i64);
        });
        (0..quads - main).for_each(|q| step(k, &a, end, q));
    }

    /// One quad: first its even elements, then the odd ones, each a pair of 16-bit lanes. Weights that are bytes become such
    /// pairs by shifts.
    fn widened(&self, k: &mut K, sums: &Sums, a: &Rows, at: u32, (w, from): (V<I32>, u32)) {
        for odd in [false, true] {
            let weights: Vec<V<I16x8>> = (0..self.vectors)
                .map(|v| {
                    if self.writer.wide {
                        return k.let_("weights", load::<I16x8>(w, from + 32 * v as u32 + 16 * u32::from(odd)));
                    }
                    let bytes = load::<I16x8>(w, from + 16 * v as u32);
                    k.let_("weights", i16x8_shr_s(if odd { bytes } else { i16x8_shl(bytes, 8) }, 8))
                })
                .collect();
            for (r, row) in sums.iter().enumerate() {
                let (pointer, offset) = a.at(r);
                let pair = k.let_("a", load_splat32::<I16x8>(pointer, offset + at + 4 * u32::from(odd)));
                for (sum, weights) in row.iter().zip(&weights) {
                    k.set(*sum, *sum + i32x4_dot_i16x8_s(*weights, pair));
                }
            }
        }
    }

    /// Epilogue and stores. One vector of columns after the other, so that few constants are in registers.
    fn finish(&self, k: &mut K, sums: &Sums, rows: &[Rows]) {
        let writer = self.writer;
        let rows: &[Rows] = &rows
            .iter()
            .enumerate()
            .map(|(i, rows)| if i == 0 { rows.clone() } else { rows.clone().apart(k, writer.rows) })
            .collect::<Vec<_>>();
        let (body, types) = (&writer.operands.body, &writer.operands.types);
        let dtype = writer.operands.output.dtype;
        let (pattern, step) = writer.pattern(1);
        let is_byte = matches!(dtype, DType::U8 | DType::I8);
        let narrows = is_byte && pattern == Pattern::Contiguous && self.vectors == 2 && self.last_lanes == 4;
        // The bias is in the sums already.
        let first = usize::from(writer.starts_with_bias);
        for v in 0..self.vectors {
            let shared: Vec<Option<Lanes>> = (0..rows.len() - 2)
                .map(|i| (i >= first && rows[2 + i].same_for_all()).then(|| self.extra(k, rows, i, 0, v)).map(|l| hold(k, l)))
                .collect();
            for (r, row) in sums.iter().enumerate() {
                let sum = Lanes::I32(row[v].get());
                let mut args = vec![sum.clone()];
                for (i, shared) in shared.iter().enumerate() {
                    args.push(match shared {
                        Some(value) => value.clone(),
                        // Not read again.
                        None if i < first => sum.clone(),
                        None => self.extra(k, rows, i, r, v),
                    });
                }
                let given = pointwise::Hoisted::none(body.steps.len());
                let given = if first == 1 { given.with(0, sum.bind(k)) } else { given };
                let value = if narrows && writer.saturates {
                    pointwise::emit_uncut(k, body, types, &args, &given)
                } else {
                    pointwise::emit_after(k, body, types, &args, &given)
                };
                match value {
                    Lanes::I32(value) if narrows => k.set(row[v], value),
                    value => {
                        let (pointer, offset) = rows[1].at(r);
                        lanes::store(k, dtype, pointer, offset + v as u32 * step, pattern, self.lanes(v), value);
                    }
                }
            }
        }
        if narrows {
            for (r, row) in sums.iter().enumerate() {
                let (pointer, offset) = rows[1].at(r);
                k.store_lane::<8>(pointer.get(), offset, lanes::bytes_of(dtype, row[0].get(), row[1].get()), 0);
            }
        }
    }
}
