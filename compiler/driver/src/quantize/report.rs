//! What quantisation reports: plain data with a JSON form, and the lines for people.

use super::Target;
use super::measure::Closeness;
use passes::quantize::AppliedLayer;
use serde::Serialize;

/// What was quantised and how near the result is to the f32 model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantizeReport {
    pub scheme: Target,
    /// How the ranges were chosen.
    pub method: String,
    pub samples: usize,
    /// Samples that measured and did not calibrate (with fewer than four samples: all).
    pub held_back: usize,
    /// Every method that was tried, measured on the held-back samples.
    pub tried: Vec<TriedRow>,
    /// Of the outputs, on the held-back samples; nothing where there were none.
    pub snr_db: Option<f64>,
    pub agreement: Option<f64>,
    pub cosine: Option<f64>,
    /// Bytes of the graph's constants.
    pub constants_before: u64,
    pub constants_after: u64,
    pub layers: Vec<LayerRow>,
    /// Layers that stay f32, and why.
    pub kept: Vec<KeptRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TriedRow {
    pub method: String,
    pub snr_db: f64,
    pub agreement: f64,
    pub cosine: f64,
}

impl TriedRow {
    pub fn new(method: &str, closeness: &Closeness) -> TriedRow {
        let (snr_db, agreement, cosine) = (closeness.decibels(), closeness.agreement(), closeness.cosine());
        TriedRow { method: method.into(), snr_db, agreement, cosine }
    }
}

/// One integer layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerRow {
    /// The tensor it computes.
    pub name: String,
    pub layers: Vec<String>,
    /// Signal to noise of the result beside the f32 model's, where the result is stored in 8 bits.
    pub snr_db: Option<f64>,
    /// The same of its weights beside their rounding.
    pub weights_db: f64,
    pub weights: usize,
}

impl From<&AppliedLayer> for LayerRow {
    fn from(layer: &AppliedLayer) -> LayerRow {
        let layers = layer.origin.iter().map(ToString::to_string).collect();
        LayerRow { name: layer.name.clone(), layers, snr_db: None, weights_db: layer.weights_db, weights: layer.weight_count }
    }
}

/// A layer and the signal to noise of the outputs when it alone is quantised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hurting {
    pub name: String,
    pub snr_db: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeptRow {
    pub name: String,
    pub layers: Vec<String>,
    pub why: String,
}

impl QuantizeReport {
    /// A few lines for people: names and texts.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        const WORST: usize = 3;
        let megabytes = |n: u64| format!("{:.2} MB", n as f64 / 1e6);
        let mut lines = vec![(
            "int8",
            format!(
                "{} integer layers, {} stay f32; constants {} instead of {}",
                self.layers.len(),
                self.kept.len(),
                megabytes(self.constants_after),
                megabytes(self.constants_before)
            ),
        )];
        if let (Some(snr), Some(agreement), Some(cosine)) = (self.snr_db, self.agreement, self.cosine) {
            let samples = format!("{} of {} samples held back; ranges by {}", self.held_back, self.samples, self.method);
            lines.push(("", format!("{snr:.1} dB, {:.1} % agree, cosine {cosine:.4} ({samples})", 100.0 * agreement)));
        }
        let mut worst: Vec<&LayerRow> = self.layers.iter().filter(|l| l.snr_db.is_some()).collect();
        worst.sort_by(|a, b| a.snr_db.unwrap_or_default().total_cmp(&b.snr_db.unwrap_or_default()));
        let worst: Vec<String> = worst.iter().take(WORST).map(|l| format!("{} {:.1} dB", l.name, l.snr_db.unwrap_or_default())).collect();
        if !worst.is_empty() {
            lines.push(("", format!("furthest from f32: {}", worst.join(", "))));
        }
        let mut reasons: Vec<(&str, Vec<&str>)> = vec![];
        for kept in &self.kept {
            match reasons.iter_mut().find(|(why, _)| *why == kept.why) {
                Some((_, names)) => names.push(&kept.name),
                None => reasons.push((&kept.why, vec![&kept.name])),
            }
        }
        for (why, names) in reasons {
            let some = names.iter().take(WORST).copied().collect::<Vec<_>>().join(", ");
            let more = if names.len() > WORST { format!(" and {} more", names.len() - WORST) } else { String::new() };
            lines.push(("f32", format!("{some}{more}: {why}")));
        }
        lines
    }
}
