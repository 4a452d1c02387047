//! The walk that rewrites a graph: every value is known as real numbers, as elements of its grid, or as both; one is made
//! of the other where a reader asks for it.

use super::expression::Builder;
use super::grid::{Channels, Grid};
use super::plan::{Plan, channel_axis, moves, names};
use super::scale::Scale;
use super::{Applied, Settings, channels, layer};
use ir::ops::Op;
use ir::ops::map::Map;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::window::pool::PoolKind;
use ir::pointwise::{Fn, Operand, Pointwise};
use ir::{DType, Graph, Node, NodeId, OpError, Tensor, ValueId, op_error};
use std::collections::HashMap;
use std::sync::Arc;

/// How a tensor is stored: element q of `u8` stands for `(q − zero) · scale`, plus the middle of its channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub zero: u8,
    /// The scale of the largest channel.
    pub base: f32,
    pub scale: Scale,
    /// What the element `zero` stands for, per channel, where that is not 0.
    pub middle: Option<Arc<[f32]>>,
    /// The dimension of the channels.
    pub axis: usize,
}

impl Stored {
    /// One grid for all channels.
    pub fn plain(grid: Grid, axis: usize) -> Stored {
        Stored { zero: grid.zero, base: grid.scale, scale: Scale::One(grid.scale), middle: None, axis }
    }

    /// What the element `zero` of a channel stands for.
    pub fn middle_of(&self, channel: usize) -> f32 {
        self.middle.as_ref().map_or(0.0, |middle| middle[channel])
    }

    /// The real numbers that elements stand for.
    pub fn real(&self, elements: &Tensor) -> Tensor {
        let channels = Channels::of(elements, self.axis);
        let q = elements.as_slice::<u8>();
        let real = |i: usize| {
            let channel = channels.of_element(i);
            f64::from((f32::from(q[i]) - f32::from(self.zero)) * self.scale.at(channel) + self.middle_of(channel))
        };
        Tensor::from_fn(DType::F32, &elements.shape, real)
    }
}

pub struct Rewriter<'a> {
    pub graph: &'a mut Graph,
    pub settings: &'a Settings,
    pub names: Vec<String>,
    pub applied: Applied,
    stored: HashMap<ValueId, Stored>,
    elements: HashMap<ValueId, ValueId>,
    reals: HashMap<ValueId, ValueId>,
    /// The layers of the node that is rewritten.
    pub layers: Vec<Arc<str>>,
}

pub fn apply(graph: &mut Graph, settings: &Settings) -> Result<Applied, OpError> {
    let plan = Plan::of(graph, &settings.keep);
    let names = names(graph);
    let name = |node: NodeId| names[graph.node(node).outputs[0].0 as usize].clone();
    let kept = plan.kept.iter().map(|(node, why)| (name(*node), *node, *why)).collect();
    let stored = grids(graph, &plan, &names, settings)?;
    let applied = Applied { kept, ..Applied::default() };
    let mut rewriter =
        Rewriter { graph, settings, names, applied, stored, elements: HashMap::new(), reals: HashMap::new(), layers: vec![] };
    for id in rewriter.graph.order() {
        rewriter.layers.clone_from(&rewriter.graph.node(id).origin);
        if plan.is_layer(id) { layer::rewrite(&mut rewriter, id)? } else { rewriter.other(id)? }
    }
    for i in 0..rewriter.graph.outputs.len() {
        let value = rewriter.real(rewriter.graph.outputs[i].value)?;
        rewriter.graph.outputs[i].value = value;
    }
    let mut tensors: Vec<_> = rewriter.elements.iter().map(|(v, q)| (*v, *q)).collect();
    tensors.sort_unstable();
    for (value, elements) in tensors {
        let name = rewriter.names[value.0 as usize].clone();
        rewriter.applied.tensors.push((name, elements, rewriter.stored[&value].clone()));
    }
    Ok(rewriter.applied)
}

/// The grid of every value that is read as `u8`.
fn grids(graph: &Graph, plan: &Plan, names: &[String], settings: &Settings) -> Result<HashMap<ValueId, Stored>, OpError> {
    let mut ranges: HashMap<ValueId, (f32, f32, usize)> = HashMap::new();
    for value in plan.wanted() {
        let name = &names[value.0 as usize];
        let Some(seen) = settings.ranges.get(name) else { op_error!("there is no range for the tensor `{name}`") };
        let (low, high, n) = ranges.entry(plan.representative(value)).or_default();
        (*low, *high, *n) = (low.min(seen.low), high.max(seen.high), *n + 1);
    }
    let mut stored = HashMap::new();
    for value in plan.wanted() {
        let (low, high, n) = ranges[&plan.representative(value)];
        let axis = channel_axis(graph, value);
        // Values that share a grid are joined or cut: they have no channels of their own.
        let channels = settings.ranges[&names[value.0 as usize]]
            .channels
            .as_ref()
            .filter(|seen| n == 1 && graph.ty(value).shape.get(axis).and_then(ir::Dim::as_const).is_some_and(|c| seen.fits(c as usize)));
        let own = channels.and_then(|seen| channels::stored(graph, plan, value, axis, seen));
        stored.insert(value, own.unwrap_or_else(|| Stored::plain(Grid::over(low, high), axis)));
    }
    Ok(stored)
}

impl Rewriter<'_> {
    pub fn name(&self, value: ValueId) -> String {
        self.graph.value(value).name.clone()
    }

    /// The grid of a value that is read as `u8`.
    pub fn stored(&self, value: ValueId) -> Option<&Stored> {
        self.stored.get(&value)
    }

    /// The grid in which the producer of a value writes it.
    pub fn emitted(&self, value: ValueId) -> Option<Stored> {
        let is_output = self.graph.outputs.iter().any(|o| o.value == value);
        self.stored(value).filter(|_| !is_output).cloned()
    }

    /// `value` is computed as `new` from now on: elements, if it is stored, or real numbers.
    pub fn set(&mut self, value: ValueId, new: ValueId) {
        if self.graph.ty(new).dtype == DType::U8 {
            self.elements.insert(value, new)
        } else {
            self.reals.insert(value, new)
        };
    }

    /// The layers that compute a value; for a model input those that read it.
    fn origin(&self, value: ValueId) -> Vec<Arc<str>> {
        let producer = self.graph.producer(value).map(|p| self.graph.node(p).origin.clone());
        producer.unwrap_or_else(|| self.layers.clone())
    }

    /// The real numbers of a value.
    pub fn real(&mut self, value: ValueId) -> Result<ValueId, OpError> {
        if let Some(real) = self.reals.get(&value) {
            return Ok(*real);
        }
        let Some(elements) = self.elements.get(&value).copied() else { return Ok(value) };
        let mut builder = Builder::new(0);
        let x = self.operand(&mut builder, value, &Scale::One(1.0));
        let (body, args) = builder.finish(x);
        let origin = self.origin(elements);
        let real = self.graph.add(Map { body }, &args, &origin, &self.name(value))?;
        self.reals.insert(value, real);
        Ok(real)
    }

    /// The elements of a value in its grid.
    pub fn element(&mut self, value: ValueId) -> Result<ValueId, OpError> {
        if let Some(elements) = self.elements.get(&value) {
            return Ok(*elements);
        }
        let Some(stored) = self.stored(value).cloned() else { op_error!("`{}` has no grid", self.name(value)) };
        let real = self.real(value)?;
        let mut builder = Builder::new(0);
        let x = builder.arg(real);
        let q = self.rounded(&mut builder, x, &stored, self.graph.ty(value).rank());
        let (body, args) = builder.finish(q);
        let origin = self.origin(real);
        let elements = self.graph.add(Map { body }, &args, &origin, &self.name(value))?;
        self.elements.insert(value, elements);
        Ok(elements)
    }

    /// How a value is stored, if it is read by its elements.
    pub fn read_elements(&self, value: ValueId) -> Option<&Stored> {
        let known = self.elements.contains_key(&value) && !self.reals.contains_key(&value);
        self.stored.get(&value).filter(|_| known)
    }

    /// A value as operand of an expression: its real numbers divided by `unit`.
    pub fn operand(&mut self, builder: &mut Builder, value: ValueId, unit: &Scale) -> Operand {
        let x = self.centred_operand(builder, value, unit);
        let Some(Stored { middle: Some(middle), axis, .. }) = self.read_elements(value) else { return x };
        let (rank, axis) = (self.graph.ty(value).rank(), *axis);
        let middle = Scale::Channels(middle.clone()).over(unit);
        middle.add(self.graph, builder, x, [rank, axis], "middle")
    }

    /// The same without the middle of its channels.
    pub fn centred_operand(&mut self, builder: &mut Builder, value: ValueId, unit: &Scale) -> Operand {
        let rank = self.graph.ty(value).rank();
        if let Some(stored) = self.read_elements(value).cloned() {
            let arg = builder.arg(self.elements[&value]);
            return self.counted(builder, arg, &stored, &stored.scale.over(unit), [rank, stored.axis]);
        }
        let arg = builder.arg(self.reals.get(&value).copied().unwrap_or(value));
        if self.graph.ty(value).dtype != DType::F32 {
            return arg;
        }
        let axis = channel_axis(self.graph, value);
        let name = self.name(value);
        Scale::One(1.0).over(unit).multiply(self.graph, builder, arg, [rank.max(1), axis], &name)
    }

    /// Elements of a grid as numbers in another unit, without the middle.
    fn counted(&mut self, builder: &mut Builder, elements: Operand, stored: &Stored, scale: &Scale, place: [usize; 2]) -> Operand {
        let mut x = builder.push(Fn::Cast(DType::F32), [elements]);
        if stored.zero != 0 {
            x = builder.push(Fn::Sub, [x, Builder::number(stored.zero.into())]);
        }
        scale.multiply(self.graph, builder, x, place, "scale")
    }

    /// Real numbers to elements of a grid.
    pub fn rounded(&mut self, builder: &mut Builder, x: Operand, stored: &Stored, rank: usize) -> Operand {
        let x = match &stored.middle {
            Some(middle) => {
                let away = Scale::Channels(middle.iter().map(|m| -m).collect());
                away.add(self.graph, builder, x, [rank, stored.axis], "middle")
            }
            None => x,
        };
        let steps = Scale::One(1.0).over(&stored.scale).multiply(self.graph, builder, x, [rank, stored.axis], "scale");
        builder.elements(steps, stored.zero, 0, 255)
    }

    /// A node that is no integer layer.
    fn other(&mut self, id: NodeId) -> Result<(), OpError> {
        let node = self.graph.node(id).clone();
        let out = self.emitted(node.outputs[0]);
        let quantised = node.inputs.iter().any(|v| self.elements.contains_key(v) && !self.reals.contains_key(v));
        match &node.op {
            Op::Map(map) if quantised || out.is_some() => {
                let mut builder = Builder::new(0);
                let body = map.body.clone();
                let operands: Vec<Operand> = node.inputs.iter().map(|v| self.operand(&mut builder, *v, &Scale::One(1.0))).collect();
                let y = builder.append(&body, &operands, 1.0);
                self.finish(&node, builder, y, out, Map { body: Pointwise::identity() }.into(), &[])
            }
            Op::Pool(pool) if pool.kind == PoolKind::Max && self.elements.contains_key(&node.inputs[0]) => {
                let x = self.elements[&node.inputs[0]];
                if pool.epilogue.is_identity() && out == self.stored(node.inputs[0]).cloned() && out.is_some() {
                    return self.moved(&node, &[x]);
                }
                self.reduced(&node, x, Operand::Arg(0), &pool.epilogue, out)
            }
            Op::Reduce(reduce) if reduce.kind == ReduceKind::Max && self.elements.contains_key(&node.inputs[0]) => {
                match self.stored[&node.inputs[0]].scale {
                    Scale::One(_) => self.reduced(&node, self.elements[&node.inputs[0]], Operand::Arg(0), &reduce.epilogue, out),
                    Scale::Channels(_) => self.plain(id, &node),
                }
            }
            Op::Pool(_) | Op::Reduce(_) if sums(&node.op) && self.elements.contains_key(&node.inputs[0]) && self.keeps_channels(&node) => {
                let stored = self.stored[&node.inputs[0]].clone();
                let mut centred = Pointwise::identity();
                let mut x = centred.push(Fn::Cast(DType::I32), vec![Operand::Arg(0)]);
                if stored.zero != 0 {
                    x = centred.push(Fn::Sub, vec![x, Operand::Literal(ir::pointwise::Literal::Int(stored.zero.into()))]);
                }
                let _ = x;
                let name = self.name(node.inputs[0]);
                let x = self.graph.add(Map { body: centred }, &[self.elements[&node.inputs[0]]], &node.origin, &name)?;
                let epilogue = node.op.def().epilogue().cloned().unwrap_or_default();
                self.reduced(&node, x, Operand::Arg(0), &epilogue, out)
            }
            op if moves(op) && out.is_some() => {
                let inputs: Vec<ValueId> = node.inputs.iter().map(|v| self.element(*v)).collect::<Result<_, _>>()?;
                self.moved(&node, &inputs)
            }
            // A layer that stays as it is rounds its results itself.
            Op::Conv(_) | Op::MatMul(_) if out.is_some() => {
                let own = [self.real(node.inputs[0])?, self.real(node.inputs[1])?];
                let mut builder = Builder::new(1);
                let mut operands = vec![Operand::Arg(0)];
                for extra in &node.inputs[2..] {
                    operands.push(self.operand(&mut builder, *extra, &Scale::One(1.0)));
                }
                let epilogue = node.op.def().epilogue().cloned().unwrap_or_default();
                let y = builder.append(&epilogue, &operands, 1.0);
                self.finish(&node, builder, y, out, node.op.clone(), &own)
            }
            _ => self.plain(id, &node),
        }
    }

    /// Every operand as real numbers.
    fn plain(&mut self, id: NodeId, node: &Node) -> Result<(), OpError> {
        let inputs: Vec<ValueId> = node.inputs.iter().map(|v| self.real(*v)).collect::<Result<_, _>>()?;
        self.graph.node_mut(id).inputs = inputs;
        Ok(())
    }

    /// The same operator on elements of one grid.
    fn moved(&mut self, node: &Node, inputs: &[ValueId]) -> Result<(), OpError> {
        let name = self.name(node.outputs[0]);
        let new = self.graph.add(node.op.clone(), inputs, &node.origin, &name)?;
        self.set(node.outputs[0], new);
        Ok(())
    }

    /// Whether the channels of a sum's operand are those of its result.
    fn keeps_channels(&self, node: &Node) -> bool {
        let stored = &self.stored[&node.inputs[0]];
        match &node.op {
            Op::Reduce(reduce) => stored.scale == Scale::One(stored.base) || !reduce.axes.contains(&(stored.axis as i64)),
            _ => true,
        }
    }

    /// A sum (of centred elements) or maximum `x`: its result as real numbers, then its epilogue.
    fn reduced(&mut self, node: &Node, x: ValueId, result: Operand, epilogue: &Pointwise, out: Option<Stored>) -> Result<(), OpError> {
        let stored = self.stored[&node.inputs[0]].clone();
        let rank = self.graph.ty(node.outputs[0]).rank();
        let axis = match &node.op {
            Op::Reduce(reduce) if !reduce.keepdims => stored.axis - reduce.axes.iter().filter(|a| (**a as usize) < stored.axis).count(),
            _ => stored.axis,
        };
        let mut builder = Builder::new(1);
        let centred = if sums(&node.op) { Stored { zero: 0, ..stored.clone() } } else { stored.clone() };
        let real = self.counted(&mut builder, result, &centred, &stored.scale, [rank, axis.min(rank.max(1) - 1)]);
        let mut operands = vec![real];
        for extra in &node.inputs[1..] {
            operands.push(self.operand(&mut builder, *extra, &Scale::One(1.0)));
        }
        let y = builder.append(epilogue, &operands, 1.0);
        self.finish(node, builder, y, out, node.op.clone(), &[x])
    }

    /// Adds the node whose expression is `y`, rounded to its grid if it is stored.
    pub fn finish(
        &mut self,
        node: &Node,
        mut builder: Builder,
        y: Operand,
        out: Option<Stored>,
        mut op: Op,
        own: &[ValueId],
    ) -> Result<(), OpError> {
        let rank = self.graph.ty(node.outputs[0]).rank();
        let y = match &out {
            Some(stored) => self.rounded(&mut builder, y, stored, rank),
            None => y,
        };
        let (expression, args) = builder.finish(y);
        match &mut op {
            Op::Map(map) => map.body = expression,
            op => *op.def_mut().epilogue_mut().expect("layers, pools and reductions have one") = expression,
        }
        let inputs: Vec<ValueId> = own.iter().chain(&args).copied().collect();
        let name = self.name(node.outputs[0]);
        let new = self.graph.add(op, &inputs, &node.origin, &name)?;
        self.set(node.outputs[0], new);
        Ok(())
    }
}

fn sums(op: &Op) -> bool {
    match op {
        Op::Pool(pool) => pool.kind == PoolKind::Sum,
        Op::Reduce(reduce) => reduce.kind == ReduceKind::Sum,
        _ => false,
    }
}
