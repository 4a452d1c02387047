//! A permutation in front of a flattening and a matrix product moves into the rows of the constant weights.
//!
//! Before: `t = transpose(x; perm=[0,3,1,2]); f = reshape(t; shape=[N, C·H·W]); y = matmul(f, w)`. After:
//! `f = reshape(x; shape=[N, H·W·C]); y = matmul(f, w')`, where `w'` has the rows of `w` in the order of `f`.

use super::forms::{reshape, transpose};
use crate::context::{Context, node_name};
use ir::ops::Op;
use ir::{Graph, NodeId, OpError, ValueId};

const RULE: &str = "flatten_matmul";

pub fn flatten_matmul(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    for id in graph.order() {
        if !matches!(graph.node(id).op, Op::MatMul(_)) {
            continue;
        }
        match permuted_flatten(graph, id) {
            Ok(Some(found)) => {
                context.fired(RULE, || node_name(graph, id));
                move_into_weights(graph, id, &found)?;
            }
            Ok(None) => {}
            Err(why) => context.missed(RULE, || node_name(graph, id), || why),
        }
    }
    Ok(())
}

/// A flattened transposition.
struct Flattened {
    /// What is transposed.
    x: ValueId,
    /// The permutation of its dimensions.
    perm: Vec<usize>,
    /// The dimensions that are not flattened, and stay in place.
    lead: usize,
    /// The shape of the flattened value.
    shape: Vec<ir::Dim>,
}

fn permuted_flatten(graph: &Graph, matmul: NodeId) -> Result<Option<Flattened>, String> {
    let inputs = &graph.node(matmul).inputs;
    let producer = |v: ValueId| graph.producer(v).map(|n| graph.node(n));
    let Some(flat) = producer(inputs[0]) else { return Ok(None) };
    let Op::Reshape(to) = &flat.op else { return Ok(None) };
    let Some(moved) = producer(flat.inputs[0]) else { return Ok(None) };
    let Op::Transpose(by) = &moved.op else { return Ok(None) };
    let perm: Vec<usize> = by.perm.iter().map(|p| *p as usize).collect();
    let (from, lead) = (&graph.ty(flat.inputs[0]).shape, to.shape.len() - 1);
    if from.len() <= lead || from[..lead] != to.shape[..lead] || (0..lead).any(|d| perm[d] != d) {
        return Err("the reshape does more than flatten the dimensions that move".into());
    }
    if graph.constant(inputs[1]).is_none() || graph.ty(inputs[1]).rank() != 2 {
        return Err("the weights are not a constant matrix".into());
    }
    if from[lead..].iter().any(|d| !d.is_const()) {
        return Err("the flattened sizes are not known".into());
    }
    Ok(Some(Flattened { x: moved.inputs[0], perm, lead, shape: to.shape.clone() }))
}

fn move_into_weights(graph: &mut Graph, matmul: NodeId, found: &Flattened) -> Result<(), OpError> {
    let node = graph.node(matmul).clone();
    let Op::MatMul(op) = &node.op else { return Ok(()) };
    let name = graph.value(node.inputs[0]).name.clone();
    let flat = reshape(graph, found.x, found.shape.clone(), &node.origin, &name)?;
    // Row k of the weights as an index into the transposed dimensions, those permuted back, and one index again.
    let weights = node.inputs[1];
    let (name, shape) = (graph.value(weights).name.clone(), graph.ty(weights).shape.clone());
    let sizes: Vec<ir::Dim> = found.perm[found.lead..].iter().map(|p| graph.ty(found.x).shape[*p].clone()).collect();
    let columns_first = usize::from(op.transpose_b);
    let mut split = sizes;
    split.insert(if op.transpose_b { 0 } else { split.len() }, shape[1 - columns_first].clone());
    let mut back = vec![0; split.len()];
    for (d, p) in found.perm[found.lead..].iter().enumerate() {
        back[p - found.lead + columns_first] = d + columns_first;
    }
    let column = if op.transpose_b { 0 } else { split.len() - 1 };
    back[column] = column;
    let split = reshape(graph, weights, split, &node.origin, &name)?;
    let moved = transpose(graph, split, &back, &node.origin, &name)?;
    let moved = reshape(graph, moved, shape, &node.origin, &name)?;
    let inputs = &mut graph.node_mut(matmul).inputs;
    (inputs[0], inputs[1]) = (flat, moved);
    Ok(())
}
