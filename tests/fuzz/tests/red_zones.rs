//! Committed models with poisoned red zones between all buffers: the zones stay intact, and the results are those of the interpreter,
//! on random inputs and on hostile ones.

use std::path::PathBuf;
use wasm_torch_fuzz::{Verdict, hostile, worker};
use wasm_torch_tests::{cases, quantized_cases};

/// Every so many of the single operators: all of them take a minute.
const SHARE: usize = 5;

fn check(models: impl Iterator<Item = PathBuf>) -> usize {
    let mut run = 0;
    for model in models {
        let bytes = std::fs::read(&model).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
        match hostile::check_model(&bytes) {
            Ok(Verdict::Accepted) => run += 1,
            Ok(Verdict::Refused) => println!("not run, too large or refused: {}", model.display()),
            Err(wrong) => panic!("{}: {}", model.display(), worker::line(Err(wrong))),
        }
    }
    run
}

#[test]
fn red_zones_stay_intact() {
    let (operators, graphs): (Vec<_>, Vec<_>) =
        cases().into_iter().chain(quantized_cases()).partition(|case| case.name.starts_with("ops/"));
    let some = operators.iter().step_by(SHARE).map(|case| case.model.clone());
    let run = check(some.chain(graphs.iter().map(|case| case.model.clone())));
    println!("{run} models ran in red zones");
    assert!(run > 30, "only {run} models ran");
}

#[test]
#[ignore = "takes a minute: cargo test -p wasm-torch-fuzz --test red_zones -- --ignored"]
fn red_zones_stay_intact_for_all_operators() {
    assert!(check(cases().into_iter().map(|case| case.model)) > 150);
}
