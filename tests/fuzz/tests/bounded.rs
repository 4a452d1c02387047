//! A bounded run of every target on fixed seeds, and the inputs that once were wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wasm_torch_fuzz::supervise::{Options, run};
use wasm_torch_fuzz::{TARGETS, target};

/// Seeds of a target, and seconds after which the rest is left out on a slow machine.
const BOUNDS: &[(&str, u64, u64)] = &[
    ("importer", 600, 6),
    ("models", 60, 5),
    ("compiler", 60, 6),
    ("hostile", 60, 4),
    ("tensors", 30, 3),
    ("modules", 150, 3),
    ("options", 60, 4),
];

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_fuzz").into()
}

#[test]
fn no_seed_is_wrong() {
    let mut wrong = String::new();
    for (name, seeds, seconds) in BOUNDS {
        let target = target(name).unwrap_or_else(|| panic!("there is no target {name}"));
        let options = Options { seeds: 0..*seeds, time: Duration::from_secs(*seconds), save: None, program: program() };
        let report = run(target, &options);
        println!("{name}: {report}");
        assert!(report.inputs() > 0, "{name}: nothing was tried");
        if !report.findings.is_empty() {
            wrong += &format!("{name}: {report}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(BOUNDS.len(), TARGETS.len(), "every target has bounds");
}

/// Files of `inputs/TARGET`: each was a crash, or a wrong result.
#[test]
fn what_once_was_wrong_is_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs");
    let mut tried = 0;
    for target in TARGETS {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder.join(target.name)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            tried += 1;
            let output = Command::new(program()).arg(target.name).arg("--input").arg(&file).output().expect("it starts");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{}: {} {said}", file.display(), output.status);
        }
    }
    println!("{tried} inputs");
}
