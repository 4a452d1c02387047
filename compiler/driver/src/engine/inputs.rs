//! Whether given tensors are what a module takes, and what is likely meant where they are not. It touches no module.

use super::{EngineError, InputProblem, NamedTensor, described, dtype, shape};
use crate::error::suggestion;
use abi::manifest;
use ir::DType;

/// Compares given tensors with what a module takes; every difference is reported.
pub fn check_inputs(expected: &[manifest::Tensor], given: &[NamedTensor]) -> Result<(), EngineError> {
    let mut problems = vec![];
    let mut problem = |sentence: String, hint: Option<String>| problems.push(InputProblem { sentence, hint });
    for (i, tensor) in given.iter().enumerate() {
        if !expected.iter().any(|e| e.name == tensor.name) {
            let names: Vec<&str> = expected.iter().map(|e| e.name.as_str()).collect();
            let inputs = if names.is_empty() { "it takes no inputs".to_string() } else { format!("its inputs are: {}", names.join(", ")) };
            let hint = suggestion(&tensor.name, names).map_or(inputs.clone(), |s| format!("{s} {inputs}"));
            problem(format!("the model has no input `{}`", tensor.name), Some(hint));
        }
        if given[..i].iter().any(|other| other.name == tensor.name) {
            problem(format!("the input `{}` is given twice", tensor.name), None);
        }
    }
    for port in expected {
        let wanted = described(dtype(port), &port.shape);
        let Some(NamedTensor { name, tensor }) = given.iter().find(|g| g.name == port.name) else {
            problem(format!("the input `{}` is missing; expected {wanted}", port.name), None);
            continue;
        };
        let found = described(tensor.dtype, &tensor.shape);
        if tensor.dtype != dtype(port) {
            let hint = conversion(dtype(port));
            problem(format!("the input `{name}` has the wrong element type: expected {wanted}, found {found}"), Some(hint));
        } else if tensor.shape != shape(port) {
            problem(
                format!("the input `{name}` has the wrong shape: expected {wanted}, found {found}"),
                shape_hint(&shape(port), &tensor.shape),
            );
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(EngineError::Inputs(problems)) }
}

/// What is likely meant when a shape does not fit.
fn shape_hint(expected: &[usize], found: &[usize]) -> Option<String> {
    let elements = |shape: &[usize]| shape.iter().product::<usize>();
    if expected.len() == found.len() + 1 && expected[0] == 1 && expected[1..] == *found {
        return Some("the batch dimension is missing: array[None]".into());
    }
    if expected.len() == found.len() && !expected.is_empty() && expected[1..] == found[1..] {
        return Some(format!("the module was exported for {} at once: pass as many, or export with another --dim", expected[0]));
    }
    if let ([_, c, h, w], [fh, fw, fc]) = (expected, found)
        && (h, w, c) == (fh, fw, fc)
    {
        return Some("the channels are last here and first in the model: array.transpose(2, 0, 1)[None]".into());
    }
    if let ([_, c, h, w], [_, fh, fw, fc]) = (expected, found)
        && (h, w, c) == (fh, fw, fc)
    {
        return Some("the channels are last here and second in the model: array.transpose(0, 3, 1, 2)".into());
    }
    (elements(expected) == elements(found)).then(|| format!("the number of elements fits: array.reshape({expected:?})"))
}

/// How to make an array of elements of a type.
fn conversion(dtype: DType) -> String {
    let name = match dtype {
        DType::F16 => "float16",
        DType::F32 => "float32",
        DType::F64 => "float64",
        DType::I8 => "int8",
        DType::I16 => "int16",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::U8 => "uint8",
        DType::U16 => "uint16",
        DType::U32 => "uint32",
        DType::U64 => "uint64",
        DType::Bool => "bool_",
        // NumPy has no such types: their bits travel as unsigned integers.
        other => return format!("give the bits of the {other} numbers as an array of numpy.uint{}", 8 * other.bytes()),
    };
    format!("convert it, e.g. array.astype(numpy.{name})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Tensor;

    fn port(name: &str, dtype: &str, shape: &[u64]) -> manifest::Tensor {
        manifest::Tensor { name: name.into(), dtype: dtype.into(), shape: shape.into(), offset: 0, bytes: 0 }
    }

    fn message(given: &[NamedTensor]) -> String {
        check_inputs(&[port("image", "f32", &[1, 3, 8, 9])], given).map_or_else(|e| e.to_string(), |()| "fits".into())
    }

    fn one(name: &str, dtype: DType, shape: &[usize]) -> Vec<NamedTensor> {
        vec![NamedTensor::new(name, Tensor::zeros(dtype, shape))]
    }

    #[test]
    fn inputs_that_do_not_fit_are_named_with_a_hint() {
        let check = |given: &[NamedTensor], expected: expect_test::Expect| expected.assert_eq(&message(given));
        check(&one("image", DType::F32, &[1, 3, 8, 9]), expect_test::expect!["fits"]);
        check(
            &one("image", DType::F64, &[1, 3, 8, 9]),
            expect_test::expect![[r#"
            the input `image` has the wrong element type: expected f32[1, 3, 8, 9], found f64[1, 3, 8, 9]
            hint: convert it, e.g. array.astype(numpy.float32)"#]],
        );
        check(
            &one("image", DType::F32, &[3, 8, 9]),
            expect_test::expect![[r#"
            the input `image` has the wrong shape: expected f32[1, 3, 8, 9], found f32[3, 8, 9]
            hint: the batch dimension is missing: array[None]"#]],
        );
        check(
            &one("image", DType::F32, &[4, 3, 8, 9]),
            expect_test::expect![[r#"
            the input `image` has the wrong shape: expected f32[1, 3, 8, 9], found f32[4, 3, 8, 9]
            hint: the module was exported for 1 at once: pass as many, or export with another --dim"#]],
        );
        check(
            &one("image", DType::F32, &[1, 8, 9, 3]),
            expect_test::expect![[r#"
            the input `image` has the wrong shape: expected f32[1, 3, 8, 9], found f32[1, 8, 9, 3]
            hint: the channels are last here and second in the model: array.transpose(0, 3, 1, 2)"#]],
        );
        check(
            &one("imgae", DType::F32, &[1, 3, 8, 9]),
            expect_test::expect![[r#"
            the model has no input `imgae`
            hint: did you mean `image`? its inputs are: image
            the input `image` is missing; expected f32[1, 3, 8, 9]"#]],
        );
        check(
            &[one("image", DType::F32, &[1, 3, 8, 9]), one("image", DType::F32, &[1, 3, 8, 9])].concat(),
            expect_test::expect!["the input `image` is given twice"],
        );
    }
}
