//! Tensors with a margin: every writer fills one for a padded pooling behind it, and every reader steps over one.

mod common;

use common::{Rng, check};
use ir::ops::contract::conv::DataLayout;
use ir::ops::gather::gather_op::Gather;
use ir::ops::map::Map;
use ir::ops::reduce::{normalize::Normalize, reduce_op::Reduce, reduce_op::ReduceKind, softmax::Softmax};
use ir::ops::shuffle::{concat::Concat, expand::Expand, pad::Pad, reshape::Reshape, slice::Slice, transpose::Transpose};
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::Fn;
use ir::{DType, Dim, Graph, Op, Pointwise, Tensor, TensorType, ValueId};

/// A maximum over 2×2 positions (channels first or last) with random pads.
fn pool(rng: &mut Rng) -> Pool {
    let data = if rng.chance(50) { DataLayout::Nchw } else { DataLayout::Nhwc };
    let pads = (0..4).map(|_| rng.range(0, 1) as i64).collect();
    Pool {
        kind: PoolKind::Max,
        kernel: vec![2, 2],
        strides: vec![1, 1],
        pads,
        dilations: vec![1, 1],
        data,
        epilogue: Pointwise::identity(),
    }
}

fn dims(sizes: &[usize]) -> Vec<Dim> {
    sizes.iter().map(|s| Dim::from(*s)).collect()
}

/// An operator of each family that maps a tensor of rank 4 to one of rank 4.
fn operators(rng: &mut Rng, shape: &[usize]) -> Vec<(Op, usize)> {
    let axis = rng.range(0, 3) as i64;
    let none = Pointwise::identity;
    let mut bigger = shape.to_vec();
    bigger[0] = 1;
    vec![
        (Map::of(Fn::Neg).into(), 1),
        (Map::of(Fn::Add).into(), 2),
        (Softmax { axis, log: false, epilogue: none() }.into(), 1),
        (Normalize { axes: vec![axis], epsilon: 1e-2, center: true, epilogue: none() }.into(), 1),
        (Reduce { kind: ReduceKind::Max, axes: vec![axis], keepdims: true, epilogue: none() }.into(), 1),
        (Transpose { perm: vec![0, 2, 3, 1] }.into(), 1),
        (Transpose { perm: vec![0, 3, 1, 2] }.into(), 1),
        (
            Slice { starts: dims(&[0, 1, 0, 1]), counts: dims(&[shape[0], shape[1] - 1, shape[2], shape[3] - 1]), steps: vec![1; 4] }
                .into(),
            1,
        ),
        (Pad { before: dims(&[0, 1, 0, 2]), after: dims(&[0, 0, 1, 1]), value: 0.5 }.into(), 1),
        (Concat { axis }.into(), 2),
        (Expand { shape: dims(shape) }.into(), 1),
        (Reshape { shape: dims(&[shape[0], shape[2], shape[1], shape[3]]) }.into(), 1),
        (Gather { axis }.into(), 0),
    ]
}

fn add(g: &mut Graph, (op, arity): &(Op, usize), x: ValueId, rng: &mut Rng) -> ValueId {
    let inputs = match arity {
        // A gather: random indices.
        0 => {
            let Op::Gather(gather) = op else { panic!("only gathers have no arity") };
            let size = g.ty(x).shape[gather.axis as usize].as_const().unwrap() as usize;
            let picks: Vec<i64> = (0..3).map(|_| rng.range(0, size - 1) as i64).collect();
            vec![x, g.add_const("indices", Tensor::new(&[3], &picks))]
        }
        n => vec![x; *n],
    };
    g.add(op.clone(), &inputs, &[op.name().into()], op.name()).unwrap()
}

#[test]
fn writers_and_readers() {
    let mut rng = Rng(1);
    for case in 0..40 {
        let shape: Vec<usize> = [1, 2, 2, 2].iter().map(|low| rng.range(*low, low + 4)).collect();
        let x = rng.tensor(DType::F32, &shape);
        let operators = operators(&mut rng, &shape);
        let all = 0..operators.len();
        for writer in all.clone() {
            let mut g = Graph::new("halo");
            let input = g.add_input("x", TensorType::of(&x));
            let first = g.add(Map::of(Fn::Exp), &[input], &[], "exp").unwrap();
            let written = add(&mut g, &operators[writer], first, &mut rng);
            let sizes = g.ty(written).const_shape().unwrap();
            if sizes[1..].iter().any(|s| *s < 2) {
                continue;
            }
            let pooled = g.add(pool(&mut rng), &[written], &["pool".into()], "pool").unwrap();
            g.add_output("pooled", pooled);
            let readers = self::operators(&mut rng, &sizes);
            let reader = &readers[(writer + case) % readers.len()];
            let read = add(&mut g, reader, written, &mut rng);
            g.add_output("read", read);
            check(&g, std::slice::from_ref(&x), 2e-5);
        }
    }
}
