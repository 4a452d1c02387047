//! Lookups and updates by index tensors. Elements move as bits; reductions combine them.

use crate::tensor::{Combine, Tensor, TensorMut, cut, dim, product};
use crate::{Call, Done, Status, fail};

/// Input: one index, which its kernel found to be outside the axis.
pub fn index_out_of_range(call: &mut Call) -> Done {
    fail(Status::IndexOutOfRange, call.inputs[0].int(0) as usize)
}

/// The position in `data` of every element of `indices`, which replaces one coordinate along `axis`. Shapes agree in rank.
fn for_each_element(data: &[u32], indices: &Tensor, axis: usize, mut f: impl FnMut(usize, usize)) -> Done {
    let (rank, n) = (data.len(), dim(data, axis));
    for i in 0..indices.len() {
        let Some(index) = indices.index(i, n) else { return fail(Status::IndexOutOfRange, indices.int(i) as usize) };
        let (mut rest, mut at, mut stride) = (i, 0, 1);
        for d in (0..rank).rev() {
            let size = indices.dim(d).max(1);
            at += stride * if d == axis { index } else { rest % size };
            rest /= size;
            stride *= dim(data, d);
        }
        f(i, at);
    }
    Ok(())
}

/// Inputs: data, indices of the same rank. Integer: the axis.
pub fn gather_elements(call: &mut Call) -> Done {
    let (x, indices) = (call.inputs[0], call.inputs[1]);
    let axis = call.int(0) as usize;
    let [out, ..] = &mut call.outputs;
    for_each_element(x.shape, &indices, axis, |i, at| out.set_bits(i, x.bits(at)))
}

/// Inputs: data, indices of the same rank, as many updates. Integers: the axis, a [`Combine`].
pub fn scatter_elements(call: &mut Call) -> Done {
    let (x, indices, updates) = (call.inputs[0], call.inputs[1], call.inputs[2]);
    let (axis, combine) = (call.int(0) as usize, Combine::from_int(call.int(1)));
    let [out, ..] = &mut call.outputs;
    out.copy(0, &x, 0, x.len());
    for_each_element(x.shape, &indices, axis, |i, at| merge(out, at, combine, &updates, i))
}

fn merge(out: &mut TensorMut, at: usize, combine: Combine, updates: &Tensor, i: usize) {
    let old = out.as_ref().bits(at);
    out.set_bits(at, combine.apply(updates.dtype, old, updates.bits(i)));
}

/// For every tuple of indices: its number, where its slice of `data` begins, and how long that is. The first `batch`
/// dimensions of both run along.
fn for_each_slice(data: &[u32], indices: &Tensor, batch: usize, mut f: impl FnMut(usize, usize, usize)) -> Done {
    let tuple = indices.dim(indices.rank().wrapping_sub(1));
    let tuples = indices.shape.get(..indices.rank().saturating_sub(1)).map_or(1, product);
    let inner = product(data.get(batch + tuple..).unwrap_or(&[]));
    let batches = product(data.get(..batch).unwrap_or(&[]));
    let per_batch = tuples / batches.max(1);
    for t in 0..tuples {
        let mut at = t / per_batch.max(1);
        for j in 0..tuple {
            let n = dim(data, batch + j);
            let i = t * tuple + j;
            let Some(index) = indices.index(i, n) else { return fail(Status::IndexOutOfRange, indices.int(i) as usize) };
            at = at * n + index;
        }
        f(t, at * inner, inner);
    }
    Ok(())
}

/// Inputs: data, tuples of indices. Integer: the number of batch dimensions.
pub fn gather_nd(call: &mut Call) -> Done {
    let (x, indices) = (call.inputs[0], call.inputs[1]);
    let batch = call.int(0) as usize;
    let [out, ..] = &mut call.outputs;
    for_each_slice(x.shape, &indices, batch, |t, at, n| out.copy(t * n, &x, at, n))
}

/// Inputs: data, tuples of indices, one slice of updates per tuple. Integer: a [`Combine`].
pub fn scatter_nd(call: &mut Call) -> Done {
    let (x, indices, updates) = (call.inputs[0], call.inputs[1], call.inputs[2]);
    let combine = Combine::from_int(call.int(0));
    let [out, ..] = &mut call.outputs;
    out.copy(0, &x, 0, x.len());
    for_each_slice(x.shape, &indices, 0, |t, at, n| {
        if combine == Combine::Replace {
            return out.copy(at, &updates, t * n, n);
        }
        for i in 0..n {
            merge(out, at + i, combine, &updates, t * n + i);
        }
    })
}

/// Inputs: a cache, an update, the first position of each batch. Integers: the axis of positions, whether they wrap around.
pub fn tensor_scatter(call: &mut Call) -> Done {
    let (cache, update, first) = (call.inputs[0], call.inputs[1], call.inputs[2]);
    let (axis, circular) = (call.int(0) as usize, call.int(1) != 0);
    let [out, ..] = &mut call.outputs;
    out.copy(0, &cache, 0, cache.len());
    let (to, from) = (cut(cache.shape, axis), cut(update.shape, axis));
    let per_batch = (from.outer / cache.dim(0).max(1)).max(1);
    for outer in 0..from.outer {
        let start = first.int(outer / per_batch);
        for i in 0..from.n {
            let at = start.wrapping_add(i as i64);
            let at = if circular { at.rem_euclid((to.n as i64).max(1)) } else { at };
            if at < 0 || at >= to.n as i64 {
                return fail(Status::IndexOutOfRange, at as usize);
            }
            out.copy(to.at(outer, at as usize, 0), &update, from.at(outer, i, 0), from.inner);
        }
    }
    Ok(())
}
