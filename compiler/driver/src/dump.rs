//! The values between the stages, as text. Each prints itself; this only runs the pipeline up to where it is wanted.

use crate::export::{import, lower, run_passes};
use crate::{Error, ExportOptions};
use std::path::Path;

/// What to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The graph as imported.
    Graph,
    /// The graph after the last run of this pass.
    After(String),
    Plan,
    Kernels,
    /// The linked module as WebAssembly text, bytes of data cut short.
    Wat,
}

/// The text.
pub fn dump(model: &Path, what: &What, options: &ExportOptions) -> Result<String, Error> {
    let mut config = options.resolve()?;
    let mut graph = import(model, &config.import)?.graph;
    if *what == What::Graph {
        return Ok(graph.to_string());
    }
    if let What::After(pass) = what {
        config.passes.stop_after = Some(pass.clone());
    }
    let (passes, _) = run_passes(&mut graph, &config, &mut |_| {})?;
    if let What::After(pass) = what {
        if !passes.iter().any(|p| p.name == *pass) {
            return Err(not_run(pass, &passes.iter().map(|p| p.name.as_str()).collect::<Vec<_>>()));
        }
        return Ok(graph.to_string());
    }
    let plan = lower(&graph, &config)?;
    match what {
        What::Plan => Ok(plan.to_string()),
        What::Kernels => Ok(plan.kernels.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        _ => {
            // The text shows the file's own code; further variants would be lines of bytes.
            let variants = config.link.variants.iter().min().copied().into_iter().collect();
            let linked = link::link(&plan, &link::LinkInfo { debug_names: true, variants, ..config.link })?;
            let text =
                wasmprinter::print_bytes(&linked.wasm).map_err(|error| Error::Usage(format!("the module cannot be printed: {error}")))?;
            Ok(text.lines().map(shortened).collect())
        }
    }
}

fn not_run(pass: &str, ran: &[&str]) -> Error {
    let level = passes::pass_named(pass).map_or(String::new(), |p| format!(", or raise the level: -O{}", p.level as u8));
    let ran = if ran.is_empty() { "none ran".to_string() } else { format!("ran: {}", ran.join(", ")) };
    Error::Usage(format!("the pass `{pass}` does not run with these options ({ran})\nhint: do not disable it{level}"))
}

/// A line, weights cut to their beginning.
fn shortened(line: &str) -> String {
    const LONGEST: usize = 2000;
    let end = line.char_indices().nth(80).map_or(line.len(), |(i, _)| i);
    match line.trim_start().starts_with("(data") && line.len() > LONGEST {
        true => format!("{}… ;; {} characters in all\n", &line[..end], line.len()),
        false => format!("{line}\n"),
    }
}
