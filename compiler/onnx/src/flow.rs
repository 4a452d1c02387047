//! Control flow that stays until run time: bodies become graphs of their own within a node. What they use from outside is
//! captured, constants are copied. How known control flow dissolves at import is `control`'s business.

use crate::control::Structured;
use crate::error::{Fault, invalid, unsupported};
use crate::import::{Importer, Scope, Slot};
use crate::proto::{GraphProto, NodeProto};
use crate::site::{Folded, found_symbol};
use ir::ops::control::{Found, If, Loop, Subgraph};
use ir::ops::gather::gather_op::Gather;
use ir::ops::routine::check::CheckSizes;
use ir::pointwise::Fn;
use ir::{B8, DType, Dim, Graph, Op, Tensor, TensorType, ValueId};
use std::collections::HashSet;
use std::sync::Arc;

/// What bodies use from outside.
struct Captured<'m> {
    values: Vec<(&'m str, ValueId)>,
    constants: Vec<(&'m str, Arc<Tensor>)>,
    /// Absent and unknown ones.
    rest: Vec<(&'m str, Slot<'m>)>,
}

/// The graph around the one under construction.
struct Outer {
    graph: Graph,
    folded: Folded,
}

/// A scan's description: which inputs are states, along which axes it goes, and which way.
pub(crate) struct Scanned {
    pub n_states: usize,
    pub axes: Vec<usize>,
    pub backwards: Vec<bool>,
    pub length: Dim,
}

/// Names that the nodes and outputs of graphs use, those of graphs within them included; in order, each once.
fn used_names<'m>(graphs: &[&'m GraphProto]) -> Vec<&'m str> {
    fn visit<'m>(graph: &'m GraphProto, names: &mut Vec<&'m str>, seen: &mut HashSet<&'m str>) {
        let mut add = |name: &'m str| {
            if seen.insert(name) {
                names.push(name);
            }
        };
        graph.node.iter().flat_map(|node| &node.input).for_each(|name| add(name));
        graph.output.iter().for_each(|output| add(output.name()));
        let attributes = graph.node.iter().flat_map(|node: &NodeProto| &node.attribute);
        attributes.flat_map(|a| a.g.iter().chain(&a.graphs)).for_each(|within| visit(within, names, seen));
    }
    let (mut names, mut seen) = (vec![], HashSet::new());
    graphs.iter().for_each(|graph| visit(graph, &mut names, &mut seen));
    names
}

impl<'m> Importer<'m> {
    fn captured(&self, scope: &Scope<'m>, graphs: &[&'m GraphProto]) -> Result<Captured<'m>, Fault> {
        let mut captured = Captured { values: vec![], constants: vec![], rest: vec![] };
        for name in used_names(graphs) {
            match scope.slots.get(name) {
                Some(Slot::Value(v)) => match self.graph.constant(*v).or_else(|| self.folded.get(v)) {
                    Some(tensor) => captured.constants.push((name, tensor.clone())),
                    None => captured.values.push((name, *v)),
                },
                Some(Slot::Sequence(_)) => unsupported!("the sequence `{name}` is used under control flow that depends on data"),
                Some(slot) => captured.rest.push((name, *slot)),
                None => {}
            }
        }
        Ok(captured)
    }

    /// Begins a graph within the one under construction.
    fn enter(&mut self, graph: &GraphProto) -> Outer {
        let mut inner = Graph::new(graph.name());
        inner.symbols.clone_from(&self.graph.symbols);
        Outer { graph: std::mem::replace(&mut self.graph, inner), folded: std::mem::take(&mut self.folded) }
    }

    /// Ends it.
    fn leave(&mut self, outer: Outer) -> Graph {
        self.folded = outer.folded;
        let inner = std::mem::replace(&mut self.graph, outer.graph);
        // A body may declare sizes of its own.
        for (symbol, bound) in &inner.symbols {
            self.graph.symbols.entry(symbol.clone()).or_insert(*bound);
        }
        inner
    }

    /// The inputs of a graph within a node that stand for what it captures, and the names that it sees.
    fn seen_within(&mut self, outer: &Outer, captured: &Captured<'m>, scope: &Scope<'m>) -> Scope<'m> {
        let mut inner = Scope { depth: scope.depth + 1, ..scope.clone() };
        inner.slots.clear();
        for (name, value) in &captured.values {
            let value = outer.graph.value(*value);
            let id = self.graph.add_input(name, value.ty.clone());
            self.graph.value_mut(id).sizes.clone_from(&value.sizes);
            inner.slots.insert(name, Slot::Value(id));
        }
        for (name, tensor) in &captured.constants {
            let id = self.graph.add_const(name, tensor.clone());
            inner.slots.insert(name, Slot::Value(id));
        }
        inner.slots.extend(captured.rest.iter().copied());
        inner
    }

    /// The nodes of a body whose inputs are in scope; its outputs, unless one has a problem, which was reported.
    fn within(&mut self, body: &'m GraphProto, mut scope: Scope<'m>) -> Result<Option<Vec<ValueId>>, Fault> {
        self.declare(body);
        self.initializers(body, &mut scope);
        self.run(&body.node, &mut scope);
        let mut values = vec![];
        for output in &body.output {
            match scope.slots.get(output.name()) {
                Some(Slot::Value(v)) => values.push(*v),
                Some(Slot::Unknown) => return Ok(None),
                Some(_) => unsupported!("the body's output `{}` is no tensor, and depends on data computed at run time", output.name()),
                None => invalid!("no node of the body computes its output `{}`", output.name()),
            }
        }
        Ok(Some(values))
    }

    /// A branch whose condition is not known.
    pub(crate) fn run_time_branch(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        let bodies = [s.body("then_branch")?, s.body("else_branch")?];
        let captured = self.captured(s.scope, &bodies)?;
        let mark = self.mark();
        let mut graphs = vec![];
        for body in bodies {
            let outer = self.enter(body);
            let scope = self.seen_within(&outer, &captured, s.scope);
            let outputs = self.within(body, scope);
            if let Ok(Some(outputs)) = &outputs {
                outputs.iter().enumerate().for_each(|(i, v)| self.graph.add_output(&format!("{i}"), *v));
            }
            let graph = self.leave(outer);
            graphs.push(outputs?.map(|_| graph));
        }
        let mut graphs = match <[Option<Graph>; 2]>::try_from(graphs).expect("two bodies") {
            [Some(then), Some(otherwise)] => [then, otherwise],
            [None, None] => return Ok(vec![]),
            // Of these sizes only one way can be taken: the other one fails when it is.
            [Some(then), None] => {
                let otherwise = self.refused(s, &then, &captured, mark)?;
                [then, otherwise]
            }
            [None, Some(otherwise)] => [self.refused(s, &otherwise, &captured, mark)?, otherwise],
        };
        let sizes = self.differing_sizes(&graphs)?;
        let inputs = drop_unused(&mut graphs, 0, captured.values.iter().map(|(_, v)| *v).collect());
        let condition = self.site(s.node, vec![], s.attributes.clone(), s.scope).reshape(s.value(0)?, vec![])?;
        let [then, otherwise] = graphs;
        let op = If { then: Subgraph::new(then), otherwise: Subgraph::new(otherwise), sizes };
        self.flow(s, op.into(), &[vec![condition], inputs].concat())
    }

    /// A new symbol for each size in which the results of two graphs differ.
    fn differing_sizes(&mut self, graphs: &[Graph; 2]) -> Result<Found, Fault> {
        let mut sizes = vec![];
        for (a, b) in graphs[0].outputs.iter().zip(&graphs[1].outputs) {
            let (a, b) = (graphs[0].ty(a.value), graphs[1].ty(b.value));
            if a.dtype != b.dtype || a.rank() != b.rank() {
                return Err(Fault::run_time("condition of a branch whose results differ in type"));
            }
            for (x, y) in a.shape.iter().zip(&b.shape).filter(|(x, y)| x != y) {
                let bounds = [x, y].map(|dim| dim.range(&self.graph.symbols).1);
                let [Some(x), Some(y)] = bounds else { return Err(Fault::run_time("condition of a branch whose results differ in shape")) };
                sizes.push(found_symbol(&mut self.graph, x.max(y)));
            }
        }
        Ok(Found(sizes))
    }

    /// A graph of the results of `other` that fails whenever it runs, in the place of one that breaks the rules of ONNX for the
    /// sizes of this import. Its problems, which were reported since `mark`, become a warning.
    fn refused(&mut self, s: &Structured<'_, 'm>, other: &Graph, captured: &Captured<'m>, mark: (usize, usize)) -> Result<Graph, Fault> {
        let Some(problem) = self.only_invalid_since(mark) else { return Ok(other.clone()) };
        self.rewind(mark);
        self.warn(format!("one way of a branch cannot be taken, and fails at run time: {problem}"));
        let outer = Outer { graph: std::mem::replace(&mut self.graph, Graph::new("refused")), folded: std::mem::take(&mut self.folded) };
        self.graph.symbols.clone_from(&outer.graph.symbols);
        for (name, value) in &captured.values {
            self.graph.add_input(name, outer.graph.ty(*value).clone());
        }
        let done: Result<(), Fault> = (|| {
            for (i, output) in other.outputs.iter().enumerate() {
                let ty = other.ty(output.value);
                let Some(shape) = ty.const_shape() else { return Err(Fault::run_time("condition of a branch")) };
                let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
                let (zeros, list) = (site.constant_value(Tensor::zeros(ty.dtype, &shape)), site.constant_value(Tensor::new(&[1], &[0i64])));
                let never = CheckSizes { expected: vec![1i64.into()], other: vec![1i64.into()], wild: vec![] };
                let result = site.add(never, &[zeros, list])?;
                self.graph.add_output(&i.to_string(), result);
            }
            Ok(())
        })();
        let graph = self.leave(outer);
        done.map(|()| graph)
    }

    /// A loop whose number of iterations or condition is not known, or large. `trips` and `keep` are absent where the file
    /// leaves them out.
    pub(crate) fn run_time_loop(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        let body = s.body("body")?;
        let carried = (2..s.inputs.len()).map(|i| s.value(i)).collect::<Result<Vec<_>, _>>()?;
        let given = |i: usize| match s.inputs.get(i) {
            Some(Slot::Value(v)) => Some(*v),
            _ => None,
        };
        if body.input.len() != 2 + carried.len() || body.output.len() <= carried.len() {
            invalid!("the body has {} inputs and {} outputs for {} variables", body.input.len(), body.output.len(), carried.len());
        }
        let (trips, keep) = (given(0), given(1));
        let captured = self.captured(s.scope, &[body])?;
        let outer = self.enter(body);
        let done: Result<Option<bool>, Fault> = (|| {
            let number = self.graph.add_input(body.input[0].name(), TensorType::new(DType::I64, [0i64; 0]));
            let own: Vec<ValueId> = carried.iter().map(|v| self.graph.add_input("", outer.graph.ty(*v).clone())).collect();
            let mut scope = self.seen_within(&outer, &captured, s.scope);
            let always = self.graph.add_const("always", Tensor::scalar(B8(1)));
            scope.slots.insert(body.input[0].name(), Slot::Value(number));
            scope.slots.insert(body.input[1].name(), Slot::Value(always));
            for (input, id) in body.input[2..].iter().zip(&own) {
                self.graph.value_mut(*id).name = input.name().into();
                scope.slots.insert(input.name(), Slot::Value(*id));
            }
            let Some(mut outputs) = self.within(body, scope)? else { return Ok(None) };
            outputs[0] = self.site(s.node, vec![], s.attributes.clone(), s.scope).reshape(outputs[0], vec![])?;
            let endless = self.known(outputs[0]).is_some_and(|keep| keep != 0.0);
            outputs.iter().enumerate().for_each(|(i, v)| self.graph.add_output(&format!("{i}"), *v));
            Ok(Some(endless))
        })();
        let mut graph = self.leave(outer);
        let Some(endless) = done? else { return Ok(vec![]) };
        for (i, v) in carried.iter().enumerate() {
            let (first, later) = (self.graph.ty(*v), graph.ty(graph.outputs[1 + i].value));
            if first != later {
                let name = body.input[2 + i].name();
                let sentence = format!("the variable `{name}` of a loop is {first} at first and {later} after an iteration");
                return Err(Fault::unsupported(sentence)
                    .hint("bind the number of iterations with `--bind INPUT=VALUE`, or give the variable one shape"));
            }
        }
        let scanned = graph.outputs.len() - 1 - carried.len();
        let runs_through = endless && keep.is_none_or(|keep| self.known(keep).is_some_and(|keep| keep != 0.0));
        let capacity = match (scanned, trips.and_then(|v| self.trip_count(v)).filter(|_| runs_through)) {
            (0, _) => vec![],
            (_, Some(count)) => vec![count],
            (_, None) => {
                let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
                let declared = site.declared(carried.len()).ok().and_then(|shape| shape.first().cloned());
                vec![declared.ok_or_else(|| {
                    Fault::unsupported("the number of iterations, which sizes what the loop collects, depends on data computed at run time")
                        .hint("name the first dimension of the loop's output in the model and give it a size with `--dim NAME=N`")
                })?]
            }
        };
        let graphs = std::slice::from_mut(&mut graph);
        let inputs = drop_unused(graphs, 1 + carried.len(), captured.values.iter().map(|(_, v)| *v).collect());
        let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
        let trips = match trips {
            Some(v) => site.reshape(v, vec![])?,
            None => site.constant_value(Tensor::scalar(i64::MAX)),
        };
        let keep = match keep {
            Some(v) => site.reshape(v, vec![])?,
            None => site.constant_value(Tensor::scalar(B8(1))),
        };
        let op = Loop { carried: carried.len() as i64, capacity, body: Subgraph::new(graph) };
        self.flow(s, op.into(), &[vec![trips, keep], carried, inputs].concat())
    }

    /// A scan as a loop over positions: states first, then what each step gave, stacked along the first axis in its order.
    pub(crate) fn run_time_scan(
        &mut self,
        s: &Structured<'_, 'm>,
        values: &[ValueId],
        scanned: &Scanned,
    ) -> Result<Option<Vec<ValueId>>, Fault> {
        let body = s.body("body")?;
        let (states, sequences) = values.split_at(scanned.n_states);
        let captured = self.captured(s.scope, &[body])?;
        let outer = self.enter(body);
        let done: Result<bool, Fault> = (|| {
            let number = self.graph.add_input("position", TensorType::new(DType::I64, [0i64; 0]));
            let own: Vec<ValueId> = states.iter().map(|v| self.graph.add_input("", outer.graph.ty(*v).clone())).collect();
            let whole: Vec<ValueId> = sequences.iter().map(|v| self.graph.add_input("", outer.graph.ty(*v).clone())).collect();
            let mut scope = self.seen_within(&outer, &captured, s.scope);
            for (i, (input, id)) in body.input.iter().zip(own.iter().chain(&whole)).enumerate() {
                self.graph.value_mut(*id).name = input.name().into();
                let mut value = *id;
                if let Some(n) = i.checked_sub(own.len()) {
                    let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
                    let mut at = number;
                    if scanned.backwards[n] {
                        let last = site.size_operand(&(scanned.length.clone() - 1), DType::I64)?;
                        at = site.map(Fn::Sub, [last, number.into()])?;
                    }
                    value = site.add(Gather { axis: scanned.axes[n] as i64 }, &[*id, at])?;
                }
                scope.slots.insert(input.name(), Slot::Value(value));
            }
            let Some(outputs) = self.within(body, scope)? else { return Ok(false) };
            let always = self.graph.add_const("always", Tensor::scalar(B8(1)));
            let outputs = std::iter::once(always).chain(outputs);
            outputs.enumerate().for_each(|(i, v)| self.graph.add_output(&format!("{i}"), v));
            Ok(true)
        })();
        let mut graph = self.leave(outer);
        if !done? {
            return Ok(None);
        }
        let capacity = if graph.outputs.len() > 1 + states.len() { vec![scanned.length.clone()] } else { vec![] };
        let graphs = std::slice::from_mut(&mut graph);
        let given = sequences.iter().copied().chain(captured.values.iter().map(|(_, v)| *v));
        let inputs = drop_unused(graphs, 1 + states.len(), given.collect());
        let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
        let length = site.sizes_value(vec![scanned.length.clone()])?;
        let trips = site.reshape(length, vec![])?;
        let keep = site.constant_value(Tensor::scalar(B8(1)));
        let op = Loop { carried: states.len() as i64, capacity, body: Subgraph::new(graph) };
        let results = self.flow(s, op.into(), &[vec![trips, keep], states.to_vec(), inputs].concat())?;
        Ok(Some(results.into_iter().filter_map(|slot| if let Slot::Value(v) = slot { Some(v) } else { None }).collect()))
    }

    /// How often a loop runs at most, when that is a size.
    fn trip_count(&self, trips: ValueId) -> Option<Dim> {
        let known = self.known(trips).map(|n| Dim::from((n as i64).max(0)));
        known.or_else(|| self.graph.value(trips).sizes.as_ref().filter(|sizes| sizes.len() == 1).map(|sizes| sizes[0].clone()))
    }

    /// Adds the node; its outputs are named as in the file.
    fn flow(&mut self, s: &Structured<'_, 'm>, op: Op, inputs: &[ValueId]) -> Result<Vec<Slot<'m>>, Fault> {
        let (origin, prefix) = self.origin(s.node, s.scope);
        let node = self.graph.add_node(op, inputs, &origin, "")?;
        let outputs = self.graph.node(node).outputs.clone();
        for (value, name) in outputs.iter().zip(&s.node.output) {
            self.graph.value_mut(*value).name = format!("{prefix}{name}");
        }
        Ok(outputs.into_iter().map(Slot::Value).collect())
    }
}

/// Drops inputs from `first` on that none of the graphs uses, and what no output needs; which of `given` stay.
fn drop_unused(graphs: &mut [Graph], first: usize, given: Vec<ValueId>) -> Vec<ValueId> {
    let used: Vec<Vec<u32>> = graphs.iter().map(Graph::use_counts).collect();
    let is_used = |i: usize| graphs.iter().zip(&used).any(|(graph, used)| used[graph.inputs[first + i].0 as usize] > 0);
    let keep: Vec<bool> = (0..given.len()).map(is_used).collect();
    for graph in graphs {
        graph.retain_inputs(|i| i < first || keep[i - first]);
        graph.compact();
    }
    given.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(v, _)| v).collect()
}
