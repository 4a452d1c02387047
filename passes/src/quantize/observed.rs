//! What calibration measures, and where: the tensors that will be stored as `u8`, and per channel what corrections of
//! weights need to know.

use super::feedback::MOST_CHANNELS;
use super::layer::multiplies_rows;
use super::plan::{Plan, channel_axis, names};
use ir::{Graph, ValueId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A tensor to observe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub name: String,
    pub value: ValueId,
    /// The dimension of its channels.
    pub axis: usize,
    /// Whether a layer's weights multiply all channels of one place, so that it matters how they occur together.
    pub together: bool,
}

/// What was seen of one tensor.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Observed {
    /// The numbers to represent; `low ≤ 0 ≤ high`.
    pub low: f32,
    pub high: f32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<ChannelStatistics>,
}

/// Per channel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChannelStatistics {
    pub low: Vec<f32>,
    pub high: Vec<f32>,
    pub mean: Vec<f32>,
    /// The mean of the squares.
    pub square: Vec<f32>,
}

impl ChannelStatistics {
    /// Whether there is one number for each of `n` channels.
    pub fn fits(&self, n: usize) -> bool {
        [&self.low, &self.high, &self.mean, &self.square].iter().all(|v| v.len() == n)
    }
}

/// The tensors whose ranges static quantisation of this graph needs.
pub fn observed(graph: &Graph) -> Vec<Point> {
    let (plan, names) = (Plan::of(graph, &BTreeSet::new()), names(graph));
    let is_read_so = |value: ValueId| {
        let mut readers = plan.layers.iter().map(|id| graph.node(*id)).filter(|node| node.inputs[0] == value);
        readers.any(|node| multiplies_rows(graph, node).is_some_and(|n| (2..=MOST_CHANNELS).contains(&n)))
    };
    let point = |value: ValueId| Point {
        name: names[value.0 as usize].clone(),
        value,
        axis: channel_axis(graph, value),
        together: is_read_so(value),
    };
    plan.wanted().map(point).collect()
}
