//! The ONNX backend tests, by `eval` and as modules, compared with `tests/suite/expected.txt`. `BLESS=1` renews that file.

use std::io::Write;
use wasm_torch_tests::suite::{self, Options, expected, expected::Expected, table};

#[test]
fn onnx_backend_tests_do_what_is_expected() {
    let cases = match suite::cases() {
        Ok(cases) => cases,
        Err(error) => {
            let expected = Expected::load().unwrap();
            let n = suite::Mode::ALL.map(|mode| expected.passing(mode));
            // Past the harness, which swallows what a passing test prints.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {n:?} passing ONNX backend tests (eval, wasm): {error:#}");
            return;
        }
    };
    let reports = suite::run(&cases, &Options::default());
    println!("{}", table::text(&reports));
    let mut known = Expected::load().unwrap();
    if std::env::var_os("BLESS").is_some_and(|v| v == "1") {
        known.update(&reports, true);
        known.save().unwrap();
    }
    let mut changes = known.compare(&reports, true);
    // What keeps failing for another reason hinders nobody, but the file should say why.
    let reasons = std::mem::take(&mut changes.reasons);
    if !reasons.is_empty() {
        println!("{} cases fail for other reasons than {} says:\n  {}", reasons.len(), expected::path().display(), reasons.join("\n  "));
    }
    assert!(changes.is_empty(), "\n{changes}\nBLESS=1 takes over what was found\n");
}
