//! The lowering of a whole graph: one writer per algorithm, in the graph's order.

use crate::alias::Aliases;
use crate::cx::{Cx, NodeCx, Options, Product, Values};
use crate::free;
use crate::layout::{self, Halos};
use crate::once;
use crate::plan::{Plan, Port};
use crate::slots::{self, Slots};
use crate::state::{self, StateOf};
use crate::view::{Source, View};
use crate::{LowerError, memory, write};
use ir::ops::control::Measure;
use ir::{Algorithm, Bound, DType, Def, Dim, Graph, Node, NodeId, Op, Tensor, ValueId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Largest arena or weights in bytes.
const LIMIT: u64 = 1 << 31;

/// An error as soon as one tensor is larger than any memory.
fn fits(cx: &Cx) -> Result<(), LowerError> {
    cx.too_large.map_or(Ok(()), |bytes| Err(LowerError::TooLarge { what: "one tensor", bytes, limit: LIMIT }))
}

/// Lowers a verified graph whose symbols all have bounds. Reports every node that cannot be lowered.
pub fn lower(graph: &Graph, options: &Options) -> Result<Plan, Vec<LowerError>> {
    lower_with_products(graph, options).map(|(plan, _)| plan)
}

/// [`lower`] with other options than those of `plan`, whose weights it shares where they are equal.
pub fn lower_like(graph: &Graph, options: &Options, plan: &Plan) -> Result<Plan, Vec<LowerError>> {
    let mut cx = Cx::new(without_rounding(graph, options));
    cx.know(&plan.weights);
    lower_in(graph, options, cx).map(|(plan, _)| plan)
}

/// [`lower`], and which steps are matrix products or convolutions.
pub fn lower_with_products(graph: &Graph, options: &Options) -> Result<(Plan, Vec<Product>), Vec<LowerError>> {
    lower_in(graph, options, Cx::new(without_rounding(graph, options)))
}

fn lower_in(graph: &Graph, options: &Options, mut cx: Cx) -> Result<(Plan, Vec<Product>), Vec<LowerError>> {
    free::check(graph)?;
    cx.symbols.clone_from(&graph.symbols);
    let states = state::ports(graph, &options.states)?;
    let symbols = state::symbols_place(&mut cx, graph);
    if let Some(symbols) = &symbols {
        state::check_room(&mut cx, graph, &states, symbols).map_err(|error| vec![error])?;
    }
    let (mut inputs, mut ports) = (vec![], vec![]);
    for (i, id) in graph.inputs.iter().enumerate() {
        let value = graph.value(*id);
        if let Some(grows) = states.iter().find(|state| state.input == i && state.growth.is_some()) {
            let view = state::place(&mut cx, graph, grows);
            ports.push(view.clone());
            inputs.push(view);
            continue;
        }
        let extents = cx.extents(&value.ty.shape);
        let view = cx.tensor(&value.name, value.ty.dtype, &extents);
        fits(&cx).map_err(|error| vec![error])?;
        // Hosts see dense tensors.
        if view.is_dense() {
            ports.push(view.clone());
        } else {
            let dense = write::free::dense_place(&mut cx, &view, &format!("{} dense", value.name));
            write::free::copy(&mut cx, &dense, &view, false, &[]);
            ports.push(dense);
        }
        inputs.push(view);
    }
    let mut state = State::new(graph, cx, &inputs);
    for port in &states {
        // A run that fails leaves the state as it was: it is written at the end.
        state.last_use.insert(graph.inputs[port.input], usize::MAX);
        state.cx.keep(&inputs[port.input]);
    }
    state.states.clone_from(&states);
    state.nodes()?;
    let outputs = graph.outputs.iter().filter_map(|o| state.views.get(&o.value));
    let of_the_host: Vec<&View> = inputs.iter().chain(outputs).collect();
    once::hoist(&mut state.cx, &of_the_host);
    let products = std::mem::take(&mut state.cx.products);
    state.finish(&ports, symbols.as_ref()).map(|plan| (plan, products)).map_err(|e| vec![e])
}

/// Lowers a graph within a node: its inputs lie at `inputs`, of which it may overwrite those that it owns; where its outputs
/// lie. An output may be computed in its place among `targets`, which nothing reads before.
pub(crate) fn lower_block(
    cx: &mut Cx,
    graph: &Graph,
    inputs: &[View],
    owned: &[usize],
    targets: &[View],
) -> Result<Vec<View>, Vec<LowerError>> {
    let mut state = State::new(graph, std::mem::take(cx), inputs);
    for (_, input) in graph.inputs.iter().enumerate().filter(|(i, _)| !owned.contains(i)) {
        state.last_use.insert(*input, usize::MAX);
    }
    for (output, target) in graph.outputs.iter().zip(targets) {
        state.targets.entry(output.value).or_insert_with(|| target.clone());
    }
    let done = state.nodes();
    let outputs = graph.outputs.iter().map(|output| match (graph.constant(output.value), state.views.get(&output.value)) {
        (Some(tensor), _) => Ok(state.cx.constant(&output.name, tensor, &[])),
        (None, Some(view)) => Ok(view.clone()),
        (None, None) => Err(vec![LowerError::Bug { layer: output.name.clone(), what: "output was not computed".into() }]),
    });
    let outputs: Result<Vec<View>, _> = outputs.collect();
    *cx = state.cx;
    done.and(outputs)
}

/// What error messages call a node: its layers, or its operator.
pub fn layer_name(node: &Node) -> String {
    if node.origin.is_empty() { node.op.name().into() } else { node.origin.iter().map(|o| o.as_ref()).collect::<Vec<_>>().join(" + ") }
}

pub(crate) fn algorithm(graph: &Graph, node: &Node) -> Algorithm {
    let types: Vec<_> = node.inputs.iter().map(|v| graph.ty(*v)).collect();
    node.op.def().algorithm(&types, graph.ty(node.outputs[0]))
}

/// A quantised graph gives the same bits everywhere: it has relaxed dot products instead of fused multiply-adds.
fn without_rounding(graph: &Graph, options: &Options) -> Options {
    if has_byte_products(graph) { Options { relaxed: false, relaxed_dot: options.relaxed, ..options.clone() } } else { options.clone() }
}

fn has_byte_products(graph: &Graph) -> bool {
    graph.order().into_iter().any(|id| {
        let node = graph.node(id);
        let is_byte = node.inputs.first().is_some_and(|x| matches!(graph.ty(*x).dtype, DType::I8 | DType::U8));
        (is_byte && matches!(node.op, Op::Conv(_) | Op::MatMul(_))) || node.op.subgraphs().into_iter().any(|body| has_byte_products(body))
    })
}

/// Position in the order of the last node that uses each value; outputs are used at the end.
fn last_uses(graph: &Graph, order: &[NodeId]) -> HashMap<ValueId, usize> {
    let mut last = HashMap::new();
    for (at, id) in order.iter().enumerate() {
        last.extend(graph.node(*id).inputs.iter().map(|v| (*v, at)));
    }
    last.extend(graph.outputs.iter().map(|o| (o.value, usize::MAX)));
    last
}

struct State<'g> {
    graph: &'g Graph,
    cx: Cx,
    views: HashMap<ValueId, View>,
    last_use: HashMap<ValueId, usize>,
    halos: Halos,
    aliases: Aliases,
    slots: Slots,
    /// Results of concatenations some of whose operands are there already.
    joined: HashMap<ValueId, View>,
    winograd: HashSet<NodeId>,
    order: Vec<NodeId>,
    /// Where outputs of a graph within a node are wanted.
    targets: HashMap<ValueId, View>,
    /// What stays between runs.
    states: Vec<StateOf>,
}

impl<'g> State<'g> {
    fn new(graph: &'g Graph, cx: Cx, inputs: &[View]) -> State<'g> {
        let order = graph.order();
        let algorithms: HashMap<NodeId, Algorithm> = order.iter().map(|id| (*id, algorithm(graph, graph.node(*id)))).collect();
        let winograd = write::contract::winograd_nodes(graph, &order, &algorithms, &cx.options);
        let halos = layout::halos(graph, &order, &algorithms, &winograd);
        let aliases = Aliases::new(graph, &order, &algorithms, &halos, &winograd);
        let slots = slots::slots(graph, &cx.symbols, &order, &algorithms, &aliases);
        State {
            graph,
            cx,
            views: graph.inputs.iter().copied().zip(inputs.iter().cloned()).collect(),
            last_use: last_uses(graph, &order),
            slots,
            joined: HashMap::new(),
            aliases,
            halos,
            winograd,
            order,
            targets: HashMap::new(),
            states: vec![],
        }
    }

    /// Lowers every node; all problems.
    fn nodes(&mut self) -> Result<(), Vec<LowerError>> {
        let graph = self.graph;
        let mut errors = vec![];
        for (at, id) in self.order.clone().into_iter().enumerate() {
            if let Err(error) = fits(&self.cx) {
                if errors.is_empty() {
                    errors.push(error);
                }
                break;
            }
            let node = graph.node(id);
            let algorithm = free::rephrased(algorithm(graph, node));
            let done = match algorithm {
                Algorithm::Control => self.control(id),
                _ => self.node(at, id, &algorithm).map_err(|error| vec![error]),
            };
            if let Err(more) = done {
                errors.extend(more);
                // Later nodes still get a view, so that all problems are found at once.
                for output in &node.outputs {
                    let extents = self.cx.extents(&graph.ty(*output).shape);
                    let view = self.cx.tensor("", graph.ty(*output).dtype, &extents);
                    self.views.insert(*output, view);
                    // It has no margin.
                    self.halos.remove(output);
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// A node as its writer sees it, without outputs.
    fn node_cx(&self, id: NodeId) -> Result<NodeCx<'g>, LowerError> {
        let graph = self.graph;
        let node = graph.node(id);
        let nowhere = Source::Weight(crate::plan::WeightId(usize::MAX));
        let constants: Vec<_> = node.inputs.iter().map(|v| graph.constant(*v).cloned()).collect();
        let mut inputs: Vec<View> = vec![];
        for (i, (value, constant)) in node.inputs.iter().zip(&constants).enumerate() {
            let view = match (constant, self.views.get(value)) {
                (_, Some(view)) => view.clone(),
                // The view of a constant is made when a writer asks for it: most are packed instead.
                (Some(c), None) => View::dense(nowhere, c.dtype, &c.shape),
                (None, None) => return Err(LowerError::Bug { layer: layer_name(node), what: format!("input {i} was not computed") }),
            };
            inputs.push(view);
        }
        let output = node.outputs[0];
        Ok(NodeCx {
            inputs,
            constants,
            output: View::roomy(nowhere, graph.ty(output).dtype, &self.cx.extents(&graph.ty(output).shape)).0,
            outputs: vec![],
            origin: &node.origin,
            name: layer_name(node),
            winograd: self.winograd.contains(&id),
        })
    }

    /// The part of a concatenation behind it that a value is computed in, if there is one.
    fn slot_view(&mut self, value: ValueId, like: &View) -> Result<Option<View>, LowerError> {
        let Some(slot) = self.slots.get(&value).copied().filter(|slot| !self.targets.contains_key(&slot.whole)) else { return Ok(None) };
        let whole = match self.joined.get(&slot.whole) {
            Some(whole) => whole.clone(),
            None => {
                let graph = self.graph;
                let origin = graph.producer(slot.whole).map_or(&[][..], |id| &graph.node(id).origin);
                let extents = self.cx.extents(&graph.ty(slot.whole).shape);
                let sizes = View::roomy(like.source, like.dtype, &extents).0;
                let whole = match self.slot_view(slot.whole, &sizes)? {
                    Some(whole) => whole,
                    None => self.output_view(slot.whole, origin)?,
                };
                self.joined.insert(slot.whole, whole.clone());
                whole
            }
        };
        Ok(Some(slot.within(&whole, like)))
    }

    /// Where an output goes: where it is wanted or some of it is already, else to a buffer of its own.
    fn output_view(&mut self, value: ValueId, origin: &[std::sync::Arc<str>]) -> Result<View, LowerError> {
        match self.targets.get(&value).or(self.joined.get(&value)) {
            Some(target) => Ok(target.clone()),
            None => layout::output_view(&mut self.cx, self.graph, value, self.halos.get(&value), origin),
        }
    }

    /// A branch or a loop.
    fn control(&mut self, id: NodeId) -> Result<(), Vec<LowerError>> {
        let node = self.graph.node(id);
        let mut nx = self.node_cx(id).map_err(|error| vec![error])?;
        for output in &node.outputs {
            nx.outputs.push(self.output_view(*output, nx.origin).map_err(|error| vec![error])?);
        }
        crate::control::write(&mut self.cx, &nx, &node.op)?;
        self.views.extend(node.outputs.iter().copied().zip(nx.outputs));
        Ok(())
    }

    fn node(&mut self, at: usize, id: NodeId, algorithm: &Algorithm) -> Result<(), LowerError> {
        let graph = self.graph;
        let node = graph.node(id);
        let output = node.outputs[0];
        let mut nx = self.node_cx(id)?;
        if let Algorithm::Sizes(dims) = algorithm {
            let numbers: Option<Vec<i64>> = dims.iter().map(ir::Dim::as_const).collect();
            if let Some(numbers) = numbers {
                let tensor = Tensor::new(&[numbers.len()], &numbers);
                self.views.insert(output, self.cx.constant(&nx.name, &tensor, nx.origin));
                return Ok(());
            }
            let extents = nx.output.extents();
            let view = self.cx.tensor(&nx.name, nx.output.dtype, &extents);
            write::free::sizes(&mut self.cx, dims, &view, nx.origin);
            self.views.insert(output, view);
            return Ok(());
        }
        if let Algorithm::Measure(size) = algorithm {
            let view = nx.input(&mut self.cx, 0);
            self.measure(size, node, &nx, &view)?;
            self.views.insert(output, view);
            return Ok(());
        }
        if let Algorithm::View = algorithm {
            let input = nx.input(&mut self.cx, 0);
            if !input.free.is_empty() || !nx.output.free.is_empty() {
                let view = write::free::reshaped(&mut self.cx, &nx.name, &input, &nx.output.extents(), nx.origin);
                self.views.insert(output, view);
                return Ok(());
            }
            let mut view = View::dense(input.source, input.dtype, &nx.output.shape);
            if let Some(strided) = (!input.is_dense()).then(|| self.aliases.reshaped(&input, &nx.output.shape, output)).flatten() {
                view = strided;
            } else if !input.is_dense() {
                view = self.cx.temporary(&nx.name, input.dtype, &nx.output.shape);
                let same = View { shape: input.shape.clone(), ..View::dense(view.source, view.dtype, &input.shape) };
                write::shuffle::copy(&mut self.cx, &input, &same, nx.origin)?;
            }
            self.views.insert(output, view);
            return Ok(());
        }
        if let Some(view) = state::grown(&mut self.cx, graph, node, &nx, algorithm, &self.states)? {
            self.views.insert(output, view);
            return Ok(());
        }
        if let Some(view) = self.aliases.selected(algorithm, &nx, output) {
            self.views.insert(output, view);
            return Ok(());
        }
        // A check at run time, whose output is its first input.
        if let Algorithm::Routine(routine) = algorithm
            && routine.passes
        {
            let view = nx.input(&mut self.cx, 0);
            write::routine::write(&mut self.cx, &nx, routine)?;
            self.views.insert(output, view);
            return Ok(());
        }
        // Padded accesses need a margin around their operand: in place where the producer made one, else in a copy.
        for access in layout::padded_accesses(algorithm) {
            let fits = layout::has_margin(&self.halos, graph, node.inputs[access.operand], access, algorithm, nx.winograd);
            if !fits {
                let input = nx.input(&mut self.cx, access.operand);
                nx.inputs[access.operand] = layout::padded_copy(&mut self.cx, &input, access, algorithm, &nx)?;
                nx.constants[access.operand] = None;
            }
        }
        for access in layout::reaching_accesses(algorithm) {
            let input = &nx.inputs[access.operand];
            if !input.free.is_empty()
                && let Some(copy) = layout::free_padded_copy(&mut self.cx, &input.clone(), access, algorithm, &nx)
            {
                nx.inputs[access.operand] = copy;
            }
        }
        let dies =
            |v: &ValueId| self.last_use.get(v) == Some(&at) && !self.halos.contains_key(v) && !self.aliased(*v) && !self.is_reserved(*v);
        // An output with a margin needs a buffer of its own.
        let own = self.halos.contains_key(&output) || self.targets.contains_key(&output);
        let in_place = layout::in_place(algorithm, &nx, node, dies).filter(|_| !own);
        let stored = self.aliases.stored(&mut self.cx, &graph.value(output).name, nx.output.dtype, &nx.output.shape, output);
        let slot = if stored.is_none() { self.slot_view(output, &nx.output)? } else { None };
        nx.output = match (stored.or(slot), in_place) {
            (Some(view), _) => view,
            (None, Some(i)) => View { dtype: nx.output.dtype, ..nx.inputs[i].clone() },
            (None, None) => self.output_view(output, nx.origin)?,
        };
        nx.outputs.push(nx.output.clone());
        for value in &node.outputs[1..] {
            nx.outputs.push(self.output_view(*value, nx.origin)?);
        }
        // Writers count on addresses.
        fits(&self.cx)?;
        let (step, buffer) = (self.cx.steps.len(), self.cx.buffers.len());
        self.cx.method = None;
        match (&node.op, algorithm) {
            (Op::Concat(_), Algorithm::Shuffle(nest)) => write::shuffle::write_missing(&mut self.cx, &nx, nest)?,
            _ => write::write(&mut self.cx, &nx, algorithm)?,
        }
        if let Some(method) = self.cx.method.take() {
            self.cx.layer(method, nx.origin, step, buffer);
        }
        self.views.extend(node.outputs.iter().copied().zip(nx.outputs));
        Ok(())
    }

    /// True when a value lies where a later concatenation gathers its operands.
    fn is_reserved(&self, value: ValueId) -> bool {
        let source = self.views[&value].source;
        self.joined.iter().any(|(whole, view)| view.source == source && !self.views.contains_key(whole))
    }

    /// A number that becomes the value of a symbol.
    fn measure(&mut self, size: &Dim, node: &Node, nx: &NodeCx, number: &View) -> Result<(), LowerError> {
        let Op::Measure(Measure { checked, .. }) = node.op else { return Ok(()) };
        let extent = self.cx.extent(size);
        if checked {
            write::routine::check_at_most(&mut self.cx, nx, number, extent.most)?;
        }
        let symbols = node.op.defines();
        write::free::define(&mut self.cx, symbols, Values::Measured(number.clone()), &[], nx.origin);
        Ok(())
    }

    /// True when another live value, or a model input, shares the bytes of this one.
    fn aliased(&self, value: ValueId) -> bool {
        let source = self.views[&value].source;
        self.views.iter().any(|(other, view)| {
            *other != value && view.source == source && self.last_use.get(other).is_some_and(|at| *at >= self.last_use[&value])
        })
    }

    fn finish(mut self, ports: &[View], symbols: Option<&View>) -> Result<Plan, LowerError> {
        let graph = self.graph;
        let states = &std::mem::take(&mut self.states)[..];
        let mut outputs = vec![];
        for (i, output) in graph.outputs.iter().enumerate() {
            if states.iter().any(|state| state.output == i) {
                continue;
            }
            let view = match (&graph.value(output.value).def, self.views.get(&output.value)) {
                (Def::Const(tensor), _) => {
                    let from = self.cx.constant(&output.name, tensor, &[]);
                    let to = self.cx.temporary(&output.name, tensor.dtype, &tensor.shape);
                    write::shuffle::copy(&mut self.cx, &from, &to, &[])?;
                    to
                }
                (_, Some(view)) if matches!(view.source, Source::Buffer(_)) => view.clone(),
                (_, Some(view)) => {
                    let to = self.cx.temporary(&output.name, view.dtype, &view.shape);
                    write::shuffle::copy(&mut self.cx, view, &to, &[])?;
                    to
                }
                (_, None) => return Err(LowerError::Bug { layer: output.name.clone(), what: "output was not computed".into() }),
            };
            let view =
                if view.is_dense() || view.free.is_empty() { view } else { write::free::dense(&mut self.cx, &view, &output.name, &[]) };
            outputs.push(port(&output.name, &view)?);
        }
        let free = free::symbols(graph);
        let names: Vec<_> = free.iter().map(|(name, _)| name.clone()).collect();
        let kept = state::kept(&names, states).into_iter().map(|(at, _)| names[at].clone()).collect();
        let states = state::finish(&mut self.cx, graph, &self.views, states, symbols)?;
        let is_state = |name: &str| states.iter().any(|state| state.port.name == name);
        let inputs = graph.inputs.iter().map(|id| &graph.value(*id).name).zip(ports).filter(|(name, _)| !is_state(name));
        let inputs: Vec<Port> = inputs.map(|(name, view)| port(name, view)).collect::<Result<_, _>>()?;
        fits(&self.cx)?;
        let found = free::found(graph);
        let bound = |name: &Arc<str>| (name.clone(), self.cx.symbols.get(name).copied().unwrap_or(Bound { min: 0, max: Some(0) }));
        let free = free.into_iter().chain(found.iter().map(bound)).collect();
        let free = write::free::first_step(&mut self.cx, free, kept, found);
        let weights: u64 = self.cx.weights.iter().map(|w| w.bytes.len() as u64).sum();
        if weights > LIMIT {
            return Err(LowerError::TooLarge { what: "weights", bytes: weights, limit: LIMIT });
        }
        let mut plan = Plan {
            model: graph.name.clone(),
            kernels: self.cx.kernels,
            steps: self.cx.steps,
            layers: self.cx.layers,
            buffers: self.cx.buffers,
            weights: self.cx.weights,
            inputs,
            outputs,
            free,
            states,
            arena_bytes: 0,
            live_bytes: 0,
        };
        memory::set_lifetimes(&mut plan);
        memory::place(&mut plan)?;
        memory::check(&plan).map_err(|e| LowerError::Bug { layer: "memory".into(), what: e.to_string() })?;
        Ok(plan)
    }
}

pub(crate) fn port(name: &str, view: &View) -> Result<Port, LowerError> {
    let Source::Buffer(buffer) = view.source else {
        return Err(LowerError::Bug { layer: name.into(), what: "a port must be a buffer".into() });
    };
    if !view.is_dense() && view.free.is_empty() {
        return Err(LowerError::Bug { layer: name.into(), what: "a port must be dense".into() });
    }
    let shape = view.shape.iter().map(|d| *d as u64).collect();
    let bytes = (view.elements() * view.dtype.bytes()) as u32;
    Ok(Port { name: name.into(), dtype: view.dtype.name().into(), shape, sizes: free::spelled(view), buffer, offset: 0, bytes })
}
