//! Short versions of the commands of `load`: the peak of memory of an export, models that are too large, many inferences.

use std::io::Write;
use std::process::{Command, Output};
use std::time::Instant;
use wasm_torch_tests::models;
use wasm_torch_tests::synthetic::{Stack, Weights};

fn load(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_load")).args(args).output().expect("starts")
}

fn ok(args: &[&str]) -> String {
    let output = load(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Twice the weights is what there must be at least: once in the graph, once packed; then packed, and in the file.
#[test]
fn an_export_needs_little_more_than_twice_its_weights() {
    if !std::path::Path::new("/proc/self/status").exists() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: peak memory of an export: there is no /proc");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (weights, options) in [(Weights::Inside, &[][..]), (Weights::Beside, &["--external-weights"][..])] {
        Stack::of_size(96, weights).write(&folder.path().join("big.onnx")).expect("a model");
        let found = ok(&[&["export", &path("big.onnx"), &path("big.wasm")], options].concat());
        let ratio: f64 = found.trim().rsplit(' ').next().and_then(|ratio| ratio.parse().ok()).expect("a ratio");
        // The program itself takes some ten MiB more.
        assert!(ratio < 2.7, "{weights:?}: {found}");
    }
}

/// Found before anything is read or allocated.
#[test]
fn weights_beyond_two_and_four_gib_are_refused_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    for mb in [2 << 10, 5 << 10] {
        let model = folder.path().join("huge.onnx");
        Stack::of_size(mb + 16, Weights::Hole).write(&model).expect("a model");
        let start = Instant::now();
        let output = load(&["export", &model.display().to_string(), &folder.path().join("huge.wasm").display().to_string()]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(
            message.contains("a module holds at most 2147483648") && message.contains("hint: ") && message.contains("--quantize"),
            "{message}"
        );
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
    assert!(!folder.path().join("huge.wasm").exists());
}

#[test]
fn many_inferences_take_no_more_memory_than_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let module = folder.path().join("digits.wasm").display().to_string();
    ok(&["export", &models().join("digits/digits.dynamo.onnx").display().to_string(), &module]);
    for threads in ["1", "2"] {
        ok(&["inferences", &module, "--count", "5000", "--threads", threads]);
    }
}
