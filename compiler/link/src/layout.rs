//! Where everything lies in memory, and the records that the runtime walks. Addresses only; no wasm.
//!
//! ```text
//! 0 [stack, runtime data][step and argument records][weights][arena][pools …
//! ```
//! Weights and arena start on a cache line, or on the largest alignment that one of them asks for.

use crate::{LinkError, MAX_MEMORY_BYTES, MAX_WEIGHT_BYTES};
use abi::{ARG_BYTES, BRANCH_IF_SET, BRANCH_UNLESS_SET, StepRecord};
use lower::plan::{Arg, Branch, KernelId, Plan, Step};
use std::collections::HashMap;

/// A cache line.
const LINE: u64 = 64;

/// Alignment of the step records.
const RECORD_ALIGN: u64 = 16;

/// Granularity of a memory's size.
pub const PAGE: u64 = 64 * 1024;

/// Addresses and sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The array of step records, directly followed by the argument records.
    pub steps: u32,
    pub step_count: u32,
    pub weights_base: u32,
    pub weights_bytes: u32,
    /// Offset of each weight from `weights_base`.
    pub weight_offsets: Vec<u32>,
    pub arena_base: u32,
    pub heap_base: u32,
    pub initial_pages: u32,
    pub maximum_pages: u32,
    /// The table of kernels, the same in all variants.
    pub table: Table,
}

/// Numbers for kernels in the order of their first use. Variants of a plan differ in their kernels, and so in which of
/// them are equal: a number stands for one kernel of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Row of each step.
    pub of_step: Vec<u32>,
    /// Kernel of each row: of the plan, and of the relaxed plan.
    pub rows: Vec<[KernelId; 2]>,
}

impl Table {
    fn new(plan: &Plan, relaxed: &Plan) -> Table {
        let mut table = Table { of_step: vec![], rows: vec![] };
        let mut row_of = HashMap::new();
        for (step, other) in plan.steps.iter().zip(&relaxed.steps) {
            let kernels = [step.kernel, other.kernel];
            table.of_step.push(*row_of.entry(kernels).or_insert_with(|| {
                table.rows.push(kernels);
                table.rows.len() as u32 - 1
            }));
        }
        table
    }
}

impl Layout {
    /// Places everything above the runtime's own memory, which ends at `runtime_end`.
    pub fn new(plan: &Plan, relaxed: &Plan, runtime_end: u32, pool_mb: u32) -> Result<Layout, LinkError> {
        let steps = u64::from(runtime_end).next_multiple_of(RECORD_ALIGN);
        let args: usize = plan.steps.iter().map(|step| step.args.len()).sum();
        let records = plan.steps.len() as u64 * u64::from(StepRecord::BYTES) + args as u64 * u64::from(ARG_BYTES);

        let mut weights_bytes = 0u64;
        let mut weight_offsets = Vec::with_capacity(plan.weights.len());
        let mut weights_align = LINE;
        for weight in &plan.weights {
            let offset = weights_bytes.next_multiple_of(weight.align.into());
            weight_offsets.push(offset);
            weights_bytes = offset + weight.bytes.len() as u64;
            weights_align = weights_align.max(weight.align.into());
        }
        if weights_bytes >= MAX_WEIGHT_BYTES {
            return Err(LinkError::WeightsTooLarge { bytes: weights_bytes });
        }
        let weights_base = (steps + records).next_multiple_of(weights_align);

        let arena_align = plan.buffers.iter().map(|buffer| buffer.align.into()).fold(LINE, u64::max);
        let arena_base = (weights_base + weights_bytes).next_multiple_of(arena_align);
        let heap_base = (arena_base + u64::from(plan.arena_bytes)).next_multiple_of(LINE);
        if heap_base >= MAX_MEMORY_BYTES {
            return Err(LinkError::MemoryTooLarge { bytes: heap_base });
        }
        let maximum = (heap_base + (u64::from(pool_mb) << 20)).min(MAX_MEMORY_BYTES);

        Ok(Layout {
            steps: steps as u32,
            step_count: plan.steps.len() as u32,
            weights_base: weights_base as u32,
            weights_bytes: weights_bytes as u32,
            weight_offsets: weight_offsets.into_iter().map(|offset| offset as u32).collect(),
            arena_base: arena_base as u32,
            heap_base: heap_base as u32,
            initial_pages: heap_base.div_ceil(PAGE) as u32,
            maximum_pages: maximum.div_ceil(PAGE) as u32,
            table: Table::new(plan, relaxed),
        })
    }

    fn word(&self, plan: &Plan, arg: Arg) -> u32 {
        match arg {
            Arg::Buffer(id, offset) => plan.buffers[id.0].offset + offset,
            Arg::Weight(id, offset) => self.weights_base + self.weight_offsets[id.0] + offset,
            Arg::Scalar(value) => value as u32,
            // Written by the first step.
            Arg::Size(_) => 0,
            Arg::Records => self.steps,
        }
    }
}

/// Estimated nanoseconds on one thread below which a step is not shared. Sharing costs about 1 µs while the workers
/// spin and 50 µs when they must be woken; a step of 20 µs gains at least half of what two threads could.
const WORTH_SHARING_NS: u64 = 20_000;

/// 1 if the step has several tasks, in any order, and enough to do: 25 multiply-accumulates or 20 bytes take about a nanosecond.
fn parallel(plan: &Plan, step: &Step) -> u32 {
    let bytes: u64 = step.reads.iter().chain(&step.writes).map(|id| u64::from(plan.buffers[id.0].bytes)).sum();
    u32::from(step.tasks > 1 && !step.sequential && (step.macs / 25).max(bytes / 20) >= WORTH_SHARING_NS)
}

/// The step records, then the argument records, as they lie at [`Layout::steps`].
pub fn records(plan: &Plan, layout: &Layout) -> Vec<u8> {
    let mut steps = Vec::new();
    let mut args = Vec::new();
    let first_args = layout.steps + layout.step_count * StepRecord::BYTES;
    for (step, kernel) in plan.steps.iter().zip(&layout.table.of_step) {
        let args_at = first_args + args.len() as u32;
        let (branch, target) = match step.branch {
            None => (0, 0),
            Some(Branch { when, target }) => (if when { BRANCH_IF_SET } else { BRANCH_UNLESS_SET }, target as u32),
        };
        let record = StepRecord { kernel: *kernel, args: args_at, tasks: step.tasks, parallel: parallel(plan, step), branch, target };
        for word in [record.kernel, record.args, record.tasks, record.parallel, record.branch, record.target] {
            steps.extend(word.to_le_bytes());
        }
        for arg in &step.args {
            args.extend(layout.word(plan, *arg).to_le_bytes());
        }
    }
    steps.extend(args);
    steps
}
