//! One module of each released interface, as its compiler wrote it: that of the present interface runs and is right, older and
//! newer ones are refused with what to do. A new `ABI_VERSION` needs a new file: see `tests/compat/README.md`.

use abi::ABI_VERSION;
use std::path::{Path, PathBuf};
use wasm_torch::engine::EngineError;
use wasm_torch::{Instance, NamedTensor};
use wasm_torch_tests::Tensor;

/// The kept modules by the number of their interface.
fn kept() -> Vec<(u32, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat");
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("abi")?.strip_suffix(".wasm")?.parse().ok();
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut kept: Vec<(u32, PathBuf)> = entries.filter_map(|path| Some((number(&path)?, path))).collect();
    kept.sort();
    kept
}

fn refused(bytes: &[u8]) -> String {
    match Instance::load(bytes) {
        Ok(_) => panic!("loaded"),
        Err(error @ EngineError::Manifest(link::ManifestError::UnsupportedAbi { .. })) => error.to_string(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn kept_modules_run_or_say_what_to_do() {
    let kept = kept();
    assert_eq!(kept.last().map(|(number, _)| *number), Some(ABI_VERSION), "keep a module of this interface in tests/compat");
    for (number, path) in kept {
        let bytes = std::fs::read(&path).expect("a file");
        if number != ABI_VERSION {
            let message = refused(&bytes);
            assert!(message.contains(&format!("ABI version {number}")) && message.contains("export the model again"), "{message}");
            continue;
        }
        let mut instance = Instance::load(&bytes).expect("loads");
        let tensor = |f: fn(usize) -> f64| Tensor::from_fn(ir::DType::F32, &[2, 3, 5], f);
        let inputs = [NamedTensor::new("a", tensor(|i| i as f64)), NamedTensor::new("b", tensor(|i| 100.0 - 3.0 * i as f64))];
        let outputs = instance.forward(&inputs).expect("runs");
        assert_eq!(outputs[0].tensor, tensor(|i| 100.0 - 2.0 * i as f64));
    }
}

/// The number is in the manifest, as JSON of a fixed beginning.
#[test]
fn other_numbers_are_refused_with_the_way_out() {
    let (_, path) = kept().pop().expect("a module");
    let bytes = std::fs::read(path).expect("a file");
    let now = format!("{{\"abi\":{ABI_VERSION},");
    let at = bytes.windows(now.len()).position(|window| window == now.as_bytes()).expect("the manifest");
    for (number, advice) in [(ABI_VERSION - 1, "export the model again"), (ABI_VERSION + 1, "use a newer wasm-torch")] {
        let mut other = bytes.clone();
        other[at..at + now.len()].copy_from_slice(format!("{{\"abi\":{number},").as_bytes());
        let message = refused(&other);
        assert!(
            message.contains(&format!("ABI version {number}, this program knows {ABI_VERSION}")) && message.contains(advice),
            "{message}"
        );
    }
}
