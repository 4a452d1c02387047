//! A loaded module: runs on tensors that Python owns, by their addresses. Shapes and element types are checked in Python,
//! numbers of bytes here.
#![allow(unsafe_code, reason = "arrays cross the border as addresses: the buffer protocol is not in Python 3.9's stable interface")]

use crate::errors::{raise, timeout};
use crate::json;
use crate::model::Model;
use crate::watchdog;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use wasm_torch::engine::{EngineError, check_inputs};
use wasm_torch::{Error, LoadOptions, NamedTensor, bench, verify};

/// One instance of a module. Calls from several threads take turns.
#[pyclass(frozen)]
pub struct Instance {
    source: Model,
    inner: Mutex<wasm_torch::Instance>,
}

/// Where an array is and how many bytes it has.
type Bytes = (usize, usize);
/// Name, element type, shape and place of an array.
type Given = (String, String, Vec<usize>, Bytes);
/// Name, element type, shape, contents in row-major order.
type Array<'py> = (String, String, Vec<usize>, Bound<'py, PyBytes>);

#[pymethods]
impl Instance {
    #[new]
    #[pyo3(signature = (source, *, folder=None, threads=None, variant=None, memory_limit=None, interruptible=false, cache=None))]
    fn new(
        py: Python<'_>,
        source: Model,
        folder: Option<PathBuf>,
        threads: Option<u32>,
        variant: Option<String>,
        memory_limit: Option<u64>,
        interruptible: bool,
        cache: Option<PathBuf>,
    ) -> PyResult<Instance> {
        let options = LoadOptions { threads, variant, folder, memory_limit, interruptible, cache };
        let inner = py.detach(|| wasm_torch::Instance::load_with(&read(&source)?, &options).map_err(Error::from)).map_err(raise)?;
        Ok(Instance { source, inner: Mutex::new(inner) })
    }

    /// Another instance of the same code.
    fn again(&self, py: Python<'_>, source: Model) -> PyResult<Instance> {
        let inner = py.detach(|| self.lock().again(&read(&source)?).map_err(Error::from)).map_err(raise)?;
        Ok(Instance { source, inner: Mutex::new(inner) })
    }

    /// The manifest as JSON.
    fn manifest(&self) -> PyResult<String> {
        json(self.lock().manifest())
    }

    /// Name of the variant that runs.
    fn variant(&self) -> String {
        self.lock().variant().into()
    }

    /// Statistics of memory as JSON.
    fn memory(&self) -> PyResult<String> {
        let stats = self.lock().memory().map_err(|error| raise(error.into()))?;
        json(&stats)
    }

    /// Raises what is wrong with arrays of these names, element types and shapes, if anything.
    fn check(&self, arrays: Vec<(String, String, Vec<usize>)>) -> PyResult<()> {
        let tensor = |(name, dtype, shape): (String, String, Vec<usize>)| {
            let dtype = ir::DType::from_name(&dtype).ok_or_else(|| raise(Error::Usage(format!("there is no element type {dtype}"))))?;
            Ok(NamedTensor::new(name, ir::Tensor::zeros(dtype, &shape)))
        };
        let arrays = arrays.into_iter().map(tensor).collect::<PyResult<Vec<_>>>()?;
        check_inputs(self.lock().manifest(), &arrays).map(|_| ()).map_err(|error| raise(error.into()))
    }

    /// Runs the model: inputs and outputs in the manifest's order, C-contiguous arrays that the caller keeps alive.
    fn call(&self, py: Python<'_>, inputs: Vec<Bytes>, outputs: Vec<Bytes>, timeout_seconds: Option<f64>) -> PyResult<()> {
        self.limited(py, timeout_seconds, |inner| {
            let ports = (inner.manifest().inputs.len(), inner.manifest().outputs.len());
            if (inputs.len(), outputs.len()) != ports {
                return Err(Error::Usage(format!("the module has {} inputs and {} outputs", ports.0, ports.1)));
            }
            for (i, array) in inputs.iter().enumerate() {
                inner.write_input(i, bytes(array))?;
            }
            self.run(inner, timeout_seconds)?;
            for (i, (address, bytes)) in outputs.iter().enumerate() {
                // SAFETY: the caller, `wasm_torch.Module`, made an array of this many bytes at this address for this call;
                // nobody else knows it yet. An empty one may have no valid address.
                let bytes = if *bytes == 0 { &mut [][..] } else { unsafe { std::slice::from_raw_parts_mut(*address as *mut u8, *bytes) } };
                inner.read_output(i, bytes)?;
            }
            Ok(())
        })
    }

    /// Runs the model on arrays of any shapes that it takes: name, element type, shape and place of each. Gives name, element
    /// type, shape and contents of the outputs.
    fn call_named<'py>(&self, py: Python<'py>, inputs: Vec<Given>, timeout_seconds: Option<f64>) -> PyResult<Vec<Array<'py>>> {
        let outputs = self.limited(py, timeout_seconds, |inner| {
            inner.write_inputs(&inputs.iter().map(tensor).collect::<Result<Vec<_>, _>>()?)?;
            self.run(inner, timeout_seconds)?;
            Ok(inner.read_outputs()?)
        })?;
        Ok(outputs.into_iter().map(|output| array(py, output)).collect())
    }

    /// Copies of the tensors that the module keeps between runs.
    fn save_state<'py>(&self, py: Python<'py>) -> Vec<Array<'py>> {
        let states = self.lock().save_state();
        states.into_iter().map(|state| array(py, state)).collect()
    }

    /// Puts such tensors back: all of them.
    fn restore_state(&self, states: Vec<Given>) -> PyResult<()> {
        let states = states.iter().map(tensor).collect::<Result<Vec<_>, _>>().map_err(raise)?;
        self.lock().restore_state(&states).map_err(|error| raise(error.into()))
    }

    /// Times of `repeat` runs without Python, on random inputs, as JSON.
    fn bench(&self, py: Python<'_>, repeat: usize) -> PyResult<String> {
        let times = py.detach(|| {
            let mut inner = self.lock();
            let inputs = verify::random_inputs_of(&inner, 0);
            bench::runs(&mut inner, &inputs, repeat, || {})
        });
        json(&times.map_err(|error| raise(error.into()))?)
    }

    /// Times of every step over `repeat` runs, on random inputs, as JSON.
    fn profile(&self, py: Python<'_>, repeat: usize) -> PyResult<String> {
        let times = py.detach(|| {
            let mut inner = self.lock();
            let inputs = verify::random_inputs_of(&inner, 0);
            bench::profile(&mut inner, &inputs, repeat)
        });
        json(&times.map_err(|error| raise(error.into()))?)
    }
}

/// A copy of an array that the caller keeps alive.
fn tensor((name, dtype, shape, array): &Given) -> Result<NamedTensor, Error> {
    let tensor = ir::DType::from_name(dtype).and_then(|dtype| ir::Tensor::from_bytes(dtype, shape, bytes(array)));
    tensor.map(|tensor| NamedTensor::new(name, tensor)).ok_or_else(|| Error::Usage(format!("the input `{name}` is no {dtype}{shape:?}")))
}

fn array(py: Python<'_>, NamedTensor { name, tensor }: NamedTensor) -> Array<'_> {
    (name, tensor.dtype.to_string(), tensor.shape.clone(), PyBytes::new(py, tensor.bytes()))
}

impl Instance {
    /// An instance is whole between calls, also after one that panicked.
    fn lock(&self) -> MutexGuard<'_, wasm_torch::Instance> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Does something with the instance while other threads of Python run; a stop becomes a timeout.
    fn limited<T: Send>(
        &self,
        py: Python<'_>,
        timeout_seconds: Option<f64>,
        work: impl FnOnce(&mut wasm_torch::Instance) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let result = py.detach(|| {
            let mut inner = self.lock();
            if inner.interrupted() {
                *inner = inner.again(&read(&self.source)?)?;
            }
            work(&mut inner)
        });
        result.map_err(|error| match (error, timeout_seconds) {
            (Error::Engine(error), Some(seconds)) if cancelled(&error) => timeout(seconds, &error),
            (error, _) => raise(error),
        })
    }

    fn run(&self, inner: &mut wasm_torch::Instance, timeout_seconds: Option<f64>) -> Result<(), Error> {
        let steps = inner.steps();
        let Some(seconds) = timeout_seconds else {
            inner.run_steps(0..steps)?;
            return Ok(());
        };
        // What is longer than Rust's durations is as good as no limit.
        let limit = Duration::try_from_secs_f64(seconds).ok().and_then(|limit| Instant::now().checked_add(limit));
        let guard = limit.map(|limit| watchdog::limit(inner.stop_handle(), limit)).transpose()?;
        let result = inner.run_steps(0..steps);
        drop(guard);
        // It may have been asked to stop after it had ended.
        inner.stop_handle().clear();
        result?;
        Ok(())
    }
}

/// The contents of an input.
fn bytes((address, bytes): &Bytes) -> &[u8] {
    // SAFETY: the caller, `wasm_torch.Module`, holds a contiguous array of this many bytes at this address, which nobody is
    // told to change during the call. An empty one may have no valid address.
    if *bytes == 0 { &[] } else { unsafe { std::slice::from_raw_parts(*address as *const u8, *bytes) } }
}

fn cancelled(error: &EngineError) -> bool {
    matches!(error, EngineError::Status { status: abi::Status::Cancelled, .. })
}

fn read(source: &Model) -> Result<std::borrow::Cow<'_, [u8]>, Error> {
    match source {
        Model::Bytes(bytes) => Ok((&**bytes).into()),
        Model::Path(path) => {
            std::fs::read(path).map(Into::into).map_err(|source| Error::File { action: "read", path: path.clone(), source })
        }
    }
}
