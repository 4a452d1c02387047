//! Pooling: windows of maxima and sums. An average is a sum divided by how many elements it has.

use super::conv::{Geometry, geometry};
use super::reduce::mean_over;
use super::{Row, many, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::contract::conv::DataLayout;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::window::pool::{Pool, PoolKind};
use ir::pointwise::{Fn, Pointwise};
use ir::{Dim, Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[
    one("AveragePool", average_pool),
    one("GlobalAveragePool", global_average_pool),
    one("GlobalLpPool", global_lp_pool),
    one("GlobalMaxPool", global_max_pool),
    one("LpPool", lp_pool),
    many("MaxPool", super::routine::max_pool),
];

/// The window, and how far its last positions reach beyond the padded input when sizes are rounded up.
pub(super) fn window(s: &Site, x: ValueId) -> Result<(Geometry, Vec<i64>), Fault> {
    let Some(kernel) = s.attributes.ints("kernel_shape")? else { invalid!("the attribute `kernel_shape` is missing") };
    let g = geometry(s, x, kernel.to_vec())?;
    let n = g.axes();
    let mut beyond = vec![0; n];
    if s.attributes.flag("ceil_mode")? {
        for (i, beyond) in beyond.iter_mut().enumerate() {
            let Some(size) = s.shape(x)[2 + i].as_const() else {
                // Where no window can begin behind the input, one step less than a stride rounds every size up.
                if g.extent(i) < g.pads[n + i] + g.strides[i] {
                    return Err(Fault::run_time("rounded output size"));
                }
                *beyond = g.strides[i] - 1;
                continue;
            };
            let room = size + g.pads[i] + g.pads[n + i] - g.extent(i);
            if room < 0 {
                invalid!("the kernel {:?} does not fit into {}", g.kernel, s.ty(x));
            }
            let mut steps = (room + g.strides[i] - 1) / g.strides[i];
            // A window must begin inside the input or the padding before it.
            if steps * g.strides[i] >= size + g.pads[i] {
                steps -= 1;
            }
            *beyond = (steps * g.strides[i] - room).max(0);
        }
    }
    Ok((g, beyond))
}

fn pool(s: &mut Site, kind: PoolKind, x: ValueId, g: &Geometry, beyond: &[i64]) -> Result<ValueId, Fault> {
    let mut pads = g.pads.clone();
    pads[g.axes()..].iter_mut().zip(beyond).for_each(|(pad, more)| *pad += more);
    let op = Pool {
        kind,
        kernel: g.kernel.clone(),
        strides: g.strides.clone(),
        pads,
        dilations: g.dilations.clone(),
        data: DataLayout::Nchw,
        epilogue: Pointwise::identity(),
    };
    s.add(op, &[x])
}

pub(super) fn max_pool(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let (g, beyond) = window(s, x)?;
    pool(s, PoolKind::Max, x, &g, &beyond)
}

pub(super) fn average_pool(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let (g, beyond) = window(s, x)?;
    let sum = pool(s, PoolKind::Sum, x, &g, &beyond)?;
    let include_pads = s.attributes.flag("count_include_pad")?;
    let all_inside = beyond.iter().all(|b| *b == 0) && (include_pads || g.pads.iter().all(|p| *p == 0));
    if all_inside {
        let count = g.kernel.iter().fold(1.0, |n, k| n * *k as f64);
        return s.binary(Fn::Div, sum, count);
    }
    let counts = counts(s, x, sum, &g, include_pads)?;
    s.binary(Fn::Div, sum, counts)
}

/// How many elements each window has, as a constant `[1, 1, spatial…]`.
fn counts(s: &mut Site, x: ValueId, sum: ValueId, g: &Geometry, include_pads: bool) -> Result<ValueId, Fault> {
    let n = g.axes();
    let (sizes, outputs) = (s.const_shape(x, "size of the image")?, s.const_shape(sum, "size of the image")?);
    if outputs[2..].iter().try_fold(1i64, |n, o| n.checked_mul(*o)).is_none_or(|n| n > 1 << 26) {
        unsupported!("an average over windows of {} is not supported", s.ty(x));
    }
    let along = |i: usize, o: i64| -> f64 {
        let (low, high) = if include_pads { (-g.pads[i], sizes[2 + i] + g.pads[n + i]) } else { (0, sizes[2 + i]) };
        let first = o * g.strides[i] - g.pads[i];
        (0..g.kernel[i]).filter(|k| (low..high).contains(&(first + k * g.dilations[i]))).count() as f64
    };
    let per_axis: Vec<Vec<f64>> = (0..n).map(|i| (0..outputs[2 + i]).map(|o| along(i, o)).collect()).collect();
    let shape: Vec<usize> = [1, 1].into_iter().chain(per_axis.iter().map(Vec::len)).collect();
    let at = |mut position: usize| {
        per_axis.iter().rev().fold(1.0, |count, axis| {
            let i = position % axis.len();
            position /= axis.len();
            count * axis[i]
        })
    };
    let tensor = Tensor::from_fn(s.dtype(x), &shape, at);
    Ok(s.constant_value(tensor))
}

fn lp_pool(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let (g, beyond) = window(s, x)?;
    lp_norm(s, x, |s, powers| pool(s, PoolKind::Sum, powers, &g, &beyond))
}

fn global_lp_pool(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let axes = spatial_axes(s, x)?;
    lp_norm(s, x, |s, powers| s.reduce(ReduceKind::Sum, powers, &axes, true))
}

/// (Σ |x|^p)^(1/p) with the attribute `p`; `sum` says over what.
fn lp_norm(s: &mut Site, x: ValueId, sum: impl FnOnce(&mut Site, ValueId) -> Result<ValueId, Fault>) -> Result<ValueId, Fault> {
    let p = s.attributes.int_or("p", 2)?;
    if p < 1 {
        invalid!("there is no norm with p = {p}");
    }
    let sizes = if p == 2 { s.binary(Fn::Mul, x, x)? } else { s.unary(Fn::Abs, x)? };
    let powers = if p > 2 { s.binary(Fn::Pow, sizes, p as f64)? } else { sizes };
    let sum = sum(s, powers)?;
    match p {
        1 => Ok(sum),
        2 => s.unary(Fn::Sqrt, sum),
        p => s.binary(Fn::Pow, sum, 1.0 / p as f64),
    }
}

fn spatial_axes(s: &Site, x: ValueId) -> Result<Vec<usize>, Fault> {
    if s.rank(x) < 3 {
        invalid!("spatial dimensions are needed, found {}", s.ty(x));
    }
    let empty = s.shape(x)[2..].iter().product::<Dim>() == 0;
    if empty {
        invalid!("the image {} is empty", s.ty(x));
    }
    Ok((2..s.rank(x)).collect())
}

pub(super) fn global_average_pool(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let axes = spatial_axes(s, x)?;
    mean_over(s, x, &axes, true)
}

fn global_max_pool(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let axes = spatial_axes(s, x)?;
    s.reduce(ReduceKind::Max, x, &axes, true)
}
