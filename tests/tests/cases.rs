//! Every committed model with a golden: exported, run in wasmtime and compared, without passes and with all of them. What
//! cannot be exported yet is listed with the reason, so that a change of that list is seen.

use expect_test::{Expect, expect};
use wasm_torch::Error;
use wasm_torch::compare::Tolerance;
use wasm_torch_tests::{Case, Level, cases};

/// Relative to the largest element of an output.
const TOLERANCE: Tolerance = Tolerance { rtol: 1e-4, atol: 1e-6 };

enum Outcome {
    Right,
    Unsupported(String),
    Wrong(String),
}

fn outcome(case: &Case, level: Level) -> Outcome {
    match case.check(level, TOLERANCE) {
        Ok(found) if found.ok() => Outcome::Right,
        Ok(found) => Outcome::Wrong(format!("{:?}", found.differences.iter().filter(|d| !d.ok).collect::<Vec<_>>())),
        Err(error @ (Error::Import(_) | Error::Lower(_))) => {
            Outcome::Unsupported(error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" "))
        }
        Err(error) => Outcome::Wrong(error.to_string()),
    }
}

fn check(level: Level, unsupported: Expect) {
    let cases: Vec<Case> = cases().into_iter().filter(|c| !c.name.starts_with("digits")).collect();
    assert!(cases.len() >= 209, "only {} models were found", cases.len());
    let (mut right, mut list, mut wrong) = (0, String::new(), String::new());
    for case in &cases {
        match outcome(case, level) {
            Outcome::Right => right += 1,
            Outcome::Unsupported(why) => list.push_str(&format!("{}: {why}\n", case.name)),
            Outcome::Wrong(what) => wrong.push_str(&format!("{}: {what}\n", case.name)),
        }
    }
    println!("{level}: {right} of {} right; not supported:\n{list}", cases.len());
    assert!(wrong.is_empty(), "{level}: wrong results:\n{wrong}");
    unsupported.assert_eq(&list);
}

#[test]
fn without_passes() {
    check(Level::O0, expect![""]);
}

#[test]
fn with_the_passes_of_the_default_level() {
    check(Level::O2, expect![""]);
}
