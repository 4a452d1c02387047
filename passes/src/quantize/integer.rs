//! `integer_products`: convolutions and matrix products of `i32` that hold 8-bit elements become products of 8 bits. Models
//! that arrive quantised (`QLinearConv`, `MatMulInteger`, …) are imported with centred operands; the zero point of the
//! activations moves behind the sum. Both forms are exact.
//!
//! Before: `c = map{sub(cast_i32(%0), z)}(q); y = conv(c, w)` with `i32` weights from −128 to 127. After:
//! `y = conv(q, w8, −z · Σw; pad_value=z, epilogue={add(%0, %1)})`.
//!
//! Weights whose own zero point leaves them outside of `i8` are shifted into it, by a `d` per output channel. What is missing
//! then is `d` times the sum of the elements, which a product with a single channel of ones computes:
//! `s = conv(q, ones); y = conv(q, w8 − d, −z · Σw, s, d; epilogue={add(add(%0, %1), mul(%2, %3))})`.

use super::grid::Channels;
use super::layer;
use super::scale::column;
use crate::context::{Context, node_name};
use crate::fuse::Uses;
use ir::ops::Op;
use ir::pointwise::{Fn, Operand, Pointwise};
use ir::{DType, Graph, Node, NodeId, OpError, Tensor, ValueId};

const RULE: &str = "integer_product";

/// What is subtracted from 8-bit elements.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Zero {
    Known(i32),
    /// A value of one element.
    Computed(ValueId),
}

pub fn integer_products(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let uses = Uses::of(graph);
    for id in graph.order() {
        if !matches!(graph.node(id).op, Op::Conv(_) | Op::MatMul(_)) || graph.ty(graph.node(id).inputs[0]).dtype != DType::I32 {
            continue;
        }
        match rewritten(graph, &uses, id)? {
            Ok((old, new)) => {
                context.fired(RULE, || node_name(graph, id));
                graph.replace_uses(old, new);
            }
            Err(why) => context.missed(RULE, || node_name(graph, id), || why.into()),
        }
    }
    graph.compact();
    Ok(())
}

/// What is computed as a product on 8 bits now, and that product; or why there is none.
fn rewritten(graph: &mut Graph, uses: &Uses, id: NodeId) -> Result<Result<(ValueId, ValueId), &'static str>, OpError> {
    let node = graph.node(id).clone();
    if node.op.def().epilogue().is_none_or(|e| !e.is_identity()) {
        return Ok(Err("it has an epilogue already"));
    }
    let Some((elements, zero)) = centred(graph, node.inputs[0]) else { return Ok(Err("its operand is not made of 8-bit elements")) };
    let Some(weights) = graph.constant(node.inputs[1]).filter(|w| w.rank() >= 2).cloned() else {
        return Ok(Err("its weights are not constant"));
    };
    let outputs = Channels::of(&weights, layer::output_axis(&node.op));
    let (Some(shifts), true) = (shifts(&weights, &outputs), matches!(node.op, Op::Conv(_)) || weights.rank() == 2) else {
        return Ok(Err("its weights are no matrix of 8-bit numbers"));
    };
    let mut op = node.op.clone();
    if let Op::Conv(conv) = &mut op {
        match zero {
            Zero::Known(zero) => conv.pad_value = zero,
            Zero::Computed(_) if conv.pads.iter().all(|p| *p == 0) => {}
            Zero::Computed(_) => return Ok(Err("it pads with a zero point that is computed")),
        }
    }
    let numbers = weights.as_slice::<i32>().iter().enumerate();
    let small: Vec<i8> = numbers.map(|(i, w)| (*w - shifts[outputs.of_element(i)]) as i8).collect();
    let rank = graph.ty(node.outputs[0]).rank();
    let place = [rank, if matches!(node.op, Op::Conv(_)) { 1 } else { rank - 1 }];
    let mut shifted = None;
    if shifts.iter().any(|shift| *shift != 0) {
        let Some(shape) = ones(&op, &weights.shape) else { return Ok(Err("its groups have weights with a zero point")) };
        let ones = graph.add_const("ones", Tensor::new(&shape, &vec![1i8; shape.iter().product()]));
        let sum = graph.add(op.clone(), &[elements, ones], &node.origin, &format!("{}.sum", graph.value(node.outputs[0]).name))?;
        shifted = Some([sum, graph.add_const("shift", column(&shifts, place))]);
    }
    let name = graph.value(node.inputs[1]).name.clone();
    let w = graph.add_const(&name, Tensor::new(&weights.shape, &small));
    let mut inputs = vec![elements, w];
    let channels = outputs.count;
    // A zero point that is computed has a part of its own; else a bias that follows is added at once.
    let bias = if matches!(zero, Zero::Known(_)) { bias(graph, uses, node.outputs[0], place, channels) } else { None };
    let (old, bias) = bias.map_or((node.outputs[0], vec![]), |(sum, bias)| (sum, bias));
    inputs.extend(compensation(graph, &node, &weights, zero, &bias, shifted, place, &mut op));
    let name = graph.value(old).name.clone();
    Ok(Ok((old, graph.add(op, &inputs, &node.origin, &name)?)))
}

/// What has to be taken off the weights of each output channel for `i8` to hold them; nothing where that is not enough.
fn shifts(weights: &Tensor, outputs: &Channels) -> Option<Vec<i32>> {
    let mut bounds = vec![(0i64, 0i64); outputs.count];
    for (i, w) in weights.as_slice::<i32>().iter().enumerate() {
        let (low, high) = &mut bounds[outputs.of_element(i)];
        (*low, *high) = ((*low).min(i64::from(*w)), (*high).max(i64::from(*w)));
    }
    let shift = |(low, high): (i64, i64)| {
        let shift = (high - 127).max(0) + (low + 128).min(0);
        (low - shift >= -128 && high - shift <= 127).then_some(shift as i32)
    };
    bounds.into_iter().map(shift).collect()
}

/// The shape of the weights that add up what one output channel reads: the same for all, or a channel each.
fn ones(op: &Op, weights: &[usize]) -> Option<Vec<usize>> {
    let mut shape = weights.to_vec();
    match op {
        Op::Conv(conv) if conv.group == 1 => shape[0] = 1,
        Op::Conv(conv) if conv.group as usize == shape[0] => {}
        Op::Conv(_) => return None,
        op => shape[layer::output_axis(op)] = 1,
    }
    Some(shape)
}

/// The sum with a constant per channel that is all that reads `sums`.
fn bias(graph: &Graph, uses: &Uses, sums: ValueId, place: [usize; 2], channels: usize) -> Option<(ValueId, Vec<i32>)> {
    let [reader] = uses.readers(sums) else { return None };
    let node = graph.node(*reader);
    let (Op::Map(map), true) = (&node.op, uses.is_single(sums)) else { return None };
    let ([x, bias], Some(Fn::Add)) = (&node.inputs[..], map.body.as_single()) else { return None };
    let bias = graph.constant(if *x == sums { *bias } else { *x })?;
    let fits = bias.dtype == DType::I32 && (bias.len() == 1 || layer::runs_along(&bias.shape, place, channels));
    let numbers = bias.as_slice::<i32>();
    (fits && graph.ty(node.outputs[0]) == graph.ty(sums))
        .then(|| (node.outputs[0], (0..channels).map(|o| numbers[o % numbers.len()]).collect()))
}

/// The operands of the epilogue that takes the zero point's part off the sums and adds a bias and what `shifted` weights lack, and
/// that epilogue.
fn compensation(
    graph: &mut Graph,
    node: &Node,
    weights: &Tensor,
    zero: Zero,
    bias: &[i32],
    shifted: Option<[ValueId; 2]>,
    place: [usize; 2],
    op: &mut Op,
) -> Vec<ValueId> {
    if zero == Zero::Known(0) && bias.is_empty() && shifted.is_none() {
        return vec![];
    }
    let outputs = Channels::of(weights, layer::output_axis(&node.op));
    let factor = if let Zero::Known(zero) = zero { zero } else { 1 };
    let mut sums: Vec<i32> = (0..outputs.count).map(|o| bias.get(o).copied().unwrap_or(0)).collect();
    for (i, w) in weights.as_slice::<i32>().iter().enumerate() {
        let sum = &mut sums[outputs.of_element(i)];
        *sum = sum.wrapping_sub(factor.wrapping_mul(*w));
    }
    let name = graph.value(node.outputs[0]).name.clone();
    let sums = graph.add_const(&format!("{name}.bias"), column(&sums, place));
    let mut epilogue = Pointwise::identity();
    let mut args = vec![sums];
    let mut part = Operand::Arg(1);
    if let Zero::Computed(zero) = zero {
        args.push(zero);
        part = epilogue.push(Fn::Mul, vec![part, Operand::Arg(2)]);
    }
    let sum = epilogue.push(Fn::Add, vec![Operand::Arg(0), part]);
    if let Some(shifted) = shifted {
        let first = args.len() + 1;
        args.extend(shifted);
        let lacking = epilogue.push(Fn::Mul, vec![Operand::Arg(first), Operand::Arg(first + 1)]);
        epilogue.push(Fn::Add, vec![sum, lacking]);
    }
    *op.def_mut().epilogue_mut().expect("products have one") = epilogue;
    args
}

/// 8-bit elements of which `value` is the centred `i32` form.
fn centred(graph: &Graph, value: ValueId) -> Option<(ValueId, Zero)> {
    let (map, inputs) = map_of(graph, value)?;
    let is_cast = |f: Fn| f == Fn::Cast(DType::I32);
    let is_small = |v: ValueId| matches!(graph.ty(v).dtype, DType::U8 | DType::I8) && graph.constant(v).is_none();
    let zero = |operand: &Operand| match *operand {
        Operand::Literal(literal) => Some(Zero::Known(literal.to_f64() as i32)),
        Operand::Arg(i) if graph.ty(inputs[i]).elements() == 1 => match graph.constant(inputs[i]) {
            Some(tensor) => Some(Zero::Known(tensor.to_i64s()[0] as i32)),
            None => Some(Zero::Computed(inputs[i])),
        },
        _ => None,
    };
    match &map.steps[..] {
        [cast] if is_cast(cast.f) && is_small(inputs[0]) => Some((inputs[0], Zero::Known(0))),
        [cast, sub] if is_cast(cast.f) && sub.f == Fn::Sub && sub.operands[0] == Operand::Step(0) => {
            let Operand::Arg(i) = cast.operands[0] else { return None };
            is_small(inputs[i]).then_some((inputs[i], zero(&sub.operands[1])?))
        }
        [sub] if sub.f == Fn::Sub => {
            let Operand::Arg(i) = sub.operands[0] else { return None };
            match centred(graph, inputs[i])? {
                (elements, Zero::Known(0)) => Some((elements, zero(&sub.operands[1])?)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn map_of(graph: &Graph, value: ValueId) -> Option<(&Pointwise, &[ValueId])> {
    let node = graph.node(graph.producer(value)?);
    match &node.op {
        Op::Map(map) => Some((&map.body, &node.inputs)),
        _ => None,
    }
}
