//! What can be wrong with a model: every problem names its layer and operator where it has them, says what was found and
//! expected, and hints at what to do. All problems of an import are reported at once.

use ir::OpError;
use std::fmt;

/// Classes of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The file cannot be read.
    Unreadable,
    /// The bytes are not an ONNX model, or a damaged one.
    NotOnnx,
    /// The model breaks the rules of ONNX.
    Invalid,
    /// The model is fine, but uses what this compiler does not know.
    Unsupported,
    /// An import option does not fit the model.
    Option,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    /// The layer as PyTorch named it.
    pub layer: Option<String>,
    /// The node's name in the file.
    pub node: Option<String>,
    /// The operator; with its domain unless that is the default one.
    pub operator: Option<String>,
    /// What was found, and what was expected.
    pub sentence: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem of the file or the model as a whole.
    pub(crate) fn model(kind: Kind, sentence: impl Into<String>, hint: impl Into<String>) -> Problem {
        let hint: String = hint.into();
        Problem { kind, layer: None, node: None, operator: None, sentence: sentence.into(), hint: Some(hint).filter(|h| !h.is_empty()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (&self.layer, &self.operator) {
            (Some(layer), Some(operator)) => write!(f, "{layer} ({operator}): ")?,
            (Some(one), None) | (None, Some(one)) => write!(f, "{one}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.sentence)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that kept a model from being imported; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ImportErrors {
    pub problems: Vec<Problem>,
}

impl From<Problem> for ImportErrors {
    fn from(problem: Problem) -> ImportErrors {
        ImportErrors { problems: vec![problem] }
    }
}

impl fmt::Display for ImportErrors {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.problems.len() > 1 {
            writeln!(f, "{} problems in the model:", self.problems.len())?;
        }
        let texts: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

/// Why one node or tensor cannot be imported; becomes a [`Problem`] where the layer is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub kind: Kind,
    pub sentence: String,
    pub hint: Option<String>,
}

pub(crate) const RUN_TIME: &str = "depends on data computed at run time";

impl Fault {
    pub fn invalid(sentence: impl Into<String>) -> Fault {
        Fault { kind: Kind::Invalid, sentence: sentence.into(), hint: None }
    }
    pub fn unsupported(sentence: impl Into<String>) -> Fault {
        Fault { kind: Kind::Unsupported, sentence: sentence.into(), hint: None }
    }
    /// `what` must be known at export, but follows from the model's inputs.
    pub fn run_time(what: &str) -> Fault {
        Fault::unsupported(format!("the {what} {RUN_TIME}; it must be known at export"))
            .hint("fix the sizes with `--dim NAME=N`, or the input with `--bind INPUT=VALUE`, or export the model with static shapes")
    }
    /// The sizes of an output depend on data, and the file does not say what they are.
    pub fn undeclared(output: usize) -> Fault {
        Fault::unsupported(format!(
            "the shape of output {} depends on data computed at run time, and the model does not declare it",
            output + 1
        ))
        .hint("bind the input that decides it with `--bind INPUT=VALUE`, or run ONNX's shape inference on the model")
    }
    /// Whether this is a fault of [`Fault::run_time`].
    pub fn is_run_time(&self) -> bool {
        self.sentence.contains(RUN_TIME)
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

impl From<OpError> for Fault {
    fn from(error: OpError) -> Fault {
        Fault::invalid(error.0)
    }
}

/// Returns a [`Fault`] of kind `Invalid` built like `format!`.
macro_rules! invalid {
    ($($arg:tt)*) => { return Err($crate::error::Fault::invalid(format!($($arg)*))) };
}
/// Returns a [`Fault`] of kind `Unsupported` built like `format!`.
macro_rules! unsupported {
    ($($arg:tt)*) => { return Err($crate::error::Fault::unsupported(format!($($arg)*))) };
}
pub(crate) use {invalid, unsupported};
