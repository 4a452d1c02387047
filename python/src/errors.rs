//! The compiler's errors as Python exceptions: one table from variants to the classes of `wasm_torch.errors`, with their
//! details as JSON. Errors of files become `OSError`.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use serde_json::{Value, json};
use std::any::Any;
use std::io::ErrorKind;
use wasm_torch::Error;
use wasm_torch::engine::EngineError;

/// The exception for an error.
pub fn raise(error: Error) -> PyErr {
    if let Error::File { path, source, .. } = &error {
        let code = source.raw_os_error().or(match source.kind() {
            ErrorKind::NotFound => Some(2),
            ErrorKind::PermissionDenied => Some(13),
            ErrorKind::IsADirectory => Some(21),
            _ => None,
        });
        if let Some(code) = code {
            // With these arguments Python chooses the subclass: FileNotFoundError, PermissionError, ….
            return PyOSError::new_err((code, source.to_string(), path.display().to_string()));
        }
    }
    let (class, details) = class(&error);
    Python::attach(|py| exception(py, class, &error.to_string(), &details))
}

/// A timeout, which the engine reports as a run that was stopped.
pub fn timeout(seconds: f64, error: &EngineError) -> PyErr {
    let text = format!("the run took longer than {seconds} s and was stopped\nhint: give it more with timeout_seconds");
    let details = json!({ "seconds": seconds, "layers": layers(error) });
    Python::attach(|py| exception(py, "ModuleTimeoutError", &text, &details))
}

/// A panic: a bug of the compiler.
pub fn internal(py: Python<'_>, panic: &(dyn Any + Send)) -> PyErr {
    let cause = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let text =
        format!("{} failed: {}; this is a bug of the compiler, not of your model", wasm_torch::PRODUCER, cause.unwrap_or("no message"));
    exception(py, "InternalError", &text, &json!({}))
}

fn exception(py: Python<'_>, class: &str, message: &str, details: &Value) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let class = py.import("wasm_torch.errors")?.getattr(class)?;
        Ok(PyErr::from_value(class.call1((message, details.to_string()))?))
    };
    made().unwrap_or_else(|error| error)
}

/// The class of an error and what it carries.
fn class(error: &Error) -> (&'static str, Value) {
    match error {
        Error::Import(errors) => import(errors),
        Error::FreeDims { names } => ("ShapeError", json!({ "dims": names })),
        Error::Lower(errors) => lower(errors),
        Error::Engine(error) => engine(error),
        Error::Module { .. } => ("ModuleError", json!({})),
        Error::Usage(_) => ("OptionError", json!({})),
        Error::Eval(_) => ("ShapeError", json!({})),
        Error::Oracle(_) => ("OptionError", json!({})),
        Error::InvalidGraph(_) => ("InternalError", json!({})),
        _ => ("ExportError", json!({})),
    }
}

fn import(errors: &onnx::ImportErrors) -> (&'static str, Value) {
    let problems: Vec<Value> = errors
        .problems
        .iter()
        .map(|p| json!({ "layer": p.layer, "node": p.node, "operator": p.operator, "sentence": p.sentence, "hint": p.hint }))
        .collect();
    let unsupported = errors.problems.iter().filter(|p| p.kind == onnx::Kind::Unsupported);
    let operators: Vec<&String> = unsupported.filter_map(|p| p.operator.as_ref()).collect();
    let has = |kind: onnx::Kind| errors.problems.iter().any(|p| p.kind == kind);
    let class = match () {
        () if !operators.is_empty() => "UnsupportedOperatorError",
        () if has(onnx::Kind::Option) => "OptionError",
        () if has(onnx::Kind::Unsupported) => "ExportError",
        () => "InvalidModelError",
    };
    (class, json!({ "problems": problems, "operators": operators }))
}

fn lower(errors: &[lower::LowerError]) -> (&'static str, Value) {
    use lower::LowerError as E;
    let class = match errors.first() {
        Some(E::FreeSize { .. }) => "ShapeError",
        Some(E::FreeOperator { .. } | E::Unsupported { .. }) => "UnsupportedOperatorError",
        Some(E::Bug { .. }) => "InternalError",
        _ => "ExportError",
    };
    let layers: Vec<&String> = errors.iter().filter_map(layer).collect();
    let operators: Vec<&String> = errors.iter().filter_map(operator).collect();
    (class, json!({ "layers": layers, "operators": operators }))
}

fn layer(error: &lower::LowerError) -> Option<&String> {
    use lower::LowerError as E;
    match error {
        E::FreeSize { layer, .. } | E::FreeOperator { layer, .. } | E::Unsupported { layer, .. } | E::Bug { layer, .. } => Some(layer),
        _ => None,
    }
}

fn operator(error: &lower::LowerError) -> Option<&String> {
    match error {
        lower::LowerError::FreeOperator { operator, .. } => Some(operator),
        _ => None,
    }
}

fn engine(error: &EngineError) -> (&'static str, Value) {
    match error {
        EngineError::Inputs(_) => ("ShapeError", json!({})),
        EngineError::MemoryLimit { needed, limit } => ("MemoryLimitError", json!({ "needed": needed, "limit": limit })),
        EngineError::Variant { .. } => ("OptionError", json!({})),
        error => ("ModuleError", json!({ "layers": layers(error) })),
    }
}

fn layers(error: &EngineError) -> Vec<&str> {
    match error {
        EngineError::Status { layers, .. } | EngineError::UnknownStatus { layers, .. } => vec![layers],
        EngineError::Trap { layers: Some(layers), .. } => vec![layers],
        _ => vec![],
    }
}
