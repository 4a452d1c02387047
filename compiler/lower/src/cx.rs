//! The state of one lowering: what has been planned so far. Writers add kernels, weights, buffers and steps through it.

use crate::extent::Extent;
use crate::plan::{Arg, Buffer, BufferId, KernelId, Layer, Method, SizeId, Step, Weight, WeightId};
use crate::schedule::{Choice, Tiles};
use crate::view::{Source, View};
use indexmap::IndexMap;
use ir::{DType, Dim, Symbols, Tensor};
use kernel::Kernel;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Alignment of every buffer and weight in bytes: a cache line.
pub const ALIGN: u32 = 64;

/// What a lowering may assume and choose.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Use relaxed SIMD: fused multiply-adds, or, in a graph with products of bytes, dot products, which are exact.
    pub relaxed: bool,
    /// Use relaxed dot products, on an engine that reads their second operand as unsigned. Lowering sets it.
    pub relaxed_dot: bool,
    /// Kernel calls are split so that one call does about this many multiply-accumulates.
    pub macs_per_task: u64,
    /// Register tiles of every contraction instead of the predicted best: for measurements.
    pub tiles: Option<Tiles>,
    /// Measured register tiles by size of product.
    pub schedule: Vec<Choice>,
    /// Use shorter approximations of elementary functions.
    pub fast_math: bool,
    /// Compute 3x3 convolutions by minimal filtering where it pays: faster, with other rounding.
    pub winograd: bool,
    /// Bytes that transformed weights may take at a time; `None`: as many as a cache holds.
    pub winograd_budget: Option<u64>,
    /// Store weights of `f32` that are numbers of `f16` as such.
    pub halves: bool,
    /// Outputs that become inputs of the next run, as (output, input): the module keeps them.
    pub states: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            relaxed: false,
            relaxed_dot: false,
            macs_per_task: 1 << 20,
            tiles: None,
            schedule: vec![],
            fast_math: false,
            winograd: false,
            winograd_budget: None,
            halves: false,
            states: vec![],
        }
    }
}

impl Options {
    /// The register tiles that are asked for, if any are, of a product of so many rows, columns and elements per sum.
    pub fn tiles_of(&self, size: (usize, usize, usize)) -> Option<Tiles> {
        let measured = self.schedule.iter().find(|c| (c.rows, c.columns, c.depth) == size);
        self.tiles.or(measured.map(|c| c.tiles))
    }
}

/// A step that computes a product: its size, per batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    pub step: usize,
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
}

/// One node as its writer sees it.
#[derive(Debug)]
pub struct NodeCx<'a> {
    pub inputs: Vec<View>,
    /// The constant behind each input that is one. Their views are made on demand by [`NodeCx::input`].
    pub constants: Vec<Option<Arc<Tensor>>>,
    /// The first output.
    pub output: View,
    /// All outputs; algorithms with one output write `output`.
    pub outputs: Vec<View>,
    pub origin: &'a [Arc<str>],
    /// What error messages call the node.
    pub name: String,
    /// A convolution that is computed by minimal filtering.
    pub winograd: bool,
}

/// A step that gives symbols their values: its code is written when all sizes are known.
#[derive(Debug, Clone)]
pub struct Definition {
    pub step: usize,
    pub symbols: Vec<Arc<str>>,
    pub values: Values,
}

/// Where the values of symbols come from: an `i64` in memory, or sizes.
#[derive(Debug, Clone)]
pub enum Values {
    Measured(View),
    Sizes(Vec<Dim>),
}

/// Everything planned so far.
#[derive(Debug, Default)]
pub struct Cx {
    pub options: Options,
    /// Free sizes and their bounds.
    pub symbols: Symbols,
    /// Sizes that arguments hold.
    pub sizes: Vec<Dim>,
    /// Where the values of symbols are, if there are any, and their names in order.
    pub symbols_at: Option<View>,
    pub symbol_names: Vec<Arc<str>>,
    /// Steps that give symbols their values.
    pub definitions: Vec<Definition>,
    /// The largest tensor that no memory holds.
    pub too_large: Option<u64>,
    pub kernels: Vec<Kernel>,
    by_code: IndexMap<kernel::CodeKey, KernelId>,
    pub steps: Vec<Step>,
    pub layers: Vec<Layer>,
    /// How the node that is being written is computed, if it multiplies.
    pub method: Option<Method>,
    pub products: Vec<Product>,
    pub buffers: Vec<Buffer>,
    /// Buffers that are made anew in every run, even of constants.
    pub every_run: Vec<BufferId>,
    pub weights: Vec<Weight>,
    by_content: IndexMap<(usize, u64), Vec<WeightId>>,
    /// What another lowering of the graph packed, by length and hash.
    known: HashMap<(usize, u64), Vec<Arc<Vec<u8>>>>,
}

impl Cx {
    pub fn new(options: Options) -> Cx {
        Cx { options, ..Cx::default() }
    }

    /// Notes how a layer is computed: by the steps from `step` on, with the buffers from `buffer` on.
    pub fn layer(&mut self, method: Method, origin: &[Arc<str>], step: usize, buffer: usize) {
        let steps = &self.steps[step..];
        let weights = steps.iter().flat_map(|step| &step.args).filter_map(|arg| match arg {
            Arg::Weight(id, _) => Some(id.0),
            _ => None,
        });
        let weights: BTreeSet<usize> = weights.collect();
        self.layers.push(Layer {
            origin: origin.iter().map(ToString::to_string).collect(),
            method,
            macs: steps.iter().map(|step| step.macs).sum(),
            weight_bytes: weights.iter().map(|id| self.weights[*id].bytes.len() as u64).sum(),
            working_bytes: self.buffers[buffer..].iter().map(|buffer| u64::from(buffer.bytes)).sum(),
        });
    }

    /// A buffer of the arena, to be placed later. One that is too large ends lowering with an error, when all is seen.
    pub fn buffer(&mut self, name: &str, bytes: usize) -> BufferId {
        let fits = bytes <= i32::MAX as usize;
        if !fits {
            self.too_large = self.too_large.max(Some(bytes as u64));
        }
        let bytes = if fits { bytes as u32 } else { 1 };
        self.buffers.push(Buffer { name: name.into(), bytes, align: ALIGN, live: 0..0, offset: 0, persistent: false });
        BufferId(self.buffers.len() - 1)
    }

    /// Bytes that start as zeros and keep their contents between runs.
    pub fn persistent(&mut self, name: &str, bytes: usize) -> View {
        let id = self.buffer(name, bytes);
        self.buffers[id.0].persistent = true;
        View::dense(Source::Buffer(id), DType::F32, &[bytes / 4])
    }

    /// Lets a buffer keep its contents between runs: see [`Cx::persistent`].
    pub fn keep(&mut self, view: &View) {
        if let Source::Buffer(id) = view.source {
            self.buffers[id.0].persistent = true;
        }
    }

    /// A dense temporary tensor of the arena.
    pub fn temporary(&mut self, name: &str, dtype: DType, shape: &[usize]) -> View {
        let bytes = shape.iter().fold(dtype.bytes(), |n, d| n.saturating_mul(*d));
        View::dense(Source::Buffer(self.buffer(name, bytes)), dtype, shape)
    }

    pub fn extent(&self, dim: &Dim) -> Extent {
        Extent::of(dim, &self.symbols)
    }

    pub fn extents(&self, shape: &[Dim]) -> Vec<Extent> {
        shape.iter().map(|dim| self.extent(dim)).collect()
    }

    /// The argument with the value of `dim`.
    pub fn size(&mut self, dim: &Dim) -> Arg {
        let known = self.sizes.iter().position(|d| d == dim);
        Arg::Size(SizeId(known.unwrap_or_else(|| {
            self.sizes.push(dim.clone());
            self.sizes.len() - 1
        })))
    }

    /// A tensor of the arena, with room for its free sizes.
    pub fn tensor(&mut self, name: &str, dtype: DType, shape: &[Extent]) -> View {
        let (mut view, elements) = View::roomy(Source::Buffer(BufferId(0)), dtype, shape);
        view.source = Source::Buffer(self.buffer(name, elements.saturating_mul(dtype.bytes())));
        view
    }

    /// Bytes that equal weights of this lowering share.
    pub fn know(&mut self, weights: &[Weight]) {
        for weight in weights {
            self.known.entry((weight.bytes.len(), hash(&weight.bytes))).or_default().push(weight.bytes.clone());
        }
    }

    /// Constant bytes; equal ones are stored once.
    pub fn weight(&mut self, name: &str, bytes: Vec<u8>, origin: &[Arc<str>]) -> WeightId {
        let key = (bytes.len(), hash(&bytes));
        let same = self.by_content.entry(key).or_default();
        if let Some(id) = same.iter().find(|id| *self.weights[id.0].bytes == bytes) {
            return *id;
        }
        let known = self.known.get(&key).and_then(|known| known.iter().find(|known| ***known == bytes));
        let bytes = known.cloned().unwrap_or_else(|| Arc::new(bytes));
        let id = WeightId(self.weights.len());
        same.push(id);
        self.weights.push(Weight { name: name.into(), bytes, align: ALIGN, origin: origin.iter().map(ToString::to_string).collect() });
        id
    }

    /// A constant tensor as it is.
    pub fn constant(&mut self, name: &str, tensor: &Tensor, origin: &[Arc<str>]) -> View {
        let id = self.weight(name, tensor.bytes().to_vec(), origin);
        View::dense(Source::Weight(id), tensor.dtype, &tensor.shape)
    }

    /// Adds a kernel unless one with the same code exists.
    pub fn kernel(&mut self, kernel: Kernel) -> KernelId {
        let kernels = &mut self.kernels;
        *self.by_code.entry(kernel.code_key()).or_insert_with(|| {
            kernels.push(kernel);
            KernelId(kernels.len() - 1)
        })
    }

    /// Adds a step. What it reads follows from the arguments: every buffer among them but those in `writes`; a buffer
    /// that is read and written is named in both lists by `also_reads`.
    pub fn step(
        &mut self,
        kernel: Kernel,
        args: Vec<Arg>,
        tasks: u32,
        macs: u64,
        origin: &[Arc<str>],
        writes: &[&View],
        also_reads: &[&View],
    ) {
        let buffer = |v: &&View| match v.source {
            Source::Buffer(b) => Some(b),
            Source::Weight(_) => None,
        };
        let writes: Vec<BufferId> = writes.iter().filter_map(buffer).collect();
        let mut reads: Vec<BufferId> = also_reads.iter().filter_map(buffer).collect();
        for arg in &args {
            if let Arg::Buffer(b, _) = arg
                && !writes.contains(b)
                && !reads.contains(b)
            {
                reads.push(*b);
            }
        }
        let kernel = self.kernel(kernel);
        let origin = origin.iter().map(ToString::to_string).collect();
        self.steps.push(Step { kernel, args, tasks, sequential: false, origin, macs, reads, writes, branch: None });
    }

    /// [`Cx::step`] whose tasks need each other's results, in order.
    pub fn sequential_step(&mut self, kernel: Kernel, args: Vec<Arg>, tasks: u32, macs: u64, origin: &[Arc<str>], writes: &[&View]) {
        self.step(kernel, args, tasks, macs, origin, writes, &[]);
        self.steps.last_mut().expect("added above").sequential = true;
    }
}

/// FNV-1a: only to find candidates for equality.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

impl NodeCx<'_> {
    /// The view of input `i`; a constant is stored as it is.
    pub fn input(&self, cx: &mut Cx, i: usize) -> View {
        match &self.constants[i] {
            Some(tensor) => cx.constant(&self.name, tensor, self.origin),
            None => self.inputs[i].clone(),
        }
    }
}

/// A kernel that may use what the options allow.
pub fn new_kernel(name: impl Into<String>, options: &Options) -> kernel::K {
    let mut k = kernel::K::new(name);
    if options.relaxed {
        k.use_relaxed_madd();
    }
    if options.fast_math {
        k.use_fast_math();
    }
    k
}

/// Adds the parameter that points at `view`: an arena pointer or an absolute one.
pub fn pointer(k: &mut kernel::K, name: &str, view: &View) -> kernel::V<kernel::I32> {
    match view.source {
        Source::Buffer(_) => k.arena(name),
        Source::Weight(_) => k.weights(name),
    }
}
