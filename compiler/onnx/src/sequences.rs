//! Sequences and optional values: lists of graph values that the import keeps track of. None is left in the graph.

use crate::control::Structured;
use crate::error::{Fault, invalid, unsupported};
use crate::import::{Importer, NODE_LIMIT, Slot};
use ir::{B8, Dim, Tensor, ValueId};

impl<'m> Importer<'m> {
    fn new_sequence(&mut self, elements: Vec<ValueId>) -> Slot<'m> {
        self.sequences.push(elements);
        Slot::Sequence(self.sequences.len() - 1)
    }

    fn elements(&self, s: &Structured<'_, 'm>, i: usize) -> Result<Vec<ValueId>, Fault> {
        match s.inputs.get(i) {
            Some(Slot::Sequence(n)) => Ok(self.sequences[*n].clone()),
            _ => invalid!("input {} must be a sequence", i + 1),
        }
    }

    /// A position that may count from the end, in `0..limit`.
    fn position(&self, s: &Structured<'_, 'm>, i: usize, length: usize, limit: usize) -> Result<usize, Fault> {
        let v = s.value(i)?;
        let position = self.known(v).ok_or_else(|| Fault::run_time("position in a sequence"))? as i64;
        let from_start = if position < 0 { position + length as i64 } else { position };
        match usize::try_from(from_start) {
            Ok(p) if p < limit => Ok(p),
            _ => invalid!("position {position} lies outside of a sequence of {length} elements"),
        }
    }

    /// Operators on sequences and optionals, by name.
    pub(crate) fn sequence(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        let result = match s.node.op_type() {
            "SequenceConstruct" => {
                let elements = (0..s.inputs.len()).map(|i| s.value(i)).collect::<Result<Vec<_>, _>>()?;
                self.new_sequence(elements)
            }
            "SequenceEmpty" => self.new_sequence(vec![]),
            "SequenceAt" => {
                let elements = self.elements(s, 0)?;
                Slot::Value(elements[self.position(s, 1, elements.len(), elements.len())?])
            }
            "SequenceInsert" => {
                let (mut elements, new) = (self.elements(s, 0)?, s.value(1)?);
                let at = match s.inputs.get(2) {
                    Some(Slot::Value(_)) => self.position(s, 2, elements.len(), elements.len() + 1)?,
                    _ => elements.len(),
                };
                elements.insert(at, new);
                self.new_sequence(elements)
            }
            "SequenceErase" => {
                let mut elements = self.elements(s, 0)?;
                let at = match s.inputs.get(1) {
                    Some(Slot::Value(_)) => self.position(s, 1, elements.len(), elements.len())?,
                    _ if elements.is_empty() => invalid!("an empty sequence has no last element"),
                    _ => elements.len() - 1,
                };
                elements.remove(at);
                self.new_sequence(elements)
            }
            "SequenceLength" => {
                let n = self.elements(s, 0)?.len();
                self.constant(s, Tensor::scalar(n as i64))
            }
            "SplitToSequence" => self.split_to_sequence(s)?,
            "ConcatFromSequence" => self.concat_from_sequence(s)?,
            // An optional is its element, or absent.
            "Optional" => s.inputs.first().copied().unwrap_or(Slot::Absent),
            "OptionalHasElement" => {
                let has = matches!(s.inputs.first(), Some(Slot::Value(_) | Slot::Sequence(_)));
                self.constant(s, Tensor::scalar(B8(u8::from(has))))
            }
            "OptionalGetElement" => match s.inputs.first() {
                Some(slot @ (Slot::Value(_) | Slot::Sequence(_))) => *slot,
                _ => invalid!("the optional value is empty"),
            },
            other => unsupported!("the operator {other} is not supported"),
        };
        Ok(vec![result])
    }

    fn constant(&mut self, s: &Structured<'_, 'm>, tensor: Tensor) -> Slot<'m> {
        Slot::Value(self.site(s.node, vec![], s.attributes.clone(), s.scope).constant_value(tensor))
    }

    /// Parts of given sizes, of one size, or single elements, which may lose the axis.
    fn split_to_sequence(&mut self, s: &Structured<'_, 'm>) -> Result<Slot<'m>, Fault> {
        let x = s.value(0)?;
        let rank = self.graph.ty(x).rank();
        let axis = ir::ops::normalize_axis(s.attributes.int_or("axis", 0)?, rank)?;
        let keepdims = s.attributes.int_or("keepdims", 1)? != 0;
        let size = self.graph.ty(x).shape[axis].as_const().ok_or_else(|| Fault::run_time("size of the axis"))?;
        let inputs: Vec<_> = s.inputs.iter().map(|i| if let Slot::Value(v) = i { Some(*v) } else { None }).collect();
        let site = self.site(s.node, inputs.clone(), s.attributes.clone(), s.scope);
        let (sizes, drops_axis) = match site.optional(1) {
            None => (in_steps(size, 1)?, !keepdims),
            Some(split) if site.rank(split) == 0 => {
                let step = site.scalar(split).ok_or_else(|| Fault::run_time("size of the parts"))?;
                (in_steps(size, step as i64)?, false)
            }
            Some(split) => (site.ints(split, "sizes of the parts")?, false),
        };
        let total = sizes.iter().try_fold(0i64, |sum, n| sum.checked_add(*n).filter(|_| *n >= 0));
        if total != Some(size) {
            invalid!("parts of sizes {sizes:?} do not make up dimension {axis} of {}", site.ty(x));
        }
        self.nodes += sizes.len();
        if self.nodes > NODE_LIMIT {
            return Err(too_many_parts(sizes.len() as i64));
        }
        let mut site = self.site(s.node, inputs, s.attributes.clone(), s.scope);
        let (mut parts, mut at) = (vec![], 0);
        for n in sizes {
            let mut part = site.slice(x, axis, Dim::from(at), Dim::from(n), 1)?;
            if drops_axis {
                let mut shape = site.shape(part);
                shape.remove(axis);
                part = site.reshape(part, shape)?;
            }
            parts.push(part);
            at += n;
        }
        Ok(self.new_sequence(parts))
    }

    fn concat_from_sequence(&mut self, s: &Structured<'_, 'm>) -> Result<Slot<'m>, Fault> {
        let elements = self.elements(s, 0)?;
        let Some(axis) = s.attributes.int("axis")? else { invalid!("the attribute `axis` is missing") };
        let Some(first) = elements.first() else { invalid!("an empty sequence cannot be joined") };
        if s.attributes.flag("new_axis")? {
            return self.stack(s, &elements, axis).map(Slot::Value);
        }
        let axis = ir::ops::normalize_axis(axis, self.graph.ty(*first).rank())?;
        self.site(s.node, vec![], s.attributes.clone(), s.scope).concat(&elements, axis).map(Slot::Value)
    }

    /// The body applied to corresponding elements; tensors are the same for all.
    pub(crate) fn sequence_map(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        let body = match s.attributes.get("body").and_then(|a| a.g.as_ref()) {
            Some(graph) => graph,
            None => invalid!("the attribute `body` holds no graph"),
        };
        let n = self.elements(s, 0)?.len();
        let mut results: Vec<Vec<ValueId>> = vec![vec![]; body.output.len()];
        for i in 0..n {
            let mut inputs = vec![];
            for slot in s.inputs {
                inputs.push(match slot {
                    Slot::Sequence(list) => match self.sequences[*list].get(i) {
                        Some(v) => Slot::Value(*v),
                        None => invalid!("the sequences have different lengths"),
                    },
                    other => *other,
                });
            }
            for (list, slot) in results.iter_mut().zip(self.body(body, &inputs, s.scope)?) {
                let Slot::Value(v) = slot else { return Ok(vec![]) };
                list.push(v);
            }
        }
        Ok(results.into_iter().map(|list| self.new_sequence(list)).collect())
    }
}

/// Sizes of the parts of a dimension in steps; the last may be smaller.
fn in_steps(size: i64, step: i64) -> Result<Vec<i64>, Fault> {
    if step < 1 {
        invalid!("parts of size {step} cannot be made");
    }
    if size / step > NODE_LIMIT as i64 {
        return Err(too_many_parts(size / step));
    }
    Ok((0..size).step_by(step as usize).map(|at| step.min(size - at)).collect())
}

fn too_many_parts(parts: i64) -> Fault {
    Fault::unsupported(format!("a sequence of {parts} parts: a model expands to at most {NODE_LIMIT} nodes"))
}
