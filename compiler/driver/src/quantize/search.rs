//! The cheapest mix of integer and f32 layers that reaches an accuracy: every layer is quantised alone and measured; the
//! most harmful for what they cost stay f32, as few as suffice.

use super::measure::Closeness;
use super::report::{Hurting, TriedRow};
use super::{Progress, Reference, Session};
use crate::Error;
use passes::quantize::{Plan, Settings};
use std::collections::BTreeSet;

/// So many held-back samples measure one layer alone.
const SAMPLES: usize = 8;

/// A layer whose noise alone is this far below that of all layers causes a twentieth of it.
const NOTICEABLE_PART_DB: f64 = 13.0;
/// At most one depthwise layer of so many stays f32.
const SPARED: usize = 4;

/// A layer and the harm it does.
#[derive(Debug, Clone)]
pub struct Harm {
    pub name: String,
    /// Signal to noise of the outputs when this layer alone is quantised.
    pub snr_db: f64,
    /// Noise per weight that is kept small.
    weight: f64,
}

impl Session<'_> {
    /// What each layer alone does to the outputs, the most harmful for its size first.
    pub(super) fn harms(&self, settings: &Settings, reference: &Reference, progress: &mut Progress) -> Result<Vec<Harm>, Error> {
        let names = passes::quantize::names(self.graph);
        let plan = Plan::of(self.graph, &BTreeSet::new());
        let layers: Vec<(String, usize)> = plan
            .layers
            .iter()
            .map(|id| self.graph.node(*id))
            .map(|node| {
                let weights = self.graph.constant(node.inputs[1]).map_or(0, |w| w.len());
                (names[node.outputs[0].0 as usize].clone(), weights)
            })
            .collect();
        let mut harms = vec![];
        for (i, (name, weights)) in layers.iter().enumerate() {
            progress(format!("measuring layer {} of {}", i + 1, layers.len()));
            let keep = layers.iter().filter(|(other, _)| other != name).map(|(other, _)| other.clone()).collect();
            let snr_db = self.measure_some(&Settings { keep, ..settings.clone() }, reference, SAMPLES)?.decibels();
            // Bytes that its f32 weights would cost, and a layer's worth of conversions.
            let weight = 10f64.powf(-snr_db / 10.0) / (*weights as f64 + 1000.0);
            harms.push(Harm { name: name.clone(), snr_db, weight });
        }
        harms.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        Ok(harms)
    }

    /// Depthwise layers take about as long in f32 as in 8 bits, and their weights are few: those stay f32 that cause a
    /// noticeable part of the outputs' error, most of which is often the rounding of what the first ones read.
    pub(super) fn spare_depthwise(
        &self,
        settings: &Settings,
        reference: &Reference,
        tried: &mut Vec<TriedRow>,
        progress: &mut Progress,
    ) -> Result<Option<(Settings, Closeness)>, Error> {
        let (names, plan) = (passes::quantize::names(self.graph), Plan::of(self.graph, &BTreeSet::new()));
        let name = |id: ir::NodeId| names[self.graph.node(id).outputs[0].0 as usize].clone();
        let depthwise: Vec<String> = plan.depthwise(self.graph).map(name).collect();
        if depthwise.is_empty() {
            return Ok(None);
        }
        let all = self.measure_some(settings, reference, SAMPLES)?.decibels();
        let mut hurting: Vec<(f64, &String)> = vec![];
        for (i, layer) in depthwise.iter().enumerate() {
            progress(format!("measuring depthwise layer {} of {}", i + 1, depthwise.len()));
            let others = plan.layers.iter().map(|id| name(*id)).filter(|other| other != layer).collect();
            let alone = self.measure_some(&Settings { keep: others, ..settings.clone() }, reference, SAMPLES)?.decibels();
            if alone < all + NOTICEABLE_PART_DB {
                hurting.push((alone, layer));
            }
        }
        hurting.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n = hurting.len().min(depthwise.len().div_ceil(SPARED));
        if n == 0 {
            return Ok(None);
        }
        let keep = hurting[..n].iter().map(|(_, layer)| (*layer).clone()).collect();
        let spared = Settings { keep, ..settings.clone() };
        let closeness = self.measure(&spared, reference)?;
        tried.push(TriedRow::new(&format!("{n} of {} depthwise layers in f32", depthwise.len()), &closeness));
        Ok(Some((spared, closeness)))
    }

    /// Keeps as few layers f32 as the accuracy needs and the size allows.
    pub(super) fn mix(
        &self,
        settings: &Settings,
        reference: &Reference,
        tried: &mut Vec<TriedRow>,
        progress: &mut Progress,
    ) -> Result<(Settings, Closeness), Error> {
        let wanted = self.options.wanted_accuracy();
        let kind = self.accuracy_kind(reference);
        let all = self.measure(settings, reference)?;
        if all.accuracy(kind) >= wanted {
            return Ok((settings.clone(), all));
        }
        let harms = self.harms(settings, reference, progress)?;
        let keeping = |n: usize| Settings { keep: harms[..n].iter().map(|h| h.name.clone()).collect(), ..settings.clone() };
        let mut most = harms.len();
        if let Some(limit) = self.options.size_limit() {
            while most > 0 && self.constant_bytes(&keeping(most))? > limit {
                most -= 1;
            }
        }
        // The fewest that suffice, if more are never worse.
        let (mut low, mut high) = (1, most);
        let mut best = (settings.clone(), all);
        while low <= high {
            let middle = low.midpoint(high);
            progress(format!("measuring with {middle} of {} layers in f32", harms.len()));
            let candidate = keeping(middle);
            let closeness = self.measure(&candidate, reference)?;
            tried.push(TriedRow::new(&format!("{middle} layers in f32"), &closeness));
            let reached = closeness.accuracy(kind) >= wanted;
            if reached || best.1.accuracy(kind) < wanted && closeness.accuracy(kind) >= best.1.accuracy(kind) {
                best = (candidate, closeness);
            }
            if reached { high = middle - 1 } else { low = middle + 1 }
        }
        match best.1.accuracy(kind) >= wanted {
            true => Ok(best),
            false => Err(self.unreachable(&best.1, kind, &harms)),
        }
    }

    /// The error for a target that was not reached, with the layers that hurt.
    pub(super) fn unreachable(&self, best: &Closeness, kind: super::measure::Accuracy, harms: &[Harm]) -> Error {
        let mut hurting: Vec<Hurting> = harms.iter().map(|h| Hurting { name: h.name.clone(), snr_db: h.snr_db }).collect();
        hurting.sort_by(|a, b| a.snr_db.total_cmp(&b.snr_db));
        let layers: Vec<String> = hurting.iter().take(5).map(|h| format!("`{}` ({:.1} dB)", h.name, h.snr_db)).collect();
        let (reached, wanted) = (best.accuracy(kind), self.options.wanted_accuracy());
        let sentence = format!("the target accuracy {wanted} is not reached: at best {reached:.4} on the held-back samples");
        let hint = match self.options.size_limit() {
            Some(_) => "allow a larger --target-size-mb, or a lower --target-accuracy",
            None => "--quantize mixed keeps such layers in f32; more calibration samples help too",
        };
        Error::Usage(format!("{sentence}; quantised alone, these layers hurt most: {}\nhint: {hint}", layers.join(", ")))
    }
}
