//! What can become of a case, and why it does not pass, in words that stay the same from run to run and group well.

use onnx::{ImportErrors, Kind, Problem};
use serde::Serialize;
use std::fmt;
use wasm_torch::Error;
use wasm_torch::engine::EngineError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pass,
    /// It says that it cannot; nothing is wrong.
    Unsupported,
    /// A wrong result, a crash, or an error about a model that is right.
    Fail,
}

impl Status {
    pub const ALL: [Status; 3] = [Status::Pass, Status::Fail, Status::Unsupported];

    pub fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Unsupported => "unsupported",
            Status::Fail => "fail",
        }
    }
}

/// Why a case does not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub status: Status,
    /// One word or two: `operator`, `dtype`, `mismatch`, ….
    pub category: &'static str,
    /// One line, without numbers that depend on the machine.
    pub detail: String,
    /// What else is known; not compared with the expectation.
    pub more: String,
}

/// What became of a case in one mode.
pub type Outcome = Result<(), Reason>;

/// Categories of what the importer says, by a part of the sentence.
const IMPORT: &[(&str, &str)] = &[
    ("computed at run time", "run-time"),
    ("elements of type", "dtype"),
    ("must be a tensor", "type"),
    ("not a tensor", "type"),
    ("sequence", "type"),
    ("optional", "type"),
];

impl Reason {
    pub fn fail(category: &'static str, detail: impl Into<String>) -> Reason {
        Reason { status: Status::Fail, category, detail: line(&detail.into()), more: String::new() }
    }

    pub fn unsupported(category: &'static str, detail: impl Into<String>) -> Reason {
        Reason { status: Status::Unsupported, ..Reason::fail(category, detail) }
    }

    pub fn because(mut self, more: impl Into<String>) -> Reason {
        self.more = line(&more.into());
        self
    }

    /// `fail mismatch: values of output 0`.
    pub fn text(&self) -> String {
        format!("{} {}: {}", self.status.name(), self.category, self.detail)
    }

    /// Missing operators all together; otherwise the first problem, an error before what is not supported.
    pub fn of_import(errors: &ImportErrors) -> Reason {
        let mut missing: Vec<&str> = errors.problems.iter().filter(|p| unknown_operator(p)).filter_map(|p| p.operator.as_deref()).collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            return Reason::unsupported("operator", missing.join(", "));
        }
        let problem = errors.problems.iter().find(|p| p.kind != Kind::Unsupported).or(errors.problems.first());
        let Some(problem) = problem else { return Reason::fail("import", "no reason given") };
        let detail = match &problem.operator {
            Some(operator) => format!("{operator}: {}", problem.sentence),
            None => problem.sentence.clone(),
        };
        if problem.kind != Kind::Unsupported {
            return Reason::fail("import", detail);
        }
        let category = IMPORT.iter().find(|(part, _)| problem.sentence.contains(part)).map_or("import", |(_, category)| category);
        Reason::unsupported(category, detail)
    }
}

fn unknown_operator(problem: &Problem) -> bool {
    problem.kind == Kind::Unsupported && problem.sentence.starts_with("the operator ")
}

impl From<Error> for Reason {
    fn from(error: Error) -> Reason {
        match &error {
            Error::Import(errors) => Reason::of_import(errors),
            Error::FreeDims { .. } => Reason::unsupported("free size", error.to_string()),
            Error::InvalidGraph(errors) => Reason::fail("verify", errors.first().cloned().unwrap_or_default()),
            Error::Pass(_) => Reason::fail("pass", error.to_string()),
            Error::Lower(errors) => {
                let bug = errors.iter().find(|e| matches!(e, lower::LowerError::Bug { .. }));
                match (bug, errors.first()) {
                    (Some(bug), _) => Reason::fail("lower", bug.to_string()),
                    (None, Some(lower::LowerError::Unsupported { layer, what })) => Reason::unsupported("lower", what).because(layer),
                    (None, Some(lower::LowerError::FreeSize { .. })) => Reason::unsupported("free size", errors[0].to_string()),
                    (None, _) => Reason::unsupported("lower", error.to_string()),
                }
            }
            Error::Link(_) => Reason::fail("link", error.to_string()),
            Error::Engine(EngineError::Trap { .. }) => Reason::fail("trap", error.to_string()),
            Error::Engine(EngineError::Status { status, .. }) => Reason::fail("status", status.text()).because(error.to_string()),
            Error::Engine(_) => Reason::fail("engine", error.to_string()),
            Error::Eval(_) => Reason::fail("eval", error.to_string()),
            _ => Reason::fail("other", error.to_string()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text())?;
        if self.more.is_empty() { Ok(()) } else { write!(f, " ({})", self.more) }
    }
}

/// The first line, not too long.
fn line(text: &str) -> String {
    const LONGEST: usize = 200;
    let first = text.lines().next().unwrap_or_default().replace('\t', " ");
    match first.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None => first,
    }
}
