//! `--input [NAME=]FILE`: from files to the tensors a module takes. Whether they fit is checked where they are used.

use crate::npz::{self, Arrays, INPUT, OUTPUT};
use crate::{Error, NamedTensor};
use abi::manifest;
use ir::{DType, Tensor};
use std::path::Path;

/// Reads inputs. A file without a name belongs to the only input, or, with several, to the one its name says.
pub fn read(given: &[String], expected: &[manifest::Tensor]) -> Result<Vec<NamedTensor>, Error> {
    let mut inputs = vec![];
    for text in given {
        // A file that exists is meant as it is, even with `=` in its name.
        let (name, file) = match text.split_once('=') {
            Some((name, file)) if !Path::new(text).exists() => (Some(name), file),
            _ => (None, text.as_str()),
        };
        let path = Path::new(file);
        match npz::read(path)? {
            Arrays::One(tensor) => inputs.push(NamedTensor::new(name_of(name, path, expected)?, tensor)),
            Arrays::Many(arrays) => inputs.extend(chosen(name, path, arrays, expected)?),
        }
    }
    // Elements of types that NumPy lacks come as bits; the manifest says what they are.
    for input in &mut inputs {
        if let Some(dtype) = expected.iter().find(|e| e.name == input.name).and_then(|e| DType::from_name(&e.dtype)) {
            input.tensor = npz::restored(std::mem::replace(&mut input.tensor, Tensor::zeros(dtype, &[0])), dtype);
        }
    }
    Ok(inputs)
}

/// The arrays of a file of saved states. Elements of types that NumPy lacks are given as bits.
pub fn states(path: &Path, expected: &[manifest::State]) -> Result<Vec<NamedTensor>, Error> {
    let Arrays::Many(mut states) = npz::read(path)? else {
        return Err(Error::Usage(format!(
            "{} holds one array\nhint: saved states are an .npz file, as --state-out writes it",
            path.display()
        )));
    };
    for state in &mut states {
        if let Some(dtype) = expected.iter().find(|e| e.tensor.name == state.name).and_then(|e| DType::from_name(&e.tensor.dtype)) {
            state.tensor = npz::restored(std::mem::replace(&mut state.tensor, Tensor::zeros(dtype, &[0])), dtype);
        }
    }
    Ok(states)
}

fn name_of(name: Option<&str>, path: &Path, expected: &[manifest::Tensor]) -> Result<String, Error> {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let known = |name: &str| expected.iter().any(|e| e.name == name);
    match (name, expected) {
        (Some(name), _) => Ok(name.into()),
        (None, [only]) => Ok(only.name.clone()),
        (None, _) if known(&stem) => Ok(stem),
        (None, []) => Err(Error::Usage("the model takes no inputs\nhint: leave --input out".into())),
        (None, _) => {
            let names: Vec<&str> = expected.iter().map(|e| e.name.as_str()).collect();
            let sentence = format!("{}: the model has several inputs ({}); which one is this?", path.display(), names.join(", "));
            Err(Error::Usage(format!("{sentence}\nhint: --input {}={}", names[0], path.display())))
        }
    }
}

/// The arrays of an `.npz` file that are inputs: keys `NAME` or `input:NAME`.
fn chosen(name: Option<&str>, path: &Path, arrays: Vec<NamedTensor>, expected: &[manifest::Tensor]) -> Result<Vec<NamedTensor>, Error> {
    let keys: Vec<String> = arrays.iter().map(|a| a.name.clone()).collect();
    let marked = keys.iter().any(|k| k.starts_with(INPUT));
    let input = |mut array: NamedTensor| match array.name.strip_prefix(INPUT) {
        Some(name) => {
            array.name = name.into();
            Some(array)
        }
        None => (!marked && !array.name.starts_with(OUTPUT)).then_some(array),
    };
    let mut inputs: Vec<NamedTensor> = arrays.into_iter().filter_map(input).collect();
    let found = if keys.is_empty() { "it holds no arrays".into() } else { format!("it holds: {}", keys.join(", ")) };
    if let Some(name) = name {
        // `NAME=FILE.npz` means one array: the one of this name, or the only one.
        let at = inputs.iter().position(|i| i.name == name).or((inputs.len() == 1).then_some(0));
        let at = at.ok_or_else(|| Error::Usage(format!("{} has no array `{name}`\nhint: {found}", path.display())))?;
        let mut input = inputs.swap_remove(at);
        input.name = name.into();
        return Ok(vec![input]);
    }
    if !inputs.iter().any(|i| expected.iter().any(|e| e.name == i.name)) && !expected.is_empty() {
        let names: Vec<&str> = expected.iter().map(|e| e.name.as_str()).collect();
        let sentence = format!("{} holds none of the model's inputs ({})", path.display(), names.join(", "));
        return Err(Error::Usage(format!("{sentence}\nhint: {found}; keys are the inputs' names, with or without `input:` before them")));
    }
    Ok(inputs)
}
