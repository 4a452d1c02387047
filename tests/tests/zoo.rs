//! Small models of the zoo that are committed: what `make zoo` does with all of them, in a few seconds.

use wasm_torch::compare::Tolerance;
use wasm_torch_tests::zoo::{self, Status, entries, run, table};
use wasm_torch_tests::{Level, models};

fn check(level: Level, rtol: f64) {
    let entries = entries(&models().join("zoo/small")).unwrap();
    assert!(entries.len() >= 8, "{} models", entries.len());
    let rows: Vec<_> = entries.iter().map(|entry| run(entry, level, Tolerance { rtol, atol: 0.0 })).collect();
    let failures: Vec<_> = rows.iter().filter(|row| !matches!(row.status, Status::Pass | Status::NotExported)).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    // The page has a line for each.
    let versions = Default::default();
    let page = table::markdown(&rows, &table::Heading { level: level.to_string(), rtol, versions: &versions });
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
