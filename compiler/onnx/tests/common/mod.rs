//! Helpers of the tests: where the models are, `.npz` files as tensors, comparison. They know nothing of ONNX.
#![allow(dead_code)] // each test crate uses a part

use ir::{B8, DType, Tensor};
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder `models` of the repository.
pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")
}

/// The cache of models that are too large for the repository; `None`, said loudly, when it is not there.
pub fn cached_models(test: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("WASM_TORCH_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/wasm-torch")));
    let folder = cache.map(|c| c.join("models")).filter(|m| m.is_dir());
    if folder.is_none() {
        // Past the harness, which swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: no models in the cache; make them with models/torchvision/export.py");
    }
    folder
}

/// The `.onnx` files of a folder, sorted.
pub fn onnx_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    files.sort();
    files
}

/// The arrays of an `.npz` file by name.
pub fn read_npz(path: &Path) -> Vec<(String, Tensor)> {
    let mut npz = zip::ZipArchive::new(File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap();
    let mut arrays = vec![];
    for i in 0..npz.len() {
        let mut bytes = vec![];
        let mut entry = npz.by_index(i).unwrap();
        entry.read_to_end(&mut bytes).unwrap();
        arrays.push((entry.name().unwrap().trim_end_matches(".npy").to_string(), read_npy(&bytes)));
    }
    arrays
}

fn read_npy(bytes: &[u8]) -> Tensor {
    let npy = npyz::NpyFile::new(bytes).unwrap();
    assert_eq!(npy.order(), npyz::Order::C);
    let shape: Vec<usize> = npy.shape().iter().map(|d| *d as usize).collect();
    let npyz::DType::Plain(plain) = npy.dtype() else { panic!("an array of records") };
    match plain.to_string().trim_start_matches(['<', '|', '>']) {
        "f4" => Tensor::new(&shape, &npy.into_vec::<f32>().unwrap()),
        "f8" => Tensor::new(&shape, &npy.into_vec::<f64>().unwrap()),
        "i4" => Tensor::new(&shape, &npy.into_vec::<i32>().unwrap()),
        "i8" => Tensor::new(&shape, &npy.into_vec::<i64>().unwrap()),
        "i1" => Tensor::new(&shape, &npy.into_vec::<i8>().unwrap()),
        "u1" => Tensor::new(&shape, &npy.into_vec::<u8>().unwrap()),
        "b1" => Tensor::new(&shape, &npy.into_vec::<bool>().unwrap().into_iter().map(|b| B8(b.into())).collect::<Vec<B8>>()),
        other => panic!("an array of `{other}`"),
    }
}

/// Largest difference relative to the larger of 1 and the expected size; infinite for other shapes or types.
pub fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    if found.dtype != expected.dtype || found.shape != expected.shape {
        return f64::INFINITY;
    }
    if found.dtype == DType::Bool || found.dtype.is_int() {
        return if found.bytes() == expected.bytes() { 0.0 } else { f64::INFINITY };
    }
    let pairs = found.to_f64s().into_iter().zip(expected.to_f64s());
    pairs
        .map(|(f, e)| if f == e || (f.is_nan() && e.is_nan()) { 0.0 } else { (f - e).abs() / e.abs().max(1.0) })
        .fold(0.0, |m, d| if d.is_nan() { f64::INFINITY } else { f64::max(m, d) })
}

/// Inputs of a golden in the graph's order, and its outputs by name.
pub fn golden(graph: &ir::Graph, path: &Path) -> (Vec<Tensor>, Vec<(String, Tensor)>) {
    let arrays = read_npz(path);
    let input = |name: &str| arrays.iter().find(|(n, _)| *n == format!("input:{name}")).map(|(_, t)| t.clone());
    let names = graph.inputs.iter().map(|v| graph.value(*v).name.as_str());
    let inputs = names.map(|name| input(name).unwrap_or_else(|| panic!("{} has no input `{name}`", path.display())));
    let outputs = arrays.iter().filter_map(|(n, t)| Some((n.strip_prefix("output:")?.to_string(), t.clone())));
    (inputs.collect(), outputs.collect())
}

/// Evaluates and compares with a golden; an error sentence when they differ by more than `tolerance`.
pub fn check_golden(graph: &ir::Graph, path: &Path, tolerance: f64) -> Result<(), String> {
    ir::verify::verify(graph).map_err(|e| format!("verify: {e:?}"))?;
    let (inputs, expected) = golden(graph, path);
    let outputs = ir::eval::eval(graph, &inputs).map_err(|e| format!("eval: {e}"))?;
    if expected.len() != graph.outputs.len() {
        return Err(format!("{} outputs, expected {}", graph.outputs.len(), expected.len()));
    }
    for (name, tensor) in expected {
        let Some(i) = graph.outputs.iter().position(|o| o.name == name) else { return Err(format!("no output `{name}`")) };
        let difference = difference(&outputs[i], &tensor);
        if difference > tolerance {
            return Err(format!("output `{name}` differs by {difference:e}: found {:?}, expected {tensor:?}", outputs[i]));
        }
    }
    Ok(())
}
