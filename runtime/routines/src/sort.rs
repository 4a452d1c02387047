//! Routines that sort: the k best elements, and distinct elements. Order is by key, then by position.

use crate::tensor::{Tensor, cut, product};
use crate::{Call, Done, Shapes, expect_size};

/// Moves the root of a heap, in which no child comes after its parent by `before`, to its place.
fn sift(heap: &mut [u32], mut at: usize, before: &impl Fn(u32, u32) -> bool) {
    let get = |heap: &[u32], i: usize| heap.get(i).copied();
    while let Some(own) = get(heap, at) {
        let Some(left) = get(heap, 2 * at + 1) else { return };
        let (mut child, mut last) = (2 * at + 1, left);
        if let Some(right) = get(heap, 2 * at + 2)
            && before(left, right)
        {
            (child, last) = (2 * at + 2, right);
        }
        if !before(own, last) {
            return;
        }
        swap(heap, at, child);
        at = child;
    }
}

fn swap(list: &mut [u32], i: usize, j: usize) {
    if i < list.len() && j < list.len() {
        list.swap(i, j);
    }
}

/// Fills `best` with the first of `0..n` by a strict total order, in order.
pub(crate) fn first_in_order(best: &mut [u32], n: usize, before: impl Fn(u32, u32) -> bool) {
    let k = best.len().min(n);
    let Some(best) = best.get_mut(..k) else { return };
    best.iter_mut().enumerate().for_each(|(i, b)| *b = i as u32);
    for root in (0..k / 2).rev() {
        sift(best, root, &before);
    }
    for i in k..n {
        if let Some(root) = best.first_mut()
            && before(i as u32, *root)
        {
            *root = i as u32;
            sift(best, 0, &before);
        }
    }
    for end in (1..k).rev() {
        swap(best, 0, end);
        if let Some(heap) = best.get_mut(..end) {
            sift(heap, 0, &before);
        }
    }
}

/// Scratch memory as two lists.
pub(crate) fn split(scratch: &mut [u64], n: usize) -> (&mut [u64], &mut [u32]) {
    let (head, tail) = scratch.split_at_mut(n.min(scratch.len()));
    (head, crate::frame::as_u32(tail))
}

pub fn top_k_scratch(shapes: &Shapes) -> usize {
    let n = usize::try_from(shapes.ints[0]).map_or(1, |axis| shapes.input(0)[axis]);
    // Keys and positions.
    n + n.div_ceil(2)
}

/// Integers: axis, whether the largest are meant. Outputs: values, positions as `i64`; as many as the outputs' axis says.
pub fn top_k(call: &mut Call) -> Done {
    let axis = call.int(0) as usize;
    let largest = call.int(1) != 0;
    let x = call.inputs[0];
    let [values, positions, ..] = &mut call.outputs;
    let (from, to) = (cut(x.shape, axis), cut(values.shape, axis));
    let (keys, best) = split(call.scratch, from.n);
    let Some(best) = best.get_mut(..to.n.min(from.n)) else { return Ok(()) };
    for outer in 0..from.outer {
        for inner in 0..from.inner {
            for (i, key) in keys.iter_mut().enumerate() {
                let k = x.key(from.at(outer, i, inner));
                // The complement reverses the order.
                *key = (if largest { !k } else { k }) as u64;
            }
            let key = |i: u32| keys.get(i as usize).map_or(i64::MAX, |k| *k as i64);
            first_in_order(best, from.n, |a, b| (key(a), a) < (key(b), b));
            for (i, b) in best.iter().enumerate() {
                let target = to.at(outer, i, inner);
                values.set_bits(target, x.bits(from.at(outer, *b as usize, inner)));
                positions.set_int(target, i64::from(*b));
            }
        }
    }
    Ok(())
}

pub fn unique_scratch(shapes: &Shapes) -> usize {
    let n = items(shapes);
    // Order, first positions of groups, their order, their ranks.
    2 * n + 2
}

fn items(shapes: &Shapes) -> usize {
    match usize::try_from(shapes.ints[0]) {
        Ok(axis) => shapes.input(0)[axis],
        Err(_) => shapes.input(0).iter().product(),
    }
}

/// Integers: axis (−1: the elements of the flattened tensor), whether the result is sorted. Outputs: distinct items, their
/// first positions, the item of every position, counts; all integers `i64`.
pub fn unique(call: &mut Call) -> Done {
    let x = call.inputs[0];
    let sorted = call.int(1) != 0;
    let flat = call.int(0) < 0;
    let length = [product(x.shape) as u32];
    let c = if flat { cut(&length, 0) } else { cut(x.shape, call.int(0) as usize) };
    let n = c.n;
    let compare = |a: u32, b: u32| {
        for outer in 0..c.outer {
            for inner in 0..c.inner {
                let (p, q) = (x.key(c.at(outer, a as usize, inner)), x.key(c.at(outer, b as usize, inner)));
                if p != q {
                    return if p < q { core::cmp::Ordering::Less } else { core::cmp::Ordering::Greater };
                }
            }
        }
        core::cmp::Ordering::Equal
    };
    let words = crate::frame::as_u32(call.scratch);
    let (order, rest) = words.split_at_mut(n.min(words.len()));
    let (first, rest) = rest.split_at_mut(n.min(rest.len()));
    let (by_rank, ranks) = rest.split_at_mut(n.min(rest.len()));
    first_in_order(order, n, |a, b| match compare(a, b) {
        core::cmp::Ordering::Less => true,
        core::cmp::Ordering::Equal => a < b,
        core::cmp::Ordering::Greater => false,
    });
    let [y, firsts, inverse, counts] = &mut call.outputs;
    let mut groups = 0;
    let mut previous = None;
    for item in order.iter() {
        if previous.is_none_or(|p| compare(p, *item).is_ne()) {
            if let Some(f) = first.get_mut(groups) {
                *f = *item;
            }
            groups += 1;
        }
        previous = Some(*item);
        inverse.set_int(*item as usize, groups as i64 - 1);
    }
    expect_size(groups, counts.dim(0))?;
    let at = |list: &[u32], i: usize| list.get(i).copied().unwrap_or(0);
    // Groups in the order of their items, or of their first positions.
    first_in_order(by_rank.get_mut(..groups).unwrap_or(&mut []), groups, |a, b| {
        if sorted { a < b } else { at(first, a as usize) < at(first, b as usize) }
    });
    counts.clear();
    for rank in 0..groups {
        let group = at(by_rank, rank) as usize;
        if let Some(r) = ranks.get_mut(group) {
            *r = rank as u32;
        }
        firsts.set_int(rank, i64::from(at(first, group)));
        let to = crate::tensor::Cut { n: groups, ..c };
        for outer in 0..c.outer {
            y.copy(to.at(outer, rank, 0), &x, c.at(outer, at(first, group) as usize, 0), c.inner);
        }
    }
    for i in 0..n {
        let group = inverse.as_ref().int(i) as usize;
        let rank = at(ranks, group) as usize;
        inverse.set_int(i, rank as i64);
        let count = Tensor { ..counts.as_ref() }.int(rank);
        counts.set_int(rank, count + 1);
    }
    Ok(())
}
