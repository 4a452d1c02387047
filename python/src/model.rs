//! Models and options as they come from Python.

use crate::errors::raise;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use wasm_torch::{Error, Source};

/// An ONNX model or a module: the bytes of a file, or where the file is.
#[derive(FromPyObject)]
pub enum Model {
    Bytes(PyBackedBytes),
    Path(PathBuf),
}

impl Model {
    pub fn source(&self) -> Source<'_> {
        match self {
            Model::Bytes(bytes) => Source::Bytes(bytes),
            Model::Path(path) => Source::from(path),
        }
    }
}

/// Options from their JSON form.
pub fn options<T: DeserializeOwned>(json: &str) -> PyResult<T> {
    serde_json::from_str(json).map_err(|error| {
        let text = error.to_string();
        // The position in a text that the caller never saw says nothing.
        let sentence = text.rsplit_once(" at line ").map_or(text.as_str(), |(sentence, _)| sentence);
        raise(Error::Usage(sentence.into()))
    })
}
