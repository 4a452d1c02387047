//! The lowering of a whole graph: one writer per algorithm, in the graph's order.

use crate::cx::{Cx, NodeCx, Options};
use crate::layout::{self, Halos};
use crate::plan::{Plan, Port};
use crate::view::{Source, View};
use crate::{LowerError, memory, write};
use ir::{Algorithm, Def, Graph, Node, NodeId, Tensor, ValueId};
use std::collections::{HashMap, HashSet};

/// Largest arena or weights in bytes.
const LIMIT: u64 = 1 << 31;

/// Lowers a verified graph whose symbols are all bound. Reports every node that cannot be lowered.
pub fn lower(graph: &Graph, options: &Options) -> Result<Plan, Vec<LowerError>> {
    let order = graph.order();
    free_sizes(graph, &order)?;
    let algorithms: HashMap<NodeId, Algorithm> = order.iter().map(|id| (*id, algorithm(graph, graph.node(*id)))).collect();
    let winograd = write::contract::winograd_nodes(graph, &order, &algorithms, options);
    let halos = layout::halos(graph, &order, &algorithms, &winograd);
    let mut state =
        State { graph, cx: Cx::new(options.clone()), views: HashMap::new(), last_use: last_uses(graph, &order), halos, winograd };
    for id in &graph.inputs {
        let value = graph.value(*id);
        let view = state.cx.temporary(&value.name, value.ty.dtype, &shape(graph, *id));
        state.views.insert(*id, view);
    }
    let mut errors = vec![];
    for (at, id) in order.iter().enumerate() {
        if let Err(error) = state.node(at, *id, &algorithms[id]) {
            errors.push(error);
            // Later nodes still get a view, so that all problems are found at once.
            for output in &graph.node(*id).outputs {
                let view = state.cx.temporary("", graph.ty(*output).dtype, &shape(graph, *output));
                state.views.insert(*output, view);
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    state.finish().map_err(|e| vec![e])
}

/// What error messages call a node: its layers, or its operator.
pub fn layer_name(node: &Node) -> String {
    if node.origin.is_empty() { node.op.name().into() } else { node.origin.iter().map(|o| o.as_ref()).collect::<Vec<_>>().join(" + ") }
}

fn algorithm(graph: &Graph, node: &Node) -> Algorithm {
    let types: Vec<_> = node.inputs.iter().map(|v| graph.ty(*v)).collect();
    node.op.def().algorithm(&types, graph.ty(node.outputs[0]))
}

fn shape(graph: &Graph, id: ValueId) -> Vec<usize> {
    graph.ty(id).const_shape().expect("sizes are bound")
}

/// Every free size, by layer.
fn free_sizes(graph: &Graph, order: &[NodeId]) -> Result<(), Vec<LowerError>> {
    let mut errors = vec![];
    let mut check = |layer: String, id: ValueId| {
        if let Some(dim) = graph.ty(id).shape.iter().find(|d| !d.is_const()) {
            let symbol = dim.symbols().first().map(ToString::to_string).unwrap_or_default();
            errors.push(LowerError::FreeSize { layer, dim: dim.to_string(), symbol });
        }
    };
    graph.inputs.iter().for_each(|id| check(format!("input `{}`", graph.value(*id).name), *id));
    for id in order {
        let node = graph.node(*id);
        node.outputs.iter().for_each(|output| check(layer_name(node), *output));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
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
    winograd: HashSet<NodeId>,
}

impl State<'_> {
    fn node(&mut self, at: usize, id: NodeId, algorithm: &Algorithm) -> Result<(), LowerError> {
        let graph = self.graph;
        let node = graph.node(id);
        let output = node.outputs[0];
        let constants: Vec<_> = node.inputs.iter().map(|v| graph.constant(*v).cloned()).collect();
        let mut inputs: Vec<View> = vec![];
        for (i, (value, constant)) in node.inputs.iter().zip(&constants).enumerate() {
            let view = match (constant, self.views.get(value)) {
                (_, Some(view)) => view.clone(),
                // The view of a constant is made when a writer asks for it: most are packed instead.
                (Some(c), None) => View::dense(Source::Weight(crate::plan::WeightId(usize::MAX)), c.dtype, &c.shape),
                (None, None) => return Err(LowerError::Bug { layer: layer_name(node), what: format!("input {i} was not computed") }),
            };
            inputs.push(view);
        }
        let mut nx = NodeCx {
            inputs,
            constants,
            output: View::dense(Source::Weight(crate::plan::WeightId(usize::MAX)), graph.ty(output).dtype, &shape(graph, output)),
            outputs: vec![],
            origin: &node.origin,
            name: layer_name(node),
            winograd: self.winograd.contains(&id),
        };
        if let Algorithm::Sizes(dims) = algorithm {
            let numbers: Option<Vec<i64>> = dims.iter().map(ir::Dim::as_const).collect();
            if let Some(numbers) = numbers {
                let tensor = Tensor::new(&[numbers.len()], &numbers);
                self.views.insert(output, self.cx.constant(&nx.name, &tensor, nx.origin));
                return Ok(());
            }
        }
        if let Algorithm::View = algorithm {
            let input = nx.input(&mut self.cx, 0);
            let mut view = View::dense(input.source, input.dtype, &nx.output.shape);
            if !input.is_dense() {
                view = self.cx.temporary(&nx.name, input.dtype, &nx.output.shape);
                let same = View { shape: input.shape.clone(), ..View::dense(view.source, view.dtype, &input.shape) };
                write::shuffle::copy(&mut self.cx, &input, &same, nx.origin)?;
            }
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
        let dies = |v: &ValueId| self.last_use.get(v) == Some(&at) && !self.halos.contains_key(v) && !self.aliased(*v);
        // An output with a margin needs a buffer of its own.
        let in_place = layout::in_place(algorithm, &nx, node, dies).filter(|_| !self.halos.contains_key(&output));
        nx.output = match in_place {
            Some(i) => View { dtype: nx.output.dtype, ..nx.inputs[i].clone() },
            None => layout::output_view(&mut self.cx, graph, output, self.halos.get(&output), nx.origin)?,
        };
        nx.outputs.push(nx.output.clone());
        for value in &node.outputs[1..] {
            nx.outputs.push(layout::output_view(&mut self.cx, graph, *value, self.halos.get(value), nx.origin)?);
        }
        write::write(&mut self.cx, &nx, algorithm)?;
        self.views.extend(node.outputs.iter().copied().zip(nx.outputs));
        Ok(())
    }

    /// True when another live value, or a model input, shares the bytes of this one.
    fn aliased(&self, value: ValueId) -> bool {
        let source = self.views[&value].source;
        self.views.iter().any(|(other, view)| {
            *other != value && view.source == source && self.last_use.get(other).is_some_and(|at| *at >= self.last_use[&value])
        })
    }

    fn finish(mut self) -> Result<Plan, LowerError> {
        let graph = self.graph;
        let mut outputs = vec![];
        for output in &graph.outputs {
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
            outputs.push(port(&output.name, &view)?);
        }
        let inputs: Vec<Port> = graph.inputs.iter().map(|id| port(&graph.value(*id).name, &self.views[id])).collect::<Result<_, _>>()?;
        let weights: u64 = self.cx.weights.iter().map(|w| w.bytes.len() as u64).sum();
        if weights > LIMIT {
            return Err(LowerError::TooLarge { what: "weights", bytes: weights, limit: LIMIT });
        }
        let mut plan = Plan {
            model: graph.name.clone(),
            kernels: self.cx.kernels,
            steps: self.cx.steps,
            buffers: self.cx.buffers,
            weights: self.cx.weights,
            inputs,
            outputs,
            arena_bytes: 0,
            live_bytes: 0,
        };
        memory::set_lifetimes(&mut plan);
        memory::place(&mut plan)?;
        memory::check(&plan).map_err(|e| LowerError::Bug { layer: "memory".into(), what: e.to_string() })?;
        Ok(plan)
    }
}

fn port(name: &str, view: &View) -> Result<Port, LowerError> {
    let Source::Buffer(buffer) = view.source else {
        return Err(LowerError::Bug { layer: name.into(), what: "a port must be a buffer".into() });
    };
    if !view.is_dense() {
        return Err(LowerError::Bug { layer: name.into(), what: "a port must be dense".into() });
    }
    let shape = view.shape.iter().map(|d| *d as u64).collect();
    let bytes = (view.elements() * view.dtype.bytes()) as u32;
    Ok(Port { name: name.into(), dtype: view.dtype.name().into(), shape, buffer, offset: 0, bytes })
}
