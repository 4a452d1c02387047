//! Loops that both forms share: the rows of a task, tiles of nearly equal width, and taps that are too many to unroll.

use super::{Cursor, Nest};
use ir::algorithm::Axis;
use kernel::{E, I32, K, i32_div_u, i32_lt_u, i32_rem_u, select};

/// Runs `body` for every row of the task: rows are the indices of `axes`, the last one fastest.
pub fn for_rows(k: &mut K, nest: &Nest, axes: &[Axis], rows_per_task: usize, body: impl FnOnce(&mut K, &[(Axis, E<I32>)])) {
    let rows = nest.product(axes);
    if rows == 1 {
        return body(k, &[]);
    }
    if rows_per_task == 1 {
        let index = split_row(k, nest, axes, k.task().get());
        return body(k, &index);
    }
    let start = k.let_("row_start", k.task() * rows_per_task as i32);
    let mut end = start + rows_per_task as i32;
    if !rows.is_multiple_of(rows_per_task) {
        let past = k.let_("row_end", end);
        end = select(i32_lt_u(past, rows as i32), past, rows as i32);
    }
    k.for_("row", start, end, 1, |k, row| {
        let index = split_row(k, nest, axes, row.get());
        body(k, &index);
    });
}

/// The index of a row along each axis that has more than one.
fn split_row(k: &mut K, nest: &Nest, axes: &[Axis], row: E<I32>) -> Vec<(Axis, E<I32>)> {
    let mut axes: Vec<Axis> = axes.iter().copied().filter(|a| nest.extents[*a] > 1).collect();
    axes.reverse();
    let mut rest = row;
    let mut index = vec![];
    for (i, &axis) in axes.iter().enumerate() {
        let extent = nest.extents[axis] as i32;
        if i + 1 == axes.len() {
            index.push((axis, rest.clone()));
            break;
        }
        let here = k.in_local("rest", rest);
        index.push((axis, i32_rem_u(here, extent)));
        rest = i32_div_u(here, extent);
    }
    index
}

/// Covers `0..total` by as few tiles as possible, none wider than `widest`, of at most two widths that differ by one. The
/// body is written once per width; it gets the start of its tile and the width.
pub fn for_even_tiles(k: &mut K, total: usize, widest: usize, mut body: impl FnMut(&mut K, E<I32>, usize)) {
    let tiles = total.div_ceil(widest);
    let (narrow, wide_tiles) = (total / tiles, total % tiles);
    let border = wide_tiles * (narrow + 1);
    for (start, end, width) in [(0, border, narrow + 1), (border, total, narrow)] {
        match (end - start) / width {
            0 => {}
            1 => body(k, start.into(), width),
            _ => k.for_("tile", start, end, width as u32, |k, at| body(k, at.get(), width)),
        }
    }
}

/// Splits the reduced axes into those that become loops and those, the innermost, that are unrolled: as many as give at
/// most `limit` taps. The innermost one is always unrolled up to `limit`.
pub fn split_taps<'n>(nest: &'n Nest, limit: usize) -> (&'n [Axis], &'n [Axis]) {
    let mut taps = 1;
    let unrolled = nest.reduced.iter().rev().take_while(|axis| {
        taps *= nest.extents[**axis];
        taps <= limit
    });
    nest.reduced.split_at(nest.reduced.len() - unrolled.count())
}

/// Loops over the taps of `axes`, moving the cursors.
pub fn for_taps<'a, const N: usize>(
    k: &mut K,
    nest: &Nest,
    axes: &[Axis],
    cursors: [Option<Cursor<'a>>; N],
    body: &mut dyn FnMut(&mut K, [Option<Cursor<'a>>; N]),
) {
    match axes.split_first() {
        None => body(k, cursors),
        Some((axis, rest)) if nest.extents[*axis] == 1 => for_taps(k, nest, rest, cursors, body),
        Some((axis, rest)) => k.for_("tap", 0, nest.extents[*axis], 1, |k, tap| {
            let moved = cursors.map(|c| c.map(|c| c.moved(k, "at_tap", &[(*axis, tap.get())])));
            for_taps(k, nest, rest, moved, body);
        }),
    }
}
