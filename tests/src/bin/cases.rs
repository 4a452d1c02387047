//! Writes what the Node and Chromium tests run: a module per model with golden, and `cases.json` with the hashes that
//! wasmtime computes. Not a test: what is wrong here fails there.
//!
//! Usage: `cases FOLDER`

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wasm_torch::compare::Tolerance;
use wasm_torch::npz::npz_bytes;
use wasm_torch::{Error, write_atomically};
use wasm_torch_tests::{Case, Level, Tensor, cases, evaluate, quantized_cases};

/// One row of `cases.json`; paths are relative to it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    module: PathBuf,
    golden: PathBuf,
    rtol: f64,
    expected_sha256: BTreeMap<String, String>,
}

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("usage: cases FOLDER")?);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let mut rows = vec![];
    let mut skipped = vec![];
    for case in cases().into_iter().chain(quantized_cases()) {
        match row(&case, &folder)? {
            Some(row) => rows.push(row),
            None => skipped.push(case.name),
        }
    }
    write_atomically(&folder.join("cases.json"), &serde_json::to_vec_pretty(&rows)?)?;
    eprintln!("{}: {} cases", folder.join("cases.json").display(), rows.len());
    if !skipped.is_empty() {
        eprintln!("skipped, not supported yet: {}", skipped.join(", "));
    }
    Ok(())
}

/// `None` when the model cannot be exported yet.
fn row(case: &Case, folder: &Path) -> Result<Option<Row>> {
    let module = match case.compile(Level::O2) {
        Ok(module) => module,
        Err(Error::Import(_) | Error::Lower(_)) => return Ok(None),
        Err(error) => return Err(error).context(case.name.clone()),
    };
    // Integers: every engine, variant and number of threads gives the bits that wasmtime gives.
    let exact = Tolerance { rtol: 0.0, atol: 0.0 };
    let tolerance = if case.ranges.is_some() { Tolerance { rtol: 0.4, atol: 0.0 } } else { Tolerance::default() };
    let found = evaluate(&module, &case.arrays()?, tolerance).with_context(|| case.name.clone())?;
    ensure!(found.ok(), "{}: wasmtime differs from the golden: {:?}", case.name, found.differences);
    let file = PathBuf::from(format!("{}.wasm", case.name.replace('/', ".")));
    write_atomically(&folder.join(&file), &module)?;
    let golden = format!("{}.npz", case.name.replace('/', "."));
    match case.ranges {
        Some(_) => {
            let mut arrays = case.arrays()?;
            let outputs = found.outputs.first().context("there is an output")?;
            for array in arrays.iter_mut().filter(|a| a.name == "logits" || a.name.starts_with("output:")) {
                array.tensor = Tensor::new(&array.tensor.shape.clone(), outputs.tensor.as_slice::<f32>());
            }
            std::fs::write(folder.join(&golden), npz_bytes(&arrays)?)?;
        }
        None => drop(std::fs::copy(&case.golden, folder.join(&golden))?),
    }
    let tolerance = if case.ranges.is_some() { exact } else { tolerance };
    let expected_sha256 = found.sha256.into_iter().collect();
    Ok(Some(Row { name: case.name.clone(), module: file, golden: golden.into(), rtol: tolerance.rtol, expected_sha256 }))
}
