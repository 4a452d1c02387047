//! The pipeline: load → bind → passes → lower → link → write. It decides nothing about any stage; it times them and
//! reports what they did.

use crate::beside::{self, Optimiser};
use crate::report::{ExportReport, LayerRow, PassRow, Products, Stages, StepRow, WeightedKernel};
use crate::{Config, Error, ExportOptions, write_atomically};
use ir::Graph;
use link::Linked;
use lower::Plan;
use onnx::{ImportOptions, Imported, import_bytes, import_file};
use passes::Event;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is being done, for progress displays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    Import,
    /// Calibration and what follows from it: this part.
    Quantize(String),
    /// The pass of this name.
    Pass(&'static str),
    Lower,
    Link,
    Write,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Stage::Import => f.write_str("importing the model"),
            Stage::Quantize(what) => f.write_str(what),
            Stage::Pass(name) => write!(f, "running the pass {name}"),
            Stage::Lower => f.write_str("writing kernels and planning memory"),
            Stage::Link => f.write_str("linking the module"),
            Stage::Write => f.write_str("writing the file"),
        }
    }
}

/// Where a model comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A file; external data lies beside it.
    File(&'a Path),
    /// The bytes of a file without external data.
    Bytes(&'a [u8]),
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Source<'a> {
    fn from(path: &'a P) -> Source<'a> {
        Source::File(path.as_ref())
    }
}

/// A module in memory and how it came about.
#[derive(Debug)]
pub struct Compiled {
    pub linked: Linked,
    pub report: ExportReport,
}

/// Exports `model` to the file `output`, which appears only when it is complete.
///
/// # Errors
/// Every problem of the stage that failed; see [`Error`].
pub fn export<'a>(
    model: impl Into<Source<'a>>,
    output: &Path,
    options: &ExportOptions,
    observer: &mut dyn FnMut(Stage),
) -> Result<ExportReport, Error> {
    let compiled = compile_for(model, output, options, observer)?;
    observer(Stage::Write);
    write(compiled, output, options)
}

/// Compiles `model` to a module that [`write`] can write to `output`.
pub fn compile_for<'a>(
    model: impl Into<Source<'a>>,
    output: &Path,
    options: &ExportOptions,
    observer: &mut dyn FnMut(Stage),
) -> Result<Compiled, Error> {
    // A wrong target is found before the work, not after it.
    let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let missing = format!("the folder {} does not exist", folder.display());
        return Err(Error::file("write", output, std::io::Error::new(std::io::ErrorKind::NotFound, missing)));
    }
    let stem = output.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    compile_as(model.into(), stem.as_deref(), options, observer)
}

/// Writes a module and what belongs to it.
pub fn write(compiled: Compiled, output: &Path, options: &ExportOptions) -> Result<ExportReport, Error> {
    let Compiled { linked, mut report } = compiled;
    let start = Instant::now();
    // The module last: whoever sees it finds what belongs to it.
    report.files = beside::write(&linked, output, options)?;
    write_atomically(output, &linked.wasm)?;
    report.stages.write_ms = milliseconds(start.elapsed());
    report.stages.total_ms += report.stages.write_ms;
    Ok(report)
}

/// Compiles `model` to a module in memory.
pub fn compile<'a>(model: impl Into<Source<'a>>, options: &ExportOptions, observer: &mut dyn FnMut(Stage)) -> Result<Compiled, Error> {
    compile_as(model.into(), None, options, observer)
}

/// `stem` is what the names of the files beside the module begin with.
fn compile_as(model: Source<'_>, stem: Option<&str>, options: &ExportOptions, observer: &mut dyn FnMut(Stage)) -> Result<Compiled, Error> {
    let start = Instant::now();
    let mut config = options.resolve()?;
    if let (Some(external), Some(stem)) = (&mut config.link.external_weights, stem) {
        external.stem = stem.into();
    }
    let mut stages = Stages::default();
    observer(Stage::Import);
    let Imported { mut graph, mut warnings, .. } = timed(&mut stages.import_ms, || import(model, &config.import))?;
    warnings.extend(unused_inputs(&graph));
    let nodes_before = graph.order().len();
    let prepared = timed(&mut stages.quantize_ms, || {
        crate::quantize::prepare(&graph, &options.quantize, &config, &mut |what| observer(Stage::Quantize(what)))
    })?;
    config.passes.quantize = prepared.as_ref().map(|p| p.settings.clone());
    let (passes, notes) = timed(&mut stages.passes_ms, || run_passes(&mut graph, &config, observer))?;
    let nodes_after = graph.order().len();
    let products = Products::of(&graph);
    observer(Stage::Lower);
    let plan = timed(&mut stages.lower_ms, || lower(&graph, &config))?;
    let relaxed = timed(&mut stages.lower_ms, || lower_relaxed(&graph, &config, &plan, &mut warnings))?;
    // The plans hold the weights from here on.
    drop(graph);
    observer(Stage::Link);
    let mut optimiser = if options.wasm_opt { Optimiser::find().map_err(|warning| warnings.push(warning)).ok() } else { None };
    let linked = timed(&mut stages.link_ms, || {
        link::link_optimised(&plan, relaxed.as_ref().unwrap_or(&plan), &config.link, &mut |kind, code| match &mut optimiser {
            Some(optimiser) => optimiser.optimise(kind, code),
            None => Ok(code),
        })
    })?;
    stages.total_ms = milliseconds(start.elapsed());
    let manifest = &linked.manifest;
    let report = ExportReport {
        model: plan.model.clone(),
        options: options.clone(),
        stages,
        passes,
        notes,
        nodes_before,
        nodes_after,
        products,
        sizes: (&linked.sizes).into(),
        kernels: linked.sizes.kernels.iter().map(|(name, bytes)| WeightedKernel { name: name.clone(), bytes: *bytes }).collect(),
        files: vec![],
        wasm_opt: optimiser.map(|optimiser| optimiser.report),
        quantize: prepared.map(|p| p.report),
        memory: manifest.into(),
        macs: plan.steps.iter().map(|s| s.macs).sum(),
        layers: plan.layers.iter().map(LayerRow::from).collect(),
        steps: manifest.steps.iter().map(StepRow::from).collect(),
        warnings,
    };
    Ok(Compiled { linked, report })
}

/// Imports a model, and checks what came of it.
pub fn import<'a>(model: impl Into<Source<'a>>, options: &ImportOptions) -> Result<Imported, Error> {
    let imported = match model.into() {
        Source::File(path) => import_file(path, options)?,
        Source::Bytes(bytes) => import_bytes(bytes.to_vec(), options)?,
    };
    ir::verify::verify(&imported.graph).map_err(|errors| Error::InvalidGraph(errors.iter().map(ToString::to_string).collect()))?;
    Ok(imported)
}

/// Runs the passes: what each did, and the notes on the explained rule.
pub fn run_passes(graph: &mut Graph, config: &Config, observer: &mut dyn FnMut(Stage)) -> Result<(Vec<PassRow>, Vec<String>), Error> {
    let mut times = vec![];
    let mut begin = Instant::now();
    let report = passes::run(graph, &config.passes, &mut |event| match event {
        Event::Begin(pass) => {
            observer(Stage::Pass(pass.name));
            begin = Instant::now();
        }
        Event::End(_) => times.push(milliseconds(begin.elapsed())),
    })?;
    let rows = report.passes.iter().zip(times).map(|(pass, ms)| PassRow::new(pass, ms));
    Ok((rows.collect(), report.notes.iter().map(ToString::to_string).collect()))
}

/// Lowers a graph. Its free dimensions must have bounds.
pub fn lower(graph: &Graph, config: &Config) -> Result<Plan, Error> {
    if !graph.symbols.is_empty() {
        let names: Vec<String> = graph.symbols.keys().map(ToString::to_string).collect();
        // A symbol that occurs nowhere any more hinders nobody.
        let used = |name: &String| {
            let values = graph.inputs.iter().copied().chain(graph.order().into_iter().flat_map(|n| graph.node(n).outputs.clone()));
            values.into_iter().any(|v| graph.ty(v).shape.iter().any(|d| d.symbols().iter().any(|s| **s == **name)))
        };
        let unbounded = |name: &String| graph.symbols.get(name.as_str()).is_some_and(|bound| bound.max.is_none());
        let names: Vec<String> = names.into_iter().filter(unbounded).filter(used).collect();
        if !names.is_empty() {
            return Err(Error::FreeDims { names });
        }
    }
    lower::lower(graph, &config.lower).map_err(Error::Lower)
}

/// The plan of the relaxed variants, if there are any. All variants work on the same memory; should the plans differ in
/// more than kernels, the relaxed ones do with the plain kernels.
fn lower_relaxed(graph: &Graph, config: &Config, plan: &Plan, warnings: &mut Vec<String>) -> Result<Option<Plan>, Error> {
    if !config.link.variants.iter().any(|kind| kind.relaxed()) {
        return Ok(None);
    }
    let options = lower::Options { relaxed: true, ..config.lower.clone() };
    let relaxed = lower::lower_like(graph, &options, plan).map_err(Error::Lower)?;
    match link::difference(plan, &relaxed) {
        None => Ok(Some(relaxed)),
        Some(difference) => {
            warnings.push(format!("the relaxed variants have the plain kernels, because {difference} in their plan"));
            Ok(None)
        }
    }
}

fn unused_inputs(graph: &Graph) -> Vec<String> {
    let uses = graph.use_counts();
    let unused = graph.inputs.iter().filter(|id| uses[id.0 as usize] == 0);
    unused.map(|id| format!("the input `{}` is used by nothing", graph.value(*id).name)).collect()
}

fn timed<T, E: Into<Error>>(into: &mut f64, work: impl FnOnce() -> Result<T, E>) -> Result<T, Error> {
    let start = Instant::now();
    let result = work().map_err(Into::into);
    *into = milliseconds(start.elapsed());
    result
}

/// Milliseconds with three digits after the point.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
