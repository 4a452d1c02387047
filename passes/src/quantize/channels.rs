//! Grids whose channels differ: a scale per channel where the readers' weights can take it in, and a middle per channel
//! where their biases can. Both cost nothing when the model runs.

use super::grid::Grid;
use super::layer::{Form, Inputs, bias_and_rest, is_sum};
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
    let readers: Vec<Reader> = readers.iter().filter_map(|node| Reader::of(graph, node)).collect();
    let noise = |factors: &[f32]| readers.iter().map(|r| r.noise(grid, factors, seen)).sum::<f64>();
    let best = EXPONENTS.iter().map(|e| (noise(&factors(*e)), *e)).min_by(|a, b| a.0.total_cmp(&b.0));
    factors(best.map_or(0.0, |(_, exponent)| exponent))
}

/// What a layer's weights do with errors of its input.
struct Reader {
    /// Of the squares of the weights, per channel of the input.
    energy: Vec<f64>,
    /// For each channel of the result, those of the input that it is made of in order: the largest weight.
    largest: Vec<f64>,
    inputs: Inputs,
    /// Weights for each of those.
    taps: f64,
}

impl Reader {
    fn of(graph: &Graph, node: &Node) -> Option<Reader> {
        let weights = graph.constant(node.inputs[1])?;
        let inputs = Form::of(&node.op).inputs(weights);
        let mut energy = vec![0.0; inputs.channels()];
        let mut largest = vec![0f64; inputs.outputs.count * inputs.each.count];
        for (i, w) in weights.as_slice::<f32>().iter().enumerate() {
            let w = f64::from(w.abs());
            energy[inputs.of_element(i)] += w * w;
            let largest = &mut largest[inputs.outputs.of_element(i) * inputs.each.count + inputs.each.of_element(i)];
            *largest = largest.max(w);
        }
        let taps = weights.len() as f64 / largest.len().max(1) as f64;
        Some(Reader { energy, largest, inputs, taps })
    }

    /// The expected squared error of the layer's results.
    fn noise(&self, grid: Grid, factors: &[f32], seen: &ChannelStatistics) -> f64 {
        let factor = |c: usize| f64::from(factors[c]);
        let step = f64::from(grid.scale);
        let rounding = |(c, energy): (usize, &f64)| energy * (factor(c) * step).powi(2) / 12.0;
        let activations: f64 = self.energy.iter().enumerate().map(rounding).sum();
        // What the mean contributes is corrected in the bias.
        let variance = |c: usize| (f64::from(seen.square[c]) - f64::from(seen.mean[c]).powi(2)).max(0.0) / factor(c).powi(2);
        let variances: Vec<f64> = (0..factors.len()).map(variance).collect();
        let weights = |(o, largest): (usize, &[f64])| {
            let channels = self.inputs.first_of(o)..self.inputs.first_of(o) + largest.len();
            let step = largest.iter().zip(channels.clone()).map(|(w, c)| w * factor(c)).fold(0.0, f64::max) / 127.0;
            step.powi(2) / 12.0 * self.taps * variances[channels].iter().sum::<f64>()
        };
        activations + self.largest.chunks(self.inputs.each.count.max(1)).enumerate().map(weights).sum::<f64>()
    }
}
