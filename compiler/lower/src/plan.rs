//! The plan: kernels, the steps that call them, the buffers and weights they touch. Not yet addresses in a file: that is the linker's.

use abi::manifest::Size;
use ir::{Bound, Dim};
use std::ops::Range;
use std::sync::Arc;

/// Everything the linker needs to know about a compiled model.
#[derive(Debug, Clone)]
pub struct Plan {
    pub model: String,
    pub kernels: Vec<kernel::Kernel>,
    pub steps: Vec<Step>,
    /// How the heavy layers are computed, in order.
    pub layers: Vec<Layer>,
    /// Tensors of the arena, placed.
    pub buffers: Vec<Buffer>,
    /// Constant bytes in the order in which they lie in memory.
    pub weights: Vec<Weight>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub free: Free,
    /// Tensors that stay in the module between runs.
    pub states: Vec<StatePort>,
    /// Size of the arena in bytes, and the largest sum of bytes live at one step.
    pub arena_bytes: u32,
    pub live_bytes: u32,
}

/// A layer that multiplies, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Layer names, as PyTorch named them.
    pub origin: Vec<String>,
    pub method: Method,
    /// Multiply-accumulate operations that are done: minimal filtering saves some.
    pub macs: u64,
    /// Its constants in memory.
    pub weight_bytes: u64,
    /// Bytes of the arena that it needs beside its operands and its result.
    pub working_bytes: u64,
}

/// How a layer is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Register tiles over packed weights.
    Direct,
    /// The same where every run packs the second operand.
    DirectPacked,
    /// Minimal filtering, F(4x4, 3x3).
    Winograd,
    /// The same along one axis, F(4, 3).
    Winograd3,
    /// F(4, 5).
    Winograd5,
    /// F(2, 7).
    Winograd7,
    /// Products of bytes.
    Integer,
    /// Minimal filtering in 16-bit integers, F(4x4, 3x3).
    IntegerWinograd,
    /// Every output channel reads one input channel.
    Depthwise,
    /// Element by element: other types.
    General,
    /// Time step by time step.
    Recurrent,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Method::Direct => "direct",
            Method::DirectPacked => "direct, packed in every run",
            Method::Winograd => "winograd F(4x4,3x3)",
            Method::Winograd3 => "winograd F(4,3)",
            Method::Winograd5 => "winograd F(4,5)",
            Method::Winograd7 => "winograd F(2,7)",
            Method::Integer => "integer",
            Method::IntegerWinograd => "integer winograd F(4x4,3x3)",
            Method::Depthwise => "depthwise",
            Method::General => "general",
            Method::Recurrent => "recurrent",
        }
    }
}

/// The sizes of a plan that are chosen before a run; none in most plans.
///
/// The first step of a plan with any computes `sizes` from the words in `at` and writes them into the argument records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Free {
    /// Symbols and their bounds: hosts choose a value of each that is not found.
    pub symbols: Vec<(Arc<str>, Bound)>,
    /// Those that steps of the run compute.
    pub found: Vec<Arc<str>>,
    /// Where hosts write the values, an `i32` each, in this order.
    pub at: Option<BufferId>,
    /// Those that growing states keep: the last step of a run writes their next values.
    pub kept: Vec<Arc<str>>,
    /// What arguments are made of.
    pub sizes: Vec<Dim>,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub usize);
    )*};
}
ids!(
    /// Index into [`Plan::kernels`].
    KernelId,
    /// Index into [`Plan::buffers`].
    BufferId,
    /// Index into [`Plan::weights`].
    WeightId,
    /// Index into [`Free::sizes`].
    SizeId
);

/// `tasks` calls of one kernel with one argument record.
#[derive(Debug, Clone)]
pub struct Step {
    pub kernel: KernelId,
    /// One per parameter of the kernel, in order; the kinds agree with the kernel's `ParamKind`s.
    pub args: Vec<Arg>,
    /// Row blocks: the kernel is called with task = 0..tasks.
    pub tasks: u32,
    /// The tasks run one after the other, in order, on one thread: each needs what the one before wrote (time steps). A
    /// host that shares steps among threads leaves such a step whole: its record says `parallel: 0`.
    pub sequential: bool,
    /// Layer names, as PyTorch named them.
    pub origin: Vec<String>,
    /// Multiply-accumulate operations.
    pub macs: u64,
    /// Buffers that the step reads and writes: what the memory checker replays.
    pub reads: Vec<BufferId>,
    pub writes: Vec<BufferId>,
    /// After its tasks: where to go on, if not at the next step.
    pub branch: Option<Branch>,
}

/// Goes on at another step when a flag says so: the byte that the step's first argument points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// Taken when the byte is not 0, or when it is.
    pub when: bool,
    /// Number of a step, or of steps: the end. Before the branch it is the start of a loop.
    pub target: usize,
}

/// Value of a kernel parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// Byte offset into a buffer; becomes an offset from the arena's base.
    Buffer(BufferId, u32),
    /// Byte offset into a weight; becomes an absolute address.
    Weight(WeightId, u32),
    Scalar(i32),
    /// A size that the first step writes into the record: a plain number.
    Size(SizeId),
    /// The absolute address of the step records, which the argument records follow.
    Records,
}

/// A piece of the arena.
#[derive(Debug, Clone)]
pub struct Buffer {
    pub name: String,
    pub bytes: u32,
    /// Power of two.
    pub align: u32,
    /// Steps during which the contents matter: first writer to last reader, inclusive start, exclusive end.
    pub live: Range<usize>,
    /// Byte offset in the arena.
    pub offset: u32,
    /// Keeps its contents between runs: starts as zeros, shares its bytes with nothing.
    pub persistent: bool,
}

/// Constant bytes, in the order in which the kernels read them.
#[derive(Debug, Clone)]
pub struct Weight {
    pub name: String,
    /// Shared with the plan of other variants: there may be gigabytes of them.
    pub bytes: Arc<Vec<u8>>,
    /// Power of two.
    pub align: u32,
    /// Layer names.
    pub origin: Vec<String>,
}

/// A tensor that a run finds as an input and leaves as an output: zeros before the first one.
#[derive(Debug, Clone)]
pub struct StatePort {
    /// Named like the input.
    pub port: Port,
    pub output: String,
    /// Of a state that grows: the distance of neighbours along each dimension, in elements. Others are dense.
    pub strides: Option<Vec<u64>>,
}

/// A model input or output.
#[derive(Debug, Clone)]
pub struct Port {
    pub name: String,
    /// Short name of the element type: `f32`, `i64`, ….
    pub dtype: String,
    /// Sizes; of free dimensions the largest.
    pub shape: Vec<u64>,
    /// Sizes as expressions, where some are free.
    pub sizes: Option<Vec<Size>>,
    pub buffer: BufferId,
    /// Byte offset of the first element in the buffer; the elements are dense.
    pub offset: u32,
    pub bytes: u32,
}
