//! Running sums and products.

use crate::tensor::{Combine, cut};
use crate::{Call, Done, Status, fail};

/// Inputs: data, the axis. Integers: whether products are meant, whether an element is left out of its own result, whether
/// the axis runs backwards.
pub fn cumulate(call: &mut Call) -> Done {
    let (x, axis) = (call.inputs[0], call.inputs[1]);
    let combine = if call.int(0) != 0 { Combine::Mul } else { Combine::Add };
    let (exclusive, reverse) = (call.int(1) != 0, call.int(2) != 0);
    let [out, ..] = &mut call.outputs;
    let Some(axis) = axis.index(0, x.rank()) else { return fail(Status::InvalidInput, 0) };
    let c = cut(x.shape, axis);
    for outer in 0..c.outer {
        for inner in 0..c.inner {
            let mut total = combine.neutral(x.dtype);
            for step in 0..c.n {
                let at = c.at(outer, if reverse { c.n - 1 - step } else { step }, inner);
                let next = combine.apply(x.dtype, total, x.bits(at));
                out.set_bits(at, if exclusive { total } else { next });
                total = next;
            }
        }
    }
    Ok(())
}
