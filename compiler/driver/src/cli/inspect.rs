//! `inspect`: what a model or a module holds, as tables or JSON.

use super::Outcome;
use super::console::{Console, Style};
use super::table::{self, Left, Right, Table};
use crate::error::read_file;
use crate::inspect::{ModelInfo, ModuleInfo, model, module};
use crate::{Error, ModelOptions};
use std::path::PathBuf;

/// Describe an ONNX model or an exported module.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wasm-torch inspect model.onnx
  wasm-torch inspect model.onnx --dim batch=1      multiply-accumulates at this size
  wasm-torch inspect model.wasm --json")]
pub struct Args {
    /// A model or a module; the contents decide which
    #[arg(value_name = "MODEL.onnx|MODULE.wasm")]
    file: PathBuf,
    #[command(flatten)]
    options: ModelOptions,
    /// Print the description as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, console: &mut Console) -> Result<Outcome, Error> {
    let spinner = console.spinner();
    spinner.say("reading the file");
    let bytes = read_file(&args.file)?;
    let wasm = bytes.starts_with(b"\0asm") || args.file.extension().is_some_and(|e| e == "wasm");
    if wasm {
        let info = module(&bytes).map_err(|source| Error::Module { path: args.file.clone(), source })?;
        drop(spinner);
        return if args.json { console.json(&info) } else { show_module(&info, console) }.map(|()| Outcome::Yes);
    }
    drop(bytes);
    let info = model(&args.file, &args.options)?;
    drop(spinner);
    if args.json { console.json(&info) } else { show_model(&info, console) }.map(|()| Outcome::Yes)
}

fn heading(console: &mut Console, text: &str) -> Result<(), Error> {
    let text = console.paint.paint(Style::Bold, text);
    console.print(&format!("{text}\n"))
}

fn facts(console: &mut Console, rows: &[(&str, String)]) -> Result<(), Error> {
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let name = console.paint.paint(Style::Dim, &format!("{name:<12}"));
        console.print(&format!("  {name} {value}\n"))?;
    }
    Ok(())
}

fn show_model(info: &ModelInfo, console: &mut Console) -> Result<(), Error> {
    heading(console, &format!("ONNX model `{}`", info.name))?;
    let opsets: Vec<String> = info.opsets.iter().map(|(d, v)| if d.is_empty() { v.to_string() } else { format!("{d} {v}") }).collect();
    let macs = match info.macs {
        Some(macs) => table::count(macs),
        None if !info.free_dims.is_empty() => "unknown until sizes are given".into(),
        None => "unknown".into(),
    };
    facts(
        console,
        &[
            ("producer", info.producer.clone()),
            ("opset", opsets.join(", ")),
            ("IR version", info.ir_version.to_string()),
            ("parameters", table::count(info.parameters)),
            ("MACs", macs),
            ("free dims", info.free_dims.join(", ")),
        ],
    )?;
    let mut ports = Table::new(&[("", Left), ("name", Left), ("type", Left)]);
    for (kind, list) in [("input", &info.inputs), ("output", &info.outputs)] {
        for port in list {
            ports.row([kind.into(), port.name.clone(), table::tensor_type(&port.dtype, &port.shape)]);
        }
    }
    console.print(&ports.render(console.paint))?;
    let mut operators = Table::new(&[("operator", Left), ("count", Right)]);
    for (name, count) in &info.operators {
        operators.row([name.clone(), count.to_string()]);
    }
    console.print(&operators.render(console.paint))?;
    for warning in &info.warnings {
        console.warning(warning);
    }
    match info.problems.len() {
        0 if info.free_dims.iter().any(|dim| !dim.contains('=')) => {
            let open: Vec<&str> = info.free_dims.iter().map(String::as_str).filter(|dim| !dim.contains('=')).collect();
            heading(console, &format!("can be exported when sizes or bounds are given: --dim {}=…", open.join("=… --dim ")))
        }
        0 => heading(console, "can be exported"),
        n => {
            heading(console, &format!("cannot be exported: {}", table::plural(n, "problem")))?;
            info.problems.iter().try_for_each(|p| console.print(&format!("  {}\n", p.replace('\n', "\n  "))))
        }
    }
}

/// `baseline, relaxed (12 KB: relaxed-simd), …`, with what each needs beyond the file's own code.
fn variants(info: &ModuleInfo) -> String {
    let more = |v: &abi::manifest::Variant| {
        let features: Vec<&str> = v.features.iter().filter(|f| !info.features.contains(f)).map(String::as_str).collect();
        let needs = if features.is_empty() { String::new() } else { format!(": {}", features.join(", ")) };
        let bytes = info.sizes.variants.iter().find(|(name, _)| *name == v.name).map_or(0, |(_, bytes)| *bytes as u64);
        format!("{} ({}{needs})", v.name, table::bytes(bytes))
    };
    std::iter::once(info.variant.clone()).chain(info.variants.iter().map(more)).collect::<Vec<_>>().join(", ")
}

/// Weights beside the module.
fn elsewhere(info: &ModuleInfo) -> String {
    let Some(external) = &info.external_weights else { return String::new() };
    let bytes = external.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum();
    format!("{} of weights in {}", table::bytes(bytes), table::plural(external.chunks.len(), "file"))
}

fn show_module(info: &ModuleInfo, console: &mut Console) -> Result<(), Error> {
    heading(console, &format!("module of `{}`", info.model))?;
    let options: Vec<String> = info.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (s, m) = (&info.sizes, &info.memory);
    let bytes = |n: usize| table::bytes(n as u64);
    facts(
        console,
        &[
            ("producer", info.producer.clone()),
            ("ABI", info.abi.to_string()),
            ("options", options.join(" ")),
            ("features", info.features.join(", ")),
            ("variants", variants(info)),
            ("free dims", info.symbols.iter().map(|s| format!("{}={}..{}", s.name, s.min, s.max)).collect::<Vec<_>>().join(", ")),
            ("elsewhere", elsewhere(info)),
            ("file", bytes(s.total)),
            ("  weights", bytes(s.weights)),
            ("  code", bytes(s.code)),
            ("  manifest", bytes(s.manifest)),
            ("  data", bytes(s.data)),
            ("  names", if s.names > 0 { bytes(s.names) } else { String::new() }),
            (
                "peak memory",
                format!(
                    "{} ({} may be asked for by pools at most)",
                    table::bytes(m.initial_bytes),
                    table::bytes(m.maximum_bytes.saturating_sub(m.initial_bytes))
                ),
            ),
            ("  weights", table::bytes(m.weights_bytes.into())),
            (
                "  arena",
                format!(
                    "{}, {:.2} × the {} live at one step",
                    table::bytes(m.arena_bytes.into()),
                    m.arena_ratio,
                    table::bytes(m.live_bytes.into())
                ),
            ),
            ("MACs", table::count(info.macs)),
        ],
    )?;
    let mut ports = Table::new(&[("", Left), ("name", Left), ("type", Left)]);
    let ty = |port: &abi::manifest::Tensor| match &port.sizes {
        Some(sizes) => table::tensor_type(&port.dtype, sizes),
        None => table::tensor_type(&port.dtype, &port.shape),
    };
    for (kind, list) in [("input", &info.inputs), ("output", &info.outputs)] {
        for port in list {
            ports.row([kind.into(), port.name.clone(), ty(port)]);
        }
    }
    for abi::manifest::State { tensor, output, .. } in &info.states {
        ports.row(["state".into(), format!("{} = {output}", tensor.name), ty(tensor)]);
    }
    console.print(&ports.render(console.paint))?;
    let mut steps = Table::new(&[
        ("step", Right),
        ("weights", Right),
        ("code", Right),
        ("MACs", Right),
        ("tasks", Right),
        ("kernel", Left),
        ("layers", Left),
    ]);
    for (i, step) in info.steps.iter().enumerate() {
        steps.row([
            i.to_string(),
            table::bytes(step.weight_bytes),
            table::bytes(step.code_bytes.into()),
            table::count(step.macs),
            step.tasks.to_string(),
            step.kernel.clone(),
            crate::engine::layer_names(&step.layers),
        ]);
    }
    console.print(&steps.render(console.paint))
}
