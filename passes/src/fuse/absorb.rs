//! A map moves into the epilogue of the heavy node that computes one of its operands.

use super::body::{Body, compose};
use super::{MAX_OPERANDS, MAX_STEPS, Target, Uses};
use crate::context::{Context, node_name, union_origin};
use ir::ops::Op;
use ir::pointwise::Pointwise;
use ir::{Graph, NodeId, ValueId};

const RULE: &str = "absorb_map";

/// Every map, operands before users, goes into a producer that `target` names, where that is possible.
pub fn absorb(graph: &mut Graph, context: &mut Context, target: Target) {
    let order = graph.order();
    let mut position = vec![0; graph.node_ids().last().map_or(0, |n| n.0 as usize + 1)];
    order.iter().enumerate().for_each(|(i, n)| position[n.0 as usize] = i);
    let mut uses = Uses::of(graph);
    for map in order {
        let Op::Map(_) = &graph.node(map).op else { continue };
        // Of two possible producers (a residual sum of two convolutions) the later one: the other is computed by then.
        let mut producers: Vec<NodeId> = graph.node(map).inputs.iter().filter_map(|v| graph.producer(*v)).collect();
        producers.retain(|p| target(&graph.node(*p).op));
        producers.sort_by_key(|p| std::cmp::Reverse(position[p.0 as usize]));
        producers.dedup();
        for heavy in producers {
            match fused(graph, &uses, heavy, map) {
                Ok(body) => {
                    context.fired(RULE, || format!("{} into {}", node_name(graph, map), node_name(graph, heavy)));
                    position[map.0 as usize] = position[map.0 as usize].max(position[heavy.0 as usize]);
                    become_heavy(graph, &mut uses, heavy, map, body);
                    break;
                }
                Err(why) => context.missed(RULE, || format!("{} into {}", node_name(graph, map), node_name(graph, heavy)), || why),
            }
        }
    }
}

/// The expression over `heavy`'s own result and the operands of both; or why not.
///
/// There can be no cycle: the other operands of the map would have to depend on the result of `heavy`, which nobody
/// but the map reads.
fn fused(graph: &Graph, uses: &Uses, heavy: NodeId, map: NodeId) -> Result<Body, String> {
    let (node, user) = (graph.node(heavy), graph.node(map));
    let Op::Map(outer) = &user.op else { return Err("it is no map".into()) };
    let result = node.outputs[0];
    if !uses.is_single(result) {
        return Err(format!("the result of {} {}", node_name(graph, heavy), uses.describe(result)));
    }
    let (small, large) = (graph.ty(result), graph.ty(user.outputs[0]));
    if small.shape != large.shape {
        return Err(format!("the result grows from {small} to {large}"));
    }
    if outer.body.is_identity() && user.inputs[0] != result {
        return Err("the map does not read it".into());
    }
    let own = node.op.own_inputs(node.inputs.len());
    let epilogue = node.op.def().epilogue().cloned().unwrap_or_else(Pointwise::identity);
    let inner = Body { expression: epilogue, args: std::iter::once(result).chain(node.inputs[own..].iter().copied()).collect() };
    let outer = Body { expression: outer.body.clone(), args: user.inputs.clone() };
    within_limits(compose(&outer, result, &inner, 1), 1)
}

/// Refuses expressions that are too large; `fixed` arguments do not count.
pub fn within_limits(body: Body, fixed: usize) -> Result<Body, String> {
    let (steps, operands) = (body.expression.steps.len(), body.args.len() - fixed);
    if steps > MAX_STEPS || operands > MAX_OPERANDS {
        return Err(format!("{steps} steps with {operands} operands are too many (at most {MAX_STEPS} and {MAX_OPERANDS})"));
    }
    Ok(body)
}

/// The map's node takes over operator and inputs, so that its output value keeps name and users.
fn become_heavy(graph: &mut Graph, uses: &mut Uses, heavy: NodeId, map: NodeId, body: Body) {
    let origin = union_origin(graph, [heavy, map]);
    let old = graph.node(heavy).clone();
    let mut op = old.op.clone();
    if let Some(epilogue) = op.def_mut().epilogue_mut() {
        *epilogue = body.expression;
    }
    let own = op.own_inputs(old.inputs.len());
    let inputs: Vec<ValueId> = old.inputs[..own].iter().chain(&body.args[1..]).copied().collect();
    graph.remove_node(heavy);
    let node = graph.node_mut(map);
    (node.op, node.inputs, node.origin) = (op, inputs, origin);
    uses.moved(&old.inputs, heavy, map);
}
