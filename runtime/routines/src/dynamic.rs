//! Operators whose positions, pads or axes are tensors, and checks of such tensors against what was planned.

use crate::tensor::{Combine, Tensor, dim};
use crate::{Call, Done, Status, expect_size, fail};

/// Most dimensions of the tensors of these routines.
const RANK: usize = 8;

fn get<T: Copy>(list: &[T; RANK], d: usize, default: T) -> T {
    list.get(d).copied().unwrap_or(default)
}

fn set<T>(list: &mut [T; RANK], d: usize, value: T) {
    if let Some(at) = list.get_mut(d) {
        *at = value;
    }
}

/// Inputs: data that is passed through elsewhere, the list. Integers: per element, two values that it may have, then values that
/// every element may have.
pub fn check_sizes(call: &mut Call) -> Done {
    let list = call.inputs[0];
    let n = list.len();
    for i in 0..n {
        let found = list.int(i);
        let wild = call.ints.get(2 * n..).is_some_and(|w| w.contains(&found));
        if found != call.int(2 * i) && found != call.int(2 * i + 1) && !wild {
            return fail(Status::SizeOutOfBounds, found as usize);
        }
    }
    Ok(())
}

/// Inputs: iterations made, whether another one follows. Integer: the iterations that there is room for.
pub fn check_trips(call: &mut Call) -> Done {
    let [made, more, ..] = call.inputs;
    let (made, more, room) = (made.int(0), more.int(0) != 0, call.int(0));
    let fits = if more { made < room } else { made == room };
    if fits { Ok(()) } else { fail(Status::SizeOutOfBounds, made as usize + usize::from(more)) }
}

/// Input: axes. Integers: whether dimensions are inserted (else dropped), the rank before, the shape before, the shape after.
pub fn check_axes(call: &mut Call) -> Done {
    let axes = call.inputs[0];
    let (insert, rank) = (call.int(0) != 0, call.int(1) as usize);
    let after = call.ints.get(2 + rank..).unwrap_or(&[]);
    let total = if insert { rank + axes.len() } else { rank };
    let mut chosen = [false; RANK];
    for i in 0..axes.len() {
        let Some(axis) = axes.index(i, total) else { return fail(Status::InvalidInput, axes.int(i) as usize) };
        set(&mut chosen, axis, true);
    }
    // The longer of the two shapes is walked; what is not chosen is in both.
    let (mut b, mut a) = (0, 0);
    for d in 0..total {
        let (own, other) = (call.int(2 + b), after.get(a).copied().unwrap_or(-1));
        let ok = match (get(&chosen, d, false), insert) {
            (false, _) => own == other,
            (true, true) => other == 1,
            (true, false) => own == 1,
        };
        if !ok {
            return fail(Status::SizeOutOfBounds, d);
        }
        let dropped = get(&chosen, d, false);
        b += usize::from(!dropped || !insert);
        a += usize::from(!dropped || insert);
    }
    expect_size(a, after.len())
}

/// Inputs: data, starts, ends, axes (or nothing), steps (or nothing).
pub fn slice(call: &mut Call) -> Done {
    let [x, starts, ends, axes, steps, ..] = call.inputs;
    let rank = x.rank();
    let [out, ..] = &mut call.outputs;
    let (mut first, mut step) = ([0i64; RANK], [1i64; RANK]);
    for i in 0..starts.len() {
        let axis = if axes.is_empty() { Some(i) } else { axes.index(i, rank) };
        let Some(axis) = axis.filter(|a| *a < rank) else { return fail(Status::InvalidInput, i) };
        let by = if steps.is_empty() { 1 } else { steps.int(i) };
        if by == 0 {
            return fail(Status::InvalidInput, axis);
        }
        let size = x.dim(axis) as i64;
        let wrap = |p: i64| if p < 0 { p.saturating_add(size) } else { p };
        let (start, end) = (wrap(starts.int(i)), wrap(ends.int(i)));
        let (start, length) = if by > 0 {
            let start = start.clamp(0, size);
            (start, end.clamp(0, size) - start)
        } else {
            let start = start.clamp(0.min(size - 1), size - 1);
            (start, start - end.clamp(-1, size - 1))
        };
        let magnitude = by.unsigned_abs().min(1 << 40) as i64;
        let count = if length <= 0 { 0 } else { (length - 1) / magnitude.max(1) + 1 };
        expect_size(count as usize, out.dim(axis))?;
        set(&mut first, axis, start);
        set(&mut step, axis, by);
    }
    for i in 0..out.len() {
        let (mut rest, mut at, mut stride) = (i, 0i64, 1i64);
        for d in (0..rank).rev() {
            let size = out.dim(d).max(1);
            at += stride * (get(&first, d, 0) + (rest % size) as i64 * get(&step, d, 1));
            rest /= size;
            stride *= x.dim(d) as i64;
        }
        out.set_bits(i, x.bits(at as usize));
    }
    Ok(())
}

/// Where position `i` of an extended dimension comes from; `None`: from nowhere.
fn source(i: i64, size: i64, mode: i64) -> Option<i64> {
    if (0..size).contains(&i) {
        return Some(i);
    }
    match mode {
        _ if size == 0 => None,
        1 => {
            let period = (2 * (size - 1)).max(1);
            let at = i.rem_euclid(period);
            Some(if at < size { at } else { period - at })
        }
        2 => Some(i.clamp(0, size - 1)),
        3 => Some(i.rem_euclid(size)),
        _ => None,
    }
}

/// Inputs: data, pads (begins, then ends), the value, axes (or nothing). Integer: constant 0, reflect 1, edge 2, wrap 3.
pub fn pad(call: &mut Call) -> Done {
    let [x, pads, value, axes, ..] = call.inputs;
    let (rank, mode) = (x.rank(), call.int(0));
    let [out, ..] = &mut call.outputs;
    let mut before = [0i64; RANK];
    let n = pads.len() / 2;
    for i in 0..n {
        let axis = if axes.is_empty() { Some(i) } else { axes.index(i, rank) };
        let Some(axis) = axis.filter(|a| *a < rank) else { return fail(Status::InvalidInput, i) };
        let (low, high) = (pads.int(i), pads.int(n + i));
        let size = (x.dim(axis) as i64).saturating_add(low).saturating_add(high);
        expect_size(usize::try_from(size.max(0)).unwrap_or(usize::MAX), out.dim(axis))?;
        set(&mut before, axis, low);
    }
    for i in 0..out.len() {
        let (mut rest, mut at, mut stride) = (i, Some(0), 1);
        for d in (0..rank).rev() {
            let size = out.dim(d).max(1);
            let from = source(((rest % size) as i64).saturating_sub(get(&before, d, 0)), x.dim(d) as i64, mode);
            at = at.and_then(|at| from.map(|from| at + stride * from as usize));
            rest /= size;
            stride *= x.dim(d);
        }
        out.set_bits(i, at.map_or(value.bits(0), |at| x.bits(at)));
    }
    Ok(())
}

/// Inputs: data, axes; no axes are all. Integers: a [`Combine`], whether reduced axes stay, whether no axes are none.
pub fn reduce_axes(call: &mut Call) -> Done {
    let (x, axes) = (call.inputs[0], call.inputs[1]);
    let combine = Combine::from_int(call.int(0));
    let (keep, none) = (call.int(1) != 0, call.int(2) != 0);
    let rank = x.rank();
    let [out, ..] = &mut call.outputs;
    let mut reduced = [axes.is_empty() && !none; RANK];
    for i in 0..axes.len() {
        let Some(axis) = axes.index(i, rank) else { return fail(Status::InvalidInput, axes.int(i) as usize) };
        set(&mut reduced, axis, true);
    }
    // Strides of the output along the input's dimensions.
    let mut strides = [0usize; RANK];
    let (mut stride, mut o) = (1, out.shape.len());
    for d in (0..rank).rev() {
        let gone = get(&reduced, d, false);
        if keep || !gone {
            o = match o.checked_sub(1) {
                Some(o) => o,
                None => return fail(Status::SizeOutOfBounds, rank),
            };
            expect_size(if gone { 1 } else { x.dim(d) }, dim(out.shape, o))?;
        }
        if !gone {
            set(&mut strides, d, stride);
            stride *= x.dim(d);
        }
    }
    expect_size(o, 0)?;
    let neutral = combine.neutral(x.dtype);
    for i in 0..out.len() {
        out.set_bits(i, neutral);
    }
    for i in 0..x.len() {
        let (mut rest, mut at) = (i, 0);
        for d in (0..rank).rev() {
            let size = x.dim(d).max(1);
            at += (rest % size) * get(&strides, d, 0);
            rest /= size;
        }
        let old = Tensor { ..out.as_ref() }.bits(at);
        out.set_bits(at, combine.apply(x.dtype, old, x.bits(i)));
    }
    Ok(())
}
