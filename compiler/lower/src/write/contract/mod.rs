//! Writes [`ir::algorithm::Contract`]: matrix products and convolutions as one register-tiled loop nest over packed B.
//!
//! Axes fall into four classes. *Batch* axes index A, B and the output; *rows* A and the output; *columns* B and the
//! output; *depth* axes A and B. B lies in panels of a few columns, depth-major. The loops of one task are
//! `panel → row unit → tile → depth`, with the tile's sums in registers and the epilogue before the store. Products of
//! bytes are `integer.rs`; those of other elements than f32 are windows of products: right, but not fast.

mod filters;
mod integer;
pub(super) mod nest;
mod points;
mod tile;
mod transform;
pub mod winograd;

use super::{halves, pack};
use crate::LowerError;
use crate::cx::{Cx, NodeCx, Options, Product, new_kernel, pointer};
use crate::extent::{Size, SizeParams};
use crate::plan::{Arg, Method};
use crate::schedule::{self, Schedule};
use crate::view::{Linear, Source, View, linear};
use crate::{lanes, pointwise};
use ir::algorithm::Contract;
use ir::{Algorithm, DType, Graph, NodeId, Pointwise};
use kernel::{I32, K, V};
use nest::{InPlace, Nest};
use std::collections::{HashMap, HashSet};
use tile::Tile;

/// Where a contraction's operands are, but for B.
pub(super) struct Operands {
    a: View,
    output: View,
    /// The epilogue's operands.
    extras: Vec<View>,
    /// Positions of A, the output and the extras over the nest's axes.
    linears: Vec<Linear>,
    body: Pointwise,
    /// Types of the epilogue's arguments: the sum, then the extras.
    types: Vec<DType>,
    /// The output has other parts, which are there already.
    is_part: bool,
}

impl Operands {
    /// A product of dense buffers without an epilogue: of floats, or of pairs of 16-bit integers.
    fn plain(a: &View, output: &View) -> Operands {
        let start = Linear { base: 0, strides: vec![] };
        Operands {
            a: a.clone(),
            output: output.clone(),
            extras: vec![],
            linears: vec![start.clone(), start],
            body: Pointwise::identity(),
            types: vec![output.dtype],
            is_part: false,
        }
    }

    fn of(cx: &mut Cx, nx: &NodeCx, contract: &Contract) -> Operands {
        let a = nx.input(cx, contract.a.operand);
        let extras: Vec<View> = contract.epilogue.operands.iter().map(|e| nx.input(cx, e.operand)).collect();
        let n = contract.axes.len();
        let mut linears = vec![linear(&a, &contract.a.index, n), linear(&nx.output, &contract.out, n)];
        linears.extend(contract.epilogue.operands.iter().zip(&extras).map(|(e, v)| linear(v, &e.index, n)));
        let types = std::iter::once(DType::F32).chain(extras.iter().map(|v| v.dtype)).collect();
        Operands { a, output: nx.output.clone(), extras, linears, body: contract.epilogue.body.clone(), types, is_part: false }
    }

    fn sizes(&self) -> Vec<i64> {
        [&self.a, &self.output].into_iter().chain(&self.extras).map(|v| v.dtype.bytes() as i64).collect()
    }
}

/// The convolutions that minimal filtering computes faster and for which there is memory. Transformed integers are kept:
/// the layers that save the most time per byte come first.
pub fn winograd_nodes(graph: &Graph, order: &[NodeId], algorithms: &HashMap<NodeId, Algorithm>, options: &Options) -> HashSet<NodeId> {
    if !options.winograd {
        return HashSet::new();
    }
    let mut chosen = HashSet::new();
    let mut candidates: Vec<(f64, u64, NodeId)> = vec![];
    for id in order {
        let Algorithm::Contract(contract) = &algorithms[id] else { continue };
        let inputs = &graph.node(*id).inputs;
        let (Some(weights), Some(shape)) = (graph.constant(inputs[contract.b.operand]), winograd::Shape::of(contract)) else { continue };
        let pays = || shape.saved_cycles() > 0.0 && options.winograd_budget.is_none_or(|bytes| shape.least_bytes() <= bytes);
        match (graph.ty(inputs[contract.a.operand]).dtype, weights.dtype) {
            (DType::F32, DType::F32) if pays() => {
                chosen.insert(*id);
            }
            (a @ (DType::U8 | DType::I8), DType::I8)
                if shape.form.is_square() && integer::winograd::is_exact(contract, &shape, a, weights) =>
            {
                let (saved, bytes) = (integer::winograd::saved_cycles(&shape), integer::winograd::weight_bytes(&shape));
                if saved > 0.0 {
                    candidates.push((saved / bytes as f64, bytes, *id));
                }
            }
            _ => {}
        }
    }
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)));
    let mut left = options.winograd_budget.unwrap_or(u64::MAX);
    for (_, bytes, id) in candidates {
        if bytes <= left {
            left -= bytes;
            chosen.insert(id);
        }
    }
    chosen
}

pub fn write(cx: &mut Cx, nx: &NodeCx, contract: &Contract) -> Result<(), LowerError> {
    if nx.inputs[contract.a.operand].dtype != DType::F32 {
        let is_byte = matches!(nx.inputs[contract.a.operand].dtype, DType::U8 | DType::I8);
        if is_byte && integer::write(cx, nx, contract)? {
            cx.method = Some(if nx.winograd { Method::IntegerWinograd } else { Method::Integer });
            return Ok(());
        }
        cx.method = Some(Method::General);
        return super::window::write_products(cx, nx, contract);
    }
    let b_operand = contract.b.operand;
    let b_view = &nx.inputs[b_operand];
    let operands = Operands::of(cx, nx, contract);
    let unsupported = |what: String| Err(LowerError::Unsupported { layer: nx.name.clone(), what });
    if let Err(what) = pointwise::supported(&operands.body, &operands.types) {
        return unsupported(what);
    }
    if nx.output.elements() == 0 {
        return Ok(());
    }
    if nx.winograd {
        cx.method = winograd::Shape::of(contract).map(|shape| shape.form.method());
        return winograd::write(cx, nx, contract, &operands);
    }
    let b = linear(b_view, &contract.b.index, contract.axes.len());
    let extents = cx.extents(&contract.axes);
    let Some(mut nest) = Nest::with_extents(contract, &extents, &operands.linears, &operands.sizes(), &b) else {
        return unsupported("a free size as one of several sizes of the sums or the columns".into());
    };
    nest.split_rows();
    // Rows of free number are tiled along the innermost axis: the position of the last one is not known.
    let outer_rows = if nest.has_free_rows() { 1 } else { nest.outer_rows() };
    let size = (nest.rows(), nest.columns(), nest.depth());
    let tiles = cx.options.tiles_of(size);
    let schedule = schedule::choose(outer_rows, nest.inner_rows(), nest.columns(), nest.depth(), cx.options.relaxed, tiles);
    let width = 4 * schedule.vectors;
    // The last panel of a free number of columns is a whole one.
    let columns = if nest.free_columns().is_some() { nest.columns().next_multiple_of(width) } else { nest.columns() };
    let panels = pack::Panels { columns, depth: nest.depth(), vectors: schedule.vectors, gap: 0 };
    cx.method = Some(if nx.constants[b_operand].is_some() { Method::Direct } else { Method::DirectPacked });
    nest.in_place = nest.readable_in_place().filter(|_| nx.constants[b_operand].is_none() && !b_view.free.is_empty());
    let packed = match &nx.constants[b_operand] {
        None if nest.in_place.is_some() => {
            cx.method = Some(Method::Direct);
            View { offset: b.base, ..b_view.clone() }
        }
        Some(tensor) => {
            let bytes = pack::constant(tensor, &b, &nest, &panels);
            halves::constant(cx, &nx.name, bytes, nx.origin)
        }
        // Sums of nothing.
        None if nest.depth() == 0 => View::dense(Source::Weight(cx.weight(&nx.name, vec![], nx.origin)), DType::F32, &[0]),
        None => pack::at_run_time(cx, nx, b_view, &b, &nest, &panels)?,
    };
    cx.products.push(Product { step: cx.steps.len(), rows: size.0, columns: size.1, depth: size.2 });
    product(cx, nx, &nest, &schedule, &panels, &packed, &operands);
    Ok(())
}

/// Adds the step that computes a nest over packed B.
fn product(cx: &mut Cx, nx: &NodeCx, nest: &Nest, schedule: &Schedule, panels: &pack::Panels, packed: &View, operands: &Operands) {
    let options = cx.options.clone();
    let mut writer = Writer { nest, schedule, panels, options: &options, operands, sizes: Sizes::default() };
    let units = if schedule.flat { schedule.runs.iter().map(|r| r.count).sum() } else { nest.outer_rows() };
    let macs = nest.macs() * if writer.is_of_pairs() { 2 } else { 1 };
    let per_batch = nest.macs() / nest.batches() as u64;
    let a_bytes = (nest.rows() * nest.depth()) as u64 * 4;
    let tasks = per_batch.div_ceil(cx.options.macs_per_task);
    let blocks = schedule::blocks(units, panels.full() + usize::from(panels.tail() > 0), tasks, a_bytes, panels.bytes() as u64);
    let (kernel, params) = writer.kernel(units, &blocks, packed);
    let views = || [&operands.a, &operands.output].into_iter().chain(&operands.extras);
    let mut args: Vec<Arg> = views().zip(&operands.linears).map(|(v, l)| v.arg_at(l.base)).collect();
    args.insert(1, packed.arg_at(if nest.in_place.is_some() { packed.offset } else { 0 }));
    args.extend(params.dims().map(|dim| cx.size(dim)));
    let tasks = (nest.batches() * blocks.row_blocks * blocks.column_blocks) as u32;
    let is_read = |i: usize, v: &View| if i == 1 { operands.is_part } else { v.source == operands.output.source };
    let also: Vec<&View> = views().enumerate().filter(|(i, v)| is_read(*i, v)).map(|(_, v)| v).collect();
    cx.step(kernel, args, tasks, macs, nx.origin, &[&operands.output], &also);
}

/// The parameters of one kernel while it is written.
struct Writer<'a> {
    nest: &'a Nest,
    schedule: &'a Schedule,
    panels: &'a pack::Panels,
    options: &'a Options,
    operands: &'a Operands,
    sizes: Sizes,
}

/// The sizes of a nest inside of its kernel.
#[derive(Default)]
pub(super) struct Sizes {
    batch: Vec<Size>,
    /// Of the row axes but the innermost.
    outer: Vec<Size>,
    inner_rows: Option<V<I32>>,
    /// Number of panels, if it is not known before.
    panels: Option<V<I32>>,
    depth: Option<V<I32>>,
}

impl Sizes {
    fn new(k: &mut K, nest: &Nest, width: usize, params: &mut SizeParams) -> Sizes {
        let inner = nest.rows[nest.rows.len() - 1].extent();
        let columns = nest.free_columns().map(|columns| columns.clone().ceil_div(width));
        Sizes {
            batch: nest.batch.iter().map(|a| params.size(k, &a.extent())).collect(),
            outer: nest.outer().iter().map(|a| params.size(k, &a.extent())).collect(),
            inner_rows: params.size(k, &inner).now,
            panels: columns.map(|dim| params.get(k, &dim)),
            depth: nest.free_depth.as_ref().map(|dim| params.get(k, dim)),
        }
    }
}

/// Whether all coordinates are below the sizes that are only known at run time; `None` when there are none.
fn inside(coordinates: &[kernel::E<I32>], sizes: &[Size]) -> Option<kernel::E<I32>> {
    let below = coordinates.iter().zip(sizes).filter_map(|(c, size)| Some(kernel::i32_lt_u(c.clone(), size.now?)));
    below.reduce(|all, one| all & one)
}

/// Pointers to the operands: A, the output, the epilogue's operands; and B.
#[derive(Clone)]
struct Pointers {
    at: Vec<V<I32>>,
    b: V<I32>,
}

impl Writer<'_> {
    fn kernel(&mut self, units: usize, blocks: &schedule::Blocks, b: &View) -> (kernel::Kernel, SizeParams) {
        let fused = self.operands.body.steps.last().map_or(String::new(), |s| format!("_{}", s.f.name()));
        let element = if self.is_of_pairs() { "i16" } else { "f32" };
        let relaxed = if self.options.relaxed { "relaxed" } else { "simd" };
        let place = match self.nest.in_place {
            None => "",
            Some(InPlace::Rows(_)) => "_rows",
            Some(InPlace::Columns(_)) => "_columns",
        };
        let mut k = new_kernel(
            format!("contract_{element}_m{}n{}{place}{fused}_{relaxed}", self.schedule.rows, 4 * self.schedule.vectors),
            self.options,
        );
        let k = &mut k;
        let pa = pointer(k, "a", &self.operands.a);
        let pb = pointer(k, "b", b);
        let mut at = vec![pa, pointer(k, "out", &self.operands.output)];
        for (i, extra) in self.operands.extras.iter().enumerate() {
            at.push(pointer(k, &format!("extra{i}"), extra));
        }
        let mut p = Pointers { at, b: pb };
        let mut params = SizeParams::default();
        self.sizes = Sizes::new(k, self.nest, 4 * self.schedule.vectors, &mut params);
        let this = &*self;

        // task = (batch · row_blocks + row block) · column_blocks + column block. Numbers are said as sizes, so that kernels that
        // differ in them are one.
        let column_blocks = size(k, "column_blocks", blocks.column_blocks);
        let column_block = k.let_("column_block", kernel::i32_rem_u(k.task(), column_blocks));
        let mut row_block = k.let_("row_block", kernel::i32_div_u(k.task(), column_blocks));
        if self.nest.batches() > 1 {
            let row_blocks = size(k, "row_blocks", blocks.row_blocks);
            let batch = k.let_("batch", kernel::i32_div_u(row_block, row_blocks));
            row_block = k.let_("block_of_batch", kernel::i32_rem_u(row_block, row_blocks));
            p = this.batch_pointers(k, &p, batch);
        }
        let units = size(k, "units", units);
        let [u0, u1] = range(k, "unit", row_block, blocks.units_per_task, units);
        let full = this.panels.full();
        if full > 0 {
            let now = match this.sizes.panels {
                Some(now) => now,
                None => size(k, "panels", full),
            };
            let [p0, p1] = range(k, "panel", column_block, blocks.panels_per_task, now);
            k.for_("panel", p0, p1, 1, |k, panel| {
                let q = this.panel_pointers(k, &p, panel.into());
                this.rows(k, &q, u0.clone(), u1.clone(), this.schedule.vectors, 4);
            });
        }
        if this.panels.tail() > 0 {
            let tail = |k: &mut K| {
                let q = this.panel_pointers(k, &p, full.into());
                let columns = this.panels.tail();
                this.rows(k, &q, u0.clone(), u1.clone(), columns.div_ceil(4), (columns - 1) % 4 + 1);
            };
            if blocks.column_blocks == 1 {
                tail(k);
            } else {
                k.if_(kernel::i32_eq(column_block, blocks.column_blocks as i32 - 1), tail);
            }
        }
        (std::mem::replace(k, K::new("")).finish(), params)
    }

    /// Whether an element of A and B is a pair of 16-bit integers, whose products are summed as 32-bit ones.
    fn is_of_pairs(&self) -> bool {
        self.operands.a.dtype == DType::I16
    }

    /// How the columns of an operand lie in memory, and bytes from one vector of columns to the next.
    fn pattern(&self, operand: usize) -> (lanes::Pattern, u32) {
        let dtype = if operand == 1 { self.operands.output.dtype } else { self.operands.extras[operand - 2].dtype };
        tile::pattern(self.nest.column_stride(operand), dtype)
    }

    fn batch_pointers(&self, k: &mut K, p: &Pointers, batch: V<I32>) -> Pointers {
        let coordinates = nest::coordinates(k, self.nest.batch.iter().map(|a| a.extent), batch.get());
        if let Some(inside) = inside(&coordinates, &self.sizes.batch) {
            k.if_(kernel::i32_eqz(inside), |k| k.return_());
        }
        let at = p.at.iter().enumerate().map(|(i, base)| {
            let strides = self.nest.batch.iter().map(|axis| axis.at[i]);
            let e = nest::offset(&coordinates, strides, base.get());
            k.let_("batch_ptr", e)
        });
        let at = at.collect();
        // Equal panels follow each other; a batch axis that B does not have repeats them.
        let mut stride = self.panels.bytes() as i64;
        let mut strides = vec![0; self.nest.batch.len()];
        for (s, axis) in strides.iter_mut().zip(&self.nest.batch).rev() {
            if self.nest.in_place.is_some() {
                *s = 4 * axis.b;
            } else if axis.b != 0 {
                *s = stride;
                stride *= axis.extent as i64;
            }
        }
        let e = nest::offset(&coordinates, strides.into_iter(), p.b.get());
        Pointers { at, b: k.let_("batch_b", e) }
    }

    /// Moves the pointers of the operands that have columns to a panel.
    fn panel_pointers(&self, k: &mut K, p: &Pointers, panel: kernel::E<I32>) -> Pointers {
        let width = 4 * self.schedule.vectors as i64;
        let at = p.at.iter().enumerate().map(|(i, base)| match self.nest.column_stride(i) {
            0 => *base,
            s => k.let_("panel_ptr", *base + panel.clone() * (s * width) as i32),
        });
        let at = at.collect();
        let bytes = match self.nest.in_place {
            None => self.panels.depth as i64 * width * 4,
            Some(InPlace::Rows(_)) => width * 4,
            Some(InPlace::Columns(column)) => width * column,
        };
        Pointers { at, b: k.let_("panel_b", p.b + panel * bytes as i32) }
    }

    /// All tiles of row units `u0..u1` for one panel.
    fn rows(&self, k: &mut K, p: &Pointers, u0: kernel::E<I32>, u1: kernel::E<I32>, vectors: usize, last_lanes: usize) {
        if self.schedule.flat {
            // Units are tiles; a row's position is computed from its number.
            let (mut first_tile, mut first_row) = (0usize, 0usize);
            let last = self.schedule.runs.len() - 1;
            for (i, run) in self.schedule.runs.iter().enumerate() {
                let start = if i == 0 { u0.clone() } else { max(k, "tile_start", u0.clone(), first_tile) };
                let end = if i == last { u1.clone() } else { min(k, "tile_end", u1.clone(), first_tile + run.count).get() };
                let bias = first_row as i32 - (first_tile * run.rows) as i32;
                k.for_("tile", start, end, 1, |k, t| {
                    let row = k.let_("row", t * run.rows as i32 + bias);
                    Tile { writer: self, rows: run.rows, vectors, last_lanes }.flat(k, p, row);
                });
                first_tile += run.count;
                first_row += run.count * run.rows;
            }
            return;
        }
        let tiles = |k: &mut K, p: &Pointers| {
            if let Some(now) = self.sizes.inner_rows {
                // The last tile may run over into the room behind the rows.
                let rows = self.schedule.rows;
                let tile = Tile { writer: self, rows, vectors, last_lanes };
                return k.for_("row", 0, now, rows as u32, |k, row| tile.uniform(k, p, row.into()));
            }
            let mut first_row = 0usize;
            for run in &self.schedule.runs {
                let tile = Tile { writer: self, rows: run.rows, vectors, last_lanes };
                k.for_("row", first_row, first_row + run.count * run.rows, run.rows as u32, |k, row| tile.uniform(k, p, row.into()));
                first_row += run.count * run.rows;
            }
        };
        let unit_body = |k: &mut K, unit: kernel::E<I32>| {
            let outer = self.nest.outer();
            let coordinates = if outer.is_empty() { vec![] } else { nest::coordinates(k, outer.iter().map(|a| a.extent), unit) };
            let unit = |k: &mut K| {
                let p = self.unit_pointers(k, p, &coordinates);
                tiles(k, &p);
            };
            match inside(&coordinates, &self.sizes.outer) {
                Some(inside) => k.if_(inside, unit),
                None => unit(k),
            }
        };
        if self.nest.outer().is_empty() { unit_body(k, 0.into()) } else { k.for_("unit", u0, u1, 1, |k, u| unit_body(k, u.into())) }
    }

    fn unit_pointers(&self, k: &mut K, p: &Pointers, coordinates: &[kernel::E<I32>]) -> Pointers {
        let outer = self.nest.outer();
        if outer.is_empty() {
            return p.clone();
        }
        let at = p.at.iter().enumerate().map(|(i, base)| {
            let strides: Vec<i64> = outer.iter().map(|axis| axis.at[i]).collect();
            if strides.iter().all(|s| *s == 0) {
                return *base;
            }
            let e = nest::offset(coordinates, strides.into_iter(), base.get());
            k.let_("unit_ptr", e)
        });
        Pointers { at: at.collect(), b: p.b }
    }
}

/// A number that kernels which differ in it may share as a parameter.
fn size(k: &mut K, name: &str, value: usize) -> V<I32> {
    k.let_(name, kernel::E::from(value))
}

/// What a block does: `per` of `total` items.
fn range(k: &mut K, name: &str, block: V<I32>, per: usize, total: V<I32>) -> [kernel::E<I32>; 2] {
    let per = size(k, &format!("{name}s_per_task"), per);
    let start = k.let_(&format!("{name}_start"), block * per);
    [start.get(), min(k, &format!("{name}_end"), start + per, total).get()]
}

fn min(k: &mut K, name: &str, a: kernel::E<I32>, b: impl Into<kernel::E<I32>>) -> V<I32> {
    let (a, b) = (k.in_local(name, a), b.into());
    k.let_(name, kernel::select::<I32>(kernel::i32_lt_u(a, b.clone()), a, b))
}

fn max(k: &mut K, name: &str, a: kernel::E<I32>, b: usize) -> kernel::E<I32> {
    let a = k.in_local(name, a);
    k.let_(name, kernel::select::<I32>(kernel::i32_gt_u(a, b as i32), a, b as i32)).get()
}
