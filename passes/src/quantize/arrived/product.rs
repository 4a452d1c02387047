//! One convolution or matrix product of dequantised operands: exact sums of 8-bit products, the bias in steps of these sums,
//! and one factor to the grid of the result, or to real numbers.

use super::Rewriter;
use super::form;
use crate::quantize::expression::Builder;
use crate::quantize::grid::Channels;
use crate::quantize::layer::{output_axis, runs_along};
use crate::quantize::scale::{Scale, column};
use ir::ops::Op;
use ir::pointwise::{Fn, Operand};
use ir::{DType, Node, OpError, Tensor, ValueId};

/// Weights in 8 bits and the scale of each output channel (or one).
struct Weights {
    elements: Tensor,
    scales: Vec<f32>,
}

/// What follows the sums of a layer, up to `result`.
struct Tail {
    result: ValueId,
    bias: Option<Vec<f32>>,
    /// The grid of the result: scale, zero point and bounds of the elements.
    grid: Option<(f32, u8, u8, u8)>,
}

pub fn rewrite(rewriter: &mut Rewriter, node: &Node) -> Result<bool, OpError> {
    let identity = node.op.def().epilogue().is_some_and(ir::Pointwise::is_identity);
    let (Some(input), true) = (rewriter.reals.get(&node.inputs[0]).copied(), identity && node.inputs.len() == 2) else { return Ok(false) };
    let axis = output_axis(&node.op);
    let Some(weights) = weights(rewriter, node.inputs[1], axis) else { return Ok(false) };
    if matches!(node.op, Op::MatMul(_)) && weights.elements.rank() != 2 {
        return Ok(false);
    }
    let rank = rewriter.graph.ty(node.outputs[0]).rank();
    let place = [rank, if matches!(node.op, Op::Conv(_)) { 1 } else { rank - 1 }];
    let outputs = Channels::of(&weights.elements, axis);
    let tail = tail(rewriter, node.outputs[0], place, outputs.count);
    let mut sums = vec![0i64; outputs.count];
    for (i, q) in weights.elements.as_slice::<i8>().iter().enumerate() {
        sums[outputs.of_element(i)] -= i64::from(input.zero) * i64::from(*q);
    }
    if let Some(bias) = &tail.bias {
        for (o, sum) in sums.iter_mut().enumerate() {
            let scale = f64::from(input.scale) * f64::from(weights.scales[o % weights.scales.len()]);
            *sum += (f64::from(bias[o]) / scale).round_ties_even() as i64;
        }
    }
    let Ok(sums) = sums.into_iter().map(i32::try_from).collect::<Result<Vec<i32>, _>>() else { return Ok(false) };
    let unit = tail.grid.map_or(1.0, |(scale, ..)| scale);
    let factors: Vec<f32> = weights.scales.iter().map(|s| input.scale * s / unit).collect();
    let factor = if factors.len() == 1 { Scale::One(factors[0]) } else { Scale::Channels(factors.into()) };

    let name = rewriter.graph.value(tail.result).name.clone();
    let weights_name = rewriter.graph.value(node.inputs[1]).name.clone();
    let w = rewriter.graph.add_const(&weights_name, weights.elements);
    let mut builder = Builder::new(1);
    let mut y = Operand::Arg(0);
    if sums.iter().any(|s| *s != 0) {
        let bias = rewriter.graph.add_const(&format!("{name}.bias"), column(&sums, place));
        let bias = builder.arg(bias);
        y = builder.push(Fn::Add, [y, bias]);
    }
    let y = builder.push(Fn::Cast(DType::F32), [y]);
    let mut y = factor.multiply(rewriter.graph, &mut builder, y, place, &format!("{name}.scale"));
    if let Some((_, zero, low, high)) = tail.grid {
        y = builder.elements(y, zero, low, high);
    }
    let (expression, args) = builder.finish(y);
    let mut op = node.op.clone();
    if let Op::Conv(conv) = &mut op {
        conv.pad_value = input.zero;
    }
    *op.def_mut().epilogue_mut().expect("products have one") = expression;
    let inputs: Vec<ValueId> = [input.elements, w].into_iter().chain(args).collect();
    let like = Node { outputs: vec![tail.result], ..node.clone() };
    let new = rewriter.add(op, &inputs, &like)?;
    rewriter.replace(tail.result, new);
    Ok(true)
}

/// The weights behind real numbers: with a scale per output channel at most, and elements that fit into `i8` without
/// their zero points.
fn weights(rewriter: &mut Rewriter, value: ValueId, axis: usize) -> Option<Weights> {
    let graph = &*rewriter.graph;
    // A linear layer's weights may lie transposed.
    if let Some(node) = graph.producer(value).map(|p| graph.node(p).clone())
        && matches!(node.op, Op::Transpose(_))
        && graph.ty(value).rank() == 2
    {
        let inner = weights(rewriter, node.inputs[0], 1 - axis)?;
        let elements = node.op.eval(&[&inner.elements]).ok()?.into_iter().next()?;
        return Some(Weights { elements, ..inner });
    }
    let (elements, zero, scale) = form::parts(graph, &mut rewriter.known, value)?;
    let elements = rewriter.known.of(graph, elements)?;
    let (count, rank) = (elements.shape.get(axis).copied()?, elements.rank());
    if !matches!(elements.dtype, DType::U8 | DType::I8) || rank < 2 {
        return None;
    }
    let per_channel = |tensor: &Tensor| tensor.len() == 1 || runs_along(&tensor.shape, [rank, axis], count);
    if !per_channel(&scale) || zero.as_ref().is_some_and(|zero| !per_channel(zero)) {
        return None;
    }
    let channels = Channels::of(&elements, axis);
    let numbers = elements.to_i64s();
    let zeros = zero.map_or(vec![0], |zero| zero.to_f64s().into_iter().map(|z| z as i64).collect());
    let centred = numbers.iter().enumerate().map(|(i, q)| i8::try_from(q - zeros[channels.of_element(i) % zeros.len()]).ok());
    let centred: Vec<i8> = centred.collect::<Option<_>>()?;
    let scales = scale.to_f64s().into_iter().map(|s| s as f32).collect();
    Some(Weights { elements: Tensor::new(&elements.shape, &centred), scales })
}

/// Bias, activation and rounding that follow a product, each its only reader.
fn tail(rewriter: &mut Rewriter, product: ValueId, place: [usize; 2], channels: usize) -> Tail {
    let mut tail = Tail { result: product, bias: None, grid: None };
    let mut at = product;
    let next = |rewriter: &Rewriter, at: ValueId| rewriter.only_user(at).map(|user| rewriter.graph.node(user).outputs[0]);
    if let Some(sum) = next(rewriter, at)
        && let Some((_, bias)) = form::biased(rewriter.graph, &mut rewriter.known, sum)
        && bias.dtype == DType::F32
        && (bias.len() == 1 || runs_along(&bias.shape, place, channels))
        && rewriter.graph.ty(sum) == rewriter.graph.ty(at)
    {
        let bias = bias.as_slice::<f32>();
        tail.bias = Some((0..channels).map(|o| bias[o % bias.len()]).collect());
        (tail.result, at) = (sum, sum);
    }
    let (mut low, mut high) = (f32::NEG_INFINITY, f32::INFINITY);
    if let Some(active) = next(rewriter, at)
        && let Some((_, least, most)) = form::bounds(rewriter.graph, &mut rewriter.known, active)
    {
        (low, high, at) = (least, most, active);
    }
    if let Some(Rounding { scale, zero, bounds, result }) = rounding(rewriter, at) {
        let element = |x: f32| ((x / scale).round_ties_even() + zero as f32).clamp(0.0, 255.0) as u8;
        tail.grid = Some((scale, zero as u8, element(low).max(bounds.0), element(high).min(bounds.1)));
        tail.result = result;
    }
    tail
}

/// A rounding to `u8`.
pub struct Rounding {
    pub scale: f32,
    /// From 0 to 255.
    pub zero: i32,
    /// The least and the largest element.
    pub bounds: (u8, u8),
    pub result: ValueId,
}

/// The rounding to `u8` that is all that reads a value: division, rounding, zero point, clamp and cast.
pub fn rounding(rewriter: &mut Rewriter, value: ValueId) -> Option<Rounding> {
    const MAPS: usize = 5;
    let mut result = value;
    for _ in 0..MAPS {
        result = rewriter.graph.node(rewriter.only_user(result)?).outputs[0];
        if rewriter.graph.ty(result).dtype == DType::U8 {
            break;
        }
    }
    let grid = form::quantized(rewriter.graph, &mut rewriter.known, result)?;
    let (x, scale) = form::divided(rewriter.graph, &mut rewriter.known, grid.steps)?;
    let bounds = (u8::try_from(grid.low).ok()?, u8::try_from(grid.high).ok()?);
    (x == value && (0..=255).contains(&grid.zero)).then_some(Rounding { scale, zero: grid.zero, bounds, result })
}
