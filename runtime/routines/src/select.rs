//! Routines that choose elements by data: which are not zero, which slices a list of bools names, sequences reversed.

use crate::tensor::{Tensor, cut};
use crate::{Call, Done, Status, expect_size, fail};

fn is_nonzero(x: &Tensor, i: usize) -> bool {
    let bits = x.bits(i);
    // The sign of a float does not count.
    let sign = if x.dtype.is_float() { 1 << (8 * x.dtype.bytes() - 1) } else { 0 };
    bits & !sign != 0
}

/// Output: `i64` `[rank, count]`, the indices of the elements that are not zero, in row-major order.
pub fn nonzero(call: &mut Call) -> Done {
    let x = call.inputs[0];
    let [out, ..] = &mut call.outputs;
    let count = out.dim(1);
    let mut found = 0;
    for i in 0..x.len() {
        if is_nonzero(&x, i) {
            let mut rest = i;
            if found < count {
                for d in (0..x.rank()).rev() {
                    let size = x.dim(d).max(1);
                    out.set_int(d * count + found, (rest % size) as i64);
                    rest /= size;
                }
            }
            found += 1;
        }
    }
    expect_size(found, count)
}

/// Inputs: data, a list of bools, which may be shorter than the axis. Integer: the axis.
pub fn compress(call: &mut Call) -> Done {
    let (x, condition) = (call.inputs[0], call.inputs[1]);
    let axis = call.int(0) as usize;
    let [out, ..] = &mut call.outputs;
    let (from, to) = (cut(x.shape, axis), cut(out.shape, axis));
    let mut found = 0;
    for i in 0..condition.len() {
        if condition.bits(i) != 0 {
            if i >= from.n {
                return fail(Status::IndexOutOfRange, i);
            }
            if found < to.n {
                for outer in 0..from.outer {
                    out.copy(to.at(outer, found, 0), &x, from.at(outer, i, 0), from.inner);
                }
            }
            found += 1;
        }
    }
    expect_size(found, to.n)
}

/// Inputs: data, one length per batch. Integers: axis of time, axis of batches (0 and 1 in some order).
pub fn reverse_sequence(call: &mut Call) -> Done {
    let (x, lengths) = (call.inputs[0], call.inputs[1]);
    let (time, batch) = (call.int(0) as usize, call.int(1) as usize);
    let [out, ..] = &mut call.outputs;
    let inner = cut(x.shape, 1).inner;
    let (n_time, n_batch) = (x.dim(time), x.dim(batch));
    let at = |t: usize, b: usize| if time == 0 { (t * n_batch + b) * inner } else { (b * n_time + t) * inner };
    for b in 0..n_batch {
        let length = lengths.int(b);
        if length < 0 || length > n_time as i64 {
            return fail(Status::IndexOutOfRange, length as usize);
        }
        for t in 0..n_time {
            let from = if t < length as usize { length as usize - 1 - t } else { t };
            out.copy(at(t, b), &x, at(from, b), inner);
        }
    }
    Ok(())
}
