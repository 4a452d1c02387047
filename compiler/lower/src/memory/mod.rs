//! Memory planning: lifetimes from the steps, placement in one arena, and an independent check of the result. It knows
//! bytes and steps; what a buffer holds is not its business.

mod check;
mod place;
#[cfg(test)]
mod tests;

pub use check::{Access, MemoryFault, check};
pub use place::{live_bytes, place};

use crate::plan::{BufferId, Plan};

/// Sets every buffer's live range: from the first step that touches it, or 0 for a model input, to the last one, or the
/// end for a model output. A buffer that nothing touches gets an empty range.
pub fn set_lifetimes(plan: &mut Plan) {
    let mut first = vec![usize::MAX; plan.buffers.len()];
    let mut end = vec![0; plan.buffers.len()];
    let mut touch = |buffer: BufferId, from: usize, to: usize| {
        first[buffer.0] = first[buffer.0].min(from);
        end[buffer.0] = end[buffer.0].max(to);
    };
    for (i, step) in plan.steps.iter().enumerate() {
        step.reads.iter().chain(&step.writes).for_each(|buffer| touch(*buffer, i, i + 1));
    }
    plan.inputs.iter().for_each(|port| touch(port.buffer, 0, 1));
    for port in &plan.outputs {
        // An output that no step touches is an input that is passed through, and lives from 0 on.
        let last = plan.steps.len().saturating_sub(1);
        touch(port.buffer, last, last + 1);
    }
    let is_output = |buffer: usize| plan.outputs.iter().any(|port| port.buffer.0 == buffer);
    let outputs: Vec<bool> = (0..plan.buffers.len()).map(is_output).collect();
    around_loops(plan, &mut first, &mut end, &outputs);
    let steps = plan.steps.len();
    for (buffer, (first, end)) in plan.buffers.iter_mut().zip(first.into_iter().zip(end)) {
        buffer.live = if buffer.persistent { 0..steps } else { first.min(end)..end };
    }
}

/// What is used within a loop and outside of it lives through all of the loop: another iteration may follow.
fn around_loops(plan: &Plan, first: &mut [usize], end: &mut [usize], outputs: &[bool]) {
    let back = |(i, step): (usize, &crate::plan::Step)| step.branch.filter(|b| b.target <= i).map(|b| (b.target, i + 1));
    let loops: Vec<(usize, usize)> = plan.steps.iter().enumerate().filter_map(back).collect();
    loop {
        let mut changed = false;
        for (start, stop) in &loops {
            for buffer in 0..first.len() {
                let (from, to) = (first[buffer], if outputs[buffer] { usize::MAX } else { end[buffer] });
                let meets = from < *stop && to > *start;
                if meets && (from < *start || to > *stop) && (from > *start || end[buffer] < *stop) {
                    first[buffer] = from.min(*start);
                    end[buffer] = end[buffer].max(*stop);
                    changed = true;
                }
            }
        }
        if !changed {
            return;
        }
    }
}
