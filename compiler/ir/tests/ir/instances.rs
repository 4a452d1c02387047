//! A deterministic generator of random operator instances.

use ir::ops::contract::conv::{Conv, DataLayout};
use ir::ops::contract::matmul::MatMul;
use ir::ops::gather::gather_op::Gather;
use ir::ops::map::Map;
use ir::ops::recurrent::recurrent_op::{Cell, Direction, Recurrent};
use ir::ops::reduce::normalize::Normalize;
use ir::ops::reduce::reduce_op::{Reduce, ReduceKind};
use ir::ops::reduce::softmax::Softmax;
use ir::ops::shuffle::concat::Concat;
use ir::ops::shuffle::expand::Expand;
use ir::ops::shuffle::pad::Pad;
use ir::ops::shuffle::reshape::Reshape;
use ir::ops::shuffle::sizes::Sizes;
use ir::ops::shuffle::slice::Slice;
use ir::ops::shuffle::transpose::Transpose;
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::{Fn, Literal, Operand, Pointwise, Typing};
use ir::{DType, Dim, Op, Tensor, TensorType};

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn range(&mut self, from: i64, to: i64) -> i64 {
        from + (self.bits() % (to - from + 1) as u64) as i64
    }
    pub fn flag(&mut self) -> bool {
        self.bits() & 1 == 1
    }
    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.bits() as usize % items.len()].clone()
    }
    /// Mostly small; sometimes 0 or 1.
    pub fn size(&mut self) -> usize {
        self.pick(&[0, 1, 1, 2, 2, 3, 3, 4, 5])
    }
    pub fn shape(&mut self, least: i64, most: i64) -> Vec<usize> {
        (0..self.range(least, most)).map(|_| self.size()).collect()
    }
    pub fn tensor(&mut self, dtype: DType, shape: &[usize]) -> Tensor {
        let seed = self.bits();
        Tensor::random(dtype, shape, seed)
    }
    /// A shape that broadcasts into this one: leading dimensions dropped, others replaced by 1.
    pub fn broadcastable(&mut self, shape: &[usize]) -> Vec<usize> {
        let skip = self.range(0, shape.len() as i64) as usize;
        shape[skip..].iter().map(|d| if self.range(0, 2) == 0 { 1 } else { *d }).collect()
    }
    fn longs(&mut self, n: usize, from: i64, to: i64) -> Vec<i64> {
        (0..n).map(|_| self.range(from, to)).collect()
    }
    fn numeric(&mut self) -> DType {
        self.pick(&[DType::F32, DType::F32, DType::F32, DType::F64, DType::F16, DType::I8, DType::I32, DType::I64, DType::U8, DType::U64])
    }
    /// A type whose products with another one have sums.
    fn factor(&mut self, dtype: DType) -> DType {
        if dtype.is_int() && dtype.bits() == 8 { self.pick(&[DType::I8, DType::U8]) } else { dtype }
    }
    fn float(&mut self) -> DType {
        self.pick(&[DType::F32, DType::F32, DType::F64, DType::BF16])
    }
    /// Types that are more than storage.
    fn computed(&mut self) -> DType {
        loop {
            let dtype = self.any();
            if dtype.bits() >= 8 && !dtype.is_narrow_float() {
                return dtype;
            }
        }
    }
    fn any(&mut self) -> DType {
        self.pick(DType::ALL)
    }
}

/// An operator with inputs that fit, most of the time; the caller asks `infer`.
pub fn instance(name: &str, rng: &mut Rng) -> (Op, Vec<Tensor>) {
    let none = Pointwise::identity;
    let (mut op, mut inputs): (Op, Vec<Tensor>) = match name {
        "map" => return map(rng),
        "matmul" => {
            let dtype = rng.numeric();
            let lead = rng.shape(0, 2);
            let (m, k, n) = (rng.size(), rng.size(), rng.size());
            let transpose_b = rng.flag();
            let (mut a, mut b) = (rng.broadcastable(&lead), rng.broadcastable(&lead));
            a.extend([m, k]);
            b.extend(if transpose_b { [n, k] } else { [k, n] });
            let other = rng.factor(dtype);
            (MatMul { transpose_b, epilogue: none() }.into(), vec![rng.tensor(dtype, &a), rng.tensor(other, &b)])
        }
        "conv" => {
            let (dtype, s) = (rng.numeric(), rng.range(1, 2) as usize);
            let group = rng.range(1, 3);
            let depthwise = rng.range(0, 2) == 0;
            let (cg, mg) = if depthwise { (1, 1) } else { (rng.range(1, 3) as usize, rng.range(0, 3) as usize) };
            let data = rng.pick(DataLayout::ALL);
            let mut w = vec![mg * group as usize, cg];
            w.extend((0..s).map(|_| rng.range(1, 3) as usize));
            let x = image(rng, cg * group as usize, s, data);
            let (strides, dilations, pads) = (rng.longs(s, 1, 3), rng.longs(s, 1, 2), rng.longs(2 * s, -1, 2));
            let (other, pad_value) = match dtype {
                DType::U8 => (rng.factor(dtype), rng.range(0, 255) as i32),
                DType::I8 => (rng.factor(dtype), rng.range(-128, 127) as i32),
                _ => (dtype, 0),
            };
            let op = Conv { strides, pads, dilations, group, data, pad_value, epilogue: none() };
            (op.into(), vec![rng.tensor(dtype, &x), rng.tensor(other, &w)])
        }
        "pool" => {
            let (dtype, s) = (rng.numeric(), rng.range(1, 2) as usize);
            let (data, c) = (rng.pick(DataLayout::ALL), rng.size());
            let x = image(rng, c, s, data);
            let (kernel, strides, dilations, pads) = (rng.longs(s, 1, 3), rng.longs(s, 1, 3), rng.longs(s, 1, 2), rng.longs(2 * s, -1, 2));
            let op = Pool { kind: rng.pick(PoolKind::ALL), kernel, strides, pads, dilations, data, epilogue: none() };
            (op.into(), vec![rng.tensor(dtype, &x)])
        }
        "reduce" => {
            let (dtype, x) = (rng.computed(), rng.shape(0, 4));
            let axes = (0..x.len() as i64).filter(|_| rng.flag()).collect();
            let op = Reduce { kind: rng.pick(ReduceKind::ALL), axes, keepdims: rng.flag(), epilogue: none() };
            (op.into(), vec![rng.tensor(dtype, &x)])
        }
        "softmax" => {
            let (dtype, x) = (rng.float(), rng.shape(1, 4));
            let op = Softmax { axis: rng.range(0, x.len() as i64 - 1), log: rng.flag(), epilogue: none() };
            (op.into(), vec![rng.tensor(dtype, &x)])
        }
        "normalize" => {
            let (dtype, x) = (rng.float(), rng.shape(0, 4));
            let axes = (0..x.len() as i64).filter(|_| rng.flag()).collect();
            (Normalize { axes, epsilon: 1e-2, center: rng.flag(), epilogue: none() }.into(), vec![rng.tensor(dtype, &x)])
        }
        "transpose" => {
            let (dtype, x) = (rng.any(), rng.shape(0, 4));
            let mut perm: Vec<i64> = (0..x.len() as i64).collect();
            (1..perm.len()).for_each(|i| perm.swap(i, rng.range(0, i as i64) as usize));
            (Transpose { perm }.into(), vec![rng.tensor(dtype, &x)])
        }
        "reshape" => {
            let (dtype, x) = (rng.any(), rng.shape(0, 4));
            let mut shape: Vec<Dim> = x.iter().map(|d| Dim::from(*d)).collect();
            if shape.len() > 1 && rng.flag() {
                let last = shape.pop().unwrap();
                let before = shape.pop().unwrap();
                shape.push(before * last);
            } else {
                shape.insert(0, 1.into());
            }
            (Reshape { shape }.into(), vec![rng.tensor(dtype, &x)])
        }
        "expand" => {
            let (dtype, shape) = (rng.any(), rng.shape(0, 4));
            let x = rng.broadcastable(&shape);
            (Expand { shape: shape.into_iter().map(Dim::from).collect() }.into(), vec![rng.tensor(dtype, &x)])
        }
        "slice" => {
            let (dtype, x) = (rng.any(), rng.shape(0, 4));
            let mut dims: Vec<(i64, i64, i64)> = vec![];
            for d in &x {
                let (start, step) = (rng.range(0, (*d as i64 - 1).max(0)), rng.pick(&[1, 1, 2, 3, -1, -2]));
                let room = if step > 0 { *d as i64 - start + step - 1 } else { start - step } / step.abs();
                dims.push((start, rng.range(0, if *d == 0 { 0 } else { room }), step));
            }
            let starts = dims.iter().map(|d| d.0.into()).collect();
            let counts = dims.iter().map(|d| d.1.into()).collect();
            (Slice { starts, counts, steps: dims.iter().map(|d| d.2).collect() }.into(), vec![rng.tensor(dtype, &x)])
        }
        "pad" => {
            let (dtype, x) = (rng.numeric(), rng.shape(0, 3));
            let mut amounts = || (0..x.len()).map(|_| Dim::from(rng.range(0, 2))).collect();
            let (before, after) = (amounts(), amounts());
            let value = rng.pick(&[0.0, -1.5, 3.0, f64::NEG_INFINITY]);
            (Pad { before, after, value }.into(), vec![rng.tensor(dtype, &x)])
        }
        "concat" => {
            let (dtype, shape) = (rng.any(), rng.shape(1, 4));
            let axis = rng.range(0, shape.len() as i64 - 1);
            let parts = (0..rng.range(1, 3)).map(|_| {
                let mut part = shape.clone();
                part[axis as usize] = rng.size();
                rng.tensor(dtype, &part)
            });
            let parts = parts.collect();
            (Concat { axis }.into(), parts)
        }
        "gather" => {
            let (dtype, data, picks) = (rng.any(), rng.shape(1, 3), rng.shape(0, 2));
            let axis = rng.range(0, data.len() as i64 - 1);
            let n = data[axis as usize] as i64;
            let integer = rng.pick(&[DType::I64, DType::I32, DType::I8]);
            let picks = if n == 0 { vec![0] } else { picks };
            let indices = Tensor::from_fn(integer, &picks, |_| rng.range(-n, n - 1) as f64);
            (Gather { axis }.into(), vec![rng.tensor(dtype, &data), indices])
        }
        "recurrent" => return recurrent(rng),
        "sizes" => (Sizes { dims: (0..rng.range(0, 4)).map(|_| Dim::from(rng.size())).collect() }.into(), vec![]),
        other => panic!("no generator for `{other}`"),
    };
    if op.def().epilogue().is_some() && rng.range(0, 3) > 0 {
        let types: Vec<TensorType> = inputs.iter().map(TensorType::of).collect();
        if let Ok(base) = op.infer(&types.iter().collect::<Vec<_>>()) {
            let (body, extra) = epilogue(rng, base[0].dtype, &base[0].const_shape().unwrap());
            *op.def_mut().epilogue_mut().unwrap() = body;
            inputs.extend(extra);
        }
    }
    (op, inputs)
}

fn image(rng: &mut Rng, channels: usize, spatial: usize, data: DataLayout) -> Vec<usize> {
    let mut shape = vec![rng.range(0, 2) as usize];
    shape.extend((0..spatial).map(|_| rng.range(0, 7) as usize));
    shape.insert(data.channel(spatial + 2), channels);
    shape
}

/// One to four steps, continuous where the element type is, with up to two extra operands.
fn epilogue(rng: &mut Rng, dtype: DType, shape: &[usize]) -> (Pointwise, Vec<Tensor>) {
    let mut body = Pointwise::identity();
    let mut extra: Vec<Tensor> = vec![];
    let mut last = Operand::Arg(0);
    for _ in 0..rng.range(1, 4) {
        let f = rng.pick(&[Fn::Add, Fn::Mul, Fn::Max, Fn::Min, Fn::Sub, Fn::Relu, Fn::Neg, Fn::Sigmoid, Fn::Clamp, Fn::Select]);
        let f = if f == Fn::Sigmoid && !dtype.is_float() { Fn::Abs } else { f };
        last = match (f.typing(), f.arity()) {
            (_, 1) => body.push(f, vec![last]),
            (Typing::Select, _) => {
                let test = Tensor::random(DType::Bool, &rng.broadcastable(shape), rng.bits());
                extra.push(test);
                body.push(f, vec![Operand::Arg(extra.len()), last, Operand::Literal(Literal::Int(1))])
            }
            (_, 3) => body.push(f, vec![last, Operand::Literal(Literal::Int(0)), Operand::Literal(Literal::Float(6.0))]),
            _ if rng.flag() => body.push(f, vec![Operand::Literal(Literal::Float(2.0)), last]),
            _ => {
                let operand = rng.broadcastable(shape);
                extra.push(rng.tensor(dtype, &operand));
                body.push(f, vec![last, Operand::Arg(extra.len())])
            }
        };
    }
    (body, extra)
}

/// A cell with random activations; half of the time with fewer steps for some batch elements.
fn recurrent(rng: &mut Rng) -> (Op, Vec<Tensor>) {
    let activations = [Fn::Sigmoid, Fn::Tanh, Fn::Relu, Fn::Softplus].map(Pointwise::of);
    let mut activation = |usual: usize| if rng.flag() { activations[usual].clone() } else { rng.pick(&activations) };
    let (f, g, h) = (activation(0), activation(1), activation(1));
    let cell = rng.pick(Cell::ALL);
    let op = Recurrent {
        cell,
        direction: rng.pick(Direction::ALL),
        f,
        g,
        h,
        input_forget: cell == Cell::Lstm && rng.flag(),
        linear_before_reset: cell == Cell::Gru && rng.flag(),
        peepholes: cell == Cell::Lstm && rng.flag(),
        lengths: rng.flag(),
    };
    let dtype = rng.pick(&[DType::F32, DType::F64]);
    let (steps, batch, hidden) = (rng.size(), rng.size(), rng.size());
    let (directions, gates) = (op.direction.backwards().len(), cell.gates());
    let state = vec![directions, batch, hidden];
    let mut shapes = vec![vec![steps, batch, directions * gates * hidden], vec![directions, gates * hidden, hidden], state.clone()];
    shapes.extend((cell == Cell::Lstm).then_some(state));
    shapes.extend(op.peepholes.then(|| vec![directions, 3 * hidden]));
    shapes.extend(op.linear_before_reset.then(|| vec![directions, hidden]));
    let mut inputs: Vec<Tensor> = shapes.iter().map(|shape| rng.tensor(dtype, shape)).collect();
    if op.lengths {
        let lengths: Vec<i32> = (0..batch).map(|_| rng.range(0, steps as i64) as i32).collect();
        inputs.push(Tensor::new(&[batch], &lengths));
    }
    (op.into(), inputs)
}

/// Any function over operands of random types.
fn map(rng: &mut Rng) -> (Op, Vec<Tensor>) {
    let f = rng.pick(Fn::ALL);
    let to = rng.any();
    let f = if rng.range(0, 9) == 0 { Fn::Cast(to) } else { f };
    let dtype = match f {
        Fn::And | Fn::Or | Fn::Xor | Fn::Not => rng.pick(&[DType::Bool, DType::U8, DType::I32]),
        Fn::Shl | Fn::Shr => rng.pick(&[DType::U8, DType::I32, DType::I64]),
        Fn::Equal | Fn::Select | Fn::Cast(_) => rng.any(),
        f if f.arity() == 1 => rng.float(),
        _ => rng.numeric(),
    };
    let shape = rng.shape(0, 4);
    let inputs = (0..f.arity()).map(|i| {
        let own = rng.broadcastable(&shape);
        rng.tensor(if f == Fn::Select && i == 0 { DType::Bool } else { dtype }, &own)
    });
    let mut inputs: Vec<Tensor> = inputs.collect();
    let mut body = Pointwise::of(f);
    if f.arity() > 1 && rng.range(0, 3) == 0 {
        // A literal instead of the last operand.
        inputs.pop();
        *body.steps[0].operands.last_mut().unwrap() = Operand::Literal(Literal::Int(2));
    }
    let own = inputs.len();
    let types: Vec<DType> = inputs.iter().map(|t| t.dtype).collect();
    if let Ok(result) = body.result_type(&types)
        && rng.flag()
    {
        let (tail, extra) = epilogue(rng, result, &shape);
        body = tail.map_args(|i| if i == 0 { usize::MAX } else { own + i - 1 }).substitute(usize::MAX, &body);
        inputs.extend(extra);
    }
    (Map { body }.into(), inputs)
}
