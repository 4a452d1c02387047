//! State: outputs that become inputs of the next run. Their buffers persist; the last steps of a run write them, so that a
//! run that fails leaves them as they were.
//!
//! A state may grow along one axis: a key-value cache is `past` → `concat(past, new)`. Its buffer is laid out at the bound of
//! that axis, and the module keeps the value of the axis's symbol between runs. The concatenation stores what is new behind what
//! is there: what a run that fails has stored, nobody counts.

use crate::LowerError;
use crate::control::assign;
use crate::cx::{Cx, NodeCx};
use crate::driver::port;
use crate::extent::{Extent, SizeParams};
use crate::plan::StatePort;
use crate::view::View;
use crate::write::{routine, shuffle};
use ir::algorithm::Shuffle;
use ir::algorithm::routine::Routine;
use ir::{Algorithm, DType, Dim, Graph, Node, Op, Symbols, Tensor, TensorType, ValueId};
use kernel::K;
use std::collections::HashMap;
use std::sync::Arc;

/// Numbers of the input and the output that are one state.
#[derive(Debug, Clone, PartialEq)]
pub struct StateOf {
    pub input: usize,
    pub output: usize,
    pub growth: Option<Growth>,
}

/// How a state grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    pub axis: usize,
    /// The size before a run, and after it.
    pub symbol: Arc<str>,
    pub next: Dim,
}

/// The ports that the named pairs (output, input) mean; every pair that means none.
pub fn ports(graph: &Graph, states: &[(String, String)]) -> Result<Vec<StateOf>, Vec<LowerError>> {
    let mut found: Vec<StateOf> = vec![];
    let mut errors = vec![];
    for (output, input) in states {
        let mut fail = |what: String| errors.push(LowerError::State { output: output.clone(), input: input.clone(), what });
        let inputs: Vec<&str> = graph.inputs.iter().map(|id| &graph.value(*id).name[..]).collect();
        let outputs: Vec<&str> = graph.outputs.iter().map(|o| &o.name[..]).collect();
        let place = |names: &[&str], name: &str| names.iter().position(|n| *n == name);
        let (i, o) = match (place(&inputs, input), place(&outputs, output)) {
            (None, _) => {
                fail(format!("the model has no input `{input}`; it has: {}", inputs.join(", ")));
                continue;
            }
            (_, None) => {
                fail(format!("the model has no output `{output}`; it has: {}", outputs.join(", ")));
                continue;
            }
            (Some(i), Some(o)) => (i, o),
        };
        let growth = match growth(graph.ty(graph.outputs[o].value), graph.ty(graph.inputs[i])) {
            Ok(growth) => growth,
            Err(what) => {
                fail(what);
                continue;
            }
        };
        let differs = |other: &Growth| growth.as_ref().is_some_and(|own| own.symbol == other.symbol && own.next != other.next);
        if found.iter().any(|other| other.input == i || other.output == o) {
            fail("one of them belongs to another state".into());
        } else if let Some(other) = found.iter().filter_map(|other| other.growth.as_ref()).find(|other| differs(other)) {
            fail(format!("another state makes `{}` {}", other.symbol, other.next));
        } else {
            found.push(StateOf { input: i, output: o, growth });
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// How an input of type `to` becomes what the output is: not at all, or along one axis.
fn growth(from: &TensorType, to: &TensorType) -> Result<Option<Growth>, String> {
    let differ = || format!("the output is {from}, the input {to}");
    if from.dtype != to.dtype || from.rank() != to.rank() {
        return Err(differ());
    }
    let mut growth = None;
    for (axis, (next, size)) in from.shape.iter().zip(&to.shape).enumerate() {
        match size.as_symbol() {
            None if next == size && size.is_const() => {}
            Some(symbol) if growth.is_none() && next != size => growth = Some(Growth { axis, symbol, next: next.clone() }),
            Some(symbol) if next == size => return Err(format!("its size `{symbol}` is free; bind it, e.g. --dim {symbol}=1")),
            _ => return Err(differ()),
        }
    }
    Ok(growth)
}

/// Where a growing state lies: as if it always had its largest size, which is that after a run.
pub fn place(cx: &mut Cx, graph: &Graph, state: &StateOf) -> View {
    let input = graph.value(graph.inputs[state.input]);
    let extents = largest(graph, state, &cx.symbols);
    let before = cx.extents(&input.ty.shape);
    let whole = cx.tensor(&input.name, input.ty.dtype, &extents);
    with_extents(&whole, &before)
}

/// The sizes after a run, or before it where those have the larger bound.
fn largest(graph: &Graph, state: &StateOf, symbols: &Symbols) -> Vec<Extent> {
    let (from, to) = (graph.ty(graph.outputs[state.output].value), graph.ty(graph.inputs[state.input]));
    let both = from.shape.iter().zip(&to.shape).map(|(next, size)| (Extent::of(next, symbols), Extent::of(size, symbols)));
    both.map(|(next, size)| Extent { most: next.most.max(size.most), free: size.free }).collect()
}

/// The same place with other sizes, which fit.
fn with_extents(view: &View, extents: &[Extent]) -> View {
    let free = extents.iter().enumerate().filter_map(|(d, e)| Some((d, e.free.clone()?))).collect();
    View { shape: extents.iter().map(|e| e.most).collect(), free, ..view.clone() }
}

/// A concatenation of a growing state and what is new, whose result is the state afterwards: only what is new is written, behind
/// what is there. Where the result is.
pub fn grown(
    cx: &mut Cx,
    graph: &Graph,
    node: &Node,
    nx: &NodeCx,
    algorithm: &Algorithm,
    states: &[StateOf],
) -> Result<Option<View>, LowerError> {
    let (Op::Concat(concat), Algorithm::Shuffle(nest)) = (&node.op, algorithm) else { return Ok(None) };
    let same = |s: &&StateOf| graph.inputs[s.input] == node.inputs[0] && graph.outputs[s.output].value == node.outputs[0];
    let Some(state) = states.iter().find(same) else { return Ok(None) };
    if state.growth.as_ref().is_none_or(|growth| growth.axis as i64 != concat.axis) {
        return Ok(None);
    }
    let output = with_extents(&nx.inputs[0], &nx.output.extents());
    let new = Shuffle { pieces: nest.pieces[1..].to_vec() };
    let pieces = NodeCx {
        inputs: nx.inputs.clone(),
        constants: nx.constants.clone(),
        output: output.clone(),
        outputs: vec![output.clone()],
        origin: nx.origin,
        name: nx.name.clone(),
        winograd: false,
    };
    shuffle::write(cx, &pieces, &new)?;
    Ok(Some(output))
}

/// Refuses to run when a growing state is larger than its input may be.
pub fn check_room(cx: &mut Cx, graph: &Graph, states: &[StateOf], symbols: &View) -> Result<(), LowerError> {
    for (at, growth) in kept(&free_symbols(graph), states) {
        let Some(most) = cx.symbols.get(&growth.symbol).and_then(|bound| bound.max) else { continue };
        let name: Vec<Arc<str>> = vec![format!("states of size {}", growth.symbol).into()];
        let word = View { offset: at as i64, ..View::dense(symbols.source, DType::I32, &[]) };
        let size = cx.temporary(&name[0], DType::I32, &[]);
        shuffle::copy(cx, &word, &size, &name)?;
        let more = cx.constant("more", &Tensor::from_bytes(DType::Bool, &[], &[1]).expect("one byte"), &[]);
        let check = NodeCx {
            inputs: vec![size.clone(), size.clone(), more],
            constants: vec![None; 3],
            output: size,
            outputs: vec![],
            origin: &name,
            name: name[0].to_string(),
            winograd: false,
        };
        routine::write(cx, &check, &Routine { name: "check_trips", ints: vec![most + 1], floats: vec![], passes: true })?;
    }
    Ok(())
}

fn free_symbols(graph: &Graph) -> Vec<Arc<str>> {
    crate::free::symbols(graph).into_iter().map(|(name, _)| name).collect()
}

/// The symbols that growing states keep, each once: its number and how it grows.
pub fn kept<'s>(symbols: &[Arc<str>], states: &'s [StateOf]) -> Vec<(usize, &'s Growth)> {
    let of = |(at, name): (usize, &Arc<str>)| Some((at, states.iter().filter_map(|s| s.growth.as_ref()).find(|g| g.symbol == *name)?));
    symbols.iter().enumerate().filter_map(of).collect()
}

/// Writes the new states over the old ones, all at once, and the new sizes of those that grow.
pub fn finish(
    cx: &mut Cx,
    graph: &Graph,
    views: &HashMap<ValueId, View>,
    states: &[StateOf],
    symbols: Option<&View>,
) -> Result<Vec<StatePort>, LowerError> {
    let (mut from, mut to, mut ports) = (vec![], vec![], vec![]);
    for state in states {
        let output = &graph.outputs[state.output];
        let result = match (graph.constant(output.value), views.get(&output.value)) {
            (Some(tensor), _) => cx.constant(&output.name, tensor, &[]),
            (None, Some(view)) => view.clone(),
            (None, None) => return Err(LowerError::Bug { layer: output.name.clone(), what: "output was not computed".into() }),
        };
        let input = graph.inputs[state.input];
        let name = &graph.value(input).name;
        let place = &views[&input];
        let after = with_extents(place, &result.extents());
        if after != result {
            from.push(result);
            to.push(after);
        }
        let port = match state.growth {
            None => port(name, place)?,
            Some(_) => {
                let most: Vec<usize> = largest(graph, state, &cx.symbols).iter().map(|e| e.most).collect();
                port(name, &View { shape: most, ..place.clone() })?
            }
        };
        let strides = state.growth.as_ref().map(|_| place.strides.iter().map(|s| *s as u64).collect());
        ports.push(StatePort { port, output: output.name.clone(), strides });
    }
    assign(cx, "state", &["state".into()], &from, &to)?;
    if let Some(symbols) = symbols {
        advance(cx, &kept(&free_symbols(graph), states), symbols);
    }
    Ok(ports)
}

/// The step that writes the sizes which growing states have after the run.
fn advance(cx: &mut Cx, kept: &[(usize, &Growth)], symbols: &View) {
    if kept.is_empty() {
        return;
    }
    let mut k = K::new(format!("grow_{}", kept.len()));
    let at = k.arena("symbols");
    let mut params = SizeParams::default();
    for (number, growth) in kept {
        let size = params.size(&mut k, &cx.extent(&growth.next)).get();
        k.store(at, 4 * *number as u32, size);
    }
    let mut args = vec![symbols.arg_at(0)];
    args.extend(params.dims().map(|dim| cx.size(dim)));
    cx.step(k.finish(), args, 1, 0, &["state".into()], &[symbols], &[symbols]);
}

/// Makes a place for the values of the free sizes, if there are any: first those that hosts choose.
pub fn symbols_place(cx: &mut Cx, graph: &Graph) -> Option<View> {
    cx.symbol_names = free_symbols(graph).into_iter().chain(crate::free::found(graph)).collect();
    let n = cx.symbol_names.len();
    cx.symbols_at = (n > 0).then(|| cx.persistent("symbols", 4 * n));
    cx.symbols_at.clone()
}
