//! A map moves into the one map that reads it.

use super::absorb::within_limits;
use super::body::{Body, compose};
use super::{Target, Uses};
use crate::context::{Context, node_name, union_origin};
use ir::ops::Op;
use ir::ops::map::Map;
use ir::{Graph, NodeId, ValueId};

const RULE: &str = "merge_maps";

/// Merges maps into their only reader. With a `target`: only maps between a producer that it names and the maps that
/// read the same result on another way, so that the result has one reader in the end.
pub fn merge_maps(graph: &mut Graph, context: &mut Context, target: Option<Target>) {
    let allowed = target.map(|t| shared_regions(graph, t));
    let mut uses = Uses::of(graph);
    for user in graph.order() {
        if !matches!(graph.node(user).op, Op::Map(_)) || allowed.as_ref().is_some_and(|a| !a[user.0 as usize]) {
            continue;
        }
        // An operand that was merged brings its own operands, which may be maps again.
        let mut refused: Vec<ValueId> = vec![];
        while let Some((operand, inner)) = graph.node(user).inputs.iter().find_map(|v| {
            let inner = graph.producer(*v)?;
            let open = allowed.as_ref().is_none_or(|a| a[inner.0 as usize]);
            (open && !refused.contains(v) && matches!(graph.node(inner).op, Op::Map(_))).then_some((*v, inner))
        }) {
            match merged(graph, &uses, inner, user) {
                Ok(body) => {
                    context.fired(RULE, || format!("{} into {}", node_name(graph, inner), node_name(graph, user)));
                    become_merged(graph, &mut uses, inner, user, body);
                }
                Err(why) => {
                    context.missed(RULE, || format!("{} into {}", node_name(graph, inner), node_name(graph, user)), || why);
                    refused.push(operand);
                }
            }
        }
    }
}

/// Nodes (by number) that lie in a region of maps of one shape below a target with more than one reader, all of
/// which are maps.
fn shared_regions(graph: &Graph, target: Target) -> Vec<bool> {
    let uses = Uses::of(graph);
    let mut inside = vec![false; graph.node_ids().last().map_or(0, |n| n.0 as usize + 1)];
    let is_map = |n: &NodeId| matches!(graph.node(*n).op, Op::Map(_));
    for id in graph.order() {
        let node = graph.node(id);
        let result = node.outputs[0];
        let readers = uses.readers(result);
        let starts = target(&node.op) && readers.len() > 1 && readers.iter().all(is_map) && !uses.is_output(result);
        let continues = inside[id.0 as usize];
        if starts || continues {
            for reader in readers.iter().filter(|r| is_map(r)) {
                inside[reader.0 as usize] |= graph.ty(graph.node(*reader).outputs[0]).shape == graph.ty(result).shape;
            }
        }
    }
    inside
}

fn merged(graph: &Graph, uses: &Uses, inner: NodeId, user: NodeId) -> Result<Body, String> {
    let (from, to) = (graph.node(inner), graph.node(user));
    let (Op::Map(f), Op::Map(g)) = (&from.op, &to.op) else { return Err("it is no map".into()) };
    let result = from.outputs[0];
    if !uses.is_single(result) {
        return Err(format!("the result of {} {}", node_name(graph, inner), uses.describe(result)));
    }
    let (small, large) = (graph.ty(result), graph.ty(to.outputs[0]));
    if small.shape != large.shape {
        return Err(format!("{small} would be computed again for every element of {large}"));
    }
    if g.body.is_identity() && to.inputs[0] != result {
        return Err("the map does not read it".into());
    }
    let body = compose(
        &Body { expression: g.body.clone(), args: to.inputs.clone() },
        result,
        &Body { expression: f.body.clone(), args: from.inputs.clone() },
        0,
    );
    // Unused operands may have been what gave the shape.
    let shapes: Vec<_> = body.args.iter().map(|v| &graph.ty(*v).shape[..]).collect();
    if ir::ops::map::broadcast_dims(&shapes).ok().as_ref() != Some(&large.shape) {
        return Err("an operand that only gives the shape would be lost".into());
    }
    within_limits(body, 0)
}

fn become_merged(graph: &mut Graph, uses: &mut Uses, inner: NodeId, user: NodeId, body: Body) {
    let origin = union_origin(graph, [inner, user]);
    let old = graph.node(inner).inputs.clone();
    graph.remove_node(inner);
    let node = graph.node_mut(user);
    (node.op, node.inputs, node.origin) = (Map { body: body.expression }.into(), body.args, origin);
    uses.moved(&old, inner, user);
}
