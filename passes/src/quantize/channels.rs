//! Grids whose channels differ: a scale per channel where the readers' weights can take it in, and a middle per channel
//! where their biases can. Both cost nothing when the model runs.

use super::grid::{Channels, Grid};
use super::layer::{Form, bias_and_rest, is_sum};
use super::observed::ChannelStatistics;
use super::plan::Plan;
use super::rewrite::Stored;
use super::scale::Scale;
use ir::ops::Op;
use ir::{Graph, Node, ValueId};

/// How far channels are scaled to the size of the largest: exponents of their relative sizes that are tried.
const EXPONENTS: [f32; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
/// The smallest channel counts as this part of the largest.
const SMALLEST: f32 = 0.01;
/// The element in the middle of a grid.
const MIDDLE: u8 = 128;

/// How a tensor with a grid of its own is stored, if its channels are worth differing.
pub fn stored(graph: &Graph, plan: &Plan, value: ValueId, axis: usize, seen: &ChannelStatistics) -> Option<Stored> {
    let readers: Vec<&Node> = plan.layers.iter().map(|l| graph.node(*l)).filter(|n| n.inputs[0] == value).collect();
    if readers.is_empty() {
        return None;
    }
    if takes_middles(graph, plan, value, &readers) {
        let widths: Vec<f32> = seen.low.iter().zip(&seen.high).map(|(l, h)| h - l).collect();
        let widest = widths.iter().copied().fold(0.0, f32::max);
        let grid = Grid::over(0.0, widest);
        let sizes: Vec<f32> = widths.iter().map(|w| part(*w, widest).clamp(SMALLEST, 1.0)).collect();
        let each: Vec<f32> = factors(graph, &readers, grid, &sizes, seen).iter().map(|f| f * grid.scale).collect();
        // The lowest element of a channel that takes all levels is 0.
        let middle = seen.low.iter().zip(&seen.high).zip(&each).map(|((l, h), scale)| (l + h) / 2.0 + scale / 2.0);
        return Some(Stored { zero: MIDDLE, base: grid.scale, middle: Some(middle.collect()), scale: Scale::Channels(each.into()), axis });
    }
    let least = |x: &[f32]| x.iter().copied().fold(0.0, f32::min);
    let most = |x: &[f32]| x.iter().copied().fold(0.0, f32::max);
    let grid = Grid::over(least(&seen.low), most(&seen.high));
    let (low, high) = (-f32::from(grid.zero) * grid.scale, f32::from(255 - grid.zero) * grid.scale);
    let sizes = seen.low.iter().zip(&seen.high).map(|(l, h)| part(*l, low).max(part(*h, high)).clamp(SMALLEST, 1.0));
    let factors = factors(graph, &readers, grid, &sizes.collect::<Vec<f32>>(), seen);
    if factors.iter().all(|f| *f == 1.0) {
        return Some(Stored::plain(grid, axis));
    }
    let each: Vec<f32> = factors.into_iter().map(|f| f * grid.scale).collect();
    Some(Stored { scale: Scale::Channels(each.into()), ..Stored::plain(grid, axis) })
}

fn part(x: f32, whole: f32) -> f32 {
    if whole == 0.0 { 0.0 } else { x / whole }
}

/// Whether everybody who reads or writes a tensor's elements can do with channels around other numbers than 0: layers
/// that add no margins, sums, and maps; its producer writes it without cutting it off.
fn takes_middles(graph: &Graph, plan: &Plan, value: ValueId, readers: &[&Node]) -> bool {
    let unpadded = |node: &&Node| !matches!(&node.op, Op::Conv(conv) if conv.pads.iter().any(|p| *p != 0));
    let is_read_so = |node: &Node, is_layer: bool| {
        let own = node.op.own_inputs(node.inputs.len());
        matches!(node.op, Op::Map(_)) || is_layer && node.inputs[1..own].iter().all(|v| *v != value)
    };
    let produced = graph.producer(value).is_none_or(|id| !plan.is_layer(id) || is_sum(&bias_and_rest(graph, graph.node(id)).1));
    let mut nodes = graph.order().into_iter().filter(|id| graph.node(*id).inputs.contains(&value));
    produced && readers.iter().all(unpadded) && nodes.all(|id| is_read_so(graph.node(id), plan.is_layer(id)))
}

/// Scales per channel relative to the largest, where the rounding of activations and of weights together make the least
/// error in the readers' results. Depthwise weights take in any.
fn factors(graph: &Graph, readers: &[&Node], grid: Grid, sizes: &[f32], seen: &ChannelStatistics) -> Vec<f32> {
    let factors = |exponent: f32| sizes.iter().map(|s| s.powf(exponent)).collect::<Vec<f32>>();
    let noise = |factors: &[f32]| readers.iter().map(|r| reader_noise(graph, r, grid, factors, seen)).sum::<f64>();
    let best = EXPONENTS.iter().map(|e| (noise(&factors(*e)), *e)).min_by(|a, b| a.0.total_cmp(&b.0));
    factors(best.map_or(0.0, |(_, exponent)| exponent))
}

/// The expected squared error of one reader's results.
fn reader_noise(graph: &Graph, node: &Node, grid: Grid, factors: &[f32], seen: &ChannelStatistics) -> f64 {
    let Some(weights) = graph.constant(node.inputs[1]) else { return 0.0 };
    let form = Form::of(&node.op);
    let outputs = Channels::of(weights, form.output);
    let step = f64::from(grid.scale);
    let mut largest = vec![0f64; outputs.count];
    let mut noise = 0.0;
    for (i, w) in weights.as_slice::<f32>().iter().enumerate() {
        let factor = f64::from(factors[form.input_of(weights, i)]);
        let folded = f64::from(w.abs()) * factor;
        let largest = &mut largest[outputs.of_element(i)];
        *largest = largest.max(folded);
        noise += (folded * step).powi(2) / 12.0;
    }
    for i in 0..weights.len() {
        let channel = form.input_of(weights, i);
        let weight_step = largest[outputs.of_element(i)] / 127.0;
        // What the mean contributes is corrected in the bias.
        let variance = (f64::from(seen.square[channel]) - f64::from(seen.mean[channel]).powi(2)).max(0.0);
        noise += weight_step.powi(2) / 12.0 * variance / f64::from(factors[channel]).powi(2);
    }
    noise
}
