//! `run`: a module on given inputs, the outputs as a table or a file.

use super::console::{Console, Style};
use super::table::{self, Left, Right, Table};
use super::{Outcome, inputs};
use crate::bench::{self, StepTime, Times};
use crate::error::read_file;
use crate::{Error, Instance, LoadOptions, NamedTensor, npz, write_atomically};
use ir::Tensor;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Run a module on inputs from NumPy files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wasm-torch run model.wasm --input image.npy
  wasm-torch run model.wasm --input ids=ids.npy --input mask=mask.npy
  wasm-torch run model.wasm --input inputs.npz --output outputs.npz
  wasm-torch run model.wasm --input image.npy --profile --repeat 20
  wasm-torch run model.wasm --input chunk.npy --state-in s.npz --state-out s.npz

The keys of an .npz file are the inputs' names, with or without `input:` before them.")]
pub struct Args {
    /// The module, as `export` wrote it
    #[arg(value_name = "MODULE.wasm")]
    module: PathBuf,
    /// An input from an .npy file, or several from an .npz file; may be repeated
    #[arg(short, long = "input", value_name = "[NAME=]FILE")]
    inputs: Vec<String>,
    /// Write the outputs to a file instead of showing them
    #[arg(short, long, value_name = "OUT.npz")]
    output: Option<PathBuf>,
    /// Begin with the states of a file that `--state-out` wrote instead of zeros
    #[arg(long, value_name = "FILE.npz")]
    state_in: Option<PathBuf>,
    /// Write the states after the run, for a later `--state-in`
    #[arg(long, value_name = "FILE.npz")]
    state_out: Option<PathBuf>,
    #[command(flatten)]
    how: How,
    /// Show the time of every step
    #[arg(long)]
    profile: bool,
    /// Run so many times and show statistics
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// How a module is run.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct How {
    /// Threads that compute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,
    /// The variant of the module's code instead of the best one: baseline, relaxed, threads or relaxed+threads
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

/// Shape and contents of an output.
#[derive(Debug, Serialize)]
struct Summary {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    min: f64,
    mean: f64,
    max: f64,
    nan: usize,
    /// (index in row-major order, value) of the largest elements.
    top: Vec<(usize, f64)>,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    variant: String,
    outputs: Vec<Summary>,
    times: Times,
    memory: crate::engine::MemoryStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Vec<StepTime>>,
}

pub fn run(args: &Args, console: &mut Console) -> Result<Outcome, Error> {
    let spinner = console.spinner();
    spinner.say("compiling the module");
    let mut instance = load(&args.module, &args.how)?;
    drop(spinner);
    let inputs = inputs::read(&args.inputs, &instance.manifest().inputs)?;
    if let Some(path) = &args.state_in {
        let states = inputs::states(path, &instance.manifest().states)?;
        instance.restore_state(&states)?;
    }
    let bar = console.bar(args.repeat as usize, "running");
    let before = instance.save_state();
    let times = bench::runs(&mut instance, &inputs, args.repeat as usize, || bar.inc(1))?;
    bar.finish_and_clear();
    let outputs = instance.read_outputs()?;
    let states = instance.save_state();
    for (path, tensors) in [(&args.output, &outputs), (&args.state_out, &states)] {
        let Some(path) = path else { continue };
        let bytes = npz::npz_bytes(tensors).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        write_atomically(path, &bytes)?;
    }
    let profile = match args.profile {
        true => {
            instance.restore_state(&before)?;
            Some(bench::profile(&mut instance, &inputs, args.repeat as usize)?)
        }
        false => None,
    };
    let report = Report {
        model: instance.manifest().model.clone(),
        variant: instance.variant().to_string(),
        outputs: outputs.iter().map(summary).collect(),
        times,
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
    match &args.output {
        Some(path) => console.note(&format!("{}: {}", path.display(), table::plural(outputs.len(), "output"))),
        None => console.print(&outputs_table(&report.outputs).render(console.paint))?,
    }
    if args.repeat > 1 {
        let t = &report.times;
        console.note(&format!(
            "{} runs: median {:.3} ms, p90 {:.3} ms, min {:.3} ms, first {:.3} ms",
            t.runs, t.median_ms, t.p90_ms, t.min_ms, t.first_ms
        ));
    }
    Ok(Outcome::Yes)
}

/// Loads a module file.
pub fn load(path: &Path, how: &How) -> Result<Instance, Error> {
    let bytes = read_file(path)?;
    // Named with its file, which the engine does not know.
    link::read_manifest(&bytes).map_err(|source| Error::Module { path: path.into(), source })?;
    let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.into() });
    Ok(Instance::load_with(&bytes, &LoadOptions { threads: how.threads, variant: how.variant.clone(), folder, ..LoadOptions::default() })?)
}

const TOP: usize = 5;

fn summary(output: &NamedTensor) -> Summary {
    let NamedTensor { name, tensor } = output;
    let values = tensor.to_f64s();
    let numbers: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    let fold = |f: fn(f64, f64) -> f64| numbers.iter().copied().reduce(f).unwrap_or(f64::NAN);
    Summary {
        name: name.clone(),
        dtype: tensor.dtype.to_string(),
        shape: tensor.shape.clone(),
        min: fold(f64::min),
        mean: numbers.iter().sum::<f64>() / numbers.len() as f64,
        max: fold(f64::max),
        nan: values.len() - numbers.len(),
        top: top(tensor, &values),
    }
}

/// The largest elements, the first of equals first.
fn top(tensor: &Tensor, values: &[f64]) -> Vec<(usize, f64)> {
    let mut order: Vec<usize> = (0..tensor.len()).filter(|i| !values[*i].is_nan()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
    order.into_iter().take(TOP).map(|i| (i, values[i])).collect()
}

/// Row-major index as coordinates; dimensions of size 1 at the front are left out.
fn place(index: usize, shape: &[usize]) -> String {
    let skip = shape.iter().take_while(|d| **d == 1).count();
    let mut rest = index;
    let mut coordinates: Vec<String> = vec![];
    for d in shape[skip..].iter().rev() {
        coordinates.push((rest % d).to_string());
        rest /= d;
    }
    coordinates.reverse();
    coordinates.join(",")
}

fn outputs_table(outputs: &[Summary]) -> Table {
    let mut table =
        Table::new(&[("output", Left), ("type", Left), ("min", Right), ("mean", Right), ("max", Right), ("largest elements", Left)]);
    for o in outputs {
        let top: Vec<String> = o.top.iter().map(|(i, x)| format!("[{}] {}", place(*i, &o.shape), table::number(*x))).collect();
        let nan = if o.nan > 0 { format!("  ({} NaN)", o.nan) } else { String::new() };
        let [min, mean, max] = [o.min, o.mean, o.max].map(table::number);
        table.styled([
            (o.name.clone(), Style::Bold),
            (table::tensor_type(&o.dtype, &o.shape), Style::Plain),
            (min, Style::Plain),
            (mean, Style::Plain),
            (max, Style::Plain),
            (format!("{}{nan}", top.join("  ")), Style::Plain),
        ]);
    }
    table
}

/// Steps in order, and their sum.
pub fn profile_table(steps: &[StepTime]) -> Table {
    let mut table = Table::new(&[("step", Right), ("ms", Right), ("share", Right), ("GFLOP/s", Right), ("kernel", Left), ("layers", Left)]);
    for (i, step) in steps.iter().enumerate() {
        let gflops = if step.gflops > 0.0 { format!("{:.1}", step.gflops) } else { String::new() };
        table.row([
            i.to_string(),
            format!("{:.4}", step.ms),
            format!("{:.1} %", step.share * 100.0),
            gflops,
            step.kernel.clone(),
            crate::engine::layer_names(&step.layers),
        ]);
    }
    let total: f64 = steps.iter().map(|s| s.ms).sum();
    table.styled([
        (String::new(), Style::Plain),
        (format!("{total:.4}"), Style::Bold),
        ("sum".into(), Style::Bold),
        (String::new(), Style::Plain),
        (String::new(), Style::Plain),
        (String::new(), Style::Plain),
    ]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_coordinates() {
        assert_eq!(place(7, &[1, 10]), "7");
        assert_eq!(place(23, &[1, 3, 4, 2]), "2,3,1");
        assert_eq!(place(0, &[]), "");
    }

    #[test]
    fn the_largest_elements_come_first() {
        let tensor = Tensor::new(&[1, 4], &[1.0f32, f32::NAN, 3.0, 3.0]);
        let s = summary(&NamedTensor::new("y", tensor));
        assert_eq!((s.top, s.nan, s.max), (vec![(2, 3.0), (3, 3.0), (0, 1.0)], 1, 3.0));
    }
}
