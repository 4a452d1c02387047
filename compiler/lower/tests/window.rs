//! Windows, depthwise convolutions and pooling, against `eval`.

mod common;

use common::{Rng, check, check_with};
use ir::ops::contract::conv::{Conv, DataLayout};
use ir::ops::map::Map;
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::{Fn, Operand};
use ir::{DType, Graph, Op, Pointwise, Tensor, TensorType, ValueId};

const F32: DType = DType::F32;

/// A window over a random tensor.
#[derive(Debug, Clone)]
struct Case {
    dtype: DType,
    /// None: depthwise convolution.
    pool: Option<PoolKind>,
    data: DataLayout,
    batch: usize,
    channels: usize,
    size: Vec<usize>,
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
    bias: bool,
    residual: bool,
    relu: bool,
    constant_weights: bool,
}

impl Case {
    /// A plain two-dimensional one.
    fn new(pool: Option<PoolKind>, data: DataLayout, channels: usize, size: usize, kernel: usize, stride: usize, pad: usize) -> Case {
        Case {
            dtype: F32,
            pool,
            data,
            batch: 1,
            channels,
            size: vec![size; 2],
            kernel: vec![kernel; 2],
            strides: vec![stride; 2],
            dilations: vec![1; 2],
            pads: vec![pad; 4],
            bias: false,
            residual: false,
            relu: false,
            constant_weights: true,
        }
    }

    fn random(rng: &mut Rng) -> Case {
        let rank = [1, 2, 2, 2, 2, 3][rng.range(0, 5)];
        let most = if rank == 3 { 3 } else { 7 };
        let kernel: Vec<usize> = (0..rank).map(|_| rng.range(1, most)).collect();
        let dilations: Vec<usize> = (0..rank).map(|_| if rng.chance(25) { rng.range(1, 3) } else { 1 }).collect();
        let span = |i: usize| dilations[i] * (kernel[i] - 1) + 1;
        let pads: Vec<usize> = (0..2 * rank).map(|i| if rng.chance(50) { rng.range(0, span(i % rank) / 2) } else { 0 }).collect();
        Case {
            dtype: F32,
            pool: [None, None, Some(PoolKind::Max), Some(PoolKind::Sum)][rng.range(0, 3)],
            data: [DataLayout::Nchw, DataLayout::Nhwc, DataLayout::Nhwc][rng.range(0, 2)],
            batch: rng.range(1, 2),
            channels: rng.range(1, 40),
            size: (0..rank).map(|i| span(i) + rng.range(0, 40 / (rank * rank))).collect(),
            strides: (0..rank).map(|_| if rng.chance(50) { rng.range(1, 3) } else { 1 }).collect(),
            bias: rng.chance(50),
            residual: rng.chance(25),
            relu: rng.chance(50),
            constant_weights: rng.chance(90),
            kernel,
            dilations,
            pads,
        }
    }

    fn image(&self, spatial: &[usize]) -> Vec<usize> {
        let mut shape = vec![self.batch];
        match self.data {
            DataLayout::Nchw => shape.extend([&[self.channels], spatial].concat()),
            DataLayout::Nhwc => shape.extend([spatial, &[self.channels]].concat()),
        }
        shape
    }

    /// A graph of this one node, and its inputs.
    fn graph(&self, rng: &mut Rng) -> (Graph, Vec<Tensor>) {
        let mut graph = Graph::new("window");
        let mut tensors = vec![];
        let mut input = |graph: &mut Graph, rng: &mut Rng, name: &str, shape: &[usize]| -> ValueId {
            tensors.push(rng.tensor(self.dtype, shape));
            graph.add_input(name, TensorType::new(self.dtype, shape.iter().copied()))
        };
        let mut inputs = vec![input(&mut graph, rng, "x", &self.image(&self.size))];
        if self.pool.is_none() {
            let shape = [&[self.channels, 1], &self.kernel[..]].concat();
            inputs.push(if self.constant_weights {
                let w = rng.tensor(self.dtype, &shape);
                graph.add_const("w", w)
            } else {
                input(&mut graph, rng, "w", &shape)
            });
        }
        let out: Vec<usize> = (0..self.size.len())
            .map(|i| {
                let padded = self.size[i] + self.pads[i] + self.pads[self.size.len() + i];
                (padded - self.dilations[i] * (self.kernel[i] - 1) - 1) / self.strides[i] + 1
            })
            .collect();
        let (mut epilogue, mut last, mut args) = (Pointwise::identity(), Operand::Arg(0), 1);
        if self.bias {
            let shape = match self.data {
                DataLayout::Nhwc => vec![self.channels],
                DataLayout::Nchw => [vec![self.channels], vec![1; self.size.len()]].concat(),
            };
            let bias = rng.tensor(self.dtype, &shape);
            inputs.push(graph.add_const("bias", bias));
            last = epilogue.push(Fn::Add, vec![last, Operand::Arg(args)]);
            args += 1;
        }
        if self.residual {
            inputs.push(input(&mut graph, rng, "residual", &self.image(&out)));
            last = epilogue.push(Fn::Add, vec![last, Operand::Arg(args)]);
        }
        if self.relu {
            epilogue.push(Fn::Relu, vec![last]);
        }
        let ints = |v: &[usize]| v.iter().map(|n| *n as i64).collect::<Vec<i64>>();
        let (strides, pads, dilations) = (ints(&self.strides), ints(&self.pads), ints(&self.dilations));
        let op: Op = match self.pool {
            None => Conv { strides, pads, dilations, group: self.channels as i64, data: self.data, pad_value: 0, epilogue }.into(),
            Some(kind) => Pool { kind, kernel: ints(&self.kernel), strides, pads, dilations, data: self.data, epilogue }.into(),
        };
        let y = graph.add(op, &inputs, &[], "y").unwrap_or_else(|e| panic!("{self:?}: {e}"));
        graph.add_output("y", y);
        (graph, tensors)
    }

    fn check(&self, rng: &mut Rng) {
        let (graph, inputs) = self.graph(rng);
        check(&graph, &inputs, 1e-5);
    }
}

#[test]
fn random_windows() {
    let mut rng = Rng(7);
    for _ in 0..300 {
        let case = Case::random(&mut rng);
        let (graph, inputs) = case.graph(&mut rng);
        // Many tasks, or few.
        let macs_per_task = [1, 500, 20_000, 1 << 20][rng.range(0, 3)];
        let options = lower::Options { macs_per_task, relaxed: rng.chance(20), ..lower::Options::default() };
        check_with(&graph, &inputs, 1e-5, &options);
    }
}

#[test]
fn every_remainder_of_channels_and_positions() {
    let mut rng = Rng(1);
    for channels in 1..=9 {
        for size in 1..=18 {
            let pool = [None, Some(PoolKind::Max)][(channels + size) % 2];
            Case { bias: true, relu: true, ..Case::new(pool, DataLayout::Nhwc, channels, size, 3, 1, 1) }.check(&mut rng);
        }
    }
}

#[test]
fn large_kernels() {
    let mut rng = Rng(2);
    for kernel in [8, 13, 17, 33] {
        for pool in [None, Some(PoolKind::Max), Some(PoolKind::Sum)] {
            for data in [DataLayout::Nhwc, DataLayout::Nchw] {
                Case { bias: true, ..Case::new(pool, data, 5, kernel + 3, kernel, 1, kernel / 2) }.check(&mut rng);
            }
        }
    }
}

#[test]
fn integers_and_wide_floats() {
    let mut rng = Rng(3);
    for dtype in [DType::I8, DType::U8, DType::I32, DType::F64] {
        for pool in [PoolKind::Max, PoolKind::Sum] {
            for data in [DataLayout::Nhwc, DataLayout::Nchw] {
                Case { dtype, ..Case::new(Some(pool), data, 7, 9, 2, 2, 0) }.check(&mut rng);
            }
        }
    }
}

#[test]
fn a_nan_survives_the_maximum_wherever_it_is() {
    for (layout, at) in [DataLayout::Nhwc, DataLayout::Nchw].into_iter().flat_map(|l| (0..9).map(move |at| (l, at))) {
        for kernel in [3, 20] {
            let mut rng = Rng(4);
            let (graph, mut inputs) = Case::new(Some(PoolKind::Max), layout, 1, kernel, kernel, 1, 0).graph(&mut rng);
            inputs[0].as_mut_slice::<f32>()[at] = f32::NAN;
            check(&graph, &inputs, 0.0);
        }
    }
}

/// Producers keep the margins: map → depthwise → depthwise with a residual, and pools with another padding value.
#[test]
fn chains_share_margins() {
    let mut rng = Rng(6);
    for data in [DataLayout::Nhwc, DataLayout::Nchw] {
        for (channels, size) in [(8, 14), (6, 9), (3, 7)] {
            let case = Case::new(None, data, channels, size, 3, 1, 1);
            let shape = case.image(&[size, size]);
            let mut graph = Graph::new("chain");
            let x = graph.add_input("x", TensorType::new(F32, shape.iter().copied()));
            let relu = graph.add(Map::of(Fn::Relu), &[x], &[], "relu").unwrap();
            let conv = |kernel: i64, epilogue: Pointwise| {
                let (strides, pads, dilations) = (vec![1; 2], vec![kernel / 2; 4], vec![1; 2]);
                Conv { strides, pads, dilations, group: channels as i64, data, pad_value: 0, epilogue }
            };
            let w = [3, 5].map(|k| rng.tensor(F32, &[channels, 1, k, k])).map(|w| graph.add_const("w", w));
            let a = graph.add(conv(3, Pointwise::identity()), &[relu, w[0]], &[], "a").unwrap();
            let b = graph.add(conv(5, Pointwise::of(Fn::Add)), &[a, w[1], relu], &[], "b").unwrap();
            let pool = |kind| Pool {
                kind,
                kernel: vec![3, 2],
                strides: vec![2, 1],
                pads: vec![1, 0, 1, 1],
                dilations: vec![1; 2],
                data,
                epilogue: Pointwise::identity(),
            };
            for (name, value, kind) in [("max", a, PoolKind::Max), ("sum", b, PoolKind::Sum), ("max_b", b, PoolKind::Max)] {
                let y = graph.add(pool(kind), &[value], &[], name).unwrap();
                graph.add_output(name, y);
            }
            let input = rng.tensor(F32, &shape);
            check(&graph, &[input], 1e-5);
        }
    }
}

/// A long row is split between tasks, with and without a remainder.
#[test]
fn one_row_is_many_tasks() {
    let mut rng = Rng(8);
    for size in [160, 161, 199] {
        let case = Case {
            size: vec![size],
            kernel: vec![3],
            strides: vec![1],
            dilations: vec![1],
            pads: vec![1, 1],
            ..Case::new(None, DataLayout::Nhwc, 6, 1, 3, 1, 1)
        };
        let (graph, inputs) = case.graph(&mut rng);
        let options = lower::Options { macs_per_task: 300, ..lower::Options::default() };
        check_with(&graph, &inputs, 1e-5, &options);
        let plan = lower::lower(&graph, &options).unwrap();
        assert!(plan.steps.last().unwrap().tasks >= 9, "{plan}");
    }
}

/// Code size and the shape of the inner loop: what the schedule promises.
#[test]
fn the_fast_form_is_small_and_loads_little() {
    let kernel_of = |case: &Case| {
        let (graph, _) = case.graph(&mut Rng(5));
        let mut plan = lower::lower(&graph, &lower::Options::default()).unwrap();
        plan.kernels.swap_remove(plan.steps.last().unwrap().kernel.0)
    };
    let mut lines = vec![];
    for (kernel, stride, size) in [(3, 1, 14), (3, 2, 14), (3, 1, 13), (5, 1, 14), (7, 1, 7), (13, 1, 12)] {
        for pool in [None, Some(PoolKind::Max)] {
            let case = Case { bias: true, relu: true, ..Case::new(pool, DataLayout::Nhwc, 64, size, kernel, stride, kernel / 2) };
            let kernel = kernel_of(&case);
            let bytes = kernel::emit_standalone_module(std::slice::from_ref(&kernel), 1).unwrap().len();
            let text = kernel.to_string();
            assert!(bytes <= 4096, "{}: {bytes} bytes\n{text}", kernel.name);
            let count = |what: &str| text.matches(what).count();
            let (loads, stores) = (count("v128.load"), count("v128.store"));
            lines.push(format!("{}: {bytes} bytes, {loads} loads, {} products, {stores} stores\n", kernel.name, count(" * weight")));
        }
    }
    expect_test::expect![[r#"
        depthwise_f32_3x3_c64_w14_add_relu: 1568 bytes, 37 loads, 63 products, 7 stores
        maxpool_f32_3x3_c64_w14_add_relu: 2190 bytes, 35 loads, 0 products, 7 stores
        depthwise_f32_3x3_c64_w7_add_relu: 1831 bytes, 68 loads, 63 products, 7 stores
        maxpool_f32_3x3_c64_w7_add_relu: 2353 bytes, 50 loads, 0 products, 7 stores
        depthwise_f32_3x3_c64_w13_add_relu: 2703 bytes, 71 loads, 117 products, 13 stores
        maxpool_f32_3x3_c64_w13_add_relu: 2162 bytes, 35 loads, 0 products, 7 stores
        depthwise_f32_5x5_c64_w14_add_relu: 1138 bytes, 17 loads, 35 products, 7 stores
        maxpool_f32_5x5_c64_w14_add_relu: 1645 bytes, 17 loads, 0 products, 7 stores
        depthwise_f32_7x7_c64_w7_add_relu: 1508 bytes, 35 loads, 49 products, 7 stores
        maxpool_f32_7x7_c64_w7_add_relu: 1841 bytes, 21 loads, 0 products, 7 stores
        depthwise_f32_13x13_c64_w12_add_relu: 1413 bytes, 30 loads, 52 products, 4 stores
        maxpool_f32_13x13_c64_w12_add_relu: 1675 bytes, 17 loads, 0 products, 4 stores
    "#]]
    .assert_eq(&lines.concat());
}
