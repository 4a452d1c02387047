//! The backend tests of the ONNX project, run twice in one process: by `eval`, and as modules in wasmtime. Here: which
//! cases there are, and running them in parallel. What one case does is in `case`; nothing here knows which should pass.

mod case;
pub mod expected;
mod outcome;
mod random;
pub mod table;
mod values;

pub use case::{Run, Times};
pub use outcome::{Outcome, Reason, Status};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How the outputs of a case are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By `ir::eval` on the imported graph.
    Eval,
    /// As a module at O2 in wasmtime.
    Wasm,
}

impl Mode {
    pub const ALL: [Mode; 2] = [Mode::Eval, Mode::Wasm];

    pub fn name(self) -> &'static str {
        match self {
            Mode::Eval => "eval",
            Mode::Wasm => "wasm",
        }
    }
}

/// One case, as `manifest.json` lists it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Case {
    pub kind: String,
    pub name: String,
    pub rtol: f64,
    pub atol: f64,
    inputs: Vec<values::Form>,
    outputs: Vec<values::Form>,
    #[serde(skip)]
    folder: PathBuf,
}

impl Case {
    /// `KIND/NAME`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

#[derive(Debug, Deserialize)]
struct Manifest {
    cases: Vec<Case>,
}

/// The folder `tests/suite` of the repository.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suite")
}

/// All cases in order; the first call on a machine downloads the package that makes them.
///
/// # Errors
/// When they cannot be had.
pub fn cases() -> Result<Vec<Case>> {
    let script = scripts().join("fetch.sh");
    let output = Command::new(&script).output().with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "{} failed: {}", script.display(), String::from_utf8_lossy(&output.stderr).trim());
    let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    let path = folder.join("manifest.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut manifest: Manifest = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    for case in &mut manifest.cases {
        case.folder = folder.join(&case.kind).join(&case.name);
    }
    manifest.cases.sort_by_key(Case::path);
    Ok(manifest.cases)
}

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    pub modes: Vec<Mode>,
    /// Cases that run at the same time.
    pub jobs: usize,
    /// What one case may take in one mode.
    pub limit: Duration,
}

impl Default for Options {
    fn default() -> Options {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        Options { modes: Mode::ALL.to_vec(), jobs, limit: Duration::from_secs(20) }
    }
}

/// What became of a case.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub kind: String,
    pub name: String,
    /// The operators of its graph, sorted.
    pub operators: Vec<String>,
    pub runs: Vec<(Mode, Run)>,
}

impl Report {
    /// `KIND/NAME`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// Runs cases; reports are in their order.
pub fn run(cases: &[Case], options: &Options) -> Vec<Report> {
    case::record_panics();
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(vec![None; cases.len()]);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some((i, case)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, cases.get(i)?))) {
                    let runs = options.modes.iter().map(|mode| (*mode, case::guarded(case, *mode, options.limit)));
                    let report =
                        Report { kind: case.kind.clone(), name: case.name.clone(), operators: case::operators(case), runs: runs.collect() };
                    reports.lock().expect("no worker panics while it holds the lock")[i] = Some(report);
                }
            });
        }
    });
    reports.into_inner().expect("all workers have ended").into_iter().flatten().collect()
}
