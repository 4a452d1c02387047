//! Algorithms: what an operator computes, as loop nests over affine indices. Data only: how the loops are ordered,
//! tiled and vectorised is a schedule's business, elsewhere.
//!
//! A nest has *axes* with extents. Tensor indices are affine expressions of the axes. Axes that occur in the output's
//! index are parallel; the others are summed (or maximised, …) over.

use crate::dim::Dim;
use crate::pointwise::{Literal, Pointwise};

mod interpret;
pub mod recurrent;
pub mod routine;
pub use interpret::{InterpretError, interpret};

/// Index of an axis in its nest.
pub type Axis = usize;

/// `offset + Σ coefficient · axis`: the index into one dimension of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affine {
    pub terms: Vec<(Axis, i64)>,
    pub offset: Dim,
}

impl Affine {
    pub fn axis(axis: Axis) -> Affine {
        Affine { terms: vec![(axis, 1)], offset: 0i64.into() }
    }
    pub fn constant(offset: impl Into<Dim>) -> Affine {
        Affine { terms: vec![], offset: offset.into() }
    }
    /// `coefficient · axis + offset`
    pub fn scaled(axis: Axis, coefficient: i64, offset: impl Into<Dim>) -> Affine {
        Affine { terms: vec![(axis, coefficient)], offset: offset.into() }
    }
    pub fn plus(mut self, axis: Axis, coefficient: i64) -> Affine {
        self.terms.push((axis, coefficient));
        self
    }
    /// The factor of an axis; 0 when it does not occur.
    pub fn coefficient(&self, axis: Axis) -> i64 {
        self.terms.iter().filter(|(a, _)| *a == axis).map(|(_, c)| c).sum()
    }
    /// Value at an index of the nest, when the offset is a number.
    pub fn at(&self, index: &[usize]) -> Option<i64> {
        Some(self.offset.as_const()? + self.terms.iter().map(|(a, c)| c * index[*a] as i64).sum::<i64>())
    }
}

/// How a nest reads one of the node's inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Which input of the node.
    pub operand: usize,
    /// One index per dimension of that input.
    pub index: Vec<Affine>,
    /// What an index outside the tensor reads. `None`: no index is outside.
    pub pad: Option<Literal>,
}

impl Access {
    pub fn new(operand: usize, index: Vec<Affine>) -> Access {
        Access { operand, index, pad: None }
    }
    pub fn padded(operand: usize, index: Vec<Affine>, pad: Literal) -> Access {
        Access { operand, index, pad: Some(pad) }
    }
    /// Numpy broadcasting of an operand of `shape` against an output indexed by `out`.
    pub fn broadcast(operand: usize, shape: &[Dim], out: &[Affine]) -> Access {
        let skip = out.len() - shape.len();
        let index = shape.iter().zip(&out[skip..]).map(|(d, o)| if *d == 1 { Affine::constant(0i64) } else { o.clone() });
        Access::new(operand, index.collect())
    }
}

/// A pointwise expression after the nest's own result: `%0` is the result, `%1…` are the operands in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Epilogue {
    pub body: Pointwise,
    pub operands: Vec<Access>,
}

/// How values along reduced axes combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Combine {
    Sum,
    Product,
    Min,
    Max,
}

/// `out[i] = body(operand₀[…], operand₁[…], …)` for every index of the output's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// The output's shape.
    pub axes: Vec<Dim>,
    pub body: Pointwise,
    pub operands: Vec<Access>,
}

/// `out[…] = epilogue(Σ a[…] · b[…])`: matrix products and convolutions. Sums run over the reduced axes in order, the
/// last one fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    pub axes: Vec<Dim>,
    pub a: Access,
    pub b: Access,
    pub out: Vec<Affine>,
    pub epilogue: Epilogue,
}

/// `out[…] = epilogue(combine over taps of x[…] (· w[…]))`, each output channel reading one input channel: depthwise
/// convolution and pooling.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub axes: Vec<Dim>,
    pub x: Access,
    pub w: Option<Access>,
    pub combine: Combine,
    pub out: Vec<Affine>,
    pub epilogue: Epilogue,
}

/// One pass over a group: `result = combine(body(x, earlier results))`. In `body`, `%0` is the element and `%1…` are the
/// results of the earlier stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    pub combine: Combine,
    pub body: Pointwise,
}

/// Sums, norms, softmax: stages over a group of elements, then one result per element or per group.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduce {
    pub axes: Vec<Dim>,
    /// The axes that form a group; all others are parallel.
    pub reduced: Vec<Axis>,
    pub x: Access,
    pub stages: Vec<Stage>,
    /// `%0` is the element, or, when `per_group`, the last stage's result; `%1…` are the stages' results.
    pub finish: Pointwise,
    /// The output has one element per group (its index holds no reduced axis) instead of one per input element.
    pub per_group: bool,
    pub out: Vec<Affine>,
    pub epilogue: Epilogue,
}

/// A box of the output and where its elements come from. `read` is over the box's own axes, counted from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub start: Vec<Dim>,
    pub extent: Vec<Dim>,
    pub read: Access,
}

/// Moves elements without computing: transpose, slice, pad, concat, broadcast. The pieces cover the output once.
#[derive(Debug, Clone, PartialEq)]
pub struct Shuffle {
    pub pieces: Vec<Piece>,
}

/// `out[…] = data[…]` where one index of `data` comes from a tensor. Negative indices count from the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    /// The output's shape.
    pub axes: Vec<Dim>,
    pub data: Access,
    /// The dimension of `data` whose index is `indices[…]`; its affine part in `data` is ignored.
    pub dim: usize,
    pub indices: Access,
}

/// What an operator computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Algorithm {
    Map(Map),
    Contract(Contract),
    Window(Window),
    Reduce(Reduce),
    Shuffle(Shuffle),
    Gather(Gather),
    Recurrent(recurrent::Recurrent),
    Routine(routine::Routine),
    /// The output is input 0 under another shape: no work.
    View,
    /// The output's elements are these sizes.
    Sizes(Vec<Dim>),
    /// The output is input 0, whose one element is the value of this symbol from here on.
    Measure(Dim),
    /// Graphs within the operator, under control of its inputs.
    Control,
}

impl Epilogue {
    /// The epilogue of a node whose inputs from `first` on broadcast to the output.
    pub fn broadcast(body: &Pointwise, inputs: &[&crate::graph::TensorType], first: usize, out: &[Affine]) -> Epilogue {
        let operands = inputs.iter().enumerate().skip(first).map(|(i, t)| Access::broadcast(i, &t.shape, out));
        Epilogue { body: body.clone(), operands: operands.collect() }
    }
}
