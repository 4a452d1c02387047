//! Branches and loops within a graph: passes run in the graphs that nodes hold too, and what is known of their inputs dissolves
//! or moves into them.
//!
//! Before: `y = if(true, x, w; then={relu(x)}, …)` and `z = loop(n, k, x, w; …)` with a constant `w`. After: `y = relu(x)`, and
//! the loop's body has `w` as a constant of its own.

use crate::context::{Context, node_name};
use ir::ops::control::Subgraph;
use ir::{Def, Graph, NodeId, Op, OpError, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// Runs `pass` on the graphs within the nodes of `graph`, innermost first.
pub fn within(graph: &mut Graph, context: &mut Context, pass: fn(&mut Graph, &mut Context) -> Result<(), OpError>) -> Result<(), OpError> {
    for id in graph.order() {
        if graph.node(id).op.subgraphs().is_empty() {
            continue;
        }
        for inner in graph.node_mut(id).op.subgraphs_mut() {
            let inner = inner.graph_mut();
            within(inner, context, pass)?;
            pass(inner, context)?;
        }
    }
    Ok(())
}

/// Dissolves what is decided, moves constants into bodies, drops what they do not use.
pub fn fold_control(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    for id in graph.order() {
        if graph.node(id).op.subgraphs().is_empty() {
            continue;
        }
        if let Some(results) = decided(graph, id)? {
            context.fired("known_branch", || node_name(graph, id));
            for (old, new) in graph.node(id).outputs.clone().into_iter().zip(results) {
                graph.replace_uses(old, new);
            }
            continue;
        }
        sink_constants(graph, id, context);
    }
    Ok(())
}

fn known(graph: &Graph, value: ValueId) -> Option<f64> {
    graph.constant(value).filter(|t| t.len() == 1).map(|t| t.get_f64(0))
}

/// What a node gives whose condition or number of iterations decides it.
fn decided(graph: &mut Graph, id: NodeId) -> Result<Option<Vec<ValueId>>, OpError> {
    let node = graph.node(id);
    let first = known(graph, node.inputs[0]);
    let (body, inputs) = match (&node.op, first) {
        // Sizes that a branch defines are known by its symbols outside.
        (Op::If(op), Some(condition)) if op.sizes.0.is_empty() => {
            (if condition != 0.0 { &op.then } else { &op.otherwise }, node.inputs[1..].to_vec())
        }
        (Op::Loop(op), _) if op.capacity.is_empty() => {
            let never = first.is_some_and(|trips| trips <= 0.0) || known(graph, node.inputs[1]) == Some(0.0);
            return Ok(never.then(|| node.inputs[2..2 + op.carried as usize].to_vec()));
        }
        _ => return Ok(None),
    };
    let (body, origin) = (body.clone(), node.origin.clone());
    splice(graph, &body, &inputs, &origin).map(Some)
}

/// The nodes of a graph of these inputs, in `graph`: its outputs.
fn splice(graph: &mut Graph, body: &Subgraph, inputs: &[ValueId], origin: &[Arc<str>]) -> Result<Vec<ValueId>, OpError> {
    let mut values: HashMap<ValueId, ValueId> = body.inputs.iter().copied().zip(inputs.iter().copied()).collect();
    fn outside(graph: &mut Graph, body: &Graph, values: &mut HashMap<ValueId, ValueId>, id: ValueId) -> ValueId {
        *values.entry(id).or_insert_with(|| match &body.value(id).def {
            Def::Const(tensor) => graph.add_const(&body.value(id).name, tensor.clone()),
            _ => unreachable!("operands come before their users"),
        })
    }
    for inner in body.order() {
        let node = body.node(inner);
        let operands: Vec<ValueId> = node.inputs.iter().map(|v| outside(graph, body, &mut values, *v)).collect();
        let origin = if node.origin.is_empty() { origin } else { &node.origin };
        let new = graph.add_node(node.op.clone(), &operands, origin, "")?;
        for (old, new) in node.outputs.iter().zip(graph.node(new).outputs.clone()) {
            graph.value_mut(new).name.clone_from(&body.value(*old).name);
            values.insert(*old, new);
        }
    }
    Ok(body.outputs.iter().map(|output| outside(graph, body, &mut values, output.value)).collect())
}

/// Captured constants become the bodies' own; what no body uses is captured no longer.
fn sink_constants(graph: &mut Graph, id: NodeId, context: &mut Context) {
    let node = graph.node(id);
    let first = node.op.captured_from();
    // Inputs of a body before the captured ones: a loop's are its number and what is carried.
    let own = if matches!(node.op, Op::If(_)) { 0 } else { first - 1 };
    let constants: Vec<_> = node.inputs[first..].iter().map(|v| graph.constant(*v).cloned()).collect();
    let mut op = node.op.clone();
    for inner in op.subgraphs_mut() {
        for (i, constant) in constants.iter().enumerate() {
            let input = inner.inputs[own + i];
            if let Some(tensor) = constant
                && inner.use_counts()[input.0 as usize] > 0
            {
                let name = inner.value(input).name.clone();
                let inner = inner.graph_mut();
                let sunk = inner.add_const(&name, tensor.clone());
                inner.replace_uses(input, sunk);
                context.fired("sink_constant", || format!("`{name}`"));
            }
        }
    }
    let used: Vec<Vec<u32>> = op.subgraphs().iter().map(|inner| inner.use_counts()).collect();
    let bodies = op.subgraphs();
    let is_used = |i: usize| bodies.iter().zip(&used).any(|(inner, used)| used[inner.inputs[own + i].0 as usize] > 0);
    let keep: Vec<bool> = (0..constants.len()).map(is_used).collect();
    if keep.iter().all(|keep| *keep) {
        return;
    }
    for inner in op.subgraphs_mut() {
        let inner = inner.graph_mut();
        inner.retain_inputs(|i| i < own || keep[i - own]);
        inner.compact();
    }
    let node = graph.node_mut(id);
    node.op = op;
    let mut number = 0;
    node.inputs.retain(|_| {
        number += 1;
        number <= first || keep[number - 1 - first]
    });
}

#[cfg(test)]
mod tests {
    use crate::{Options, run};
    use ir::text::parse_graph;
    use ir::{B8, Graph, Tensor};

    fn improved(text: &str) -> Graph {
        let mut graph = parse_graph(text).unwrap();
        run(&mut graph, &Options { check: Some(crate::CheckOptions::default()), ..Options::default() }, &mut |_| {}).unwrap();
        graph
    }

    const BRANCH: &str = r#"%c: bool[] = CONDITION %x: f32[4] = input %w: f32[4] = const [1, 2, 3, 4]
        %y = if(%c, %x, %w;
            then={graph "t" %x: f32[4] = input %w: f32[4] = input %a = add(%x, %w) %b = relu(%a) output "b" = %b},
            otherwise={graph "e" %x: f32[4] = input %w: f32[4] = input %a = neg(%x) output "a" = %a})
        output "y" = %y"#;

    #[test]
    fn a_known_condition_leaves_one_way() {
        let text = improved(&BRANCH.replace("CONDITION", "const [true]")).to_string();
        assert!(text.contains("relu(add(") && !text.contains("if("), "{text}");
    }

    #[test]
    fn passes_run_within_bodies_and_constants_are_their_own() {
        let graph = improved(&BRANCH.replace("CONDITION", "input"));
        let text = graph.to_string();
        assert!(text.contains("= if(%0, %1; then="), "only x is captured: {text}");
        assert!(text.contains("relu(add("), "the two maps are one: {text}");
        let x = Tensor::new(&[4], &[1.0f32, -2.0, -5.0, 0.0]);
        let run = |c: u8| ir::eval::eval(&graph, &[Tensor::scalar(B8(c)), x.clone()]).unwrap()[0].to_f64s();
        assert_eq!((run(1), run(0)), (vec![2.0, 0.0, 0.0, 4.0], vec![-1.0, 2.0, 5.0, 0.0]));
    }

    #[test]
    fn a_loop_that_never_runs_is_what_it_carries() {
        let text = r#"%n: i64[] = const [0] %c: bool[] = input %x: f32[4] = input
            %y = loop(%n, %c, %x; carried=1, capacity=[], body={graph "b" %i: i64[] = input %x: f32[4] = input
                %k: bool[] = const [true] %z = neg(%x) output "k" = %k output "z" = %z})
            %r = relu(%y) output "r" = %r"#;
        let text = improved(text).to_string();
        assert!(text.contains("relu(%1)") && !text.contains("loop("), "{text}");
    }
}
