//! Random instances of the operators that are routines: all element types, negative positions, empty and scalar tensors.

use crate::instances::Rng;
use ir::ops::routine::Reduction;
use ir::ops::routine::check::{CheckAxes, CheckSizes};
use ir::ops::routine::detect::{Det, NonMaxSuppression};
use ir::ops::routine::dynamic::{Cumulate, DynamicPad, DynamicSlice, PadMode, ReduceAxes};
use ir::ops::routine::pool::{Col2Im, MaxPoolIndices, MaxRoiPool, MaxUnpool};
use ir::ops::routine::random::{Bernoulli, Multinomial, RandomNormal, RandomUniform};
use ir::ops::routine::sample::{Coordinates, DeformConv, GridSample, Outside, Resize, RoiAlign, Rounding, Sampling};
use ir::ops::routine::scatter::{GatherElements, GatherNd, ScatterElements, ScatterNd, TensorScatter};
use ir::ops::routine::select::{Compress, NonZero, ReverseSequence, TopK, Unique};
use ir::{DType, Dim, Op, Tensor};

type Made = Option<(Op, Vec<Tensor>)>;

/// An operator with inputs that fit, most of the time; the caller asks `infer` and `eval`.
pub fn instance(name: &str, rng: &mut Rng) -> Made {
    match name {
        "check_sizes" | "check_axes" | "dynamic_slice" | "dynamic_pad" | "reduce_axes" | "cumulate" => positions(name, rng),
        "top_k" | "unique" | "nonzero" | "compress" | "reverse_sequence" | "non_max_suppression" => selection(name, rng),
        "gather_elements" | "gather_nd" | "scatter_elements" | "scatter_nd" | "tensor_scatter" => lookup(name, rng),
        "max_pool_indices" | "max_unpool" | "max_roi_pool" | "col2im" => window(name, rng),
        "grid_sample" | "roi_align" | "deform_conv" | "resize" => sample(name, rng),
        "det" | "random_uniform" | "random_normal" | "bernoulli" | "multinomial" => number(name, rng),
        other => panic!("no generator for `{other}`"),
    }
}

fn any(rng: &mut Rng) -> DType {
    rng.pick(DType::ALL)
}

/// Types that are more than storage.
fn computed(rng: &mut Rng) -> DType {
    rng.pick(&DType::ALL.iter().copied().filter(|t| t.bits() >= 8 && !t.is_narrow_float()).collect::<Vec<_>>())
}

fn float(rng: &mut Rng) -> DType {
    rng.pick(&[DType::F32, DType::F32, DType::F64, DType::F16, DType::BF16])
}

fn integer(rng: &mut Rng) -> DType {
    rng.pick(&[DType::I64, DType::I32])
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|d| Dim::from(*d)).collect()
}

fn list(dtype: DType, values: &[i64]) -> Tensor {
    Tensor::from_fn(dtype, &[values.len()], |i| values[i] as f64)
}

fn longs(rng: &mut Rng, n: usize, from: i64, to: i64) -> Vec<i64> {
    (0..n).map(|_| rng.range(from, to)).collect()
}

/// Integers in `from..=to`.
fn ints(rng: &mut Rng, shape: &[usize], from: i64, to: i64) -> Tensor {
    Tensor::from_fn(integer(rng), shape, |_| rng.range(from, to) as f64)
}

/// A shape with at least one dimension, and an axis.
fn with_axis(rng: &mut Rng, most: i64) -> (Vec<usize>, usize) {
    let shape = rng.shape(1, most);
    let axis = rng.range(0, shape.len() as i64 - 1) as usize;
    (shape, axis)
}

/// Now and then counted from the end.
fn counted(rng: &mut Rng, axis: usize, rank: usize) -> i64 {
    axis as i64 - if rng.flag() { rank as i64 } else { 0 }
}

/// The first number that the operator accepts, of those that only data decides.
fn declared(inputs: Vec<Tensor>, most: usize, op: impl Fn(i64) -> Op) -> Made {
    let operands: Vec<&Tensor> = inputs.iter().collect();
    let op = (0..=most as i64).map(op).find(|op| {
        let types: Vec<_> = inputs.iter().map(ir::TensorType::of).collect();
        op.infer(&types.iter().collect::<Vec<_>>()).is_ok() && op.eval(&operands).is_ok()
    })?;
    Some((op, inputs))
}

fn positions(name: &str, rng: &mut Rng) -> Made {
    let dtype = if matches!(name, "reduce_axes" | "cumulate") { computed(rng) } else { any(rng) };
    let shape = rng.shape(0, 4);
    let x = rng.tensor(dtype, &shape);
    let at = integer(rng);
    Some(match name {
        "check_sizes" => {
            let n = rng.range(0, 4) as usize;
            let (expected, other) = (longs(rng, n, 0, 9), longs(rng, n, -1, 9));
            let given: Vec<i64> = (0..n).map(|i| rng.pick(&[expected[i], other[i], -2])).collect();
            let sizes = |list: &[i64]| list.iter().map(|d| Dim::from(*d)).collect();
            (CheckSizes { expected: sizes(&expected), other: sizes(&other), wild: vec![-2] }.into(), vec![x, list(at, &given)])
        }
        "check_axes" => {
            let long = rng.shape(0, 4);
            let axes: Vec<usize> = (0..long.len()).filter(|_| rng.flag()).collect();
            let long: Vec<usize> = long.iter().enumerate().map(|(i, d)| if axes.contains(&i) { 1 } else { *d }).collect();
            let short: Vec<usize> = (0..long.len()).filter(|i| !axes.contains(i)).map(|i| long[i]).collect();
            let given: Vec<i64> = axes.iter().map(|a| counted(rng, *a, long.len())).collect();
            let insert = rng.flag();
            let (before, after) = if insert { (short, long) } else { (long, short) };
            let x = rng.tensor(dtype, &before);
            (CheckAxes { insert, before: dims(&before), after: dims(&after) }.into(), vec![x, list(at, &given)])
        }
        "dynamic_slice" => {
            let axes: Vec<usize> = (0..shape.len()).filter(|_| rng.flag()).collect();
            let steps: Vec<i64> = axes.iter().map(|_| rng.pick(&[1, 1, 2, -1, -3])).collect();
            let (mut starts, mut ends, mut out) = (vec![], vec![], shape.clone());
            for (axis, step) in axes.iter().zip(&steps) {
                let n = shape[*axis] as i64;
                let (start, end) = (rng.range(-n - 1, n + 1), rng.range(-n - 1, n + 1));
                // ONNX: counted from the end when negative, then clamped to where the direction allows.
                let from_end = |v: i64| if v < 0 { v + n } else { v };
                let (low, high) = if *step > 0 { (0, n) } else { (-1, n - 1) };
                let first = from_end(start).clamp(0, high.max(0));
                let last = from_end(end).clamp(low, high.max(low));
                out[*axis] = if *step > 0 {
                    (last - first + step - 1).div_euclid(*step)
                } else {
                    (first - last - step - 1).div_euclid(-step)
                }
                .max(0) as usize;
                starts.push(start);
                ends.push(end);
            }
            let named: Vec<i64> = axes.iter().map(|a| counted(rng, *a, shape.len())).collect();
            let inputs = vec![x, list(at, &starts), list(at, &ends), list(at, &named), list(at, &steps)];
            (DynamicSlice { shape: dims(&out) }.into(), inputs)
        }
        "dynamic_pad" => {
            let n = shape.len();
            let pads = longs(rng, 2 * n, -1, 2);
            let out: Vec<i64> = (0..n).map(|i| shape[i] as i64 + pads[i] + pads[n + i]).collect();
            let out: Option<Vec<usize>> = out.into_iter().map(|d| usize::try_from(d).ok()).collect();
            let axes: Vec<i64> = if rng.flag() { vec![] } else { (0..n).map(|a| counted(rng, a, n)).collect() };
            let inputs = vec![x, list(at, &pads), rng.tensor(dtype, &[]), list(at, &axes)];
            (DynamicPad { mode: rng.pick(PadMode::ALL), shape: dims(&out?) }.into(), inputs)
        }
        "reduce_axes" => {
            let axes: Vec<usize> = (0..shape.len()).filter(|_| rng.flag()).collect();
            let (keepdims, noop) = (rng.flag(), rng.flag());
            let reduced = |d: usize| axes.contains(&d) || (axes.is_empty() && !noop);
            let out: Vec<usize> =
                (0..shape.len()).filter(|d| keepdims || !reduced(*d)).map(|d| if reduced(d) { 1 } else { shape[d] }).collect();
            let named: Vec<i64> = axes.iter().map(|a| counted(rng, *a, shape.len())).collect();
            let kind = rng.pick(&[Reduction::Add, Reduction::Mul, Reduction::Min, Reduction::Max]);
            (ReduceAxes { kind, keepdims, noop, shape: dims(&out) }.into(), vec![x, list(at, &named)])
        }
        _ => {
            let (shape, axis) = with_axis(rng, 4);
            let axis = counted(rng, axis, shape.len());
            let op = Cumulate { product: rng.flag(), exclusive: rng.flag(), reverse: rng.flag() };
            (op.into(), vec![rng.tensor(dtype, &shape), Tensor::from_fn(at, &[], |_| axis as f64)])
        }
    })
}

fn selection(name: &str, rng: &mut Rng) -> Made {
    let dtype = if matches!(name, "top_k" | "unique" | "nonzero") { computed(rng) } else { any(rng) };
    let (shape, axis) = with_axis(rng, 3);
    let (x, n, a) = (rng.tensor(dtype, &shape), shape[axis], axis as i64);
    match name {
        "top_k" => Some((TopK { axis: a, largest: rng.flag(), k: vec![rng.range(0, n as i64).into()] }.into(), vec![x])),
        "unique" => {
            let (axis, sorted) = (if rng.flag() { -1 } else { a }, rng.flag());
            let most = x.len().max(n);
            declared(vec![x], most, |k| Unique { axis, sorted, count: vec![k.into()] }.into())
        }
        "nonzero" => {
            let x = if rng.range(0, 9) == 0 { rng.tensor(dtype, &[]) } else { x };
            let most = x.len();
            declared(vec![x], most, |k| NonZero { count: vec![k.into()] }.into())
        }
        "compress" => {
            let m = rng.range(0, n as i64) as usize;
            let condition = rng.tensor(DType::Bool, &[m]);
            declared(vec![x, condition], n, |k| Compress { axis: a, count: vec![k.into()] }.into())
        }
        "reverse_sequence" => {
            let shape = rng.shape(2, 4);
            let (time, batch) = rng.pick(&[(0, 1), (1, 0)]);
            let lengths = ints(rng, &[shape[batch]], 0, shape[time] as i64);
            Some((ReverseSequence { time: time as i64, batch: batch as i64 }.into(), vec![rng.tensor(dtype, &shape), lengths]))
        }
        _ => {
            let (batches, n, classes) = (rng.range(1, 2) as usize, rng.range(0, 6) as usize, rng.range(1, 3) as usize);
            let boxes = rng.tensor(DType::F32, &[batches, n, 4]);
            let scores = rng.tensor(DType::F32, &[batches, classes, n]);
            let (most, overlap, least) = (rng.range(0, 4), rng.range(0, 4) as f32 / 4.0, rng.range(-2, 1) as f32 / 2.0);
            let inputs = vec![boxes, scores, list(DType::I64, &[most]), Tensor::new(&[1], &[overlap]), Tensor::new(&[1], &[least])];
            let center = rng.flag();
            declared(inputs, batches * classes * n, |k| NonMaxSuppression { center, padded: false, count: vec![k.into()] }.into())
        }
    }
}

fn lookup(name: &str, rng: &mut Rng) -> Made {
    let reduction = rng.pick(Reduction::ALL);
    let dtype = if reduction == Reduction::None { any(rng) } else { computed(rng) };
    let (shape, axis) = with_axis(rng, 4);
    let x = rng.tensor(dtype, &shape);
    let n = shape[axis] as i64;
    Some(match name {
        "gather_elements" | "scatter_elements" => {
            let most: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
            let mut at: Vec<usize> = most.iter().map(|d| rng.range((*d - 1).max(0), *d) as usize).collect();
            at[axis] = if n == 0 { 0 } else { rng.size() };
            let indices = ints(rng, &at, -n, (n - 1).max(-n));
            let axis = axis as i64;
            match name {
                "gather_elements" => (GatherElements { axis }.into(), vec![x, indices]),
                _ => (ScatterElements { axis, reduction }.into(), vec![x, indices, rng.tensor(dtype, &at)]),
            }
        }
        "gather_nd" | "scatter_nd" => {
            let batch = if name == "gather_nd" { rng.range(0, shape.len() as i64 - 1) as usize } else { 0 };
            let tuple = rng.range(1, (shape.len() - batch) as i64) as usize;
            let mut places = shape[..batch].to_vec();
            places.extend(rng.shape(0, 2));
            if shape[batch..batch + tuple].contains(&0) {
                places.push(0);
            }
            let mut of = places.clone();
            of.push(tuple);
            let indices = Tensor::from_fn(integer(rng), &of, |i| {
                let n = shape[batch + i % tuple] as i64;
                rng.range(-n, (n - 1).max(-n)) as f64
            });
            if name == "gather_nd" {
                return Some((GatherNd { batch: batch as i64 }.into(), vec![x, indices]));
            }
            places.extend(&shape[tuple..]);
            (ScatterNd { reduction }.into(), vec![x, indices, rng.tensor(dtype, &places)])
        }
        _ => {
            let shape = rng.shape(2, 4);
            let axis = rng.range(1, shape.len() as i64 - 1) as usize;
            let mut update = shape.clone();
            update[axis] = rng.range(0, shape[axis] as i64) as usize;
            let circular = rng.flag();
            let room = if circular { shape[axis].max(1) - 1 } else { shape[axis] - update[axis] };
            let first = ints(rng, &[shape[0]], 0, room as i64);
            let inputs = vec![rng.tensor(dtype, &shape), rng.tensor(dtype, &update), first];
            (TensorScatter { axis: axis as i64, circular }.into(), inputs)
        }
    })
}

fn window(name: &str, rng: &mut Rng) -> Made {
    let dtype = if name == "max_unpool" { any(rng) } else { computed(rng) };
    let s = rng.range(1, 2) as usize;
    let mut shape = vec![rng.range(0, 2) as usize, rng.range(1, 3) as usize];
    shape.extend((0..s).map(|_| rng.range(1, 6) as usize));
    Some(match name {
        "max_pool_indices" => {
            let (kernel, strides, dilations) = (longs(rng, s, 1, 3), longs(rng, s, 1, 3), longs(rng, s, 1, 2));
            let pads = (0..2 * s).map(|i| rng.range(0, kernel[i % s] - 1)).collect();
            (MaxPoolIndices { kernel, strides, pads, dilations, columns_first: rng.flag() }.into(), vec![rng.tensor(dtype, &shape)])
        }
        "max_unpool" => {
            let larger: Vec<usize> = shape.iter().enumerate().map(|(d, n)| if d < 2 { *n } else { n + rng.range(0, 3) as usize }).collect();
            let total = larger.iter().product::<usize>() as i64;
            let at = Tensor::from_fn(DType::I64, &shape, |_| rng.range(0, (total - 1).max(0)) as f64);
            (MaxUnpool { original: dims(&larger), shape: dims(&larger) }.into(), vec![rng.tensor(dtype, &shape), at])
        }
        "max_roi_pool" => {
            let dtype = float(rng);
            let x = [rng.range(1, 2) as usize, rng.size(), rng.range(1, 6) as usize, rng.range(1, 6) as usize];
            let r = rng.size();
            let regions =
                Tensor::from_fn(dtype, &[r, 5], |i| if i % 5 == 0 { rng.range(0, x[0] as i64 - 1) } else { rng.range(-1, 8) } as f64);
            let (size, scale) = (longs(rng, 2, 1, 3), rng.pick(&[1.0, 0.5, 2.0]));
            (MaxRoiPool { size, scale }.into(), vec![rng.tensor(dtype, &x), regions])
        }
        _ => {
            let (image, block) = (longs(rng, s, 1, 5), longs(rng, s, 1, 3));
            let (dilations, pads, strides) = (longs(rng, s, 1, 2), longs(rng, 2 * s, 0, 1), longs(rng, s, 1, 2));
            let along = |i: usize| {
                let room = image[i] + pads[i] + pads[s + i] - dilations[i] * (block[i] - 1) - 1;
                (room >= 0).then(|| (room / strides[i] + 1) as usize)
            };
            let count = (0..s).map(along).try_fold(1, |n, c| Some(n * c?))?;
            let (n, channels) = (rng.range(0, 2) as usize, rng.range(1, 3) as usize);
            let x = rng.tensor(dtype, &[n, channels * block.iter().product::<i64>() as usize, count]);
            let image = image.into_iter().map(Dim::from).collect();
            (Col2Im { channels: vec![channels.into()], image, dilations, pads, strides }.into(), vec![x, list(DType::I64, &block)])
        }
    })
}

fn sample(name: &str, rng: &mut Rng) -> Made {
    let dtype = float(rng);
    let side = |rng: &mut Rng| rng.range(1, 5) as usize;
    let x = [rng.range(1, 2) as usize, rng.range(1, 4) as usize, side(rng), side(rng)];
    Some(match name {
        "grid_sample" => {
            let s = rng.range(1, 3) as usize;
            let mut shape = x[..2].to_vec();
            shape.extend((0..s).map(|_| side(rng)));
            let mut grid = vec![x[0]];
            grid.extend((0..s).map(|_| rng.range(0, 3) as usize));
            grid.push(s);
            let positions = Tensor::from_fn(dtype, &grid, |_| rng.range(-24, 24) as f64 / 16.0);
            let op = GridSample { mode: rng.pick(Sampling::ALL), outside: rng.pick(Outside::ALL), align_corners: rng.flag() };
            (op.into(), vec![rng.tensor(dtype, &shape), positions])
        }
        "roi_align" => {
            let r = rng.size();
            let regions = Tensor::from_fn(dtype, &[r, 4], |_| rng.range(-4, 20) as f64 / 4.0);
            let batches = ints(rng, &[r], 0, x[0] as i64 - 1);
            let op = RoiAlign {
                size: longs(rng, 2, 1, 3),
                maximum: rng.flag(),
                samples: rng.range(0, 2),
                half_pixel: rng.flag(),
                scale: rng.pick(&[1.0, 0.5]),
            };
            (op.into(), vec![rng.tensor(dtype, &x), regions, batches])
        }
        "deform_conv" => {
            let (groups, offset_groups) = rng.pick(&[(1, 1), (2, 1), (1, 2), (2, 2)]);
            let channels = (2 * rng.range(1, 2)) as usize;
            let x = [x[0], channels, x[2], x[3]];
            let w = [2 * rng.range(1, 2) as usize, channels / groups as usize, rng.range(1, 3) as usize, rng.range(1, 3) as usize];
            let (strides, dilations, pads) = (longs(rng, 2, 1, 2), longs(rng, 2, 1, 2), longs(rng, 4, 0, 2));
            let along = |i: usize| {
                let room = x[2 + i] as i64 + pads[i] + pads[2 + i] - dilations[i] * (w[2 + i] as i64 - 1) - 1;
                (room >= 0).then(|| (room / strides[i] + 1) as usize)
            };
            let (oh, ow) = (along(0)?, along(1)?);
            let taps = w[2] * w[3] * offset_groups as usize;
            let bias = rng.pick(&[0, w[0]]);
            let mask = rng.pick(&[0, taps]);
            let offset = rng.tensor(dtype, &[x[0], 2 * taps, oh, ow]);
            let inputs = vec![
                rng.tensor(dtype, &x),
                rng.tensor(dtype, &w),
                offset,
                rng.tensor(dtype, &[bias]),
                rng.tensor(dtype, &[x[0], mask, oh, ow]),
            ];
            (DeformConv { groups, offset_groups, strides, pads, dilations }.into(), inputs)
        }
        _ => {
            let dtype = if rng.flag() { dtype } else { computed(rng) };
            let axes: Vec<i64> = rng.pick(&[vec![2, 3], vec![3], vec![0, 1, 2, 3], vec![3, 2]]);
            let coordinates = rng.pick(Coordinates::ALL);
            let (mut out, mut scales) = (x.to_vec(), vec![]);
            for a in &axes {
                let scale = rng.pick(&[0.5, 1.0, 1.5, 2.0, 0.75, 3.0]);
                out[*a as usize] = (x[*a as usize] as f64 * scale).floor() as usize;
                scales.push(scale);
            }
            let fixed = rng.flag();
            let given: Vec<f32> = if fixed { vec![] } else { scales.iter().map(|s| *s as f32).collect() };
            let region: Vec<f32> = if coordinates == Coordinates::Crop {
                (0..2 * axes.len())
                    .map(|i| if i < axes.len() { rng.range(0, 4) as f32 / 8.0 } else { rng.range(4, 10) as f32 / 8.0 })
                    .collect()
            } else {
                vec![]
            };
            let op = Resize {
                mode: rng.pick(Sampling::ALL),
                coordinates,
                rounding: rng.pick(Rounding::ALL),
                exclude_outside: rng.flag(),
                antialias: rng.range(0, 3) == 0,
                cubic: rng.pick(&[-0.75, -0.5]),
                extrapolation: rng.pick(&[0.0, 3.0]),
                axes,
                scales: if fixed { scales.iter().map(|s| s.to_bits() as i64).collect() } else { vec![] },
                shape: dims(&out),
            };
            (op.into(), vec![rng.tensor(dtype, &x), Tensor::new(&[given.len()], &given), Tensor::new(&[region.len()], &region)])
        }
    })
}

fn number(name: &str, rng: &mut Rng) -> Made {
    let dtype = float(rng);
    let (seed, shape) = (rng.range(-9, 9), rng.shape(0, 4));
    Some(match name {
        "det" => {
            let mut shape = rng.shape(0, 2);
            let n = rng.size();
            shape.extend([n, n]);
            (Det {}.into(), vec![rng.tensor(dtype, &shape)])
        }
        "random_uniform" => (RandomUniform { seed, low: -1.0, high: 3.0, dtype, shape: dims(&shape) }.into(), vec![]),
        "random_normal" => (RandomNormal { seed, mean: 2.0, scale: 0.5, dtype, shape: dims(&shape) }.into(), vec![]),
        "bernoulli" => (Bernoulli { seed, dtype: computed(rng) }.into(), vec![rng.tensor(dtype, &shape)]),
        _ => {
            let x = [rng.size(), rng.range(1, 5) as usize];
            (Multinomial { seed, samples: rng.range(0, 5), dtype: integer(rng) }.into(), vec![rng.tensor(dtype, &x)])
        }
    })
}
