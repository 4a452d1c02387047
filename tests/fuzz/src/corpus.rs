//! The models that inputs are made of: those in the repository, and what is in the cache of fetched models when it is there.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Larger files make slow inputs.
const LIMIT: u64 = 200 << 10;

/// A model's bytes, and its name for messages.
#[derive(Debug)]
pub struct Model {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Models of the repository, in order of path; the same everywhere.
pub fn committed() -> &'static [Model] {
    static MODELS: OnceLock<Vec<Model>> = OnceLock::new();
    MODELS.get_or_init(|| load(&[wasm_torch_tests::models()]))
}

/// Models of the repository and of the cache, if `WASM_TORCH_FUZZ_CACHE` is set.
pub fn models() -> &'static [Model] {
    static MODELS: OnceLock<Vec<Model>> = OnceLock::new();
    let Some(cache) = cache() else { return committed() };
    MODELS.get_or_init(|| load(&[wasm_torch_tests::models(), cache.join("onnx-suite"), cache.join("models"), cache.join("zoo")]))
}

/// Seeds stand for other inputs where there are more models: only who asks for that gets it.
fn cache() -> Option<PathBuf> {
    std::env::var_os("WASM_TORCH_FUZZ_CACHE").map(PathBuf::from).filter(|folder| folder.is_dir())
}

fn load(folders: &[PathBuf]) -> Vec<Model> {
    let mut paths = vec![];
    folders.iter().for_each(|folder| find(folder, &mut paths));
    paths.sort();
    let model = |path: PathBuf| Some(Model { name: path.display().to_string(), bytes: std::fs::read(path).ok()? });
    paths.into_iter().filter_map(model).collect()
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, paths);
        } else if path.extension().is_some_and(|e| e == "onnx") && entry.metadata().is_ok_and(|m| m.len() <= LIMIT) {
            paths.push(path);
        }
    }
}
