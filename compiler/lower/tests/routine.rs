//! Operators that are routines: `eval` against values computed by hand or a plain property, and the plan, run by the kernel
//! interpreter with native routines, against `eval`.

mod common;

use common::{Rng, check, execute_plan};
use ir::ops::routine::check::{CheckAxes, CheckSizes};
use ir::ops::routine::detect::{Det, NonMaxSuppression};
use ir::ops::routine::dynamic::{Cumulate, DynamicPad, DynamicSlice, PadMode, ReduceAxes};
use ir::ops::routine::pool::{Col2Im, MaxPoolIndices, MaxUnpool};
use ir::ops::routine::random::{Bernoulli, Multinomial, RandomNormal, RandomUniform};
use ir::ops::routine::sample::{Coordinates, GridSample, Outside, Resize, RoiAlign, Rounding, Sampling};
use ir::ops::routine::scatter::{GatherElements, GatherNd, ScatterElements, ScatterNd, TensorScatter};
use ir::ops::routine::select::{Compress, NonZero, ReverseSequence, TopK, Unique};
use ir::ops::routine::{Reduction, routine_dtype};
use ir::{DType, Graph, Op, Tensor, TensorType};

/// A graph of one node whose inputs are model inputs, all outputs used.
fn graph(op: impl Into<Op>, inputs: &[Tensor]) -> Graph {
    let mut g = Graph::new("routine");
    let ids: Vec<_> = inputs.iter().enumerate().map(|(i, t)| g.add_input(&format!("x{i}"), TensorType::of(t))).collect();
    let node = g.add_node(op, &ids, &["layer".into()], "y").unwrap();
    for (i, value) in g.node(node).outputs.clone().into_iter().enumerate() {
        g.add_output(&format!("y{i}"), value);
    }
    g
}

/// The results, from `eval` and from the plan, which must agree in every bit.
fn run(op: impl Into<Op>, inputs: &[Tensor]) -> Vec<Tensor> {
    let g = graph(op, inputs);
    check(&g, inputs, 0.0);
    ir::eval::eval(&g, inputs).unwrap()
}

/// Both refuse, the plan with this status.
fn refused(op: impl Into<Op>, inputs: &[Tensor], status: &str) {
    let g = graph(op, inputs);
    ir::eval::eval(&g, inputs).expect_err("eval refuses");
    let plan = lower::lower(&g, &lower::Options::default()).unwrap();
    let error = execute_plan(&plan, inputs).expect_err("the plan refuses");
    assert!(error.contains(status), "{error}");
}

fn f(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape, values)
}
fn i(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::new(shape, values)
}

#[test]
fn top_k() {
    let x = f(&[2, 4], &[3.0, 1.0, 2.0, 3.0, f32::NEG_INFINITY, -0.0, 0.0, -5.0]);
    let y = run(TopK { axis: 1, largest: true, k: vec![3i64.into()] }, std::slice::from_ref(&x));
    assert_eq!(y[0].to_f64s(), [3.0, 3.0, 2.0, 0.0, 0.0, -5.0]);
    assert_eq!(y[1].to_i64s(), [0, 3, 2, 1, 2, 3], "equal elements by position");
    let y = run(TopK { axis: 0, largest: false, k: vec![1i64.into()] }, &[x]);
    assert_eq!(y[1].to_i64s(), [1, 1, 1, 1]);
    // Against a sort, for all orders of size, over types.
    let mut rng = Rng(3);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I8, DType::U8, DType::I64, DType::U64] {
        for _ in 0..40 {
            let n = rng.range(1, 40);
            let k = rng.range(0, n);
            let x = rng.tensor(dtype, &[2, n, 3]);
            let y = run(TopK { axis: 1, largest: true, k: vec![(k as i64).into()] }, std::slice::from_ref(&x));
            for (outer, inner) in (0..2).flat_map(|o| (0..3).map(move |i| (o, i))) {
                let mut order: Vec<usize> = (0..n).collect();
                let value = |j: usize| x.get_f64((outer * n + j) * 3 + inner);
                order.sort_by(|a, b| value(*b).total_cmp(&value(*a)).then(a.cmp(b)));
                for (j, best) in order.iter().take(k).enumerate() {
                    assert_eq!(y[1].to_i64s()[(outer * k + j) * 3 + inner], *best as i64);
                    assert_eq!(y[0].get_f64((outer * k + j) * 3 + inner), value(*best));
                }
            }
        }
    }
}

#[test]
fn unique() {
    let x = f(&[6], &[2.0, 1.0, 1.0, 3.0, 4.0, 3.0]);
    let y = run(Unique { axis: -1, sorted: false, count: vec![4i64.into()] }, std::slice::from_ref(&x));
    assert_eq!(y[0].to_f64s(), [2.0, 1.0, 3.0, 4.0]);
    assert_eq!([y[1].to_i64s(), y[3].to_i64s()], [[0, 1, 3, 4], [1, 2, 2, 1]]);
    assert_eq!(y[2].to_i64s(), [0, 1, 1, 2, 3, 2]);
    let y = run(Unique { axis: -1, sorted: true, count: vec![4i64.into()] }, std::slice::from_ref(&x));
    assert_eq!(y[0].to_f64s(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(y[2].to_i64s(), [1, 0, 0, 2, 3, 2]);
    let rows = f(&[3, 2], &[1.0, 0.0, 1.0, 0.0, 0.0, 5.0]);
    let y = run(Unique { axis: 0, sorted: true, count: vec![2i64.into()] }, &[rows]);
    assert_eq!(y[0].to_f64s(), [0.0, 5.0, 1.0, 0.0]);
    assert_eq!(y[3].to_i64s(), [1, 2]);
    refused(Unique { axis: -1, sorted: true, count: vec![5i64.into()] }, &[x], "SizeOutOfBounds 4");
}

#[test]
fn nonzero_and_compress() {
    let x = f(&[2, 3], &[0.0, 1.0, -0.0, f32::NAN, 0.0, -2.0]);
    let y = run(NonZero { count: vec![3i64.into()] }, std::slice::from_ref(&x));
    assert_eq!(y[0].to_i64s(), [0, 1, 1, 1, 0, 2]);
    refused(NonZero { count: vec![2i64.into()] }, std::slice::from_ref(&x), "SizeOutOfBounds 3");
    refused(NonZero { count: vec![4i64.into()] }, std::slice::from_ref(&x), "SizeOutOfBounds 3");
    let condition = Tensor::from_fn(DType::Bool, &[2], |i| i as f64);
    let y = run(Compress { axis: 1, count: vec![1i64.into()] }, &[x, condition]);
    assert_eq!(y[0].get_f64(0), 1.0);
    assert_eq!(y[0].get_f64(1), 0.0);
}

#[test]
fn lookups_and_updates() {
    let x = f(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let at = i(&[2, 2], &[2, -3, 0, 1]);
    assert_eq!(run(GatherElements { axis: 1 }, &[x.clone(), at.clone()])[0].to_f64s(), [3.0, 1.0, 4.0, 5.0]);
    refused(GatherElements { axis: 0 }, &[x.clone(), at.clone()], "IndexOutOfRange 2");
    let updates = f(&[2, 2], &[10.0, 20.0, 30.0, 40.0]);
    let scatter = |reduction| run(ScatterElements { axis: 1, reduction }, &[x.clone(), at.clone(), updates.clone()])[0].to_f64s();
    assert_eq!(scatter(Reduction::None), [20.0, 2.0, 10.0, 30.0, 40.0, 6.0]);
    assert_eq!(scatter(Reduction::Add), [21.0, 2.0, 13.0, 34.0, 45.0, 6.0]);
    assert_eq!(scatter(Reduction::Mul), [20.0, 2.0, 30.0, 120.0, 200.0, 6.0]);
    assert_eq!(scatter(Reduction::Min), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(scatter(Reduction::Max), [20.0, 2.0, 10.0, 30.0, 40.0, 6.0]);
    assert_eq!(run(GatherNd { batch: 0 }, &[x.clone(), i(&[2, 1], &[1, 0])])[0].to_f64s(), [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
    assert_eq!(run(GatherNd { batch: 1 }, &[x.clone(), i(&[2, 1], &[1, -1])])[0].to_f64s(), [2.0, 6.0]);
    let rows = f(&[2, 3], &[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    let y = run(ScatterNd { reduction: Reduction::Add }, &[x.clone(), i(&[2, 1], &[1, 1]), rows]);
    assert_eq!(y[0].to_f64s(), [1.0, 2.0, 3.0, 7.0, 8.0, 9.0]);
    refused(ScatterNd { reduction: Reduction::None }, &[x.clone(), i(&[1, 2], &[0, 3]), f(&[1], &[0.0])], "IndexOutOfRange 3");
    let cache = f(&[2, 3, 1], &[0.0; 6]);
    let update = f(&[2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    let y = run(TensorScatter { axis: 1, circular: true }, &[cache.clone(), update.clone(), i(&[2], &[0, 2])]);
    assert_eq!(y[0].to_f64s(), [1.0, 2.0, 0.0, 4.0, 0.0, 3.0]);
    refused(TensorScatter { axis: 1, circular: false }, &[cache, update, i(&[2], &[0, 2])], "IndexOutOfRange 3");
    let y = run(ReverseSequence { time: 1, batch: 0 }, &[x, i(&[2], &[2, 3])]);
    assert_eq!(y[0].to_f64s(), [2.0, 1.0, 3.0, 6.0, 5.0, 4.0]);
}

#[test]
fn positions_at_run_time() {
    let x = f(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let slice = |shape: [i64; 2]| DynamicSlice { shape: shape.map(Into::into).to_vec() };
    let positions = |start: i64, end: i64, step: i64| [x.clone(), i(&[1], &[start]), i(&[1], &[end]), i(&[1], &[-1]), i(&[1], &[step])];
    assert_eq!(run(slice([2, 2]), &positions(-1, -100, -2))[0].to_f64s(), [3.0, 1.0, 6.0, 4.0]);
    assert_eq!(run(slice([2, 1]), &positions(1, 2, 1))[0].to_f64s(), [2.0, 5.0]);
    refused(slice([2, 2]), &positions(1, 2, 1), "SizeOutOfBounds 1");
    let pad = |mode, shape: [i64; 2]| DynamicPad { mode, shape: shape.map(Into::into).to_vec() };
    let pads = [x.clone(), i(&[4], &[0, 2, -1, 1]), f(&[], &[9.0]), i(&[0], &[])];
    assert_eq!(run(pad(PadMode::Reflect, [1, 6]), &pads)[0].to_f64s(), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    assert_eq!(run(pad(PadMode::Edge, [1, 6]), &pads)[0].to_f64s(), [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
    assert_eq!(run(pad(PadMode::Wrap, [1, 6]), &pads)[0].to_f64s(), [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
    assert_eq!(run(pad(PadMode::Constant, [1, 6]), &pads)[0].to_f64s(), [9.0, 9.0, 1.0, 2.0, 3.0, 9.0]);
    let reduce = |shape: &[i64]| ReduceAxes {
        kind: Reduction::Add,
        keepdims: false,
        noop: false,
        shape: shape.iter().map(|d| (*d).into()).collect(),
    };
    assert_eq!(run(reduce(&[2]), &[x.clone(), i(&[1], &[-1])])[0].to_f64s(), [6.0, 15.0]);
    assert_eq!(run(reduce(&[]), &[x.clone(), i(&[0], &[])])[0].to_f64s(), [21.0]);
    refused(reduce(&[2]), &[x.clone(), i(&[1], &[0])], "SizeOutOfBounds 3");
    let sums = |exclusive, reverse| run(Cumulate { product: false, exclusive, reverse }, &[x.clone(), i(&[], &[1])])[0].to_f64s();
    assert_eq!(sums(false, false), [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
    assert_eq!(sums(true, true), [5.0, 3.0, 0.0, 11.0, 6.0, 0.0]);
}

#[test]
fn checks_pass_their_data_on() {
    let x = f(&[2, 3], &[1.0; 6]);
    let sizes = |expected: &[i64]| CheckSizes {
        expected: expected.iter().map(|d| (*d).into()).collect(),
        other: vec![2i64.into(), 0i64.into()],
        wild: vec![-1],
    };
    assert_eq!(run(sizes(&[2, 3]), &[x.clone(), i(&[2], &[2, -1])])[0], x);
    assert_eq!(run(sizes(&[2, 3]), &[x.clone(), i(&[2], &[-1, 0])])[0], x);
    refused(sizes(&[2, 3]), &[x.clone(), i(&[2], &[2, 4])], "SizeOutOfBounds 4");
    let axes = |insert, after: &[i64]| CheckAxes {
        insert,
        before: vec![2i64.into(), 3i64.into()],
        after: after.iter().map(|d| (*d).into()).collect(),
    };
    run(axes(true, &[2, 1, 3, 1]), &[x.clone(), i(&[2], &[-1, 1])]);
    refused(axes(true, &[2, 1, 3, 1]), &[x.clone(), i(&[2], &[0, 1])], "SizeOutOfBounds");
    refused(axes(false, &[3]), &[x, i(&[1], &[0])], "SizeOutOfBounds");
}

#[test]
fn pooling_and_back() {
    let x = f(&[1, 1, 4, 4], &(1..=16).map(|i| i as f32).collect::<Vec<_>>());
    let pool =
        |columns_first| MaxPoolIndices { kernel: vec![2, 2], strides: vec![2, 2], pads: vec![0; 4], dilations: vec![1, 1], columns_first };
    let y = run(pool(false), std::slice::from_ref(&x));
    assert_eq!(y[1].to_i64s(), [5, 7, 13, 15]);
    assert_eq!(run(pool(true), &[x])[1].to_i64s(), [5, 13, 7, 15]);
    let shape: Vec<ir::Dim> = [1i64, 1, 4, 4].map(Into::into).to_vec();
    let back = run(MaxUnpool { original: shape.clone(), shape }, &y);
    assert_eq!(back[0].to_f64s().iter().sum::<f64>(), 6.0 + 8.0 + 14.0 + 16.0);
    assert_eq!(back[0].get_f64(13), 14.0);
    // Blocks of ones add up to the number of windows that cover an element.
    let ones = f(&[1, 4, 9], &[1.0; 36]);
    let image = vec![4i64.into(), 4i64.into()];
    let op = Col2Im { channels: vec![1i64.into()], image, dilations: vec![1, 1], pads: vec![0; 4], strides: vec![1, 1] };
    let y = run(op.clone(), &[ones.clone(), i(&[2], &[2, 2])]);
    refused(op, &[ones, i(&[2], &[1, 4])], "SizeOutOfBounds 4");
    assert_eq!(y[0].to_f64s(), [1., 2., 2., 1., 2., 4., 4., 2., 2., 4., 4., 2., 1., 2., 2., 1.]);
}

#[test]
fn samples() {
    let x = f(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let grid = f(&[1, 1, 3, 2], &[0.0, 0.0, -1.0, -1.0, 3.0, 1.0]);
    let sample = |outside| GridSample { mode: Sampling::Linear, outside, align_corners: true };
    assert_eq!(run(sample(Outside::Zeros), &[x.clone(), grid.clone()])[0].to_f64s(), [2.5, 1.0, 0.0]);
    assert_eq!(run(sample(Outside::Border), &[x.clone(), grid.clone()])[0].to_f64s(), [2.5, 1.0, 4.0]);
    assert_eq!(run(sample(Outside::Reflection), &[x.clone(), grid])[0].to_f64s(), [2.5, 1.0, 3.0]);
    let align = RoiAlign { size: vec![1, 1], maximum: false, samples: 2, half_pixel: false, scale: 1.0 };
    let y = run(align, &[x.clone(), f(&[1, 4], &[0.0, 0.0, 1.0, 1.0]), i(&[1], &[0])]);
    assert_eq!(y[0].to_f64s(), [2.5]);
    let resize = |coordinates, to: i64| Resize {
        mode: Sampling::Cubic,
        coordinates,
        rounding: Rounding::Floor,
        exclude_outside: false,
        antialias: false,
        cubic: -0.75,
        extrapolation: 0.0,
        axes: vec![3],
        scales: vec![],
        shape: [1, 1, 2, to].map(Into::into).to_vec(),
    };
    let empty = f(&[0], &[]);
    let y = run(resize(Coordinates::AlignCorners, 3), &[x.clone(), f(&[1], &[1.5]), empty.clone()]);
    assert_eq!([y[0].get_f64(0), y[0].get_f64(2)], [1.0, 2.0]);
    assert!((y[0].get_f64(1) - 1.5).abs() < 1e-6);
    refused(resize(Coordinates::HalfPixel, 3), &[x, f(&[1], &[2.0]), empty], "SizeOutOfBounds 4");
}

#[test]
fn boxes_and_determinants() {
    let boxes = f(&[1, 3, 4], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 0.0, 10.0, 1.0, 11.0]);
    let scores = f(&[1, 1, 3], &[0.9, 0.95, 0.1]);
    let inputs = |least: f32| [boxes.clone(), scores.clone(), i(&[1], &[3]), f(&[1], &[0.5]), f(&[1], &[least])];
    let nms = |count: i64| NonMaxSuppression { center: false, padded: false, count: vec![count.into()] };
    assert_eq!(run(nms(2), &inputs(0.0))[0].to_i64s(), [0, 0, 1, 0, 0, 2]);
    assert_eq!(run(nms(1), &inputs(0.5))[0].to_i64s(), [0, 0, 1]);
    refused(nms(3), &inputs(0.0), "SizeOutOfBounds 2");
    let m = f(&[2, 2, 2], &[0.0, 1.0, 2.0, 3.0, 1.0, 2.0, 2.0, 4.0]);
    assert_eq!(run(Det {}, &[m])[0].to_f64s(), [-2.0, 0.0]);
}

/// Mean and variance of large samples, and the share of each outcome, within five standard errors.
#[test]
fn random_numbers_have_their_distributions() {
    const N: usize = 40_000;
    let moments = |t: &Tensor| {
        let values = t.to_f64s();
        let mean = values.iter().sum::<f64>() / N as f64;
        (mean, values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / N as f64)
    };
    let near = |found: f64, expected: f64, deviation: f64| {
        assert!((found - expected).abs() < 5.0 * deviation / (N as f64).sqrt(), "{found} {expected}")
    };
    for (seed, dtype) in [(0, DType::F32), (1, DType::F64), (-7, DType::F16)] {
        let shape = vec![(N as i64).into()];
        let y = run(RandomUniform { seed, low: -1.0, high: 3.0, dtype, shape: shape.clone() }, &[]);
        let (mean, variance) = moments(&y[0]);
        let coarse = if dtype == DType::F16 { 0.05 } else { 0.0 };
        assert!((mean - 1.0).abs() < 5.0 * 1.155 / (N as f64).sqrt() + coarse && (variance - 4.0 / 3.0).abs() < 0.03, "{mean} {variance}");
        assert!(y[0].to_f64s().iter().all(|v| (-1.0..3.0).contains(v)));
        let y = run(RandomNormal { seed, mean: 2.0, scale: 3.0, dtype, shape }, &[]);
        let (mean, variance) = moments(&y[0]);
        near(mean, 2.0, 3.0);
        near(variance, 9.0, 9.0 * 2f64.sqrt());
        // Neighbours do not follow from each other.
        let values = y[0].to_f64s();
        let correlation = values.windows(2).map(|w| (w[0] - 2.0) * (w[1] - 2.0)).sum::<f64>() / N as f64 / 9.0;
        near(correlation, 0.0, 1.0);
        let tails = values.iter().filter(|v| (**v - 2.0).abs() > 6.0).count() as f64 / N as f64;
        near(tails, 0.0455, 0.21);
    }
    let p = Tensor::from_fn(DType::F32, &[N], |_| 0.3);
    near(moments(&run(Bernoulli { seed: 4, dtype: DType::I32 }, &[p])[0]).0, 0.3, 0.46);
    let logits = f(&[1, 3], &[0.5f32.ln(), 0.2f32.ln(), 0.3f32.ln()]);
    let y = run(Multinomial { seed: 5, samples: N as i64, dtype: DType::I64 }, &[logits])[0].to_i64s();
    for (class, share) in [0.5, 0.2, 0.3].into_iter().enumerate() {
        near(y.iter().filter(|c| **c == class as i64).count() as f64 / N as f64, share, 0.5);
    }
}

#[test]
fn element_types_keep_their_sizes() {
    for dtype in DType::ALL {
        assert_eq!(routine_dtype(*dtype).bytes(), dtype.bytes());
        assert_eq!(routine_dtype(*dtype).is_float(), matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64));
    }
}
