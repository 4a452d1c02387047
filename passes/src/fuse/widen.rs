//! Integer layers read 8-bit operands of their epilogues themselves, instead of the `f32` tensor that a map makes of them.
//!
//! Before: `r = map{mul(sub(cast_f32(%0), 3.0), 0.1)}(q); y = conv(x8, w8, r; epilogue={… add(…, %1) …})`. After:
//! `y = conv(x8, w8, q; epilogue={… add(…, mul(sub(cast_f32(%1), 3.0), 0.1)) …})`, also where others read `r`.

use super::body::{Body, drop_unused};
use crate::context::{Context, node_name};
use ir::ops::Op;
use ir::pointwise::Pointwise;
use ir::{Graph, NodeId, ValueId};

const RULE: &str = "read_elements";
/// Steps from elements to numbers: a cast, a zero point and a scale.
const MAX_WIDENING: usize = 3;

pub fn read_elements(graph: &mut Graph, context: &mut Context) {
    for id in graph.order() {
        while let Some((body, from)) = widened(graph, id) {
            context.fired(RULE, || format!("{} into {}", node_name(graph, from), node_name(graph, id)));
            let own = own_inputs(graph, id);
            let node = graph.node_mut(id);
            node.inputs.truncate(own);
            match &mut node.op {
                Op::Map(map) => {
                    map.body = body.expression;
                    node.inputs.extend(&body.args);
                }
                op => {
                    *op.def_mut().epilogue_mut().expect("integer layers have one") = body.expression;
                    node.inputs.extend(&body.args[1..]);
                }
            }
        }
    }
}

fn own_inputs(graph: &Graph, id: NodeId) -> usize {
    let node = graph.node(id);
    if matches!(node.op, Op::Map(_)) { 0 } else { node.op.own_inputs(node.inputs.len()) }
}

/// The expression of an integer layer, or of a map to elements, with one operand's map in it; and that map.
fn widened(graph: &Graph, id: NodeId) -> Option<(Body, NodeId)> {
    let node = graph.node(id);
    let result = node.outputs[0];
    let is_small = |value: ValueId| graph.ty(value).dtype.bytes() == 1;
    let (expression, fixed) = match &node.op {
        Op::Map(map) if is_small(result) => (map.body.clone(), None),
        Op::Conv(_) | Op::MatMul(_) if is_small(node.inputs[0]) => (node.op.def().epilogue()?.clone(), Some(result)),
        _ => return None,
    };
    let extras = &node.inputs[own_inputs(graph, id)..];
    extras.iter().find_map(|extra| {
        let from = graph.producer(*extra)?;
        let inner = graph.node(from);
        let Op::Map(map) = &inner.op else { return None };
        let [elements] = inner.inputs[..] else { return None };
        let fits = is_small(elements) && !is_small(*extra) && map.body.steps.len() <= MAX_WIDENING;
        if !fits || graph.ty(elements).shape != graph.ty(result).shape {
            return None;
        }
        let args: Vec<ValueId> = fixed.iter().chain(extras).copied().collect();
        let own = fixed.iter().count();
        let at = (own..args.len()).find(|i| args[*i] == *extra)?;
        Some((inlined(&Body { expression: expression.clone(), args }, at, &map.body, elements, own), from))
    })
}

/// `outer` with argument `at` computed by `inner` from `elements`.
fn inlined(outer: &Body, at: usize, inner: &Pointwise, elements: ValueId, fixed: usize) -> Body {
    const JOINT: usize = usize::MAX / 2;
    let last = outer.args.len();
    let mut args = outer.args.clone();
    args.push(elements);
    let moved = outer.expression.map_args(|i| if i == at { JOINT } else { i });
    let expression = moved.substitute(JOINT, &inner.map_args(|_| last));
    // Elements that were an operand before stay one operand.
    let same = (fixed..last).find(|i| outer.args[*i] == elements);
    let expression = expression.map_args(|i| if i == last { same.unwrap_or(last) } else { i });
    drop_unused(Body { expression, args }, fixed)
}
