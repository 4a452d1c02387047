//! `export`: an ONNX file to a module, and a short summary.

use super::console::{Console, Style};
use super::{Outcome, table};
use crate::{Error, ExportOptions, ExportReport, write_atomically};
use std::path::{Path, PathBuf};

/// Compile an ONNX model to a WebAssembly module.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wasm-torch export model.onnx
  wasm-torch export model.onnx -o app/model.wasm -O3
  wasm-torch export model.onnx --dim batch=1 --dim sequence=128
  wasm-torch export model.onnx --bind temperature=0.7
  wasm-torch export model.onnx --passes constant_folding,nhwc_layout --check-passes
  wasm-torch export model.onnx --explain scale_conv --report report.json")]
pub struct Args {
    /// The model, as torch.onnx.export wrote it
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Where to write the module [default: the model's name with .wasm, in the current folder]
    #[arg(short, long, value_name = "OUT.wasm")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: ExportOptions,
    /// Measure register tiles for the model's products on this machine, in Chromium if there is one (else in Node, else in
    /// wasmtime), and export with the best; they are kept in OUT.schedule.json for later exports with --schedule. What is
    /// best in one engine may be slower in another
    #[arg(long, conflicts_with = "schedule")]
    tune: bool,
    /// Write a report as JSON to a file
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, console: &mut Console) -> Result<Outcome, Error> {
    let output = args.output.clone().unwrap_or_else(|| default_output(&args.model));
    if same_file(&args.model, &output) {
        return Err(Error::Usage(format!("the output {} is the model itself\nhint: name another file with -o", output.display())));
    }
    let spinner = console.spinner();
    let mut options = args.options.clone();
    if args.tune {
        let schedule = crate::tune::tune(&args.model, &args.options, &mut |what| spinner.say(what))?;
        let path = output.with_extension("schedule.json");
        write_atomically(&path, &serde_json::to_vec_pretty(&schedule)?)?;
        options.schedule = Some(path);
    }
    let exported = crate::export(&args.model, &output, &options, &mut |stage| spinner.stage(stage));
    drop(spinner);
    let report = exported?;
    for warning in &report.warnings {
        console.warning(warning);
    }
    explain(args, &report, console);
    summary(&report, &output, console);
    if let Some(path) = &args.report {
        write_atomically(path, &serde_json::to_vec_pretty(&report)?)?;
    }
    if args.json {
        console.json(&report)?;
    }
    Ok(Outcome::Yes)
}

fn default_output(model: &Path) -> PathBuf {
    PathBuf::from(model.file_name().unwrap_or(model.as_os_str())).with_extension("wasm")
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || a.canonicalize().ok().is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

fn explain(args: &Args, report: &ExportReport, console: &Console) {
    let Some(rule) = &args.options.explain else { return };
    for note in &report.notes {
        console.note(note);
    }
    if report.notes.is_empty() {
        console.note(&format!("{rule}: nothing in the graph looks like it"));
    }
}

fn summary(report: &ExportReport, output: &Path, console: &Console) {
    let paint = console.note_paint();
    let bytes = |n: usize| table::bytes(n as u64);
    let sizes = &report.sizes;
    let memory = &report.memory;
    let stages = &report.stages;
    let ms = |x: f64| if x < 1000.0 { format!("{x:.0} ms") } else { format!("{:.2} s", x / 1e3) };
    let line = |name: &str, text: String| console.note(&format!("  {} {text}", paint.paint(Style::Dim, &format!("{name:<8}"))));
    console.note(&paint.paint(Style::Bold, &output.display().to_string()));
    line(
        "size",
        format!(
            "{} = {} weights + {} code{} + {} manifest and data",
            bytes(sizes.total),
            bytes(sizes.weights),
            bytes(sizes.code),
            sizes.variants.iter().map(|(name, n)| format!(" + {} {name}", bytes(*n))).collect::<String>(),
            bytes(sizes.manifest + sizes.data + sizes.names)
        ),
    );
    let files: Vec<String> = report.files.iter().map(|f| format!("{} {}", f.file, bytes(f.bytes))).collect();
    if !files.is_empty() {
        line("files", files.join(", "));
    }
    if let Some(opt) = &report.wasm_opt {
        line("wasm-opt", format!("{} of code became {}", bytes(opt.bytes_before), bytes(opt.bytes_after)));
    }
    line(
        "graph",
        format!(
            "{} before the passes, {} after; {}, {} multiply-accumulates, {}",
            table::plural(report.nodes_before, "node"),
            report.nodes_after,
            table::plural(report.steps.len(), "step"),
            table::count(report.macs),
            table::plural(report.kernels.len(), "kernel")
        ),
    );
    if report.products.integer > 0 {
        let (integer, all) = (report.products.integer, report.products.integer + report.products.float);
        line("integers", format!("{integer} of {all} convolutions and matrix products multiply 8-bit integers"));
    }
    for (name, text) in report.quantize.iter().flat_map(|q| q.lines()) {
        line(name, text);
    }
    let ratio = format!("{:.2} × the bytes live at one step", memory.arena_ratio);
    line("memory", format!("{} arena ({ratio}), {} at start", table::bytes(memory.arena_bytes.into()), table::bytes(memory.initial_bytes)));
    line(
        "time",
        format!(
            "{} = {} import + {} passes + {} kernels + {} link",
            ms(stages.total_ms),
            ms(stages.import_ms),
            ms(stages.passes_ms),
            ms(stages.lower_ms),
            ms(stages.link_ms)
        ),
    );
}
