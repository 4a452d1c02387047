//! One case in one mode, start to end: import, evaluate or compile and run, compare. A panic or an endless loop ends the
//! case, not the process.

use super::outcome::{Outcome, Reason};
use super::values::{compare, compare_types, read};
use super::{Case, Mode, random};
use ir::{Dim, Graph, Tensor};
use onnx::proto::ModelProto;
use onnx::{Binding, ImportOptions};
use prost::Message;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};
use wasm_torch::export::{import, lower, milliseconds, run_passes};
use wasm_torch::{Error, ExportOptions, Instance, NamedTensor};

/// Milliseconds by stage.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Times {
    pub import: f64,
    pub passes: f64,
    pub lower: f64,
    pub link: f64,
    /// Compiling the module to machine code, and instantiation.
    pub load: f64,
    /// Evaluation, or the module's run.
    pub run: f64,
}

/// What became of a case in one mode.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub outcome: Outcome,
    /// What a pass means less, or needs more, than usual.
    pub note: Option<String>,
    pub times: Times,
}

impl Run {
    pub fn status(&self) -> super::Status {
        self.outcome.as_ref().err().map_or(super::Status::Pass, |reason| reason.status)
    }

    /// `pass`, with what was not compared, or status, category and detail.
    pub fn text(&self) -> String {
        match (&self.outcome, &self.note) {
            (Err(reason), _) => reason.text(),
            (Ok(()), None) => "pass".into(),
            (Ok(()), Some(note)) => format!("pass ({note})"),
        }
    }
}

/// Names of the threads in which cases run.
const THREAD: &str = "suite case";
/// The naive evaluator recurses nowhere deep, but unoptimised frames are large.
const STACK: usize = 32 << 20;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics in the threads of cases are kept as text instead of being printed.
pub fn record_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() != Some(THREAD) {
                return before(info);
            }
            let message = info.payload_as_str().unwrap_or("of unknown type").to_string();
            let file = info.location().map_or(String::new(), |l| format!("{}: ", l.file()));
            PANIC.set(Some(format!("{file}{message}")));
        }));
    });
}

/// Runs a case in a thread of its own. One that takes longer than `limit` is left alone until the process ends.
pub fn guarded(case: &Case, mode: Mode, limit: Duration) -> Run {
    let (send, receive) = mpsc::channel();
    let owned = case.clone();
    let work = move || {
        let (mut times, mut note) = (Times::default(), None);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attempt(&owned, mode, &mut times, &mut note)));
        let outcome = outcome.unwrap_or_else(|_| Err(Reason::fail("panic", PANIC.take().unwrap_or_default())));
        // Nobody listens any more after the limit.
        let _ = send.send(Run { outcome, note, times });
    };
    let spawned = std::thread::Builder::new().name(THREAD.into()).stack_size(STACK).spawn(work);
    if let Err(error) = spawned {
        return failed(Reason::fail("other", format!("no thread: {error}")));
    }
    receive.recv_timeout(limit).unwrap_or_else(|_| failed(Reason::fail("timeout", format!("more than {} s", limit.as_secs()))))
}

fn failed(reason: Reason) -> Run {
    Run { outcome: Err(reason), note: None, times: Times::default() }
}

/// Where only binding inputs helps, the reason says whether that would.
fn attempt(case: &Case, mode: Mode, times: &mut Times, note: &mut Option<String>) -> Outcome {
    let outcome = run(case, mode, false, times, note);
    match outcome {
        Err(reason) if reason.category == "run-time" => {
            let bound = run(case, mode, true, &mut Times::default(), note);
            let more = match bound {
                Ok(()) => "passes when the input is bound".to_string(),
                Err(bound) => format!("with the input bound: {bound}"),
            };
            Err(reason.because(more))
        }
        outcome => outcome,
    }
}

/// The whole way. `bind` makes constants of the small inputs.
fn run(case: &Case, mode: Mode, bind: bool, times: &mut Times, note: &mut Option<String>) -> Outcome {
    let path = case.folder.join("model.onnx");
    let data = case.folder.join("test_data_set_0");
    let mut options = ImportOptions::default();
    let mut bound = vec![];
    if bind {
        let tensors = read(&data, "input", &case.inputs)?;
        for (i, (name, tensor)) in input_names(case).into_iter().zip(tensors).enumerate() {
            if tensor.rank() <= 1 && tensor.len() <= 64 {
                options.bind_inputs.push((name, Binding::Tensor(tensor)));
                bound.push(i);
            }
        }
    }
    let mut imported = timed(&mut times.import, || import(&path, &options))?;
    let inputs = read(&data, "input", &case.inputs)?;
    let inputs: Vec<_> = inputs.into_iter().enumerate().filter(|(i, _)| !bound.contains(i)).map(|(_, tensor)| tensor).collect();
    let expected = read(&data, "output", &case.outputs)?;
    options.dims = sizes_by_data(&imported.graph, &expected);
    if !options.dims.is_empty() {
        let given: Vec<String> = options.dims.iter().map(|(name, size)| format!("--dim {name}={size}")).collect();
        *note = Some(format!("with {}: the file does not declare how many there are", given.join(" ")));
        imported = import(&path, &options)?;
    }
    let found = match mode {
        Mode::Eval => timed(&mut times.run, || ir::eval::eval(&imported.graph, &inputs).map_err(Error::from))?,
        Mode::Wasm => {
            if !imported.graph.symbols.is_empty() {
                let sizes = ir::eval::unify(&imported.graph, &inputs).map_err(Error::from)?;
                options.dims.extend(sizes.into_iter().map(|(name, size)| (name.to_string(), size)));
                imported = import(&path, &options)?;
            }
            let mut graph = imported.graph;
            let names: Vec<String> = graph.inputs.iter().map(|id| graph.value(*id).name.clone()).collect();
            let variants = Some(vec![abi::manifest::BASELINE.to_string()]);
            let config = ExportOptions { variants, ..ExportOptions::default() }.resolve()?;
            timed(&mut times.passes, || run_passes(&mut graph, &config, &mut |_| {}))?;
            let plan = timed(&mut times.lower, || lower(&graph, &config))?;
            let linked = timed(&mut times.link, || link::link(&plan, &config.link).map_err(Error::from))?;
            let mut instance = timed(&mut times.load, || Instance::load(&linked.wasm).map_err(Error::from))?;
            let inputs: Vec<NamedTensor> = names.into_iter().zip(inputs).map(|(name, tensor)| NamedTensor { name, tensor }).collect();
            let outputs = timed(&mut times.run, || instance.forward(&inputs).map_err(Error::from))?;
            outputs.into_iter().map(|output| output.tensor).collect()
        }
    };
    match random::reason(&case.path()) {
        Some(why) => {
            *note = Some(format!("types and shapes only: {why}"));
            compare_types(&expected, &found)
        }
        None => compare(&expected, &found, case.rtol, case.atol),
    }
}

/// Sizes of outputs that follow from data and have no size in the file: what the user, who knows a bound, gives as `--dim`.
fn sizes_by_data(graph: &Graph, expected: &[Tensor]) -> Vec<(String, i64)> {
    let of_inputs: BTreeSet<_> = graph.inputs.iter().flat_map(|id| &graph.ty(*id).shape).flat_map(Dim::symbols).collect();
    let outputs = graph.outputs.iter().zip(expected);
    let dims = outputs.flat_map(|(output, tensor)| graph.ty(output.value).shape.iter().zip(&tensor.shape));
    let mut sizes = BTreeMap::new();
    for (dim, size) in dims {
        if let Some(symbol) = dim.as_symbol().filter(|symbol| !of_inputs.contains(symbol)) {
            sizes.insert(symbol.to_string(), i64::try_from(*size).unwrap_or(i64::MAX));
        }
    }
    sizes.into_iter().collect()
}

fn timed<T>(into: &mut f64, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Reason> {
    let start = Instant::now();
    let result = work();
    *into = milliseconds(start.elapsed());
    result.map_err(Reason::from)
}

fn model(case: &Case) -> Option<ModelProto> {
    ModelProto::decode(&std::fs::read(case.folder.join("model.onnx")).ok()?[..]).ok()
}

/// The inputs that a caller gives.
fn input_names(case: &Case) -> Vec<String> {
    let Some(graph) = model(case).and_then(|m| m.graph) else { return vec![] };
    let initializers: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    graph.input.iter().map(|i| i.name()).filter(|name| !initializers.contains(name)).map(String::from).collect()
}

/// The operators of a case's graph, sorted, with their domains unless that is the default one.
pub fn operators(case: &Case) -> Vec<String> {
    let nodes = model(case).and_then(|m| m.graph).map(|g| g.node).unwrap_or_default();
    let name = |n: &onnx::proto::NodeProto| match n.domain() {
        "" => n.op_type().to_string(),
        domain => format!("{domain}::{}", n.op_type()),
    };
    nodes.iter().map(name).collect::<BTreeSet<_>>().into_iter().collect()
}
