//! `compress_weights`: large `f32` weights are stored in fewer bits and become `f32` again when the module runs. Computation
//! stays in `f32`. Weights that are whole numbers times a scale, as models with 4- or 8-bit weights have them, are stored as
//! these numbers in any case: nothing is lost.
//!
//! For `f16` weights are rounded to its numbers and stay constants, which the lowering stores in half the bytes; tables whose rows
//! are looked up become `f16`.
//!
//! Before: `y = conv(x, w)`. After, for `int8`:
//! `v = map{mul(cast_f32(%0), %1)}(w8, scales); …` with a scale per output channel; for `int4` two maps take the halves of
//! bytes apart, with a scale for every block of 32 numbers. Tables are stored so too: the rows that are looked up are expanded.

mod blocks;

use crate::context::{Context, value_name};
use crate::quantize::{Weights, column};
use blocks::{Blocks, Form};
use ir::ops::Op;
use ir::ops::gather::gather_op::Gather;
use ir::ops::map::Map;
use ir::pointwise::{Fn, Operand, Pointwise};
use ir::{DType, Dim, Graph, NodeId, OpError, Tensor, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    F16,
    Int8,
    Int4,
}

/// Weights of fewer elements stay as they are: the code that expands them is no smaller.
const LEAST: usize = 4096;
/// The same for `f16`, which one function expands.
const LEAST_HALVES: usize = 256;

/// The largest finite number of `f16`.
const LARGEST_HALF: f32 = 65504.0;

/// Stored weights, as constants of the graph.
enum Stored {
    Half(ValueId),
    /// Elements and the scales that broadcast to them.
    Bytes(ValueId, ValueId),
    Blocks(Blocks),
}

/// Who reads a tensor of weights, and where its channels are.
struct Found {
    axis: usize,
    origin: Vec<Arc<str>>,
    /// Nodes that look rows up.
    lookups: Vec<NodeId>,
    /// Somebody reads all of it.
    whole: bool,
}

pub fn compress_weights(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let mut found: BTreeMap<ValueId, Found> = BTreeMap::new();
    for id in graph.order() {
        let half = context.weights == Some(WeightType::F16);
        for (value, axis) in weights(graph, id, half) {
            let least = if half { LEAST_HALVES } else { LEAST };
            if graph.constant(value).is_some_and(|w| w.dtype == DType::F32 && w.len() >= least) {
                let origin = &graph.node(id).origin;
                let entry = found.entry(value).or_insert_with(|| Found { axis, origin: origin.clone(), lookups: vec![], whole: false });
                match &graph.node(id).op {
                    Op::Gather(gather) if gather.axis == 0 => entry.lookups.push(id),
                    _ => entry.whole = true,
                }
            }
        }
    }
    for (value, Found { axis, origin, lookups, whole }) in found {
        let tensor = graph.constant(value).expect("it is a constant").clone();
        let Some(stored) = stored(graph, value, &tensor, axis, context.weights) else { continue };
        context.fired("compress_weights", || value_name(graph, value));
        if let (Stored::Half(half), true) = (&stored, lookups.is_empty()) {
            let rounded = graph.constant(*half).map(|half| ir::ops::map::scalar::cast(half, DType::F32));
            let name = graph.value(value).name.clone();
            let rounded = graph.add_const(&name, rounded.expect("it was added as one"));
            graph.replace_uses(value, rounded);
            continue;
        }
        let name = graph.value(value).name.clone();
        let mut rest = whole;
        for id in lookups {
            rest |= !looked_up(graph, &stored, id, &tensor.shape)?;
        }
        if rest {
            let shape: Vec<Dim> = tensor.shape.iter().map(|n| Dim::from(*n as i64)).collect();
            let lead = stored.lead(graph);
            let expanded = stored.expanded(graph, &lead, shape, &origin, &name)?;
            graph.replace_uses(value, expanded);
        }
    }
    graph.compact();
    Ok(())
}

/// The smaller form of weights, if they have one.
fn stored(graph: &mut Graph, value: ValueId, tensor: &Tensor, axis: usize, to: Option<WeightType>) -> Option<Stored> {
    let name = graph.value(value).name.clone();
    // Depthwise weights have to stay constants.
    let form = Form::of(&tensor.shape, axis).filter(|_| tensor.rank() < 3 || tensor.shape[1] > 1);
    let numbers = tensor.as_slice::<f32>();
    if let Some(blocks) = form.and_then(|form| Blocks::exact(graph, &name, numbers, form)) {
        return Some(Stored::Blocks(blocks));
    }
    match to? {
        WeightType::F16 if numbers.iter().any(|x| x.abs() > LARGEST_HALF) => None,
        WeightType::F16 => Some(Stored::Half(graph.add_const(&name, ir::ops::map::scalar::cast(tensor, DType::F16)))),
        to => {
            let blocks = form.filter(|_| to == WeightType::Int4).and_then(|form| Blocks::rounded(graph, &name, numbers, form));
            if let Some(blocks) = blocks {
                return Some(Stored::Blocks(blocks));
            }
            let Weights { elements, scales } = Weights::of(tensor, axis, None, 1.0);
            // A column of rows is looked up as rows are: it has all dimensions.
            let mut shape = vec![1; tensor.rank()];
            shape[axis] = scales.len();
            let scales = column(&scales, [tensor.rank(), axis]).reshaped(&shape);
            Some(Stored::Bytes(graph.add_const(&name, elements), graph.add_const(&format!("{name}.scale"), scales)))
        }
    }
}

/// Looks rows up in what is stored, and expands them; not where rows are no rows there.
fn looked_up(graph: &mut Graph, stored: &Stored, id: NodeId, shape: &[usize]) -> Result<bool, OpError> {
    let node = graph.node(id).clone();
    let rows = shape[0];
    let own = stored.values().into_iter().all(|v| graph.ty(v).shape[0].as_const() == Some(rows as i64));
    if !own || node.inputs.len() != 2 {
        return Ok(false);
    }
    let name = graph.value(node.outputs[0]).name.clone();
    let mut row = |value: ValueId| graph.add(Gather { axis: 0 }, &[value, node.inputs[1]], &node.origin, &name);
    let rows = match stored {
        Stored::Half(half) => Stored::Half(row(*half)?),
        Stored::Bytes(elements, scales) => Stored::Bytes(row(*elements)?, row(*scales)?),
        Stored::Blocks(blocks) => Stored::Blocks(blocks.each(row)?),
    };
    let (lead, result) = (graph.ty(node.inputs[1]).shape.clone(), graph.ty(node.outputs[0]).shape.clone());
    let expanded = rows.expanded(graph, &lead, result, &node.origin, &name)?;
    graph.replace_uses(node.outputs[0], expanded);
    Ok(true)
}

impl Stored {
    fn values(&self) -> Vec<ValueId> {
        match self {
            Stored::Half(half) => vec![*half],
            Stored::Bytes(elements, scales) => vec![*elements, *scales],
            Stored::Blocks(blocks) => blocks.values(),
        }
    }

    /// The dimensions in front of blocks.
    fn lead(&self, graph: &Graph) -> Vec<Dim> {
        match self {
            Stored::Blocks(blocks) => graph.ty(blocks.elements).shape[..1].to_vec(),
            _ => vec![],
        }
    }

    /// The numbers in `f32`, as a tensor of this shape.
    fn expanded(&self, graph: &mut Graph, lead: &[Dim], shape: Vec<Dim>, origin: &[Arc<str>], name: &str) -> Result<ValueId, OpError> {
        match self {
            Stored::Half(half) => graph.add(Map::of(Fn::Cast(DType::F32)), &[*half], origin, name),
            Stored::Bytes(elements, scales) => {
                let mut body = Pointwise::identity();
                let x = body.push(Fn::Cast(DType::F32), vec![Operand::Arg(0)]);
                body.push(Fn::Mul, vec![x, Operand::Arg(1)]);
                graph.add(Map { body }, &[*elements, *scales], origin, name)
            }
            Stored::Blocks(blocks) => blocks.expanded(graph, lead, shape, origin, name),
        }
    }
}

/// The operands of a node that are weights, and the dimension of each that gets its own scales.
fn weights(graph: &Graph, id: NodeId, depthwise: bool) -> Vec<(ValueId, usize)> {
    let node = graph.node(id);
    match &node.op {
        // Depthwise weights are few, and their kernels read them as constants.
        Op::Conv(_) if graph.ty(node.inputs[1]).shape[1] == 1 && !depthwise => vec![],
        Op::Conv(_) => vec![(node.inputs[1], 0)],
        Op::MatMul(matmul) => {
            let rank = graph.ty(node.inputs[1]).rank();
            vec![(node.inputs[1], if matmul.transpose_b { rank - 2 } else { rank - 1 })]
        }
        Op::Gather(_) => vec![(node.inputs[0], 0)],
        _ => vec![],
    }
}
