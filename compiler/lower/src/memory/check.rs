//! An independent check of a plan's memory; it shares no code with placement and trusts no live range.
//!
//! Checked, structure:
//! - every id names a buffer, weight or kernel; arguments agree with the kernel's parameters in number and kind;
//! - an argument points into its buffer (or to its end) or weight, and every buffer among the arguments is declared as
//!   read or written; ports lie in their buffers;
//! - buffers that are used are aligned, lie inside the arena, and all their uses fall in their live range.
//!
//! Checked, by replaying the steps on a map from every byte to the buffer that wrote it last. Where branches meet, a byte
//! keeps an owner that it has on all ways there; a loop is replayed until nothing changes at its start:
//! - model inputs are written before the first step, none over another;
//! - a step reads only buffers that were written, all of whose bytes are still theirs; nothing writes those without bytes;
//! - a buffer that is written again (a margin first, then the inside) has kept its bytes until then;
//! - a step writes over nothing that it reads or writes as another buffer;
//! - model outputs are intact after the last step;
//! - a branch has a flag, and a target among the steps.

use std::collections::BTreeMap;
use std::ops::Range;

use kernel::ParamKind;

use crate::plan::{Arg, BufferId, Plan, Port, Step};

/// How a buffer is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Access::Read => "reads",
            Access::Write => "writes",
        })
    }
}

/// What is wrong with a plan's memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryFault {
    #[error("{place}: {what} {id} does not exist")]
    Missing { place: String, what: &'static str, id: usize },
    #[error("step {step}: argument {arg} does not fit the kernel's parameters")]
    Argument { step: usize, arg: usize },
    #[error("step {step}: argument {arg} points {offset} bytes into {what}, which has {bytes}")]
    Outside { step: usize, arg: usize, what: String, offset: u32, bytes: u64 },
    #[error("step {step}: buffer `{buffer}` is an argument, but neither read nor written")]
    Undeclared { step: usize, buffer: String },
    #[error("port `{port}`: {end} bytes do not fit in buffer `{buffer}` of {bytes}")]
    Port { port: String, buffer: String, end: u64, bytes: u32 },
    #[error("buffer `{buffer}` at {offset} is not aligned to {align}")]
    Unaligned { buffer: String, offset: u32, align: u32 },
    #[error("buffer `{buffer}` ends at {end}, outside the arena of {arena} bytes")]
    OutsideArena { buffer: String, end: u64, arena: u32 },
    #[error("{place} {access} buffer `{buffer}` outside its live range")]
    Dead { place: String, access: Access, buffer: String },
    #[error("{place} {access} buffer `{buffer}`, which nothing wrote before")]
    Unwritten { place: String, access: Access, buffer: String },
    #[error("{place} {access} buffer `{buffer}`, but `{by}` overwrote a part of it")]
    Overwritten { place: String, access: Access, buffer: String, by: String },
    #[error("step {step}: the branch has no flag, or no target among the steps")]
    Branch { step: usize },
    #[error("{place} writes buffer `{buffer}` over `{other}`, which it uses too")]
    Overlap { place: String, buffer: String, other: String },
}

/// Checks everything that the header of this file lists.
pub fn check(plan: &Plan) -> Result<(), MemoryFault> {
    for (i, step) in plan.steps.iter().enumerate() {
        arguments(plan, i, step)?;
    }
    for port in plan.inputs.iter().chain(&plan.outputs) {
        self::port(plan, port)?;
    }
    for (i, step) in plan.steps.iter().enumerate() {
        let flag =
            matches!(step.args.first(), Some(Arg::Buffer(id, offset)) if *offset < plan.buffers[id.0].bytes && step.reads.contains(id));
        if step.branch.is_some_and(|branch| !flag || branch.target > plan.steps.len()) {
            return Err(MemoryFault::Branch { step: i });
        }
    }
    let mut replay = Replay { plan, state: State { owners: Owners::default(), written: vec![false; plan.buffers.len()] } };
    for (i, port) in plan.inputs.iter().enumerate() {
        let place = format!("input `{}`", port.name);
        let earlier: Vec<BufferId> = plan.inputs[..i].iter().map(|p| p.buffer).collect();
        replay.apart(&place, port.buffer, &earlier)?;
        replay.live(&place, Access::Write, port.buffer, 0)?;
        replay.write(port.buffer);
    }
    for (id, buffer) in plan.buffers.iter().enumerate().filter(|(_, b)| b.persistent) {
        let place = format!("persistent buffer `{}`", buffer.name);
        let inputs: Vec<BufferId> = plan.inputs.iter().map(|p| p.buffer).collect();
        replay.apart(&place, BufferId(id), &inputs)?;
        replay.write(BufferId(id));
    }
    replay.steps()?;
    // What persists must still be there when the next run starts.
    for (id, buffer) in plan.buffers.iter().enumerate().filter(|(_, b)| b.persistent) {
        replay.intact(&format!("persistent buffer `{}`", buffer.name), Access::Read, BufferId(id))?;
    }
    // An empty output has nothing to be written.
    for port in plan.outputs.iter().filter(|p| p.bytes > 0) {
        let place = format!("output `{}`", port.name);
        replay.live(&place, Access::Read, port.buffer, plan.steps.len().saturating_sub(1))?;
        replay.intact(&place, Access::Read, port.buffer)?;
    }
    Ok(())
}

fn exists(place: &str, what: &'static str, id: usize, len: usize) -> Result<(), MemoryFault> {
    if id < len { Ok(()) } else { Err(MemoryFault::Missing { place: place.into(), what, id }) }
}

fn arguments(plan: &Plan, i: usize, step: &Step) -> Result<(), MemoryFault> {
    let place = format!("step {i}");
    exists(&place, "kernel", step.kernel.0, plan.kernels.len())?;
    for buffer in step.reads.iter().chain(&step.writes) {
        exists(&place, "buffer", buffer.0, plan.buffers.len())?;
    }
    let params = &plan.kernels[step.kernel.0].params;
    if params.len() != step.args.len() {
        return Err(MemoryFault::Argument { step: i, arg: params.len().min(step.args.len()) });
    }
    for (at, (arg, param)) in step.args.iter().zip(params).enumerate() {
        let outside = |what: String, offset, bytes| MemoryFault::Outside { step: i, arg: at, what, offset, bytes };
        match (*arg, param.kind) {
            (Arg::Buffer(id, offset), ParamKind::Arena) => {
                exists(&place, "buffer", id.0, plan.buffers.len())?;
                let buffer = &plan.buffers[id.0];
                if offset > buffer.bytes {
                    return Err(outside(format!("buffer `{}`", buffer.name), offset, buffer.bytes.into()));
                }
                if !step.reads.contains(&id) && !step.writes.contains(&id) {
                    return Err(MemoryFault::Undeclared { step: i, buffer: buffer.name.clone() });
                }
            }
            (Arg::Weight(id, offset), ParamKind::Weights) => {
                exists(&place, "weight", id.0, plan.weights.len())?;
                let weight = &plan.weights[id.0];
                if offset as usize > weight.bytes.len() {
                    return Err(outside(format!("weight `{}`", weight.name), offset, weight.bytes.len() as u64));
                }
            }
            (Arg::Size(id), ParamKind::Scalar) => exists(&place, "size", id.0, plan.free.sizes.len())?,
            (Arg::Scalar(_), ParamKind::Scalar) | (Arg::Records, ParamKind::Weights) => {}
            _ => return Err(MemoryFault::Argument { step: i, arg: at }),
        }
    }
    Ok(())
}

fn port(plan: &Plan, port: &Port) -> Result<(), MemoryFault> {
    exists(&format!("port `{}`", port.name), "buffer", port.buffer.0, plan.buffers.len())?;
    let buffer = &plan.buffers[port.buffer.0];
    let end = u64::from(port.offset) + u64::from(port.bytes);
    if end > u64::from(buffer.bytes) {
        return Err(MemoryFault::Port { port: port.name.clone(), buffer: buffer.name.clone(), end, bytes: buffer.bytes });
    }
    Ok(())
}

struct Replay<'p> {
    plan: &'p Plan,
    state: State,
}

/// What is known before a step, whichever way led there.
#[derive(Clone, PartialEq)]
struct State {
    owners: Owners,
    written: Vec<bool>,
}

impl State {
    /// What is known on both ways.
    fn join(&mut self, other: &State) {
        self.owners = self.owners.common(&other.owners);
        self.written.iter_mut().zip(&other.written).for_each(|(a, b)| *a &= b);
    }
}

impl Replay<'_> {
    /// All steps, on all ways, until what is known at every target of a branch changes no more.
    fn steps(&mut self) -> Result<(), MemoryFault> {
        let start = self.state.clone();
        let mut at_target: BTreeMap<usize, State> = BTreeMap::new();
        loop {
            let mut again = false;
            self.state = start.clone();
            for i in 0..=self.plan.steps.len() {
                if let Some(jumped) = at_target.get(&i) {
                    self.state.join(jumped);
                }
                let Some(step) = self.plan.steps.get(i) else { break };
                self.step(i, step)?;
                if let Some(branch) = step.branch {
                    let mut state = self.state.clone();
                    if branch.target <= i {
                        self.forget(&mut state, branch.target..i + 1);
                    }
                    if let Some(before) = at_target.get(&branch.target) {
                        state.join(before);
                    }
                    if at_target.get(&branch.target) != Some(&state) {
                        at_target.insert(branch.target, state);
                        again |= branch.target <= i;
                    }
                }
            }
            if !again {
                return Ok(());
            }
        }
    }

    /// What lives within a loop only is not there when the next iteration starts.
    fn forget(&self, state: &mut State, steps: Range<usize>) {
        for (buffer, written) in self.plan.buffers.iter().zip(&mut state.written) {
            *written &= buffer.live.start < steps.start || buffer.live.end > steps.end;
        }
    }

    fn step(&mut self, i: usize, step: &Step) -> Result<(), MemoryFault> {
        let place = format!("step {i}");
        for &buffer in &step.reads {
            self.live(&place, Access::Read, buffer, i)?;
            self.intact(&place, Access::Read, buffer)?;
        }
        for (at, &buffer) in step.writes.iter().enumerate() {
            self.live(&place, Access::Write, buffer, i)?;
            self.apart(&place, buffer, &step.reads)?;
            self.apart(&place, buffer, &step.writes[..at])?;
            if self.state.written[buffer.0] {
                self.intact(&place, Access::Write, buffer)?;
            }
        }
        step.writes.iter().for_each(|buffer| self.write(*buffer));
        Ok(())
    }

    /// The buffer lies in the arena and may be used at this step.
    fn live(&self, place: &str, access: Access, id: BufferId, step: usize) -> Result<(), MemoryFault> {
        let b = &self.plan.buffers[id.0];
        let buffer = b.name.clone();
        if !b.align.is_power_of_two() || !b.offset.is_multiple_of(b.align) {
            return Err(MemoryFault::Unaligned { buffer, offset: b.offset, align: b.align });
        }
        let end = self.bytes(id).end;
        if end > u64::from(self.plan.arena_bytes) {
            return Err(MemoryFault::OutsideArena { buffer, end, arena: self.plan.arena_bytes });
        }
        if !b.live.contains(&step) {
            return Err(MemoryFault::Dead { place: place.into(), access, buffer });
        }
        Ok(())
    }

    /// Every byte of the buffer was written as this buffer's. One without bytes has none that could be missing.
    fn intact(&self, place: &str, access: Access, id: BufferId) -> Result<(), MemoryFault> {
        let buffer = self.name(id);
        if self.bytes(id).is_empty() {
            return Ok(());
        }
        if !self.state.written[id.0] {
            return Err(MemoryFault::Unwritten { place: place.into(), access, buffer });
        }
        match self.state.owners.intruder(self.bytes(id), id) {
            Some(by) => Err(MemoryFault::Overwritten { place: place.into(), access, buffer, by: self.name(by) }),
            None => Ok(()),
        }
    }

    /// The buffer shares no byte with the others.
    fn apart(&self, place: &str, id: BufferId, others: &[BufferId]) -> Result<(), MemoryFault> {
        let bytes = self.bytes(id);
        for other in others.iter().filter(|other| **other != id) {
            let theirs = self.bytes(*other);
            if bytes.start < theirs.end && theirs.start < bytes.end {
                return Err(MemoryFault::Overlap { place: place.into(), buffer: self.name(id), other: self.name(*other) });
            }
        }
        Ok(())
    }

    fn write(&mut self, id: BufferId) {
        if !self.bytes(id).is_empty() {
            self.state.owners.claim(self.bytes(id), id);
        }
        self.state.written[id.0] = true;
    }

    fn bytes(&self, id: BufferId) -> Range<u64> {
        let buffer = &self.plan.buffers[id.0];
        u64::from(buffer.offset)..u64::from(buffer.offset) + u64::from(buffer.bytes)
    }

    fn name(&self, id: BufferId) -> String {
        self.plan.buffers.get(id.0).map_or_else(|| "something else on another way".into(), |buffer| buffer.name.clone())
    }
}

/// Who wrote each byte last: disjoint intervals by their start.
#[derive(Default, Clone, PartialEq)]
struct Owners {
    intervals: BTreeMap<u64, (u64, BufferId)>,
}

/// The owner of bytes that have different ones on different ways.
const NOBODY: BufferId = BufferId(usize::MAX);

impl Owners {
    /// The owners that both agree on, with as few intervals as possible.
    fn common(&self, other: &Owners) -> Owners {
        let ends = |owners: &Owners| owners.intervals.iter().flat_map(|(start, (end, _))| [*start, *end]).collect::<Vec<u64>>();
        let mut cuts = [ends(self), ends(other)].concat();
        cuts.sort_unstable();
        cuts.dedup();
        let mut common = Owners::default();
        let mut last: Option<(u64, u64, BufferId)> = None;
        for pair in cuts.windows(2) {
            let owner = match (self.owner(pair[0]), other.owner(pair[0])) {
                (None, None) => None,
                (a, b) if a == b => a,
                _ => Some(NOBODY),
            };
            match (&mut last, owner) {
                (Some((_, end, same)), Some(owner)) if *end == pair[0] && *same == owner => *end = pair[1],
                (_, Some(owner)) => common.intervals.extend(last.replace((pair[0], pair[1], owner)).map(|(s, e, o)| (s, (e, o)))),
                (_, None) => {}
            }
        }
        common.intervals.extend(last.map(|(s, e, o)| (s, (e, o))));
        common
    }

    fn owner(&self, byte: u64) -> Option<BufferId> {
        self.intervals.range(..=byte).next_back().filter(|(_, (end, _))| *end > byte).map(|(_, (_, owner))| *owner)
    }

    fn claim(&mut self, bytes: Range<u64>, owner: BufferId) {
        self.split(bytes.start);
        self.split(bytes.end);
        let inside: Vec<u64> = self.intervals.range(bytes.clone()).map(|(start, _)| *start).collect();
        inside.iter().for_each(|start| {
            self.intervals.remove(start);
        });
        self.intervals.insert(bytes.start, (bytes.end, owner));
    }

    /// Makes `at` a border between intervals.
    fn split(&mut self, at: u64) {
        let Some((start, (end, owner))) = self.intervals.range(..at).next_back().map(|(s, v)| (*s, *v)) else { return };
        if end > at {
            self.intervals.insert(start, (at, owner));
            self.intervals.insert(at, (end, owner));
        }
    }

    /// Another owner of some of these bytes.
    fn intruder(&self, bytes: Range<u64>, owner: BufferId) -> Option<BufferId> {
        let before = self.intervals.range(..bytes.start).next_back().filter(|(_, (end, _))| *end > bytes.start);
        let inside = self.intervals.range(bytes.clone());
        before.into_iter().chain(inside).map(|(_, (_, o))| *o).find(|o| *o != owner)
    }
}
