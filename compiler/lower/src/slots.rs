//! Results that are computed where a concatenation behind them wants them: a *slot* of its buffer. What lies in its slot is not
//! copied. Which values get one is decided here, before anything is lowered; writers see a view with gaps, as of a margin.
//!
//! A concatenation of neighbours among the operands of a later one (dense blocks) is a slot itself, and a part of that one's buffer.

use crate::alias::Aliases;
use crate::view::View;
use ir::ops::Op;
use ir::{Algorithm, Graph, NodeId, Symbols, ValueId};
use std::collections::{HashMap, HashSet};

/// Elements of the shortest run that its producer writes: shorter ones are cheaper to copy.
const SHORTEST_RUN: usize = 8;

/// A part of a concatenation's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub whole: ValueId,
    pub axis: usize,
    /// Elements of the axis before it.
    pub start: usize,
}

impl Slot {
    /// Where the elements of a view of `like`'s sizes are within the whole.
    pub fn within(&self, whole: &View, like: &View) -> View {
        let offset = whole.offset + self.start as i64 * whole.strides[self.axis];
        View { shape: like.shape.clone(), free: like.free.clone(), offset, ..whole.clone() }
    }
}

/// The values that have a slot.
pub type Slots = HashMap<ValueId, Slot>;

/// A concatenation: its operands, and where each one starts.
struct Joined<'g> {
    output: ValueId,
    operands: &'g [ValueId],
    axis: usize,
    starts: Vec<usize>,
}

impl<'g> Joined<'g> {
    /// One of several operands whose sizes along the axis are known.
    fn of(graph: &'g Graph, id: NodeId) -> Option<Joined<'g>> {
        let node = graph.node(id);
        let Op::Concat(concat) = &node.op else { return None };
        let axis = concat.axis as usize;
        let mut starts = vec![];
        let mut end = 0;
        for operand in &node.inputs {
            starts.push(end);
            end += graph.ty(*operand).shape[axis].as_const()? as usize;
        }
        (node.inputs.len() > 1).then_some(Joined { output: node.outputs[0], operands: &node.inputs, axis, starts })
    }

    /// The slot of `other`'s result, if its operands are neighbours among these.
    fn slot_of(&self, other: &Joined) -> Option<Slot> {
        let at = self.operands.windows(other.operands.len()).position(|operands| operands == other.operands)?;
        (self.axis == other.axis).then(|| Slot { whole: self.output, axis: self.axis, start: self.starts[at] })
    }
}

/// Chooses the values that get a slot: computed by a node that can write with gaps, read by nodes that can read with gaps, not
/// laid out in another way for somebody else; and no slot that waits for its neighbours may make the arena larger.
pub fn slots(graph: &Graph, symbols: &Symbols, order: &[NodeId], algorithms: &HashMap<NodeId, Algorithm>, aliases: &Aliases) -> Slots {
    let mut slots = Slots::new();
    let all: Vec<Joined> = order.iter().rev().filter_map(|id| Joined::of(graph, *id)).collect();
    if all.is_empty() {
        return slots;
    }
    let memory = Memory::new(graph, symbols, order, algorithms);
    let allowed = memory.peak(&slots);
    let can = Can { graph, algorithms, aliases, readers: readers(graph, order) };
    let mut parts: HashSet<ValueId> = HashSet::new();
    // A later concatenation comes first, so that it holds the earlier ones.
    for (at, joined) in all.iter().enumerate() {
        if parts.contains(&joined.output) {
            continue;
        }
        let is_once = |value: &ValueId| joined.operands.iter().filter(|other| *other == value).count() == 1;
        let has_run = |value: ValueId| {
            let run = graph.ty(value).shape[joined.axis..].iter().try_fold(1, |n, size| Some(n * size.as_const()? as usize));
            run.is_none_or(|elements| elements >= SHORTEST_RUN)
        };
        let fits = |value: &ValueId| {
            !slots.contains_key(value) && is_once(value) && has_run(*value) && can.be_written(*value) && can.be_read(*value)
        };
        let mut chosen: Vec<usize> = (0..joined.operands.len()).filter(|i| fits(&joined.operands[*i])).collect();
        // What is computed long before its neighbours is given up first.
        chosen.sort_by_key(|i| std::cmp::Reverse(memory.first(joined.operands[*i])));
        loop {
            let slot = |i: &usize| (joined.operands[*i], Slot { whole: joined.output, axis: joined.axis, start: joined.starts[*i] });
            let mut more: Slots = chosen.iter().map(slot).collect();
            for part in &all[at + 1..] {
                if let Some(slot) = joined.slot_of(part)
                    && part.operands.iter().all(|operand| more.contains_key(operand))
                    && !slots.contains_key(&part.output)
                    && can.be_read(part.output)
                {
                    more.insert(part.output, slot);
                }
            }
            slots.extend(&more);
            if memory.peak(&slots) <= allowed {
                parts.extend(
                    all[at + 1..].iter().map(|part| part.output).filter(|part| more.contains_key(part) && !joined.operands.contains(part)),
                );
                break;
            }
            slots.retain(|value, _| !more.contains_key(value));
            chosen.pop();
        }
    }
    slots
}

fn readers(graph: &Graph, order: &[NodeId]) -> HashMap<ValueId, Vec<NodeId>> {
    let mut readers: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
    for id in order {
        graph.node(*id).inputs.iter().for_each(|value| readers.entry(*value).or_default().push(*id));
    }
    readers
}

/// Which values can lie with gaps.
struct Can<'a> {
    graph: &'a Graph,
    algorithms: &'a HashMap<NodeId, Algorithm>,
    aliases: &'a Aliases,
    readers: HashMap<ValueId, Vec<NodeId>>,
}

impl Can<'_> {
    fn be_read(&self, value: ValueId) -> bool {
        let readers = self.readers.get(&value).map_or(&[][..], Vec::as_slice);
        let moves_on = |id: &NodeId| matches!(self.algorithms[id], Algorithm::View | Algorithm::Routine(_) | Algorithm::Control);
        !readers.iter().any(moves_on) && self.aliases.reads_runs_of(self.graph, value)
    }

    fn be_written(&self, value: ValueId) -> bool {
        let Some(id) = self.graph.producer(value) else { return false };
        self.graph.node(id).outputs.len() == 1
            && matches!(
                self.algorithms[&id],
                Algorithm::Map(_)
                    | Algorithm::Contract(_)
                    | Algorithm::Window(_)
                    | Algorithm::Reduce(_)
                    | Algorithm::Shuffle(_)
                    | Algorithm::Gather(_)
            )
    }
}

/// An estimate of the arena: what lives when, if every value but views and what has a slot has a buffer.
struct Memory {
    number: HashMap<ValueId, usize>,
    /// By number: bytes, first and last step, what it is a view of.
    values: Vec<(u64, usize, usize, Option<usize>)>,
    steps: usize,
}

impl Memory {
    fn new(graph: &Graph, symbols: &Symbols, order: &[NodeId], algorithms: &HashMap<NodeId, Algorithm>) -> Memory {
        let mut memory = Memory { number: HashMap::new(), values: vec![], steps: order.len() };
        graph.inputs.iter().for_each(|value| memory.add(graph, symbols, *value, 0, None));
        for (at, id) in order.iter().enumerate() {
            let node = graph.node(*id);
            for value in &node.inputs {
                if let Some(number) = memory.number.get(value) {
                    memory.values[*number].2 = at;
                }
            }
            let of = matches!(algorithms[id], Algorithm::View).then(|| memory.number.get(&node.inputs[0]).copied()).flatten();
            node.outputs.iter().for_each(|value| memory.add(graph, symbols, *value, at, of));
        }
        for output in &graph.outputs {
            if let Some(number) = memory.number.get(&output.value) {
                memory.values[*number].2 = order.len();
            }
        }
        memory
    }

    fn add(&mut self, graph: &Graph, symbols: &Symbols, value: ValueId, at: usize, of: Option<usize>) {
        let ty = graph.ty(value);
        let sizes = ty.shape.iter().map(|dim| dim.range(symbols).1.unwrap_or(0).max(0) as u64);
        let bytes = sizes.fold(ty.dtype.bytes() as u64, u64::saturating_mul);
        self.number.insert(value, self.values.len());
        self.values.push((bytes, at, at, of));
    }

    fn first(&self, value: ValueId) -> usize {
        self.number.get(&value).map_or(0, |number| self.values[*number].1)
    }

    /// The largest sum of bytes that live at one step.
    fn peak(&self, slots: &Slots) -> u64 {
        let mut holder: Vec<Option<usize>> = self.values.iter().map(|value| value.3).collect();
        for (value, slot) in slots {
            holder[self.number[value]] = Some(self.number[&slot.whole]);
        }
        let mut live: Vec<(usize, usize)> = self.values.iter().map(|value| (value.1, value.2)).collect();
        for (number, value) in self.values.iter().enumerate() {
            let mut at = number;
            while let Some(next) = holder[at] {
                at = next;
            }
            live[at] = (live[at].0.min(value.1), live[at].1.max(value.2));
        }
        let mut change = vec![0i128; self.steps + 2];
        for (number, (first, last)) in live.into_iter().enumerate().filter(|(number, _)| holder[*number].is_none()) {
            change[first] += i128::from(self.values[number].0);
            change[last + 1] -= i128::from(self.values[number].0);
        }
        let sums = change.iter().scan(0, |sum, by| {
            *sum += by;
            Some(*sum)
        });
        sums.max().unwrap_or(0) as u64
    }
}
