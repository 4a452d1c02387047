//! `fuzz TARGET --seeds A..B --seconds N`: runs a target, prints inputs, CPU time and crashes, and saves what is wrong.
//! `fuzz TARGET --input FILE` checks one input in this process.

use anyhow::{Context, Result, bail};
use clap::Parser;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use wasm_torch_fuzz::supervise::{Options, run};
use wasm_torch_fuzz::{TARGETS, target, worker};

#[derive(Debug, Parser)]
struct Arguments {
    /// What to fuzz
    target: String,
    /// The seeds of the inputs
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..1000000000")]
    seeds: Range<u64>,
    /// Wall time after which no further input starts
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where inputs that are wrong are written
    #[arg(long, value_name = "FOLDER", default_value = "target/fuzz")]
    save: PathBuf,
    /// Check this input only
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Write the inputs of the seeds to files of this folder, and do nothing else
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
    /// The child process of a run
    #[arg(long, hide = true, value_parser = seeds)]
    worker: Option<Range<u64>>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("`{text}`: {e}"));
    let (from, to) = text.split_once("..").ok_or("give two numbers, e.g. 0..1000")?;
    Ok(number(from)?..number(to)?)
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let Some(target) = target(&arguments.target) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("there is no target `{}`; targets are: {}", arguments.target, names.join(", "));
    };
    if let Some(seeds) = arguments.worker {
        worker::seeds(target, seeds);
    } else if let Some(file) = &arguments.input {
        let input = std::fs::read(file).with_context(|| file.display().to_string())?;
        let result = worker::one(target, &input);
        let wrong = result.is_err();
        println!("{}", worker::line(result));
        return Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    } else if let Some(folder) = &arguments.write {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for seed in arguments.seeds {
            let file = folder.join(format!("{seed:08}.{}", target.extension));
            std::fs::write(&file, (target.make)(seed)).with_context(|| file.display().to_string())?;
        }
    } else {
        let time = Duration::from_secs(arguments.seconds);
        let options = Options { seeds: arguments.seeds, time, save: Some(arguments.save), program: std::env::current_exe()? };
        let report = run(target, &options);
        println!("{}: seeds up to {}: {report}", target.name, report.next);
        return Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    Ok(ExitCode::SUCCESS)
}
