//! Branches and loops: the nodes of their graphs become steps in the same list, under *branches* that go on elsewhere when
//! a flag says so. What a body computes is lowered like everything else.
//!
//! ```text
//!   branch to A unless condition          counter = 0; keep = …
//!   then …; results                       branch to B unless keep
//!   branch to B if condition           A: body …; stacked results
//! A: otherwise …; results                 counter += 1; keep = …; carried = …
//! B:                                      branch to A if keep
//!                                      B:
//! ```

use crate::LowerError;
use crate::cx::{Cx, NodeCx, Values, pointer};
use crate::driver::lower_block;
use crate::plan::Branch;
use crate::view::{Source, View};
use crate::write::{self, routine, shuffle};
use ir::algorithm::routine::Routine;
use ir::ops::control::{If, Loop};
use ir::{DType, Op};
use kernel::{I32, I64, K, i32_load8_u, i32_mul, i64_add, i64_lt_s, load};
use std::sync::Arc;

/// Writes a node that holds graphs; `nx.outputs` are buffers of their own.
pub fn write(cx: &mut Cx, nx: &NodeCx, op: &Op) -> Result<(), Vec<LowerError>> {
    match op {
        Op::If(op) => branch(cx, nx, op),
        Op::Loop(op) => repeat(cx, nx, op),
        _ => Err(vec![LowerError::Bug { layer: nx.name.clone(), what: "control flow without a graph".into() }]),
    }
}

fn branch(cx: &mut Cx, nx: &NodeCx, op: &If) -> Result<(), Vec<LowerError>> {
    let condition = in_arena(cx, nx, 0)?;
    let captured: Vec<View> = (1..nx.inputs.len()).map(|i| nx.input(cx, i)).collect();
    let (sizes, differing) = (Op::If(op.clone()).defines(), op.differing());
    let mut errors = vec![];
    let mut ways = vec![];
    for (graph, taken) in [(&op.then, true), (&op.otherwise, false)] {
        let skip = jump(cx, nx, &condition, !taken);
        // What the results' sizes are is known after them.
        let targets: &[View] = if sizes.is_empty() { &nx.outputs } else { &[] };
        match lower_block(cx, graph, &captured, &[], targets) {
            Ok(results) => {
                if !sizes.is_empty() {
                    let dims = differing.iter().map(|(i, d)| graph.ty(graph.outputs[*i].value).shape[*d].clone()).collect();
                    write::free::define(cx, sizes.clone(), Values::Sizes(dims), &nx.outputs, nx.origin);
                }
                assign(cx, &nx.name, nx.origin, &results, &nx.outputs).unwrap_or_else(|e| errors.push(e))
            }
            Err(more) => errors.extend(more),
        }
        ways.push(skip);
    }
    // The second jump ends the first graph: the condition has not changed.
    let end = cx.steps.len();
    land(cx, ways[0], ways[1] + 1);
    land(cx, ways[1], end);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn repeat(cx: &mut Cx, nx: &NodeCx, op: &Loop) -> Result<(), Vec<LowerError>> {
    let one = |error: LowerError| vec![error];
    let n_carried = op.carried as usize;
    let (carried, stacks) = nx.outputs.split_at(n_carried);
    let trips = nx.input(cx, 0);
    let given = nx.input(cx, 1);
    let counter = cx.temporary(&format!("{} counter", nx.name), DType::I64, &[]);
    let keep = cx.temporary(&format!("{} keep", nx.name), DType::Bool, &[]);
    for (i, to) in carried.iter().enumerate() {
        let from = nx.input(cx, 2 + i);
        shuffle::copy(cx, &from, to, nx.origin).map_err(one)?;
    }
    count(cx, nx, &counter, &trips, &given, &keep, true);
    check_count(cx, nx, op, &counter, &keep, stacks).map_err(one)?;
    let guard = jump(cx, nx, &keep, false);
    let start = cx.steps.len();
    let captured = (2 + n_carried..nx.inputs.len()).map(|i| nx.input(cx, i)).collect::<Vec<_>>();
    let inputs: Vec<View> = [counter.clone()].into_iter().chain(carried.iter().cloned()).chain(captured).collect();
    let owned: Vec<usize> = (1..=n_carried).collect();
    let mut results = lower_block(cx, &op.body, &inputs, &owned, &[])?;
    for (from, stack) in results[1 + n_carried..].iter().zip(stacks) {
        push(cx, nx, from, stack, &counter).map_err(one)?;
    }
    for result in results[1..].iter_mut().filter(|result| result.source == counter.source) {
        let number = cx.temporary(&format!("{} number", nx.name), result.dtype, &result.shape);
        shuffle::copy(cx, result, &number, nx.origin).map_err(one)?;
        *result = number;
    }
    // The condition first: it may share a carried value's bytes.
    count(cx, nx, &counter, &trips, &results[0], &keep, false);
    assign(cx, &nx.name, nx.origin, &results[1..=n_carried], carried).map_err(one)?;
    check_count(cx, nx, op, &counter, &keep, &[]).map_err(one)?;
    let back = jump(cx, nx, &keep, true);
    land(cx, back, start);
    let end = cx.steps.len();
    land(cx, guard, end);
    Ok(())
}

/// The view of an input that a branch can look at: a copy of what lies among the weights.
fn in_arena(cx: &mut Cx, nx: &NodeCx, i: usize) -> Result<View, Vec<LowerError>> {
    let view = nx.input(cx, i);
    if matches!(view.source, Source::Buffer(_)) {
        return Ok(view);
    }
    let copy = cx.temporary(&format!("{} flag", nx.name), view.dtype, &view.shape);
    shuffle::copy(cx, &view, &copy, nx.origin).map_err(|error| vec![error])?;
    Ok(copy)
}

/// A step that computes nothing and goes on elsewhere when the flag is as said; where to, [`land`] tells. Its number.
fn jump(cx: &mut Cx, nx: &NodeCx, flag: &View, when: bool) -> usize {
    let mut k = K::new("branch");
    pointer(&mut k, "flag", flag);
    cx.step(k.finish(), vec![flag.arg_at(flag.offset)], 0, 0, nx.origin, &[], &[]);
    let number = cx.steps.len() - 1;
    cx.steps[number].branch = Some(Branch { when, target: number + 1 });
    number
}

fn land(cx: &mut Cx, jump: usize, target: usize) {
    cx.steps[jump].branch.as_mut().expect("made by `jump`").target = target;
}

/// All of `to` become `from` at once: what one assignment overwrites, no later one reads.
pub fn assign(cx: &mut Cx, name: &str, origin: &[Arc<str>], from: &[View], to: &[View]) -> Result<(), LowerError> {
    let mut from = from.to_vec();
    for (i, view) in from.iter_mut().enumerate() {
        if to.iter().enumerate().any(|(j, other)| j != i && other.source == view.source) {
            let copy = cx.tensor(&format!("{} moved", name), view.dtype, &view.extents());
            shuffle::copy(cx, view, &copy, origin)?;
            *view = copy;
        }
    }
    for (from, to) in from.iter().zip(to) {
        if from == to {
            continue;
        }
        if from.source == to.source {
            let copy = cx.tensor(&format!("{} moved", name), from.dtype, &from.extents());
            shuffle::copy(cx, from, &copy, origin)?;
            shuffle::copy(cx, &copy, to, origin)?;
        } else {
            shuffle::copy(cx, from, to, origin)?;
        }
    }
    Ok(())
}

/// `counter = 0` or `counter += 1`, then `keep = condition and counter < trips`.
fn count(cx: &mut Cx, nx: &NodeCx, counter: &View, trips: &View, condition: &View, keep: &View, first: bool) {
    let mut k = K::new(if first { "loop_start" } else { "loop_next" });
    let at = pointer(&mut k, "counter", counter);
    let trips_at = pointer(&mut k, "trips", trips);
    let condition_at = pointer(&mut k, "condition", condition);
    let keep_at = pointer(&mut k, "keep", keep);
    let number = match first {
        true => k.let_::<I64>("number", 0i64),
        false => k.let_("number", i64_add(load::<I64>(at, 0), 1i64)),
    };
    k.store(at, 0, number);
    let more = k.let_("more", i64_lt_s(number, load::<I64>(trips_at, 0)));
    k.store8(keep_at, 0, i32_mul(more, i32_load8_u(condition_at, 0)));
    let args = [counter, trips, condition, keep].map(|view| view.arg_at(view.offset)).to_vec();
    let read: Vec<&View> = if first { vec![] } else { vec![counter] };
    cx.step(k.finish(), args, 1, 0, nx.origin, &[counter, keep], &read);
}

/// Fails when the loop ends too early or goes on for too long for its stacks. What it writes is where they begin to live:
/// the iterations fill them.
fn check_count(cx: &mut Cx, nx: &NodeCx, op: &Loop, counter: &View, keep: &View, stacks: &[View]) -> Result<(), LowerError> {
    let [capacity] = &op.capacity[..] else { return Ok(()) };
    let Some(capacity) = capacity.as_const() else {
        let symbol = capacity.symbols().first().map(ToString::to_string).unwrap_or_default();
        return Err(LowerError::FreeSize { layer: nx.name.clone(), dim: capacity.to_string(), symbol });
    };
    let check = NodeCx {
        inputs: vec![counter.clone(), counter.clone(), keep.clone()],
        constants: vec![None; 3],
        output: counter.clone(),
        outputs: vec![],
        origin: nx.origin,
        name: nx.name.clone(),
        winograd: false,
    };
    routine::write(cx, &check, &Routine { name: "check_trips", ints: vec![capacity], floats: vec![], passes: true })?;
    let writes = &mut cx.steps.last_mut().expect("added above").writes;
    writes.extend(stacks.iter().filter_map(|stack| match stack.source {
        Source::Buffer(buffer) => Some(buffer),
        Source::Weight(_) => None,
    }));
    Ok(())
}

/// `stack[counter] = from`
fn push(cx: &mut Cx, nx: &NodeCx, from: &View, stack: &View, counter: &View) -> Result<(), LowerError> {
    let bytes = from.elements() * from.dtype.bytes();
    if bytes == 0 {
        return Ok(());
    }
    let from = if from.is_dense() {
        from.clone()
    } else {
        let copy = cx.temporary(&format!("{} dense", nx.name), from.dtype, &from.shape);
        shuffle::copy(cx, from, &copy, nx.origin)?;
        copy
    };
    let mut k = K::new(format!("push_{bytes}"));
    let source = pointer(&mut k, "x", &from);
    let to = pointer(&mut k, "stack", stack);
    let at = pointer(&mut k, "counter", counter);
    let place = k.let_::<I32>("place", to + i32_mul(kernel::i32_wrap_i64(load::<I64>(at, 0)), bytes as i32));
    k.copy(place, source, bytes as i32);
    let args = vec![from.arg_at(from.offset), stack.arg_at(0), counter.arg_at(0)];
    // The other elements stay as they are.
    cx.step(k.finish(), args, 1, 0, nx.origin, &[stack], &[stack]);
    Ok(())
}
