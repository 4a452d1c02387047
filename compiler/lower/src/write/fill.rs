//! Fills memory with one element: boxes of a tensor, and the margin (halo) of a buffer before its producer writes the
//! interior.

use crate::LowerError;
use crate::cx::Cx;
use crate::extent::Extent;
use crate::layout::Halo;
use crate::pointwise::element;
use crate::view::View;
use crate::write::moves;
use crate::write::nest::{Nest, TASK_BYTES, Tasks, Walk, loops, vectors};
use ir::pointwise::Literal;
use ir::{DType, for_dtype};
use kernel::{Const, E, Expr, I32, K, V, V128};
use std::sync::Arc;

/// 16 bytes of repeated elements.
fn pattern(dtype: DType, value: Literal) -> u128 {
    let mut bytes = [0; 16];
    for_dtype!(dtype, T => {
        let value = [element::<T>(value)];
        let element: &[u8] = bytemuck::cast_slice(&value);
        bytes.chunks_exact_mut(element.len()).for_each(|chunk| chunk.copy_from_slice(element));
    });
    u128::from_le_bytes(bytes)
}

fn constant(k: &mut K, dtype: DType, value: Literal) -> V<V128> {
    k.let_("value", E::from_expr(Expr::Const(Const::V128(pattern(dtype, value)))))
}

/// Adds a step that fills a box of `dims`, walked by `to`.
pub fn fill(cx: &mut Cx, dims: Vec<Extent>, to: Walk, value: Literal, origin: &[Arc<str>]) {
    if dims.iter().any(|d| d.most == 0) {
        return;
    }
    let (dtype, output) = (to.view.dtype, to.view.clone());
    let bytes = dtype.bytes();
    let mut nest = Nest { dims, walks: vec![to] };
    nest.merge(0);
    if nest.dims.is_empty() {
        nest.dims.push(1.into());
        nest.walks[0].strides.push(bytes as i64);
    }
    let tasks = Tasks::new(&nest.dims, TASK_BYTES / bytes, 64 / bytes);
    let sizes: Vec<String> = nest.dims.iter().map(ToString::to_string).collect();
    let mut k = K::new(format!("fill_{dtype}_{}", sizes.join("x")));
    let params = nest.params(&mut k, |_| "y", &[]);
    let value = constant(&mut k, dtype, value);
    let strides = nest.strides();
    let inner = tasks.inner(&strides);
    tasks.emit(&mut k, &params.dims, &params.pointers, &strides, |k, p, dims| {
        let (size, outer) = dims.split_last().expect("at least one dimension");
        let stride = inner[0][outer.len()];
        loops(k, outer, p, &inner, &mut |k, p| {
            if stride == bytes as i64 {
                return moves::fill(k, p[0], *size, bytes, value);
            }
            vectors(k, *size, 1, p, &[stride], |k, _, at, n| {
                for i in 0..n as i64 {
                    let at = at[0].clone() + (stride * i) as i32;
                    match bytes {
                        1 => k.store_lane::<1>(at, 0, value.get(), 0),
                        2 => k.store_lane::<2>(at, 0, value.get(), 0),
                        4 => k.store_lane::<4>(at, 0, value.get(), 0),
                        _ => k.store_lane::<8>(at, 0, value.get(), 0),
                    }
                }
            });
        });
    });
    let args = params.args(cx);
    cx.step(k.finish(), args, tasks.count, 0, origin, &[&output], &[]);
}

/// Gaps of one length, at every index of `dims`.
struct Gaps {
    /// Bytes from the buffer's start to the first.
    start: i64,
    len: usize,
    dims: Vec<usize>,
    /// Bytes from one step of each dimension to the next.
    strides: Vec<i64>,
}

/// The maximal runs of bytes of a dense buffer that hold no element of the interior. Between one interior index of a
/// dimension and the next lie the margins of all dimensions further in, side by side.
fn gaps(whole: &View, interior: &View, halo: &Halo) -> Vec<Gaps> {
    let bytes = whole.dtype.bytes() as i64;
    let rank = whole.shape.len();
    let total = whole.elements() as i64 * bytes;
    let once = |start: i64, end: i64| Gaps { start, len: (end - start) as usize, dims: vec![], strides: vec![] };
    if interior.elements() == 0 {
        return vec![once(0, total)];
    }
    let first = interior.offset * bytes;
    let last: i64 = first + (0..rank).map(|d| (interior.shape[d] as i64 - 1) * interior.strides[d] * bytes).sum::<i64>();
    let mut gaps = vec![once(0, first), once(last + bytes, total)];
    for d in 0..rank {
        let inner = d + 1..rank;
        let len: i64 = inner.clone().map(|e| (halo.before[e] + halo.after[e]) as i64 * whole.strides[e] * bytes).sum();
        let run_end: i64 = first + bytes + inner.map(|e| (interior.shape[e] as i64 - 1) * interior.strides[e] * bytes).sum::<i64>();
        let mut dims = interior.shape[..=d].to_vec();
        dims[d] -= 1;
        gaps.push(Gaps { start: run_end, len: len as usize, dims, strides: interior.strides[..=d].iter().map(|s| s * bytes).collect() });
    }
    gaps.retain(|g| g.len > 0 && !g.dims.contains(&0));
    gaps
}

/// Adds a step that fills everything of `whole`, a dense buffer, that is outside `interior`.
pub fn halo(cx: &mut Cx, whole: &View, interior: &View, halo: &Halo, origin: &[Arc<str>]) -> Result<(), LowerError> {
    let gaps = gaps(whole, interior, halo);
    if gaps.is_empty() {
        return Ok(());
    }
    let sizes: Vec<String> = whole.shape.iter().map(ToString::to_string).collect();
    let mut k = K::new(format!("halo_{}_{}", whole.dtype, sizes.join("x")));
    let pointer: V<I32> = crate::cx::pointer(&mut k, "y", whole);
    let value = constant(&mut k, whole.dtype, halo.value);
    for gap in gaps {
        let start = if gap.start == 0 { pointer } else { k.let_("start", pointer + gap.start as i32) };
        loops(&mut k, &gap.dims, &[start], &[gap.strides], &mut |k, p| moves::fill_bytes(k, p[0], gap.len, value));
    }
    cx.step(k.finish(), vec![whole.arg_at(0)], 1, 0, origin, &[whole], &[]);
    Ok(())
}
