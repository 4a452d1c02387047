//! What the cross-crate tests, the demo and the browser cases share: models with goldens, exported and run in wasmtime.

pub mod suite;
pub mod synthetic;
pub mod zoo;

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use wasm_torch::compare::{Difference, Tolerance, argmax, compare};
use wasm_torch::options::DimOption;
use wasm_torch::quantize::{Method, QuantizeOptions, Target};
use wasm_torch::{Error, ExportOptions, Instance, ModelOptions, NamedTensor, npz};

pub use ir::Tensor;
pub use passes::Level;

/// The folder `models` of the repository.
pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

/// A model and what it computes on given inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub model: PathBuf,
    pub golden: PathBuf,
    /// Makes an 8-bit module, with these ranges; its results are near the golden ones.
    pub ranges: Option<Ranges>,
}

/// Where the ranges of an 8-bit module come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    File(PathBuf),
    /// From the golden file's inputs.
    Golden,
}

/// All committed models with goldens, in order of name: digits and mlp by both exporters, whole graphs, single operators.
pub fn cases() -> Vec<Case> {
    let models = models();
    let mut cases = vec![];
    for folder in ["digits", "mlp"] {
        for exporter in ["dynamo", "legacy"] {
            let model = models.join(folder).join(format!("{folder}.{exporter}.onnx"));
            cases.push(Case { name: format!("{folder}.{exporter}"), model, golden: models.join(folder).join("golden.npz"), ranges: None });
        }
    }
    cases.extend(folder_cases(&models.join("cases"), ""));
    cases.extend(folder_cases(&models.join("cases/flow"), "flow/"));
    cases.extend(folder_cases(&models.join("cases/ops"), "ops/"));
    cases
}

/// Models whose 8-bit modules must compute the same bits on every engine.
pub fn quantized_cases() -> Vec<Case> {
    let (digits, ranges) = (models().join("digits"), models().join("quantized/digits.ranges.json"));
    let (model, golden) = (digits.join("digits.dynamo.onnx"), digits.join("golden.npz"));
    let mut cases = vec![Case { name: "digits.int8".into(), model, golden, ranges: Some(Ranges::File(ranges)) }];
    for (name, network) in [("mobilenet_v2.int8", "mobilenet_v2_imagenet.dynamo"), ("resnet18.int8", "resnet18.dynamo")] {
        let file = |extension: &str| Some(cached_models()?.join(format!("{network}.{extension}"))).filter(|path| path.exists());
        match (file("onnx"), file("npz")) {
            (Some(model), Some(golden)) => cases.push(Case { name: name.into(), model, golden, ranges: Some(Ranges::Golden) }),
            _ => eprintln!("SKIPPED {name}: the cache has no {network}; make it with models/torchvision/export.py"),
        }
    }
    cases
}

/// The folder of the models that are too big to keep.
fn cached_models() -> Option<PathBuf> {
    let cache = std::env::var_os("WASM_TORCH_CACHE").map(PathBuf::from);
    Some(cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/wasm-torch")))?.join("models"))
}

/// The models of a folder that have a golden of the same name beside them.
fn folder_cases(folder: &Path, prefix: &str) -> Vec<Case> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut models: Vec<PathBuf> =
        files.filter_map(|f| Some(f.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    models.sort();
    let case = |model: PathBuf| {
        let golden = model.with_extension("npz");
        let name = format!("{prefix}{}", model.file_stem()?.to_string_lossy());
        golden.exists().then_some(Case { name, model, golden, ranges: None })
    };
    models.into_iter().filter_map(case).collect()
}

impl Case {
    /// The arrays of the golden file.
    pub fn arrays(&self) -> Result<Vec<NamedTensor>, Error> {
        npz::read_npz(&self.golden)
    }

    /// A small graph: its module has the baseline's code only, which keeps the browsers' tests short.
    fn is_operator(&self) -> bool {
        self.name.starts_with("ops/") || self.name.starts_with("flow/")
    }

    /// The kinds of code of the module; all without a list.
    fn variants(&self) -> Option<Vec<String>> {
        let some: &[&str] = match () {
            () if self.is_operator() => &["baseline"],
            () => return None,
        };
        Some(some.iter().map(ToString::to_string).collect())
    }

    /// The module at a level; symbolic dimensions take their sizes from the golden's inputs.
    pub fn compile(&self, level: Level) -> Result<Vec<u8>, Error> {
        let arrays = self.arrays()?;
        let options = ExportOptions {
            level: Some(level),
            model: ModelOptions { dims: dims(&self.model, &arrays)?, ..ModelOptions::default() },
            quantize: QuantizeOptions {
                quantize: self.ranges.is_some().then_some(Target::Int8Static),
                ranges: if let Some(Ranges::File(file)) = &self.ranges { Some(file.clone()) } else { None },
                calibrate: (self.ranges == Some(Ranges::Golden)).then(|| self.golden.clone()),
                calibration: Method::MinMax,
                ..QuantizeOptions::default()
            },
            variants: self.variants(),
            ..ExportOptions::default()
        };
        Ok(wasm_torch::compile(&self.model, &options, &mut |_| {})?.linked.wasm)
    }

    /// Exports at a level, runs and compares.
    pub fn check(&self, level: Level, tolerance: Tolerance) -> Result<Evaluation, Error> {
        evaluate(&self.compile(level)?, &self.arrays()?, tolerance)
    }
}

/// Sizes of the free dimensions that whole golden inputs determine.
fn dims(model: &Path, arrays: &[NamedTensor]) -> Result<Vec<DimOption>, Error> {
    let graph = onnx::import_file(model, &onnx::ImportOptions::default())?.graph;
    if graph.symbols.is_empty() {
        return Ok(vec![]);
    }
    let input = |id: &ir::ValueId| {
        let name = &graph.value(*id).name;
        let found = find(arrays, &[&format!("input:{name}")]);
        found.map(|f| f.tensor.clone()).ok_or_else(|| Error::Usage(format!("the golden file has no input `{name}`")))
    };
    let inputs = graph.inputs.iter().map(input).collect::<Result<Vec<_>, _>>()?;
    let sizes = ir::eval::unify(&graph, &inputs)?;
    Ok(sizes.into_iter().map(|(name, size)| DimOption::bound(&*name, size)).collect())
}

/// What a module computed for a golden file.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// How often the module ran.
    pub calls: usize,
    /// One per output, calls stacked along a new first axis.
    pub outputs: Vec<NamedTensor>,
    pub differences: Vec<Difference>,
    /// Lower-case hex of each output's bytes, calls concatenated.
    pub sha256: Vec<(String, String)>,
    /// Index of the largest element of the first output in each row of labels; empty without labels.
    pub predictions: Vec<usize>,
    /// The same of the golden output.
    pub golden_predictions: Vec<usize>,
    pub labels: Vec<usize>,
}

impl Evaluation {
    pub fn ok(&self) -> bool {
        self.differences.iter().all(|d| d.ok)
    }

    /// How many predictions equal the golden ones.
    pub fn agreeing(&self) -> usize {
        self.predictions.iter().zip(&self.golden_predictions).filter(|(a, b)| a == b).count()
    }

    /// How many predictions equal the labels.
    pub fn correct(&self) -> usize {
        self.predictions.iter().zip(&self.labels).filter(|(a, b)| a == b).count()
    }
}

fn find<'a>(arrays: &'a [NamedTensor], keys: &[&str]) -> Option<&'a NamedTensor> {
    arrays.iter().find(|a| keys.contains(&a.name.as_str()))
}

/// Runs a module on golden arrays: keys `input:NAME` and `output:NAME`; `images` and `logits` stand for the first input and
/// output, `labels` are the right classes. Inputs that hold n times as many elements as the model takes run in n calls.
pub fn evaluate(module: &[u8], arrays: &[NamedTensor], tolerance: Tolerance) -> Result<Evaluation, Error> {
    evaluate_with(&mut Instance::load(module)?, arrays, tolerance, &mut |_| {})
}

/// [`evaluate`] on an instance; `observe` is told the time of each call in milliseconds, inputs and outputs not counted.
pub fn evaluate_with(
    instance: &mut Instance,
    arrays: &[NamedTensor],
    tolerance: Tolerance,
    observe: &mut dyn FnMut(f64),
) -> Result<Evaluation, Error> {
    let manifest = instance.manifest().clone();
    let missing = |what: &str, name: &str| Error::Usage(format!("the golden file has no {what} `{name}`"));
    let mut given = vec![];
    let mut calls = 1;
    for (i, input) in manifest.inputs.iter().enumerate() {
        let key = format!("input:{}", input.name);
        let keys = if i == 0 { vec![key.as_str(), "images"] } else { vec![key.as_str()] };
        let array = find(arrays, &keys).ok_or_else(|| missing("input", &input.name))?;
        calls = array.tensor.bytes().len() / (input.bytes as usize).max(1);
        given.push((input, &array.tensor));
    }
    let calls = calls.max(1);
    let mut found: Vec<(Vec<u8>, Vec<usize>)> = vec![(vec![], vec![]); manifest.outputs.len()];
    for call in 0..calls {
        let slice = |(port, tensor): &(&abi::manifest::Tensor, &Tensor)| {
            let n = port.bytes as usize;
            let bytes = tensor.bytes().get(call * n..(call + 1) * n);
            let shape = wasm_torch::engine::shape(port);
            let part = bytes.and_then(|bytes| Tensor::from_bytes(tensor.dtype, &shape, bytes));
            part.map(|part| NamedTensor::new(&port.name, part)).ok_or_else(|| missing("whole number of calls for", &port.name))
        };
        instance.write_inputs(&given.iter().map(slice).collect::<Result<Vec<_>, _>>()?)?;
        let start = std::time::Instant::now();
        instance.run_steps(0..manifest.steps.len())?;
        observe(start.elapsed().as_secs_f64() * 1e3);
        for (all, output) in found.iter_mut().zip(instance.read_outputs()?) {
            all.0.extend(output.tensor.bytes());
            all.1 = output.tensor.shape;
        }
    }
    let mut evaluation = Evaluation {
        calls,
        outputs: vec![],
        differences: vec![],
        sha256: vec![],
        predictions: vec![],
        golden_predictions: vec![],
        labels: vec![],
    };
    for (i, (port, (bytes, shape))) in manifest.outputs.iter().zip(found).enumerate() {
        let key = format!("output:{}", port.name);
        let keys = if i == 0 { vec![key.as_str(), "logits"] } else { vec![key.as_str()] };
        let golden = &find(arrays, &keys).ok_or_else(|| missing("output", &port.name))?.tensor;
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let shape: Vec<usize> = std::iter::once(calls).chain(shape).collect();
        let actual = Tensor::from_bytes(wasm_torch::engine::dtype(port), &shape, &bytes).ok_or_else(|| missing("size for", &port.name))?;
        let expected = if golden.len() == actual.len() { golden.clone().reshaped(&shape) } else { golden.clone() };
        evaluation.differences.push(compare(&port.name, &expected, &actual, tolerance));
        evaluation.sha256.push((port.name.clone(), hash));
        if let (0, Some(labels)) = (i, find(arrays, &["labels"])) {
            let rows = labels.tensor.len();
            let classes = |t: &Tensor| t.to_f64s().chunks(t.len() / rows).map(argmax).collect();
            evaluation.predictions = classes(&actual);
            evaluation.golden_predictions = classes(&expected);
            evaluation.labels = labels.tensor.to_i64s().into_iter().map(|l| l as usize).collect();
        }
        evaluation.outputs.push(NamedTensor::new(&port.name, actual));
    }
    Ok(evaluation)
}
