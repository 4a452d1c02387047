//! `eliminate_dead_code`: drops nodes and values that no output needs.
//!
//! Before: `a = relu(x); b = exp(x); output a`. After: `a = relu(x); output a`. Model inputs stay, used or not.

use crate::context::Context;
use ir::{Graph, OpError};

pub fn eliminate_dead_code(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let live = graph.order();
    let dead: Vec<_> = graph.node_ids().filter(|n| !live.contains(n)).collect();
    for node in dead {
        context.fired("dead_node", || crate::context::node_name(graph, node));
    }
    graph.compact();
    Ok(())
}
