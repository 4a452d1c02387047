//! `verify`: a module against the definition of its model or another oracle, one table for all sets of inputs.

use super::console::{Console, Style};
use super::run::{How, load};
use super::table::{self, Left, Right, Table};
use super::{Outcome, inputs};
use crate::compare::Tolerance;
use crate::oracle::{Against, Oracle};
use crate::verify::{Sample, random_inputs_of, verify};
use crate::{Error, ModelOptions};
use serde::Serialize;
use std::path::PathBuf;

/// Compare a module with its model on the same inputs.
///
/// The model is evaluated operator by operator as the ONNX specification defines them, without any pass; that takes time.
/// `--against tract` asks tract instead, which reads the ONNX file independently of this compiler, and `--against
/// FILE.npz` compares with recorded outputs.
/// The exit code is 1 when an output differs by more than the tolerance.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wasm-torch verify model.onnx model.wasm
  wasm-torch verify model.onnx model.wasm --input image.npy
  wasm-torch verify model.onnx model.wasm --random 10 --seed 7 --rtol 1e-5 --json
  wasm-torch verify model.onnx model.wasm --against tract
  wasm-torch verify model.onnx model.wasm --input golden.npz --against golden.npz")]
pub struct Args {
    /// The model, as torch.onnx.export wrote it
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// The module, as `export` wrote it
    #[arg(value_name = "MODULE.wasm")]
    module: PathBuf,
    /// What says which outputs are right: the model's definition (eval), tract (in programs built with the feature
    /// `tract`), or recorded outputs (keys `output:NAME` or `NAME`)
    #[arg(long, default_value = "eval", value_name = "eval|tract|FILE.npz")]
    against: Against,
    /// An input from an .npy file, or several from an .npz file; may be repeated
    #[arg(short, long = "input", value_name = "[NAME=]FILE")]
    inputs: Vec<String>,
    /// How many sets of random inputs to try [default: 1 without --input, else 0]
    #[arg(long, value_name = "N")]
    random: Option<u64>,
    /// Where random inputs begin
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    /// Allowed difference relative to the largest expected element of an output
    #[arg(long, default_value_t = Tolerance::default().rtol, value_name = "X")]
    rtol: f64,
    /// Allowed difference in any case
    #[arg(long, default_value_t = Tolerance::default().atol, value_name = "X")]
    atol: f64,
    #[command(flatten)]
    options: ModelOptions,
    #[command(flatten)]
    how: How,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    against: String,
    tolerance: Tolerance,
    samples: Vec<Sample>,
}

pub fn run(args: &Args, console: &mut Console) -> Result<Outcome, Error> {
    let spinner = console.spinner();
    spinner.say("compiling the module");
    let mut instance = load(&args.module, &args.how)?;
    spinner.say("importing the model");
    let mut oracle = Oracle::open(&args.against, &args.model, &args.options, instance.manifest())?;
    let tolerance = Tolerance { rtol: args.rtol, atol: args.atol };
    let mut sets = vec![];
    if !args.inputs.is_empty() {
        sets.push(("inputs".to_string(), Some(inputs::read(&args.inputs, &instance.manifest().inputs)?)));
    }
    let random = args.random.unwrap_or(u64::from(args.inputs.is_empty()));
    if random > 0 && matches!(oracle, Oracle::Recorded { .. }) && !instance.manifest().inputs.is_empty() {
        let sentence = "recorded outputs belong to the inputs they were recorded with, not to random ones";
        return Err(Error::Usage(format!("{sentence}\nhint: give these: --input FILE; a file with both kinds may be given twice")));
    }
    let seed = |i: u64| args.seed.wrapping_add(i);
    sets.extend((0..random).map(|i| (format!("random, seed {}", seed(i)), None)));
    let mut samples = vec![];
    for (label, given) in sets {
        // What states have grown to decides sizes of inputs.
        if instance.is_full() {
            instance.reset_state();
        }
        let number = (samples.len() as u64).saturating_sub(u64::from(!args.inputs.is_empty()));
        let inputs = given.unwrap_or_else(|| random_inputs_of(&instance, seed(number)));
        spinner.say(format!("asking {oracle} ({label})"));
        samples.push(verify(&mut oracle, &mut instance, &inputs, label, tolerance)?);
    }
    drop(spinner);
    let report = Report { ok: samples.iter().all(|s| s.ok), against: args.against.to_string(), tolerance, samples };
    if args.json {
        console.json(&report)?;
    } else {
        show(&report, &oracle, console)?;
    }
    Ok(if report.ok { Outcome::Yes } else { Outcome::No })
}

fn show(report: &Report, oracle: &Oracle, console: &mut Console) -> Result<(), Error> {
    let mut table =
        Table::new(&[("inputs", Left), ("output", Left), ("max abs", Right), ("max rel", Right), ("argmax", Right), ("", Left)]);
    for sample in &report.samples {
        for o in &sample.outputs {
            let argmax = o.argmax_equal.map_or(String::new(), |(equal, rows)| format!("{equal}/{rows}"));
            let verdict = match &o.mismatch {
                Some(mismatch) => (mismatch.clone(), Style::Error),
                None if o.ok => ("equal".into(), Style::Good),
                None => ("differs".into(), Style::Error),
            };
            let plain = |text: String| (text, Style::Plain);
            table.styled([
                plain(sample.inputs.clone()),
                (o.output.clone(), Style::Bold),
                plain(table::number(o.max_abs)),
                plain(table::number(o.max_rel)),
                plain(argmax),
                verdict,
            ]);
        }
    }
    console.print(&table.render(console.paint))?;
    let Tolerance { rtol, atol } = report.tolerance;
    let verdict = if report.ok { format!("the module computes what {oracle} says") } else { format!("the module differs from {oracle}") };
    console.note(&format!("{verdict} (allowed: {atol:e} + {rtol:e} × the largest element of an output)"));
    Ok(())
}
