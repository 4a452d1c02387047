//! From a plan to one file: code, runtime, weights and manifest in a wasm module that imports nothing. No lowering here.
//!
//! ```text
//! plan ──check──▶ layout ──▶ merge with the runtime, collect garbage ──▶ manifest first, data last ──▶ validate
//! ```
//!
//! The same plan and the same [`LinkInfo`] give the same bytes.

mod assemble;
mod check;
mod describe;
mod functions;
mod layout;
mod merge;
mod read;
mod runtime;

pub use abi::manifest::Manifest;
pub use check::PlanError;
pub use read::{ManifestError, read_manifest, read_sizes};

use assemble::Sections;
use kernel::EmitError;
use layout::Layout;
use lower::plan::Plan;

/// What the linker is told besides the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Name and version of the compiler, for the manifest: `wasm-torch 0.1.0`.
    pub producer: String,
    /// The options that shaped the module, by name, for the manifest.
    pub options: Vec<(String, String)>,
    /// How far the pools may grow, in MiB; added to the module's declared maximum.
    pub pool_mb: u32,
    /// Keep function names in a name section, which profilers and disassemblers show.
    pub debug_names: bool,
}

impl Default for LinkInfo {
    fn default() -> Self {
        let producer = concat!("wasm-torch ", env!("CARGO_PKG_VERSION")).to_string();
        LinkInfo { producer, options: Vec::new(), pool_mb: 64, debug_names: false }
    }
}

/// A finished module.
#[derive(Debug, Clone)]
pub struct Linked {
    pub wasm: Vec<u8>,
    pub manifest: Manifest,
    pub sizes: Sizes,
}

/// What takes how many bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// The whole file.
    pub total: usize,
    /// Everything but data, manifest and names.
    pub code: usize,
    /// Data other than weights: the runtime's, step and argument records.
    pub data: usize,
    /// Weights as stored: without their trailing zeros.
    pub weights: usize,
    pub manifest: usize,
    /// Name section, if asked for.
    pub names: usize,
    /// Size of each kernel's code. After [`link`] in the plan's order, 0 for a kernel that no step calls; after
    /// [`read_sizes`] in the order of first use.
    pub kernels: Vec<(String, u32)>,
}

/// Largest size of the weights: hosts read addresses as signed numbers below it.
pub const MAX_WEIGHT_BYTES: u64 = 1 << 31;

/// Largest size of a 32-bit memory.
pub const MAX_MEMORY_BYTES: u64 = 1 << 32;

/// Why a plan does not become a module.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the plan is inconsistent:{}", list(.0))]
    Plan(Vec<PlanError>),
    #[error("the weights take {bytes} bytes; a module holds fewer than {MAX_WEIGHT_BYTES}\nhint: quantise the model or split it")]
    WeightsTooLarge { bytes: u64 },
    #[error(
        "weights and intermediate tensors take {bytes} bytes; a 32-bit memory has {MAX_MEMORY_BYTES}\n\
         hint: bind dimensions to smaller sizes with --dim"
    )]
    MemoryTooLarge { bytes: u64 },
    /// A kernel that does not verify or calls a routine that no module has.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The embedded runtime is not what this linker was written for: a bug in the build.
    #[error("the embedded runtime is unusable: {0}")]
    Runtime(String),
    /// A bug in the compiler.
    #[error("the linked module does not validate: {0}")]
    Invalid(String),
}

fn list(problems: &[PlanError]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// Links a plan into a module.
///
/// # Errors
/// [`LinkError::Plan`] lists every inconsistency of the plan; the sizes have their own errors.
pub fn link(plan: &Plan, info: &LinkInfo) -> Result<Linked, LinkError> {
    let problems = check::check(plan);
    if !problems.is_empty() {
        return Err(LinkError::Plan(problems));
    }
    let runtime = runtime::Runtime::embedded()?;
    let layout = Layout::new(plan, runtime.heap_base, info.pool_mb)?;
    let records = layout::records(plan, &layout);
    let functions = functions::generate(plan, &layout, &runtime)?;
    let code = merge::merge(&runtime, &functions, &layout, info.debug_names)?;
    let sections = Sections::read(&code)?;
    let kernel_bytes = sections.kernel_bytes(&layout);
    let manifest = describe::manifest(plan, info, &layout, describe::features(&code)?, &kernel_bytes);
    let (wasm, mut sizes) = assemble::assemble(&sections, &manifest, plan, &layout, &records)?;
    sizes.kernels = plan.kernels.iter().map(|kernel| kernel.name.clone()).zip(kernel_bytes).collect();
    describe::validate(&wasm)?;
    Ok(Linked { wasm, manifest, sizes })
}
