//! Writes [`ir::algorithm::Gather`]. Per index, one box is copied (`moves`); constant indices become copies of their runs.
//! An index outside the axis ends the run: the kernel reports it and touches nothing.

use crate::LowerError;
use crate::cx::{Cx, NodeCx};
use crate::extent::{Extent, Size};
use crate::view::View;
use crate::write::moves::{self, Box};
use crate::write::nest::{Nest, Params, TASK_BYTES, Tasks, Walk, loops};
use crate::write::routine;
use crate::write::shuffle::{advanced, copy_walks};
use ir::algorithm::{Affine, Axis, Gather};
use ir::{DType, Tensor};
use kernel::*;
use std::ops::Range;

/// Constant indices with more runs than this are read at run time.
const MOST_RUNS: usize = 16;

/// The routine that says which index was wrong.
const OUT_OF_RANGE: &str = "index_out_of_range";

pub fn write(cx: &mut Cx, nx: &NodeCx, nest: &Gather) -> Result<(), LowerError> {
    if nx.output.elements() == 0 {
        return Ok(());
    }
    let data = nx.input(cx, nest.data.operand);
    let extent = data.extents().swap_remove(nest.dim);
    let size = extent.most;
    if size == 0 {
        return Err(LowerError::Unsupported { layer: nx.name.clone(), what: "gathering from an empty axis".into() });
    }
    let mut position = nest.data.index.clone();
    position[nest.dim] = Affine::constant(0i64);
    let from = Walk::new(&data, &position, nest.axes.len());
    let step = data.strides[nest.dim] * data.dtype.bytes() as i64;
    if !extent.is_free()
        && let Some(indices) = &nx.constants[nest.indices.operand]
        && let Some((axis, runs)) = runs(nest, indices, size)
    {
        copy_runs(cx, nx, &from, step, axis, &runs);
        return Ok(());
    }
    let indices = nx.input(cx, nest.indices.operand);
    if !indices.dtype.is_int() {
        return Err(LowerError::Unsupported { layer: nx.name.clone(), what: format!("gathering by {} indices", indices.dtype) });
    }
    let walks = vec![from, Walk::new(&indices, &nest.indices.index, nest.axes.len()), Walk::of(&nx.output)];
    let mut loop_nest = Nest { dims: nx.output.extents(), walks };
    loop_nest.merge(0);
    let bytes = data.dtype.bytes();
    let tasks = Tasks::new(&loop_nest.dims, TASK_BYTES / bytes, 64 / bytes);
    let (kernel, params) = kernel(&loop_nest, tasks, &indices, &extent, step, bytes);
    let mut args = params.args(cx);
    args.push(routine::failure(cx, nx, OUT_OF_RANGE, indices.dtype));
    cx.step(kernel, args, tasks.count, 0, nx.origin, &[&nx.output], &[]);
    Ok(())
}

/// Ranges of increasing constant indices (of one axis, or of none), when they are few and within the axis.
fn runs(nest: &Gather, indices: &Tensor, size: usize) -> Option<(Option<Axis>, Vec<Range<usize>>)> {
    let axis = match &nest.indices.index[..] {
        [] => None,
        [affine] => match affine.terms[..] {
            [(axis, 1)] if affine.offset == 0 => Some(axis),
            _ => return None,
        },
        _ => return None,
    };
    let mut runs: Vec<Range<usize>> = vec![];
    for index in indices.to_i64s() {
        let index = if index < 0 { index + size as i64 } else { index };
        let index = usize::try_from(index).ok().filter(|i| *i < size)?;
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index + 1),
        }
        if runs.len() > MOST_RUNS {
            return None;
        }
    }
    Some((axis, runs))
}

fn copy_runs(cx: &mut Cx, nx: &NodeCx, from: &Walk, step: i64, axis: Option<Axis>, runs: &[Range<usize>]) {
    let mut done = 0;
    for run in runs {
        let mut from = Walk { base: from.base + run.start as i64 * step / from.view.dtype.bytes() as i64, ..from.clone() };
        let (mut dims, mut to) = (nx.output.extents(), Walk::of(&nx.output));
        if let Some(axis) = axis {
            from.strides[axis] = step;
            dims[axis] = run.len().into();
            let mut start = vec![0; dims.len()];
            start[axis] = done;
            to = advanced(&to, &start);
        }
        done += run.len();
        copy_walks(cx, dims, from, to, nx.origin);
    }
}

fn kernel(nest: &Nest, tasks: Tasks, indices: &View, size: &Extent, step: i64, bytes: usize) -> (Kernel, Params) {
    let dims: Vec<String> = nest.dims.iter().map(ToString::to_string).collect();
    let mut k = K::new(format!("gather_{bytes}_{}_of_{size}", dims.join("x")));
    let names = ["data", "indices", "y"];
    let params = nest.params(&mut k, |i| names[i], std::slice::from_ref(size));
    let size = params.others[0];
    let failure = k.weights("failure");
    let strides = nest.strides();
    let inner = tasks.inner(&strides);
    // Dimensions along which the index varies, and those after them: the box to be copied.
    let n_varying = inner[1].iter().rposition(|s| *s != 0).map_or(0, |d| d + 1);
    tasks.emit(&mut k, &params.dims, &params.pointers, &strides, |k, pointers, dims| {
        let (outer, rest) = dims.split_at(n_varying);
        let part = |i: usize| inner[i][n_varying..].to_vec();
        let shape = Box { dims: rest.to_vec(), from: part(0), to: part(2), bytes };
        loops(k, outer, pointers, &inner, &mut |k, p| {
            let index = load_index(k, indices.dtype, p[1], size, failure);
            let src = k.let_("src", p[0] + index * step as i32);
            moves::copy(k, &shape, src, p[2]);
        });
    });
    (k.finish(), params)
}

/// One index as a position in `0..size`. With any other the kernel reports it and returns.
fn load_index(k: &mut K, dtype: DType, at: V<I32>, size: Size, failure: V<I32>) -> E<I32> {
    let raw = match dtype {
        DType::I8 | DType::I4 | DType::I2 => i64_load8_s(at, 0),
        DType::U8 | DType::U4 | DType::U2 => i64_load8_u(at, 0),
        DType::I16 => i64_load16_s(at, 0),
        DType::U16 => i64_load16_u(at, 0),
        DType::I32 => i64_load32_s(at, 0),
        DType::U32 => i64_load32_u(at, 0),
        _ => load::<I64>(at, 0),
    };
    let raw = k.let_("raw", raw);
    let size: E<I64> = match size.now {
        Some(now) => k.let_("length", i64_extend_i32_u(now)).get(),
        None => (size.most as i64).into(),
    };
    let index = k.let_("index", select::<I64>(i64_lt_s(raw, 0), raw + size.clone(), raw));
    k.if_(i64_ge_u(index, size), |k| {
        routine::call(k, OUT_OF_RANGE, failure, &[at]);
        k.return_();
    });
    i32_wrap_i64(index)
}
