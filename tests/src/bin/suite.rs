//! Runs the ONNX backend tests and prints tables of what passes. The test of the same name compares with the expectation
//! and fails; this looks, and with `--bless` renews the expectation.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::time::Instant;
use wasm_torch_tests::suite::{self, Mode, expected::Expected, table};

/// Run the ONNX backend tests
#[derive(Debug, Parser)]
struct Arguments {
    /// How outputs are computed
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    mode: Modes,
    /// Only cases whose KIND/NAME contains this
    #[arg(long, default_value = "")]
    filter: String,
    /// Cases that run at the same time; by default one per core
    #[arg(long)]
    jobs: Option<usize>,
    /// Write what was found into tests/suite/expected.txt
    #[arg(long)]
    bless: bool,
    /// Print every case as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Write one line per case that does not pass
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Modes {
    Eval,
    Wasm,
    Both,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut options = suite::Options::default();
    match arguments.mode {
        Modes::Eval => options.modes = vec![Mode::Eval],
        Modes::Wasm => options.modes = vec![Mode::Wasm],
        Modes::Both => {}
    }
    options.jobs = arguments.jobs.unwrap_or(options.jobs);
    let mut cases = suite::cases()?;
    let all = cases.len();
    cases.retain(|case| case.path().contains(&arguments.filter));
    let whole = cases.len() == all;
    let start = Instant::now();
    let reports = suite::run(&cases, &options);
    let seconds = start.elapsed().as_secs_f64();
    if let Some(path) = &arguments.failures {
        std::fs::write(path, table::failures(&reports))?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        if !whole && arguments.failures.is_none() {
            print!("{}", table::failures(&reports));
        }
        print!("{}", table::text(&reports));
    }
    let mut expected = Expected::load()?;
    if arguments.bless {
        expected.update(&reports, whole);
        expected.save()?;
    } else {
        eprint!("{}", expected.compare(&reports, whole));
    }
    eprintln!("{} cases in {seconds:.1} s", cases.len());
    Ok(())
}
