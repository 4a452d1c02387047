//! What a module says about itself, as JSON in a custom section: enough for a host that knows no model.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// The self-description of a module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`crate::ABI_VERSION`] of the compiler that wrote the module.
    pub abi: u32,
    /// `wasm-torch 0.1.0`.
    pub producer: String,
    /// Name of the graph.
    pub model: String,
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
    pub memory: Memory,
    /// Wasm features that an engine needs: `simd128`, `bulk-memory`, ….
    pub features: Vec<String>,
    /// One entry per step, in order of execution.
    pub steps: Vec<Step>,
    /// The options that shaped the module, by name.
    pub options: Vec<(String, String)>,
    /// SHA-256 (lower-case hex) of each MiB of the weights, the last one shorter.
    pub weights_sha256: Vec<String>,
}

/// A model input or output and where its elements live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    pub name: String,
    /// Lower-case short name: `f32`, `i64`, `u8`, `bool`, ….
    pub dtype: String,
    /// Row-major; every dimension is a number here.
    pub shape: Vec<u64>,
    /// Byte offset from the arena's base.
    pub offset: u32,
    /// Size in bytes.
    pub bytes: u32,
}

/// Where things are in memory, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Address and size of the packed weights.
    pub weights_base: u32,
    pub weights_bytes: u32,
    /// Address and size of the arena (inputs, outputs, intermediate tensors).
    pub arena_base: u32,
    pub arena_bytes: u32,
    /// Largest sum of bytes live at one step: the lower bound of `arena_bytes`.
    pub live_bytes: u32,
    /// First address of the pools.
    pub heap_base: u32,
    /// Pages (64 KiB) the module starts with, and its declared maximum.
    pub initial_pages: u32,
    pub maximum_pages: u32,
}

/// One step: which layers it computes and with which kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Layer names as PyTorch named them.
    pub layers: Vec<String>,
    /// Name of the kernel, e.g. `contract_f32_m4n8_simd`.
    pub kernel: String,
    /// Kernel calls per execution.
    pub tasks: u32,
    /// Multiply-accumulate operations per execution.
    pub macs: u64,
    /// Bytes of weights this step reads.
    pub weight_bytes: u64,
    /// Bytes of the kernel's code; steps that share a kernel share them.
    pub code_bytes: u32,
}
