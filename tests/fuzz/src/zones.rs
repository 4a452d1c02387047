//! Poisoned red zones: the buffers of a plan are placed apart, and what lies between them must stay as it was.

use ir::Tensor;
use lower::Plan;
use wasm_torch::{Instance, NamedTensor};

/// What red zones are full of: no small number, no NaN, no address.
const POISON: u8 = 0xa5;

/// Places every buffer by itself, with `zone` bytes before, between and behind: buffers that shared their bytes one after the other
/// share none.
pub fn spread(plan: &mut Plan, zone: u32) {
    let mut at = zone;
    for buffer in &mut plan.buffers {
        buffer.offset = at.next_multiple_of(buffer.align);
        at = buffer.offset + buffer.bytes + zone;
    }
    plan.arena_bytes = at.next_multiple_of(64);
}

/// The parts of the arena that belong to no buffer.
fn zones(plan: &Plan) -> Vec<std::ops::Range<u32>> {
    let mut zones = vec![];
    let mut at = 0;
    for buffer in &plan.buffers {
        zones.push(at..buffer.offset);
        at = buffer.offset + buffer.bytes;
    }
    zones.push(at..plan.arena_bytes);
    zones
}

/// What a run with red zones gave: the outputs, or the error of the run.
pub type Outcome = Result<Vec<Tensor>, wasm_torch::engine::EngineError>;

/// Runs a module of a plan that was [`spread`] on each list of inputs.
///
/// # Errors
/// When a red zone or the weights changed: in which run, beside which buffer.
pub fn run(plan: &Plan, instance: &mut Instance, runs: &[Vec<NamedTensor>]) -> Result<Vec<Outcome>, String> {
    let zones = zones(plan);
    for zone in &zones {
        instance.write_arena(zone.start, &vec![POISON; zone.len()]).ok_or("the arena lies outside of the memory")?;
    }
    let weights = instance.read_weights();
    let mut outcomes = vec![];
    for (r, inputs) in runs.iter().enumerate() {
        outcomes.push(instance.forward(inputs).map(|outputs| outputs.into_iter().map(|named| named.tensor).collect()));
        for zone in &zones {
            let bytes = instance.read_arena(zone.start, zone.len()).ok_or("the arena lies outside of the memory")?;
            if let Some(i) = bytes.iter().position(|b| *b != POISON) {
                let at = zone.start + i as u32;
                let before = plan.buffers.iter().rev().find(|b| b.offset <= at).map_or("the arena's start", |b| &b.name);
                let after = plan.buffers.iter().find(|b| b.offset > at).map_or("the arena's end", |b| &b.name);
                return Err(format!("red zone: run {r} wrote byte {at} of the arena, between `{before}` and `{after}`"));
            }
        }
        if instance.read_weights() != weights {
            return Err(format!("red zone: run {r} changed the weights"));
        }
    }
    Ok(outcomes)
}
