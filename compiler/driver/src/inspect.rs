//! What a file says about itself: an ONNX model, with everything that would keep it from being exported, or a finished
//! module. Data only; tables are the command line's business.

use crate::export::{Source, lower, run_passes};
use crate::report::{Memory, Sizes, StepRow, WeightedKernel};
use crate::{Error, ExportOptions, ModelOptions};
use abi::manifest::{self, Manifest};
use ir::algorithm::Algorithm;
use ir::{Dim, Graph};
use onnx::Census;
use serde::Serialize;

/// An ONNX model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelInfo {
    pub name: String,
    pub producer: String,
    pub ir_version: i64,
    /// (domain, version); the default domain is `""`.
    pub opsets: Vec<(String, i64)>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Operators and how often they occur, the most frequent first.
    pub operators: Vec<(String, usize)>,
    /// Elements of floating-point initialisers.
    pub parameters: u64,
    /// Multiply-accumulate operations of one run; absent when the model cannot be imported or dimensions are free.
    pub macs: Option<u64>,
    /// Symbolic dimensions, with their bounds where there are any: `seq=1..512`.
    pub free_dims: Vec<String>,
    /// Everything that keeps the model from being exported.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
}

/// An input or output; sizes are numbers or names.
#[derive(Debug, Clone, Serialize)]
pub struct Port {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<String>,
}

/// Reads an ONNX model. One that cannot be imported is described all the same.
///
/// # Errors
/// When the file is no ONNX model.
pub fn model<'a>(model: impl Into<Source<'a>>, options: &ModelOptions) -> Result<ModelInfo, Error> {
    let model = model.into();
    let census = match model {
        Source::File(path) => onnx::census_file(path)?,
        Source::Bytes(bytes) => onnx::census_bytes(bytes.to_vec())?,
    };
    let Census { name, producer, ir_version, opsets, inputs, outputs, operators, parameters } = census;
    let port = |d: onnx::Declared| Port { name: d.name, dtype: d.dtype, shape: d.shape };
    let mut info = ModelInfo {
        name,
        producer,
        ir_version,
        opsets,
        inputs: inputs.into_iter().map(port).collect(),
        outputs: outputs.into_iter().map(port).collect(),
        operators,
        parameters,
        macs: None,
        free_dims: vec![],
        problems: vec![],
        warnings: vec![],
    };
    let imported = match model {
        Source::File(path) => onnx::import_file(path, &options.resolve()?),
        Source::Bytes(bytes) => onnx::import_bytes(bytes.to_vec(), &options.resolve()?),
    };
    match imported {
        Ok(imported) => {
            info.macs = macs(&imported.graph);
            info.free_dims = imported.graph.symbols.iter().map(|(name, bound)| free_dim(name, bound)).collect();
            info.warnings = imported.warnings;
            info.problems = unlowered(imported.graph)?;
        }
        Err(errors) => info.problems = errors.problems.iter().map(ToString::to_string).collect(),
    }
    Ok(info)
}

fn free_dim(name: &str, bound: &ir::Bound) -> String {
    bound.max.map_or_else(|| name.to_string(), |max| format!("{name}={}..{max}", bound.min))
}

/// What keeps an imported graph from becoming a plan with the default options. Nothing is known about one with free dimensions.
fn unlowered(mut graph: Graph) -> Result<Vec<String>, Error> {
    let config = ExportOptions::default().resolve()?;
    let plan = run_passes(&mut graph, &config, &mut |_| {}).and_then(|_| lower(&graph, &config));
    Ok(match plan {
        Ok(_) | Err(Error::FreeDims { .. }) => vec![],
        Err(Error::Lower(errors)) => errors.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    })
}

/// Multiply-accumulates of contractions and windows with weights, when all sizes are numbers.
pub fn macs(graph: &Graph) -> Option<u64> {
    let product = |axes: &[Dim]| axes.iter().try_fold(1u64, |n, d| Some(n * u64::try_from(d.as_const()?).ok()?));
    graph.order().into_iter().try_fold(0, |sum, id| {
        let node = graph.node(id);
        let types: Vec<_> = node.inputs.iter().map(|v| graph.ty(*v)).collect();
        let macs = match node.op.def().algorithm(&types, graph.ty(node.outputs[0])) {
            Algorithm::Contract(contract) => product(&contract.axes)?,
            Algorithm::Window(window) if window.w.is_some() => product(&window.axes)?,
            _ => 0,
        };
        Some(sum + macs)
    })
}

/// A module.
#[derive(Debug, Clone, Serialize)]
pub struct ModuleInfo {
    pub model: String,
    pub producer: String,
    pub abi: u32,
    /// Which variant the file's own code is, and what it needs.
    pub variant: String,
    pub features: Vec<String>,
    /// Further variants.
    pub variants: Vec<manifest::Variant>,
    /// Files with weights beside the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_weights: Option<manifest::ExternalWeights>,
    pub options: Vec<(String, String)>,
    pub inputs: Vec<manifest::Tensor>,
    pub outputs: Vec<manifest::Tensor>,
    /// Sizes that the shapes of the inputs choose, with their bounds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<manifest::Symbol>,
    /// What stays between runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<manifest::State>,
    pub sizes: Sizes,
    pub kernels: Vec<WeightedKernel>,
    pub memory: Memory,
    pub macs: u64,
    pub steps: Vec<StepRow>,
}

/// Reads a module's manifest and sizes.
///
/// # Errors
/// When the bytes are no module of this project.
pub fn module(bytes: &[u8]) -> Result<ModuleInfo, link::ManifestError> {
    let manifest = link::read_manifest(bytes)?;
    let sizes = link::read_sizes(bytes)?;
    let memory = Memory::from(&manifest);
    let Manifest {
        abi,
        producer,
        model,
        inputs,
        outputs,
        states,
        variant,
        features,
        variants,
        external_weights,
        steps,
        options,
        symbols,
        ..
    } = manifest;
    Ok(ModuleInfo {
        model,
        producer,
        abi,
        variant,
        features,
        variants,
        external_weights,
        options,
        inputs,
        outputs,
        symbols,
        states,
        kernels: sizes.kernels.iter().map(|(name, bytes)| WeightedKernel { name: name.clone(), bytes: *bytes }).collect(),
        sizes: (&sizes).into(),
        memory,
        macs: steps.iter().map(|s| s.macs).sum(),
        steps: steps.iter().map(StepRow::from).collect(),
    })
}
