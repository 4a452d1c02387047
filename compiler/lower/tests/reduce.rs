//! Reductions, softmax and normalisation over axes of all positions, against `eval`.

mod common;

use common::{Rng, check, execute_plan};
use ir::ops::reduce::{normalize::Normalize, reduce_op::Reduce, reduce_op::ReduceKind, softmax::Softmax};
use ir::pointwise::{Fn, Literal, Operand};
use ir::{DType, Graph, Op, Pointwise, Tensor, TensorType};

fn graph(op: impl Into<Op>, inputs: &[Tensor]) -> Graph {
    let mut g = Graph::new("reduce");
    let ids: Vec<_> = inputs.iter().map(|t| g.add_input("x", TensorType::of(t))).collect();
    let y = g.add(op, &ids, &["layer".into()], "y").unwrap();
    g.add_output("y", y);
    g
}

fn run(op: impl Into<Op>, inputs: &[Tensor], tolerance: f64) {
    let g = graph(op, inputs);
    println!("{g}");
    check(&g, inputs, tolerance);
}

fn axes(rng: &mut Rng, rank: usize) -> Vec<i64> {
    let bits = rng.range(0, (1 << rank) - 1);
    (0..rank as i64).filter(|a| bits >> a & 1 == 1).collect()
}

/// Epilogues of the forms that fusion makes, with operands that broadcast to `shape`.
fn epilogue(rng: &mut Rng, shape: &[usize], inputs: &mut Vec<Tensor>) -> Pointwise {
    let mut body = Pointwise::identity();
    let mut value = Operand::Arg(0);
    for i in 0..rng.range(0, 2) {
        let skip = rng.range(0, shape.len());
        let operand: Vec<usize> = shape[skip..].iter().map(|d| if rng.chance(40) { 1 } else { *d }).collect();
        inputs.push(rng.tensor(inputs[0].dtype, &operand));
        value = body.push([Fn::Mul, Fn::Add][i], vec![value, Operand::Arg(i + 1)]);
    }
    if rng.chance(30) {
        body.push(Fn::Max, vec![value, Operand::Literal(Literal::Float(0.0))]);
    }
    body
}

#[test]
fn reductions() {
    let mut rng = Rng(1);
    for case in 0..300 {
        // Types that are storage only are not computed with.
        let computed: Vec<DType> = DType::ALL.iter().copied().filter(|d| d.bits() >= 8 && !d.is_narrow_float()).collect();
        let dtype = if case % 2 == 0 { DType::F32 } else { computed[rng.range(0, computed.len() - 1)] };
        let rank = rng.range(1, 4);
        let shape: Vec<usize> = (0..rank).map(|_| if rng.chance(3) { 0 } else { rng.range(1, 11) }).collect();
        let mut inputs = vec![rng.tensor(dtype, &shape)];
        let kind = ReduceKind::ALL[rng.range(0, 3)];
        let mut op = Reduce { kind, axes: axes(&mut rng, rank), keepdims: rng.chance(50), epilogue: Pointwise::identity() };
        if dtype == DType::F32 {
            let out = Op::from(op.clone()).infer(&[&TensorType::of(&inputs[0])]).unwrap()[0].const_shape().unwrap();
            op.epilogue = epilogue(&mut rng, &out, &mut inputs);
        }
        let tolerance = match dtype {
            DType::F16 => 4e-3,
            DType::BF16 => 3e-2,
            DType::F32 => 2e-5,
            _ => 1e-12,
        };
        run(op, &inputs, tolerance);
    }
}

#[test]
fn softmaxes() {
    let mut rng = Rng(2);
    for case in 0..150 {
        let rank = rng.range(1, 4);
        let shape: Vec<usize> = (0..rank).map(|_| rng.range(1, 13)).collect();
        let dtype = if case % 5 == 0 { DType::F16 } else { DType::F32 };
        let mut inputs = vec![rng.tensor(dtype, &shape)];
        let axis = rng.range(0, rank - 1) as i64;
        let epilogue = if case % 3 == 0 { epilogue(&mut rng, &shape, &mut inputs) } else { Pointwise::identity() };
        run(Softmax { axis, log: rng.chance(30), epilogue }, &inputs, if dtype == DType::F16 { 1e-2 } else { 1e-5 });
    }
}

#[test]
fn normalisations() {
    let mut rng = Rng(3);
    for case in 0..200 {
        let rank = rng.range(1, 4);
        let shape: Vec<usize> = (0..rank).map(|_| rng.range(1, 13)).collect();
        let mut inputs = vec![rng.tensor(DType::F32, &shape)];
        let mut axes = axes(&mut rng, rank);
        if axes.is_empty() {
            axes = vec![rank as i64 - 1];
        }
        let epilogue = if case % 3 == 0 { epilogue(&mut rng, &shape, &mut inputs) } else { Pointwise::identity() };
        run(Normalize { axes, epsilon: 1e-2, center: rng.chance(60), epilogue }, &inputs, 2e-5);
    }
}

#[test]
fn several_tasks() {
    let mut rng = Rng(4);
    for (shape, axes) in [
        (vec![130, 384], vec![1]),
        (vec![1, 49, 1283], vec![1]),
        (vec![2, 14, 14, 200], vec![1, 2]),
        (vec![3, 100, 170], vec![0, 1, 2]),
        (vec![301, 20, 7], vec![1]),
        (vec![200, 20, 7], vec![0, 2]),
    ] {
        let x = rng.tensor(DType::F32, &shape);
        run(
            Reduce { kind: ReduceKind::Sum, axes: axes.clone(), keepdims: false, epilogue: Pointwise::identity() },
            std::slice::from_ref(&x),
            2e-5,
        );
        run(Normalize { axes: axes.clone(), epsilon: 1e-5, center: true, epilogue: Pointwise::identity() }, std::slice::from_ref(&x), 2e-5);
        run(Softmax { axis: axes[0], log: false, epilogue: Pointwise::identity() }, &[x], 2e-5);
    }
}

/// NaN reaches the maximum from every lane and every accumulator.
#[test]
fn nan() {
    for n in [1, 3, 4, 7, 40, 67] {
        for at in 0..n {
            let x = Tensor::from_fn(DType::F32, &[2, n], |i| if i == at { f64::NAN } else { i as f64 });
            let op = Reduce { kind: ReduceKind::Max, axes: vec![1], keepdims: false, epilogue: Pointwise::identity() };
            let plan = lower::lower(&graph(op, std::slice::from_ref(&x)), &Default::default()).unwrap();
            let y = execute_plan(&plan, &[x]).unwrap()[0].to_f64s();
            assert!(y[0].is_nan() && y[1] == 2.0 * n as f64 - 1.0, "{y:?} of {n}, NaN at {at}");
        }
    }
}
