//! Quantised layers: products of bytes with the epilogues that requantise them, to the bit in every variant.

mod common;

use common::{Rng, execute_plan};
use ir::ops::contract::conv::{Conv, DataLayout};
use ir::ops::contract::matmul::MatMul;
use ir::ops::map::Map;
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::{Fn, Literal, Operand, Pointwise};
use ir::{DType, Graph, Op, Tensor, TensorType, ValueId};

/// All values of a type of a byte, the ends often.
fn random_bytes(dtype: DType, shape: &[usize], rng: &mut Rng) -> Tensor {
    let least = if dtype == DType::U8 { 0.0 } else { -128.0 };
    Tensor::from_fn(dtype, shape, |_| least + if rng.chance(10) { [0.0, 255.0][rng.range(0, 1)] } else { rng.range(0, 255) as f64 })
}

fn literal(x: f64) -> Operand {
    Operand::Literal(Literal::Float(x))
}

/// `cast(clamp(add(round(x), zero), low, high))` of a random form.
fn requantised(rng: &mut Rng, p: &mut Pointwise, x: Operand) {
    let to = if rng.chance(70) { DType::U8 } else { DType::I8 };
    let least = if to == DType::U8 { 0 } else { -128 };
    let zero = least + rng.range(0, 255) as i64;
    let mut y = p.push(Fn::Round, vec![x]);
    if rng.chance(80) {
        y = p.push(Fn::Add, vec![y, literal(zero as f64)]);
    }
    let low = if rng.chance(60) { least } else { least + rng.range(0, 100) as i64 };
    let y = p.push(Fn::Clamp, vec![y, literal(low as f64), literal((least + 255) as f64)]);
    p.push(Fn::Cast(to), vec![y]);
}

/// An epilogue on sums of the shape of the output, whose last dimension is `channels` when `last`, else the second one.
/// Adds its operands.
fn epilogue(
    g: &mut Graph,
    rng: &mut Rng,
    inputs: &mut Vec<Tensor>,
    shape: &[usize],
    channel: usize,
    operands: &mut Vec<ValueId>,
) -> Pointwise {
    let mut p = Pointwise::identity();
    if rng.chance(15) {
        return p;
    }
    let first = operands.len();
    let mut per_channel = vec![1; shape.len()];
    per_channel[channel] = shape[channel];
    let bias: Vec<i32> = (0..shape[channel]).map(|_| rng.range(0, 20000) as i32 - 10000).collect();
    let factor: Vec<f32> = (0..shape[channel]).map(|_| (rng.float() * 0.01) as f32).collect();
    operands.push(g.add_const("bias", Tensor::new(&per_channel, &bias)));
    operands.push(g.add_const("factor", Tensor::new(&per_channel, &factor)));
    let x = p.push(Fn::Add, vec![Operand::Arg(0), Operand::Arg(1)]);
    let x = p.push(Fn::Cast(DType::F32), vec![x]);
    let mut x = p.push(Fn::Mul, vec![x, Operand::Arg(2)]);
    if rng.chance(30) {
        let residual = random_bytes(DType::U8, shape, rng);
        operands.push(g.add_input("residual", TensorType::of(&residual)));
        inputs.push(residual);
        let r = p.push(Fn::Cast(DType::F32), vec![Operand::Arg(operands.len() - first)]);
        let r = p.push(Fn::Sub, vec![r, literal(121.0)]);
        let r = p.push(Fn::Mul, vec![r, literal(0.37)]);
        x = p.push(Fn::Add, vec![x, r]);
    }
    if rng.chance(30) {
        x = p.push(Fn::Relu, vec![x]);
    }
    if rng.chance(90) {
        requantised(rng, &mut p, x);
    }
    p
}

fn finish(g: &mut Graph, op: Op, operands: &[ValueId]) {
    let y = g.add(op, operands, &["layer".into()], "y").unwrap();
    g.add_output("y", y);
}

/// The plain and the relaxed plan, small tasks and large ones, give what `eval` says; the names of the plain kernels.
fn check(g: &Graph, inputs: &[Tensor]) -> Vec<String> {
    // With minimal filtering allowed, weights may also take more memory.
    let plans = [(false, 1 << 20, false), (true, 1 << 20, false), (false, 500, true), (true, 500, true)];
    let options = |(relaxed, macs_per_task, winograd)| lower::Options { relaxed, macs_per_task, winograd, ..Default::default() };
    check_with(g, inputs, plans.map(options))
}

fn check_with(g: &Graph, inputs: &[Tensor], options: impl IntoIterator<Item = lower::Options>) -> Vec<String> {
    let expected = ir::eval::eval(g, inputs).unwrap();
    let mut names = vec![];
    for options in options {
        let relaxed = options.relaxed;
        let plan = lower::lower(g, &options).unwrap();
        let found = execute_plan(&plan, inputs).unwrap_or_else(|e| panic!("{e}\n{g}\n{plan}"));
        assert_eq!(found, expected, "relaxed: {relaxed}\n{g}\n{plan}");
        assert!(!plan.kernels.iter().any(|k| k.to_string().contains("relaxed_madd")));
        if names.is_empty() {
            names = plan.kernels.iter().map(|k| k.name.clone()).collect();
        }
    }
    names
}

fn activation(rng: &mut Rng) -> DType {
    if rng.chance(80) { DType::U8 } else { DType::I8 }
}

/// A graph input, sometimes behind a map, whose output gets a margin where one is needed.
fn input(g: &mut Graph, rng: &mut Rng, inputs: &mut Vec<Tensor>, shape: &[usize]) -> ValueId {
    let tensor = random_bytes(activation(rng), shape, rng);
    let x = g.add_input("x", TensorType::of(&tensor));
    inputs.push(tensor);
    if rng.chance(50) { g.add(Map::of(Fn::Not), &[x], &["not".into()], "not").unwrap() } else { x }
}

#[test]
fn convolutions_of_bytes() {
    let mut rng = Rng(21);
    let mut fast = 0;
    for case in 0..120 {
        let (mut g, mut inputs) = (Graph::new("conv"), vec![]);
        let depthwise = case % 3 == 0;
        let kernel = [[1, 1], [3, 3], [2, 3], [5, 5]][rng.range(0, if depthwise { 3 } else { 2 })];
        let cin = if depthwise { rng.range(8, 30) } else { rng.range(1, 40) };
        let cout = if depthwise { cin } else { rng.range(1, 20) };
        let shape = [rng.range(1, 2), rng.range(9, 14), rng.range(9, 14), cin];
        let x = input(&mut g, &mut rng, &mut inputs, &shape);
        let weights = [cout, if depthwise { 1 } else { cin }, kernel[0], kernel[1]];
        let w = g.add_const("w", random_bytes(DType::I8, &weights, &mut rng));
        let is_signed = g.ty(x).dtype == DType::I8;
        let mut conv = Conv {
            strides: vec![rng.range(1, 2) as i64, rng.range(1, 2) as i64],
            pads: (0..4).map(|_| rng.range(0, 1) as i64).collect(),
            dilations: vec![1, if rng.chance(20) { 2 } else { 1 }],
            group: if depthwise { cin as i64 } else { 1 },
            data: DataLayout::Nhwc,
            pad_value: rng.range(0, 255) as i32 - if is_signed { 128 } else { 0 },
            epilogue: Pointwise::identity(),
        };
        let ty = Op::from(conv.clone()).infer(&[g.ty(x), g.ty(w)]).unwrap();
        let mut operands = vec![x, w];
        conv.epilogue = epilogue(&mut g, &mut rng, &mut inputs, &ty[0].const_shape().unwrap(), 3, &mut operands);
        finish(&mut g, conv.into(), &operands);
        let names = check(&g, &inputs);
        fast += usize::from(names.iter().any(|n| n.starts_with("contract_i8") || n.contains("_pairs_")));
    }
    assert!(fast > 80, "only {fast} of 120 had fast kernels");
}

/// A 3x3 convolution with stride 1 of bytes; the names of the plain kernels where minimal filtering is allowed.
fn filtered(rng: &mut Rng, x: &Tensor, weights: Tensor, pads: [i64; 4], pad_value: i32) -> Vec<String> {
    let (mut g, mut inputs) = (Graph::new("conv"), vec![x.clone()]);
    let x = g.add_input("x", TensorType::of(x));
    let x = if rng.chance(50) { g.add(Map::of(Fn::Not), &[x], &["not".into()], "not").unwrap() } else { x };
    let w = g.add_const("w", weights);
    let mut conv = Conv {
        strides: vec![1, 1],
        pads: pads.into(),
        dilations: vec![1, 1],
        group: 1,
        data: DataLayout::Nhwc,
        pad_value,
        epilogue: Pointwise::identity(),
    };
    let ty = Op::from(conv.clone()).infer(&[g.ty(x), g.ty(w)]).unwrap();
    let mut operands = vec![x, w];
    conv.epilogue = epilogue(&mut g, rng, &mut inputs, &ty[0].const_shape().unwrap(), 3, &mut operands);
    finish(&mut g, conv.into(), &operands);
    let plans = [(false, 1 << 20), (true, 3000)];
    check_with(
        &g,
        &inputs,
        plans.map(|(relaxed, macs_per_task)| lower::Options { relaxed, macs_per_task, winograd: true, ..Default::default() }),
    )
}

/// Minimal filtering gives the sums of the direct form, to the bit.
#[test]
fn minimal_filtering_of_bytes() {
    let mut rng = Rng(27);
    let mut used = 0;
    for _ in 0..8 {
        let (cin, cout) = (8 * rng.range(5, 7), 4 * rng.range(10, 13));
        let x = random_bytes(activation(&mut rng), &[1, rng.range(20, 25), rng.range(20, 25), cin], &mut rng);
        let pads = [1, rng.range(0, 1) as i64, rng.range(0, 1) as i64, 1];
        let pad = rng.range(0, 255) as i32 - if x.dtype == DType::I8 { 128 } else { 0 };
        let weights = random_bytes(DType::I8, &[cout, cin, 3, 3], &mut rng);
        let names = filtered(&mut rng, &x, weights, pads, pad);
        used += usize::from(names.iter().any(|n| n.starts_with("winograd_4x4_3x3")));
    }
    assert!(used > 5, "minimal filtering was chosen only {used} times of 8");
}

/// Sums up to just below what minimal filtering recovers; beyond that it is not used.
#[test]
fn minimal_filtering_knows_its_bound() {
    let mut rng = Rng(28);
    for (channels, weight, images, is_used) in [(112, 127, 1, true), (120, 127, 1, false), (112, -128, 2, true), (120, -128, 1, false)] {
        let x = Tensor::from_fn(DType::U8, &[images, 16, 16, channels], |_| 255.0);
        let weights = Tensor::from_fn(DType::I8, &[64, channels, 3, 3], |_| f64::from(weight));
        let names = filtered(&mut rng, &x, weights, [1; 4], 255);
        assert_eq!(names.iter().any(|n| n.starts_with("winograd_4x4_3x3")), is_used, "{channels} channels: {names:?}");
    }
}

#[test]
fn matrix_products_of_bytes() {
    let mut rng = Rng(22);
    let mut fast = 0;
    for _ in 0..60 {
        let (mut g, mut inputs) = (Graph::new("matmul"), vec![]);
        let (m, k, n) = (rng.range(1, 70), rng.range(1, 90), rng.range(1, 40));
        let x = input(&mut g, &mut rng, &mut inputs, &[m, k]);
        let transpose_b = rng.chance(50);
        let w = g.add_const("w", random_bytes(DType::I8, &if transpose_b { [n, k] } else { [k, n] }, &mut rng));
        let mut operands = vec![x, w];
        let epilogue = epilogue(&mut g, &mut rng, &mut inputs, &[m, n], 1, &mut operands);
        finish(&mut g, MatMul { transpose_b, epilogue }.into(), &operands);
        fast += usize::from(check(&g, &inputs).iter().any(|n| n.starts_with("contract_i8")));
    }
    assert!(fast > 50, "only {fast} of 60 had fast kernels");
}

/// Maximum pooling of many channels.
#[test]
fn pooled_bytes() {
    let mut rng = Rng(24);
    for _ in 0..20 {
        let (mut g, mut inputs) = (Graph::new("pool"), vec![]);
        let shape = [rng.range(1, 2), rng.range(5, 12), rng.range(5, 12), rng.range(16, 50)];
        let x = input(&mut g, &mut rng, &mut inputs, &shape);
        let kernel = vec![rng.range(1, 3) as i64, rng.range(1, 3) as i64];
        let pool = Pool {
            kind: PoolKind::Max,
            strides: vec![rng.range(1, 2) as i64; 2],
            pads: kernel.iter().chain(&kernel).map(|k| k / 2).collect(),
            dilations: vec![1, 1],
            data: DataLayout::Nhwc,
            kernel,
            epilogue: Pointwise::identity(),
        };
        finish(&mut g, pool.into(), &[x]);
        check(&g, &inputs);
    }
}

/// Quantisation of floats: ties, values outside the range, infinities and NaN.
#[test]
fn quantised_floats() {
    let mut rng = Rng(23);
    let special = [0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, 1e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0, 254.5, 255.5, 127.5, 4e6];
    for _ in 0..40 {
        let values: Vec<f32> = (0..67).map(|i| if i < special.len() { special[i] } else { (rng.float() * 400.0) as f32 }).collect();
        let mut g = Graph::new("quantise");
        let x = g.add_input("x", TensorType::new(DType::F32, [67usize]));
        let mut p = Pointwise::identity();
        let scaled = if rng.chance(50) { p.push(Fn::Mul, vec![Operand::Arg(0), literal(1.0)]) } else { Operand::Arg(0) };
        requantised(&mut rng, &mut p, scaled);
        finish(&mut g, Map { body: p }.into(), &[x]);
        check(&g, &[Tensor::new(&[67], &values)]);
    }
}
