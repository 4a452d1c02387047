//! Compares two tensors: how far apart they are, and whether they mean the same. It decides nothing about where they come from.

use crate::engine::described;
use ir::Tensor;
use serde::Serialize;

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tolerance {
    /// Relative to the largest expected magnitude of the tensor.
    pub rtol: f64,
    pub atol: f64,
}

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance { rtol: 1e-4, atol: 1e-6 }
    }
}

/// How two tensors of one name differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    pub output: String,
    pub max_abs: f64,
    /// `max_abs` relative to the largest expected magnitude.
    pub max_rel: f64,
    /// Rows along the last axis whose largest elements are at the same place, and how many rows there are; for floats.
    pub argmax_equal: Option<(usize, usize)>,
    /// What cannot be compared: types or shapes that differ.
    pub mismatch: Option<String>,
    /// Within the tolerance; integers and booleans must be equal.
    pub ok: bool,
}

/// Compares `found` with `expected`. NaN equals NaN only, an infinity only itself.
pub fn compare(output: &str, expected: &Tensor, found: &Tensor, tolerance: Tolerance) -> Difference {
    let output = output.to_string();
    if (expected.dtype, &expected.shape) != (found.dtype, &found.shape) {
        let mismatch = format!("expected {}, found {}", described(expected.dtype, &expected.shape), described(found.dtype, &found.shape));
        let (max_abs, max_rel) = (f64::INFINITY, f64::INFINITY);
        return Difference { output, max_abs, max_rel, argmax_equal: None, mismatch: Some(mismatch), ok: false };
    }
    let (e, f) = (expected.to_f64s(), found.to_f64s());
    let largest = e.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
    let error = |(x, y): (&f64, &f64)| match x == y || (x.is_nan() && y.is_nan()) {
        true => 0.0,
        false => Some((x - y).abs()).filter(|d| !d.is_nan()).unwrap_or(f64::INFINITY),
    };
    let max_abs = e.iter().zip(&f).map(error).fold(0.0, f64::max);
    let max_rel = if max_abs == 0.0 { 0.0 } else { max_abs / largest };
    let float = expected.dtype.is_float();
    let ok = if float { max_abs <= tolerance.atol + tolerance.rtol * largest } else { expected.bytes() == found.bytes() };
    let argmax_equal = (float && expected.rank() > 0 && !expected.is_empty()).then(|| {
        let width = expected.shape[expected.rank() - 1];
        let rows = e.chunks(width).zip(f.chunks(width));
        (rows.filter(|(e, f)| argmax(e) == argmax(f)).count(), e.len() / width)
    });
    Difference { output, max_abs, max_rel, argmax_equal, mismatch: None, ok }
}

/// Index of the largest element; the first of equals. NaN is never the largest.
pub fn argmax(row: &[f64]) -> usize {
    let mut best = 0;
    for (i, x) in row.iter().enumerate() {
        if *x > row[best] || row[best].is_nan() && !x.is_nan() {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(expected: &[f32], found: &[f32]) -> Difference {
        compare("y", &Tensor::new(&[expected.len()], expected), &Tensor::new(&[found.len()], found), Tolerance::default())
    }

    #[test]
    fn differences_are_relative_to_the_largest_element() {
        let d = difference(&[1000.0, 1.0], &[1000.0, 1.05]);
        assert!(d.ok && d.max_rel < 6e-5 && d.argmax_equal == Some((1, 1)), "{d:?}");
        assert!(!difference(&[1.0, 1.0], &[1.0, 1.001]).ok);
    }

    #[test]
    fn special_values_equal_only_themselves() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert!(difference(&[nan, inf, -inf], &[nan, inf, -inf]).ok);
        for (e, f) in [(nan, 1.0), (1.0, nan), (inf, -inf), (inf, 1.0), (1.0, inf), (nan, inf)] {
            assert!(!difference(&[e], &[f]).ok, "{e} {f}");
        }
    }

    #[test]
    fn shapes_and_types_must_agree() {
        let d = compare("y", &Tensor::zeros(ir::DType::F32, &[2]), &Tensor::zeros(ir::DType::I64, &[2]), Tolerance::default());
        assert_eq!(d.mismatch.as_deref(), Some("expected f32[2], found i64[2]"));
        let d = compare("y", &Tensor::new(&[1], &[1i64 << 53]), &Tensor::new(&[1], &[(1i64 << 53) + 1]), Tolerance::default());
        assert!(!d.ok, "integers are compared exactly");
    }
}
