//! The native module `wasm_torch._native`: the compiler library as a few functions and two classes. What Python people
//! see is written in Python (`wasm_torch/`); options, reports and manifests cross the border as JSON, tensors as addresses.

mod background;
mod errors;
mod instance;
mod model;
mod reference;
mod watchdog;

use clap::Args as _;
use errors::raise;
use model::{Model, options};
use pyo3::prelude::*;
use serde::Serialize;
use std::ffi::OsString;
use std::path::PathBuf;
use wasm_torch::{ExportOptions, Stage, export, inspect};

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("PRODUCER", wasm_torch::PRODUCER)?;
    module.add_class::<instance::Instance>()?;
    module.add_class::<reference::Reference>()?;
    module.add_function(wrap_pyfunction!(export_model, module)?)?;
    module.add_function(wrap_pyfunction!(inspect_model, module)?)?;
    module.add_function(wrap_pyfunction!(inspect_module, module)?)?;
    module.add_function(wrap_pyfunction!(export_options, module)?)?;
    module.add_function(wrap_pyfunction!(pipeline, module)?)?;
    module.add_function(wrap_pyfunction!(command_line, module)?)
}

/// Exports a model (bytes or a path) to a file; gives the report as JSON. `progress` is called with the name of each stage.
/// A signal that raises ends it without a file.
#[pyfunction]
fn export_model(py: Python<'_>, model: Model, output: PathBuf, options_json: &str, progress: Option<Py<PyAny>>) -> PyResult<String> {
    let options: ExportOptions = options(options_json)?;
    let (target, chosen) = (output.clone(), options.clone());
    let compiled = background::run(py, progress.as_ref(), move |observer| {
        export::compile_for(model.source(), &target, &chosen, &mut |stage: Stage| observer(&stage.to_string()))
    })?;
    let report = py.detach(|| export::write(compiled, &output, &options)).map_err(raise)?;
    json(&report)
}

/// What is in an ONNX model, as JSON.
#[pyfunction]
fn inspect_model(py: Python<'_>, model: Model, options_json: &str) -> PyResult<String> {
    let options: ExportOptions = options(options_json)?;
    json(&background::run(py, None, move |_| inspect::model(model.source(), &options.model))?)
}

/// What is in a module, as JSON.
#[pyfunction]
fn inspect_module(py: Python<'_>, bytes: &[u8]) -> PyResult<String> {
    let info = py.detach(|| inspect::module(bytes)).map_err(|error| raise(wasm_torch::engine::EngineError::from(error).into()))?;
    json(&info)
}

/// One option of an export.
#[derive(Serialize)]
struct OptionInfo {
    name: String,
    help: String,
    /// It takes a list.
    many: bool,
}

/// The names and descriptions of an export's options, as JSON: the fields of the compiler's one struct.
#[pyfunction]
fn export_options() -> PyResult<String> {
    let command = ExportOptions::augment_args(clap::Command::new("export"));
    let info = |arg: &clap::Arg| OptionInfo {
        name: arg.get_id().to_string(),
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        many: matches!(arg.get_action(), clap::ArgAction::Append),
    };
    json(&command.get_arguments().map(info).collect::<Vec<_>>())
}

/// One pass of the pipeline.
#[derive(Serialize)]
struct PassInfo {
    name: &'static str,
    summary: &'static str,
    level: String,
}

/// The passes in their order, as JSON.
#[pyfunction]
fn pipeline() -> PyResult<String> {
    let info = |pass: &passes::Pass| PassInfo { name: pass.name, summary: pass.summary, level: pass.level.to_string() };
    json(&passes::PIPELINE.iter().map(info).collect::<Vec<_>>())
}

/// Runs the command line; gives its exit code. The first argument is the program's name.
#[pyfunction]
fn command_line(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| wasm_torch::cli::run_with(arguments))
}

fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| raise(error.into()))
}
