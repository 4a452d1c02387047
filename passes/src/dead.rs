//! `eliminate_dead_code`: drops nodes and values that no output needs.
//!
//! Before: `a = relu(x); b = exp(x); output a`. After: `a = relu(x); output a`. Model inputs stay, used or not.

use crate::context::Context;
use ir::{Graph, NodeId, OpError};
use std::collections::HashSet;

pub fn eliminate_dead_code(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let live: HashSet<NodeId> = graph.order().into_iter().collect();
    let dead: Vec<NodeId> = graph.node_ids().filter(|n| !live.contains(n)).collect();
    for node in dead {
        context.fired("dead_node", || crate::context::node_name(graph, node));
    }
    graph.compact();
    Ok(())
}
