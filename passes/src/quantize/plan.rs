//! What can be quantised: which layers become integer layers, which tensors are stored as `u8` between them, and which of
//! those must share a grid. It changes nothing.

use ir::ops::Op;
use ir::ops::contract::conv::DataLayout;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::window::pool::PoolKind;
use ir::{DType, Graph, Node, NodeId, ValueId};
use std::collections::BTreeSet;

/// Why a convolution or matrix product does not become an integer layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Both operands are computed.
    Computed,
    /// It does not work on `f32`.
    Type,
    /// Dynamic quantisation is for matrix products.
    Static,
    /// The settings say so.
    Asked,
}

impl Kept {
    pub fn text(self) -> &'static str {
        match self {
            Kept::Computed => "both operands are computed, none are weights",
            Kept::Type => "its operands are not f32",
            Kept::Static => "convolutions need ranges from calibration (int8-static)",
            Kept::Asked => "it is sensitive",
        }
    }
}

/// What will be done.
#[derive(Debug)]
pub struct Plan {
    /// Integer layers in order of computation.
    pub layers: Vec<NodeId>,
    /// Convolutions and matrix products that are none, and why.
    pub kept: Vec<(NodeId, Kept)>,
    /// By value: somebody reads it as `u8`.
    wanted: Vec<bool>,
    /// By value: another one with the same grid, or itself.
    same: Vec<u32>,
}

/// Unique names of all values, by number: their own, with a number where one occurs again.
pub fn names(graph: &Graph) -> Vec<String> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut named = vec![String::new(); graph.value_ids().count()];
    let computed = graph.order().into_iter().flat_map(|n| graph.node(n).outputs.clone());
    for value in graph.inputs.iter().copied().chain(computed) {
        let own = &graph.value(value).name;
        let mut name = own.clone();
        let mut n = 2;
        while !seen.insert(name.clone()) {
            name = format!("{own}#{n}");
            n += 1;
        }
        named[value.0 as usize] = name;
    }
    named
}

impl Plan {
    /// Layers whose result has a name in `keep` stay as they are.
    pub fn of(graph: &Graph, keep: &BTreeSet<String>) -> Plan {
        let (names, order) = (names(graph), graph.order());
        let n = graph.value_ids().count();
        let mut plan = Plan { layers: vec![], kept: vec![], wanted: vec![false; n], same: (0..n as u32).collect() };
        for id in &order {
            let node = graph.node(*id);
            match obstacle(graph, node) {
                None => {}
                Some(Ok(())) if !keep.contains(&names[node.outputs[0].0 as usize]) => plan.layers.push(*id),
                Some(Ok(())) => plan.kept.push((*id, Kept::Asked)),
                Some(Err(why)) => plan.kept.push((*id, why)),
            }
        }
        for id in order.iter().rev() {
            plan.want_operands(graph, *id);
        }
        for id in &order {
            let node = graph.node(*id);
            for input in shared_inputs(node) {
                if plan.is_wanted(*input) && plan.is_wanted(node.outputs[0]) {
                    plan.join(*input, node.outputs[0]);
                }
            }
        }
        plan
    }

    pub fn is_layer(&self, node: NodeId) -> bool {
        self.layers.contains(&node)
    }

    /// Layers that multiply each channel by weights of its own.
    pub fn depthwise<'a>(&'a self, graph: &'a Graph) -> impl Iterator<Item = NodeId> + 'a {
        let is_depthwise = |node: &Node| match &node.op {
            Op::Conv(conv) => conv.group > 1 && graph.constant(node.inputs[1]).is_some_and(|w| w.shape[1] == 1),
            _ => false,
        };
        self.layers.iter().copied().filter(move |id| is_depthwise(graph.node(*id)))
    }

    pub fn is_wanted(&self, value: ValueId) -> bool {
        self.wanted.get(value.0 as usize).is_some_and(|w| *w)
    }

    /// The values that are read as `u8`, in order of number.
    pub fn wanted(&self) -> impl Iterator<Item = ValueId> + '_ {
        (0..self.wanted.len() as u32).map(ValueId).filter(|v| self.is_wanted(*v))
    }

    /// The value that stands for all that share a grid with this one.
    pub fn representative(&self, value: ValueId) -> ValueId {
        let mut at = value.0;
        while self.same[at as usize] != at {
            at = self.same[at as usize];
        }
        ValueId(at)
    }

    fn join(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.representative(a).0, self.representative(b).0);
        self.same[a.max(b) as usize] = a.min(b);
    }

    /// Marks what a node reads as `u8`: an integer layer its input; others what they can take, if their result is `u8`.
    fn want_operands(&mut self, graph: &Graph, id: NodeId) {
        let node = graph.node(id);
        let own = node.op.own_inputs(node.inputs.len());
        if self.layers.contains(&id) {
            self.wanted[node.inputs[0].0 as usize] = true;
        }
        if !self.wanted[node.outputs[0].0 as usize] {
            return;
        }
        let operands = match &node.op {
            Op::Conv(_) | Op::MatMul(_) => &node.inputs[own..],
            op if emits(op) => &node.inputs,
            _ => &[],
        };
        for value in operands {
            let computed = graph.producer(*value).is_some_and(|p| emits(&graph.node(p).op));
            self.wanted[value.0 as usize] |= computed && graph.ty(*value).dtype == DType::F32;
        }
    }
}

/// Nothing for other operators; whether a convolution or matrix product can become an integer layer.
fn obstacle(graph: &Graph, node: &Node) -> Option<Result<(), Kept>> {
    let (x, w) = match &node.op {
        Op::Conv(conv) if conv.data == DataLayout::Nchw => (node.inputs[0], node.inputs[1]),
        Op::MatMul(_) => (node.inputs[0], node.inputs[1]),
        _ => return None,
    };
    if graph.ty(x).dtype != DType::F32 || graph.ty(w).dtype != DType::F32 {
        return Some(Err(Kept::Type));
    }
    let weights = graph.constant(w).is_some_and(|w| !matches!(node.op, Op::MatMul(_)) || w.rank() == 2);
    Some(if weights { Ok(()) } else { Err(Kept::Computed) })
}

/// Operators that can end in a quantisation, or hand elements on.
fn emits(op: &Op) -> bool {
    match op {
        Op::Reduce(reduce) => matches!(reduce.kind, ReduceKind::Sum | ReduceKind::Max),
        Op::Conv(_) | Op::MatMul(_) | Op::Map(_) | Op::Pool(_) => true,
        op => moves(op),
    }
}

/// Operators that move elements and compute nothing.
pub fn moves(op: &Op) -> bool {
    matches!(op, Op::Concat(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Expand(_))
}

/// Operands whose elements appear unchanged in the result.
fn shared_inputs(node: &Node) -> &[ValueId] {
    match &node.op {
        Op::Pool(pool) if pool.kind == PoolKind::Max && pool.epilogue.is_identity() => &node.inputs,
        op if moves(op) => &node.inputs,
        _ => &[],
    }
}

/// The dimension of a value along which its channels run.
pub fn channel_axis(graph: &Graph, value: ValueId) -> usize {
    let rank = graph.ty(value).rank();
    let image = graph.producer(value).is_some_and(|p| matches!(graph.node(p).op, Op::Conv(_) | Op::Pool(_)));
    if rank >= 4 || (rank == 3 && image) { 1 } else { rank.max(1) - 1 }
}
