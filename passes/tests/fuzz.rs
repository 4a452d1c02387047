//! Random graphs through the whole pipeline, checked after every pass: what no example thought of.

use ir::ops::Op;
use ir::ops::contract::conv::{Conv, DataLayout};
use ir::ops::contract::matmul::MatMul;
use ir::ops::map::Map;
use ir::ops::reduce::{normalize::Normalize, reduce_op::Reduce, reduce_op::ReduceKind, softmax::Softmax};
use ir::ops::shuffle::{concat::Concat, pad::Pad, reshape::Reshape, slice::Slice, transpose::Transpose};
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::Fn;
use ir::{DType, Dim, Graph, Pointwise, Tensor, TensorType, ValueId};
use passes::{CheckOptions, Options, run};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }
    fn permutation(&mut self, n: usize) -> Vec<i64> {
        let mut left: Vec<i64> = (0..n as i64).collect();
        (0..n).map(|_| left.remove(self.below(left.len()))).collect()
    }
}

struct Maker {
    graph: Graph,
    random: Random,
    values: Vec<ValueId>,
}

impl Maker {
    fn shape(&self, value: ValueId) -> Vec<usize> {
        self.graph.ty(value).const_shape().unwrap()
    }
    fn constant(&mut self, shape: &[usize]) -> ValueId {
        let seed = self.random.below(1 << 30) as u64;
        self.graph.add_const("c", Tensor::random(DType::F32, shape, seed))
    }
    /// Recent values more often, so that chains grow.
    fn pick(&mut self) -> ValueId {
        let n = self.values.len();
        match self.random.below(8) {
            0 => self.values[self.random.below(n)],
            1 => self.values[n - 1 - self.random.below(n.min(4))],
            _ => self.values[n - 1],
        }
    }
    fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId]) {
        let name = format!("v{}", self.values.len());
        let value = self.graph.add(op, inputs, &[name.clone().into()], &name).unwrap();
        let small = self.shape(value).iter().product::<usize>();
        if small > 0 && small <= 4096 {
            self.values.push(value);
        }
    }

    fn step(&mut self) {
        let x = self.pick();
        let shape = self.shape(x);
        let rank = shape.len();
        match self.random.below(14) {
            0..=2 if rank >= 3 => self.conv(x, &shape),
            3 if rank >= 3 => self.pool(x, &shape),
            4 | 5 => self.binary(x, &shape),
            6 => {
                let f = [Fn::Relu, Fn::Neg, Fn::Abs, Fn::Sigmoid, Fn::Tanh][self.random.below(5)];
                self.add(Map::of(f), &[x]);
            }
            7 if rank > 0 => self.reduce(x, rank),
            8 if rank > 0 => {
                let axis = self.random.below(rank) as i64;
                let log = self.random.flag();
                if self.random.flag() {
                    self.add(Softmax { axis, log, epilogue: Pointwise::identity() }, &[x]);
                } else {
                    self.add(Normalize { axes: vec![axis], epsilon: 0.1, center: true, epilogue: Pointwise::identity() }, &[x]);
                }
            }
            9 if rank > 0 => {
                let axis = self.random.below(rank);
                let others: Vec<ValueId> = self.values.iter().copied().filter(|v| self.shape(*v) == shape).collect();
                let other = others[self.random.below(others.len())];
                self.add(Concat { axis: axis as i64 }, &[x, other]);
            }
            10 if rank > 0 => {
                let mut sizes = |n: usize| (0..rank).map(|_| Dim::from(self.random.below(n) as i64)).collect::<Vec<_>>();
                let (before, after) = (sizes(2), sizes(2));
                self.add(Pad { before, after, value: 0.5 }, &[x]);
            }
            11 if rank > 0 => {
                let starts: Vec<Dim> = shape.iter().map(|d| Dim::from(self.random.below(*d) as i64)).collect();
                let counts = shape.iter().zip(&starts).map(|(d, s)| Dim::from(*d as i64) - s.clone()).collect();
                self.add(Slice { starts, counts, steps: vec![1; rank] }, &[x]);
            }
            12 if rank > 2 && self.random.flag() => {
                let flat = shape[1..].iter().product::<usize>();
                self.add(Reshape { shape: vec![shape[0].into(), flat.into()] }, &[x]);
            }
            12 => self.reshape(x, &shape),
            13 if rank >= 2 && self.random.flag() => {
                let perm = self.random.permutation(rank);
                self.add(Transpose { perm }, &[x]);
            }
            13 if rank >= 2 => {
                let transpose_b = self.random.flag();
                let k = shape[rank - 1];
                let w = self.constant(&if transpose_b { [3, k] } else { [k, 3] });
                self.add(MatMul { transpose_b, epilogue: Pointwise::identity() }, &[x, w]);
            }
            _ => {}
        }
    }

    fn conv(&mut self, x: ValueId, shape: &[usize]) {
        let s = shape.len() - 2;
        let data = if self.random.below(4) == 0 { DataLayout::Nhwc } else { DataLayout::Nchw };
        let c = shape[data.channel(shape.len())];
        let depthwise = self.random.below(3) == 0;
        let k = [1, 3][self.random.below(2)];
        let mut weights = if depthwise { vec![c, 1] } else { vec![1 + self.random.below(4), c] };
        weights.extend(vec![k; s]);
        let w = self.constant(&weights);
        let op = Conv {
            strides: vec![1 + self.random.below(2) as i64; s],
            pads: vec![k as i64 / 2; 2 * s],
            dilations: vec![1; s],
            group: if depthwise { c as i64 } else { 1 },
            data,
            pad_value: 0,
            epilogue: Pointwise::identity(),
        };
        self.add(op, &[x, w]);
    }

    fn pool(&mut self, x: ValueId, shape: &[usize]) {
        let s = shape.len() - 2;
        let kind = if self.random.flag() { PoolKind::Max } else { PoolKind::Sum };
        let (kernel, strides) = (vec![3; s], vec![1 + self.random.below(2) as i64; s]);
        let op = Pool {
            kind,
            kernel,
            strides,
            pads: vec![1; 2 * s],
            dilations: vec![1; s],
            data: DataLayout::Nchw,
            epilogue: Pointwise::identity(),
        };
        self.add(op, &[x]);
    }

    fn binary(&mut self, x: ValueId, shape: &[usize]) {
        let f = [Fn::Add, Fn::Sub, Fn::Mul, Fn::Max, Fn::Min][self.random.below(5)];
        let fits = |v: &ValueId| ir::ops::broadcasts_into(&self.graph.ty(*v).shape, &self.graph.ty(x).shape);
        let others: Vec<ValueId> = self.values.iter().copied().filter(fits).collect();
        let y = if self.random.flag() {
            others[self.random.below(others.len())]
        } else {
            let from = self.random.below(shape.len() + 1);
            let small: Vec<usize> = shape[from..].iter().map(|d| if self.random.flag() { 1 } else { *d }).collect();
            self.constant(&small)
        };
        let inputs = if self.random.flag() { [x, y] } else { [y, x] };
        self.add(Map::of(f), &inputs);
    }

    fn reduce(&mut self, x: ValueId, rank: usize) {
        let axes: Vec<i64> = (0..rank as i64).filter(|_| self.random.flag()).collect();
        let kind = [ReduceKind::Sum, ReduceKind::Max][self.random.below(2)];
        let keepdims = self.random.flag();
        self.add(Reduce { kind, axes, keepdims, epilogue: Pointwise::identity() }, &[x]);
    }

    /// Merges two neighbouring dimensions, splits one, or inserts or drops a one.
    fn reshape(&mut self, x: ValueId, shape: &[usize]) {
        let mut new = shape.to_vec();
        for _ in 0..1 + self.random.below(3) {
            let at = self.random.below(new.len() + 1);
            match self.random.below(3) {
                0 if at + 1 < new.len() => {
                    let next = new.remove(at + 1);
                    new[at] *= next;
                }
                1 if at < new.len() && new[at].is_multiple_of(2) => {
                    new[at] /= 2;
                    new.insert(at, 2);
                }
                2 if new.len() < 5 => new.insert(at, 1),
                _ => {}
            }
        }
        self.add(Reshape { shape: new.into_iter().map(Dim::from).collect() }, &[x]);
    }
}

fn random_graph(seed: u64) -> Graph {
    let mut maker = Maker { graph: Graph::new("fuzz"), random: Random(seed), values: vec![] };
    for name in ["x", "y"] {
        let rank = 3 + maker.random.below(2);
        let shape: Vec<usize> = (0..rank).map(|d| if d == 0 { 1 + maker.random.below(2) } else { 1 + maker.random.below(5) }).collect();
        let value = maker.graph.add_input(name, TensorType::new(DType::F32, shape));
        maker.values.push(value);
    }
    for _ in 0..16 {
        maker.step();
    }
    let last = maker.values[maker.values.len() - 1];
    let other = maker.pick();
    maker.graph.add_output("last", last);
    maker.graph.add_output("other", other);
    maker.graph
}

#[test]
fn random_graphs_keep_their_results() {
    let count: u64 = std::env::var("FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    // Values may grow along a chain, and sums may cancel: compare with the largest element.
    let check = CheckOptions { seed: 1, rtol: 2e-4, atol: 1e-5 };
    for seed in 0..count {
        let graph = random_graph(seed);
        ir::verify::verify(&graph).unwrap_or_else(|e| panic!("seed {seed}: {e:?}"));
        let mut after = graph.clone();
        let options = Options { check: Some(check.clone()), ..Options::default() };
        run(&mut after, &options, &mut |_| {}).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}\n{after}"));
    }
}
