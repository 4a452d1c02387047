//! Placement of buffers in one arena: a pure function of their sizes, alignments and live ranges. Greedy from several
//! orders, then improved by moving the buffer that reaches highest to the front.

use std::cmp::Reverse;
use std::ops::Range;

use crate::LowerError;
use crate::plan::{Buffer, Plan};

/// Largest arena in bytes.
const LIMIT: u64 = 1 << 31;
/// Stop searching below this multiple of the largest live sum, in percent.
const GOOD_ENOUGH: u64 = 101;
/// Retries of the search, and the number of pairs of buffers that they may look at.
const MAX_ROUNDS: u64 = 200;
const MAX_PAIRS: u64 = 100_000_000;

/// Gives every buffer an offset; sets `arena_bytes` and `live_bytes`. Buffers with an empty live range get offset 0.
pub fn place(plan: &mut Plan) -> Result<(), LowerError> {
    let live_bytes = live_bytes(&plan.buffers);
    let too_large = |bytes| LowerError::TooLarge { what: "activations", bytes, limit: LIMIT };
    if live_bytes > LIMIT {
        return Err(too_large(live_bytes));
    }
    let blocks: Vec<Block> = plan.buffers.iter().map(Block::of).collect();
    let best = search(&blocks, live_bytes);
    if best.height > LIMIT {
        return Err(too_large(best.height));
    }
    for (buffer, offset) in plan.buffers.iter_mut().zip(best.offsets) {
        buffer.offset = offset as u32;
    }
    plan.arena_bytes = best.height as u32;
    plan.live_bytes = live_bytes as u32;
    Ok(())
}

/// The largest sum of bytes live at one step; sizes are rounded up to alignments.
pub fn live_bytes(buffers: &[Buffer]) -> u64 {
    let end = buffers.iter().map(|b| b.live.end).max().unwrap_or(0);
    let mut change = vec![0i64; end + 1];
    for block in buffers.iter().map(Block::of).filter(|b| !b.live.is_empty()) {
        change[block.live.start] += block.bytes as i64;
        change[block.live.end] -= block.bytes as i64;
    }
    let sums = change.iter().scan(0, |sum, c| {
        *sum += c;
        Some(*sum)
    });
    sums.max().unwrap_or(0) as u64
}

/// A buffer as placement sees it.
struct Block {
    /// A multiple of `align`.
    bytes: u64,
    align: u64,
    live: Range<usize>,
}

impl Block {
    fn of(buffer: &Buffer) -> Block {
        let align = u64::from(buffer.align);
        Block { bytes: u64::from(buffer.bytes).next_multiple_of(align), align, live: buffer.live.clone() }
    }

    fn steps(&self) -> u64 {
        self.live.len() as u64
    }

    fn meets(&self, other: &Block) -> bool {
        self.live.start < other.live.end && other.live.start < self.live.end
    }
}

struct Placement {
    offsets: Vec<u64>,
    height: u64,
}

#[derive(Clone, Copy)]
enum Fit {
    /// The smallest gap that is large enough.
    Best,
    /// The lowest one.
    First,
}

fn search(blocks: &[Block], live_bytes: u64) -> Placement {
    let used: Vec<usize> = (0..blocks.len()).filter(|i| !blocks[*i].live.is_empty()).collect();
    let sorted = |key: fn(&Block) -> [u64; 3]| {
        let mut order = used.clone();
        order.sort_by_key(|i| (key(&blocks[*i]), *i));
        order
    };
    // A complement sorts downwards.
    let orders = [
        sorted(|b| [!b.bytes, !b.steps(), b.live.start as u64]),
        sorted(|b| [!(b.bytes * b.steps()), !b.bytes, b.live.start as u64]),
        sorted(|b| [b.live.start as u64, !b.bytes, b.live.end as u64]),
        by_crowded_steps(blocks, &used),
    ];
    let good = live_bytes.saturating_mul(GOOD_ENOUGH) / 100;
    let mut candidates: Vec<(Placement, Vec<usize>, Fit)> = vec![];
    for order in orders {
        for fit in [Fit::Best, Fit::First] {
            let placement = greedy(blocks, &order, fit);
            if placement.height <= good {
                return placement;
            }
            candidates.push((placement, order.clone(), fit));
        }
    }
    candidates.sort_by_key(|(placement, ..)| placement.height);
    let rounds = (MAX_PAIRS / (used.len() as u64).pow(2).max(1)).min(MAX_ROUNDS) / candidates.len() as u64;
    let improved = candidates.into_iter().map(|(placement, order, fit)| improve(blocks, placement, order, fit, rounds, good));
    improved.min_by_key(|p| p.height).expect("there are several orders")
}

/// Places what reaches highest first, again and again; the lowest placement found.
fn improve(blocks: &[Block], first: Placement, mut order: Vec<usize>, fit: Fit, rounds: u64, good: u64) -> Placement {
    let mut best = first;
    let mut offsets = best.offsets.clone();
    for _ in 0..rounds {
        if best.height <= good {
            break;
        }
        let reach = |at: &usize| offsets[order[*at]] + blocks[order[*at]].bytes;
        // `max_by_key` takes the last of equals: the one that was placed latest.
        let Some(highest) = (0..order.len()).max_by_key(reach) else { break };
        order[..=highest].rotate_right(1);
        let next = greedy(blocks, &order, fit);
        offsets.clone_from(&next.offsets);
        if next.height < best.height {
            best = next;
        }
    }
    best
}

/// The blocks of the step with the largest live sum by size, then those of the next step, and so on.
fn by_crowded_steps(blocks: &[Block], used: &[usize]) -> Vec<usize> {
    let end = used.iter().map(|i| blocks[*i].live.end).max().unwrap_or(0);
    let mut sums = vec![0u64; end];
    let mut at_step: Vec<Vec<usize>> = vec![vec![]; end];
    for i in used {
        for step in blocks[*i].live.clone() {
            sums[step] += blocks[*i].bytes;
            at_step[step].push(*i);
        }
    }
    let mut steps: Vec<usize> = (0..end).collect();
    steps.sort_by_key(|s| (Reverse(sums[*s]), *s));
    let mut taken = vec![false; blocks.len()];
    let mut order = vec![];
    for step in steps {
        let mut here: Vec<usize> = at_step[step].iter().copied().filter(|i| !std::mem::replace(&mut taken[*i], true)).collect();
        here.sort_by_key(|i| (Reverse(blocks[*i].bytes), *i));
        order.append(&mut here);
    }
    order
}

/// Places blocks in this order, each into a gap between those that it meets.
fn greedy(blocks: &[Block], order: &[usize], fit: Fit) -> Placement {
    let mut offsets = vec![0; blocks.len()];
    let mut height = 0u64;
    // What is placed, by offset.
    let mut placed: Vec<usize> = vec![];
    for &i in order {
        let block = &blocks[i];
        let mut chosen: Option<(u64, u64)> = None;
        let mut free = 0u64;
        for &j in placed.iter().filter(|j| blocks[**j].meets(block)) {
            let start = free.next_multiple_of(block.align);
            if start + block.bytes <= offsets[j] {
                let gap = offsets[j] - start;
                let better = match fit {
                    Fit::Best => chosen.is_none_or(|(_, smallest)| gap < smallest),
                    Fit::First => chosen.is_none(),
                };
                if better {
                    chosen = Some((start, gap));
                }
            }
            free = free.max(offsets[j] + blocks[j].bytes);
        }
        offsets[i] = chosen.map_or(free.next_multiple_of(block.align), |(start, _)| start);
        height = height.max(offsets[i] + block.bytes);
        let at = placed.partition_point(|j| offsets[*j] <= offsets[i]);
        placed.insert(at, i);
    }
    Placement { offsets, height }
}
