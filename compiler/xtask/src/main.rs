//! `cargo xtask`: the chores of the repository. Nothing that a user's build or a model's export needs.

mod audit;
mod generate;
mod runtime;
mod sizes;
mod sweep;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the wasm-torch repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write the files that follow from the ABI table (web/src/abi.generated.ts, runtime/ABI.md)
    Generate {
        /// Write nothing; fail if a file differs
        #[arg(long)]
        check: bool,
    },
    /// Build the flavours of runtime/runtime.wasm, which the linker embeds, and their lock
    Runtime {
        /// Where the wasm32 compiler comes from
        #[arg(long, value_enum, default_value = "auto")]
        route: runtime::Route,
        /// Write nothing; fail if the binary differs
        #[arg(long)]
        check: bool,
    },
    /// Check lock files and unsafe code against what the repository promises
    Audit,
    /// Measure register tiles over sizes of matrix products in Chromium, beside what the cost model predicts
    Sweep {
        /// Passed on to tests/bench/sweep.mjs: --variant NAME, --sizes NAME,…, --json FILE
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Count lines of code by room; fail if a code file is over 600 lines
    Sizes {
        /// Show every file
        #[arg(long)]
        all: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Generate { check } => generate::run(check),
        Task::Runtime { route, check } => runtime::run(route, check),
        Task::Audit => audit::run(),
        Task::Sizes { all } => sizes::run(all),
        Task::Sweep { options } => sweep::run(&options),
    }
}

/// Root of the repository.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("compiler/xtask is two levels below the root").to_path_buf()
}
