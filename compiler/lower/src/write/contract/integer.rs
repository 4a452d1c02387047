//! Products of bytes: a u8 or i8 operand with constant i8 weights, summed in `i32`. The weights lie in panels of eight
//! columns, `[panel][depth / 4][column][4]`, which serve two tiles: with relaxed dot products (four products into each of
//! four columns), and with `i32x4.dot_i16x8_s` (two products), for which the rows of a tile are widened to 16 bits.
//!
//! All rows are numbered through. A tile that would reach beyond the last row starts earlier instead and computes some
//! rows twice, with the same result.

mod pack;
mod tile;
mod transform;
mod widen;
pub mod winograd;

use super::nest::{self, Nest};
use super::tile::{Rows, pattern};
use super::winograd::Once;
use super::{Operands, min, range, size};
use crate::LowerError;
use crate::cx::{Cx, NodeCx, new_kernel, pointer};
use crate::plan::Arg;
use crate::schedule;
use crate::view::{Source, View, linear};
use crate::{lanes, pointwise};
use ir::DType;
use ir::algorithm::Contract;
use ir::pointwise::{Fn, Operand};
use kernel::{E, I16x8, I32, K, V, i16x8_shl, i16x8_shr_s, load};
use pack::Panels;

/// Rows in a unit of work: a multiple of the rows of every tile.
const UNIT: usize = 30;
/// Rows that are widened together, at most: those of the largest tile.
const WIDENED_ROWS: usize = 5;

/// Which instruction multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// `i32x4.relaxed_dot_i8x16_i7x16_add_s` on an engine that reads its second operand as unsigned.
    Relaxed,
    /// `i32x4.dot_i16x8_s`.
    Widened,
}

/// Writes the product if its operands have a form that these kernels read; else says that they have not.
pub fn write(cx: &mut Cx, nx: &NodeCx, contract: &Contract) -> Result<bool, LowerError> {
    let Some(weights) = &nx.constants[contract.b.operand] else { return Ok(false) };
    let a = &nx.inputs[contract.a.operand];
    if weights.dtype != DType::I8 || nx.constants[contract.a.operand].is_some() || nx.output.elements() == 0 {
        return Ok(false);
    }
    let operands = Operands { types: vec![], ..Operands::of(cx, nx, contract) };
    let types = std::iter::once(DType::I32).chain(operands.extras.iter().map(|v| v.dtype)).collect();
    let operands = Operands { types, ..operands };
    if nx.winograd {
        pointwise::supported(&operands.body, &operands.types).map_err(|what| LowerError::Unsupported { layer: nx.name.clone(), what })?;
        winograd::write(cx, nx, contract, &operands);
        return Ok(true);
    }
    let b = linear(&nx.inputs[contract.b.operand], &contract.b.index, contract.axes.len());
    let nest = Nest::new(contract, &operands.linears, &operands.sizes(), &b);
    // Four elements of the depth are read at once.
    let reads_quads = nest.depth_in_a.last().is_some_and(|(extent, stride)| *extent >= 4 && *stride == 1);
    let forwards = nest.rows.iter().all(|axis| axis.at.iter().all(|s| *s >= 0)) && nest.depth_in_a.iter().all(|(_, s)| *s >= 0);
    if !nest.batch.is_empty() || !reads_quads || !forwards {
        return Ok(false);
    }
    pointwise::supported(&operands.body, &operands.types).map_err(|what| LowerError::Unsupported { layer: nx.name.clone(), what })?;
    let method = if cx.options.relaxed_dot && a.dtype == DType::U8 { Method::Relaxed } else { Method::Widened };
    let runs = nest.depth_in_a[..nest.depth_in_a.len() - 1].iter().map(|(e, _)| e).product();
    let panels = Panels { columns: nest.columns(), runs, run: nest.depth_in_a[nest.depth_in_a.len() - 1].0 };
    let packed = cx.weight(&nx.name, pack::constant(weights, &b, &nest, &panels), nx.origin);
    let packed = View::dense(Source::Weight(packed), DType::I8, &[0]);

    let rows = rows_of_tile(method, nest.rows());
    let units = nest.rows().div_ceil(UNIT);
    let tasks = nest.macs().div_ceil(cx.options.macs_per_task);
    let blocks = schedule::blocks(units, panels.count(), tasks, (nest.rows() * nest.depth()) as u64, panels.bytes() as u64);
    let saturates = saturates(nx, contract, &operands, nest.depth());
    let starts = starts_with_bias(&operands, &nest);
    let tasks = blocks.row_blocks * blocks.column_blocks;
    let wide = is_wide(cx, &nest).then(|| widened_weights(cx, nx, &packed, panels.bytes(), method));
    // Every task has a part of its own. Relaxed variants leave it alone: their records are the same.
    let widened =
        cx.temporary(&format!("{} widened", nx.name), DType::I16, &[tasks * WIDENED_ROWS.min(nest.rows()) * panels.widened_bytes() / 2]);
    let writer =
        Writer { nest: &nest, panels, operands: &operands, method, rows, wide: wide.is_some(), saturates, starts_with_bias: starts };
    let name = format!("contract_i8_m{rows}n8_{}", if method == Method::Relaxed { "relaxed" } else { "simd" });
    let mut k = new_kernel(name, &cx.options);
    writer.kernel(&mut k, &blocks, &packed, &widened, wide.as_ref());
    let views = || [&operands.a, &operands.output].into_iter().chain(&operands.extras);
    let mut args: Vec<Arg> = views().zip(&operands.linears).map(|(v, l)| v.arg_at(l.base)).collect();
    args.insert(1, packed.arg_at(0));
    args.push(widened.arg_at(0));
    args.extend(wide.iter().map(|wide| wide.arg_at(0)));
    let also: Vec<&View> = views().enumerate().filter(|(i, v)| *i != 1 && v.source == operands.output.source).map(|(_, v)| v).collect();
    cx.step(k.finish(), args, tasks as u32, nest.macs(), nx.origin, &[&operands.output, &widened], &also);
    Ok(true)
}

/// Whether the weights, too, are widened, for all runs: where several tiles read them and memory may be spent for speed.
fn is_wide(cx: &Cx, nest: &Nest) -> bool {
    cx.options.winograd && cx.options.winograd_budget.is_none() && nest.rows() > 2 * WIDENED_ROWS
}

/// The step that widens packed weights in the module's first run: 16 bytes to their even elements, then the odd ones.
/// Relaxed variants have the step, since they have the same plan, but read the bytes: there it does nothing.
fn widened_weights(cx: &mut Cx, nx: &NodeCx, packed: &View, bytes: usize, method: Method) -> View {
    let is_read = method == Method::Widened;
    let once = Once { name: "widened_weights_i8", matrices: 1, before: bytes, after: 2 * bytes, step: 32 };
    once.write(cx, nx, packed, |k, source, target| {
        if is_read {
            let bytes = k.let_("bytes", load::<I16x8>(source, 0));
            k.store::<I16x8>(target, 0, i16x8_shr_s(i16x8_shl(bytes, 8), 8));
            k.store::<I16x8>(target, 16, i16x8_shr_s(bytes, 8));
        }
    })
}

/// The rows of a tile: as many as keep its sums in registers, fewer where that computes fewer rows twice.
fn rows_of_tile(method: Method, rows: usize) -> usize {
    // Cost of a row relative to the best tile.
    let tiles: &[(usize, f64)] = match method {
        Method::Relaxed => &[(6, 1.0), (5, 1.06)],
        Method::Widened => &[(WIDENED_ROWS, 1.0), (4, 1.03)],
    };
    // Tasks begin with a tile.
    let tiles = tiles.iter().filter(|tile| UNIT.is_multiple_of(tile.0) || rows <= UNIT);
    let cost = |tile: &(usize, f64)| (rows.div_ceil(tile.0) * tile.0) as f64 * tile.1;
    let best = tiles.min_by(|a, b| cost(a).total_cmp(&cost(b))).expect("the table is not empty");
    best.0.min(rows)
}

/// Whether a saturating conversion is all that bounds the results of sums of `depth` products.
fn saturates(nx: &NodeCx, contract: &Contract, operands: &Operands, depth: usize) -> bool {
    let extras = contract.epilogue.operands.iter().map(|e| pointwise::magnitude(&nx.constants[e.operand], nx.inputs[e.operand].dtype));
    let magnitudes: Vec<f64> = std::iter::once(depth as f64 * 255.0 * 128.0).chain(extras).collect();
    pointwise::saturates(&operands.body, &operands.types, &magnitudes)
}

/// Whether the epilogue first adds a bias per column, from which sums can start, and reads both nowhere else.
fn starts_with_bias(operands: &Operands, nest: &Nest) -> bool {
    let steps = &operands.body.steps;
    let first = steps.first().is_some_and(|s| s.f == Fn::Add && s.operands == [Operand::Arg(0), Operand::Arg(1)]);
    let elsewhere = steps.iter().skip(1).flat_map(|s| &s.operands).any(|o| matches!(o, Operand::Arg(0 | 1)));
    let same_for_all = || nest.rows.iter().all(|axis| axis.at[2] == 0) && operands.types[1] == DType::I32;
    first && !elsewhere && same_for_all()
}

struct Writer<'a> {
    nest: &'a Nest,
    panels: Panels,
    operands: &'a Operands,
    method: Method,
    /// Rows of a tile.
    rows: usize,
    /// The weights are 16-bit integers.
    wide: bool,
    /// A saturating conversion is all that bounds the results.
    saturates: bool,
    starts_with_bias: bool,
}

/// Pointers to A, the output and the epilogue's operands; and to the weights.
struct Pointers {
    at: Vec<V<I32>>,
    w: V<I32>,
}

impl Writer<'_> {
    /// task = row block · column blocks + column block
    fn kernel(&self, k: &mut K, blocks: &schedule::Blocks, packed: &View, widened: &View, wide: Option<&View>) {
        let a = pointer(k, "a", &self.operands.a);
        let w = pointer(k, "w", packed);
        let mut at = vec![a, pointer(k, "out", &self.operands.output)];
        at.extend(self.operands.extras.iter().map(|extra| pointer(k, "extra", extra)));
        let widened = pointer(k, "widened", widened);
        let wide = wide.map(|wide| pointer(k, "wide", wide)).filter(|_| self.method == Method::Widened);
        let p = Pointers { at, w: wide.unwrap_or(w) };
        let (full, count) = (self.panels.full(), self.panels.count());
        // Numbers are said as sizes, so that kernels that differ in them are one.
        let task = k.task();
        let columns = size(k, "column_blocks", blocks.column_blocks);
        let column_block = k.let_("column_block", kernel::i32_rem_u(task, columns));
        let row_block = k.let_("row_block", kernel::i32_div_u(task, columns));
        let (rows, panels) = (size(k, "rows", self.nest.rows()), size(k, "panels", full));
        let rows = range(k, "row", row_block, blocks.units_per_task * UNIT, rows);
        let last = (blocks.column_blocks > 1).then(|| kernel::i32_eq(column_block, blocks.column_blocks as i32 - 1));
        let panels = range(k, "panel", column_block, blocks.panels_per_task, panels);
        if self.method == Method::Widened {
            let widened = k.let_("widened_part", widened + task * (self.rows * self.panels.widened_bytes()) as i32);
            self.blocks(k, &p, widened, rows, panels, last);
            return;
        }
        if full > 0 {
            let [start, end] = panels;
            k.for_("panel", start, end, 1, |k, panel| {
                let q = self.panel_pointers(k, &p, panel.get());
                self.tiles(k, &q, &rows, 2, 4);
            });
        }
        if count > full {
            let tail = |k: &mut K| {
                let q = self.panel_pointers(k, &p, full.into());
                let columns = self.panels.columns - full * pack::WIDTH;
                self.tiles(k, &q, &rows, columns.div_ceil(4), (columns - 1) % 4 + 1);
            };
            match last {
                None => tail(k),
                Some(last) => k.if_(last, tail),
            }
        }
    }

    /// Blocks of rows `r0..r1`, widened and multiplied with the panels `p0..p1`, and with the narrower last one if `last`.
    fn blocks(&self, k: &mut K, p: &Pointers, widened: V<I32>, [r0, r1]: [E<I32>; 2], [p0, p1]: [E<I32>; 2], last: Option<E<I32>>) {
        let full = self.panels.full();
        let last_row = k.let_("last_row", E::from(self.nest.rows() - self.rows));
        k.for_("row", r0, r1, self.rows as u32, |k, row| {
            let first = min(k, "first_row", row.get(), last_row.get());
            let mut at = self.pointers(k, p, first, self.rows);
            widen::write(k, self, &at[0], widened);
            at[0] = Rows::Uniform { base: widened, stride: self.panels.widened_bytes() as i64 };
            let tiles = |k: &mut K, panel: E<I32>, vectors: usize, last_lanes: usize| {
                let w = k.let_("panel_w", p.w + panel.clone() * self.weight_bytes(self.panels.panel_bytes(2)) as i32);
                let rows: Vec<Rows> = at.iter().enumerate().map(|(i, rows)| self.moved(k, rows, i, &panel)).collect();
                tile::Tile { writer: self, vectors, last_lanes }.write(k, w, &rows);
            };
            if full > 0 {
                k.for_("panel", p0.clone(), p1.clone(), 1, |k, panel| tiles(k, panel.get(), 2, 4));
            }
            let columns = self.panels.columns - full * pack::WIDTH;
            let tail = |k: &mut K| tiles(k, full.into(), columns.div_ceil(4), (columns - 1) % 4 + 1);
            match &last {
                _ if columns == 0 => {}
                None => tail(k),
                Some(last) => k.if_(last.clone(), tail),
            }
        });
    }

    /// Rows of an operand at a panel of columns.
    fn moved(&self, k: &mut K, rows: &Rows, operand: usize, panel: &E<I32>) -> Rows {
        let step = self.nest.column_stride(operand) * pack::WIDTH as i64;
        if operand == 0 || step == 0 {
            return rows.clone();
        }
        let mut moved = |p: &V<I32>| k.let_("panel_ptr", *p + panel.clone() * step as i32);
        match rows {
            Rows::Uniform { base, stride } => Rows::Uniform { base: moved(base), stride: *stride },
            Rows::Each(pointers) => Rows::Each(pointers.iter().map(moved).collect()),
        }
    }

    /// Bytes of weights, as they are read.
    fn weight_bytes(&self, packed: usize) -> usize {
        if self.wide && self.method == Method::Widened { 2 * packed } else { packed }
    }

    /// Moves the pointers of the operands that have columns to a panel.
    fn panel_pointers(&self, k: &mut K, p: &Pointers, panel: E<I32>) -> Pointers {
        let at = p.at.iter().enumerate().map(|(i, base)| match self.nest.column_stride(i) {
            0 => *base,
            s => k.let_("panel_ptr", *base + panel.clone() * (s * pack::WIDTH as i64) as i32),
        });
        let at = at.collect();
        Pointers { at, w: k.let_("panel_w", p.w + panel * self.panels.panel_bytes(2) as i32) }
    }

    /// All tiles of rows `start..end` for one panel.
    fn tiles(&self, k: &mut K, p: &Pointers, [start, end]: &[E<I32>; 2], vectors: usize, last_lanes: usize) {
        let last_row = k.let_("last_row", E::from(self.nest.rows() - self.rows));
        k.for_("row", start.clone(), end.clone(), self.rows as u32, |k, row| {
            let row = min(k, "first_row", row.get(), last_row.get());
            let rows = self.pointers(k, p, row, self.rows);
            tile::Tile { writer: self, vectors, last_lanes }.write(k, p.w, &rows);
        });
    }

    /// Where each operand has `count` rows from row `first` on.
    fn pointers(&self, k: &mut K, p: &Pointers, first: V<I32>, count: usize) -> Vec<Rows> {
        let strides: Vec<Option<i64>> = (0..p.at.len()).map(|i| self.nest.uniform_stride(i)).collect();
        let coordinates: Vec<Vec<E<I32>>> = if strides.iter().all(Option::is_some) {
            vec![]
        } else {
            (0..count).map(|r| nest::coordinates(k, self.nest.rows.iter().map(|a| a.extent), first + r as i32)).collect()
        };
        let mut rows = vec![];
        for (i, (base, stride)) in p.at.iter().zip(strides).enumerate() {
            rows.push(match stride {
                Some(0) => Rows::Uniform { base: *base, stride: 0 },
                Some(stride) => Rows::Uniform { base: k.let_("tile_ptr", *base + first * stride as i32), stride },
                None => {
                    let each = coordinates.iter().map(|c| {
                        let position = nest::offset(c, self.nest.rows.iter().map(|a| a.at[i]), base.get());
                        k.let_("row_ptr", position)
                    });
                    Rows::Each(each.collect())
                }
            });
        }
        rows
    }

    /// How the columns of an operand lie in memory, and bytes from one vector of columns to the next.
    fn pattern(&self, operand: usize) -> (lanes::Pattern, u32) {
        let dtype = if operand == 1 { self.operands.output.dtype } else { self.operands.extras[operand - 2].dtype };
        pattern(self.nest.column_stride(operand), dtype)
    }
}
