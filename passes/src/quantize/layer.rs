//! One integer layer: weights rounded per channel, the correction of its bias, and the epilogue from sums to the next grid.

use super::AppliedLayer;
use super::expression::{Builder, is_homogeneous, without_bounds};
use super::grid::{Channels, Grid, Weights};
use super::observed::ChannelStatistics;
use super::rewrite::{Rewriter, Stored};
use super::scale::{Scale, column};
use ir::ops::Op;
use ir::ops::contract::conv::Conv;
use ir::pointwise::{Fn, Operand, Pointwise, Step};
use ir::{DType, Graph, Node, NodeId, OpError, Tensor, ValueId};
use std::sync::Arc;

/// Where the weights of a layer have their channels.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The dimension of the weights along which output channels run, and that of input channels (within a group).
    pub output: usize,
    input: usize,
    /// Groups of a convolution.
    groups: usize,
}

impl Form {
    pub fn of(op: &Op) -> Form {
        match op {
            Op::Conv(Conv { group, .. }) => Form { output: 0, input: 1, groups: *group as usize },
            Op::MatMul(matmul) if matmul.transpose_b => Form { output: 0, input: 1, groups: 1 },
            _ => Form { output: 1, input: 0, groups: 1 },
        }
    }

    pub fn inputs(&self, weights: &Tensor) -> Inputs {
        Inputs { outputs: Channels::of(weights, self.output), each: Channels::of(weights, self.input), groups: self.groups }
    }
}

/// Which channels of its input a layer's weights multiply.
#[derive(Debug, Clone, Copy)]
pub struct Inputs {
    pub outputs: Channels,
    /// Within a group.
    pub each: Channels,
    groups: usize,
}

impl Inputs {
    pub fn channels(&self) -> usize {
        self.each.count * self.groups
    }

    /// The first channel of the group that an output channel belongs to.
    pub fn first_of(&self, output: usize) -> usize {
        output * self.groups / self.outputs.count * self.each.count
    }

    /// The channel that the i-th weight multiplies.
    pub fn of_element(&self, i: usize) -> usize {
        self.first_of(self.outputs.of_element(i)) + self.each.of_element(i)
    }
}

/// What the expression of a layer is made of.
struct Layer<'a> {
    /// Added to the sums.
    sums: &'a [i32],
    /// Of the weights.
    scales: &'a [f32],
    /// What follows the bias.
    rest: &'a Pointwise,
    input: &'a Stored,
    /// Rank of the result and dimension of its channels.
    place: [usize; 2],
}

/// The dimension of a layer's weights along which its output channels run.
pub fn output_axis(op: &Op) -> usize {
    Form::of(op).output
}

/// How far rounding moved weights: their energy over that of the difference, in decibels.
pub fn weights_db(op: &Op, weights: &Tensor, rounded: &Weights) -> f64 {
    decibels(weights, Form::of(op), rounded)
}

pub fn rewrite(rewriter: &mut Rewriter, id: NodeId) -> Result<(), OpError> {
    let node = rewriter.graph.node(id).clone();
    let input = rewriter.stored(node.inputs[0]).expect("the input of an integer layer is wanted").clone();
    let x = rewriter.element(node.inputs[0])?;
    let weights: Arc<Tensor> = rewriter.graph.constant(node.inputs[1]).expect("the plan has looked").clone();
    let (form, result) = (Form::of(&node.op), node.outputs[0]);
    let place = place(rewriter.graph, &node);
    let (bias, rest) = bias_and_rest(rewriter.graph, &node);
    let out = rewriter.emitted(result);
    let bias = moved_bias(rewriter, &node, bias, &rest, &input, &weights);
    let folded = folded(&weights, form, &input);
    let mut rounded = Weights::of(&folded, form.output, bias.as_deref(), input.base);
    let feedback = rewriter.settings.feedback.get(&rewriter.names[node.inputs[0].0 as usize]);
    if let Some(feedback) = feedback.filter(|f| multiplies_rows(rewriter.graph, &node) == Some(f.channels())) {
        let stride = |axis: usize| weights.shape[axis + 1..].iter().product();
        let factors = |c: usize| input.scale.at(c) / input.base;
        rounded = feedback.round(&folded, [stride(form.output), stride(form.input)], factors, rounded.scales);
    }
    let seen = rewriter.settings.ranges.get(&rewriter.names[node.inputs[0].0 as usize]).and_then(|seen| seen.channels.as_ref());
    let inputs = form.inputs(&weights).channels();
    let sums = sum_biases(form, &rounded, bias.as_deref(), &input, seen.filter(|s| s.fits(inputs)), &folded);
    rewriter.applied.layers.push(AppliedLayer {
        name: rewriter.names[result.0 as usize].clone(),
        origin: node.origin.clone(),
        result,
        weights_db: decibels(&folded, form, &rounded),
        weight_count: weights.len(),
    });
    let weights_name = rewriter.name(node.inputs[1]);
    let w = rewriter.graph.add_const(&weights_name, rounded.elements);
    let mut builder = Builder::new(1);
    let layer = Layer { sums: &sums, scales: &rounded.scales, rest: &rest, input: &input, place };
    let y = expression(rewriter, &mut builder, &node, &layer, out.as_ref());
    let mut op = node.op.clone();
    if let Op::Conv(conv) = &mut op {
        conv.pad_value = input.zero.into();
    }
    rewriter.finish(&node, builder, y, None, op, &[x, w])
}

/// Rank of a layer's result and dimension of its channels.
fn place(graph: &Graph, node: &Node) -> [usize; 2] {
    let rank = graph.ty(node.outputs[0]).rank();
    [rank, if matches!(node.op, Op::Conv(_)) { 1 } else { rank - 1 }]
}

/// The constant per channel that a layer adds to its sums, and what it does after that.
pub fn bias_and_rest(graph: &Graph, node: &Node) -> (Option<Vec<f32>>, Pointwise) {
    let channels = graph.constant(node.inputs[1]).map_or(0, |weights| weights.shape[Form::of(&node.op).output]);
    let epilogue = node.op.def().epilogue().cloned().unwrap_or_default();
    take_bias(graph, &epilogue, &node.inputs[2..], place(graph, node), channels)
}

/// The number of input channels of a layer each of whose results is a sum over all channels of one place.
pub fn multiplies_rows(graph: &Graph, node: &Node) -> Option<usize> {
    let (weights, form) = (graph.constant(node.inputs[1])?, Form::of(&node.op));
    let kernel: usize = (0..weights.rank()).filter(|d| ![form.output, form.input].contains(d)).map(|d| weights.shape[d]).product();
    (form.groups == 1 && kernel == 1).then(|| weights.shape[form.input])
}

/// Whether an expression hands its first operand on, or adds one other to it.
pub fn is_sum(rest: &Pointwise) -> bool {
    match &rest.steps[..] {
        [] => true,
        [Step { f: Fn::Add, operands }] => {
            matches!(operands[..], [Operand::Arg(0), Operand::Arg(1..)] | [Operand::Arg(1..), Operand::Arg(0)])
        }
        _ => false,
    }
}

/// The bias with what the middles of channels come to: those of the input, and, where the rest is a sum, those of what is
/// added and of the result.
fn moved_bias(
    rewriter: &Rewriter,
    node: &Node,
    bias: Option<Vec<f32>>,
    rest: &Pointwise,
    input: &Stored,
    weights: &Tensor,
) -> Option<Vec<f32>> {
    let (form, out) = (Form::of(&node.op), rewriter.emitted(node.outputs[0]));
    let outputs = Channels::of(weights, form.output);
    let mut moved: Vec<f64> = (0..outputs.count).map(|o| bias.as_ref().map_or(0.0, |b| b[o].into())).collect();
    let mut add = |stored: &Stored, sign: f64| {
        stored.middle.iter().flat_map(|m| m.iter()).zip(&mut moved).for_each(|(m, sum)| *sum += sign * f64::from(*m));
        stored.middle.is_some()
    };
    let mut any = bias.is_some();
    if is_sum(rest) {
        any |= out.is_some_and(|out| add(&out, -1.0));
        any |= added(rest, node).and_then(|value| rewriter.read_elements(value)).is_some_and(|stored| add(stored, 1.0));
    }
    if input.middle.is_some() {
        any = true;
        let inputs = form.inputs(weights);
        for (i, w) in weights.as_slice::<f32>().iter().enumerate() {
            moved[outputs.of_element(i)] += f64::from(*w) * f64::from(input.middle_of(inputs.of_element(i)));
        }
    }
    any.then(|| moved.into_iter().map(|x| x as f32).collect())
}

/// What a sum adds to its first operand.
fn added(rest: &Pointwise, node: &Node) -> Option<ValueId> {
    let operands = &rest.steps.first()?.operands;
    operands.iter().find_map(|o| if let Operand::Arg(i @ 1..) = o { Some(node.inputs[1 + i]) } else { None })
}

/// The expression from sums to the result: elements, if it is stored, or real numbers.
fn expression(rewriter: &mut Rewriter, builder: &mut Builder, node: &Node, layer: &Layer, out: Option<&Stored>) -> Operand {
    let Layer { sums, scales, rest, input, place } = layer;
    let name = rewriter.name(node.outputs[0]);
    // A last cut becomes the bounds of the elements, where that is the same in all channels.
    let (body, bounds) = match out.map(|stored| (stored, without_bounds(rest))) {
        Some((stored, (body, low, high))) => match bounds(stored, low, high) {
            Some(bounds) => (body, bounds),
            None => ((*rest).clone(), (0, 255)),
        },
        None => ((*rest).clone(), (0, 255)),
    };
    let has_literals = body.steps.iter().flat_map(|s| &s.operands).any(|o| matches!(o, Operand::Literal(_)));
    // Where possible everything counts in steps of the result: one multiplication does both conversions.
    let unit = match out {
        Some(stored) if is_homogeneous(&body) && (!has_literals || matches!(stored.scale, Scale::One(_))) => stored.scale.clone(),
        _ => Scale::One(1.0),
    };
    let multiplier = Scale::One(input.base).times(&Scale::Channels((*scales).into())).over(&unit);
    let bias = rewriter.graph.add_const(&format!("{name}.bias"), column(sums, *place));
    let bias = builder.arg(bias);
    let x = builder.push(Fn::Add, [Operand::Arg(0), bias]);
    let x = builder.push(Fn::Cast(DType::F32), [x]);
    let x = multiplier.multiply(rewriter.graph, builder, x, *place, &format!("{name}.scale"));
    let is_read = |i: usize| body.steps.iter().any(|s| s.operands.contains(&Operand::Arg(i)));
    let mut operands = vec![x];
    for (i, extra) in node.inputs[2..].iter().enumerate() {
        // The bias holds the middles of what a sum adds.
        let read = if is_sum(rest) { Rewriter::centred_operand } else { Rewriter::operand };
        operands.push(if is_read(i + 1) { read(rewriter, builder, *extra, &unit) } else { x });
    }
    let factor = if let Scale::One(unit) = unit { 1.0 / unit } else { 1.0 };
    let y = builder.append(&body, &operands, factor);
    let Some(stored) = out else { return y };
    let steps = match unit == stored.scale {
        true => y,
        false => Scale::One(1.0).over(&stored.scale).multiply(rewriter.graph, builder, y, *place, &format!("{name}.scale")),
    };
    builder.elements(steps, stored.zero, bounds.0, bounds.1)
}

/// The elements between which numbers from `low` to `high` lie.
fn bounds(stored: &Stored, low: f32, high: f32) -> Option<(u8, u8)> {
    let grid = Grid { scale: stored.base, zero: stored.zero };
    let (first, last) = (if low == f32::NEG_INFINITY { 0 } else { grid.element(low) }, grid.element(high));
    // The largest channel has the coarsest steps: where its bound cuts nothing off, no channel's does.
    let alike = matches!(stored.scale, Scale::One(_)) || ((low == 0.0 || low == f32::NEG_INFINITY) && last == 255);
    alike.then_some((first, last))
}

/// The constant per channel that an expression adds to its `%0` first, and what the expression does after that.
fn take_bias(graph: &Graph, body: &Pointwise, extra: &[ValueId], place: [usize; 2], channels: usize) -> (Option<Vec<f32>>, Pointwise) {
    let whole = || (None, body.clone());
    let reads = |step: &Step| step.operands.contains(&Operand::Arg(0));
    let mut readers = (0..body.steps.len()).filter(|i| reads(&body.steps[*i]));
    let (Some(at), None) = (readers.next(), readers.next()) else { return whole() };
    let step = &body.steps[at];
    let (Fn::Add, [a, b]) = (step.f, &step.operands[..]) else { return whole() };
    let other = if *a == Operand::Arg(0) { b } else { a };
    let bias = match other {
        Operand::Literal(literal) => vec![literal.to_f64() as f32; channels],
        Operand::Arg(i) if *i > 0 => match graph.constant(extra[i - 1]) {
            Some(tensor) if tensor.dtype == DType::F32 && tensor.len() == 1 => vec![tensor.as_slice::<f32>()[0]; channels],
            Some(tensor) if tensor.dtype == DType::F32 && runs_along(&tensor.shape, place, channels) => tensor.as_slice::<f32>().to_vec(),
            _ => return whole(),
        },
        _ => return whole(),
    };
    let moved = |o: &Operand| match *o {
        Operand::Step(i) if i == at => Operand::Arg(0),
        Operand::Step(i) if i > at => Operand::Step(i - 1),
        o => o,
    };
    let mut steps = body.steps.clone();
    steps.remove(at);
    steps.iter_mut().for_each(|step| step.operands = step.operands.iter().map(moved).collect());
    (Some(bias), Pointwise { steps })
}

/// A shape that broadcasts along one dimension only.
pub fn runs_along(shape: &[usize], [rank, axis]: [usize; 2], channels: usize) -> bool {
    let place = (axis + shape.len()).checked_sub(rank);
    place.is_some_and(|at| shape.iter().enumerate().all(|(d, n)| *n == if d == at { channels } else { 1 }))
}

/// Weights that multiply elements of the input's grid in steps of its base: they take in the scales of its channels.
fn folded(weights: &Tensor, form: Form, input: &Stored) -> Tensor {
    let Scale::Channels(each) = &input.scale else { return weights.clone() };
    let (inputs, mut folded) = (form.inputs(weights), weights.clone());
    for (i, x) in folded.as_mut_slice::<f32>().iter_mut().enumerate() {
        *x *= each[inputs.of_element(i)] / input.base;
    }
    folded
}

/// What is added to the sums: minus the zero point's part, the bias, and what corrects the mean error that rounding the
/// weights causes (Nagel et al. 2019, section 4.2).
fn sum_biases(
    form: Form,
    rounded: &Weights,
    bias: Option<&[f32]>,
    input: &Stored,
    seen: Option<&ChannelStatistics>,
    weights: &Tensor,
) -> Vec<i32> {
    let (outputs, inputs) = (Channels::of(weights, form.output), form.inputs(weights));
    let (mut steps, mut sums) = (vec![0f64; outputs.count], vec![0i64; outputs.count]);
    let (exact, elements) = (weights.as_slice::<f32>(), rounded.elements.as_slice::<i8>());
    for i in 0..exact.len() {
        let o = outputs.of_element(i);
        sums[o] += i64::from(elements[i]);
        if let Some(seen) = seen {
            let channel = inputs.of_element(i);
            // The mean in steps of the elements: per channel, as the weights were folded.
            let mean = (f64::from(seen.mean[channel]) - f64::from(input.middle_of(channel))) / f64::from(input.scale.at(channel));
            steps[o] -= (f64::from(elements[i]) - f64::from(exact[i]) / f64::from(rounded.scales[o])) * mean;
        }
    }
    let bias = |o: usize| bias.map_or(0.0, |b| f64::from(b[o]) / (f64::from(input.base) * f64::from(rounded.scales[o])));
    let sum = |o: usize| (bias(o) + steps[o]).round() as i64 - i64::from(input.zero) * sums[o];
    (0..outputs.count).map(|o| sum(o).clamp(i32::MIN.into(), i32::MAX.into()) as i32).collect()
}

/// The energy of weights over that of their rounding, in decibels.
fn decibels(weights: &Tensor, form: Form, rounded: &Weights) -> f64 {
    let outputs = Channels::of(weights, form.output);
    let (mut energy, mut error) = (0f64, 0f64);
    for (i, (x, q)) in weights.as_slice::<f32>().iter().zip(rounded.elements.as_slice::<i8>()).enumerate() {
        let moved = f64::from(*x) - f64::from(*q) * f64::from(rounded.scales[outputs.of_element(i)]);
        (energy, error) = (energy + f64::from(*x).powi(2), error + moved.powi(2));
    }
    10.0 * (energy.max(f64::MIN_POSITIVE) / error.max(f64::MIN_POSITIVE)).log10()
}
