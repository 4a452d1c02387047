//! The zoo: exports of many architectures in the cache, each compiled, run in wasmtime and compared with what onnxruntime
//! recorded. Not how they were exported: that is `models/zoo/export.py`.

pub mod table;

use crate::Level;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;
use wasm_torch::compare::{Difference, Tolerance, compare};
use wasm_torch::options::{BindOption, DimOption};
use wasm_torch::{Error, ExportOptions, Instance, ModelOptions, NamedTensor, npz};

/// What `export.py` recorded about one architecture and exporter.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    pub name: String,
    pub family: String,
    pub exporter: String,
    /// `exported` or `not exported`.
    pub status: String,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub opset: Option<u32>,
    #[serde(default)]
    pub nodes: usize,
    /// How often each operator occurs.
    #[serde(default)]
    pub operators: BTreeMap<String, usize>,
    /// Sizes of the free dimensions in the golden.
    #[serde(default)]
    pub dims: BTreeMap<String, i64>,
    /// Inputs that are constants of the module.
    #[serde(default)]
    pub bind: BTreeMap<String, f64>,
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
}

/// A record and the stem of its files.
#[derive(Debug, Clone)]
pub struct Entry {
    pub record: Record,
    pub stem: PathBuf,
}

impl Entry {
    /// The entry whose record is in a file.
    pub fn read(path: &Path) -> std::io::Result<Entry> {
        let record = serde_json::from_slice(&std::fs::read(path)?)?;
        Ok(Entry { record, stem: path.with_extension("") })
    }

    /// The file of this entry with an extension: `onnx`, `npz`.
    pub fn file(&self, extension: &str) -> PathBuf {
        PathBuf::from(format!("{}.{extension}", self.stem.display()))
    }

    /// What the module computes for the golden's inputs.
    pub fn outputs(&self, level: Level) -> Result<Vec<NamedTensor>, Error> {
        let arrays = npz::read_npz(&self.file("npz"))?;
        forward(self, How::bound(level), &marked(&arrays, "input:"), &mut Row::new(&self.record))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pass,
    /// Another result than onnxruntime's.
    Differs,
    /// A message says what does not work, or a crash.
    Fails,
    /// The exporter of PyTorch refused.
    NotExported,
}

/// One row of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub family: String,
    pub exporter: String,
    pub status: Status,
    pub reason: String,
    pub opset: Option<u32>,
    pub nodes: usize,
    pub operators: Vec<String>,
    pub dynamic: Vec<String>,
    pub module_bytes: usize,
    pub arena_bytes: u32,
    pub export_ms: f64,
    pub run_ms: f64,
    /// Over all float outputs, relative to each one's largest magnitude.
    pub max_rel: f64,
}

impl Row {
    /// The row of an entry that has not been run.
    fn new(record: &Record) -> Row {
        Row {
            name: record.name.clone(),
            family: record.family.clone(),
            exporter: record.exporter.clone(),
            status: Status::NotExported,
            reason: record.reason.clone().unwrap_or_default(),
            opset: record.opset,
            nodes: record.nodes,
            operators: record.operators.keys().cloned().collect(),
            dynamic: record.dims.keys().cloned().collect(),
            module_bytes: 0,
            arena_bytes: 0,
            export_ms: 0.0,
            run_ms: 0.0,
            max_rel: 0.0,
        }
    }
}

/// `$WASM_TORCH_CACHE/zoo`, by default `~/.cache/wasm-torch/zoo`.
pub fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("WASM_TORCH_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/wasm-torch")))?;
    Some(cache.join("zoo"))
}

/// All records of a folder in order of name.
pub fn entries(folder: &Path) -> std::io::Result<Vec<Entry>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|f| Some(f.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    files.iter().map(|path| Entry::read(path)).collect()
}

/// How the models are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    pub level: Level,
    /// Dimensions stay free, from 1 to twice the golden's size; else they are bound to it.
    pub free: bool,
}

impl How {
    pub fn bound(level: Level) -> How {
        How { level, free: false }
    }
}

/// Compiles, runs and compares one entry; whatever goes wrong becomes the row's reason.
pub fn run(entry: &Entry, how: How, tolerance: Tolerance) -> Row {
    let record = &entry.record;
    let mut row = Row::new(record);
    if record.status != "exported" {
        return row;
    }
    let found = catch_unwind(AssertUnwindSafe(|| evaluate(entry, how, tolerance, &mut row)));
    (row.status, row.reason) = match found {
        Ok(Ok(differences)) => match differences.iter().find(|d| !d.ok) {
            None => (Status::Pass, String::new()),
            Some(d) => (Status::Differs, describe(d)),
        },
        Ok(Err(error)) => (Status::Fails, error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            (Status::Fails, format!("panic: {}", text.unwrap_or_default()))
        }
    };
    row
}

fn describe(difference: &Difference) -> String {
    let Difference { output, max_rel, .. } = difference;
    difference.mismatch.clone().map_or(format!("{output}: relative error {max_rel:.1e}"), |m| format!("{output}: {m}"))
}

/// The model against its golden.
fn evaluate(entry: &Entry, how: How, tolerance: Tolerance, row: &mut Row) -> Result<Vec<Difference>, Error> {
    let arrays = npz::read_npz(&entry.file("npz"))?;
    let found = forward(entry, how, &marked(&arrays, "input:"), row)?;
    let missing = |name: &str| Error::Usage(format!("the module has no output `{name}`"));
    let mut differences = vec![];
    for expected in marked(&arrays, "output:") {
        let actual = found.iter().find(|f| f.name == expected.name).ok_or_else(|| missing(&expected.name))?;
        let difference = compare(&expected.name, &expected.tensor, &actual.tensor, tolerance);
        row.max_rel = row.max_rel.max(difference.max_rel);
        differences.push(difference);
    }
    Ok(differences)
}

/// Compiles a model and runs it.
fn forward(entry: &Entry, how: How, inputs: &[NamedTensor], row: &mut Row) -> Result<Vec<NamedTensor>, Error> {
    let record = &entry.record;
    let dim = |(name, size): (&String, &i64)| match how.free {
        true => DimOption { name: name.clone(), size: 2 * size, least: Some(1) },
        false => DimOption::bound(name, *size),
    };
    let dims = record.dims.iter().map(dim).collect();
    let bind = record.bind.iter().map(|(name, value)| BindOption { input: name.clone(), value: value.to_string() }).collect();
    let options = ExportOptions {
        level: Some(how.level),
        model: ModelOptions { dims, bind },
        variants: Some(vec!["baseline".into()]),
        ..ExportOptions::default()
    };
    let compiled = wasm_torch::compile(&entry.file("onnx"), &options, &mut |_| {})?;
    row.export_ms = compiled.report.stages.total_ms;
    row.module_bytes = compiled.report.sizes.total;
    row.arena_bytes = compiled.report.memory.arena_bytes;
    let mut instance = Instance::load(&compiled.linked.wasm)?;
    let unbound: Vec<NamedTensor> = inputs.iter().filter(|input| !record.bind.contains_key(&input.name)).cloned().collect();
    // Twice: nothing may be left over from the first time.
    instance.forward(&unbound)?;
    let start = Instant::now();
    let found = instance.forward(&unbound)?;
    row.run_ms = start.elapsed().as_secs_f64() * 1e3;
    Ok(found)
}

/// The arrays whose name begins with `mark`, without it.
pub fn marked(arrays: &[NamedTensor], mark: &str) -> Vec<NamedTensor> {
    let strip = |a: &NamedTensor| Some(NamedTensor::new(a.name.strip_prefix(mark)?, a.tensor.clone()));
    arrays.iter().filter_map(strip).collect()
}
