//! What a module says about itself, as JSON in a custom section: enough for a host that knows no model.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// The self-description of a module. The default describes nothing: a beginning for tests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`crate::ABI_VERSION`] of the compiler that wrote the module.
    pub abi: u32,
    /// `wasm-torch 0.1.0`.
    pub producer: String,
    /// Name of the graph.
    pub model: String,
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
    /// Tensors that stay in the module between runs: zeros until a run, or the host, writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<State>,
    pub memory: Memory,
    /// Which of [`VARIANTS`] the file's own code is.
    pub variant: String,
    /// Wasm features that an engine needs for the file's own code: `simd128`, `bulk-memory`, ….
    pub features: Vec<String>,
    /// The same model for engines with more features, in custom sections.
    pub variants: Vec<Variant>,
    /// One entry per step, in order of execution.
    pub steps: Vec<Step>,
    /// The options that shaped the module, by name.
    pub options: Vec<(String, String)>,
    /// SHA-256 (lower-case hex) of each MiB of the weights as they lie in memory, the last one shorter. Zeros at their
    /// end are hashed, though not stored.
    pub weights_sha256: Vec<String>,
    /// Sizes that the host chooses before a run; none in most modules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<Symbol>,
    /// Where the weights are, if not in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_weights: Option<ExternalWeights>,
    /// What follows the manifest's section in the file, in order and without gaps: hosts that stream need no other map.
    pub parts: Vec<Part>,
}

/// So many bytes of the file, and where they belong. As JSON `[bytes, place]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part(pub u32, pub Place);

/// Where a part of the file belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// Into memory, at this address.
    Memory(u32),
    /// Into the code of this variant, whose parts join up; the header of the file's own code comes before its parts. Together
    /// they import the memory as `env.memory`.
    Code(String),
    /// Headers, names, the definition of the memory.
    Nowhere,
}

/// The kinds of code that a file may hold, the best first: a host takes the first one whose features it has.
pub const VARIANTS: &[&str] = &["relaxed+threads", "threads", "relaxed", BASELINE];

/// The kind that every engine runs.
pub const BASELINE: &str = "baseline";

/// A complete module without data, which imports its memory as `env.memory`. All addresses, the exports and the numbers
/// of kernels are those of the file's own code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    pub name: String,
    pub features: Vec<String>,
    /// Name of the custom section that holds it, compressed in zlib's format if one of the features is `deflate`.
    pub section: String,
    /// Size of the module.
    pub bytes: u32,
}

/// Weights in files beside the module. Joined, they are what a data segment at `weights_base` would hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExternalWeights {
    /// Size of every chunk but the last.
    pub chunk_bytes: u32,
    pub chunks: Vec<Chunk>,
}

/// One file of weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Relative to the module.
    pub file: String,
    pub bytes: u32,
    /// Lower-case hex.
    pub sha256: String,
}

/// No variant of a module runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoVariant {
    /// Features that the least demanding variant needs and the host lacks.
    pub missing: Vec<String>,
}

impl Manifest {
    /// The best variant for a host with these features.
    ///
    /// # Errors
    /// When even the least demanding one needs a feature that is not available.
    pub fn select_variant(&self, available: &[&str]) -> Result<&str, NoVariant> {
        let own = (self.variant.as_str(), &self.features);
        let all = || core::iter::once(own).chain(self.variants.iter().map(|v| (v.name.as_str(), &v.features)));
        let missing =
            |features: &[String]| -> Vec<String> { features.iter().filter(|f| !available.contains(&f.as_str())).cloned().collect() };
        let best = VARIANTS.iter().find_map(|name| all().find(|(n, features)| n == name && missing(features).is_empty()));
        let least = || all().map(|(_, features)| missing(features)).min_by_key(Vec::len).unwrap_or_default();
        best.map(|(name, _)| name).ok_or_else(|| NoVariant { missing: least() })
    }
}

/// A model input or output and where its elements live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    pub name: String,
    /// Lower-case short name: `f32`, `i64`, `u8`, `bool`, ….
    pub dtype: String,
    /// Row-major; of dimensions that are not fixed the largest size.
    pub shape: Vec<u64>,
    /// The shape of a tensor with dimensions that are not fixed. Its elements lie dense at the actual sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Vec<Size>>,
    /// Byte offset from the arena's base.
    pub offset: u32,
    /// Size in bytes; of a tensor whose shape is not fixed the largest.
    pub bytes: u32,
}

/// A size that the host chooses before a run, by the shapes of its inputs, and writes into the arena as an `i32`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    pub name: String,
    /// Smallest and largest value.
    pub min: i64,
    pub max: i64,
    /// Byte offset from the arena's base.
    pub offset: u32,
    /// The size of states that grow: a run leaves the next value here. Hosts write it with the states only.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub kept: bool,
    /// A size that a run computes: hosts read it behind the run, for the shapes of its outputs.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub found: bool,
}

/// A size: `128`, `"seq"`, or an expression such as `["+",["*",2,"seq"],1]` of the functions `+`, `*`, `floordiv`, `mod`,
/// `min` and `max` of two sizes. Quotients round down; remainders have the divisor's sign, which is positive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Size {
    Number(i64),
    Symbol(String),
    Apply(String, alloc::boxed::Box<Size>, alloc::boxed::Box<Size>),
}

impl Size {
    /// The number, where the symbols' values give one.
    pub fn value(&self, symbol: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        match self {
            Size::Number(n) => Some(*n),
            Size::Symbol(name) => symbol(name),
            Size::Apply(function, a, b) => {
                let (a, b) = (a.value(symbol)?, b.value(symbol)?);
                match function.as_str() {
                    "+" => a.checked_add(b),
                    "*" => a.checked_mul(b),
                    "floordiv" if b > 0 => Some(a.div_euclid(b)),
                    "mod" if b > 0 => Some(a.rem_euclid(b)),
                    "min" => Some(a.min(b)),
                    "max" => Some(a.max(b)),
                    _ => None,
                }
            }
        }
    }
}

impl core::fmt::Display for Size {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        match self {
            Size::Number(n) => write!(f, "{n}"),
            Size::Symbol(name) => write!(f, "{name}"),
            Size::Apply(function, a, b) if function == "+" || function == "*" => write!(f, "({a}{function}{b})"),
            Size::Apply(function, a, b) => write!(f, "{function}({a},{b})"),
        }
    }
}

/// A tensor that every run finds as what would be an input, and leaves as what would be an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Named like the input.
    #[serde(flatten)]
    pub tensor: Tensor,
    /// Name of the output.
    pub output: String,
    /// Of a state that grows: the distance of neighbours along each dimension, in elements. Others are dense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strides: Option<Vec<u64>>,
}

/// Where things are in memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
