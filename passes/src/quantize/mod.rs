//! `quantize_int8`: layers on 8-bit integers. Convolutions and matrix products with constant weights read `u8` and multiply
//! by `i8`; their epilogues turn the exact sums into real numbers, do what the layer does, and round to the next `u8`, so
//! that a whole network stays in 8 bits between its ends.
//!
//! Before: `y = conv(x, w, b; epilogue={relu(add(%0, %1))})`. After, with everything but `x` constant:
//! `q = map{cast_u8(…round(mul(%0, 1/s))…)}(x); y = conv(q, w8, b32, m; epilogue={cast_u8(…round(mul(cast_f32(add(%0, %1)), %2))…)})`.
//!
//! Where calibration is needed is said by [`observed`]; its results come in [`Settings`]. Nothing here runs a model.

mod arrived;
mod channels;
mod dynamic;
mod expression;
mod feedback;
mod grid;
mod integer;
mod layer;
mod observed;
mod plan;
mod rewrite;
mod scale;

use crate::context::Context;
pub(crate) use arrived::integer_layers;
pub use feedback::{Feedback, MOST_CHANNELS};
pub use grid::{Grid, Weights};
pub(crate) use integer::integer_products;
use ir::{Graph, NodeId, OpError, ValueId};
pub use observed::{ChannelStatistics, Observed, Point, observed};
pub use plan::{Kept, Plan, names};
pub use rewrite::Stored;
pub use scale::{Scale, column};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which activations are quantised when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// With ranges that are known before.
    Static,
    /// Matrix products only, with a scale per row that is found when it is computed.
    Dynamic,
}

/// What the pass is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub scheme: Scheme,
    /// By name of the tensor, as [`names`] gives it.
    pub ranges: BTreeMap<String, Observed>,
    /// How channels occur together, by name of the tensor that layers read; those of others are rounded to the nearest.
    pub feedback: BTreeMap<String, Arc<Feedback>>,
    /// Layers, by the names of their results, that stay as they are.
    pub keep: BTreeSet<String>,
}

/// What the pass did, for reports and measurements.
#[derive(Debug, Default)]
pub struct Applied {
    pub layers: Vec<AppliedLayer>,
    /// Layers that were left alone: names of their results, and why.
    pub kept: Vec<(String, NodeId, Kept)>,
    /// Stored tensors by name: the `u8` value and what it stands for.
    pub tensors: Vec<(String, ValueId, Stored)>,
}

/// One integer layer.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedLayer {
    /// The name of its result.
    pub name: String,
    /// The layer's own names.
    pub origin: Vec<std::sync::Arc<str>>,
    /// The result: `u8`, or real numbers.
    pub result: ValueId,
    /// How far rounding moved the weights: their energy over that of the difference, in decibels.
    pub weights_db: f64,
    pub weight_count: usize,
}

/// The pass: nothing without settings.
pub fn quantize_int8(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let Some(settings) = context.quantize.clone() else { return Ok(()) };
    let applied = apply(graph, &settings)?;
    for layer in &applied.layers {
        context.fired("integer_layer", || format!("`{}`", layer.name));
    }
    for (name, _, why) in &applied.kept {
        context.missed("integer_layer", || format!("`{name}`"), || why.text().into());
    }
    graph.compact();
    Ok(())
}

/// The pass itself; leaves the nodes behind that nobody needs any more.
pub fn apply(graph: &mut Graph, settings: &Settings) -> Result<Applied, OpError> {
    match settings.scheme {
        Scheme::Static => rewrite::apply(graph, settings),
        Scheme::Dynamic => dynamic::apply(graph, settings),
    }
}
