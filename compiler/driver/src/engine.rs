//! Runs modules in wasmtime, through the ABI alone: instances, tensors in and out, single steps, statistics of memory. It
//! knows no model and no ONNX.

mod choose;
mod host;
mod inputs;
mod memory;
mod peek;
mod state;
mod stop;
mod threads;

use abi::manifest::{self, Manifest};
use abi::{PoolStats, Status};
use choose::{choose, external_weights};
use host::Store;
pub use inputs::{SymbolValues, check_inputs, shape_at, spelled};
use ir::{DType, Tensor};
use memory::{Memory, SharedWord};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
pub use stop::StopHandle;
use threads::{Exports, Workers};
use wasmtime::{Engine, Module, Trap, TypedFunc, UpdateDeadline};

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
    #[error("the module has {what}; it has: {names}\nhint: export with --variants all")]
    Variant { what: String, names: String },
    #[error("the memory cannot be created: {0}")]
    Memory(String),
    #[error("the module starts with {needed} bytes of memory, which is more than the limit of {limit}")]
    MemoryLimit { needed: u64, limit: u64 },
    #[error("the threads failed: {0}")]
    Threads(String),
    #[error("the weights {file} cannot be read: {why}\nhint: keep the files of an export with --external-weights in one folder")]
    ExternalWeights { file: String, why: String },
    #[error("{}", problems(.0))]
    Inputs(Vec<InputProblem>),
    #[error("the module stopped at step {step} ({layers}): {}{}", .status.text(), found(*.status, *.detail))]
    Status { status: Status, step: u32, layers: String, detail: u32 },
    #[error("the module stopped with the unknown status {code} at step {step} ({layers})")]
    UnknownStatus { code: u32, step: u32, layers: String },
    #[error("the module trapped{}: {cause}\nhint: the file may be damaged: export the model again; if that traps too, it is a bug of the compiler", match .layers { Some(l) => format!(" in {l}"), None => String::new() })]
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
    /// Allocations served by a block that was there, and those that took fresh memory.
    pub pool_hits: u64,
    pub pool_misses: u64,
}

/// How a module is loaded. The default takes the best variant for one thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads that compute, the caller's included; `None` and 1: the caller's alone.
    pub threads: Option<u32>,
    /// The variant by name instead of the best one.
    pub variant: Option<String>,
    /// Where weights that are not in the module lie: the module's folder.
    pub folder: Option<PathBuf>,
    /// Most bytes that the memory may grow to.
    pub memory_limit: Option<u64>,
    /// A [`StopHandle`] takes effect within a step, also where memory is not shared. The code is a few per cent slower.
    pub interruptible: bool,
    /// A folder of the user's own where compiled code is kept.
    pub cache: Option<PathBuf>,
}

/// A module ready to run.
pub struct Instance {
    manifest: Manifest,
    variant: String,
    /// As the options had it, and what it was compiled to.
    options: LoadOptions,
    module: Module,
    whole: bool,
    store: Store,
    memory: Memory,
    arena_base: u32,
    run: TypedFunc<(u32, u32), u32>,
    status: TypedFunc<(), u32>,
    pool_stats: TypedFunc<(), u32>,
    threads: Option<(Exports, Option<Workers>)>,
    stop: Option<StopHandle>,
    /// Values of the manifest's symbols in the run at hand.
    sizes: SymbolValues,
    interrupted: bool,
}

impl Instance {
    /// Compiles and instantiates the file's own code on one thread, and prepares its runtime. See [`Instance::load_with`].
    ///
    /// # Errors
    /// When the bytes are not a module of this project and ABI version, or do not follow the interface.
    pub fn load(bytes: &[u8]) -> Result<Instance, EngineError> {
        let variant = link::read_manifest(bytes)?.variant;
        Instance::load_with(bytes, &LoadOptions { variant: Some(variant), ..LoadOptions::default() })
    }

    /// Compiles and instantiates one of the file's variants, starts its threads and prepares its runtime.
    ///
    /// # Errors
    /// As [`Instance::load`]; also when no variant fits the options, threads cannot be started or weights are missing.
    pub fn load_with(bytes: &[u8], options: &LoadOptions) -> Result<Instance, EngineError> {
        let image = link::read_image(bytes)?;
        let variant = choose(&image.manifest, options, options.threads())?;
        let code = image.variant(&variant).ok_or_else(|| damaged(&variant))?;
        // The file as it is needs no host that writes its data.
        let mut whole = variant == image.manifest.variant && image.manifest.external_weights.is_none() && options.cache.is_none();
        let interruptible = options.interruptible && !variant.contains("threads");
        let engine = host::engine(interruptible)?;
        let mut module = host::compile(engine, if whole { bytes } else { &code }, options.cache.as_deref())?;
        if whole && module.imports().len() > 0 {
            whole = false;
            module = host::compile(engine, &code, None)?;
        }
        Instance::instantiate(engine, image, variant, module, whole, options.clone())
    }

    /// Another instance of the same code with a memory of its own, from the bytes that this one was loaded from: for a second
    /// thread, or where this one was interrupted in the middle of a step.
    ///
    /// # Errors
    /// As [`Instance::load_with`].
    pub fn again(&self, bytes: &[u8]) -> Result<Instance, EngineError> {
        let image = link::read_image(bytes)?;
        if image.manifest != self.manifest {
            return Err(EngineError::Interface("it is not the file that was loaded before".into()));
        }
        let engine = host::engine(self.stop_handle().engine.is_some())?;
        Instance::instantiate(engine, image, self.variant.clone(), self.module.clone(), self.whole, self.options.clone())
    }

    /// `whole`: the module holds its own data.
    fn instantiate(
        engine: &'static Engine,
        image: link::Image<'_>,
        variant: String,
        module: Module,
        whole: bool,
        options: LoadOptions,
    ) -> Result<Instance, EngineError> {
        let threads = options.threads();
        let interruptible = options.interruptible && !variant.contains("threads");
        let mut store = host::store(engine, options.memory_limit);
        // A run sets its own deadline; `init` runs before any.
        store.set_epoch_deadline(u64::MAX >> 1);
        let external = external_weights(&image.manifest, options.folder.as_deref())?;
        let mut pages = (image.manifest.memory.initial_pages, image.manifest.memory.maximum_pages);
        if let Some(limit) = options.memory_limit {
            let needed = u64::from(pages.0) * PAGE;
            if needed > limit {
                return Err(EngineError::MemoryLimit { needed, limit });
            }
            pages.1 = pages.1.min(u32::try_from(limit / PAGE).unwrap_or(u32::MAX));
        }
        let mut data = image.data.clone();
        let mut address = image.manifest.memory.weights_base;
        for bytes in &external {
            data.push(link::DataSegment { address, bytes });
            // Past the end of the memory is an error where the data is written.
            address = address.saturating_add(bytes.len() as u32);
        }
        let wrong = |error: wasmtime::Error| EngineError::Interface(format!("{error:#}"));
        let missing = |name: &str| EngineError::Interface(format!("it exports no `{name}`"));
        let mut given = vec![];
        let mut memory = None;
        for import in module.imports() {
            match import.ty().memory() {
                Some(ty) if given.is_empty() && (import.module(), import.name()) == (abi::MEMORY_MODULE, abi::MEMORY) => {
                    let new = Memory::new(engine, &mut store, ty.is_shared(), pages, &data)?;
                    given.push(new.as_extern());
                    memory = Some(new);
                }
                _ => return Err(EngineError::Interface(format!("it imports `{}` from `{}`", import.name(), import.module()))),
            }
        }
        let instance = wasmtime::Instance::new(&mut store, &module, &given).map_err(wrong)?;
        let memory = match memory {
            Some(memory) => memory,
            None => {
                let memory = Memory::Own(instance.get_memory(&mut store, abi::MEMORY).ok_or_else(|| missing(abi::MEMORY))?);
                for segment in if whole { &[][..] } else { &data } {
                    let outside = || EngineError::Interface("data lies outside the memory".into());
                    memory.write(&mut store, segment.address as usize, segment.bytes).ok_or_else(outside)?;
                }
                memory
            }
        };
        drop(data);
        let arena = instance.get_global(&mut store, abi::ARENA_BASE).ok_or_else(|| missing(abi::ARENA_BASE))?;
        let arena_base = arena.get(&mut store).i32().ok_or_else(|| missing(abi::ARENA_BASE))? as u32;
        let init: TypedFunc<(), u32> = instance.get_typed_func(&mut store, "init").map_err(wrong)?;
        let run = instance.get_typed_func(&mut store, "run").map_err(wrong)?;
        let status = instance.get_typed_func(&mut store, "status").map_err(wrong)?;
        let pool_stats = instance.get_typed_func(&mut store, "pool_stats").map_err(wrong)?;
        let stop_flag: TypedFunc<(), u32> = instance.get_typed_func(&mut store, "stop_flag").map_err(wrong)?;
        let manifest = image.manifest;
        let mut loaded = Instance {
            manifest,
            variant,
            options,
            module,
            whole,
            store,
            memory,
            arena_base,
            run,
            status,
            pool_stats,
            threads: None,
            stop: None,
            sizes: vec![],
            interrupted: false,
        };
        loaded.check_manifest()?;
        let code = init.call(&mut loaded.store, ()).map_err(|error| loaded.trap(&error, None))?;
        loaded.check(code)?;
        let mut flag = None;
        if let Memory::Shared(shared) = &loaded.memory {
            let at = stop_flag.call(&mut loaded.store, ()).map_err(wrong)?;
            flag = SharedWord::new(shared, at);
            let exports = Exports::of(&mut loaded.store, &instance).map_err(wrong)?;
            let workers = match threads {
                1 => None,
                n => Some(exports.start(engine, &mut loaded.store, &loaded.module, &loaded.memory, n - 1)?),
            };
            loaded.threads = Some((exports, workers));
        }
        let stop = StopHandle { asked: Arc::default(), flag, engine: interruptible.then_some(engine) };
        if interruptible {
            let asked = stop.asked.clone();
            loaded.store.epoch_deadline_callback(move |_| {
                Ok(if asked.load(Ordering::SeqCst) { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
            });
        }
        loaded.stop = Some(stop);
        Ok(loaded)
    }

    /// Name of the variant that runs.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    /// Something that stops runs of this instance from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone().expect("set when loaded")
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
        let kept = self.kept_sizes();
        self.sizes = inputs::check_inputs_with(&self.manifest, inputs, &kept)?;
        for (symbol, value) in self.manifest.symbols.iter().zip(&self.sizes).filter(|(symbol, _)| !symbol.kept && !symbol.found) {
            let at = (self.arena_base + symbol.offset) as usize;
            self.memory.write(&mut self.store, at, &(*value as i32).to_le_bytes()).expect("checked when loaded");
        }
        for input in &self.manifest.inputs {
            let given = inputs.iter().find(|i| i.name == input.name).expect("checked");
            let at = (self.arena_base + input.offset) as usize;
            self.memory.write(&mut self.store, at, given.tensor.bytes()).expect("checked when loaded");
        }
        Ok(())
    }

    /// Executes steps, each one or several layers (see [`Manifest::steps`]), until one outside of the range is due: the step
    /// to go on with. That is the range's end, unless a branch leads elsewhere.
    pub fn run_steps(&mut self, steps: Range<usize>) -> Result<usize, EngineError> {
        let stop = self.stop_handle();
        if stop.engine.is_some() {
            self.store.set_epoch_deadline(1);
        }
        // Where nobody can reach into the memory meanwhile, a stop takes effect between calls.
        let watched = Arc::strong_count(&stop.asked) > 2 && stop.flag.is_none() && stop.engine.is_none();
        let mut next = steps.start;
        loop {
            if stop.flag.is_none() && stop.asked.load(Ordering::SeqCst) {
                stop.clear();
                return Err(self.cancelled(next));
            }
            let call = if watched && !steps.is_empty() { next..next + 1 } else { steps.clone() };
            let code = match self.run.call(&mut self.store, (call.start as u32, call.end as u32)) {
                Ok(code) => code,
                Err(error) if error.downcast_ref() == Some(&Trap::Interrupt) => {
                    stop.clear();
                    self.interrupted = true;
                    return Err(self.cancelled(call.start));
                }
                Err(error) => return Err(self.trap(&error, Some(call))),
            };
            let failure = self.threads.as_ref().and_then(|(_, workers)| workers.as_ref()?.failure());
            if code == Status::WorkerFailed as u32 {
                return Err(EngineError::Threads(failure.unwrap_or_else(|| "a thread failed before".into())));
            }
            if code == Status::Cancelled as u32 {
                stop.clear();
            }
            self.check(code)?;
            next = self.next_step()?;
            if !watched || !steps.contains(&next) {
                return Ok(next);
            }
        }
    }

    /// The step after the last call of `run`, which succeeded.
    fn next_step(&mut self) -> Result<usize, EngineError> {
        let at = self.status.call(&mut self.store, ()).map_err(|error| self.trap(&error, None))?;
        Ok(self.word(at, core::mem::offset_of!(abi::StatusRecord, step))? as usize)
    }

    /// A stop in the middle of a step, or a trap, left the instance in an unknown state; see [`Instance::again`].
    pub fn interrupted(&self) -> bool {
        self.interrupted
    }

    fn cancelled(&self, step: usize) -> EngineError {
        let layers = self.layers(step).unwrap_or_default();
        EngineError::Status { status: Status::Cancelled, step: step as u32, layers, detail: 0 }
    }

    /// Copies the bytes of one input, by its place in the manifest; as many as it has.
    ///
    /// # Errors
    /// When there is no such input, its sizes are free or the number of bytes is another.
    pub fn write_input(&mut self, input: usize, bytes: &[u8]) -> Result<(), EngineError> {
        let port = self.manifest.inputs.get(input).filter(|port| port.sizes.is_none() && port.bytes as usize == bytes.len());
        let Some(port) = port else { return Err(EngineError::Interface(format!("input {input} does not take {} bytes", bytes.len()))) };
        self.memory.write(&mut self.store, (self.arena_base + port.offset) as usize, bytes).expect("checked when loaded");
        Ok(())
    }

    /// Copies the bytes of one output, by its place in the manifest; as many as it has.
    ///
    /// # Errors
    /// As [`Instance::write_input`].
    pub fn read_output(&self, output: usize, into: &mut [u8]) -> Result<(), EngineError> {
        let port = self.manifest.outputs.get(output).filter(|port| port.sizes.is_none() && port.bytes as usize == into.len());
        let Some(port) = port else { return Err(EngineError::Interface(format!("output {output} does not have {} bytes", into.len()))) };
        self.memory.read_into(&self.store, (self.arena_base + port.offset) as usize, into).expect("checked when loaded");
        Ok(())
    }

    /// Copies outputs out of the arena.
    pub fn read_outputs(&self) -> Result<Vec<NamedTensor>, EngineError> {
        let sizes = self.with_found(&self.sizes);
        let read = |output: &manifest::Tensor| {
            let at = (self.arena_base + output.offset) as usize;
            let shape = shape_at(&self.manifest, output, &sizes);
            let bytes = shape.iter().product::<usize>() * dtype(output).bytes();
            let bytes = self.memory.read(&self.store, at, bytes).expect("checked when loaded");
            let tensor = Tensor::from_bytes(dtype(output), &shape, &bytes).expect("checked when loaded");
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
            total: self.memory.size(&self.store),
            weights: self.manifest.memory.weights_bytes.into(),
            arena: self.manifest.memory.arena_bytes.into(),
            pool_peak: self.word(at, core::mem::offset_of!(PoolStats, peak_bytes))?.into(),
            pool_hits: self.word(at, core::mem::offset_of!(PoolStats, hits))?.into(),
            pool_misses: self.word(at, core::mem::offset_of!(PoolStats, misses))?.into(),
        })
    }

    /// Every port must have a known type, the right size and a place in memory: a manifest may come from anywhere.
    fn check_manifest(&self) -> Result<(), EngineError> {
        let memory = self.memory.size(&self.store);
        for symbol in &self.manifest.symbols {
            let outside = u64::from(self.arena_base) + u64::from(symbol.offset) + 4 > memory;
            if outside || symbol.min < 0 || symbol.max > i64::from(i32::MAX) || symbol.min > symbol.max {
                return Err(EngineError::Interface(format!("the size `{}` cannot be used", symbol.name)));
            }
        }
        for manifest::State { tensor, strides, .. } in &self.manifest.states {
            let Some(strides) = strides else { continue };
            let last = tensor
                .shape
                .iter()
                .zip(strides)
                .try_fold(0u64, |sum, (size, stride)| sum.checked_add(size.checked_sub(1)?.checked_mul(*stride)?));
            let size = DType::from_name(&tensor.dtype).map_or(0, DType::bytes) as u64;
            let end =
                last.and_then(|last| (last + 1).checked_mul(size)?.checked_add(u64::from(self.arena_base) + u64::from(tensor.offset)));
            if strides.len() != tensor.shape.len() || end.is_none_or(|end| end > memory) {
                return Err(EngineError::Interface(format!("`{}` lies outside the memory", tensor.name)));
            }
        }
        let states = self.manifest.states.iter().map(|state| &state.tensor);
        for port in self.manifest.inputs.iter().chain(&self.manifest.outputs).chain(states) {
            let wrong = |what: String| Err(EngineError::Interface(format!("`{}` {what}", port.name)));
            let Some(dtype) = DType::from_name(&port.dtype) else { return wrong(format!("has the unknown type {}", port.dtype)) };
            let bytes = port.shape.iter().try_fold(dtype.bytes() as u64, |n, d| n.checked_mul(*d));
            if port.sizes.as_ref().is_some_and(|sizes| sizes.len() != port.shape.len()) {
                return wrong("has a wrong number of sizes".into());
            }
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
        let bytes = self.memory.read(&self.store, base as usize + offset, 4);
        bytes
            .and_then(|b| b.first_chunk().copied())
            .map(u32::from_le_bytes)
            .ok_or_else(|| EngineError::Interface("a record lies outside the memory".into()))
    }

    fn trap(&mut self, error: &wasmtime::Error, steps: Option<Range<usize>>) -> EngineError {
        self.interrupted = true;
        let one = steps.filter(|steps| steps.len() == 1).and_then(|steps| self.layers(steps.start));
        EngineError::Trap { layers: one, cause: error.root_cause().to_string() }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some((exports, Some(workers))) = self.threads.take() {
            exports.stop(&mut self.store, workers);
        }
    }
}

impl LoadOptions {
    fn threads(&self) -> u32 {
        self.threads.unwrap_or(1).max(1)
    }
}

/// What a status says about its cause, for people.
fn found(status: Status, detail: u32) -> String {
    match status {
        Status::Ok | Status::OutOfMemory | Status::Cancelled | Status::WorkerFailed => String::new(),
        // Indices may be negative.
        Status::IndexOutOfRange => format!(" (index {})", detail as i32),
        Status::SizeOutOfBounds => format!(" (found {detail})"),
        Status::StepOutOfRange => format!(" (of {detail} steps)"),
        Status::InvalidInput => format!(" (detail {detail})"),
    }
}

fn damaged(variant: &str) -> EngineError {
    EngineError::Interface(format!("the section of the variant {variant} is damaged"))
}

const PAGE: u64 = 65536;

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
