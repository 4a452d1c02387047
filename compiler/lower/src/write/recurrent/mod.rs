//! Writes [`ir::algorithm::recurrent::Recurrent`]: one step of the plan per direction, whose tasks are the time steps.
//!
//! A task runs over the panels of each phase: a panel is a few units with all their gates, so that the sums of a tile
//! (batch rows × gates × vectors of units) stay in registers until the new states are stored. The state of the step
//! before is read where it was stored as output; other states live in the buffer of their last value.

mod cell;
mod pack;

use crate::LowerError;
use crate::cx::{Cx, NodeCx, new_kernel, pointer};
use crate::extent::SizeParams;
use crate::plan::{Arg, Method};
use crate::pointwise;
use crate::view::{Source, View};
use crate::write::shuffle;
use cell::{Cell, Pointers};
use ir::DType;
use ir::algorithm::recurrent::{self, Recurrent};
use kernel::K;
use pack::Panels;

/// Sums that a tile may keep in registers.
const SUMS: usize = 12;

/// How a phase is tiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Batch rows.
    pub rows: usize,
    /// Vectors of four units per gate in a full panel.
    pub vectors: usize,
}

impl Tile {
    /// One row reads each weight once whatever the tile: 8 sums hide the addition's latency. More rows share what is
    /// loaded of a panel.
    fn choose(gates: usize, hidden: usize, batch: usize) -> Tile {
        let rows = batch.clamp(1, if gates == 3 { 4 } else { 3 });
        let sums = if rows == 1 && gates != 3 { 8 } else { SUMS };
        let vectors = (sums / (rows * gates)).max(1);
        Tile { rows, vectors: vectors.min(hidden.div_ceil(4)) }
    }
}

pub fn write(cx: &mut Cx, nx: &NodeCx, r: &Recurrent) -> Result<(), LowerError> {
    let unsupported = |what: String| Err(LowerError::Unsupported { layer: nx.name.clone(), what });
    if nx.output.dtype != DType::F32 {
        return unsupported(format!("a recurrence of {} elements", nx.output.dtype));
    }
    cx.method = Some(Method::Recurrent);
    for phase in &r.phases {
        let types = vec![DType::F32; phase.args.len()];
        for body in &phase.bodies {
            if let Err(what) = pointwise::supported(body, &types) {
                return unsupported(what);
            }
        }
    }
    let size = |d: &ir::Dim| d.as_const().expect("bound size") as usize;
    let sizes = Sizes {
        steps: cx.extent(&r.steps).most,
        batch: size(&r.batch),
        hidden: size(&r.hidden),
        directions: r.backwards.len(),
        gates: r.gates,
    };
    let mut operands: Vec<View> = vec![];
    for i in 0..nx.inputs.len() {
        // The weights are packed.
        operands.push(if i == r.weights { nx.inputs[i].clone() } else { dense(cx, nx, i)? });
    }
    if sizes.batch * sizes.hidden == 0 {
        return Ok(());
    }
    if sizes.steps == 0 {
        for (last, state) in nx.outputs[1..].iter().zip(&r.states) {
            match r.lengths {
                // No element has steps: all states are 0.
                Some(_) => super::fill::fill(cx, last.extents(), super::nest::Walk::of(last), ir::pointwise::Literal::Int(0), nx.origin),
                None => shuffle::copy(cx, &operands[*state], last, nx.origin)?,
            }
        }
        return Ok(());
    }
    // Rows of an output with a margin are not a constant stride apart.
    let outputs: Vec<View> =
        nx.outputs.iter().map(|v| if v.is_dense() { v.clone() } else { cx.temporary(&nx.name, DType::F32, &v.shape) }).collect();
    for d in 0..sizes.directions {
        direction(cx, nx, r, &sizes, &operands, &outputs, d)?;
    }
    for (from, to) in outputs.iter().zip(&nx.outputs).filter(|(from, to)| from != to) {
        shuffle::copy(cx, from, to, nx.origin)?;
    }
    Ok(())
}

/// Sizes of the recurrence as numbers; the steps are the most that there may be.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub steps: usize,
    pub batch: usize,
    pub hidden: usize,
    pub directions: usize,
    pub gates: usize,
}

/// Input `i` row-major without gaps.
fn dense(cx: &mut Cx, nx: &NodeCx, i: usize) -> Result<View, LowerError> {
    let view = nx.input(cx, i);
    if view.is_dense() {
        return Ok(view);
    }
    let copy = cx.temporary(&nx.name, view.dtype, &view.shape);
    shuffle::copy(cx, &view, &copy, nx.origin)?;
    Ok(copy)
}

/// One direction: packs its weights and adds its step.
fn direction(
    cx: &mut Cx,
    nx: &NodeCx,
    r: &Recurrent,
    sizes: &Sizes,
    operands: &[View],
    outputs: &[View],
    d: usize,
) -> Result<(), LowerError> {
    let Sizes { steps, batch, hidden, directions, gates } = *sizes;
    let rows = if r.lengths.is_some() { 1 } else { batch };
    let phases: Vec<Panels> = r
        .phases
        .iter()
        .map(|phase| {
            let products = phase.products();
            let tile = Tile::choose(products.len(), hidden, rows);
            Panels { hidden, gates: products, tile }
        })
        .collect();
    let mut packed = vec![];
    for panels in &phases {
        let first = (d * gates * hidden * hidden) as i64;
        packed.push(match &nx.constants[r.weights] {
            Some(tensor) => {
                let id = cx.weight(&nx.name, panels.constant(&tensor.as_slice::<f32>()[first as usize..]), nx.origin);
                View::dense(Source::Weight(id), DType::F32, &[0])
            }
            None => panels.at_run_time(cx, nx, &operands[r.weights], first)?,
        });
    }
    let n_results = r.phases.iter().map(|p| p.bodies.len()).sum();
    // Results that a later phase needs go through memory.
    let scratch: Vec<Option<View>> = (0..n_results)
        .map(|result| {
            let defined = (0..r.phases.len()).rfind(|p| r.first_result(*p) <= result).unwrap_or(0);
            let needed = r.phases[defined + 1..]
                .iter()
                .any(|p| p.source == recurrent::Source::Result(result) || p.args.contains(&recurrent::Arg::Result(result)));
            needed.then(|| cx.temporary(&nx.name, DType::F32, &[batch, hidden]))
        })
        .collect();

    let state_at = (d * batch * hidden) as i64;
    let name = format!(
        "recurrent_f32_g{gates}h{hidden}{}_{}",
        if r.backwards[d] { "_backwards" } else { "" },
        if cx.options.relaxed { "relaxed" } else { "simd" }
    );
    let mut k = new_kernel(name, &cx.options);
    let mut args: Vec<Arg> = vec![];
    let mut take = |k: &mut K, name: &str, view: &View, at: i64| {
        args.push(view.arg_at(view.offset + at));
        pointer(k, name, view)
    };
    let mut pointers = Pointers {
        inputs: take(&mut k, "inputs", &operands[r.inputs], (d * gates * hidden) as i64),
        weights: packed.iter().map(|v| take(&mut k, "weights", v, 0)).collect(),
        initial: r.states.iter().map(|s| take(&mut k, "initial", &operands[*s], state_at)).collect(),
        vectors: r
            .vectors
            .iter()
            .map(|v| {
                let per_direction = operands[v.operand].elements() / directions;
                take(&mut k, "vector", &operands[v.operand], (d * per_direction + v.part * hidden) as i64)
            })
            .collect(),
        lengths: r.lengths.map(|l| take(&mut k, "lengths", &operands[l], 0)),
        y: take(&mut k, "y", &outputs[0], state_at),
        finals: outputs[1..].iter().map(|v| take(&mut k, "final", v, state_at)).collect(),
        scratch: scratch.iter().map(|v| v.as_ref().map(|v| take(&mut k, "scratch", v, 0))).collect(),
        steps: steps.into(),
    };
    let mut params = SizeParams::default();
    pointers.steps = params.size(&mut k, &cx.extent(&r.steps));
    args.extend(params.dims().map(|dim| cx.size(dim)));
    Cell { r, sizes: *sizes, backwards: r.backwards[d], phases: &phases, pointers }.write(&mut k);
    let macs = (steps * batch * gates * hidden * hidden) as u64;
    let writes: Vec<&View> = outputs.iter().chain(scratch.iter().flatten()).collect();
    cx.sequential_step(k.finish(), args, steps as u32, macs, nx.origin, &writes);
    Ok(())
}
