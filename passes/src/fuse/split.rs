//! Takes maps of several steps apart again where a rule could match their parts: right behind the operators that a pass
//! looks at. What the rules leave is fused again by the same pass.
//!
//! Before: `y = map{add(mul(%0, %1), %2)}(conv, s, b)`. After: `t = mul(conv, s); y = add(t, b)`.

use super::Target;
use ir::ops::Op;
use ir::ops::map::Map;
use ir::pointwise::{Operand, Pointwise, Step};
use ir::{Graph, OpError, ValueId};

pub fn split_maps(graph: &mut Graph, target: Target) -> Result<(), OpError> {
    for id in graph.order() {
        let node = graph.node(id).clone();
        let Op::Map(map) = &node.op else { continue };
        let behind_target = node.inputs.iter().filter_map(|v| graph.producer(*v)).any(|p| target(&graph.node(p).op));
        let foldable = node.inputs.iter().skip(1).any(|v| graph.constant(*v).is_some());
        if map.body.steps.len() < 2 || !behind_target || !foldable {
            continue;
        }
        let name = graph.value(node.outputs[0]).name.clone();
        let mut results: Vec<ValueId> = vec![];
        for step in &map.body.steps {
            let mut inputs: Vec<ValueId> = vec![];
            let mut operands = vec![];
            for operand in &step.operands {
                let value = match *operand {
                    Operand::Arg(i) => node.inputs[i],
                    Operand::Step(i) => results[i],
                    literal => {
                        operands.push(literal);
                        continue;
                    }
                };
                let at = inputs.iter().position(|v| *v == value).unwrap_or_else(|| {
                    inputs.push(value);
                    inputs.len() - 1
                });
                operands.push(Operand::Arg(at));
            }
            let body = Pointwise { steps: vec![Step { f: step.f, operands }] };
            results.push(graph.add(Map { body }, &inputs, &node.origin, &name)?);
        }
        let last = results[results.len() - 1];
        // A part may have another shape than the whole only if the whole has operands that it does not read.
        if graph.ty(last) == graph.ty(node.outputs[0]) {
            graph.replace_uses(node.outputs[0], last);
        }
    }
    Ok(())
}
