//! The model's definition, evaluated operator by operator on the host: slow, exact, and independent of every module.

use crate::background;
use crate::errors::raise;
use crate::model::{Model, options};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::{Arc, Mutex};
use wasm_torch::oracle::Oracle;
use wasm_torch::{Error, ExportOptions, NamedTensor, export};

/// An imported model.
#[pyclass(frozen)]
pub struct Reference {
    oracle: Arc<Mutex<Oracle>>,
    /// Name, element type and shape; a free size is -1.
    inputs: Vec<(String, String, Vec<i64>)>,
    outputs: Vec<String>,
}

/// Name, element type, shape, contents in row-major order.
type Array<'py> = (String, String, Vec<usize>, Bound<'py, PyBytes>);

#[pymethods]
impl Reference {
    #[new]
    fn new(py: Python<'_>, model: Model, options_json: &str) -> PyResult<Reference> {
        let options: ExportOptions = options(options_json)?;
        let graph = background::run(py, None, move |_| Ok(export::import(model.source(), &options.model.resolve()?)?.graph))?;
        let port = |id: &ir::ValueId| {
            let ty = graph.ty(*id);
            let shape = ty.shape.iter().map(|dim| dim.as_const().unwrap_or(-1)).collect();
            (graph.value(*id).name.to_string(), ty.dtype.to_string(), shape)
        };
        let inputs = graph.inputs.iter().map(port).collect();
        let outputs = graph.outputs.iter().map(|output| output.name.to_string()).collect();
        Ok(Reference { oracle: Arc::new(Mutex::new(Oracle::Eval(graph))), inputs, outputs })
    }

    fn inputs(&self) -> Vec<(String, String, Vec<i64>)> {
        self.inputs.clone()
    }

    fn outputs(&self) -> Vec<String> {
        self.outputs.clone()
    }

    /// Evaluates the model; inputs by name in any order.
    fn run<'py>(&self, py: Python<'py>, inputs: Vec<(String, String, Vec<usize>, Vec<u8>)>) -> PyResult<Vec<Array<'py>>> {
        let tensor = |(name, dtype, shape, bytes): (String, String, Vec<usize>, Vec<u8>)| {
            let tensor = ir::DType::from_name(&dtype).and_then(|dtype| ir::Tensor::from_bytes(dtype, &shape, &bytes));
            tensor
                .map(|tensor| NamedTensor::new(&name, tensor))
                .ok_or_else(|| Error::Usage(format!("the input `{name}` is no {dtype}{shape:?}")))
        };
        let inputs = inputs.into_iter().map(tensor).collect::<Result<Vec<_>, _>>().map_err(raise)?;
        let oracle = self.oracle.clone();
        let outputs =
            background::run(py, None, move |_| oracle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).outputs(&inputs))?;
        let array = |output: NamedTensor| {
            let NamedTensor { name, tensor } = output;
            (name, tensor.dtype.to_string(), tensor.shape.clone(), PyBytes::new(py, tensor.bytes()))
        };
        Ok(outputs.into_iter().map(array).collect())
    }
}
