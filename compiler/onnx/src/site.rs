//! The place where one ONNX node expands: its inputs, attributes and opset version on one side, the graph under construction
//! on the other. Helpers only; what an operator means is in `ops`.

use crate::attributes::Attributes;
use crate::error::{Fault, invalid, unsupported};
use crate::inputs::{Choices, input_type};
use crate::proto::ValueInfoProto;
use ir::ops::control::Measure;
use ir::ops::map::Map;
use ir::ops::reduce::reduce_op::{Reduce, ReduceKind};
use ir::ops::shuffle::{concat::Concat, expand::Expand, reshape::Reshape, sizes::Sizes, slice::Slice, transpose::Transpose};
use ir::pointwise::{Fn, Literal, Operand, Pointwise, Step};
use ir::text::Term;
use ir::{Bound, DType, Dim, Graph, NodeId, Op, Tensor, TensorType, ValueId};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Small tensors whose elements are known at import although a node computes them.
pub(crate) type Folded = HashMap<ValueId, Arc<Tensor>>;

/// One node to be expanded.
pub(crate) struct Site<'a, 'm> {
    pub graph: &'a mut Graph,
    pub folded: &'a mut Folded,
    /// Version of the operator set.
    pub version: i64,
    pub op_type: &'m str,
    /// Inputs in order; `None` where the file leaves one out.
    pub inputs: Vec<Option<ValueId>>,
    /// Names of the outputs; empty where the file leaves one out.
    pub outputs: &'m [String],
    pub attributes: Attributes<'m>,
    /// What the file declares of values, by name, and the sizes of symbolic dimensions.
    pub declared: &'a HashMap<&'m str, &'m ValueInfoProto>,
    pub dims: &'a Choices,
    /// Directory of external data.
    pub base: Option<&'a Path>,
    pub origin: Vec<Arc<str>>,
    /// Name of the values made here.
    pub name: String,
}

/// An operand of a pointwise function.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg {
    Value(ValueId),
    Float(f64),
    Int(i64),
}
impl From<ValueId> for Arg {
    fn from(v: ValueId) -> Arg {
        Arg::Value(v)
    }
}
impl From<f64> for Arg {
    fn from(x: f64) -> Arg {
        Arg::Float(x)
    }
}
impl From<i64> for Arg {
    fn from(i: i64) -> Arg {
        Arg::Int(i)
    }
}

/// Elements of tensors that the importer computes itself: shapes, axes, scales.
const FOLD_LIMIT: usize = 256;

const SYMBOL_LIMIT: usize = 1000;

/// Positions that the importer lists.
const POSITION_LIMIT: usize = 1 << 24;

impl<'m> Site<'_, 'm> {
    /// An input that must be there.
    pub fn input(&self, i: usize) -> Result<ValueId, Fault> {
        match self.optional(i) {
            Some(v) => Ok(v),
            None => invalid!("input {} is missing; found {} inputs", i + 1, self.inputs.len()),
        }
    }
    pub fn optional(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }
    /// All inputs of an operator that takes any number.
    pub fn variadic(&self) -> Result<Vec<ValueId>, Fault> {
        (0..self.inputs.len().max(1)).map(|i| self.input(i)).collect()
    }
    pub fn ty(&self, v: ValueId) -> TensorType {
        self.graph.ty(v).clone()
    }
    pub fn dtype(&self, v: ValueId) -> DType {
        self.graph.ty(v).dtype
    }
    pub fn shape(&self, v: ValueId) -> Vec<Dim> {
        self.graph.ty(v).shape.clone()
    }
    pub fn rank(&self, v: ValueId) -> usize {
        self.graph.ty(v).rank()
    }
    /// The size of one dimension, which must be there.
    pub fn size(&self, v: ValueId, axis: usize) -> Result<Dim, Fault> {
        match self.graph.ty(v).shape.get(axis) {
            Some(size) => Ok(size.clone()),
            None => invalid!("a tensor of at least {} dimensions is needed, found {}", axis + 1, self.ty(v)),
        }
    }
    /// The shape of a value that must have N dimensions.
    pub fn dims<const N: usize>(&self, v: ValueId) -> Result<[Dim; N], Fault> {
        let Ok(shape) = self.shape(v).try_into() else { invalid!("a tensor of {N} dimensions is needed, found {}", self.ty(v)) };
        Ok(shape)
    }
    /// The shape of a value as numbers; `what` for the error.
    pub fn const_shape(&self, v: ValueId, what: &str) -> Result<Vec<i64>, Fault> {
        self.shape(v).iter().map(|d| d.as_const().ok_or_else(|| Fault::run_time(what))).collect()
    }

    /// Elements of a value, when they are known at import.
    pub fn constant(&self, v: ValueId) -> Option<Arc<Tensor>> {
        self.graph.constant(v).or_else(|| self.folded.get(&v)).cloned()
    }
    /// The one element of a constant.
    pub fn scalar(&self, v: ValueId) -> Option<f64> {
        self.constant(v).filter(|t| t.len() == 1).map(|t| t.get_f64(0))
    }
    /// Elements of a constant as numbers; `what` for the error.
    pub fn numbers(&self, v: ValueId, what: &str) -> Result<Vec<f64>, Fault> {
        self.constant(v).map(|t| t.to_f64s()).ok_or_else(|| Fault::run_time(what))
    }
    /// Elements of an integer tensor as sizes, possibly symbolic; `what` for the error.
    pub fn sizes(&self, v: ValueId, what: &str) -> Result<Vec<Dim>, Fault> {
        let ty = self.graph.ty(v);
        if !ty.dtype.is_int() || ty.rank() > 1 {
            invalid!("the {what} must be a list of integers, found {ty}");
        }
        match &self.graph.value(v).sizes {
            Some(sizes) => Ok(sizes.clone()),
            None => self.constant(v).map(|t| t.to_i64s().into_iter().map(Dim::from).collect()).ok_or_else(|| Fault::run_time(what)),
        }
    }
    /// Elements of an integer tensor as numbers; `what` for the error.
    pub fn ints(&self, v: ValueId, what: &str) -> Result<Vec<i64>, Fault> {
        self.sizes(v, what)?.iter().map(|d| d.as_const().ok_or_else(|| Fault::run_time(what))).collect()
    }
    /// Integers that are an attribute in old opsets and input `i` in new ones.
    pub fn ints_or_input(&self, attribute: &str, i: usize) -> Result<Option<Vec<i64>>, Fault> {
        match (self.attributes.ints(attribute)?, self.optional(i)) {
            (Some(list), _) => Ok(Some(list.to_vec())),
            (None, Some(v)) => self.ints(v, attribute).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The shape that the file declares of an output.
    pub fn declared(&mut self, output: usize) -> Result<Vec<Dim>, Fault> {
        let name = self.outputs.get(output).map_or("", String::as_str);
        let Some(info) = self.declared.get(name) else { return Err(Fault::undeclared(output)) };
        match input_type(info, self.dims, &mut self.graph.symbols) {
            Ok(ty) => Ok(ty.shape),
            Err(_) => Err(Fault::undeclared(output)),
        }
    }

    /// Brings an axis that may count from the end into 0..rank.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, Fault> {
        ir::ops::normalize_axis(axis, rank).map_err(Fault::from)
    }
    /// The attribute `axis`, for a value of this rank.
    pub fn axis_attribute(&self, default: i64, rank: usize) -> Result<usize, Fault> {
        self.axis(self.attributes.int_or("axis", default)?, rank)
    }
    /// Axes in 0..rank, sorted; each at most once.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
        let mut sorted = axes.iter().map(|a| self.axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            invalid!("the axes {axes:?} name a dimension twice");
        }
        Ok(sorted)
    }

    /// Adds a node.
    pub fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId, Fault> {
        let node = self.graph.add_node(op, inputs, &self.origin, &self.name)?;
        self.fold(node);
        Ok(self.graph.node(node).outputs[0])
    }

    pub fn constant_value(&mut self, tensor: Tensor) -> ValueId {
        self.graph.add_const(&self.name, tensor)
    }

    /// Computes a small node whose inputs are known, so that later nodes can take shapes and scales from it. The node stays:
    /// replacing it is constant folding's business.
    fn fold(&mut self, node: NodeId) {
        let node = self.graph.node(node);
        let [out] = node.outputs[..] else { return };
        let small = |v: ValueId| {
            let elements = self.graph.ty(v).shape.iter().try_fold(1usize, |n, d| n.checked_mul(usize::try_from(d.as_const()?).ok()?));
            elements.is_some_and(|n| n <= FOLD_LIMIT)
        };
        if !small(out) || !node.inputs.iter().all(|v| small(*v)) {
            return;
        }
        let Some(inputs) = node.inputs.iter().map(|v| self.constant(*v)).collect::<Option<Vec<_>>>() else { return };
        let inputs: Vec<&Tensor> = inputs.iter().map(|t| &**t).collect();
        let Some(tensor) = node.op.eval(&inputs).ok().and_then(|outputs| outputs.into_iter().next()) else { return };
        if tensor.dtype.is_int() && tensor.rank() <= 1 {
            let sizes = tensor.to_i64s().into_iter().map(Dim::from).collect();
            self.graph.value_mut(out).sizes = Some(sizes);
        }
        self.folded.insert(out, Arc::new(tensor));
    }

    /// One scalar function of values and literals.
    pub fn map<const N: usize>(&mut self, f: Fn, args: [Arg; N]) -> Result<ValueId, Fault> {
        let mut values: Vec<ValueId> = vec![];
        let operands = args.map(|arg| match arg {
            Arg::Value(v) => {
                values.push(v);
                Operand::Arg(values.len() - 1)
            }
            Arg::Float(x) => Operand::Literal(Literal::Float(x)),
            Arg::Int(i) => Operand::Literal(Literal::Int(i)),
        });
        self.add(Map { body: Pointwise { steps: vec![Step { f, operands: operands.to_vec() }] } }, &values)
    }
    /// The nodes of a term over values, e.g. `mul(?a, sigmoid(?a))`: `?a` is the first value, `?b` the second.
    pub fn term(&mut self, text: &str, values: &[ValueId]) -> Result<ValueId, Fault> {
        let term = ir::text::parse_term(text).map_err(|e| Fault::invalid(format!("expansion `{text}`: {e}")))?;
        let variable = |name: &str| values.get(usize::from(name.as_bytes()[0].wrapping_sub(b'a'))).copied();
        let result = ir::text::instantiate(self.graph, &term, &variable, &|_| None, &self.origin, &self.name)?;
        // The nodes of a term are created in one go, its root last.
        if let Some(NodeId(root)) = self.graph.producer(result) {
            (root + 1 - calls(&term)..=root).for_each(|n| self.fold(NodeId(n)));
        }
        Ok(result)
    }
    pub fn unary(&mut self, f: Fn, x: ValueId) -> Result<ValueId, Fault> {
        self.map(f, [x.into()])
    }
    pub fn binary(&mut self, f: Fn, a: impl Into<Arg>, b: impl Into<Arg>) -> Result<ValueId, Fault> {
        self.map(f, [a.into(), b.into()])
    }
    pub fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId, Fault> {
        if self.dtype(x) == to { Ok(x) } else { self.unary(Fn::Cast(to), x) }
    }

    pub fn reshape(&mut self, x: ValueId, shape: Vec<Dim>) -> Result<ValueId, Fault> {
        if self.graph.ty(x).shape == shape { Ok(x) } else { self.add(Reshape { shape }, &[x]) }
    }
    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId, Fault> {
        self.add(Transpose { perm: perm.iter().map(|p| *p as i64).collect() }, &[x])
    }
    pub fn expand(&mut self, x: ValueId, shape: Vec<Dim>) -> Result<ValueId, Fault> {
        if self.graph.ty(x).shape == shape { Ok(x) } else { self.add(Expand { shape }, &[x]) }
    }
    pub fn concat(&mut self, parts: &[ValueId], axis: usize) -> Result<ValueId, Fault> {
        match parts {
            [one] => Ok(*one),
            parts => self.add(Concat { axis: axis as i64 }, parts),
        }
    }
    /// `count` elements of one dimension from `start` on.
    pub fn slice(&mut self, x: ValueId, axis: usize, start: Dim, count: Dim, step: i64) -> Result<ValueId, Fault> {
        if self.size(x, axis)? == count && start == 0 && step == 1 {
            return Ok(x);
        }
        let mut counts = self.shape(x);
        let rank = counts.len();
        let (mut starts, mut steps) = (vec![Dim::from(0i64); rank], vec![1; rank]);
        (starts[axis], counts[axis], steps[axis]) = (start, count, step);
        self.add(Slice { starts, counts, steps }, &[x])
    }
    pub fn reduce(&mut self, kind: ReduceKind, x: ValueId, axes: &[usize], keepdims: bool) -> Result<ValueId, Fault> {
        self.add(Reduce { kind, axes: axes.iter().map(|a| *a as i64).collect(), keepdims, epilogue: Pointwise::identity() }, &[x])
    }
    /// A one-dimensional `i64` tensor of sizes.
    pub fn sizes_value(&mut self, dims: Vec<Dim>) -> Result<ValueId, Fault> {
        match ir::dim::const_dims(&dims) {
            Some(known) => {
                let known: Vec<i64> = known.into_iter().map(|d| d as i64).collect();
                Ok(self.constant_value(Tensor::new(&[known.len()], &known)))
            }
            None => self.add(Sizes { dims }, &[]),
        }
    }
    /// A per-channel parameter `[C]` as `[C, 1, …]`, to broadcast against `[N, C, spatial…]` of this rank.
    pub fn per_channel(&mut self, parameter: ValueId, rank: usize) -> Result<ValueId, Fault> {
        let ty = self.ty(parameter);
        if ty.rank() != 1 {
            invalid!("a parameter per channel must have one dimension, found {ty}");
        }
        let mut shape = ty.shape;
        shape.resize(rank.max(2) - 1, 1i64.into());
        self.reshape(parameter, shape)
    }

    /// A number that data decides, an integer of one element, as a size; `most` bounds it. `checked`: nothing but a check at run
    /// time makes sure of that.
    pub fn measured(&mut self, number: ValueId, most: &Dim, checked: bool) -> Result<Dim, Fault> {
        self.another_symbol()?;
        let Some(most) = most.range(&self.graph.symbols).1.filter(|most| *most <= i64::from(i32::MAX)) else {
            return Err(Fault::run_time("size"));
        };
        let number = self.cast(number, DType::I64)?;
        let known =
            self.graph.node_ids().map(|id| self.graph.node(id)).find(|node| matches!(node.op, Op::Measure(_)) && node.inputs[0] == number);
        if let Some(Op::Measure(known)) = known.map(|node| &node.op) {
            return Ok(known.size[0].clone());
        }
        let size = found_symbol(self.graph, most);
        self.add(Measure { size: vec![size.clone()], checked }, &[number])?;
        Ok(size)
    }

    /// Fails when a model has more symbols than anybody means: each is looked for among all.
    pub fn another_symbol(&self) -> Result<(), Fault> {
        if self.graph.symbols.len() >= SYMBOL_LIMIT {
            unsupported!("more than {SYMBOL_LIMIT} sizes that are not known at export are not supported");
        }
        Ok(())
    }

    /// 0, 1, … n − 1 along an axis, shaped to broadcast against a value of this rank.
    pub fn positions(&mut self, dtype: DType, rank: usize, axis: usize, n: i64) -> Result<ValueId, Fault> {
        let Some(size) = usize::try_from(n).ok().filter(|n| *n <= POSITION_LIMIT) else {
            unsupported!("positions along an axis of {n} elements are not supported: at most {POSITION_LIMIT}")
        };
        let mut along = vec![1; rank];
        along[axis] = size;
        Ok(self.constant_value(Tensor::from_fn(dtype, &along, |i| i as f64)))
    }

    /// A symbolic number of elements as an operand: a literal where it is known, else a scalar node of `dtype`.
    pub fn size_operand(&mut self, size: &Dim, dtype: DType) -> Result<Arg, Fault> {
        match size.as_const() {
            Some(n) if dtype.is_float() => Ok(Arg::Float(n as f64)),
            Some(n) => Ok(Arg::Int(n)),
            None => {
                let sizes = self.add(Sizes { dims: vec![size.clone()] }, &[])?;
                let scalar = self.reshape(sizes, vec![])?;
                self.cast(scalar, dtype).map(Arg::Value)
            }
        }
    }
}

/// A new symbol for a size that data decides, of at most `most`.
pub(crate) fn found_symbol(graph: &mut Graph, most: i64) -> Dim {
    let is_new = |name: &String| !graph.symbols.contains_key(name.as_str());
    let name = (1..).map(|i| format!("found_{i}")).find(is_new).expect("there are enough numbers");
    graph.symbols.insert(name.as_str().into(), Bound { min: 0, max: Some(most.max(0)) });
    Dim::symbol(&name)
}

/// Number of nodes that a term becomes.
fn calls(term: &Term) -> u32 {
    match term {
        Term::Call { args, .. } => 1 + args.iter().map(calls).sum::<u32>(),
        Term::Var(_) | Term::Literal(_) => 0,
    }
}
