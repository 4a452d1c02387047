//! Transposes, slices, pads, concatenations, broadcasts and halos of all element sizes, against `eval`.

mod common;

use common::{Rng, check};
use ir::ops::contract::conv::DataLayout;
use ir::ops::map::Map;
use ir::ops::shuffle::{concat::Concat, expand::Expand, pad::Pad, slice::Slice, transpose::Transpose};
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::Fn;
use ir::{DType, Dim, Graph, Op, Pointwise, Tensor, TensorType};

const TYPES: [DType; 8] = [DType::F32, DType::F32, DType::I32, DType::U8, DType::F16, DType::I64, DType::F64, DType::Bool];

fn run(op: impl Into<Op>, inputs: &[Tensor]) {
    let op = op.into();
    println!("{op:?} of {:?}", inputs.iter().map(|t| (t.dtype, &t.shape)).collect::<Vec<_>>());
    let mut g = Graph::new("shuffle");
    let ids: Vec<_> = inputs.iter().map(|t| g.add_input("x", TensorType::of(t))).collect();
    let y = g.add(op, &ids, &["layer".into()], "y").unwrap();
    g.add_output("y", y);
    check(&g, inputs, 0.0);
}

fn shape(rng: &mut Rng, rank: usize, most: usize) -> Vec<usize> {
    (0..rank).map(|_| if rng.chance(3) { 0 } else { rng.range(1, most) }).collect()
}

/// A tensor whose elements are all different where the type allows it.
fn tensor(rng: &mut Rng, dtype: DType, shape: &[usize]) -> Tensor {
    let first = rng.range(0, 100);
    Tensor::from_fn(dtype, shape, |i| ((i + first) % if dtype == DType::Bool { 2 } else { 251 }) as f64)
}

fn dims(sizes: &[usize]) -> Vec<Dim> {
    sizes.iter().map(|s| Dim::from(*s)).collect()
}

fn permutation(rng: &mut Rng, n: usize) -> Vec<i64> {
    let mut perm: Vec<i64> = (0..n as i64).collect();
    (1..n).for_each(|i| perm.swap(i, rng.range(0, i)));
    perm
}

#[test]
fn transposes() {
    let mut rng = Rng(1);
    for _ in 0..200 {
        let rank = rng.range(1, 4);
        let shape = shape(&mut rng, rank, 11);
        let dtype = TYPES[rng.range(0, 7)];
        let x = tensor(&mut rng, dtype, &shape);
        run(Transpose { perm: permutation(&mut rng, shape.len()) }, &[x]);
    }
    // Several tasks; three channels.
    for (shape, perm) in [
        ([1, 3, 64, 60], [0, 2, 3, 1]),
        ([1, 64, 60, 3], [0, 3, 1, 2]),
        ([2, 3, 101, 103], [0, 2, 3, 1]),
        ([1, 101, 103, 3], [0, 3, 1, 2]),
        ([1, 32, 30, 31], [0, 2, 3, 1]),
        ([3, 50, 41, 18], [1, 0, 3, 2]),
        ([1, 130, 131, 1], [0, 2, 1, 3]),
    ] {
        let x = tensor(&mut rng, DType::F32, &shape);
        run(Transpose { perm: perm.to_vec() }, &[x]);
    }
}

#[test]
fn slices() {
    let mut rng = Rng(2);
    for _ in 0..150 {
        let rank = rng.range(1, 4);
        let shape = shape(&mut rng, rank, 20);
        let (mut starts, mut counts, mut steps) = (vec![], vec![], vec![]);
        for size in &shape {
            let step = [1, 1, 1, 2, 3, -1, -2][rng.range(0, 6)];
            let most = size.div_ceil(usize::try_from(i64::abs(step)).unwrap());
            let count = rng.range(0, most);
            let reach = count.saturating_sub(1) * step.unsigned_abs() as usize;
            let slack = size.saturating_sub(reach + 1);
            let low = rng.range(0, slack);
            starts.push(if step > 0 { low } else { low + reach });
            counts.push(if rng.chance(40) && step == 1 { *size } else { count });
            if counts[counts.len() - 1] == *size && step == 1 {
                starts.pop();
                starts.push(0);
            }
            steps.push(step);
        }
        let dtype = TYPES[rng.range(0, 7)];
        let x = tensor(&mut rng, dtype, &shape);
        run(Slice { starts: dims(&starts), counts: dims(&counts), steps }, &[x]);
    }
}

#[test]
fn pads() {
    let mut rng = Rng(3);
    for _ in 0..150 {
        let rank = rng.range(1, 4);
        let shape = shape(&mut rng, rank, 9);
        let mut margin = |_: &usize| if rng.chance(50) { 0 } else { rng.range(0, 4) };
        let before: Vec<usize> = shape.iter().map(&mut margin).collect();
        let after: Vec<usize> = shape.iter().map(&mut margin).collect();
        let dtype = TYPES[rng.range(0, 7)];
        let x = tensor(&mut rng, dtype, &shape);
        let value = if dtype == DType::F32 { f64::NEG_INFINITY } else { 1.0 };
        run(Pad { before: dims(&before), after: dims(&after), value }, &[x]);
    }
    let x = tensor(&mut rng, DType::F32, &[1, 3, 100, 90]);
    run(Pad { before: dims(&[0, 0, 3, 3]), after: dims(&[0, 0, 2, 3]), value: 0.5 }, &[x]);
}

#[test]
fn concatenations() {
    let mut rng = Rng(4);
    for _ in 0..150 {
        let rank = rng.range(1, 4);
        let shape = shape(&mut rng, rank, 12);
        let axis = rng.range(0, shape.len() - 1);
        let dtype = TYPES[rng.range(0, 7)];
        let parts: Vec<Tensor> = (0..rng.range(1, 4))
            .map(|_| {
                let mut shape = shape.clone();
                shape[axis] = rng.range(0, 12);
                tensor(&mut rng, dtype, &shape)
            })
            .collect();
        run(Concat { axis: axis as i64 }, &parts);
    }
    let parts = [tensor(&mut rng, DType::F32, &[40, 900]), tensor(&mut rng, DType::F32, &[40, 33])];
    run(Concat { axis: 1 }, &parts);
}

#[test]
fn broadcasts() {
    let mut rng = Rng(5);
    for _ in 0..150 {
        let rank = rng.range(1, 4);
        let to = shape(&mut rng, rank, 25);
        let skip = rng.range(0, to.len());
        let from: Vec<usize> = to[skip..].iter().map(|d| if rng.chance(50) { 1 } else { *d }).collect();
        let dtype = TYPES[rng.range(0, 7)];
        let x = tensor(&mut rng, dtype, &from);
        run(Expand { shape: dims(&to) }, &[x]);
    }
    let x = tensor(&mut rng, DType::I64, &[3, 1, 2]);
    run(Expand { shape: dims(&[3, 3000, 2]) }, &[x]);
}

/// A producer that keeps a halo for the pooling after it.
#[test]
fn halos() {
    let mut rng = Rng(6);
    for case in 0..120 {
        let (h, w, c) = (rng.range(2, 9), rng.range(2, 9), rng.range(1, 6));
        let batch = rng.range(1, 2);
        let x = rng.tensor(DType::F32, &[batch, c, h, w]);
        let kernel = [rng.range(1, 3), rng.range(1, 3)];
        let pads: Vec<usize> = (0..4).map(|i| rng.range(0, kernel[i % 2] - 1)).collect();
        let mut g = Graph::new("halo");
        let input = g.add_input("x", TensorType::of(&x));
        let a = match case % 3 {
            0 => g.add(Map::of(Fn::Neg), &[input], &[], "a").unwrap(),
            1 => g.add(Transpose { perm: vec![0, 1, 3, 2] }, &[input], &[], "a").unwrap(),
            _ => g.add(Concat { axis: 1 }, &[input, input], &[], "a").unwrap(),
        };
        let data = if case % 2 == 0 || h < 3 || c < 3 || w < 3 { DataLayout::Nchw } else { DataLayout::Nhwc };
        let pool = pool(&kernel, &pads, data);
        let y = g.add(pool, &[a], &["pool".into()], "y").unwrap();
        g.add_output("y", y);
        println!("case {case}: {g}");
        check(&g, &[x], 1e-6);
    }
}

fn pool(kernel: &[usize], pads: &[usize], data: DataLayout) -> Pool {
    let ints = |v: &[usize]| v.iter().map(|x| *x as i64).collect();
    Pool {
        kind: PoolKind::Max,
        kernel: ints(kernel),
        strides: vec![1, 1],
        pads: ints(pads),
        dilations: vec![1, 1],
        data,
        epilogue: Pointwise::identity(),
    }
}
