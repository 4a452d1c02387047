//! What a module says about itself, and the proof that it is a module. The reading side is `read.rs`.

use crate::layout::Layout;
use crate::{Kind, LinkError, LinkInfo, weights};
use abi::manifest::{Manifest, Memory, State, Step, Symbol, Tensor, Variant};
use lower::plan::{Arg, Plan, Port};
use std::collections::BTreeSet;
use wasmparser::{Operator, Parser, Payload, Validator, WasmFeatures};

/// What code of a kind may use. The baseline: WebAssembly 2.0, and so neither relaxed SIMD nor threads.
fn allowed(kind: Kind) -> WasmFeatures {
    let mut features = WasmFeatures::WASM2;
    features.set(WasmFeatures::RELAXED_SIMD, kind.relaxed());
    features.set(WasmFeatures::THREADS, kind.threads());
    features
}

/// Features by the names that LLVM and the tool conventions give them.
const FEATURES: &[(&str, WasmFeatures)] = &[
    ("simd128", WasmFeatures::SIMD),
    ("bulk-memory", WasmFeatures::BULK_MEMORY),
    ("multivalue", WasmFeatures::MULTI_VALUE),
    ("mutable-globals", WasmFeatures::MUTABLE_GLOBAL),
    ("nontrapping-fptoint", WasmFeatures::SATURATING_FLOAT_TO_INT),
    ("reference-types", WasmFeatures::REFERENCE_TYPES),
    ("sign-ext", WasmFeatures::SIGN_EXTENSION),
    ("relaxed-simd", WasmFeatures::RELAXED_SIMD),
    ("atomics", WasmFeatures::THREADS),
];

/// Fails if the module is not valid for its kind.
pub fn validate(kind: Kind, wasm: &[u8]) -> Result<(), LinkError> {
    let checked = Validator::new_with_features(allowed(kind)).validate_all(wasm);
    checked.map(drop).map_err(|error| LinkError::Invalid(format!("{}: {error}", kind.name())))
}

/// Relaxed dot products of bytes whose second operand is unsigned. Engines may do otherwise: a host has to try.
const UNSIGNED_DOT: &str = "relaxed-dot-unsigned";

/// The variant's section is compressed: a host has to expand it.
pub const DEFLATE: &str = "deflate";

/// Whether code has dot products that engines may compute in different ways.
fn has_relaxed_dots(code: &[u8]) -> bool {
    let bodies = Parser::new(0).parse_all(code).filter_map(|payload| match payload {
        Ok(Payload::CodeSectionEntry(body)) => body.get_operators_reader().ok(),
        _ => None,
    });
    bodies.flatten().any(|operator| matches!(operator, Ok(Operator::I32x4RelaxedDotI8x16I7x16AddS)))
}

/// The features without which the code does not validate, or does not compute what it should.
pub fn features(kind: Kind, code: &[u8]) -> Result<Vec<String>, LinkError> {
    validate(kind, code)?;
    let fails = |without: &WasmFeatures| Validator::new_with_features(allowed(kind).difference(*without)).validate_all(code).is_err();
    let mut names: Vec<String> = FEATURES.iter().filter(|(_, feature)| fails(feature)).map(|(name, _)| (*name).to_string()).collect();
    names.extend(has_relaxed_dots(code).then(|| UNSIGNED_DOT.to_string()));
    Ok(names)
}

/// The manifest of a plan's module.
pub fn manifest(plan: &Plan, info: &LinkInfo, layout: &Layout, own: Variant, variants: Vec<Variant>, kernel_bytes: &[u32]) -> Manifest {
    Manifest {
        abi: abi::ABI_VERSION,
        producer: info.producer.clone(),
        model: plan.model.clone(),
        inputs: plan.inputs.iter().map(|port| tensor(plan, port)).collect(),
        outputs: plan.outputs.iter().map(|port| tensor(plan, port)).collect(),
        states: plan
            .states
            .iter()
            .map(|s| State { tensor: tensor(plan, &s.port), output: s.output.clone(), strides: s.strides.clone() })
            .collect(),
        memory: Memory {
            weights_base: layout.weights_base,
            weights_bytes: layout.weights_bytes,
            arena_base: layout.arena_base,
            arena_bytes: plan.arena_bytes,
            live_bytes: plan.live_bytes,
            heap_base: layout.heap_base,
            initial_pages: layout.initial_pages,
            maximum_pages: layout.maximum_pages,
        },
        variant: own.name,
        features: own.features,
        variants,
        steps: plan.steps.iter().map(|step| self::step(plan, step, kernel_bytes[step.kernel.0])).collect(),
        options: info.options.clone(),
        weights_sha256: weights::hashes(plan, layout),
        symbols: symbols(plan),
        external_weights: None,
        parts: Vec::new(),
    }
}

fn symbols(plan: &Plan) -> Vec<Symbol> {
    let Some(at) = plan.free.at else { return vec![] };
    let symbols = plan.free.symbols.iter().enumerate().map(|(i, (name, bound))| Symbol {
        name: name.to_string(),
        min: bound.min,
        max: bound.max.unwrap_or(bound.min),
        offset: plan.buffers[at.0].offset + 4 * i as u32,
        kept: plan.free.kept.contains(name),
        found: plan.free.found.contains(name),
    });
    symbols.collect()
}

fn tensor(plan: &Plan, port: &Port) -> Tensor {
    Tensor {
        name: port.name.clone(),
        dtype: port.dtype.clone(),
        shape: port.shape.clone(),
        sizes: port.sizes.clone(),
        offset: plan.buffers[port.buffer.0].offset + port.offset,
        bytes: port.bytes,
    }
}

fn step(plan: &Plan, step: &lower::plan::Step, code_bytes: u32) -> Step {
    let weights = step.args.iter().filter_map(|arg| match arg {
        Arg::Weight(id, _) => Some(id.0),
        _ => None,
    });
    let weights: BTreeSet<usize> = weights.collect();
    Step {
        layers: step.origin.clone(),
        kernel: plan.kernels[step.kernel.0].name.clone(),
        tasks: step.tasks,
        macs: step.macs,
        weight_bytes: weights.into_iter().map(|id| plan.weights[id].bytes.len() as u64).sum(),
        code_bytes,
    }
}
