//! Matrix products whose rows are quantised when they are known: each row of the input has a scale of its own, so that no
//! calibration is needed. Elements are `u8` around 128; weights are `i8` with a scale per column.
//!
//! Before: `y = matmul(x, w, b; epilogue={add(%0, %1)})`. After: `r = 127 / max|row of x|; q = u8(round(x · r) + 128);
//! y = matmul(q, w8, −128 · Σw, 1 / r, scales, b; epilogue={add(cast_f32(%0 + %1) · %2 · %3, %4)})`.

use super::expression::Builder;
use super::grid::{Channels, Weights};
use super::plan::{Kept, Plan, names};
use super::scale::column;
use super::{Applied, AppliedLayer, Settings, layer};
use ir::ops::Op;
use ir::ops::map::Map;
use ir::ops::reduce::reduce_op::{Reduce, ReduceKind};
use ir::pointwise::{Fn, Operand, Pointwise};
use ir::{DType, Graph, Node, NodeId, OpError, ValueId};

/// The element that stands for 0.
const MIDDLE: i32 = 128;
/// Rows that are smaller than this count as zero: their scale must be a finite number.
const SMALLEST: f32 = 1e-30;

pub fn apply(graph: &mut Graph, settings: &Settings) -> Result<Applied, OpError> {
    let (plan, names) = (Plan::of(graph, &settings.keep), names(graph));
    let name = |graph: &Graph, node: NodeId| names[graph.node(node).outputs[0].0 as usize].clone();
    let mut applied =
        Applied { kept: plan.kept.iter().map(|(node, why)| (name(graph, *node), *node, *why)).collect(), ..Applied::default() };
    for id in &plan.layers {
        let node = graph.node(*id).clone();
        match node.op {
            Op::MatMul(_) => applied.layers.push(rewrite(graph, &node, name(graph, *id))?),
            _ => applied.kept.push((name(graph, *id), *id, Kept::Static)),
        }
    }
    Ok(applied)
}

fn rewrite(graph: &mut Graph, node: &Node, name: String) -> Result<AppliedLayer, OpError> {
    let (x, result) = (node.inputs[0], node.outputs[0]);
    let weights = graph.constant(node.inputs[1]).expect("the plan has looked").clone();
    let axis = layer::output_axis(&node.op);
    let rounded = Weights::of(&weights, axis, None, 1.0);
    let outputs = Channels::of(&weights, axis);
    let mut sums = vec![0i32; outputs.count];
    for (i, q) in rounded.elements.as_slice::<i8>().iter().enumerate() {
        sums[outputs.of_element(i)] -= MIDDLE * i32::from(*q);
    }
    let (q, scale) = quantised_rows(graph, x, node)?;
    let place = [1, 0];
    let w = graph.add_const(&graph.value(node.inputs[1]).name.clone(), rounded.elements.clone());
    let sums = graph.add_const(&format!("{name}.bias"), column(&sums, place));
    let scales = graph.add_const(&format!("{name}.scale"), column(&rounded.scales, place));
    let mut builder = Builder::new(1);
    let [sums, scale, scales] = [sums, scale, scales].map(|value| builder.arg(value));
    let y = builder.push(Fn::Add, [Operand::Arg(0), sums]);
    let y = builder.push(Fn::Cast(DType::F32), [y]);
    let y = builder.push(Fn::Mul, [y, scale]);
    let y = builder.push(Fn::Mul, [y, scales]);
    let epilogue = node.op.def().epilogue().cloned().unwrap_or_default();
    let mut operands = vec![y];
    operands.extend(node.inputs[2..].iter().map(|extra| builder.arg(*extra)));
    let y = builder.append(&epilogue, &operands, 1.0);
    let (expression, args) = builder.finish(y);
    let mut op = node.op.clone();
    *op.def_mut().epilogue_mut().expect("a matrix product has one") = expression;
    let inputs: Vec<ValueId> = [q, w].into_iter().chain(args).collect();
    let new = graph.add(op, &inputs, &node.origin, &graph.value(result).name.clone())?;
    graph.replace_uses(result, new);
    Ok(AppliedLayer {
        name,
        origin: node.origin.clone(),
        result: new,
        weights_db: layer::weights_db(&node.op, &weights, &rounded),
        weight_count: weights.len(),
    })
}

/// The elements of a tensor, and the scale of each row: the size of its largest number over 127.
fn quantised_rows(graph: &mut Graph, x: ValueId, node: &Node) -> Result<(ValueId, ValueId), OpError> {
    let name = graph.value(x).name.clone();
    let axes = vec![graph.ty(x).rank() as i64 - 1];
    let bound = |graph: &mut Graph, kind: ReduceKind| {
        let reduce = Reduce { kind, axes: axes.clone(), keepdims: true, epilogue: Pointwise::identity() };
        graph.add(reduce, &[x], &node.origin, &format!("{name}.{}", if kind == ReduceKind::Max { "max" } else { "min" }))
    };
    let (high, low) = (bound(graph, ReduceKind::Max)?, bound(graph, ReduceKind::Min)?);
    let mut size = Builder::new(0);
    let [high, low] = [high, low].map(|value| size.arg(value));
    let negative = size.push(Fn::Neg, [low]);
    let largest = size.push(Fn::Max, [high, negative]);
    let scale = size.scaled(largest, 1.0 / 127.0);
    let scale = size.push(Fn::Max, [scale, Builder::number(SMALLEST)]);
    let (body, args) = size.finish(scale);
    let scale = graph.add(Map { body }, &args, &node.origin, &format!("{name}.scale"))?;
    let inverse = graph.add(Map::of(Fn::Reciprocal), &[scale], &node.origin, &format!("{name}.inverse"))?;
    let mut rows = Builder::new(0);
    let [number, inverse] = [x, inverse].map(|value| rows.arg(value));
    let steps = rows.push(Fn::Mul, [number, inverse]);
    let q = rows.elements(steps, MIDDLE as u8, 1, 255);
    let (body, args) = rows.finish(q);
    let q = graph.add(Map { body }, &args, &node.origin, &name)?;
    Ok((q, scale))
}
