//! Loops that both forms share: the rows of a task, tiles of nearly equal width, and taps that are too many to unroll.

use super::{Cursor, Nest};
use ir::algorithm::Axis;
use kernel::{E, I32, K, i32_div_u, i32_lt_u, i32_rem_u, select};

/// How rows become tasks: several rows each, or, where there are too few, a part of one row each.
#[derive(Debug, Clone, Copy)]
pub struct Tasks {
    rows: usize,
    rows_per_task: usize,
    parts: usize,
    /// Positions of a row that a task does. The last part of a row reaches back rather than beyond the end, so that some
    /// positions are computed twice, with the same result.
    pub positions: usize,
}

impl Tasks {
    /// Whole rows.
    pub fn of_rows(rows: usize, wanted: usize) -> Tasks {
        Tasks { rows, rows_per_task: rows.div_ceil(wanted.clamp(1, rows)), parts: 1, positions: 0 }
    }

    /// Rows of `positions`, or parts of them that have at least `least`.
    pub fn of_parts(rows: usize, wanted: usize, positions: usize, least: usize) -> Tasks {
        let parts = wanted.div_ceil(rows).min(positions / least);
        if rows >= wanted || parts < 2 {
            return Tasks { positions, ..Tasks::of_rows(rows, wanted) };
        }
        let part = positions.div_ceil(parts);
        Tasks { rows, rows_per_task: 1, parts: positions.div_ceil(part), positions: part }
    }

    pub fn count(&self) -> u32 {
        (self.rows.div_ceil(self.rows_per_task) * self.parts) as u32
    }

    /// Where this task's part of a row of `positions` starts.
    fn start(&self, k: &mut K, positions: usize) -> E<I32> {
        let start = i32_rem_u(k.task(), self.parts as i32) * self.positions as i32;
        if self.parts * self.positions == positions {
            return start;
        }
        let last = (positions - self.positions) as i32;
        let start = k.let_("part_start", start);
        select(i32_lt_u(start, last), start, last)
    }
}

/// Runs `body` for every row of the task: rows are the indices of `axes`, the last one fastest, and the start of the
/// task's part along `tiled`.
pub fn for_rows(k: &mut K, nest: &Nest, axes: &[Axis], tiled: Option<Axis>, tasks: &Tasks, body: impl FnOnce(&mut K, &[(Axis, E<I32>)])) {
    let rows = nest.product(axes);
    if tasks.rows_per_task == 1 || rows == 1 {
        let mut index = if rows == 1 { vec![] } else { split_row(k, nest, axes, i32_div_u(k.task(), tasks.parts as i32)) };
        if let Some(tiled) = tiled.filter(|_| tasks.parts > 1) {
            index.push((tiled, tasks.start(k, nest.extents[tiled])));
        }
        return body(k, &index);
    }
    let start = k.let_("row_start", k.task() * tasks.rows_per_task as i32);
    let mut end = start + tasks.rows_per_task as i32;
    if !rows.is_multiple_of(tasks.rows_per_task) {
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
