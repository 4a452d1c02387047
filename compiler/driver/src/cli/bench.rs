//! `bench`: how long a module takes in wasmtime.

use super::console::Console;
use super::run::{How, load, profile_table};
use super::{Outcome, inputs};
use crate::Error;
use crate::bench::{self, StepTime, Times};
use crate::verify::random_inputs;
use serde::Serialize;
use std::path::PathBuf;

/// Time a module in wasmtime.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wasm-torch bench model.wasm
  wasm-torch bench model.wasm --repeat 200 --profile
  wasm-torch bench model.wasm --input image.npy --json")]
pub struct Args {
    /// The module, as `export` wrote it
    #[arg(value_name = "MODULE.wasm")]
    module: PathBuf,
    /// Inputs; without any, random ones
    #[arg(short, long = "input", value_name = "[NAME=]FILE")]
    inputs: Vec<String>,
    #[command(flatten)]
    how: How,
    /// How many runs are timed
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// How many runs go before them
    #[arg(long, value_name = "N", default_value_t = 5)]
    warmup: u32,
    /// Time every step too
    #[arg(long)]
    profile: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    engine: &'static str,
    times: Times,
    macs: u64,
    /// Two operations per multiply-accumulate, at the median.
    gflops: f64,
    memory: crate::engine::MemoryStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Vec<StepTime>>,
}

pub fn run(args: &Args, console: &mut Console) -> Result<Outcome, Error> {
    let spinner = console.spinner();
    spinner.say("compiling the module");
    let mut instance = load(&args.module, &args.how)?;
    drop(spinner);
    let inputs = match args.inputs.is_empty() {
        true => random_inputs(instance.manifest(), 0),
        false => inputs::read(&args.inputs, &instance.manifest().inputs)?,
    };
    let bar = console.bar((args.warmup + args.repeat) as usize, "timing");
    let states = instance.save_state();
    if args.warmup > 0 {
        bench::runs(&mut instance, &inputs, args.warmup as usize, || bar.inc(1))?;
        instance.restore_state(&states)?;
    }
    let times = bench::runs(&mut instance, &inputs, args.repeat as usize, || bar.inc(1))?;
    bar.finish_and_clear();
    let profile = match args.profile {
        true => {
            instance.restore_state(&states)?;
            Some(bench::profile(&mut instance, &inputs, args.repeat as usize)?)
        }
        false => None,
    };
    let macs = instance.manifest().steps.iter().map(|s| s.macs).sum();
    let report = Report {
        model: instance.manifest().model.clone(),
        engine: "wasmtime",
        gflops: 2.0 * macs as f64 / (times.median_ms * 1e6),
        times,
        macs,
        memory: instance.memory()?,
        profile,
    };
    if args.json {
        console.json(&report)?;
        return Ok(Outcome::Yes);
    }
    if let Some(steps) = &report.profile {
        console.print(&profile_table(steps).render(console.paint))?;
    }
    let t = &report.times;
    console.print(&format!(
        "{} runs in wasmtime: median {:.3} ms, p90 {:.3} ms, min {:.3} ms; {:.1} GFLOP/s\n",
        t.runs, t.median_ms, t.p90_ms, t.min_ms, report.gflops
    ))?;
    Ok(Outcome::Yes)
}
