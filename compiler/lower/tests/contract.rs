//! Random matrix products and convolutions: the interpreted kernels against `eval`, with and without fused work, over
//! constant and computed operands, in both layouts.

mod common;

use common::{Rng, check, check_with};
use ir::ops::contract::conv::{Conv, DataLayout};
use ir::ops::contract::matmul::MatMul;
use ir::pointwise::{Fn, Operand};
use ir::{DType, Graph, Pointwise, Tensor, TensorType, ValueId};
use std::sync::Arc;

const TOLERANCE: f64 = 2e-6;

fn origin() -> Vec<Arc<str>> {
    vec!["layer".into()]
}

/// `relu(%0 + %1)` or `%0 * %1 + %2`, or nothing; the number of extra operands.
fn random_epilogue(rng: &mut Rng) -> (Pointwise, usize) {
    let mut body = Pointwise::identity();
    match rng.range(0, 2) {
        0 => (body, 0),
        1 => {
            let sum = body.push(Fn::Add, vec![Operand::Arg(0), Operand::Arg(1)]);
            body.push(Fn::Relu, vec![sum]);
            (body, 1)
        }
        _ => {
            let product = body.push(Fn::Mul, vec![Operand::Arg(0), Operand::Arg(1)]);
            body.push(Fn::Add, vec![product, Operand::Arg(2)]);
            (body, 2)
        }
    }
}

/// A shape that broadcasts into `shape`.
fn broadcastable(rng: &mut Rng, shape: &[usize]) -> Vec<usize> {
    let skip = rng.range(0, shape.len());
    shape[skip..].iter().map(|d| if rng.chance(40) { 1 } else { *d }).collect()
}

/// Adds an operand, as an input (its tensor goes to `inputs`) or as a constant.
fn operand(graph: &mut Graph, rng: &mut Rng, inputs: &mut Vec<Tensor>, shape: &[usize], constant: bool) -> ValueId {
    let tensor = rng.tensor(DType::F32, shape);
    if constant {
        return graph.add_const("c", tensor);
    }
    let id = graph.add_input(&format!("x{}", inputs.len()), TensorType::of(&tensor));
    inputs.push(tensor);
    id
}

fn extras(graph: &mut Graph, rng: &mut Rng, inputs: &mut Vec<Tensor>, shape: &[usize], n: usize, into: &mut Vec<ValueId>) {
    for _ in 0..n {
        let shape = broadcastable(rng, shape);
        let constant = rng.chance(60);
        into.push(operand(graph, rng, inputs, &shape, constant));
    }
}

fn random_matmul(rng: &mut Rng) -> (Graph, Vec<Tensor>) {
    let (m, k, n) = (rng.range(1, 40), rng.range(1, 50), rng.range(1, 40));
    let lead: Vec<usize> = (0..rng.range(0, 2)).map(|_| rng.range(1, 3)).collect();
    let transpose_b = rng.chance(50);
    let with_lead = |rng: &mut Rng, tail: [usize; 2]| {
        let mut shape = broadcastable(rng, &lead);
        shape.extend(tail);
        shape
    };
    let a = with_lead(rng, [m, k]);
    let b = with_lead(rng, if transpose_b { [n, k] } else { [k, n] });
    let (mut graph, mut inputs) = (Graph::new("matmul"), vec![]);
    let a = operand(&mut graph, rng, &mut inputs, &a, false);
    let constant = rng.chance(60);
    let b = operand(&mut graph, rng, &mut inputs, &b, constant);
    let op = MatMul { transpose_b, epilogue: Pointwise::identity() };
    finish(graph, inputs, rng, vec![a, b], |epilogue| ir::Op::MatMul(MatMul { epilogue, ..op.clone() }))
}

fn random_conv(rng: &mut Rng) -> (Graph, Vec<Tensor>) {
    let s = if rng.chance(70) { 2 } else { rng.range(1, 3) };
    let group = if rng.chance(25) { rng.range(2, 3) } else { 1 };
    let (cg, mg) = (rng.range(1, 9) + usize::from(group > 1), rng.range(1, 14));
    let data = if rng.chance(70) { DataLayout::Nhwc } else { DataLayout::Nchw };
    let kernel: Vec<usize> = (0..s).map(|_| rng.range(1, 3)).collect();
    let small = |rng: &mut Rng, most: usize| -> Vec<i64> { (0..s).map(|_| rng.range(1, most) as i64).collect() };
    let (strides, dilations) = (small(rng, 2), small(rng, 2));
    let pads: Vec<i64> = (0..2 * s).map(|_| rng.range(0, 2) as i64).collect();
    let spatial: Vec<usize> = (0..s).map(|i| rng.range(5, if s == 3 { 6 } else { 12 }) + kernel[i]).collect();
    let mut x = vec![rng.range(1, 2)];
    match data {
        DataLayout::Nchw => x.extend(std::iter::once(group * cg).chain(spatial)),
        DataLayout::Nhwc => x.extend(spatial.into_iter().chain([group * cg])),
    }
    let mut w = vec![group * mg, cg];
    w.extend(kernel);
    let (mut graph, mut inputs) = (Graph::new("conv"), vec![]);
    let mut value = operand(&mut graph, rng, &mut inputs, &x, false);
    if rng.chance(50) {
        // A computed operand gets its margin from its producer.
        value = graph.add(ir::ops::map::Map::of(Fn::Relu), &[value], &origin(), "relu").unwrap();
    }
    let constant = rng.chance(85);
    let w = operand(&mut graph, rng, &mut inputs, &w, constant);
    let op = Conv { strides, pads, dilations, group: group as i64, data, pad_value: 0, epilogue: Pointwise::identity() };
    finish(graph, inputs, rng, vec![value, w], |epilogue| ir::Op::Conv(Conv { pad_value: 0, epilogue, ..op.clone() }))
}

fn finish(
    mut graph: Graph,
    mut inputs: Vec<Tensor>,
    rng: &mut Rng,
    own: Vec<ValueId>,
    op: impl std::ops::Fn(Pointwise) -> ir::Op,
) -> (Graph, Vec<Tensor>) {
    let types: Vec<_> = own.iter().map(|v| graph.ty(*v).clone()).collect();
    let plain = op(Pointwise::identity());
    let shape = plain.infer(&types.iter().collect::<Vec<_>>()).unwrap()[0].const_shape().unwrap();
    let (epilogue, n) = random_epilogue(rng);
    let mut operands = own;
    extras(&mut graph, rng, &mut inputs, &shape, n, &mut operands);
    let out = graph.add(op(epilogue), &operands, &origin(), "out").unwrap();
    graph.add_output("out", out);
    (graph, inputs)
}

#[test]
fn matrix_products() {
    let mut rng = Rng(1);
    for _ in 0..300 {
        let (graph, inputs) = random_matmul(&mut rng);
        check(&graph, &inputs, TOLERANCE);
    }
}

#[test]
fn convolutions() {
    let mut rng = Rng(2);
    for _ in 0..300 {
        let (graph, inputs) = random_conv(&mut rng);
        check(&graph, &inputs, TOLERANCE);
    }
}

/// Small tasks cut rows and columns into blocks; the result is the same, to the bit.
#[test]
fn blocks_do_not_change_bits() {
    let mut rng = Rng(3);
    for i in 0..80 {
        let (graph, inputs) = if i % 2 == 0 { random_matmul(&mut rng) } else { random_conv(&mut rng) };
        let run = |macs_per_task| {
            let options = lower::Options { macs_per_task, ..Default::default() };
            check_with(&graph, &inputs, TOLERANCE, &options);
            common::execute_plan(&lower::lower(&graph, &options).unwrap(), &inputs).unwrap()
        };
        assert_eq!(run(u64::MAX), run(200));
    }
}

/// Every tile of the schedule table, full and cut, gives the bits of the chosen one.
#[test]
fn every_tile_gives_the_same_bits() {
    let mut rng = Rng(6);
    for i in 0..20 {
        let (graph, inputs) = if i % 2 == 0 { random_matmul(&mut rng) } else { random_conv(&mut rng) };
        let run = |tile: Option<(usize, usize)>| {
            let options = lower::Options { tiles: tile.map(lower::schedule::Tiles::same), ..Default::default() };
            common::execute_plan(&lower::lower(&graph, &options).unwrap(), &inputs).unwrap()
        };
        let chosen = run(None);
        for tile in lower::schedule::TILES {
            assert_eq!(run(Some(*tile)), chosen, "tile {tile:?}\n{graph}");
        }
    }
}

/// Fused multiply-adds round once: other bits, the same tolerance.
#[test]
fn relaxed_products_stay_close() {
    let mut rng = Rng(4);
    for _ in 0..40 {
        let (graph, inputs) = random_matmul(&mut rng);
        check_with(&graph, &inputs, TOLERANCE, &lower::Options { relaxed: true, ..Default::default() });
    }
}

/// A convolution with stride 1 of an input or of what a layer has made of it, channels last, with a random epilogue.
fn random_filter(rng: &mut Rng, shape: &[usize], outputs: usize, kernel: &[usize], pads: Vec<i64>) -> (Graph, Vec<Tensor>) {
    let (mut graph, mut inputs) = (Graph::new("conv"), vec![]);
    let mut x = operand(&mut graph, rng, &mut inputs, shape, false);
    if rng.chance(50) {
        x = graph.add(ir::ops::map::Map::of(Fn::Relu), &[x], &origin(), "relu").unwrap();
    }
    let channels = shape[shape.len() - 1];
    let w = operand(&mut graph, rng, &mut inputs, &[&[outputs, channels], kernel].concat(), true);
    let ones = vec![1; kernel.len()];
    finish(graph, inputs, rng, vec![x, w], |epilogue| {
        let (strides, dilations, pads) = (ones.clone(), ones.clone(), pads.clone());
        ir::Op::Conv(Conv { strides, pads, dilations, group: 1, data: DataLayout::Nhwc, pad_value: 0, epilogue })
    })
}

/// Minimal filtering: every size of image around whole tiles, channel tails, epilogues, margins shared with other users.
#[test]
fn minimal_filtering() {
    let mut rng = Rng(5);
    let mut used = 0;
    for i in 0..60 {
        let (c, m) = (rng.range(9, 40), rng.range(9, 40));
        let pads: Vec<i64> = (0..4).map(|_| rng.range(0, 1) as i64).collect();
        // Some are large enough for several strips.
        let (h, w) = if i % 12 == 0 { (rng.range(50, 60), rng.range(90, 100)) } else { (rng.range(6, 21), rng.range(6, 21)) };
        let images = rng.range(1, 2);
        let (graph, inputs) = random_filter(&mut rng, &[images, h, w, c], m, &[3, 3], pads);
        let options = lower::Options { winograd: true, ..Default::default() };
        let plan = lower::lower(&graph, &options).unwrap();
        used += usize::from(plan.kernels.iter().any(|k| k.name.starts_with("winograd_4x4_3x3")));
        let filters = plan.layers.iter().any(|layer| layer.method == lower::plan::Method::Winograd);
        assert_eq!(filters, plan.kernels.iter().any(|k| k.name.starts_with("winograd_4x4_3x3")));
        check_with(&graph, &inputs, 4e-5, &options);
    }
    assert!(used > 40, "minimal filtering was chosen only {used} times");
}

/// The same along one axis, of two or of the only one: 3, 5 and 7 taps.
#[test]
fn minimal_filtering_along_one_axis() {
    use lower::plan::Method;
    let mut rng = Rng(6);
    let mut used = std::collections::HashMap::new();
    for i in 0..54 {
        let (c, m) = (rng.range(40, 110), rng.range(40, 110));
        let taps = [3, 5, 7][i % 3];
        // Filters of one row, of one column, and of one axis.
        let kernel: &[usize] = match i / 3 % 3 {
            0 => &[1, taps],
            1 => &[taps, 1],
            _ => &[taps],
        };
        let spatial = kernel.len();
        let size = |rng: &mut Rng| if spatial == 1 { rng.range(100, 200) } else { rng.range(9, 21) };
        let mut shape = vec![rng.range(1, 2)];
        shape.extend(kernel.iter().map(|_| size(&mut rng)));
        shape.push(c);
        let mut pads: Vec<i64> = vec![];
        for _ in 0..2 {
            pads.extend(kernel.iter().map(|k| rng.range(0, *k / 2) as i64));
        }
        let (graph, inputs) = random_filter(&mut rng, &shape, m, kernel, pads);
        let options = lower::Options { winograd: true, ..Default::default() };
        let plan = lower::lower(&graph, &options).unwrap();
        for method in plan.layers.iter().map(|layer| layer.method) {
            *used.entry((method, spatial)).or_insert(0) += 1;
        }
        check_with(&graph, &inputs, 4e-5, &options);
    }
    for method in [Method::Winograd3, Method::Winograd5, Method::Winograd7] {
        for spatial in [1, 2] {
            assert!(used.get(&(method, spatial)).is_some_and(|n| *n >= 3), "{method:?} over {spatial} axes: {used:?}");
        }
    }
}

/// Every element type that can be multiplied, with pads, groups and strides; integers to the bit.
#[test]
fn products_of_every_type() {
    let mut rng = Rng(11);
    let types = [DType::I32, DType::I64, DType::U8, DType::I8, DType::U32, DType::F64, DType::F16, DType::BF16];
    for case in 0..96 {
        let dtype = types[case % types.len()];
        let mut g = Graph::new("products");
        let mut inputs = vec![];
        // Products of 8-bit integers may mix signs.
        let is_byte = matches!(dtype, DType::I8 | DType::U8);
        let mut operand = |g: &mut Graph, rng: &mut Rng, shape: &[usize], constant: bool| {
            let dtype = if is_byte && constant { [DType::I8, DType::U8][rng.range(0, 1)] } else { dtype };
            let tensor = Tensor::random(dtype, shape, rng.next());
            if constant {
                return g.add_const("c", tensor);
            }
            let id = g.add_input(&format!("x{}", inputs.len()), TensorType::of(&tensor));
            inputs.push(tensor);
            id
        };
        let constant = rng.chance(50);
        let y = if rng.chance(50) {
            let (m, n, k) = (rng.range(1, 9), rng.range(1, 19), rng.range(1, 20));
            let transpose_b = rng.chance(50);
            let (a, b) = (
                operand(&mut g, &mut rng, &[2, m, k], false),
                operand(&mut g, &mut rng, &if transpose_b { [n, k] } else { [k, n] }, constant),
            );
            g.add(MatMul { transpose_b, epilogue: Pointwise::identity() }, &[a, b], &origin(), "y")
        } else {
            let group = rng.range(1, 2);
            let (x, w) =
                (operand(&mut g, &mut rng, &[1, 2 * group, 6, 7], false), operand(&mut g, &mut rng, &[3 * group, 2, 3, 3], constant));
            let op = Conv {
                strides: vec![1, rng.range(1, 2) as i64],
                pads: vec![1, 0, 1, 2],
                dilations: vec![1, 1],
                group: group as i64,
                data: DataLayout::Nchw,
                pad_value: if is_byte { rng.range(0, 127) as i32 } else { 0 },
                epilogue: Pointwise::identity(),
            };
            g.add(op, &[x, w], &origin(), "y")
        };
        g.add_output("y", y.unwrap());
        let tolerance = match dtype {
            DType::F16 => 2e-3,
            DType::BF16 => 2e-2,
            DType::F64 => 1e-12,
            _ => 0.0,
        };
        check(&g, &inputs, tolerance);
    }
}
