//! `share_common`: equal expressions are computed once, equal constants are kept once.
//!
//! Before: `a = relu(x); b = relu(x); c = add(a, b)`. After: `a = relu(x); c = add(a, a)`. Operands in another order
//! do not count as equal.

use crate::context::{Context, value_name};
use ir::{Def, Graph, OpError, Tensor, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

pub fn share_common(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    // First occurrence of every value that is replaced by an equal one.
    let mut same: Vec<ValueId> = graph.value_ids().collect();
    share_constants(graph, context, &mut same);
    let mut known: HashMap<(String, Vec<ValueId>), Vec<ValueId>> = HashMap::new();
    for id in graph.order() {
        for input in &mut graph.node_mut(id).inputs {
            *input = same[input.0 as usize];
        }
        let node = graph.node(id);
        let key = (format!("{} {:?}", node.op.name(), node.op.attrs()), node.inputs.clone());
        match known.get(&key) {
            None => {
                known.insert(key, node.outputs.clone());
            }
            Some(first) => {
                for (mine, first) in node.outputs.iter().zip(first) {
                    same[mine.0 as usize] = *first;
                }
                context.fired("equal_node", || crate::context::node_name(graph, id));
            }
        }
    }
    for output in &mut graph.outputs {
        output.value = same[output.value.0 as usize];
    }
    Ok(())
}

fn share_constants(graph: &Graph, context: &mut Context, same: &mut [ValueId]) {
    let mut by_hash: HashMap<u64, Vec<ValueId>> = HashMap::new();
    let uses = graph.use_counts();
    for id in graph.value_ids() {
        let Def::Const(tensor) = &graph.value(id).def else { continue };
        if uses[id.0 as usize] == 0 {
            continue;
        }
        let bucket = by_hash.entry(tensor.content_hash()).or_default();
        let equal = |other: &&ValueId| graph.constant(**other).is_some_and(|o| Arc::ptr_eq(o, tensor) || same_bits(o, tensor));
        match bucket.iter().find(equal) {
            Some(first) => {
                same[id.0 as usize] = *first;
                context.fired("equal_constant", || value_name(graph, id));
            }
            None => bucket.push(id),
        }
    }
}

fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    a.dtype == b.dtype && a.shape == b.shape && a.bytes() == b.bytes()
}
