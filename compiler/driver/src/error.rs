//! Everything that can go wrong between a command and its result, as sentences for people; lines that begin with `hint:`
//! say what to do. Not the problems themselves: those are found by the crates that this one calls.

use crate::engine::EngineError;
use lower::LowerError;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Import(#[from] onnx::ImportErrors),
    #[error("the model has free dimensions: {}\nhint: give each a size, e.g. {}, or bounds within which it stays free, e.g. {}", .names.join(", "), dim_options(.names, "1"), dim_options(.names, "1..512"))]
    FreeDims { names: Vec<String> },
    #[error("the imported graph is not valid, which is a bug of the compiler:{}", list(.0))]
    InvalidGraph(Vec<String>),
    #[error(transparent)]
    Pass(#[from] passes::PassError),
    #[error("{}", lower_errors(.0))]
    Lower(Vec<LowerError>),
    #[error(transparent)]
    Link(#[from] link::LinkError),
    #[error("{}: {source}", .path.display())]
    Module { path: PathBuf, source: link::ManifestError },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the model cannot be evaluated: {0}")]
    Eval(#[from] ir::eval::EvalError),
    #[error(transparent)]
    Oracle(#[from] crate::oracle::OracleError),
    #[error("cannot {action} {}: {source}{}", .path.display(), file_hint(source))]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// What was given to a command does not fit; a whole message with its hints.
    #[error("{0}")]
    Usage(String),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Error {
        Error::File { action, path: path.into(), source }
    }

    /// The reader of our output went away, as `| head` does: not an error.
    pub fn is_broken_pipe(&self) -> bool {
        match self {
            Error::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Error::Json(error) => error.io_error_kind() == Some(io::ErrorKind::BrokenPipe),
            _ => false,
        }
    }
}

/// Reads a whole file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::file("read", path, source))
}

/// The known name that is close to `name`, as `hint:` line.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let scored = known.into_iter().map(|k| (strsim::jaro_winkler(name, k), k));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.75);
    best.map(|(_, k)| format!("did you mean `{k}`?"))
}

fn dim_options(names: &[String], size: &str) -> String {
    names.iter().map(|n| format!("--dim {n}={size}")).collect::<Vec<_>>().join(" ")
}

fn list(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

fn lower_errors(errors: &[LowerError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match &lines[..] {
        [one] => one.clone(),
        _ => format!("{} problems:{}", lines.len(), list(&lines)),
    }
}

fn file_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "\nhint: check the path",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "\nhint: check the permissions of the file and its folder",
        io::ErrorKind::IsADirectory => "\nhint: this is a folder; name a file",
        io::ErrorKind::StorageFull => "\nhint: the disk is full",
        _ => "",
    }
}
