//! How near one model's outputs are to another's: signal to noise, agreement of the largest element, cosine.

use crate::NamedTensor;
use crate::compare::argmax;
use ir::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// What `--target-accuracy` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Accuracy {
    /// The part of rows of the first output whose largest element is at the same place
    Agreement,
    /// The mean cosine between rows of the first output
    Cosine,
}

/// Sums over several runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Closeness {
    signal: f64,
    noise: f64,
    rows: usize,
    agreeing: usize,
    cosine: f64,
}

/// The most decibels that are told: without any noise they would be infinite.
const EQUAL_DB: f64 = 200.0;

impl Closeness {
    /// Outputs of one run; the rows of the first float output are compared one by one.
    pub fn add(&mut self, expected: &[NamedTensor], found: &[NamedTensor]) {
        let float = expected.iter().zip(found).filter(|(e, _)| e.tensor.dtype == DType::F32);
        for (i, (expected, found)) in float.enumerate() {
            self.add_energy(&expected.tensor, &found.tensor);
            if i == 0 {
                self.add_rows(&expected.tensor, &found.tensor);
            }
        }
    }

    pub fn add_energy(&mut self, expected: &Tensor, found: &Tensor) {
        for (e, f) in expected.as_slice::<f32>().iter().zip(found.as_slice::<f32>()) {
            self.signal += f64::from(*e).powi(2);
            self.noise += (f64::from(*e) - f64::from(*f)).powi(2);
        }
    }

    fn add_rows(&mut self, expected: &Tensor, found: &Tensor) {
        let (e, f) = (expected.to_f64s(), found.to_f64s());
        let width = expected.shape.last().copied().unwrap_or(1).max(1);
        for (e, f) in e.chunks(width).zip(f.chunks(width)) {
            self.rows += 1;
            self.agreeing += usize::from(argmax(e) == argmax(f));
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
            let lengths = (dot(e, e) * dot(f, f)).sqrt();
            self.cosine += if lengths > 0.0 { dot(e, f) / lengths } else { f64::from(e == f) };
        }
    }

    pub fn decibels(&self) -> f64 {
        if self.noise == 0.0 {
            return EQUAL_DB;
        }
        (10.0 * (self.signal.max(f64::MIN_POSITIVE) / self.noise).log10()).clamp(-EQUAL_DB, EQUAL_DB)
    }

    pub fn agreement(&self) -> f64 {
        self.agreeing as f64 / self.rows.max(1) as f64
    }

    pub fn cosine(&self) -> f64 {
        self.cosine / self.rows.max(1) as f64
    }

    pub fn accuracy(&self, kind: Accuracy) -> f64 {
        match kind {
            Accuracy::Agreement => self.agreement(),
            Accuracy::Cosine => self.cosine(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_energy() {
        let outputs = |x: &[f32]| vec![NamedTensor::new("y", Tensor::new(&[2, 2], x))];
        let mut closeness = Closeness::default();
        closeness.add(&outputs(&[1.0, 0.0, 0.0, 2.0]), &outputs(&[1.0, 0.0, 2.0, 0.0]));
        assert_eq!((closeness.agreement(), closeness.cosine()), (0.5, 0.5));
        assert!((closeness.decibels() - 10.0 * (5.0f64 / 8.0).log10()).abs() < 1e-9);
        assert_eq!(Closeness::default().decibels(), EQUAL_DB);
    }
}
