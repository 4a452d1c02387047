//! What an export reports: plain data with a JSON form. How it is shown to people is the command line's business.

use crate::ExportOptions;
use crate::beside::{WasmOpt, Written};
use abi::manifest::{self, Manifest};
use ir::Graph;
use ir::ops::Op;
use serde::Serialize;

/// What an export did and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExportReport {
    /// Name of the graph.
    pub model: String,
    pub options: ExportOptions,
    pub stages: Stages,
    /// In the order in which they ran.
    pub passes: Vec<PassRow>,
    /// Where the explained rule fired, and why it did not.
    pub notes: Vec<String>,
    /// Nodes of the graph before and after the passes.
    pub nodes_before: usize,
    pub nodes_after: usize,
    pub products: Products,
    pub sizes: Sizes,
    pub kernels: Vec<WeightedKernel>,
    /// What was written beside the module.
    pub files: Vec<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasm_opt: Option<WasmOpt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantize: Option<crate::quantize::report::QuantizeReport>,
    pub memory: Memory,
    /// Multiply-accumulate operations of one run.
    pub macs: u64,
    /// How each layer that multiplies is computed.
    pub layers: Vec<LayerRow>,
    pub steps: Vec<StepRow>,
    pub warnings: Vec<String>,
}

/// Convolutions and matrix products of the graph that was lowered, by the type of what they multiply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Products {
    /// Products of 8-bit integers, summed in 32 bits.
    pub integer: usize,
    pub float: usize,
}

impl Products {
    pub fn of(graph: &Graph) -> Products {
        let mut products = Products::default();
        for id in graph.order() {
            let node = graph.node(id);
            if matches!(node.op, Op::Conv(_) | Op::MatMul(_)) {
                let integer = graph.ty(node.inputs[0]).dtype.bits() <= 8;
                *(if integer { &mut products.integer } else { &mut products.float }) += 1;
            }
        }
        products
    }
}

/// Time per stage in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stages {
    pub import_ms: f64,
    #[serde(skip_serializing_if = "is_zero")]
    pub quantize_ms: f64,
    pub passes_ms: f64,
    pub lower_ms: f64,
    pub link_ms: f64,
    pub write_ms: f64,
    pub total_ms: f64,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

/// One run of one pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PassRow {
    pub name: String,
    pub changed: usize,
    /// How often each rule fired.
    pub rules: Vec<(String, usize)>,
    pub nodes_before: usize,
    pub nodes_after: usize,
    pub ms: f64,
}

impl PassRow {
    pub fn new(pass: &passes::PassReport, ms: f64) -> PassRow {
        let rules = pass.rules.iter().map(|(name, count)| (name.to_string(), *count)).collect();
        PassRow { name: pass.name.into(), changed: pass.changed, rules, nodes_before: pass.nodes_before, nodes_after: pass.nodes_after, ms }
    }
}

/// Bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sizes {
    pub total: usize,
    pub code: usize,
    pub data: usize,
    /// As stored: without trailing zeros.
    pub weights: usize,
    pub manifest: usize,
    pub names: usize,
    /// Sections of further variants, by name.
    pub variants: Vec<(String, usize)>,
}

impl From<&link::Sizes> for Sizes {
    fn from(sizes: &link::Sizes) -> Sizes {
        let link::Sizes { total, code, data, weights, manifest, names, ref variants, .. } = *sizes;
        Sizes { total, code, data, weights, manifest, names, variants: variants.clone() }
    }
}

/// A kernel and the size of its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightedKernel {
    pub name: String,
    pub bytes: u32,
}

/// Bytes of memory when the module runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Memory {
    pub weights_bytes: u32,
    pub arena_bytes: u32,
    /// Largest sum of bytes live at one step.
    pub live_bytes: u32,
    /// `arena_bytes / live_bytes`.
    pub arena_ratio: f64,
    /// The module starts with this much memory, and grows to at most `maximum_bytes`.
    pub initial_bytes: u64,
    pub maximum_bytes: u64,
}

const PAGE: u64 = 65536;

impl From<&Manifest> for Memory {
    fn from(manifest: &Manifest) -> Memory {
        let memory = &manifest.memory;
        Memory {
            weights_bytes: memory.weights_bytes,
            arena_bytes: memory.arena_bytes,
            live_bytes: memory.live_bytes,
            arena_ratio: f64::from(memory.arena_bytes) / f64::from(memory.live_bytes.max(1)),
            initial_bytes: u64::from(memory.initial_pages) * PAGE,
            maximum_bytes: u64::from(memory.maximum_pages) * PAGE,
        }
    }
}

/// A layer that multiplies: its method and what it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerRow {
    pub layers: Vec<String>,
    /// `direct`, `winograd F(4x4,3x3)`, …
    pub method: &'static str,
    /// Operations that are done: minimal filtering saves some.
    pub macs: u64,
    pub weight_bytes: u64,
    /// Bytes of the arena beside operands and result.
    pub working_bytes: u64,
}

impl From<&lower::plan::Layer> for LayerRow {
    fn from(layer: &lower::plan::Layer) -> LayerRow {
        let lower::plan::Layer { origin, method, macs, weight_bytes, working_bytes } = layer.clone();
        LayerRow { layers: origin, method: method.name(), macs, weight_bytes, working_bytes }
    }
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepRow {
    pub layers: Vec<String>,
    pub kernel: String,
    pub tasks: u32,
    pub macs: u64,
    pub weight_bytes: u64,
    pub code_bytes: u32,
}

impl From<&manifest::Step> for StepRow {
    fn from(step: &manifest::Step) -> StepRow {
        let manifest::Step { layers, kernel, tasks, macs, weight_bytes, code_bytes, .. } = step.clone();
        StepRow { layers, kernel, tasks, macs, weight_bytes, code_bytes }
    }
}
