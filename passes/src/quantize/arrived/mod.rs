//! `integer_layers`: models that arrive with `QuantizeLinear` and `DequantizeLinear` around `f32` operators compute on the
//! integers themselves.
//!
//! Before: `x = map{(q − z) · s}(q); w = map{(p − 0) · t}(p); y = conv(x, w) + b; r = map{u8(clamp(round(y / u) + v))}(y)`. After:
//! `r = conv(q, p, b32 − z · Σp, m; pad_value=z, epilogue={u8(clamp(round(f32(%0 + %1) · %2) + v))})` with `m = s · t / u`,
//! and `b32` the bias in steps of `s · t`: the form that onnxruntime gives such layers too. Rounding differs from the
//! `f32` form by at most one step, where a number lies between two.
//!
//! What only moves or compares elements does so in 8 bits; sums of elements are exact. Other operators stay between their
//! maps, which fusion merges into maps from 8 bits to 8 bits.

mod form;
mod product;

use super::expression::Builder;
use crate::context::{Context, node_name};
use form::{Dequantized, Known};
use ir::ops::Op;
use ir::ops::map::Map;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::window::pool::PoolKind;
use ir::pointwise::{Fn, Literal, Operand, Pointwise};
use ir::{DType, Graph, Node, NodeId, OpError, Tensor, ValueId};
use std::collections::HashMap;

/// A graph on its way to integers.
struct Rewriter<'a> {
    graph: &'a mut Graph,
    known: Known,
    /// Real numbers that were made of 8-bit elements by one scale.
    reals: HashMap<ValueId, Dequantized>,
    /// Who reads a value. Outputs of the model count as readers that are no node.
    users: HashMap<ValueId, Vec<Option<NodeId>>>,
}

pub fn integer_layers(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let mut users: HashMap<ValueId, Vec<Option<NodeId>>> = HashMap::new();
    for id in graph.order() {
        graph.node(id).inputs.iter().for_each(|v| users.entry(*v).or_default().push(Some(id)));
    }
    graph.outputs.iter().for_each(|o| users.entry(o.value).or_default().push(None));
    let order = graph.order();
    let mut rewriter = Rewriter { graph, known: Known::default(), reals: HashMap::new(), users };
    for id in &order {
        rewriter.unsigned(*id)?;
    }
    for id in rewriter.graph.order() {
        if let Some(rule) = rewriter.node(id)? {
            context.fired(rule, || node_name(rewriter.graph, id));
        }
    }
    if context.changes() > 0 {
        graph.compact();
    }
    Ok(())
}

impl Rewriter<'_> {
    /// Rewrites one node; says what was done.
    fn node(&mut self, id: NodeId) -> Result<Option<&'static str>, OpError> {
        let node = self.graph.node(id).clone();
        if let Some(real) = form::dequantized(self.graph, &mut self.known, node.outputs[0]) {
            self.reals.insert(node.outputs[0], real);
            return Ok(None);
        }
        if let Some(elements) = form::same_elements(self.graph, &mut self.known, &self.reals, &node) {
            self.replace(node.outputs[0], elements);
            return Ok(Some("same_grid"));
        }
        Ok(match &node.op {
            Op::Conv(_) | Op::MatMul(_) => product::rewrite(self, &node)?.then_some("integer_layer"),
            Op::Concat(_) if self.joined(&node)? => Some("joins_elements"),
            op if moves(op) => self.moved(&node)?.then_some("moves_elements"),
            Op::Pool(pool) if pool.kind == PoolKind::Sum && pool.epilogue.is_identity() => self.summed(&node)?.then_some("sums_elements"),
            Op::Reduce(reduce) if reduce.kind == ReduceKind::Sum && reduce.epilogue.is_identity() => {
                self.summed(&node)?.then_some("sums_elements")
            }
            _ => None,
        })
    }

    /// The only reader of a value.
    fn only_user(&self, value: ValueId) -> Option<NodeId> {
        match self.users.get(&value).map(Vec::as_slice) {
            Some([Some(user)]) => Some(*user),
            _ => None,
        }
    }

    /// Readers of `old` read `new`.
    fn replace(&mut self, old: ValueId, new: ValueId) {
        self.graph.replace_uses(old, new);
        let users = self.users.remove(&old).unwrap_or_default();
        self.users.entry(new).or_default().extend(users);
    }

    /// Adds a node and notes that it reads its operands.
    fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId], like: &Node) -> Result<ValueId, OpError> {
        let name = self.graph.value(like.outputs[0]).name.clone();
        let node = self.graph.add_node(op, inputs, &like.origin, &name)?;
        inputs.iter().for_each(|v| self.users.entry(*v).or_default().push(Some(node)));
        Ok(self.graph.node(node).outputs[0])
    }

    /// `i8` elements between two layers become `u8`, as the fastest kernels read them: everything counts 128 higher.
    fn unsigned(&mut self, id: NodeId) -> Result<(), OpError> {
        let result = self.graph.node(id).outputs[0];
        if self.graph.ty(result).dtype != DType::I8 {
            return Ok(());
        }
        let Some(grid) = form::quantized(self.graph, &mut self.known, result) else { return Ok(()) };
        let users = self.users.get(&result).cloned().unwrap_or_default();
        let reads: Option<Vec<ValueId>> = users.iter().map(|user| self.dequantized_from((*user)?)).collect();
        let Some(reads) = reads.filter(|reads| !reads.is_empty()) else { return Ok(()) };
        if self.only_user(grid.steps).is_none() {
            return Ok(());
        }
        let node = self.graph.node(id).clone();
        self.users.remove(&grid.steps);
        let y = self.add(Map::of(Fn::Round), &[grid.steps], &node)?;
        let y = self.with_number(Fn::Add, y, (grid.zero + 128) as f32, &node)?;
        let mut clamp = Pointwise::identity();
        clamp.push(
            Fn::Clamp,
            [Operand::Arg(0)].into_iter().chain([grid.low, grid.high].map(|x| Builder::number((x + 128) as f32))).collect(),
        );
        let y = self.add(Map { body: clamp }, &[y], &node)?;
        let elements = self.add(Map::of(Fn::Cast(DType::U8)), &[y], &node)?;
        for real in reads {
            let Some(from) = form::dequantized(self.graph, &mut self.known, real) else { continue };
            let like = self.graph.node(self.graph.producer(real).expect("a node computes it")).clone();
            let new = self.real(Dequantized { elements, zero: from.zero + 128, ..from }, &like)?;
            self.replace(real, new);
        }
        Ok(())
    }

    /// The real numbers that a cast begins to make, if nothing else comes of it.
    fn dequantized_from(&mut self, cast: NodeId) -> Option<ValueId> {
        let mut at = self.graph.node(cast).outputs[0];
        for _ in 0..2 {
            at = self.graph.node(self.only_user(at)?).outputs[0];
            if form::dequantized(self.graph, &mut self.known, at).is_some() {
                return Some(at);
            }
        }
        None
    }

    /// A function of a value and a number.
    fn with_number(&mut self, f: Fn, x: ValueId, number: f32, like: &Node) -> Result<ValueId, OpError> {
        let number = self.graph.add_const(&self.graph.value(x).name.clone(), Tensor::scalar(number));
        self.add(Map::of(f), &[x, number], like)
    }

    /// The real numbers that elements stand for.
    fn real(&mut self, form: Dequantized, like: &Node) -> Result<ValueId, OpError> {
        let mut x = self.add(Map::of(Fn::Cast(DType::F32)), &[form.elements], like)?;
        if form.zero != 0 {
            x = self.with_number(Fn::Sub, x, form.zero as f32, like)?;
        }
        let real = self.with_number(Fn::Mul, x, form.scale, like)?;
        self.reals.insert(real, form);
        Ok(real)
    }

    /// Elements move (or the largest is taken) before they become real numbers.
    fn moved(&mut self, node: &Node) -> Result<bool, OpError> {
        let forms: Option<Vec<Dequantized>> = node.inputs.iter().map(|v| self.reals.get(v).copied()).collect();
        let Some(forms) = forms.filter(|f| !f.is_empty()) else { return Ok(false) };
        let first = forms[0];
        let alike = |f: &Dequantized| (f.scale, f.zero) == (first.scale, first.zero) && self.graph.ty(f.elements).dtype == DType::U8;
        if !forms.iter().all(alike) {
            return Ok(false);
        }
        let elements: Vec<ValueId> = forms.iter().map(|f| f.elements).collect();
        let elements = self.add(node.op.clone(), &elements, node)?;
        let real = self.real(Dequantized { elements, ..first }, node)?;
        self.replace(node.outputs[0], real);
        Ok(true)
    }

    /// Tensors of different grids that are joined and rounded once more: each is rounded to the last grid, then joined.
    fn joined(&mut self, node: &Node) -> Result<bool, OpError> {
        let forms: Option<Vec<Dequantized>> = node.inputs.iter().map(|v| self.reals.get(v).copied()).collect();
        let (Some(forms), Some(to)) = (forms, product::rounding(self, node.outputs[0])) else { return Ok(false) };
        let mut elements = vec![];
        for (form, real) in forms.iter().zip(&node.inputs) {
            if (form.scale, form.zero, to.bounds) == (to.scale, to.zero, (0, 255)) && self.graph.ty(form.elements).dtype == DType::U8 {
                elements.push(form.elements);
                continue;
            }
            let mut builder = Builder::new(0);
            let x = builder.arg(*real);
            let x = builder.push(Fn::Div, [x, Builder::number(to.scale)]);
            let q = builder.elements(x, to.zero as u8, to.bounds.0, to.bounds.1);
            let (body, args) = builder.finish(q);
            elements.push(self.add(Map { body }, &args, node)?);
        }
        let all = self.add(node.op.clone(), &elements, node)?;
        self.replace(to.result, all);
        Ok(true)
    }

    /// Sums count elements in `i32`.
    fn summed(&mut self, node: &Node) -> Result<bool, OpError> {
        let Some(form) = self.reals.get(&node.inputs[0]).copied() else { return Ok(false) };
        let mut centred = Pointwise::identity();
        centred.push(Fn::Cast(DType::I32), vec![Operand::Arg(0)]);
        if form.zero != 0 {
            centred.push(Fn::Sub, vec![Operand::Step(0), Operand::Literal(Literal::Int(form.zero.into()))]);
        }
        let centred = self.add(Map { body: centred }, &[form.elements], node)?;
        let sums = self.add(node.op.clone(), &[centred], node)?;
        let mut body = Pointwise::identity();
        let x = body.push(Fn::Cast(DType::F32), vec![Operand::Arg(0)]);
        body.push(Fn::Mul, vec![x, Builder::number(form.scale)]);
        let real = self.add(Map { body }, &[sums], node)?;
        self.replace(node.outputs[0], real);
        Ok(true)
    }
}

/// Operators that give elements of their operands, whatever they stand for.
fn moves(op: &Op) -> bool {
    match op {
        Op::Pool(pool) => pool.kind == PoolKind::Max && pool.epilogue.is_identity(),
        op => super::plan::moves(op),
    }
}
