//! Runs modules in wasmtime, through the ABI alone: instances, tensors in and out, single steps, statistics of memory. It
//! knows no model and no ONNX.

use crate::error::suggestion;
use abi::manifest::{self, Manifest};
use abi::{PoolStats, Status};
use ir::{DType, Tensor};
use std::ops::Range;
use std::sync::OnceLock;
use wasmtime::{Config, Engine, Memory, Module, OptLevel, Store, TypedFunc};

/// A tensor and the name it goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    pub name: String,
    pub tensor: Tensor,
}

impl NamedTensor {
    pub fn new(name: impl Into<String>, tensor: Tensor) -> NamedTensor {
        NamedTensor { name: name.into(), tensor }
    }
}

/// Why a module cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Manifest(#[from] link::ManifestError),
    #[error("the module cannot be compiled: {0}")]
    Compile(String),
    #[error("the module does not follow its own interface: {0}\nhint: export the model again")]
    Interface(String),
    #[error("{}", problems(.0))]
    Inputs(Vec<InputProblem>),
    #[error("the module stopped at step {step} ({layers}): {} (detail {detail})", .status.text())]
    Status { status: Status, step: u32, layers: String, detail: u32 },
    #[error("the module stopped with the unknown status {code} at step {step} ({layers})")]
    UnknownStatus { code: u32, step: u32, layers: String },
    #[error("the module trapped{}: {cause}; this is a bug of the compiler", match .layers { Some(l) => format!(" in {l}"), None => String::new() })]
    Trap { layers: Option<String>, cause: String },
}

/// What is wrong with one input tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputProblem {
    pub sentence: String,
    pub hint: Option<String>,
}

fn problems(problems: &[InputProblem]) -> String {
    let text = |p: &InputProblem| match &p.hint {
        Some(hint) => format!("{}\nhint: {hint}", p.sentence),
        None => p.sentence.clone(),
    };
    problems.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// Bytes of memory, as an instance has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MemoryStats {
    /// The whole linear memory: it never shrinks, so this is the peak.
    pub total: u64,
    pub weights: u64,
    pub arena: u64,
    /// Largest sum of pool blocks in use at once.
    pub pool_peak: u64,
}

/// A module ready to run.
pub struct Instance {
    manifest: Manifest,
    store: Store<()>,
    memory: Memory,
    arena_base: u32,
    run: TypedFunc<(u32, u32), u32>,
    status: TypedFunc<(), u32>,
    pool_stats: TypedFunc<(), u32>,
}

/// One engine for the process: compiled code and its settings are shared.
fn engine() -> Result<&'static Engine, EngineError> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.cranelift_opt_level(OptLevel::Speed).wasm_simd(true).wasm_relaxed_simd(true);
        Engine::new(&config).map_err(|error| format!("{error:#}"))
    });
    engine.as_ref().map_err(|error| EngineError::Compile(error.clone()))
}

impl Instance {
    /// Compiles and instantiates a module, and prepares its runtime.
    ///
    /// # Errors
    /// When the bytes are not a module of this project and ABI version, or do not follow the interface.
    pub fn load(bytes: &[u8]) -> Result<Instance, EngineError> {
        let manifest = link::read_manifest(bytes)?;
        let engine = engine()?;
        let module = Module::new(engine, bytes).map_err(|error| EngineError::Compile(format!("{error:#}")))?;
        let wrong = |error: wasmtime::Error| EngineError::Interface(format!("{error:#}"));
        if let Some(import) = module.imports().next() {
            return Err(EngineError::Interface(format!("it imports `{}` from `{}`", import.name(), import.module())));
        }
        let mut store = Store::new(engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).map_err(wrong)?;
        let missing = |name: &str| EngineError::Interface(format!("it exports no `{name}`"));
        let memory = instance.get_memory(&mut store, abi::MEMORY).ok_or_else(|| missing(abi::MEMORY))?;
        let arena = instance.get_global(&mut store, abi::ARENA_BASE).ok_or_else(|| missing(abi::ARENA_BASE))?;
        let arena_base = arena.get(&mut store).i32().ok_or_else(|| missing(abi::ARENA_BASE))? as u32;
        let init: TypedFunc<(), u32> = instance.get_typed_func(&mut store, "init").map_err(wrong)?;
        let run = instance.get_typed_func(&mut store, "run").map_err(wrong)?;
        let status = instance.get_typed_func(&mut store, "status").map_err(wrong)?;
        let pool_stats = instance.get_typed_func(&mut store, "pool_stats").map_err(wrong)?;
        let mut loaded = Instance { manifest, store, memory, arena_base, run, status, pool_stats };
        loaded.check_manifest()?;
        let code = init.call(&mut loaded.store, ()).map_err(|error| loaded.trap(&error, None))?;
        loaded.check(code)?;
        Ok(loaded)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Runs the model once: inputs by name, in any order; outputs in the model's.
    ///
    /// # Errors
    /// [`EngineError::Inputs`] lists every input that does not fit; [`EngineError::Status`] names the layer that failed.
    pub fn forward(&mut self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, EngineError> {
        self.write_inputs(inputs)?;
        self.run_steps(0..self.steps())?;
        self.read_outputs()
    }

    /// Copies inputs into the arena. A run may overwrite them.
    pub fn write_inputs(&mut self, inputs: &[NamedTensor]) -> Result<(), EngineError> {
        check_inputs(&self.manifest.inputs, inputs)?;
        for input in &self.manifest.inputs {
            let given = inputs.iter().find(|i| i.name == input.name).expect("checked");
            let at = (self.arena_base + input.offset) as usize;
            self.memory.data_mut(&mut self.store)[at..][..input.bytes as usize].copy_from_slice(given.tensor.bytes());
        }
        Ok(())
    }

    /// Executes steps, each one or several layers; see [`Manifest::steps`].
    pub fn run_steps(&mut self, steps: Range<usize>) -> Result<(), EngineError> {
        let code = match self.run.call(&mut self.store, (steps.start as u32, steps.end as u32)) {
            Ok(code) => code,
            Err(error) => return Err(self.trap(&error, Some(steps))),
        };
        self.check(code)
    }

    /// Copies outputs out of the arena.
    pub fn read_outputs(&self) -> Result<Vec<NamedTensor>, EngineError> {
        let data = self.memory.data(&self.store);
        let read = |output: &manifest::Tensor| {
            let bytes = &data[(self.arena_base + output.offset) as usize..][..output.bytes as usize];
            let tensor = Tensor::from_bytes(dtype(output), &shape(output), bytes).expect("checked when loaded");
            NamedTensor::new(&output.name, tensor)
        };
        Ok(self.manifest.outputs.iter().map(read).collect())
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.manifest.steps.len()
    }

    pub fn memory(&mut self) -> Result<MemoryStats, EngineError> {
        let at = match self.pool_stats.call(&mut self.store, ()) {
            Ok(at) => at,
            Err(error) => return Err(self.trap(&error, None)),
        };
        Ok(MemoryStats {
            total: self.memory.data_size(&self.store) as u64,
            weights: self.manifest.memory.weights_bytes.into(),
            arena: self.manifest.memory.arena_bytes.into(),
            pool_peak: self.word(at, core::mem::offset_of!(PoolStats, peak_bytes))?.into(),
        })
    }

    /// Every port must have a known type, the right size and a place in memory: a manifest may come from anywhere.
    fn check_manifest(&self) -> Result<(), EngineError> {
        let memory = self.memory.data_size(&self.store) as u64;
        for port in self.manifest.inputs.iter().chain(&self.manifest.outputs) {
            let wrong = |what: String| Err(EngineError::Interface(format!("`{}` {what}", port.name)));
            let Some(dtype) = DType::from_name(&port.dtype) else { return wrong(format!("has the unknown type {}", port.dtype)) };
            let bytes = port.shape.iter().try_fold(dtype.bytes() as u64, |n, d| n.checked_mul(*d));
            if bytes != Some(port.bytes.into()) {
                return wrong(format!("takes {} bytes, which is not {}", port.bytes, described(dtype, &port.shape)));
            }
            if u64::from(self.arena_base) + u64::from(port.offset) + u64::from(port.bytes) > memory {
                return wrong("lies outside the memory".into());
            }
        }
        Ok(())
    }

    /// A status code to an error that names the layer.
    fn check(&mut self, code: u32) -> Result<(), EngineError> {
        if code == Status::Ok as u32 {
            return Ok(());
        }
        let at = self.status.call(&mut self.store, ()).map_err(|error| self.trap(&error, None))?;
        let step = self.word(at, core::mem::offset_of!(abi::StatusRecord, step))?;
        let detail = self.word(at, core::mem::offset_of!(abi::StatusRecord, detail))?;
        let layers = self.layers(step as usize).unwrap_or_else(|| "no layer".into());
        Err(match Status::from_code(code) {
            Some(status) => EngineError::Status { status, step, layers, detail },
            None => EngineError::UnknownStatus { code, step, layers },
        })
    }

    /// Names of a step's layers.
    pub fn layers(&self, step: usize) -> Option<String> {
        self.manifest.steps.get(step).map(|step| layer_names(&step.layers))
    }

    fn word(&self, base: u32, offset: usize) -> Result<u32, EngineError> {
        let data = self.memory.data(&self.store);
        let bytes = data.get(base as usize + offset..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map(|b| u32::from_le_bytes(*b)).ok_or_else(|| EngineError::Interface("a record lies outside the memory".into()))
    }

    fn trap(&self, error: &wasmtime::Error, steps: Option<Range<usize>>) -> EngineError {
        let one = steps.filter(|steps| steps.len() == 1).and_then(|steps| self.layers(steps.start));
        EngineError::Trap { layers: one, cause: error.root_cause().to_string() }
    }
}

/// Layer names for people.
pub fn layer_names(layers: &[String]) -> String {
    if layers.is_empty() { "(no name)".into() } else { layers.join(" + ") }
}

/// The element type of a port whose manifest was checked.
pub fn dtype(port: &manifest::Tensor) -> DType {
    DType::from_name(&port.dtype).unwrap_or(DType::U8)
}

/// The shape of a port in the host's integers.
pub fn shape(port: &manifest::Tensor) -> Vec<usize> {
    port.shape.iter().map(|d| *d as usize).collect()
}

/// `f32[1, 3]`.
pub fn described<D: std::fmt::Debug>(dtype: DType, shape: &[D]) -> String {
    format!("{dtype}{shape:?}")
}

/// Compares given tensors with what a module takes; every difference is reported.
pub fn check_inputs(expected: &[manifest::Tensor], given: &[NamedTensor]) -> Result<(), EngineError> {
    let mut problems = vec![];
    let mut problem = |sentence: String, hint: Option<String>| problems.push(InputProblem { sentence, hint });
    for (i, tensor) in given.iter().enumerate() {
        if !expected.iter().any(|e| e.name == tensor.name) {
            let names: Vec<&str> = expected.iter().map(|e| e.name.as_str()).collect();
            let inputs = if names.is_empty() { "it takes no inputs".to_string() } else { format!("its inputs are: {}", names.join(", ")) };
            let hint = suggestion(&tensor.name, names).map_or(inputs.clone(), |s| format!("{s} {inputs}"));
            problem(format!("the model has no input `{}`", tensor.name), Some(hint));
        }
        if given[..i].iter().any(|other| other.name == tensor.name) {
            problem(format!("the input `{}` is given twice", tensor.name), None);
        }
    }
    for port in expected {
        let wanted = described(dtype(port), &port.shape);
        let Some(NamedTensor { name, tensor }) = given.iter().find(|g| g.name == port.name) else {
            problem(format!("the input `{}` is missing; expected {wanted}", port.name), None);
            continue;
        };
        let found = described(tensor.dtype, &tensor.shape);
        if tensor.dtype != dtype(port) {
            let hint = format!("convert it, e.g. array.astype(numpy.{})", numpy_name(dtype(port)));
            problem(format!("the input `{name}` has the wrong element type: expected {wanted}, found {found}"), Some(hint));
        } else if tensor.shape != shape(port) {
            problem(
                format!("the input `{name}` has the wrong shape: expected {wanted}, found {found}"),
                shape_hint(&shape(port), &tensor.shape),
            );
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(EngineError::Inputs(problems)) }
}

/// What is likely meant when a shape does not fit.
fn shape_hint(expected: &[usize], found: &[usize]) -> Option<String> {
    let elements = |shape: &[usize]| shape.iter().product::<usize>();
    if expected.len() == found.len() + 1 && expected[0] == 1 && expected[1..] == *found {
        return Some("the batch dimension is missing: array[None]".into());
    }
    if expected.len() == found.len() && !expected.is_empty() && expected[1..] == found[1..] {
        return Some(format!("the module was exported for {} at once: pass as many, or export with another --dim", expected[0]));
    }
    if let ([_, c, h, w], [fh, fw, fc]) = (expected, found)
        && (h, w, c) == (fh, fw, fc)
    {
        return Some("the channels are last here and first in the model: array.transpose(2, 0, 1)[None]".into());
    }
    if let ([_, c, h, w], [_, fh, fw, fc]) = (expected, found)
        && (h, w, c) == (fh, fw, fc)
    {
        return Some("the channels are last here and second in the model: array.transpose(0, 3, 1, 2)".into());
    }
    (elements(expected) == elements(found)).then(|| format!("the number of elements fits: array.reshape({expected:?})"))
}

fn numpy_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "float16",
        DType::BF16 | DType::F32 => "float32",
        DType::F64 => "float64",
        DType::I8 => "int8",
        DType::I16 => "int16",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::U8 => "uint8",
        DType::U16 => "uint16",
        DType::U32 => "uint32",
        DType::U64 => "uint64",
        DType::Bool => "bool_",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, dtype: &str, shape: &[u64]) -> manifest::Tensor {
        manifest::Tensor { name: name.into(), dtype: dtype.into(), shape: shape.into(), offset: 0, bytes: 0 }
    }

    fn message(given: &[NamedTensor]) -> String {
        check_inputs(&[port("image", "f32", &[1, 3, 8, 9])], given).map_or_else(|e| e.to_string(), |()| "fits".into())
    }

    fn one(name: &str, dtype: DType, shape: &[usize]) -> Vec<NamedTensor> {
        vec![NamedTensor::new(name, Tensor::zeros(dtype, shape))]
    }

    #[test]
    fn inputs_that_do_not_fit_are_named_with_a_hint() {
        let check = |given: &[NamedTensor], expected: expect_test::Expect| expected.assert_eq(&message(given));
        check(&one("image", DType::F32, &[1, 3, 8, 9]), expect_test::expect!["fits"]);
        check(
            &one("image", DType::F64, &[1, 3, 8, 9]),
            expect_test::expect![[r#"
            the input `image` has the wrong element type: expected f32[1, 3, 8, 9], found f64[1, 3, 8, 9]
            hint: convert it, e.g. array.astype(numpy.float32)"#]],
        );
        check(
            &one("image", DType::F32, &[3, 8, 9]),
            expect_test::expect![[r#"
            the input `image` has the wrong shape: expected f32[1, 3, 8, 9], found f32[3, 8, 9]
            hint: the batch dimension is missing: array[None]"#]],
        );
        check(
            &one("image", DType::F32, &[4, 3, 8, 9]),
            expect_test::expect![[r#"
            the input `image` has the wrong shape: expected f32[1, 3, 8, 9], found f32[4, 3, 8, 9]
            hint: the module was exported for 1 at once: pass as many, or export with another --dim"#]],
        );
        check(
            &one("image", DType::F32, &[1, 8, 9, 3]),
            expect_test::expect![[r#"
            the input `image` has the wrong shape: expected f32[1, 3, 8, 9], found f32[1, 8, 9, 3]
            hint: the channels are last here and second in the model: array.transpose(0, 3, 1, 2)"#]],
        );
        check(
            &one("imgae", DType::F32, &[1, 3, 8, 9]),
            expect_test::expect![[r#"
            the model has no input `imgae`
            hint: did you mean `image`? its inputs are: image
            the input `image` is missing; expected f32[1, 3, 8, 9]"#]],
        );
        check(
            &[one("image", DType::F32, &[1, 3, 8, 9]), one("image", DType::F32, &[1, 3, 8, 9])].concat(),
            expect_test::expect!["the input `image` is given twice"],
        );
    }
}
