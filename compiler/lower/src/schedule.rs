//! Schedules of contractions: register tile and loop structure, chosen by predicted time. Data and arithmetic only; the
//! kernels are written elsewhere.
//!
//! A tile of `rows` × `vectors` (of four columns) keeps its sums in registers while it walks along K. V8 on x64 has 15
//! usable vector registers: sums + one row of B + one element of A must fit.
//!
//! `cargo xtask sweep` measures every tile beside the predicted one; tests/bench/sweep.json and sweep.relaxed.json are such
//! records (Chromium). `export --tune` replaces the prediction by measurements of one model on one machine.

/// Whether a tile uses fused multiply-adds where it may: with few sums, the latency of mul and add is the shorter one.
/// (Measured in V8: 6x8 72 instead of 37 GFLOP/s, 5x8 and 4x8 the same, 3x8 51 instead of 67.)
pub fn fused(rows: usize, vectors: usize, relaxed: bool) -> bool {
    relaxed && rows * vectors >= 8
}

/// Cycles per step of K that one tile needs, relative to a machine that starts two multiply-adds per cycle.
fn cycles_per_k(rows: usize, vectors: usize, relaxed: bool) -> f64 {
    let compute = (rows * vectors) as f64 / 2.0;
    let loads = (rows + vectors) as f64 / 2.0;
    // The sums of consecutive steps depend on each other: an add (or a fused multiply-add) must finish first.
    // Eight fused sums in flight are not quite enough (4x2 reaches 0.87 of 6x2 at every size of the recorded sweep).
    let latency = if fused(rows, vectors, relaxed) { 4.6 } else { 2.6 };
    let spills = if rows * vectors + vectors + 1 > REGISTERS { 1.9 } else { 1.0 };
    compute.max(loads).max(latency) * spills
}

/// Vector registers that V8 hands out on x64.
const REGISTERS: usize = 15;

/// Cycles around the K loop: pointers, zeroing, epilogue and stores.
fn cycles_per_tile(rows: usize, vectors: usize) -> f64 {
    12.0 + 2.5 * (rows * vectors) as f64
}

/// Register tiles that are considered: rows, vectors of four columns.
pub const TILES: &[(usize, usize)] =
    &[(12, 1), (8, 1), (6, 1), (4, 1), (5, 2), (4, 2), (3, 2), (2, 2), (3, 3), (2, 3), (2, 4), (1, 4), (1, 2), (1, 1)];
/// The same with fused multiply-adds, whose longer latency wants more sums in flight.
const RELAXED_TILES: &[(usize, usize)] =
    &[(12, 1), (8, 1), (6, 1), (6, 2), (5, 2), (4, 2), (3, 2), (2, 2), (3, 3), (2, 3), (2, 4), (1, 4), (1, 2), (1, 1)];

/// A register tile that was measured to be the best for products of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    pub tiles: Tiles,
}

/// Register tiles that are asked for: rows, vectors of four columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    pub plain: (usize, usize),
    /// With as many vectors as the plain one; `None`: the one that is predicted to be the best of those.
    pub relaxed: Option<(usize, usize)>,
}

impl Tiles {
    /// One tile, whatever the variant.
    pub fn same(tile: (usize, usize)) -> Tiles {
        Tiles { plain: tile, relaxed: Some(tile) }
    }
}

/// How the rows of a contraction are cut: `count` tiles of `rows` each, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    pub rows: usize,
    pub count: usize,
}

/// How one contraction is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Largest number of rows in a tile, and vectors of four columns.
    pub rows: usize,
    pub vectors: usize,
    /// The row axes are treated as one (positions computed per row) instead of tiling the innermost only.
    pub flat: bool,
    /// Tiles over the rows (of the innermost axis, or of all).
    pub runs: Vec<Run>,
    /// Predicted cycles, for comparison only.
    pub cycles: f64,
}

/// Cuts `total` rows into tiles of `rows` and `rows − 1` where that is exact, else into full tiles and one remainder.
pub fn cut(total: usize, rows: usize) -> Vec<Run> {
    let tiles = total.div_ceil(rows);
    let short = tiles * rows - total;
    let runs = if rows > 1 && short <= tiles {
        vec![Run { rows, count: tiles - short }, Run { rows: rows - 1, count: short }]
    } else {
        vec![Run { rows, count: total / rows }, Run { rows: total % rows, count: 1 }]
    };
    runs.into_iter().filter(|r| r.count > 0 && r.rows > 0).collect()
}

/// Chooses the cheapest schedule for `outer` × `inner` rows, `columns` columns and sums of length `depth`.
///
/// A relaxed schedule has the panels and the units of the other one, so that both read the same weights in the same
/// tasks; it may have other rows per tile.
pub fn choose(outer: usize, inner: usize, columns: usize, depth: usize, relaxed: bool, tiles: Option<Tiles>) -> Schedule {
    let size = Size { outer, inner, columns, depth };
    let asked = tiles.map(|tiles| [tiles.plain]);
    let plain = cheapest(&size, false, asked.as_ref().map_or(TILES, |one| one), |_| true).expect("every tile is allowed");
    if !relaxed {
        return plain;
    }
    let fits = |s: &Schedule| s.vectors == plain.vectors && s.flat == plain.flat && (!s.flat || s.rows == plain.rows);
    let asked = tiles.and_then(|tiles| tiles.relaxed).and_then(|tile| cheapest(&size, true, &[tile], fits));
    asked.or_else(|| cheapest(&size, true, RELAXED_TILES, fits)).unwrap_or(plain)
}

struct Size {
    outer: usize,
    inner: usize,
    columns: usize,
    depth: usize,
}

fn cheapest(size: &Size, relaxed: bool, tiles: &[(usize, usize)], allowed: impl Fn(&Schedule) -> bool) -> Option<Schedule> {
    let Size { outer, inner, columns, depth } = *size;
    let mut best: Option<Schedule> = None;
    for &(rows, vectors) in tiles {
        for flat in [false, true] {
            if flat && outer == 1 {
                continue;
            }
            let (repeat, total) = if flat { (1, outer * inner) } else { (outer, inner) };
            if rows > total && rows > 1 && tiles.iter().any(|(r, v)| *r == total && *v == vectors) {
                continue;
            }
            let runs = cut(total, rows.min(total.max(1)));
            let panels = [(vectors, columns / (4 * vectors)), ((columns % (4 * vectors)).div_ceil(4), 1)];
            let mut cycles = 0.0;
            for run in &runs {
                for (v, count) in panels.iter().filter(|(v, count)| *v > 0 && *count > 0) {
                    // Positions of the rows of a flat tile are computed with a division each.
                    let extra = if flat { 6.0 * run.rows as f64 } else { 0.0 };
                    let tile = depth as f64 * cycles_per_k(run.rows, *v, relaxed) + cycles_per_tile(run.rows, *v) + extra;
                    cycles += tile * (repeat * run.count * count) as f64;
                }
            }
            let schedule = Schedule { rows, vectors, flat, runs, cycles };
            if allowed(&schedule) && best.as_ref().is_none_or(|b| cycles < b.cycles) {
                best = Some(schedule);
            }
        }
    }
    best
}

/// How a contraction is cut into tasks: blocks of row units × blocks of column panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    pub units_per_task: usize,
    pub row_blocks: usize,
    pub panels_per_task: usize,
    pub column_blocks: usize,
}

/// Bytes of A that one task should walk through: they are read once per panel and should stay in the second-level cache.
const A_BLOCK: u64 = 512 << 10;

/// Splits `units` × `panels` into about `tasks` tasks with the least traffic: every row block reads all of its B, every
/// column block all of its A.
pub fn blocks(units: usize, panels: usize, tasks: u64, a_bytes: u64, b_bytes: u64) -> Blocks {
    let (units, panels) = (units.max(1), panels.max(1));
    let most = (units * panels) as u64;
    let tasks = if tasks > 1 { tasks.next_multiple_of(4).min(most) as usize } else { 1 };
    let mut best: Option<(f64, Blocks)> = None;
    for row_blocks in 1..=units.min(4 * tasks) {
        let units_per_task = units.div_ceil(row_blocks);
        if units.div_ceil(units_per_task) != row_blocks {
            continue;
        }
        let column_blocks = tasks.div_ceil(row_blocks).clamp(1, panels);
        let panels_per_task = panels.div_ceil(column_blocks);
        let column_blocks = panels.div_ceil(panels_per_task);
        let rereads = if a_bytes / row_blocks as u64 > A_BLOCK { panels } else { column_blocks };
        let count = row_blocks * column_blocks;
        let shortage = tasks.saturating_sub(count) as f64;
        let traffic = (rereads as f64 + shortage) * a_bytes as f64 + (row_blocks as f64 + shortage) * b_bytes as f64;
        // What the last of two threads does alone, and what the last tasks lack.
        let uneven = count.next_multiple_of(2) as f64 / count as f64;
        let ragged = (row_blocks * units_per_task * column_blocks * panels_per_task) as f64 / (units * panels) as f64;
        let cost = traffic * if count > 1 { uneven * ragged } else { 1.0 };
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, Blocks { units_per_task, row_blocks, panels_per_task, column_blocks }));
        }
    }
    best.expect("there is at least one row block").1
}
