//! Where everything lies in memory, and the records that the runtime walks. Addresses only; no wasm.
//!
//! ```text
//! 0 [stack, runtime data][step and argument records][weights][arena][pools …
//! ```
//! Weights and arena start on a cache line, or on the largest alignment that one of them asks for.

use crate::{LinkError, MAX_MEMORY_BYTES, MAX_WEIGHT_BYTES};
use abi::{ARG_BYTES, StepRecord};
use lower::plan::{Arg, Plan};

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
    /// Number in the module's table of each kernel; `None` for a kernel that no step calls.
    pub table: Vec<Option<u32>>,
}

impl Layout {
    /// Places everything above the runtime's own memory, which ends at `runtime_end`.
    pub fn new(plan: &Plan, runtime_end: u32, pool_mb: u32) -> Result<Layout, LinkError> {
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
            table: table(plan),
        })
    }

    fn word(&self, plan: &Plan, arg: Arg) -> u32 {
        match arg {
            Arg::Buffer(id, offset) => plan.buffers[id.0].offset + offset,
            Arg::Weight(id, offset) => self.weights_base + self.weight_offsets[id.0] + offset,
            Arg::Scalar(value) => value as u32,
        }
    }
}

/// Numbers the kernels in the order of their first use.
fn table(plan: &Plan) -> Vec<Option<u32>> {
    let mut table = vec![None; plan.kernels.len()];
    let mut next = 0;
    for step in &plan.steps {
        table[step.kernel.0].get_or_insert_with(|| {
            next += 1;
            next - 1
        });
    }
    table
}

/// The step records, then the argument records, as they lie at [`Layout::steps`].
pub fn records(plan: &Plan, layout: &Layout) -> Vec<u8> {
    let mut steps = Vec::new();
    let mut args = Vec::new();
    let first_args = layout.steps + layout.step_count * StepRecord::BYTES;
    for step in &plan.steps {
        let kernel = layout.table[step.kernel.0].expect("a kernel that a step calls is in the table");
        let record = StepRecord { kernel, args: first_args + args.len() as u32, tasks: step.tasks };
        for word in [record.kernel, record.args, record.tasks] {
            steps.extend(word.to_le_bytes());
        }
        for arg in &step.args {
            args.extend(layout.word(plan, *arg).to_le_bytes());
        }
    }
    steps.extend(args);
    steps
}
