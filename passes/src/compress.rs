//! `compress_weights`: large `f32` weights are stored in fewer bits and become `f32` again when the module runs. Computation
//! stays in `f32`.
//!
//! Before: `y = conv(x, w)`. After, for `f16`: `v = map{cast_f32(%0)}(w16); y = conv(x, v)`; for `int8`:
//! `v = map{mul(cast_f32(%0), %1)}(w8, scales); …` with a scale per output channel.

use crate::context::{Context, value_name};
use crate::quantize::{Weights, column};
use ir::ops::Op;
use ir::ops::map::Map;
use ir::pointwise::{Fn, Operand, Pointwise};
use ir::{DType, Graph, NodeId, OpError, Tensor, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    F16,
    Int8,
}

/// Weights of fewer elements stay as they are: the code that expands them is no smaller.
const LEAST: usize = 4096;

/// The largest finite number of `f16`.
const LARGEST_HALF: f32 = 65504.0;

pub fn compress_weights(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let Some(to) = context.weights else { return Ok(()) };
    let mut found: BTreeMap<ValueId, (usize, Vec<Arc<str>>)> = BTreeMap::new();
    for id in graph.order() {
        for (value, axis) in weights(graph, id) {
            let fits = |x: &f32| to != WeightType::F16 || x.abs() <= LARGEST_HALF;
            let large =
                graph.constant(value).is_some_and(|w| w.dtype == DType::F32 && w.len() >= LEAST && w.as_slice::<f32>().iter().all(fits));
            if large {
                found.entry(value).or_insert_with(|| (axis, graph.node(id).origin.clone()));
            }
        }
    }
    for (value, (axis, origin)) in found {
        let tensor = graph.constant(value).expect("it is a constant").clone();
        let name = graph.value(value).name.clone();
        context.fired("compress_weights", || value_name(graph, value));
        let (body, args) = match to {
            WeightType::F16 => {
                let half = ir::ops::map::scalar::cast(&tensor, DType::F16);
                (Pointwise::of(Fn::Cast(DType::F32)), vec![graph.add_const(&name, half)])
            }
            WeightType::Int8 => {
                let Weights { elements, scales } = Weights::of(&tensor, axis, None, 1.0);
                let scales: Tensor = column(&scales, [tensor.rank(), axis]);
                let mut body = Pointwise::identity();
                let x = body.push(Fn::Cast(DType::F32), vec![Operand::Arg(0)]);
                body.push(Fn::Mul, vec![x, Operand::Arg(1)]);
                (body, vec![graph.add_const(&name, elements), graph.add_const(&format!("{name}.scale"), scales)])
            }
        };
        let expanded = graph.add(Map { body }, &args, &origin, &name)?;
        graph.replace_uses(value, expanded);
    }
    graph.compact();
    Ok(())
}

/// The operands of a node that are weights, and the dimension of each that gets its own scales.
fn weights(graph: &Graph, id: NodeId) -> Vec<(ValueId, usize)> {
    let node = graph.node(id);
    match &node.op {
        // Depthwise weights are few, and their kernels read them as constants.
        Op::Conv(_) if graph.ty(node.inputs[1]).shape[1] == 1 => vec![],
        Op::Conv(_) => vec![(node.inputs[1], 0)],
        Op::MatMul(matmul) => {
            let rank = graph.ty(node.inputs[1]).rank();
            vec![(node.inputs[1], if matmul.transpose_b { rank - 2 } else { rank - 1 })]
        }
        Op::Gather(_) => vec![(node.inputs[0], 0)],
        _ => vec![],
    }
}
