//! `cargo xtask sweep`: builds the command line and lets tests/bench/sweep.mjs measure register tiles in Chromium.

use anyhow::{Result, ensure};
use std::process::Command;

pub fn run(options: &[String]) -> Result<()> {
    let root = crate::root();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).current_dir(&root).args(["build", "--package", "wasm-torch"]).status()?;
    ensure!(built.success(), "the command line did not build");
    let program = root.join("target/debug/wasm-torch");
    let swept = Command::new("node").current_dir(&root).arg("tests/bench/sweep.mjs").arg(program).args(options).status()?;
    ensure!(swept.success(), "the sweep failed\nhint: it needs `make web` and Chromium");
    Ok(())
}
