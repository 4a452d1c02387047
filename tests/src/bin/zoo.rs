//! Compiles and runs every model of the zoo that the cache holds, compares with onnxruntime and writes the table.
//!
//! `models/zoo/export.py` fills the cache. Results are merged into those of earlier runs, so that a few can be run again.

use anyhow::{Context, Result};
use clap::Parser;
use std::collections::BTreeMap;
use std::path::PathBuf;
use wasm_torch::compare::Tolerance;
use wasm_torch::write_atomically;
use wasm_torch_tests::Level;
use wasm_torch_tests::zoo::{self, How, Row, Status, table};

/// Run the model zoo
#[derive(Debug, Parser)]
struct Arguments {
    /// Only models whose NAME.EXPORTER contains one of these
    names: Vec<String>,
    /// Optimisation level: 0, 1, 2 or 3
    #[arg(short = 'O', default_value = "2", value_parser = level)]
    level: Level,
    /// Largest relative error; by default 1e-4, at -O3 1e-3
    #[arg(long)]
    rtol: Option<f64>,
    /// Leave dimensions free, up to twice the golden's size; only models that have some
    #[arg(long)]
    free: bool,
    /// The folder of the exports; by default zoo/ in the cache
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Only models without a result from an earlier run, or whose result was no pass
    #[arg(long)]
    failing: bool,
    /// Where results are kept as JSON
    #[arg(long, default_value = "target/zoo")]
    results: PathBuf,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn level(text: &str) -> Result<Level, String> {
    text.parse().map_err(|_| "there are the levels 0, 1, 2 and 3".to_string())
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = arguments.folder.clone().or_else(zoo::cache).context("no cache: set WASM_TORCH_CACHE")?;
    let entries = zoo::entries(&folder).with_context(|| format!("{}: run models/zoo/export.py first", folder.display()))?;
    let rtol = arguments.rtol.unwrap_or(if arguments.level == Level::O3 { 1e-3 } else { 1e-4 });
    let file = arguments.results.join(format!("{}{}.json", arguments.level, if arguments.free { ".free" } else { "" }));
    let mut rows: BTreeMap<String, Row> =
        std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let key = |entry: &zoo::Entry| format!("{}.{}", entry.record.name, entry.record.exporter);
    rows.retain(|name, _| entries.iter().any(|entry| key(entry) == *name));
    std::fs::create_dir_all(&arguments.results)?;
    for entry in &entries {
        let name = key(entry);
        let chosen = arguments.names.is_empty() || arguments.names.iter().any(|part| name.contains(part));
        let done = rows.get(&name).is_some_and(|row| row.status == Status::Pass);
        let how = How { level: arguments.level, free: arguments.free };
        if !chosen || arguments.failing && done || how.free && entry.record.dims.is_empty() {
            continue;
        }
        let row = zoo::run(entry, how, Tolerance { rtol, atol: 0.0 });
        let (status, reason) = (row.status, table::one_line(&row.reason));
        eprintln!("{name}: {status:?} {reason} (error {:.1e}, export {:.1} s, run {:.1} ms)", row.max_rel, row.export_ms / 1e3, row.run_ms);
        rows.insert(name, row);
        write_atomically(&file, &serde_json::to_vec_pretty(&rows)?)?;
    }
    let versions = entries.last().map(|entry| entry.record.versions.clone()).unwrap_or_default();
    let rows: Vec<Row> = rows.into_values().collect();
    if let Some(path) = &arguments.markdown {
        // The default level's page shows what -O3 gave beside it.
        let other = arguments.results.join("O3.json");
        let fast: BTreeMap<String, Row> =
            std::fs::read(&other).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let beside = (arguments.level == Level::O2 && !arguments.free && !fast.is_empty()).then(|| table::Beside {
            level: Level::O3.to_string(),
            rtol: 1e-3,
            rows: &fast,
        });
        let heading = table::Heading { level: arguments.level.to_string(), rtol, versions: &versions, beside };
        write_atomically(path, table::markdown(&rows, &heading).as_bytes())?;
    }
    let failing = rows.iter().filter(|row| matches!(row.status, Status::Differs | Status::Fails)).count();
    eprintln!("{} results in {}, {failing} do not agree", rows.len(), file.display());
    std::process::exit(i32::from(failing > 0));
}
