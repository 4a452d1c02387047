//! Networks that `models/torchvision/export.py` writes into the cache: outputs against onnxruntime, size and memory budgets.
//! Where the cache is empty they are skipped, and say so.

use std::io::Write;
use std::path::PathBuf;
use wasm_torch::compare::{Tolerance, compare};
use wasm_torch::{ExportOptions, Instance, NamedTensor, npz};

fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("WASM_TORCH_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/wasm-torch")))?;
    Some(cache.join("models")).filter(|models| models.is_dir())
}

/// Goes past the test harness, which would keep it to itself.
fn skipped(network: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {network}: {why}; make it with models/torchvision/export.py");
}

/// Every `NAME.EXPORTER.onnx` of a network with every golden that belongs to it.
fn check(network: &str) {
    let Some(models) = cache() else {
        skipped(network, "no cache");
        return;
    };
    for exporter in ["dynamo", "legacy"] {
        let name = format!("{network}.{exporter}");
        let model = models.join(format!("{name}.onnx"));
        if !model.exists() {
            skipped(network, &format!("no {}", model.display()));
            continue;
        }
        let compiled = wasm_torch::compile(&model, &ExportOptions::default(), &mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}"));
        let memory = &compiled.report.memory;
        assert!(memory.arena_ratio <= 1.15, "{name}: {memory:?}");
        let mut instance = Instance::load(&compiled.linked.wasm).unwrap_or_else(|e| panic!("{name}: {e}"));
        for golden in [format!("{name}.npz"), format!("{name}.cat.npz"), format!("{name}.coffee.npz")] {
            let path = models.join(&golden);
            if path.exists() {
                golden_agrees(&mut instance, &npz::read_npz(&path).unwrap(), &golden);
            }
        }
    }
}

fn golden_agrees(instance: &mut Instance, arrays: &[NamedTensor], golden: &str) {
    let marked = |mark: &str| -> Vec<NamedTensor> {
        let strip = |a: &NamedTensor| Some(NamedTensor::new(a.name.strip_prefix(mark)?, a.tensor.clone()));
        arrays.iter().filter_map(strip).collect()
    };
    let found = instance.forward(&marked("input:")).unwrap_or_else(|e| panic!("{golden}: {e}"));
    let expected = marked("output:");
    assert_eq!(found.len(), expected.len(), "{golden}");
    for output in &found {
        let expected = expected.iter().find(|e| e.name == output.name).unwrap_or_else(|| panic!("{golden}: {}", output.name));
        let difference = compare(&output.name, &expected.tensor, &output.tensor, Tolerance { rtol: 1e-4, atol: 0.0 });
        println!("{golden}: {:.1e}, argmax {:?}", difference.max_rel, difference.argmax_equal);
        assert!(difference.ok && difference.argmax_equal == Some((1, 1)), "{golden}: {difference:?}");
    }
}

#[test]
fn mobilenet_v2() {
    check("mobilenet_v2");
}

#[test]
fn mobilenet_v2_imagenet() {
    check("mobilenet_v2_imagenet");
}

#[test]
fn resnet18() {
    check("resnet18");
}

#[test]
fn squeezenet1_1() {
    check("squeezenet1_1");
}
