//! The trained digits model from end to end: every prediction equals PyTorch's, at every level, from both exporters.

use std::io::Write;
use wasm_torch::compare::Tolerance;
use wasm_torch::{Instance, LoadOptions};
use wasm_torch_tests::{Case, Level, cases, evaluate_with, quantized_cases};

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

/// The 8-bit module: within 0.3 points of the f32 model's 254 of 256, and the same bits from every variant.
#[test]
fn integers_give_the_same_bits_everywhere() {
    let case = quantized_cases().remove(0);
    let (module, arrays) = (case.compile(Level::O2).unwrap(), case.arrays().unwrap());
    let near = Tolerance { rtol: 0.2, atol: 0.0 };
    let mut hashes = vec![];
    for (variant, threads) in [("baseline", 1), ("relaxed", 1), ("threads", 1), ("threads", 2), ("relaxed+threads", 2)] {
        let options = LoadOptions { variant: Some(variant.into()), threads: Some(threads), ..LoadOptions::default() };
        let mut instance = match Instance::load_with(&module, &options) {
            // Not every engine computes the relaxed dot products that the variant has.
            Err(error) if variant.contains("relaxed") => {
                let _ = writeln!(std::io::stderr(), "SKIPPED digits.int8, {variant}: {error}");
                continue;
            }
            instance => instance.unwrap(),
        };
        let found = evaluate_with(&mut instance, &arrays, near, &mut |_| {}).unwrap();
        assert!(found.ok(), "{variant}: {:?}", found.differences);
        assert!(found.correct() >= 253 && found.agreeing() >= 253, "{variant}: {} of 256", found.correct());
        hashes.push(found.sha256);
    }
    assert!(hashes.iter().all(|h| *h == hashes[0]), "{hashes:?}");
}
