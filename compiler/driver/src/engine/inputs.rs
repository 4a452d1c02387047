//! Whether given tensors are what a module takes, what they say about its free sizes, and what is likely meant where they do
//! not fit. It touches no module.

use super::{EngineError, InputProblem, NamedTensor, described, dtype, shape};
use crate::error::suggestion;
use abi::manifest::{self, Manifest, Size, Symbol};
use ir::{DType, Tensor};

/// Values of a module's symbols, in the manifest's order.
pub type SymbolValues = Vec<i64>;

/// Compares given tensors with what a module takes; every difference is reported. Returns the values of the symbols that
/// the shapes determine. States that grow may have any size.
pub fn check_inputs(manifest: &Manifest, given: &[NamedTensor]) -> Result<SymbolValues, EngineError> {
    check_inputs_with(manifest, given, &vec![None; manifest.symbols.len()])
}

/// [`check_inputs`] where the module keeps the values of some symbols.
pub(super) fn check_inputs_with(manifest: &Manifest, given: &[NamedTensor], kept: &[Option<i64>]) -> Result<SymbolValues, EngineError> {
    let expected = &manifest.inputs;
    let mut problems = full(manifest, kept);
    let state = |symbol: &Symbol| grown_by(manifest, &symbol.name).map_or("", |state| &state.tensor.name);
    let mut values: Vec<Option<(i64, &str)>> =
        kept.iter().zip(&manifest.symbols).map(|(value, symbol)| value.map(|value| (value, state(symbol)))).collect();
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
        let wanted = match &port.sizes {
            Some(sizes) => format!("{}[{}]", dtype(port), spelled(sizes)),
            None => described(dtype(port), &port.shape),
        };
        let Some(NamedTensor { name, tensor }) = given.iter().find(|g| g.name == port.name) else {
            problem(format!("the input `{}` is missing; expected {wanted}", port.name), None);
            continue;
        };
        let found = described(tensor.dtype, &tensor.shape);
        if tensor.dtype != dtype(port) {
            let hint = conversion(dtype(port));
            problem(format!("the input `{name}` has the wrong element type: expected {wanted}, found {found}"), Some(hint));
        } else if let Some(sizes) = &port.sizes {
            if tensor.shape.len() == sizes.len() {
                let found = free_sizes(&manifest.symbols, port, sizes, tensor, &mut values);
                found.into_iter().for_each(|(sentence, hint)| problem(sentence, hint));
            } else {
                let sentence = format!("the input `{name}` has the wrong number of dimensions: expected {wanted}, found {found}");
                problem(sentence, None);
            }
        } else if tensor.shape != shape(port) {
            problem(
                format!("the input `{name}` has the wrong shape: expected {wanted}, found {found}"),
                shape_hint(&shape(port), &tensor.shape),
            );
        }
    }
    if !problems.is_empty() {
        return Err(EngineError::Inputs(problems));
    }
    Ok(values.iter().zip(&manifest.symbols).map(|(value, symbol)| value.map_or(symbol.min, |(value, _)| value)).collect())
}

/// The first state whose size is the symbol.
pub(super) fn grown_by<'m>(manifest: &'m Manifest, symbol: &str) -> Option<&'m manifest::State> {
    let is_size = |state: &&manifest::State| state.tensor.sizes.iter().flatten().any(|size| *size == Size::Symbol(symbol.into()));
    manifest.states.iter().find(is_size)
}

/// States that have grown beyond what a run may find.
fn full(manifest: &Manifest, kept: &[Option<i64>]) -> Vec<InputProblem> {
    let problem = |(symbol, value): (&Symbol, &Option<i64>)| {
        let (Symbol { name, max, min, .. }, value) = (symbol, value.filter(|value| *value > symbol.max)?);
        let state = grown_by(manifest, name).map_or("", |state| &state.tensor.name);
        Some(InputProblem {
            sentence: format!("the state `{state}` is full: `{name}` is {value}, at most {max} at the start of a run"),
            hint: Some(format!("reset the states, or export with --dim {name}={min}..{}", value.max(2 * max))),
        })
    };
    manifest.symbols.iter().zip(kept).filter_map(problem).collect()
}

/// `1, seq, 384`.
pub fn spelled(sizes: &[Size]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What is wrong with the sizes of one input; symbols that it determines first get their values.
fn free_sizes<'m>(
    symbols: &[Symbol],
    port: &'m manifest::Tensor,
    sizes: &[Size],
    tensor: &Tensor,
    values: &mut [Option<(i64, &'m str)>],
) -> Vec<(String, Option<String>)> {
    let mut problems = vec![];
    for (axis, (size, found)) in sizes.iter().zip(&tensor.shape).enumerate() {
        let found = *found as i64;
        let place = format!("the input `{}` has the size {found} in dimension {axis}", port.name);
        let symbol = match size {
            Size::Symbol(name) => symbols.iter().position(|s| s.name == *name),
            _ => None,
        };
        if let Some(at) = symbol {
            let Symbol { name, min, max, .. } = &symbols[at];
            if !(*min..=*max).contains(&found) {
                let hint = format!("export with --dim {name}={}..{} for other sizes", found.min(*min), found.max(*max));
                problems.push((format!("{place}; `{name}` is {min} to {max}"), Some(hint)));
                continue;
            }
            match values[at] {
                Some((first, input)) if first != found => {
                    let whose = if symbols[at].kept { "state" } else { "input" };
                    problems.push((format!("{place}, but `{name}` is {first} in the {whose} `{input}`"), None));
                }
                _ => values[at] = Some((found, &port.name)),
            }
            continue;
        }
        let value = |name: &str| symbols.iter().position(|s| s.name == name).and_then(|at| values[at]).map(|(value, _)| value);
        match size.value(&value) {
            Some(expected) if expected != found => {
                let which = if matches!(size, Size::Number(_)) { String::new() } else { format!(", which is {expected}") };
                problems.push((format!("{place}; expected {size}{which}"), None));
            }
            _ => {}
        }
    }
    problems
}

/// The shape of a port for these values of the symbols.
pub fn shape_at(manifest: &Manifest, port: &manifest::Tensor, values: &[i64]) -> Vec<usize> {
    let Some(sizes) = &port.sizes else { return shape(port) };
    let value = |name: &str| manifest.symbols.iter().position(|s| s.name == name).and_then(|at| values.get(at)).copied();
    sizes
        .iter()
        .zip(&port.shape)
        .map(|(size, most)| size.value(&value).map_or(*most as usize, |size| size.clamp(0, *most as i64) as usize))
        .collect()
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
        manifest::Tensor { name: name.into(), dtype: dtype.into(), shape: shape.into(), sizes: None, offset: 0, bytes: 0 }
    }

    fn manifest(inputs: Vec<manifest::Tensor>, symbols: Vec<Symbol>) -> Manifest {
        Manifest { inputs, symbols, ..Manifest::default() }
    }

    fn message(given: &[NamedTensor]) -> String {
        let manifest = manifest(vec![port("image", "f32", &[1, 3, 8, 9])], vec![]);
        check_inputs(&manifest, given).map_or_else(|e| e.to_string(), |_| "fits".into())
    }

    #[test]
    fn free_sizes_are_within_bounds_and_agree() {
        let symbol = |name: &str| Size::Symbol(name.into());
        let with = |name: &str, sizes: Vec<Size>, most: &[u64]| manifest::Tensor { sizes: Some(sizes), ..port(name, "f32", most) };
        let twice = Size::Apply("*".into(), Box::new(Size::Number(2)), Box::new(symbol("seq")));
        let inputs = vec![with("ids", vec![Size::Number(1), symbol("seq")], &[1, 16]), with("mask", vec![symbol("seq"), twice], &[16, 32])];
        let manifest = manifest(inputs, vec![Symbol { name: "seq".into(), min: 2, max: 16, offset: 0, kept: false, found: false }]);
        let check = |ids: &[usize], mask: &[usize]| {
            let given = [one("ids", DType::F32, ids), one("mask", DType::F32, mask)].concat();
            check_inputs(&manifest, &given).map_or_else(|e| e.to_string(), |values| format!("{values:?}"))
        };
        assert_eq!(check(&[1, 7], &[7, 14]), "[7]");
        expect_test::expect![[r#"
            the input `ids` has the size 17 in dimension 1; `seq` is 2 to 16
            hint: export with --dim seq=2..17 for other sizes"#]]
        .assert_eq(&check(&[1, 17], &[7, 14]));
        expect_test::expect![[r#"
            the input `mask` has the size 6 in dimension 0, but `seq` is 7 in the input `ids`
            the input `mask` has the size 13 in dimension 1; expected (2*seq), which is 14"#]]
        .assert_eq(&check(&[1, 7], &[6, 13]));
        expect_test::expect!["the input `mask` has the size 12 in dimension 1; expected (2*seq), which is 14"]
            .assert_eq(&check(&[1, 7], &[7, 12]));
        expect_test::expect!["the input `ids` has the wrong number of dimensions: expected f32[1, seq], found f32[7]"]
            .assert_eq(&check(&[7], &[7, 14]));
        expect_test::expect!["the input `ids` has the size 2 in dimension 0; expected 1"].assert_eq(&check(&[2, 7], &[7, 14]));
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
