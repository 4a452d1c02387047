//! A quantised model gives the same bits in every variant, with any number of threads, as `eval` says.

use ir::ops::contract::conv::{Conv, DataLayout};
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::{Fn, Literal, Operand, Pointwise};
use ir::{DType, Graph, Tensor, TensorType, ValueId};
use link::Kind;
use wasm_torch::{Instance, LoadOptions, NamedTensor};

/// All values of a type of a byte.
fn bytes(dtype: DType, shape: &[usize]) -> Tensor {
    let mut state = 1u64;
    Tensor::from_fn(dtype, shape, |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as f64 - if dtype == DType::I8 { 128.0 } else { 0.0 }
    })
}

fn literal(x: f64) -> Operand {
    Operand::Literal(Literal::Float(x))
}

/// A convolution of `x` with zero point `zero`, to bytes with zero point 0; with a residual it is added first.
fn layer(g: &mut Graph, x: ValueId, zero: i32, cout: usize, kernel: usize, depthwise: bool, residual: Option<ValueId>) -> ValueId {
    let cin = g.ty(x).const_shape().unwrap()[3];
    let shape = [cout, if depthwise { 1 } else { cin }, kernel, kernel];
    let taps = shape[1] * kernel * kernel;
    let weights = bytes(DType::I8, &shape);
    let sums: Vec<i32> = weights.as_slice::<i8>().chunks(taps).map(|w| w.iter().map(|w| i32::from(*w)).sum()).collect();
    let bias: Vec<i32> = sums.iter().enumerate().map(|(i, sum)| 300 * (i as i32 % 7) - zero * sum).collect();
    let factors: Vec<f32> = (0..cout).map(|i| (0.9 + 0.01 * i as f32) / ((taps as f32).sqrt() * 90.0)).collect();
    let mut inputs = vec![x, g.add_const("w", weights)];
    inputs.push(g.add_const("bias", Tensor::new(&[cout], &bias)));
    inputs.push(g.add_const("factor", Tensor::new(&[cout], &factors)));
    let mut epilogue = Pointwise::identity();
    let y = epilogue.push(Fn::Add, vec![Operand::Arg(0), Operand::Arg(1)]);
    let y = epilogue.push(Fn::Cast(DType::F32), vec![y]);
    let mut y = epilogue.push(Fn::Mul, vec![y, Operand::Arg(2)]);
    if let Some(residual) = residual {
        inputs.push(residual);
        let r = epilogue.push(Fn::Cast(DType::F32), vec![Operand::Arg(3)]);
        let r = epilogue.push(Fn::Mul, vec![r, literal(0.61)]);
        y = epilogue.push(Fn::Add, vec![y, r]);
    }
    let y = epilogue.push(Fn::Round, vec![y]);
    let y = epilogue.push(Fn::Clamp, vec![y, literal(0.0), literal(255.0)]);
    epilogue.push(Fn::Cast(DType::U8), vec![y]);
    let pad = kernel as i64 / 2;
    let conv = Conv {
        strides: vec![1, 1],
        pads: vec![pad; 4],
        dilations: vec![1, 1],
        group: if depthwise { cin as i64 } else { 1 },
        data: DataLayout::Nhwc,
        pad_value: zero,
        epilogue,
    };
    g.add(conv, &inputs, &["layer".into()], "y").unwrap()
}

fn network() -> Graph {
    let mut g = Graph::new("quantised");
    let x = g.add_input("x", TensorType::new(DType::U8, [1usize, 20, 22, 3]));
    let x = layer(&mut g, x, 121, 24, 3, false, None);
    let expanded = layer(&mut g, x, 0, 40, 1, false, None);
    let depthwise = layer(&mut g, expanded, 0, 40, 3, true, None);
    let x = layer(&mut g, depthwise, 0, 24, 1, false, Some(x));
    let pool = Pool {
        kind: PoolKind::Max,
        kernel: vec![2, 2],
        strides: vec![2, 2],
        pads: vec![0; 4],
        dilations: vec![1, 1],
        data: DataLayout::Nhwc,
        epilogue: Pointwise::identity(),
    };
    let x = g.add(pool, &[x], &["pool".into()], "pool").unwrap();
    let x = layer(&mut g, x, 0, 19, 3, false, None);
    g.add_output("y", x);
    g
}

#[test]
fn the_same_bits_everywhere() {
    let graph = network();
    let input = bytes(DType::U8, &[1, 20, 22, 3]);
    let expected = ir::eval::eval(&graph, std::slice::from_ref(&input)).unwrap().remove(0);
    let plan = lower::lower(&graph, &lower::Options::default()).unwrap();
    let relaxed = lower::lower(&graph, &lower::Options { relaxed: true, ..Default::default() }).unwrap();
    let info = link::LinkInfo { variants: Kind::ALL.to_vec(), ..Default::default() };
    let file = link::link_variants(&plan, &relaxed, &info).unwrap();
    for kind in Kind::ALL {
        for threads in 1..=if kind.threads() { 2 } else { 1 } {
            let options = LoadOptions { threads: Some(threads), variant: Some(kind.name().into()), folder: None, ..LoadOptions::default() };
            let mut instance = match Instance::load_with(&file.wasm, &options) {
                Ok(instance) => instance,
                // Not every engine computes the relaxed dot products that the variant has.
                Err(error) if kind.relaxed() => {
                    eprintln!("skipped: {kind}: {error}");
                    continue;
                }
                Err(error) => panic!("{kind}: {error}"),
            };
            let inputs = [NamedTensor { name: "x".into(), tensor: input.clone() }];
            let found = instance.forward(&inputs).unwrap();
            assert_eq!(found[0].tensor, expected, "{kind} with {threads} threads");
        }
    }
    let bytes = expected.bytes();
    let distinct = (0..=255u8).filter(|b| bytes.contains(b)).count();
    assert!(distinct > 50, "only {distinct} values: too little is tested");
    let features = |name: &str| file.manifest.variants.iter().find(|v| v.name == name).map(|v| v.features.clone()).unwrap();
    assert!(features("relaxed").contains(&"relaxed-dot-unsigned".into()) && !features("threads").contains(&"relaxed-simd".into()));
}
