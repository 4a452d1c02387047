//! The node tests of the PyPI package `onnx` (1.22.0, the last that holds them as files): every operator that the importer
//! has a row for, evaluated and compared. They are looked for in the folder `onnx-node` of the cache (`WASM_TORCH_CACHE`), which
//! is `onnx/backend/test/data/node` of the unpacked wheel: `pip download --no-deps onnx==1.22.0`. Without it the test says that
//! it was skipped.

mod common;

use ir::Tensor;
use onnx::proto::{GraphProto, ModelProto, OperatorSetIdProto, TensorProto, ValueInfoProto};
use onnx::{Binding, ImportOptions, Kind, import_bytes, import_file};
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Cases that pass; the others use operators, types or forms that the importer says it does not support.
const PASSING: usize = 1697;

/// The tensor of a `.pb` file, read by the importer as an initialiser; `None` for types it does not know.
fn read_tensor(path: &Path) -> Option<Tensor> {
    let mut tensor = TensorProto::decode(&std::fs::read(path).ok()?[..]).ok()?;
    tensor.name = Some("t".into());
    let graph = GraphProto {
        initializer: vec![tensor],
        output: vec![ValueInfoProto { name: Some("t".into()), ..Default::default() }],
        ..Default::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(graph),
        ..Default::default()
    };
    let imported = import_bytes(model.encode_to_vec(), &ImportOptions::default()).ok()?;
    imported.graph.constant(imported.graph.outputs[0].value).map(|t| (**t).clone())
}

fn tensors(folder: &Path, kind: &str) -> Option<Vec<Tensor>> {
    let exists = |i: &usize| folder.join(format!("{kind}_{i}.pb"));
    (0..).map(|i| exists(&i)).take_while(|p| p.exists()).map(|p| read_tensor(&p)).collect()
}

enum Outcome {
    Pass,
    /// Not the importer's yet: says so.
    Unsupported(String),
    Fail(String),
}

/// Inputs that decide shapes are bound first when the free import says that it needs them.
fn run(folder: &Path) -> Outcome {
    let data = folder.join("test_data_set_0");
    let (Some(inputs), Some(expected)) = (tensors(&data, "input"), tensors(&data, "output")) else {
        return Outcome::Unsupported("element types".into());
    };
    let path = folder.join("model.onnx");
    let model = ModelProto::decode(&std::fs::read(&path).unwrap()[..]).unwrap();
    let names: Vec<String> = model.graph.iter().flat_map(|g| &g.input).map(|i| i.name().to_string()).collect();
    let mut bound: Vec<(String, Binding)> = vec![];
    let imported = loop {
        let options = ImportOptions { bind_inputs: bound.clone(), ..Default::default() };
        match import_file(&path, &options) {
            Ok(imported) => break imported,
            Err(e) if e.to_string().contains("run time") && bound.is_empty() => {
                let small = names.iter().zip(&inputs).filter(|(_, t)| t.rank() <= 1 && t.len() <= 64);
                bound = small.map(|(n, t)| (n.clone(), Binding::Tensor(t.clone()))).collect();
            }
            Err(e) if e.problems.iter().all(|p| p.kind == Kind::Unsupported) => return Outcome::Unsupported(e.to_string()),
            Err(e) => return Outcome::Fail(e.to_string()),
        }
    };
    if let Err(e) = ir::verify::verify(&imported.graph) {
        return Outcome::Fail(format!("verify: {e:?}"));
    }
    let free: Vec<Tensor> =
        names.iter().zip(&inputs).filter(|(n, _)| !bound.iter().any(|(b, _)| b == *n)).map(|(_, t)| t.clone()).collect();
    match ir::eval::eval(&imported.graph, &free) {
        Err(e) => Outcome::Fail(format!("eval: {e}")),
        Ok(found) => {
            // What is random is compared by its types here; its distribution is tested where it is made.
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let random = name.starts_with("test_bernoulli") || (name.starts_with("test_training_dropout") && !name.contains("zero_ratio"));
            let same_types = |(f, e): (&Tensor, &Tensor)| (f.dtype, &f.shape) == (e.dtype, &e.shape);
            if random && found.iter().zip(&expected).all(same_types) {
                return Outcome::Pass;
            }
            let worst = found.iter().zip(&expected).map(|(f, e)| common::difference(f, e)).fold(0.0, f64::max);
            let tolerance = if expected.iter().any(|t| t.dtype.is_float() && t.dtype.bytes() == 2) { 1e-2 } else { 1e-4 };
            match worst <= tolerance && found.len() == expected.len() {
                true => Outcome::Pass,
                false => Outcome::Fail(format!("differs by {worst:e}: {found:?} expected {expected:?}").chars().take(300).collect()),
            }
        }
    }
}

#[test]
fn node_tests_of_the_onnx_package() {
    let Some(folder) = common::cached_models("node_tests_of_the_onnx_package").and_then(|m| Some(m.parent()?.join("onnx-node"))) else {
        return;
    };
    if !folder.is_dir() {
        eprintln!("\n*** SKIPPED: node_tests_of_the_onnx_package: {} is missing ***\n", folder.display());
        return;
    }
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    let (mut passed, mut unsupported, mut failed) = (0, 0, BTreeMap::new());
    for case in cases.iter().filter(|c| c.join("model.onnx").exists()) {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        match run(case) {
            Outcome::Pass => passed += 1,
            Outcome::Unsupported(why) => {
                unsupported += 1;
                println!("unsupported: {name}: {}", why.lines().next().unwrap_or_default());
            }
            Outcome::Fail(why) => {
                failed.insert(name, why);
            }
        }
    }
    println!("{passed} pass, {unsupported} are unsupported, {} fail", failed.len());
    let lines: Vec<String> = failed.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    assert!(lines.is_empty(), "{} node tests fail:\n{}", lines.len(), lines.join("\n"));
    assert_eq!(passed, PASSING, "more or fewer node tests pass than before");
}
