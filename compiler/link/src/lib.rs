//! From a plan to one file: code, runtime, weights and manifest in a wasm module. No lowering here.
//!
//! ```text
//! plan ──check──▶ layout ──▶ per kind: merge with the runtime, collect garbage ──▶ manifest first, data last ──▶ validate
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
mod variants;
mod weights;

pub use abi::manifest::Manifest;
pub use check::PlanError;
pub use read::{DataSegment, Image, ManifestError, read_image, read_manifest, read_sizes};
pub use variants::{Kind, difference};

use abi::manifest::Variant;
use assemble::{Extra, Sections};
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
    /// The kinds of code the file holds. The first is the file's own.
    pub variants: Vec<Kind>,
    /// Keep the weights out of the file.
    pub external_weights: Option<External>,
}

/// How weights beside the file are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// What the names of the files begin with.
    pub stem: String,
    /// Size of a file in MiB, from 1 to 1024.
    pub chunk_mb: u32,
}

impl Default for LinkInfo {
    fn default() -> Self {
        let producer = concat!("wasm-torch ", env!("CARGO_PKG_VERSION")).to_string();
        LinkInfo { producer, options: Vec::new(), pool_mb: 64, debug_names: false, variants: vec![Kind::Baseline], external_weights: None }
    }
}

/// A finished module.
#[derive(Debug, Clone)]
pub struct Linked {
    pub wasm: Vec<u8>,
    pub manifest: Manifest,
    pub sizes: Sizes,
    /// External weights: names and contents of the files.
    pub chunks: Vec<(String, Vec<u8>)>,
}

/// What takes how many bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// The whole file.
    pub total: usize,
    /// Everything but data, manifest, names and further variants.
    pub code: usize,
    /// Data other than weights: the runtime's, step and argument records.
    pub data: usize,
    /// Weights as stored: without their trailing zeros.
    pub weights: usize,
    pub manifest: usize,
    /// Name section, if asked for.
    pub names: usize,
    /// The sections of further variants, by name.
    pub variants: Vec<(String, usize)>,
    /// Size of each kernel's code, in the order of first use.
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
    #[error(
        "the weights take {bytes} bytes; a module holds fewer than {MAX_WEIGHT_BYTES}\nhint: quantise it (--quantize int8-dynamic) or split it"
    )]
    WeightsTooLarge { bytes: u64 },
    #[error(
        "weights and intermediate tensors take {bytes} bytes; a 32-bit memory has {MAX_MEMORY_BYTES}\n\
         hint: bind dimensions to smaller sizes with --dim"
    )]
    MemoryTooLarge { bytes: u64 },
    /// A bug in the lowering: all variants of a file work on the same memory.
    #[error("the plan of the relaxed variants is not that of the others: {0}")]
    Variants(String),
    #[error("{0}")]
    Optimiser(String),
    #[error("a module of no kind: name at least one variant")]
    NoVariant,
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

/// Links a plan into a module; kinds that are relaxed get the same kernels as the others.
///
/// # Errors
/// [`LinkError::Plan`] lists every inconsistency of the plan; the sizes have their own errors.
pub fn link(plan: &Plan, info: &LinkInfo) -> Result<Linked, LinkError> {
    link_variants(plan, plan, info)
}

/// Links a plan into a module whose relaxed kinds have the kernels of `relaxed`, a plan that differs in nothing else.
///
/// # Errors
/// As [`link`], and [`LinkError::Variants`] when the plans differ.
pub fn link_variants(plan: &Plan, relaxed: &Plan, info: &LinkInfo) -> Result<Linked, LinkError> {
    link_optimised(plan, relaxed, info, &mut |_, code| Ok(code))
}

/// As [`link_variants`]; `optimise` may replace the code of each kind, a module without weights and records.
///
/// # Errors
/// As [`link_variants`], and [`LinkError::Optimiser`].
pub fn link_optimised(
    plan: &Plan,
    relaxed: &Plan,
    info: &LinkInfo,
    optimise: &mut dyn FnMut(Kind, Vec<u8>) -> Result<Vec<u8>, String>,
) -> Result<Linked, LinkError> {
    let mut kinds = info.variants.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let (own, further) = kinds.split_first().ok_or(LinkError::NoVariant)?;
    for plan in [plan, relaxed] {
        let problems = check::check(plan);
        if !problems.is_empty() {
            return Err(LinkError::Plan(problems));
        }
    }
    if let Some(difference) = difference(plan, relaxed) {
        return Err(LinkError::Variants(difference));
    }
    let mut plans = vec![plan.clone()];
    if !std::ptr::eq(plan, relaxed) {
        plans.push(relaxed.clone());
    }
    lower::share(&mut plans);
    let (plan, relaxed) = (&plans[0], &plans[plans.len() - 1]);
    let runtimes = [runtime::Runtime::embedded(false)?, runtime::Runtime::embedded(true)?];
    let threads = kinds.iter().any(|kind| kind.threads());
    let runtime_end = if threads { runtimes[0].heap_base.max(runtimes[1].heap_base) } else { runtimes[0].heap_base };
    let layout = Layout::new(plan, relaxed, runtime_end, info.pool_mb)?;
    let records = layout::records(plan, &layout);
    let mut code = |kind: Kind, import_memory: bool| -> Result<Vec<u8>, LinkError> {
        let runtime = &runtimes[usize::from(kind.threads())];
        let functions = functions::generate(if kind.relaxed() { relaxed } else { plan }, &layout, runtime)?;
        let code = merge::merge(kind, import_memory, runtime, &functions, &layout, info.debug_names)?;
        optimise(kind, code).map_err(LinkError::Optimiser)
    };

    let own_plan = if own.relaxed() { relaxed } else { plan };
    let own_code = code(*own, own.threads())?;
    let sections = Sections::read(&own_code)?;
    let kernel_bytes = sections.kernel_bytes(&layout, *own, own_plan.kernels.len());
    let mut extras = Vec::new();
    let mut variants = Vec::new();
    for kind in further {
        let wasm = Sections::read(&code(*kind, true)?)?.into_module()?;
        let (name, bytes) = (kind.name().to_string(), wasm.len() as u32);
        let mut features = describe::features(*kind, &wasm)?;
        features.push(describe::DEFLATE.to_string());
        variants.push(Variant { name, features, section: kind.section(), bytes });
        extras.push(Extra::new(*kind, &wasm));
    }

    let described = Variant { name: own.name().into(), features: describe::features(*own, &own_code)?, section: String::new(), bytes: 0 };
    let mut manifest = describe::manifest(own_plan, info, &layout, described, variants, &kernel_bytes);
    let mut stored = weights::stored_bytes(plan, &layout);
    let mut chunks = Vec::new();
    if let Some(External { stem, chunk_mb }) = &info.external_weights {
        let (external, files) = weights::chunks(plan, &layout, stored, stem, *chunk_mb);
        manifest.external_weights = Some(external);
        (chunks, stored) = (files, 0);
    }
    let (wasm, mut sizes) = assemble::assemble(*own, &sections, &extras, &mut manifest, plan, &layout, stored, &records)?;
    sizes.kernels = own_plan.kernels.iter().map(|kernel| kernel.name.clone()).zip(kernel_bytes).collect();
    describe::validate(*own, &wasm)?;
    Ok(Linked { wasm, manifest, sizes, chunks })
}
