//! What a module says about itself, and the proof that it is a module. The reading side is `read.rs`.

use crate::layout::Layout;
use crate::{LinkError, LinkInfo};
use abi::manifest::{Manifest, Memory, Step, Tensor};
use lower::plan::{Arg, Plan, Port};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use wasmparser::{Validator, WasmFeatures};

/// What a baseline module may use: WebAssembly 2.0, and so neither relaxed SIMD nor threads.
const ALLOWED: WasmFeatures = WasmFeatures::WASM2;

/// Features by the names that LLVM and the tool conventions give them.
const FEATURES: &[(&str, WasmFeatures)] = &[
    ("simd128", WasmFeatures::SIMD),
    ("bulk-memory", WasmFeatures::BULK_MEMORY),
    ("multivalue", WasmFeatures::MULTI_VALUE),
    ("mutable-globals", WasmFeatures::MUTABLE_GLOBAL),
    ("nontrapping-fptoint", WasmFeatures::SATURATING_FLOAT_TO_INT),
    ("reference-types", WasmFeatures::REFERENCE_TYPES),
    ("sign-ext", WasmFeatures::SIGN_EXTENSION),
];

/// Fails if the module is not valid for the baseline.
pub fn validate(wasm: &[u8]) -> Result<(), LinkError> {
    let checked = Validator::new_with_features(ALLOWED).validate_all(wasm);
    checked.map(drop).map_err(|error| LinkError::Invalid(error.to_string()))
}

/// The features without which the code does not validate.
pub fn features(code: &[u8]) -> Result<Vec<String>, LinkError> {
    validate(code)?;
    let needed =
        FEATURES.iter().filter(|(_, feature)| Validator::new_with_features(ALLOWED.difference(*feature)).validate_all(code).is_err());
    Ok(needed.map(|(name, _)| (*name).to_string()).collect())
}

/// The manifest of a plan's module.
pub fn manifest(plan: &Plan, info: &LinkInfo, layout: &Layout, features: Vec<String>, kernel_bytes: &[u32]) -> Manifest {
    Manifest {
        abi: abi::ABI_VERSION,
        producer: info.producer.clone(),
        model: plan.model.clone(),
        inputs: plan.inputs.iter().map(|port| tensor(plan, port)).collect(),
        outputs: plan.outputs.iter().map(|port| tensor(plan, port)).collect(),
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
        features,
        steps: plan.steps.iter().map(|step| self::step(plan, step, kernel_bytes[step.kernel.0])).collect(),
        options: info.options.clone(),
        weights_sha256: weight_hashes(plan, layout),
    }
}

fn tensor(plan: &Plan, port: &Port) -> Tensor {
    Tensor {
        name: port.name.clone(),
        dtype: port.dtype.clone(),
        shape: port.shape.clone(),
        offset: plan.buffers[port.buffer.0].offset + port.offset,
        bytes: port.bytes,
    }
}

fn step(plan: &Plan, step: &lower::plan::Step, code_bytes: u32) -> Step {
    let weights = step.args.iter().filter_map(|arg| match arg {
        Arg::Weight(id, _) => Some(id.0),
        Arg::Buffer(..) | Arg::Scalar(_) => None,
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

/// SHA-256 of each MiB of the weights as they lie in memory, padding included.
fn weight_hashes(plan: &Plan, layout: &Layout) -> Vec<String> {
    let mut hashes = MebibyteHashes { current: Sha256::new(), filled: 0, done: Vec::new() };
    let mut position = 0;
    for (weight, offset) in plan.weights.iter().zip(&layout.weight_offsets) {
        hashes.zeros(*offset as usize - position);
        hashes.update(&weight.bytes);
        position = *offset as usize + weight.bytes.len();
    }
    hashes.finish()
}

struct MebibyteHashes {
    current: Sha256,
    filled: usize,
    done: Vec<String>,
}

impl MebibyteHashes {
    const MEBIBYTE: usize = 1 << 20;

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(Self::MEBIBYTE - self.filled));
            self.current.update(head);
            self.filled += head.len();
            bytes = tail;
            if self.filled == Self::MEBIBYTE {
                self.close();
            }
        }
    }

    fn zeros(&mut self, count: usize) {
        const ZEROS: [u8; 64] = [0; 64];
        (0..count).step_by(ZEROS.len()).for_each(|at| self.update(&ZEROS[..ZEROS.len().min(count - at)]));
    }

    fn close(&mut self) {
        let hash = self.current.finalize_reset();
        self.done.push(hash.iter().map(|byte| format!("{byte:02x}")).collect());
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<String> {
        if self.filled > 0 {
            self.close();
        }
        self.done
    }
}
