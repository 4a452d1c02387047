//! A map of one tensor moves in front of the reshape or transpose that computes its operand, towards a node that can
//! take it in.
//!
//! Before: `c = conv(x, w); f = reshape(c); y = relu(f)`. After: `c = conv(x, w); r = relu(c); y = reshape(r)`.

use super::{Target, Uses};
use crate::context::{Context, node_name};
use ir::ops::Op;
use ir::{DType, Graph, NodeId, ValueId};

const RULE: &str = "hoist_map";

pub fn hoist_maps(graph: &mut Graph, context: &mut Context, target: Target) {
    let mut uses = Uses::of(graph);
    for map in graph.order() {
        // Upwards over as many reshapes and transposes as there are.
        let mut map = map;
        while let Some(view) = movable(graph, &uses, map, target) {
            context.fired(RULE, || format!("{} before {}", node_name(graph, map), node_name(graph, view)));
            swap(graph, &mut uses, view, map);
            map = view;
        }
    }
}

fn is_view(op: &Op) -> bool {
    matches!(op, Op::Reshape(_) | Op::Transpose(_))
}

/// The view in front of a map of one tensor, when nobody else reads it and a target is in front of that.
fn movable(graph: &Graph, uses: &Uses, map: NodeId, target: Target) -> Option<NodeId> {
    let node = graph.node(map);
    let (Op::Map(_), [operand]) = (&node.op, &node.inputs[..]) else { return None };
    let view = graph.producer(*operand).filter(|v| is_view(&graph.node(*v).op))?;
    let mut at: ValueId = *operand;
    loop {
        // Every result on the way has one reader, or the map would be computed for the others too.
        if !uses.is_single(at) {
            return None;
        }
        let producer = graph.node(graph.producer(at)?);
        match &producer.op {
            op if is_view(op) => at = producer.inputs[0],
            op => return target(op).then_some(view),
        }
    }
}

/// The view's node becomes the map and the map's node the view, so that the result keeps its name and users.
fn swap(graph: &mut Graph, uses: &mut Uses, view: NodeId, map: NodeId) {
    let (front, back) = (graph.node(view).clone(), graph.node(map).clone());
    let dtype: DType = graph.ty(back.outputs[0]).dtype;
    let shape = graph.ty(front.inputs[0]).shape.clone();
    let name = graph.value(back.outputs[0]).name.clone();
    let between = graph.value_mut(front.outputs[0]);
    (between.ty.dtype, between.ty.shape, between.sizes, between.name) = (dtype, shape, None, name);
    let node = graph.node_mut(view);
    (node.op, node.origin) = (back.op, back.origin);
    let node = graph.node_mut(map);
    (node.op, node.origin) = (front.op, front.origin);
    uses.add(front.inputs[0], view);
}
