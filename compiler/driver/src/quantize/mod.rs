//! Quantisation around the pass: which data calibrates, which ranges are best, how near the result is to the f32 model.
//! The pass itself is a function of the graph and of what is found here.

mod data;
mod histogram;
mod images;
mod measure;
mod module;
mod observe;
pub mod options;
mod ranges;
pub mod report;
mod search;
mod together;

use crate::{Config, Error, export, write_atomically};
use data::Data;
pub use histogram::Method;
use ir::{DType, Graph};
use measure::{Accuracy, Closeness};
use module::Module;
use observe::{Held, Observer};
pub use options::{QuantizeOptions, Target};
use passes::quantize::{Applied, Feedback, Observed, Plan, Scheme, Settings, observed};
use ranges::RangesFile;
use report::{KeptRow, LayerRow, QuantizeReport, TriedRow};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A method is better than one before it in the list by more than what few samples show by chance.
const NOTICEABLE_DB: f64 = 0.25;

/// Called with what is being done.
pub type Progress<'a> = dyn FnMut(String) + 'a;

/// What the pass will be told, and the report on it.
#[derive(Debug)]
pub struct Prepared {
    pub settings: Arc<Settings>,
    pub report: QuantizeReport,
}

/// Calibrates and measures, as the options say; nothing where they ask for no quantisation.
///
/// # Errors
/// Data that cannot be read or does not fit, ranges of another model, a target that cannot be reached.
pub fn prepare(graph: &Graph, options: &QuantizeOptions, config: &Config, progress: &mut Progress) -> Result<Option<Prepared>, Error> {
    options.check(config)?;
    let Some(target) = options.quantize else { return Ok(None) };
    let float = before_quantisation(graph, config)?;
    if Plan::of(&float, &BTreeSet::new()).layers.is_empty() {
        let sentence = "the model has no layer that could be quantised: no convolution or matrix product of f32 with constant weights";
        return Err(Error::Usage(sentence.into()));
    }
    let session = Session { graph: &float, options, config, target };
    session.prepare(progress).map(Some)
}

/// The graph as `quantize_int8` will find it.
fn before_quantisation(graph: &Graph, config: &Config) -> Result<Graph, Error> {
    let mut graph = graph.clone();
    let mut config = config.clone();
    config.passes.stop_after = Some("quantize_int8".into());
    config.passes.explain = None;
    config.passes.quantize = None;
    config.passes.weights = None;
    export::run_passes(&mut graph, &config, &mut |_| {})?;
    Ok(graph)
}

struct Session<'a> {
    graph: &'a Graph,
    options: &'a QuantizeOptions,
    config: &'a Config,
    target: Target,
}

/// Ranges to try.
struct Candidate {
    method: String,
    ranges: BTreeMap<String, Observed>,
    keep: BTreeSet<String>,
}

impl Candidate {
    fn new(method: &str, ranges: BTreeMap<String, Observed>) -> Candidate {
        Candidate { method: method.into(), ranges, keep: BTreeSet::new() }
    }
}

/// Data with what the f32 model makes of the held-back part.
struct Reference {
    feedback: BTreeMap<String, Arc<Feedback>>,
    data: Data,
    samples: usize,
    held: Vec<Held>,
}

impl Session<'_> {
    fn prepare(&self, progress: &mut Progress) -> Result<Prepared, Error> {
        let (reference, candidates) = self.candidates(progress)?;
        let mut tried: Vec<TriedRow> = vec![];
        let mut best: Option<(Settings, Closeness)> = None;
        let mut method_name = String::new();
        for Candidate { method, ranges, keep } in candidates {
            let scheme = if self.target == Target::Int8Dynamic { Scheme::Dynamic } else { Scheme::Static };
            let feedback = reference.as_ref().map_or_else(BTreeMap::new, |r| r.feedback.clone());
            let settings = Settings { scheme, ranges, feedback, keep };
            let Some(reference) = &reference else {
                best = Some((settings, Closeness::default()));
                break;
            };
            progress(format!("measuring the ranges by {method}"));
            let closeness = self.measure(&settings, reference)?;
            tried.push(TriedRow::new(&method, &closeness));
            if best.as_ref().is_none_or(|(_, before)| closeness.decibels() > before.decibels() + NOTICEABLE_DB) {
                method_name = method;
                best = Some((settings, closeness));
            }
        }
        let (mut settings, mut closeness) = best.expect("there is a method");
        if let (Some(reference), false) = (&reference, settings.feedback.is_empty()) {
            // Few samples may say too little about what occurs together.
            progress("measuring weights rounded to the nearest".into());
            let nearest = Settings { feedback: BTreeMap::new(), ..settings.clone() };
            let found = self.measure(&nearest, reference)?;
            let nearest_name = format!("{method_name}, weights to the nearest");
            tried.push(TriedRow::new(&nearest_name, &found));
            if found.decibels() > closeness.decibels() {
                method_name = nearest_name;
                (settings, closeness) = (nearest, found);
            }
        }
        if let (Some(reference), Target::Int8Static, Method::Best) = (&reference, self.target, self.options.calibration)
            && let Some((spared, found)) = self.spare_depthwise(&settings, reference, &mut tried, progress)?
            && found.decibels() > closeness.decibels() + NOTICEABLE_DB
        {
            (settings, closeness) = (spared, found);
        }
        if let Some(reference) = &reference {
            let kind = self.accuracy_kind(reference);
            if self.target == Target::Mixed {
                (settings, closeness) = self.mix(&settings, reference, &mut tried, progress)?;
            } else if closeness.accuracy(kind) < self.options.wanted_accuracy() {
                let harms = self.harms(&settings, reference, progress)?;
                return Err(self.unreachable(&closeness, kind, &harms));
            }
        }
        if let Some(limit) = self.options.size_limit() {
            let bytes = self.constant_bytes(&settings)?;
            if bytes > limit {
                let [bytes, limit] = [bytes, limit].map(|n| n as f64 / 1e6);
                let sentence = format!("the target size {limit:.2} MB is not reached: the constants take {bytes:.2} MB");
                return Err(Error::Usage(format!("{sentence}\nhint: allow more, or let fewer layers stay f32")));
            }
        }
        let mut report = self.report(&settings, method_name, tried, reference.as_ref().map(|r| (r, &closeness)))?;
        if let Some(reference) = &reference {
            progress("measuring layers".into());
            self.measure_layers(&settings, reference, &mut report)?;
            if let (Some(path), Scheme::Static) = (&self.options.ranges, settings.scheme) {
                let method = report.method.clone();
                let file = RangesFile::new(&self.graph.name, reference.samples, &method, &settings);
                write_atomically(path, file.to_text()?.as_bytes())?;
            }
        }
        Ok(Prepared { settings: Arc::new(settings), report })
    }

    /// Ranges by one or several methods: from data, which also measure, or from a file.
    fn candidates(&self, progress: &mut Progress) -> Result<(Option<Reference>, Vec<Candidate>), Error> {
        let dynamic = self.target == Target::Int8Dynamic;
        let points = if dynamic { vec![] } else { observed(self.graph) };
        let Some(path) = &self.options.calibrate else {
            if dynamic {
                return Ok((None, vec![Candidate::new("rows", BTreeMap::new())]));
            }
            let path = self.options.ranges.as_ref().expect("the options were checked");
            let file = RangesFile::read(path)?;
            let missing: Vec<&str> = points.iter().map(|p| p.name.as_str()).filter(|name| !file.tensors.contains_key(*name)).collect();
            if !missing.is_empty() {
                let some = missing.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let sentence = format!("{}: {} tensors have no range there, e.g. {some}", path.display(), missing.len());
                return Err(Error::Usage(format!("{sentence}\nhint: the file belongs to another model or optimisation level")));
            }
            return Ok((None, vec![Candidate { method: file.method, ranges: file.tensors, keep: file.keep }]));
        };
        progress("compiling the f32 model with observers".into());
        let mut observer = Observer::new(self.graph, points, self.config)?;
        let data = Data::open(path, observer.manifest(), self.options.preprocess)?;
        let (samples, held) = observe::calibrate(&mut observer, &data, &mut |n| progress(format!("calibrating, sample {}", n + 1)))?;
        if dynamic {
            return Ok((Some(Reference { feedback: BTreeMap::new(), data, samples, held }), vec![Candidate::new("rows", BTreeMap::new())]));
        }
        let methods = match self.options.calibration {
            Method::Best => Method::ALL.to_vec(),
            method => vec![method],
        };
        let ranges = methods.into_iter().map(|method| Candidate::new(method.name(), observer.ranges(method))).collect();
        progress("looking at what occurs together".into());
        Ok((Some(Reference { feedback: observer.feedback(), data, samples, held }), ranges))
    }

    /// The quantised graph, before its layout is chosen.
    fn quantised(&self, settings: &Settings) -> Result<(Graph, Applied), Error> {
        let mut graph = self.graph.clone();
        let applied = passes::quantize::apply(&mut graph, settings)
            .map_err(|error| Error::Pass(passes::PassError::Op { pass: "quantize_int8", error }))?;
        Ok((graph, applied))
    }

    /// How near the outputs are on the held-back samples.
    fn measure(&self, settings: &Settings, reference: &Reference) -> Result<Closeness, Error> {
        self.measure_some(settings, reference, usize::MAX)
    }

    fn measure_some(&self, settings: &Settings, reference: &Reference, most: usize) -> Result<Closeness, Error> {
        let (graph, _) = self.quantised(settings)?;
        let mut module = Module::new(&graph, self.config)?;
        let mut closeness = Closeness::default();
        reference.for_each_held(most, &mut |held, inputs| {
            closeness.add(&held.outputs, &module.run(inputs)?.0);
            Ok(())
        })?;
        Ok(closeness)
    }

    /// Signal to noise of every stored tensor and of every layer that ends in real numbers, on some held-back samples.
    fn measure_layers(&self, settings: &Settings, reference: &Reference, report: &mut QuantizeReport) -> Result<(), Error> {
        const SAMPLES: usize = 8;
        let (graph, applied) = self.quantised(settings)?;
        let names = passes::quantize::names(self.graph);
        let number = |name: &str| names.iter().position(|n| n == name).map(|i| ir::ValueId(i as u32));
        let tensors: Vec<_> = applied.tensors.iter().filter_map(|t| Some((t, number(&t.0)?))).collect();
        let mut float = Module::with_probes(self.graph, &tensors.iter().map(|t| t.1).collect::<Vec<_>>(), self.config)?;
        let mut integer = Module::with_probes(&graph, &tensors.iter().map(|t| t.0.1).collect::<Vec<_>>(), self.config)?;
        let mut sums: Vec<Closeness> = tensors.iter().map(|_| Closeness::default()).collect();
        reference.for_each_held(SAMPLES, &mut |_, inputs| {
            let (expected, found) = (float.run(inputs)?.1, integer.run(inputs)?.1);
            for (((tensor, _), sum), (expected, found)) in tensors.iter().zip(&mut sums).zip(expected.iter().zip(&found)) {
                if expected.dtype == DType::F32 && found.dtype == DType::U8 {
                    sum.add_energy(expected, &tensor.2.real(found));
                }
            }
            Ok(())
        })?;
        for layer in &mut report.layers {
            let at = tensors.iter().position(|(tensor, _)| tensor.0 == layer.name);
            layer.snr_db = at.map(|at| sums[at].decibels());
        }
        Ok(())
    }

    fn report(
        &self,
        settings: &Settings,
        method: String,
        tried: Vec<TriedRow>,
        measured: Option<(&Reference, &Closeness)>,
    ) -> Result<QuantizeReport, Error> {
        let (mut graph, applied) = self.quantised(settings)?;
        graph.compact();
        let layers = applied.layers.iter().map(LayerRow::from).collect();
        let layer_names = |node: ir::NodeId| self.graph.node(node).origin.iter().map(ToString::to_string).collect();
        let kept =
            applied.kept.iter().map(|(name, node, why)| KeptRow { name: name.clone(), layers: layer_names(*node), why: why.text().into() });
        Ok(QuantizeReport {
            scheme: self.target,
            method: if tried.is_empty() { "ranges from a file".into() } else { method },
            samples: measured.map_or(0, |(r, _)| r.samples),
            held_back: measured.map_or(0, |(r, _)| r.held.len()),
            tried,
            snr_db: measured.map(|(_, c)| c.decibels()),
            agreement: measured.map(|(_, c)| c.agreement()),
            cosine: measured.map(|(_, c)| c.cosine()),
            constants_before: constants(self.graph),
            constants_after: constants(&graph),
            layers,
            kept: kept.collect(),
        })
    }
}

impl Session<'_> {
    /// Bytes of the constants of the quantised graph.
    fn constant_bytes(&self, settings: &Settings) -> Result<u64, Error> {
        Ok(constants(&self.quantised(settings)?.0))
    }

    /// What the accuracy is: as asked for, else by the first output's shape.
    fn accuracy_kind(&self, reference: &Reference) -> Accuracy {
        let matrix = reference.held.first().and_then(|h| h.outputs.first()).is_some_and(|o| o.tensor.rank() == 2 && o.tensor.shape[1] > 1);
        self.options.accuracy.unwrap_or(if matrix { Accuracy::Agreement } else { Accuracy::Cosine })
    }
}

/// Bytes of the constants that the outputs need.
fn constants(graph: &Graph) -> u64 {
    let mut values: Vec<_> = graph.order().into_iter().flat_map(|n| graph.node(n).inputs.clone()).collect();
    values.sort_unstable();
    values.dedup();
    values.into_iter().filter_map(|v| graph.constant(v)).map(|t| t.bytes().len() as u64).sum()
}

/// Told a held-back sample and its inputs.
type VisitHeld<'a> = dyn FnMut(&Held, &[crate::NamedTensor]) -> Result<(), Error> + 'a;

impl Reference {
    /// Visits the first `most` held-back samples.
    fn for_each_held(&self, most: usize, visit: &mut VisitHeld) -> Result<(), Error> {
        let held = &self.held[..self.held.len().min(most)];
        let Some(last) = held.last() else { return Ok(()) };
        self.data.for_each(&mut |sample, inputs| {
            if let Some(held) = held.iter().find(|h| h.sample == sample) {
                visit(held, inputs)?;
            }
            Ok(sample < last.sample)
        })?;
        Ok(())
    }
}
