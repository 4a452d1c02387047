//! The core operators: one closed enum from one table. Each operator is one file with its types (`infer`), its meaning
//! (`eval`) and its lowering as data (`algorithm`). Everything else about operators follows from the table.

use crate::algorithm::Algorithm;
use crate::attr::{Attr, Attrs};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::pointwise::Pointwise;
use crate::tensor::Tensor;

pub mod contract;
pub mod control;
pub mod gather;
pub mod map;
pub mod recurrent;
pub mod reduce;
pub mod routine;
pub mod shuffle;
pub mod window;

/// Why an operator does not fit its inputs: one sentence that says what was found and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpError(pub String);

/// Returns an [`OpError`] built like `format!`.
#[macro_export]
macro_rules! op_error {
    ($($arg:tt)*) => { return Err($crate::ops::OpError(format!($($arg)*))) };
}

/// No tensor has more elements: far more than a memory holds, and their bytes and products still fit a `usize`.
const MOST_ELEMENTS: usize = 1 << 40;

/// Whether a type of known sizes has at most [`MOST_ELEMENTS`]; sizes of zero do not excuse the others.
fn is_countable(ty: &TensorType) -> bool {
    let Some(shape) = ty.const_shape() else { return true };
    shape.iter().try_fold(1usize, |n, size| n.checked_mul((*size).max(1))).is_some_and(|n| n <= MOST_ELEMENTS)
}

/// Number of an operator's own inputs, epilogue operands not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

/// What every operator file provides.
pub trait OpDef {
    fn arity(&self) -> Arity;
    /// Types of the outputs, before the epilogue. `inputs` are the operator's own; their number fits the arity.
    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError>;
    /// The specification, transcribed naively; before the epilogue. Inputs have passed `infer`.
    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError>;
    /// The lowering. `inputs` includes the epilogue's operands.
    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm;
    /// The expression applied to the result; operators without one cannot absorb pointwise work.
    fn epilogue(&self) -> Option<&Pointwise> {
        None
    }
    fn epilogue_mut(&mut self) -> Option<&mut Pointwise> {
        None
    }
    /// Elements of the first output as sizes, when they follow from the inputs' known elements and types.
    fn sizes(&self, _known: &[Option<&[Dim]>], _types: &[&TensorType]) -> Option<Vec<Dim>> {
        None
    }
}

/// Declares [`Op`] from rows `Variant "text_name" path::Type`.
macro_rules! ops {
    ($($variant:ident $name:literal $($path:ident)::+),* $(,)?) => {
        /// A core operator with its attributes.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Op { $($variant($($path)::+)),* }
        impl Op {
            /// Names of all core operators.
            pub const NAMES: &'static [&'static str] = &[$($name),*];
            pub fn name(&self) -> &'static str { match self { $(Op::$variant(_) => $name),* } }
            pub fn def(&self) -> &dyn OpDef { match self { $(Op::$variant(op) => op),* } }
            pub fn def_mut(&mut self) -> &mut dyn OpDef { match self { $(Op::$variant(op) => op),* } }
            /// Attributes that differ from their defaults.
            pub fn attrs(&self) -> Vec<(&'static str, Attr)> { match self { $(Op::$variant(op) => op.attrs()),* } }
            /// Names of the attributes of the operator with this name.
            pub fn attr_names(name: &str) -> Option<&'static [&'static str]> {
                match name { $($name => Some(<$($path)::+ as Attrs>::NAMES),)* _ => None }
            }
            /// Builds from a name and attributes.
            pub fn from_attrs(name: &str, attrs: &[(String, Attr)]) -> Result<Op, String> {
                match name {
                    $($name => <$($path)::+>::from_attrs(attrs).map(Op::$variant),)*
                    _ => Err(format!("there is no operator `{name}`")),
                }
            }
        }
        $(impl From<$($path)::+> for Op { fn from(op: $($path)::+) -> Op { Op::$variant(op) } })*
    };
}

ops! {
    Map "map" map::Map,
    MatMul "matmul" contract::matmul::MatMul,
    Conv "conv" contract::conv::Conv,
    Pool "pool" window::pool::Pool,
    Reduce "reduce" reduce::reduce_op::Reduce,
    Softmax "softmax" reduce::softmax::Softmax,
    Normalize "normalize" reduce::normalize::Normalize,
    Transpose "transpose" shuffle::transpose::Transpose,
    Reshape "reshape" shuffle::reshape::Reshape,
    Expand "expand" shuffle::expand::Expand,
    Slice "slice" shuffle::slice::Slice,
    Pad "pad" shuffle::pad::Pad,
    Concat "concat" shuffle::concat::Concat,
    Gather "gather" gather::gather_op::Gather,
    Recurrent "recurrent" recurrent::recurrent_op::Recurrent,
    Sizes "sizes" shuffle::sizes::Sizes,
    If "if" control::If,
    Loop "loop" control::Loop,
    Measure "measure" control::Measure,
    CheckSizes "check_sizes" routine::check::CheckSizes,
    CheckAxes "check_axes" routine::check::CheckAxes,
    DynamicSlice "dynamic_slice" routine::dynamic::DynamicSlice,
    DynamicPad "dynamic_pad" routine::dynamic::DynamicPad,
    ReduceAxes "reduce_axes" routine::dynamic::ReduceAxes,
    Cumulate "cumulate" routine::dynamic::Cumulate,
    TopK "top_k" routine::select::TopK,
    Unique "unique" routine::select::Unique,
    NonZero "nonzero" routine::select::NonZero,
    Compress "compress" routine::select::Compress,
    ReverseSequence "reverse_sequence" routine::select::ReverseSequence,
    GatherElements "gather_elements" routine::scatter::GatherElements,
    GatherNd "gather_nd" routine::scatter::GatherNd,
    ScatterElements "scatter_elements" routine::scatter::ScatterElements,
    ScatterNd "scatter_nd" routine::scatter::ScatterNd,
    TensorScatter "tensor_scatter" routine::scatter::TensorScatter,
    MaxPoolIndices "max_pool_indices" routine::pool::MaxPoolIndices,
    MaxUnpool "max_unpool" routine::pool::MaxUnpool,
    MaxRoiPool "max_roi_pool" routine::pool::MaxRoiPool,
    Col2Im "col2im" routine::pool::Col2Im,
    GridSample "grid_sample" routine::sample::GridSample,
    RoiAlign "roi_align" routine::sample::RoiAlign,
    DeformConv "deform_conv" routine::sample::DeformConv,
    Resize "resize" routine::sample::Resize,
    NonMaxSuppression "non_max_suppression" routine::detect::NonMaxSuppression,
    Det "det" routine::detect::Det,
    RandomUniform "random_uniform" routine::random::RandomUniform,
    RandomNormal "random_normal" routine::random::RandomNormal,
    Bernoulli "bernoulli" routine::random::Bernoulli,
    Multinomial "multinomial" routine::random::Multinomial,
}

impl Op {
    /// The same operator with the symbols in its sizes replaced by what `value` gives for them. Graphs that it holds stay.
    pub fn substitute(&self, value: &dyn Fn(&str) -> Option<Dim>) -> Op {
        let attrs = self.attrs().into_iter().map(|(name, attr)| match attr {
            Attr::Dims(dims) => (name.to_string(), Attr::Dims(dims.iter().map(|d| d.substitute(value)).collect())),
            attr => (name.to_string(), attr),
        });
        Op::from_attrs(self.name(), &attrs.collect::<Vec<_>>()).expect("attributes keep their kinds")
    }

    /// Symbols in the operator's sizes and in those of the nodes of its graphs, apart from what these define themselves.
    pub fn mentions(&self) -> Vec<std::sync::Arc<str>> {
        let mut names: Vec<_> =
            self.attrs().into_iter().flat_map(|(_, attr)| if let Attr::Dims(dims) = attr { dims } else { vec![] }).collect();
        for graph in self.subgraphs() {
            for id in graph.order() {
                let node = graph.node(id);
                names.extend(node.op.mentions().iter().map(|s| Dim::symbol(s)));
                names.extend(node.outputs.iter().flat_map(|v| graph.ty(*v).shape.clone()));
            }
        }
        names.iter().flat_map(Dim::symbols).collect()
    }

    /// Symbols in the operator's sizes.
    pub fn symbols(&self) -> Vec<std::sync::Arc<str>> {
        let mut names = vec![];
        for (_, attr) in self.attrs() {
            match attr {
                Attr::Dims(dims) => names.extend(dims.iter().flat_map(Dim::symbols)),
                Attr::Graph(graph) => names.extend(graph.symbols.keys().cloned()),
                _ => {}
            }
        }
        names
    }

    /// Number of the operator's own inputs among `total`; the rest are operands of the epilogue.
    pub fn own_inputs(&self, total: usize) -> usize {
        match self.def().arity() {
            Arity::Exactly(n) => n.min(total),
            Arity::AtLeast(_) => total,
        }
    }

    /// Types of the outputs, epilogue included.
    pub fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let def = self.def();
        let (Arity::Exactly(least) | Arity::AtLeast(least)) = def.arity();
        let extra = def.epilogue().map_or(0, |e| e.args().max(1) - 1);
        let most = match def.arity() {
            Arity::Exactly(n) => n + extra,
            Arity::AtLeast(_) => usize::MAX,
        };
        if inputs.len() < least || inputs.len() > most {
            op_error!("`{}` takes {} inputs, found {}", self.name(), least + extra, inputs.len());
        }
        let own = self.own_inputs(inputs.len());
        let mut outputs = def.infer(&inputs[..own])?;
        if let Some(epilogue) = def.epilogue().filter(|e| !e.is_identity()) {
            let base = &outputs[0];
            for (i, extra) in inputs[own..].iter().enumerate() {
                if !broadcasts_into(&extra.shape, &base.shape) {
                    op_error!("epilogue operand %{} of shape {} does not broadcast into {}", i + 1, extra, base);
                }
            }
            let types: Vec<_> = std::iter::once(base.dtype).chain(inputs[own..].iter().map(|t| t.dtype)).collect();
            outputs[0].dtype = epilogue.result_type(&types).map_err(OpError)?;
        }
        if let Some(ty) = outputs.iter().find(|ty| ty.shape.iter().any(|size| size.as_const().is_some_and(|size| size < 0))) {
            op_error!("the result {ty} would have a negative size");
        }
        if let Some(ty) = outputs.iter().find(|ty| !is_countable(ty)) {
            op_error!("the result {ty} would have more than {MOST_ELEMENTS} elements");
        }
        Ok(outputs)
    }

    /// The meaning of the operator, epilogue included.
    pub fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let own = self.own_inputs(inputs.len());
        let mut outputs = self.def().eval(&inputs[..own])?;
        if let Some(epilogue) = self.def().epilogue().filter(|e| !e.is_identity()) {
            let shape = outputs[0].shape.clone();
            let operands: Vec<&Tensor> = std::iter::once(&outputs[0]).chain(inputs[own..].iter().copied()).collect();
            outputs[0] = map::eval_pointwise(epilogue, &operands, &shape)?;
        }
        Ok(outputs)
    }

    /// Elements of the first output as sizes, when they are known.
    pub fn sizes(&self, known: &[Option<&[Dim]>], types: &[&TensorType]) -> Option<Vec<Dim>> {
        self.def().sizes(known, types)
    }
}

/// True when `shape` broadcasts to exactly `into` (numpy rules, `into` does not grow).
pub fn broadcasts_into(shape: &[Dim], into: &[Dim]) -> bool {
    shape.len() <= into.len() && shape.iter().zip(&into[into.len() - shape.len()..]).all(|(d, o)| *d == 1 || d == o)
}

/// Turns an axis that may count from the end into 0..rank.
pub fn normalize_axis(axis: i64, rank: usize) -> Result<usize, OpError> {
    let r = rank as i64;
    if axis < -r || axis >= r {
        op_error!("axis {axis} is out of range for rank {rank}");
    }
    Ok(if axis < 0 { (axis + r) as usize } else { axis as usize })
}

/// Axes of a reduction: within 0..rank and increasing.
pub fn check_axes(name: &str, axes: &[i64], x: &TensorType) -> Result<(), OpError> {
    if let Some(axis) = axes.iter().find(|a| **a < 0 || **a >= x.rank() as i64) {
        op_error!("{name}: axis {axis} is out of range for {x}");
    }
    if !axes.is_sorted_by(|a, b| a < b) {
        op_error!("{name}: the axes {axes:?} are not increasing");
    }
    Ok(())
}
