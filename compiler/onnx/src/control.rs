//! Control flow that the import resolves: branches whose condition is known, short loops and scans of known length, unrolled.
//! Bodies are expanded in place, like functions. What cannot be resolved, or would be long, is `flow`'s business.

use crate::attributes::Attributes;
use crate::error::{Fault, invalid, unsupported};
use crate::flow::Scanned;
use crate::import::{Importer, Scope, Slot};
use crate::proto::{GraphProto, NodeProto};
use ir::ValueId;

/// Iterations that a loop may be unrolled to.
const TRIP_LIMIT: i64 = 1 << 12;
/// Nodes of all iterations up to which a loop is unrolled without need.
const UNROLLED_NODES: i64 = 1 << 8;
/// Bodies within bodies.
const DEPTH_LIMIT: usize = 32;

/// Operators whose inputs, outputs or attributes are more than tensors: the importer expands them itself.
pub(crate) const OPERATORS: &[(&str, &str)] = &[
    ("", "ConcatFromSequence"),
    ("", "If"),
    ("", "Loop"),
    ("", "Optional"),
    ("", "OptionalGetElement"),
    ("", "OptionalHasElement"),
    ("", "Scan"),
    ("", "SequenceAt"),
    ("", "SequenceConstruct"),
    ("", "SequenceEmpty"),
    ("", "SequenceErase"),
    ("", "SequenceInsert"),
    ("", "SequenceLength"),
    ("", "SequenceMap"),
    ("", "SplitToSequence"),
    ("ai.onnx.preview", "FlexAttention"),
];

/// One such node: everything its expansion needs.
pub(crate) struct Structured<'a, 'm> {
    pub node: &'m NodeProto,
    pub inputs: &'a [Slot<'m>],
    pub attributes: &'a Attributes<'m>,
    pub scope: &'a Scope<'m>,
}

impl<'m> Structured<'_, 'm> {
    pub fn value(&self, i: usize) -> Result<ValueId, Fault> {
        match self.inputs.get(i) {
            Some(Slot::Value(v)) => Ok(*v),
            Some(Slot::Sequence(_)) => invalid!("input {} is a sequence; a tensor was expected", i + 1),
            _ => invalid!("input {} is missing; found {} inputs", i + 1, self.inputs.len()),
        }
    }
    pub fn body(&self, name: &str) -> Result<&'m GraphProto, Fault> {
        match self.attributes.get(name).and_then(|a| a.g.as_ref()) {
            Some(graph) => Ok(graph),
            None => invalid!("the attribute `{name}` holds no graph"),
        }
    }
    fn ints_or(&self, name: &str, length: usize, default: i64) -> Result<Vec<i64>, Fault> {
        match self.attributes.ints(name)? {
            None => Ok(vec![default; length]),
            Some(given) if given.len() == length => Ok(given.to_vec()),
            Some(given) => invalid!("attribute `{name}` must hold {length} numbers, found {given:?}"),
        }
    }
}

impl<'m> Importer<'m> {
    /// Expands one of [`OPERATORS`]; its outputs.
    pub(crate) fn structured(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        match s.node.op_type() {
            "If" => self.branch(s),
            "Loop" => self.repeat(s),
            "Scan" => self.scan(s),
            "SequenceMap" => self.sequence_map(s),
            "FlexAttention" => self.flex_attention(s),
            _ => self.sequence(s),
        }
    }

    /// Expands the nodes of a body: its outputs.
    pub(crate) fn body(&mut self, graph: &'m GraphProto, inputs: &[Slot<'m>], outer: &Scope<'m>) -> Result<Vec<Slot<'m>>, Fault> {
        if outer.depth >= DEPTH_LIMIT {
            invalid!("bodies nest deeper than {DEPTH_LIMIT}");
        }
        if inputs.len() != graph.input.len() {
            invalid!("the body takes {} inputs, found {}", graph.input.len(), inputs.len());
        }
        let mut scope = Scope { depth: outer.depth + 1, ..outer.clone() };
        self.initializers(graph, &mut scope);
        scope.slots.extend(graph.input.iter().map(|i| i.name()).zip(inputs.iter().copied()));
        self.run(&graph.node, &mut scope);
        let outputs = graph.output.iter().map(|o| match scope.slots.get(o.name()) {
            Some(slot) => Ok(*slot),
            None => Err(Fault::invalid(format!("no node of the body computes its output `{}`", o.name()))),
        });
        outputs.collect()
    }

    /// The one element of a value that is known at import.
    pub(crate) fn known(&self, v: ValueId) -> Option<f64> {
        let size = || self.graph.value(v).sizes.as_ref().filter(|d| d.len() == 1)?.first()?.as_const();
        let tensor = self.graph.constant(v).or_else(|| self.folded.get(&v)).filter(|t| t.len() == 1);
        tensor.map(|t| t.get_f64(0)).or_else(|| size().map(|n| n as f64))
    }

    fn branch(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        let (then, otherwise) = (s.body("then_branch")?, s.body("else_branch")?);
        match self.known(s.value(0)?) {
            Some(known) => self.body(if known != 0.0 { then } else { otherwise }, &[], s.scope),
            None if s.scope.depth >= DEPTH_LIMIT => invalid!("bodies nest deeper than {DEPTH_LIMIT}"),
            None => self.run_time_branch(s),
        }
    }

    /// Short loops of a known number of iterations, and those that cannot stay loops, are unrolled.
    fn repeat(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        if s.scope.depth >= DEPTH_LIMIT {
            invalid!("bodies nest deeper than {DEPTH_LIMIT}");
        }
        let nodes = s.body("body")?.node.len().max(1) as i64;
        let known = |slot: Option<&Slot<'m>>| match slot {
            Some(Slot::Value(v)) => self.known(*v),
            _ => None,
        };
        let trips = known(s.inputs.first()).map(|n| n as i64);
        // The condition alone may end it, as far as it is known.
        let short = trips.map_or(known(s.inputs.get(1)).is_some(), |n| n.saturating_mul(nodes) <= UNROLLED_NODES);
        let mark = self.mark();
        if short {
            match self.unroll_loop(s) {
                Err(fault) if fault.is_run_time() => self.rewind(mark),
                done => return done,
            }
        }
        let done = self.run_time_loop(s);
        if !short && trips.is_some_and(|n| n <= TRIP_LIMIT) && (done.is_err() || self.mark() != mark) {
            self.rewind(mark);
            return self.unroll_loop(s);
        }
        done
    }

    /// Iterations until the condition is known to fail, at most as many as the trip count says.
    fn unroll_loop(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        let body = s.body("body")?;
        let trips = match s.inputs.first() {
            Some(Slot::Value(v)) => Some(self.known(*v).ok_or_else(|| Fault::run_time("number of iterations"))? as i64),
            _ => None,
        };
        let mut carried: Vec<Slot<'m>> = s.inputs.get(2..).unwrap_or_default().to_vec();
        let n_scanned = (body.output.len()).checked_sub(carried.len() + 1);
        let Some(n_scanned) = n_scanned else { invalid!("the body gives {} outputs for {} variables", body.output.len(), carried.len()) };
        let mut scanned: Vec<Vec<ValueId>> = vec![vec![]; n_scanned];
        let mut condition = s.inputs.get(1).copied().unwrap_or(Slot::Absent);
        for i in 0.. {
            if trips.is_some_and(|n| i >= n) || !self.holds(condition)? {
                break;
            }
            if i >= TRIP_LIMIT {
                unsupported!("a loop of more than {TRIP_LIMIT} iterations cannot be unrolled");
            }
            let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
            let number = site.constant_value(ir::Tensor::scalar(i));
            let test = match condition {
                Slot::Absent => Slot::Value(site.constant_value(ir::Tensor::scalar(ir::B8(1)))),
                given => given,
            };
            let inputs: Vec<Slot<'m>> = [Slot::Value(number), test].into_iter().chain(carried.iter().copied()).collect();
            let outputs = self.body(body, &inputs, s.scope)?;
            if outputs.iter().any(|o| matches!(o, Slot::Unknown)) {
                return Ok(vec![]);
            }
            // onnxruntime looks at the body's condition even where there is none at the start.
            condition = outputs[0];
            carried = outputs[1..=carried.len()].to_vec();
            for (list, slot) in scanned.iter_mut().zip(&outputs[1 + carried.len()..]) {
                match slot {
                    Slot::Value(v) => list.push(*v),
                    _ => invalid!("what a loop collects must be tensors"),
                }
            }
        }
        for list in scanned {
            carried.push(Slot::Value(self.stack(s, &list, 0)?));
        }
        Ok(carried)
    }

    fn holds(&self, condition: Slot<'m>) -> Result<bool, Fault> {
        match condition {
            Slot::Value(v) => Ok(self.known(v).ok_or_else(|| Fault::run_time("condition of a loop"))? != 0.0),
            _ => Ok(true),
        }
    }

    /// Tensors of one shape along a new axis.
    pub(crate) fn stack(&mut self, s: &Structured<'_, 'm>, list: &[ValueId], axis: i64) -> Result<ValueId, Fault> {
        let Some(first) = list.first() else { unsupported!("a loop without iterations gives results of unknown shape") };
        let rank = self.graph.ty(*first).rank();
        let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
        let axis = site.axis(axis, rank + 1)?;
        let mut parts = vec![];
        for v in list {
            let mut shape = site.shape(*v);
            if shape.len() != rank {
                invalid!("its iterations give tensors of {rank} and of {} dimensions, which do not stack", shape.len());
            }
            shape.insert(axis, 1i64.into());
            parts.push(site.reshape(*v, shape)?);
        }
        site.concat(&parts, axis)
    }

    /// Element `i` along an axis.
    fn element(&mut self, s: &Structured<'_, 'm>, x: ValueId, axis: usize, i: i64) -> Result<ValueId, Fault> {
        let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
        let slice = site.slice(x, axis, i.into(), 1i64.into(), 1)?;
        let mut shape = site.shape(slice);
        shape.remove(axis);
        site.reshape(slice, shape)
    }

    fn length(&self, x: ValueId, axis: usize) -> Result<i64, Fault> {
        let size = self.graph.ty(x).shape.get(axis).and_then(|d| d.as_const());
        size.ok_or_else(|| Fault::run_time("length of a scan"))
    }

    /// Before operator set 9 the first input is the lengths of the sequences, and everything has a batch in front.
    fn scan(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        let version = s.scope.opsets.get("").copied().unwrap_or(1);
        let first = usize::from(version < 9);
        let values = (first..s.inputs.len()).map(|i| s.value(i)).collect::<Result<Vec<_>, _>>()?;
        if version >= 9 {
            return Ok(self.scan_once(s, &values)?.into_iter().map(Slot::Value).collect());
        }
        if !matches!(s.inputs.first(), Some(Slot::Absent)) {
            unsupported!("a scan over sequences of different lengths is not supported");
        }
        let batch = values.first().map_or(Ok(0), |v| self.length(*v, 0))?;
        let mut results: Vec<Vec<ValueId>> = vec![];
        for i in 0..batch {
            let one = values.iter().map(|v| self.element(s, *v, 0, i)).collect::<Result<Vec<_>, _>>()?;
            let outputs = self.scan_once(s, &one)?;
            results.resize(outputs.len(), vec![]);
            results.iter_mut().zip(outputs).for_each(|(list, v)| list.push(v));
        }
        results.iter().map(|list| self.stack(s, list, 0).map(Slot::Value)).collect()
    }

    fn scan_once(&mut self, s: &Structured<'_, 'm>, values: &[ValueId]) -> Result<Vec<ValueId>, Fault> {
        let body = s.body("body")?;
        let n_inputs = usize::try_from(s.attributes.int_or("num_scan_inputs", 0)?).unwrap_or(0);
        let Some(n_states) = values.len().checked_sub(n_inputs).filter(|n| n_inputs > 0 && *n <= body.output.len()) else {
            invalid!("found {} inputs, {n_inputs} of them to be scanned", values.len())
        };
        let n_outputs = body.output.len() - n_states;
        let reversed = |name: &str, n: usize| if name.is_empty() { Ok(vec![0; n]) } else { s.ints_or(name, n, 0) };
        let backwards =
            if s.attributes.has("directions") { reversed("directions", n_inputs)? } else { reversed("scan_input_directions", n_inputs)? };
        let (input_axes, output_axes) = (s.ints_or("scan_input_axes", n_inputs, 0)?, s.ints_or("scan_output_axes", n_outputs, 0)?);
        let output_backwards = reversed("scan_output_directions", n_outputs)?;
        let mut axes = vec![];
        for (v, axis) in values[n_states..].iter().zip(&input_axes) {
            axes.push(ir::ops::normalize_axis(*axis, self.graph.ty(*v).rank())?);
        }
        let size = self.graph.ty(values[n_states]).shape.get(axes[0]).cloned().unwrap_or_else(|| 0i64.into());
        let short = size.as_const().is_some_and(|n| n.saturating_mul(body.node.len().max(1) as i64) <= UNROLLED_NODES);
        let mark = self.mark();
        if !short {
            let backwards = backwards.iter().map(|b| *b != 0).collect();
            let scanned = Scanned { n_states, axes: axes.clone(), backwards, length: size.clone() };
            let done = self.run_time_scan(s, values, &scanned);
            match done {
                Ok(Some(results)) => return self.arranged(s, results, n_states, &output_axes, &output_backwards),
                _ if size.as_const().is_some_and(|n| n <= TRIP_LIMIT) => self.rewind(mark),
                Ok(None) => return Err(Fault::invalid("a step of the scan cannot be imported")),
                Err(fault) => return Err(fault),
            }
        }
        let length = self.length(values[n_states], axes[0])?;
        let mut states: Vec<Slot<'m>> = values[..n_states].iter().map(|v| Slot::Value(*v)).collect();
        let mut collected: Vec<Vec<ValueId>> = vec![vec![]; n_outputs];
        for i in 0..length {
            let mut inputs = states.clone();
            for (n, v) in values[n_states..].iter().enumerate() {
                let at = if backwards[n] != 0 { length - 1 - i } else { i };
                inputs.push(Slot::Value(self.element(s, *v, axes[n], at)?));
            }
            let outputs = self.body(body, &inputs, s.scope)?;
            states = outputs[..n_states].to_vec();
            for (list, slot) in collected.iter_mut().zip(&outputs[n_states..]) {
                match slot {
                    Slot::Value(v) => list.push(*v),
                    _ => return Err(Fault::invalid("a step of the scan cannot be imported")),
                }
            }
        }
        let mut results = vec![];
        for state in states {
            let Slot::Value(v) = state else { invalid!("a state of the scan is not a tensor") };
            results.push(v);
        }
        for ((mut list, axis), backwards) in collected.into_iter().zip(output_axes).zip(output_backwards) {
            if backwards != 0 {
                list.reverse();
            }
            results.push(self.stack(s, &list, axis)?);
        }
        Ok(results)
    }

    /// Results of a loop in the order and along the axis that a scan asks for.
    fn arranged(
        &mut self,
        s: &Structured<'_, 'm>,
        mut results: Vec<ValueId>,
        n_states: usize,
        axes: &[i64],
        backwards: &[i64],
    ) -> Result<Vec<ValueId>, Fault> {
        let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
        for (v, (axis, backwards)) in results[n_states..].iter_mut().zip(axes.iter().zip(backwards)) {
            let rank = site.rank(*v);
            if *backwards != 0 {
                let shape = site.shape(*v);
                *v = site.slice(*v, 0, shape[0].clone() - 1, shape[0].clone(), -1)?;
            }
            let axis = site.axis(*axis, rank)?;
            if axis != 0 {
                let perm: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..rank).collect();
                *v = site.transpose(*v, &perm)?;
            }
        }
        Ok(results)
    }
}
