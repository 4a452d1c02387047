//! Random valid graphs: operators in sequence over shared values, branches and loops, free sizes, quantised layers.

use crate::instances;
use crate::rng::Rng;
use ir::ops::contract::conv::{Conv, DataLayout};
use ir::ops::contract::matmul::MatMul;
use ir::ops::control::{If, Loop, Subgraph};
use ir::ops::gather::gather_op::Gather;
use ir::ops::map::Map;
use ir::ops::reduce::normalize::Normalize;
use ir::ops::reduce::reduce_op::{Reduce, ReduceKind};
use ir::ops::reduce::softmax::Softmax;
use ir::ops::shuffle::concat::Concat;
use ir::ops::shuffle::expand::Expand;
use ir::ops::shuffle::pad::Pad;
use ir::ops::shuffle::reshape::Reshape;
use ir::ops::shuffle::slice::Slice;
use ir::ops::shuffle::transpose::Transpose;
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::{Fn, Literal, Operand, Pointwise};
use ir::{B8, Bound, DType, Dim, Graph, Op, Tensor, TensorType, ValueId};

/// What a graph may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub nodes: usize,
    /// Branches and loops.
    pub flow: bool,
    /// A size that is known at run time only.
    pub free: bool,
    /// Layers of bytes.
    pub quantised: bool,
}

/// A graph, tensors for its inputs, and which outputs mean the same in every rounding.
#[derive(Debug)]
pub(crate) struct Grown {
    pub graph: Graph,
    pub inputs: Vec<Tensor>,
    /// By output: how its elements compare with the meaning.
    pub trust: Vec<Trust>,
}

/// How a value follows from the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trust {
    /// To the bit.
    Exact,
    /// Up to rounding.
    Rounded,
    /// A jump behind a rounding: anything near it.
    Unclear,
}

/// The size of the free dimension in the inputs, and its bound.
const SIZES: (i64, i64) = (1, 6);
const FREE: &str = "n";
/// Elements of a value.
const LIMIT: i64 = 6000;

/// The graph of a seed.
pub(crate) fn grow(seed: u64, shape: Shape) -> Grown {
    let rng = &mut Rng::new(seed);
    let mut grower =
        Grower { graph: Graph::new("grown"), pool: vec![], trust: vec![], inputs: vec![], shape, n: rng.range(SIZES.0, SIZES.1), depth: 0 };
    if shape.free {
        grower.graph.symbols.insert(FREE.into(), Bound { min: SIZES.0, max: Some(SIZES.1) });
    }
    grower.add_input(TensorType::new(DType::F32, [2i64, 3]), rng);
    for _ in 0..shape.nodes {
        if rng.one_in(8) {
            grower.input(rng);
        }
        // What does not fit is left out.
        (0..8).find_map(|_| grower.step(rng));
    }
    grower.finish(rng)
}

struct Grower {
    graph: Graph,
    pool: Vec<ValueId>,
    /// Of each value of the pool.
    trust: Vec<Trust>,
    inputs: Vec<Tensor>,
    shape: Shape,
    n: i64,
    /// Graphs around this one.
    depth: usize,
}

const FLOATS: &[DType] = &[DType::F32, DType::F32, DType::F32, DType::F32, DType::F64, DType::F16, DType::BF16];
const ANY: &[DType] =
    &[DType::F32, DType::F32, DType::F32, DType::I32, DType::I64, DType::U8, DType::I8, DType::Bool, DType::F64, DType::U32];

impl Grower {
    /// The number that a size has in the inputs.
    fn number(&self, dim: &Dim) -> i64 {
        dim.substitute(&|name: &str| (name == FREE).then(|| Dim::from(self.n))).as_const().unwrap_or(1)
    }

    fn elements(&self, shape: &[Dim]) -> i64 {
        shape.iter().map(|d| if d.as_const().is_some() { self.number(d) } else { SIZES.1 }).fold(1, i64::saturating_mul)
    }

    /// An input, sometimes a constant, of a new shape.
    fn input(&mut self, rng: &mut Rng) {
        let dtype = if rng.one_in(2) { DType::F32 } else { ANY[rng.below(ANY.len())] };
        let rank = [0, 1, 2, 2, 3, 3, 4, 4, 4][rng.below(9)];
        let most = if rng.one_in(9) { 11 } else { 10 };
        let mut shape: Vec<Dim> = (0..rank).map(|_| Dim::from([1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 0][rng.below(most)])).collect();
        if self.shape.free && rank > 0 && !rng.one_in(3) {
            shape[rng.below(rank)] = Dim::symbol(FREE);
        }
        if self.elements(&shape) <= LIMIT {
            self.add_input(TensorType { dtype, shape }, rng);
        }
    }

    fn add_input(&mut self, ty: TensorType, rng: &mut Rng) -> ValueId {
        let sizes: Vec<usize> = ty.shape.iter().map(|d| self.number(d) as usize).collect();
        let tensor = Tensor::random(ty.dtype, &sizes, rng.bits());
        let value = self.graph.add_input(&format!("x{}", self.inputs.len()), ty);
        self.inputs.push(tensor);
        self.keep(value, Trust::Exact);
        value
    }

    fn constant(&mut self, dtype: DType, shape: &[usize], rng: &mut Rng) -> ValueId {
        self.graph.add_const("w", Tensor::random(dtype, shape, rng.bits()))
    }

    fn keep(&mut self, value: ValueId, trust: Trust) {
        self.pool.push(value);
        self.trust.push(trust);
    }

    /// A value, mostly a late one.
    fn pick(&self, rng: &mut Rng) -> ValueId {
        let n = self.pool.len();
        let late = n.min(4);
        self.pool[if rng.one_in(3) { rng.below(n) } else { n - 1 - rng.below(late) }]
    }

    fn trust_of(&self, values: &[ValueId]) -> Trust {
        let of = |v: &ValueId| self.pool.iter().position(|p| p == v).map_or(Trust::Exact, |i| self.trust[i]);
        values.iter().map(of).max().unwrap_or(Trust::Exact)
    }

    /// Adds a node if it is valid, of a size that is easily computed.
    fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Option<ValueId> {
        let op: Op = op.into();
        let types: Vec<&TensorType> = inputs.iter().map(|v| self.graph.ty(*v)).collect();
        let outputs = op.infer(&types).ok()?;
        if outputs.iter().any(|ty| self.elements(&ty.shape) > LIMIT || ty.shape.iter().any(|d| self.number(d) < 0)) {
            return None;
        }
        let float = types.first().is_some_and(|ty| ty.dtype.is_float());
        let rounds = matches!(op.name(), "matmul" | "conv" | "reduce" | "softmax" | "normalize" | "pool" | "map" | "recurrent") && float;
        let jumps = match &op {
            Op::Map(map) => map.body.steps.iter().any(|step| jumps(step.f)),
            Op::Reduce(_) => !outputs[0].dtype.is_float(),
            Op::If(_) | Op::Loop(_) => false,
            other => routines::find(other.name()).is_some(),
        };
        // What was rounded to 16 bits is no nearer for being written in more.
        let coarse = types.iter().any(|ty| ty.dtype.is_float() && ty.dtype.bytes() == 2);
        let widens = coarse && outputs.iter().any(|ty| ty.dtype.is_float() && ty.dtype.bytes() > 2);
        let before = self.trust_of(inputs);
        let trust = match before {
            Trust::Rounded if jumps || widens => Trust::Unclear,
            Trust::Exact if rounds || matches!(op, Op::If(_) | Op::Loop(_)) => Trust::Rounded,
            // A routine of floats computes.
            Trust::Exact if float && routines::find(op.name()).is_some() => Trust::Rounded,
            // A jump of what a body rounded.
            other => other,
        };
        let node = self.graph.add_node(op, inputs, &["layer".into()], "v").ok()?;
        let results = self.graph.node(node).outputs.clone();
        results.iter().for_each(|v| self.keep(*v, trust));
        results.first().copied()
    }

    fn map(&mut self, body: Pointwise, inputs: &[ValueId]) -> Option<ValueId> {
        self.add(Map { body }, inputs)
    }

    /// One more node, or a few.
    fn step(&mut self, rng: &mut Rng) -> Option<ValueId> {
        let x = self.pick(rng);
        match rng.below(25) {
            0..=3 => self.unary(x, rng),
            4..=7 => self.binary(x, rng),
            8 => self.cast(x, rng),
            9 | 10 => self.matmul(x, rng),
            11 | 12 => self.conv(x, rng),
            13 => self.pool(x, rng),
            14 => self.reduce(x, rng),
            15 => self.norm(x, rng),
            16 => self.transpose(x, rng),
            17 => self.reshape(x, rng),
            18 => self.slice(x, rng),
            19 => self.pad(x, rng),
            20 => self.join(x, rng),
            21 => self.gather(x, rng),
            22 if self.shape.quantised => self.quantise(x, rng),
            23 if self.shape.flow && self.depth < 2 => self.flow(x, rng),
            24 if self.depth == 0 && rng.one_in(3) => self.instance(rng),
            _ => self.binary(x, rng),
        }
    }

    fn unary(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let smooth = [Fn::Relu, Fn::Neg, Fn::Abs, Fn::Tanh, Fn::Sigmoid, Fn::Erf, Fn::Softplus];
        let rough = [Fn::Floor, Fn::Ceil, Fn::Round, Fn::Sign, Fn::Not, Fn::Sqrt, Fn::Exp];
        let f = if rng.one_in(6) { rough[rng.below(rough.len())] } else { smooth[rng.below(smooth.len())] };
        self.map(Pointwise::of(f), &[x])
    }

    fn binary(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let fs = [Fn::Add, Fn::Add, Fn::Sub, Fn::Mul, Fn::Mul, Fn::Max, Fn::Min, Fn::Div, Fn::Less, Fn::Equal, Fn::And, Fn::Xor, Fn::Mod];
        let f = fs[rng.below(fs.len())];
        let ty = self.graph.ty(x).clone();
        let literal = match rng.below(5) {
            0 => {
                let mut body = Pointwise::identity();
                let number = Operand::Literal(if ty.dtype.is_float() { Literal::Float(0.75) } else { Literal::Int(3) });
                let pair = if rng.one_in(2) { vec![Operand::Arg(0), number] } else { vec![number, Operand::Arg(0)] };
                body.push(f, pair);
                return self.map(body, &[x]);
            }
            1 => {
                // Along some dimensions only.
                let known: Vec<usize> = ty.shape.iter().map(|d| d.as_const().filter(|_| !rng.one_in(3)).unwrap_or(1) as usize).collect();
                let skip = rng.below(known.len() + 1);
                Some(self.constant(ty.dtype, &known[skip..], rng))
            }
            _ => None,
        };
        let fits = |v: &ValueId| {
            let other = self.graph.ty(*v);
            other.dtype == ty.dtype && (other.shape == ty.shape || other.rank() <= ty.rank())
        };
        let fitting: Vec<ValueId> = self.pool.iter().copied().filter(fits).collect();
        let y = literal.or_else(|| rng.pick(&fitting).copied())?;
        self.map(Pointwise::of(f), &[x, y])
    }

    fn cast(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let to = if rng.one_in(2) { FLOATS[rng.below(FLOATS.len())] } else { ANY[rng.below(ANY.len())] };
        self.map(Pointwise::of(Fn::Cast(to)), &[x])
    }

    fn matmul(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let ty = self.graph.ty(x).clone();
        let depth = ty.shape.last()?.as_const()? as usize;
        let columns = [1, 2, 3, 4, 5, 8, 12, 17][rng.below(8)];
        let transpose_b = rng.one_in(2);
        let bytes = ty.dtype.is_int() && ty.dtype.bits() == 8;
        let other: Vec<ValueId> = self.pool.iter().copied().filter(|v| self.graph.ty(*v).dtype == ty.dtype).collect();
        let w = if !bytes && rng.one_in(3) {
            *rng.pick(&other)?
        } else {
            let shape = if transpose_b { [columns, depth] } else { [depth, columns] };
            self.constant(if bytes { DType::I8 } else { ty.dtype }, &shape, rng)
        };
        let (epilogue, mut inputs) = self.epilogue(columns, rng, ty.dtype);
        inputs.splice(0..0, [x, w]);
        let sum = self.add(MatMul { transpose_b, epilogue }, &inputs)?;
        if bytes { self.requantise(sum, rng) } else { Some(sum) }
    }

    /// A bias and an activation, sometimes.
    fn epilogue(&mut self, channels: usize, rng: &mut Rng, dtype: DType) -> (Pointwise, Vec<ValueId>) {
        let mut body = Pointwise::identity();
        if !dtype.is_float() || rng.one_in(2) {
            return (body, vec![]);
        }
        let bias = self.constant(dtype, &[channels], rng);
        let sum = body.push(Fn::Add, vec![Operand::Arg(0), Operand::Arg(1)]);
        if rng.one_in(2) {
            body.push([Fn::Relu, Fn::Tanh, Fn::Sigmoid][rng.below(3)], vec![sum]);
        }
        (body, vec![bias])
    }

    fn conv(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let ty = self.graph.ty(x).clone();
        let s = ty.rank().checked_sub(2).filter(|s| (1..=2).contains(s))?;
        let data = DataLayout::ALL[rng.below(DataLayout::ALL.len())];
        let channels = ty.shape[data.channel(s + 2)].as_const()?;
        let group = if rng.one_in(4) { channels.max(1) } else { 1 };
        let per_group = (channels / group.max(1)) as usize;
        let mut w = vec![group as usize * [1, 2, 3, 4, 8][rng.below(5)], per_group];
        let three = rng.one_in(2);
        w.extend((0..s).map(|_| if three { 3 } else { 1 + rng.below(3) }));
        let mut longs = |n: usize, from: i64, to: i64| (0..n).map(|_| rng.range(from, to)).collect::<Vec<i64>>();
        let (strides, dilations, pads) = (if three { vec![1; s] } else { longs(s, 1, 2) }, longs(s, 1, 2), longs(2 * s, 0, 2));
        let bytes = ty.dtype.is_int() && ty.dtype.bits() == 8;
        let pad_value = if bytes { rng.range(0, 100) as i32 } else { 0 };
        let weights = self.constant(if bytes { DType::I8 } else { ty.dtype }, &w, rng);
        let (epilogue, mut inputs) =
            if data.channel(s + 2) == s + 1 { self.epilogue(w[0], rng, ty.dtype) } else { (Pointwise::identity(), vec![]) };
        inputs.splice(0..0, [x, weights]);
        let dilations = if three { vec![1; s] } else { dilations };
        let sum = self.add(Conv { strides, pads, dilations, group, data, pad_value, epilogue }, &inputs)?;
        if bytes { self.requantise(sum, rng) } else { Some(sum) }
    }

    fn pool(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let s = self.graph.ty(x).rank().checked_sub(2).filter(|s| (1..=2).contains(s))?;
        let mut longs = |n: usize, from: i64, to: i64| (0..n).map(|_| rng.range(from, to)).collect::<Vec<i64>>();
        let (kernel, strides, dilations, pads) = (longs(s, 1, 3), longs(s, 1, 2), vec![1; s], longs(2 * s, 0, 1));
        let data = DataLayout::ALL[rng.below(DataLayout::ALL.len())];
        let kind = PoolKind::ALL[rng.below(PoolKind::ALL.len())];
        self.add(Pool { kind, kernel, strides, pads, dilations, data, epilogue: Pointwise::identity() }, &[x])
    }

    fn reduce(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let axes = (0..self.graph.ty(x).rank() as i64).filter(|_| rng.one_in(2)).collect();
        let kind = ReduceKind::ALL[rng.below(ReduceKind::ALL.len())];
        self.add(Reduce { kind, axes, keepdims: rng.one_in(2), epilogue: Pointwise::identity() }, &[x])
    }

    fn norm(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let rank = self.graph.ty(x).rank() as i64;
        let epilogue = Pointwise::identity();
        if rng.one_in(2) {
            self.add(Softmax { axis: rng.range(0, (rank - 1).max(0)), log: rng.one_in(3), epilogue }, &[x])
        } else {
            let axes = (0..rank).filter(|_| rng.one_in(2)).collect();
            self.add(Normalize { axes, epsilon: 0.1, center: rng.one_in(2), epilogue }, &[x])
        }
    }

    fn transpose(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let mut perm: Vec<i64> = (0..self.graph.ty(x).rank() as i64).collect();
        (1..perm.len()).for_each(|i| perm.swap(i, rng.below(i + 1)));
        self.add(Transpose { perm }, &[x])
    }

    fn reshape(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let mut shape = self.graph.ty(x).shape.clone();
        match rng.below(4) {
            0 => shape.insert(rng.below(shape.len() + 1), 1.into()),
            1 => {
                let at = shape.iter().position(|d| d.as_const() == Some(1))?;
                shape.remove(at);
            }
            2 => {
                let at = rng.below(shape.len());
                let d = shape.get(at)?.as_const()?;
                let factor = [2, 3, 4].into_iter().find(|f| d > 0 && d % f == 0)?;
                shape.splice(at..=at, [Dim::from(factor), Dim::from(d / factor)]);
            }
            _ => {
                let at = rng.below(shape.len().checked_sub(1)?);
                let joined = shape.get(at)?.clone() * shape.get(at + 1)?.clone();
                shape.splice(at..=at + 1, [joined]);
            }
        }
        self.add(Reshape { shape }, &[x])
    }

    fn slice(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let shape = self.graph.ty(x).shape.clone();
        let rank = shape.len();
        let (mut starts, mut counts, mut steps) = (vec![Dim::from(0i64); rank], shape.clone(), vec![1; rank]);
        let at = rng.below(rank);
        let d = shape.get(at)?.as_const().filter(|d| *d > 0)?;
        let start = rng.range(0, d - 1);
        let step = [1, 1, 2, -1, -2][rng.below(5)];
        let room = if step > 0 { (d - start + step - 1) / step } else { start / -step + 1 };
        (starts[at], counts[at], steps[at]) = (start.into(), rng.range(room.min(1), room).into(), step);
        self.add(Slice { starts, counts, steps }, &[x])
    }

    fn pad(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let rank = self.graph.ty(x).rank();
        let mut amounts = || (0..rank).map(|_| Dim::from(if rng.one_in(2) { 0 } else { rng.range(0, 2) })).collect();
        let (before, after) = (amounts(), amounts());
        self.add(Pad { before, after, value: [0.0, 1.0, -2.0][rng.below(3)] }, &[x])
    }

    fn join(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let ty = self.graph.ty(x).clone();
        let axis = rng.below(ty.rank());
        if rng.one_in(3) {
            let mut shape = ty.shape.clone();
            shape.insert(0, [1, 2, 3][rng.below(3)].into());
            return self.add(Expand { shape }, &[x]);
        }
        let fits = |v: &&ValueId| {
            let other = self.graph.ty(**v);
            other.dtype == ty.dtype && other.rank() == ty.rank() && (0..ty.rank()).all(|d| d == axis || other.shape[d] == ty.shape[d])
        };
        let fitting: Vec<ValueId> = self.pool.iter().filter(fits).copied().collect();
        let parts: Vec<ValueId> = (0..1 + rng.below(3)).filter_map(|_| rng.pick(&fitting).copied()).chain([x]).collect();
        self.add(Concat { axis: axis as i64 }, &parts)
    }

    fn gather(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let ty = self.graph.ty(x).clone();
        let axis = rng.below(ty.rank());
        let d = ty.shape.get(axis)?.as_const().filter(|d| *d > 0)?;
        let picks = [vec![], vec![1], vec![3], vec![2, 2]][rng.below(4)].clone();
        let indices = Tensor::from_fn(DType::I64, &picks, |_| rng.range(-d, d - 1) as f64);
        let indices = if rng.one_in(2) {
            self.graph.add_const("indices", indices)
        } else if self.depth == 0 {
            let value = self.graph.add_input(&format!("x{}", self.inputs.len()), TensorType::of(&indices));
            self.inputs.push(indices);
            value
        } else {
            return None;
        };
        self.add(Gather { axis: axis as i64 }, &[x, indices])
    }

    /// A float becomes bytes, as a quantised layer's input does.
    fn quantise(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let ty = self.graph.ty(x);
        if ty.dtype != DType::F32 {
            return None;
        }
        let mut body = Pointwise::identity();
        let literal = |x: f64| Operand::Literal(Literal::Float(x));
        let scaled = body.push(Fn::Mul, vec![Operand::Arg(0), literal([16.0, 100.0, 3.5][rng.below(3)])]);
        requantised(&mut body, scaled, rng);
        let bytes = self.map(body, &[x])?;
        if rng.one_in(2) { self.conv(bytes, rng) } else { self.matmul(bytes, rng) }
    }

    /// Sums of products of bytes become bytes or floats again.
    fn requantise(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        if self.graph.ty(x).dtype != DType::I32 {
            return Some(x);
        }
        let mut body = Pointwise::identity();
        let float = body.push(Fn::Cast(DType::F32), vec![Operand::Arg(0)]);
        let scaled = body.push(Fn::Mul, vec![float, Operand::Literal(Literal::Float([0.01, 0.125, 0.3][rng.below(3)]))]);
        if !rng.one_in(3) {
            requantised(&mut body, scaled, rng);
        }
        self.map(body, &[x])
    }

    /// A branch or a loop with bodies that grow like this graph.
    fn flow(&mut self, x: ValueId, rng: &mut Rng) -> Option<ValueId> {
        let captured: Vec<ValueId> = [x, self.pick(rng)].into_iter().take(1 + rng.below(2)).collect();
        let types: Vec<TensorType> = captured.iter().map(|v| self.graph.ty(*v).clone()).collect();
        let result = types[0].clone();
        if self.depth == 0 && rng.one_in(2) {
            let condition = self.add_input(TensorType::new(DType::Bool, [0i64; 0]), rng);
            let (then, otherwise) = (self.body(&types, &result, &[], rng)?, self.body(&types, &result, &[], rng)?);
            let inputs: Vec<ValueId> = [condition].into_iter().chain(captured).collect();
            return self.add(If { then, otherwise, sizes: Default::default() }, &inputs);
        }
        let scalar = |dtype| TensorType::new(dtype, [0i64; 0]);
        let trips = rng.range(0, 4);
        let stack = rng.one_in(3);
        let known = if self.depth == 0 && !stack && rng.one_in(2) {
            let value = self.graph.add_input(&format!("x{}", self.inputs.len()), scalar(DType::I64));
            self.inputs.push(Tensor::scalar(trips));
            value
        } else {
            self.graph.add_const("trips", Tensor::scalar(trips))
        };
        let keep = self.graph.add_const("keep", Tensor::scalar(B8(1)));
        let given: Vec<TensorType> = [scalar(DType::I64)].into_iter().chain(types).collect();
        let body = self.body(&given, &result, &[stack], rng)?;
        let capacity = if stack { vec![trips.into()] } else { vec![] };
        let inputs: Vec<ValueId> = [known, keep].into_iter().chain(captured).collect();
        self.add(Loop { carried: 1, capacity, body }, &inputs)
    }

    /// A graph of these inputs that gives a value of this type; as a loop's body when `stack` is there: it goes on, and stacks
    /// a copy if so.
    fn body(&mut self, given: &[TensorType], result: &TensorType, stack: &[bool], rng: &mut Rng) -> Option<Subgraph> {
        let mut inner = Grower {
            graph: Graph::new("body"),
            pool: vec![],
            trust: vec![],
            inputs: vec![],
            shape: self.shape,
            n: self.n,
            depth: self.depth + 1,
        };
        inner.graph.symbols.clone_from(&self.graph.symbols);
        for (i, ty) in given.iter().enumerate() {
            let value = inner.graph.add_input(&format!("c{i}"), ty.clone());
            // Bodies only round: what jumps in one would be unclear outside.
            inner.keep(value, if ty.dtype.is_float() { Trust::Rounded } else { Trust::Exact });
        }
        for _ in 0..1 + rng.below(4) {
            (0..8).find_map(|_| inner.step(rng));
        }
        let fitting = |i: &usize| inner.graph.ty(inner.pool[*i]) == result && inner.trust[*i] != Trust::Unclear;
        let fits: Vec<usize> = (0..inner.pool.len()).filter(fitting).collect();
        let value = inner.pool[*fits.last()?];
        // Values that grow without end would be infinite soon.
        let value = if result.dtype.is_float() { inner.map(Pointwise::of(Fn::Tanh), &[value])? } else { value };
        if let [stack] = stack {
            let keep = inner.graph.add_const("keep", Tensor::scalar(B8(1)));
            inner.graph.add_output("keep", keep);
            inner.graph.add_output("carried", value);
            if *stack {
                inner.graph.add_output("stacked", value);
            }
        } else {
            inner.graph.add_output("result", value);
        }
        ir::verify::verify(&inner.graph).ok()?;
        Some(Subgraph::new(inner.graph))
    }

    /// Any operator with operands of its own.
    fn instance(&mut self, rng: &mut Rng) -> Option<ValueId> {
        let nests: Vec<&str> =
            Op::NAMES.iter().copied().filter(|n| routines::find(n).is_none() && !["if", "loop", "measure"].contains(n)).collect();
        let (op, tensors) = instances::instance(nests[rng.below(nests.len())], &mut instances::Rng(rng.bits()));
        let inputs: Vec<ValueId> = tensors
            .into_iter()
            .map(|tensor| {
                let value = self.graph.add_input(&format!("x{}", self.inputs.len()), TensorType::of(&tensor));
                self.inputs.push(tensor);
                value
            })
            .collect();
        self.add(op, &inputs)
    }

    /// The last values, and some others, become outputs.
    fn finish(mut self, rng: &mut Rng) -> Grown {
        let n = self.pool.len();
        let mut trust = vec![];
        for i in 0..n {
            if i + 1 == n || rng.one_in(4) {
                self.graph.add_output(&format!("y{i}"), self.pool[i]);
                trust.push(self.trust[i]);
            }
        }
        Grown { graph: self.graph, inputs: self.inputs, trust }
    }
}

/// `cast(clamp(add(round(x), zero), low, high))`.
fn requantised(body: &mut Pointwise, x: Operand, rng: &mut Rng) {
    let (to, least) = if rng.one_in(2) { (DType::U8, 0.0) } else { (DType::I8, -128.0) };
    let literal = |x: f64| Operand::Literal(Literal::Float(x));
    let y = body.push(Fn::Round, vec![x]);
    let y = body.push(Fn::Add, vec![y, literal(least + rng.range(0, 255) as f64)]);
    let y = body.push(Fn::Clamp, vec![y, literal(least), literal(least + 255.0)]);
    body.push(Fn::Cast(to), vec![y]);
}

/// Whether a small change of an operand may change the result much.
fn jumps(f: Fn) -> bool {
    use ir::pointwise::Typing;
    let smooth =
        [Fn::Add, Fn::Sub, Fn::Mul, Fn::Max, Fn::Min, Fn::Relu, Fn::Neg, Fn::Abs, Fn::Tanh, Fn::Sigmoid, Fn::Erf, Fn::Softplus, Fn::Clamp];
    match f {
        Fn::Cast(to) => !to.is_float(),
        f => !smooth.contains(&f) || matches!(f.typing(), Typing::Test),
    }
}
