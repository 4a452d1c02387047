//! `dump`: the values between the stages, as text on stdout.

use super::Outcome;
use super::console::Console;
use crate::dump::{What, dump};
use crate::{Error, ExportOptions};
use std::path::PathBuf;

/// Print what the compiler makes of a model: graph, plan, kernels, WebAssembly text.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wasm-torch dump model.onnx --graph
  wasm-torch dump model.onnx --after nhwc_layout
  wasm-torch dump model.onnx --plan | less
  wasm-torch dump model.onnx --kernels -O3
  wasm-torch dump model.onnx --wat > model.wat")]
pub struct Args {
    /// The model, as torch.onnx.export wrote it
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    #[command(flatten)]
    what: Selection,
    #[command(flatten)]
    options: ExportOptions,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Selection {
    /// The graph as imported
    #[arg(long)]
    graph: bool,
    /// The graph after the last run of this pass
    #[arg(long, value_name = "PASS")]
    after: Option<String>,
    /// Steps, buffers and weights
    #[arg(long)]
    plan: bool,
    /// The kernels' code
    #[arg(long)]
    kernels: bool,
    /// The linked module; long data is cut
    #[arg(long)]
    wat: bool,
}

impl Selection {
    fn what(&self) -> What {
        match self {
            Selection { after: Some(pass), .. } => What::After(pass.clone()),
            Selection { plan: true, .. } => What::Plan,
            Selection { kernels: true, .. } => What::Kernels,
            Selection { wat: true, .. } => What::Wat,
            _ => What::Graph,
        }
    }
}

pub fn run(args: &Args, console: &mut Console) -> Result<Outcome, Error> {
    let spinner = console.spinner();
    spinner.say("compiling the model");
    let text = dump(&args.model, &args.what.what(), &args.options)?;
    drop(spinner);
    console.print(&text)?;
    Ok(Outcome::Yes)
}
