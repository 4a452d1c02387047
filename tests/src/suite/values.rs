//! The inputs and outputs of a case: files in protobuf to tensors, and their comparison. Sequences and optionals are
//! flattened to the tensors that they hold.

use super::outcome::Reason;
use ir::{DType, Tensor};
use onnx::proto::TensorProto;
use prost::Message;
use serde::Deserialize;
use std::path::Path;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    Tensor,
    Sequence,
    Optional,
    Sparse,
    Map,
}

/// `SequenceProto` of `onnx-data.proto`, as far as it holds tensors and sequences.
#[derive(Clone, PartialEq, Message)]
struct SequenceProto {
    #[prost(message, repeated, tag = "3")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "5")]
    sequences: Vec<SequenceProto>,
}

/// `OptionalProto` of `onnx-data.proto`, as far as it holds tensors and sequences.
#[derive(Clone, PartialEq, Message)]
struct OptionalProto {
    #[prost(message, optional, tag = "3")]
    tensor: Option<TensorProto>,
    #[prost(message, optional, tag = "5")]
    sequence: Option<SequenceProto>,
}

/// The tensors of the files `LABEL_0.pb`, `LABEL_1.pb`, … in order.
pub fn read(folder: &Path, label: &str, forms: &[Form]) -> Result<Vec<Tensor>, Reason> {
    let mut tensors = vec![];
    for (i, form) in forms.iter().enumerate() {
        let path = folder.join(format!("{label}_{i}.pb"));
        let damaged = |error: &dyn std::fmt::Display| Reason::fail("data", format!("{label} {i} cannot be read: {error}"));
        let bytes = std::fs::read(&path).map_err(|e| damaged(&e))?;
        let protos = match form {
            Form::Tensor => vec![TensorProto::decode(&bytes[..]).map_err(|e| damaged(&e))?],
            Form::Sequence => flat(SequenceProto::decode(&bytes[..]).map_err(|e| damaged(&e))?),
            Form::Optional => {
                let optional = OptionalProto::decode(&bytes[..]).map_err(|e| damaged(&e))?;
                optional.tensor.into_iter().chain(optional.sequence.into_iter().flat_map(flat)).collect()
            }
            Form::Sparse | Form::Map => return Err(Reason::unsupported("type", "sparse tensors and maps")),
        };
        for proto in protos {
            tensors.push(onnx::tensor_from_proto(&proto).map_err(|errors| Reason::of_import(&errors))?);
        }
    }
    Ok(tensors)
}

fn flat(sequence: SequenceProto) -> Vec<TensorProto> {
    sequence.tensors.into_iter().chain(sequence.sequences.into_iter().flat_map(flat)).collect()
}

/// Why `found` is not what is `expected`, with the rule of the ONNX runner: |found − expected| ≤ atol + rtol |expected|,
/// NaN and infinities equal themselves, two units in the last place for bf16; integers and booleans must be equal.
pub fn compare(expected: &[Tensor], found: &[Tensor], rtol: f64, atol: f64) -> Result<(), Reason> {
    compare_types(expected, found)?;
    for (i, (e, f)) in expected.iter().zip(found).enumerate() {
        let rtol = if e.dtype == DType::BF16 { rtol.max(1.0 / 64.0) } else { rtol };
        let float = e.dtype.is_float();
        let close = |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan()) || (x.is_finite() && (x - y).abs() <= atol + rtol * x.abs());
        let equal = |x: f64, y: f64| if float { close(x, y) } else { x == y };
        let (xs, ys) = (e.to_f64s(), f.to_f64s());
        let wrong: Vec<usize> = (0..xs.len()).filter(|i| !equal(xs[*i], ys[*i])).collect();
        // Large integers that differ may be the same number as f64.
        if !wrong.is_empty() || (!float && e.bytes() != f.bytes()) {
            let at = wrong.first().copied().unwrap_or_default();
            let more = format!("{} of {} elements; element {at}: expected {}, found {}", wrong.len().max(1), e.len(), xs[at], ys[at]);
            return Err(Reason::fail("mismatch", format!("values of output {i}")).because(more));
        }
    }
    Ok(())
}

/// Why the types and shapes of `found` are not those that are expected.
pub fn compare_types(expected: &[Tensor], found: &[Tensor]) -> Result<(), Reason> {
    if expected.len() != found.len() {
        let counts = format!("expected {}, found {}", expected.len(), found.len());
        return Err(Reason::fail("mismatch", format!("number of outputs: {counts}")));
    }
    for (i, (e, f)) in expected.iter().zip(found).enumerate() {
        if e.dtype != f.dtype {
            return Err(Reason::fail("mismatch", format!("type of output {i}: expected {}, found {}", e.dtype, f.dtype)));
        }
        if e.shape != f.shape {
            return Err(Reason::fail("mismatch", format!("shape of output {i}: expected {:?}, found {:?}", e.shape, f.shape)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_is_that_of_the_onnx_runner() {
        let one = |x: f32| vec![Tensor::scalar(x)];
        for (e, f, equal) in [
            (1.0, 1.0009, true),
            (1.0, 1.0011, false),
            (0.0, 0.9e-7, true),
            (0.0, 2e-7, false),
            (f32::NAN, f32::NAN, true),
            (f32::NAN, 0.0, false),
            (f32::INFINITY, f32::INFINITY, true),
            (f32::INFINITY, f32::NEG_INFINITY, false),
            (f32::INFINITY, 1.0, false),
            (1.0, f32::INFINITY, false),
        ] {
            assert_eq!(compare(&one(e), &one(f), 1e-3, 1e-7).is_ok(), equal, "expected {e}, found {f}");
        }
        let large = 1i64 << 53;
        assert!(compare(&[Tensor::scalar(large)], &[Tensor::scalar(large + 1)], 1e-3, 0.0).is_err(), "integers are exact");
        assert!(compare(&one(1.0), &[Tensor::scalar(1.0f64)], 1e-3, 0.0).is_err(), "types must agree");
        assert!(compare(&one(1.0), &[Tensor::new(&[1], &[1.0f32])], 1e-3, 0.0).is_err(), "shapes must agree");
        assert!(compare(&one(1.0), &[], 1e-3, 0.0).is_err(), "the number of outputs must agree");
    }
}
