//! The trained digits model from end to end: every prediction equals PyTorch's, at every level, from both exporters.

use wasm_torch::compare::Tolerance;
use wasm_torch_tests::{Case, Level, cases};

fn case(name: &str) -> Case {
    cases().into_iter().find(|c| c.name == name).expect("a case")
}

fn check(exporter: &str, level: Level) {
    let found = case(&format!("digits.{exporter}")).check(level, Tolerance::default()).unwrap_or_else(|e| panic!("{level}: {e}"));
    assert_eq!((found.calls, found.agreeing()), (256, 256), "{level}: predictions that equal PyTorch's");
    assert_eq!(found.correct(), 254, "{level}: see models/digits/accuracy.json");
    assert!(found.ok(), "{level}: {:?}", found.differences);
}

#[test]
fn dynamo_export_at_every_level() {
    [Level::O0, Level::O1, Level::O2, Level::O3].into_iter().for_each(|level| check("dynamo", level));
}

#[test]
fn legacy_export_at_every_level() {
    [Level::O0, Level::O1, Level::O2, Level::O3].into_iter().for_each(|level| check("legacy", level));
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let case = case("digits.legacy");
    assert!(case.compile(Level::O2).unwrap() == case.compile(Level::O2).unwrap(), "two exports differ");
}
