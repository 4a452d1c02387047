//! Small models of the zoo that are committed: what `make zoo` does with all of them, in a few seconds.

use wasm_torch::compare::{Tolerance, compare};
use wasm_torch::npz;
use wasm_torch_tests::zoo::{self, How, Status, entries, marked, run, table};
use wasm_torch_tests::{Level, models};

fn check(level: Level, rtol: f64) {
    let entries = entries(&models().join("zoo/small")).unwrap();
    assert!(entries.len() >= 8, "{} models", entries.len());
    let rows: Vec<_> = entries.iter().map(|entry| run(entry, How::bound(level), Tolerance { rtol, atol: 0.0 })).collect();
    let failures: Vec<_> = rows.iter().filter(|row| !matches!(row.status, Status::Pass | Status::NotExported)).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    // The page has a line for each.
    let versions = Default::default();
    let page = table::markdown(&rows, &table::Heading { level: level.to_string(), rtol, versions: &versions, beside: None });
    let exported = |row: &&zoo::Row| row.status != Status::NotExported;
    assert!(
        rows.iter().filter(exported).all(|row| page.contains(&format!("| {} | {} | {} |", row.name, row.family, row.exporter))),
        "{page}"
    );
}

#[test]
fn small_models_agree_with_onnxruntime() {
    check(Level::O2, 1e-4);
}

#[test]
fn small_models_agree_at_o3() {
    check(Level::O3, 1e-3);
}

/// Imported without any size given, and evaluated as the model is defined.
#[test]
fn free_dimensions_stay_free() {
    let free: Vec<_> = entries(&models().join("zoo/small")).unwrap().into_iter().filter(|e| !e.record.dims.is_empty()).collect();
    assert!(free.len() >= 4, "{} models", free.len());
    for entry in free {
        let name = format!("{}.{}", entry.record.name, entry.record.exporter);
        let arrays = npz::read_npz(&entry.file("npz")).unwrap();
        let options = onnx::ImportOptions::default();
        let graph = onnx::import_file(entry.file("onnx"), &options).unwrap_or_else(|e| panic!("{name}: {e}")).graph;
        assert!(!graph.symbols.is_empty(), "{name}");
        let given = marked(&arrays, "input:");
        let input = |id: &ir::ValueId| given.iter().find(|g| g.name == graph.value(*id).name).unwrap().tensor.clone();
        let inputs: Vec<_> = graph.inputs.iter().map(input).collect();
        let found = ir::eval::eval(&graph, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (output, found) in graph.outputs.iter().zip(&found) {
            let expected = marked(&arrays, &format!("output:{}", output.name)).remove(0).tensor;
            let difference = compare(&output.name, &expected, found, Tolerance { rtol: 1e-5, atol: 0.0 });
            assert!(difference.ok, "{name}: {difference:?}");
        }
    }
}
