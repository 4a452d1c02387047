//! The trained digits model from end to end: every prediction equals PyTorch's, at every level, from both exporters.

use std::io::Write;
use wasm_torch::compare::Tolerance;
use wasm_torch::{Instance, LoadOptions};
use wasm_torch_tests::{Case, Evaluation, Level, cases, evaluate_with, quantized_cases};

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

/// Hashes of the outputs by every variant, one thread and two.
fn hashes(case: &Case, module: &[u8], mut check: impl FnMut(&str, &Evaluation)) -> Vec<Vec<(String, String)>> {
    let arrays = case.arrays().unwrap();
    let near = Tolerance { rtol: 0.4, atol: 0.0 };
    let mut hashes = vec![];
    for (variant, threads) in [("baseline", 1), ("relaxed", 1), ("threads", 1), ("threads", 2), ("relaxed+threads", 2)] {
        let options = LoadOptions { variant: Some(variant.into()), threads: Some(threads), ..LoadOptions::default() };
        let mut instance = match Instance::load_with(module, &options) {
            // Not every engine computes the relaxed dot products that the variant has.
            Err(error) if variant.contains("relaxed") => {
                let _ = writeln!(std::io::stderr(), "SKIPPED {}, {variant}: {error}", case.name);
                continue;
            }
            instance => instance.unwrap(),
        };
        let found = evaluate_with(&mut instance, &arrays, near, &mut |_| {}).unwrap();
        assert!(found.ok(), "{variant}: {:?}", found.differences);
        check(variant, &found);
        hashes.push(found.sha256);
    }
    hashes
}

/// The 8-bit modules: digits within 0.3 points of the f32 model's 254 of 256, and the same bits from every variant; also
/// mobilenet_v2 and resnet18, where the cache has them.
#[test]
fn integers_give_the_same_bits_everywhere() {
    for case in quantized_cases() {
        let module = case.compile(Level::O2).unwrap();
        let hashes = hashes(&case, &module, |variant, found| {
            if case.name == "digits.int8" {
                assert!(found.correct() >= 253 && found.agreeing() >= 253, "{variant}: {} of 256", found.correct());
            }
        });
        assert!(hashes.len() >= 3 && hashes.iter().all(|h| *h == hashes[0]), "{}: {hashes:?}", case.name);
    }
}
