//! LSTM, GRU and RNN as PyTorch exports them, and variants of the operators that it does not write: modules in wasmtime
//! against onnxruntime.

use std::path::{Path, PathBuf};
use wasm_torch::compare::{Tolerance, compare};
use wasm_torch::{ExportOptions, Instance, NamedTensor, npz};

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/recurrent");
    let mut models: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    models.retain(|p| p.extension().is_some_and(|e| e == "onnx"));
    models.sort();
    models
}

fn marked(arrays: &[NamedTensor], mark: &str) -> Vec<NamedTensor> {
    let strip = |a: &NamedTensor| Some(NamedTensor::new(a.name.strip_prefix(mark)?, a.tensor.clone()));
    arrays.iter().filter_map(strip).collect()
}

/// The differences of a model's outputs from the golden, as sentences.
fn check(model: &Path) -> Result<(), String> {
    let compiled = wasm_torch::compile(model, &ExportOptions::default(), &mut |_| {}).map_err(|e| e.to_string())?;
    let mut instance = Instance::load(&compiled.linked.wasm).map_err(|e| e.to_string())?;
    let arrays = npz::read_npz(&model.with_extension("npz")).map_err(|e| e.to_string())?;
    let (inputs, expected) = (marked(&arrays, "input:"), marked(&arrays, "output:"));
    // Twice: nothing may be left over from the first time.
    for _ in 0..2 {
        let found = instance.forward(&inputs).map_err(|e| e.to_string())?;
        if found.len() != expected.len() {
            return Err(format!("{} outputs instead of {}", found.len(), expected.len()));
        }
        for output in &found {
            let expected = expected.iter().find(|e| e.name == output.name).ok_or_else(|| format!("no golden for {}", output.name))?;
            let difference = compare(&output.name, &expected.tensor, &output.tensor, Tolerance { rtol: 1e-5, atol: 0.0 });
            if !difference.ok {
                return Err(format!("{difference:?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn models_agree_with_onnxruntime() {
    let models = models();
    assert_eq!(models.len(), 18);
    let failures: Vec<String> = models.iter().filter_map(|m| check(m).err().map(|e| format!("{}: {e}", m.display()))).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
