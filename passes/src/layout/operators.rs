//! How each operator works on permuted operands.

use super::forms::{Forms, Perm, channels_last, identity, permuted};
use super::reshape;
use crate::context::{Context, node_name};
use ir::ops::Op;
use ir::ops::contract::conv::DataLayout;
use ir::{Graph, Node, NodeId, OpError, ValueId};

/// What the walk holds while it looks at one node.
pub struct Site<'a> {
    pub graph: &'a mut Graph,
    pub forms: &'a mut Forms,
    pub node: Node,
}

/// Rewrites one node for permuted operands, or gives it the originals.
pub fn rewrite(graph: &mut Graph, forms: &mut Forms, context: &mut Context, id: NodeId) -> Result<(), OpError> {
    let node = graph.node(id).clone();
    let moved = node.inputs.iter().any(|v| forms.is_moved(*v));
    let mut site = Site { graph, forms, node };
    let done = match site.node.op.clone() {
        Op::Conv(op) if op.data == DataLayout::Nchw => {
            context.fired("channels_last", || node_name(site.graph, id));
            site.channels_last(1)?
        }
        Op::Pool(op) if op.data == DataLayout::Nchw => {
            context.fired("channels_last", || node_name(site.graph, id));
            site.channels_last(1)?
        }
        _ if !moved => return Ok(()),
        Op::Map(_) => site.map()?,
        Op::Reduce(op) => site.reduce(op)?,
        Op::Softmax(mut op) => {
            let perm = site.form(0);
            op.axis = perm[op.axis as usize] as i64;
            site.elementwise(op, perm)?
        }
        Op::Normalize(mut op) => {
            let perm = site.form(0);
            op.axes = moved_axes(&op.axes, &perm);
            site.elementwise(op, perm)?
        }
        Op::Concat(mut op) => {
            let perm = site.cheapest_form();
            op.axis = perm[op.axis as usize] as i64;
            let inputs: Vec<ValueId> = (0..site.node.inputs.len()).map(|i| site.operand(i, &perm)).collect::<Result<_, _>>()?;
            site.finish(op, &inputs, perm)?
        }
        Op::Pad(mut op) => {
            let perm = site.form(0);
            (op.before, op.after) = (permuted(&op.before, &perm), permuted(&op.after, &perm));
            site.elementwise(op, perm)?
        }
        Op::Slice(mut op) => {
            let perm = site.form(0);
            (op.starts, op.counts, op.steps) = (permuted(&op.starts, &perm), permuted(&op.counts, &perm), permuted(&op.steps, &perm));
            site.elementwise(op, perm)?
        }
        Op::Expand(mut op) if op.shape.len() == site.form(0).len() => {
            let perm = site.form(0);
            op.shape = permuted(&op.shape, &perm);
            site.elementwise(op, perm)?
        }
        Op::Transpose(op) => {
            // Nothing to compute: the result is another permutation of the same value.
            let (form, perm) = site.forms.of(site.graph, site.node.inputs[0]);
            let perm = op.perm.iter().map(|d| perm[*d as usize]).collect();
            site.forms.set(site.node.outputs[0], form, perm);
            true
        }
        Op::Reshape(op) => reshape::rewrite(&mut site, op)?,
        // Operators that name dimensions by their place read their operands as they were.
        _ => false,
    };
    if !done {
        let inputs: Vec<ValueId> = (0..site.node.inputs.len()).map(|i| site.original(i)).collect::<Result<_, _>>()?;
        graph.node_mut(id).inputs = inputs;
    }
    Ok(())
}

/// Axes of the original as axes of the permuted value, increasing.
fn moved_axes(axes: &[i64], perm: &[usize]) -> Vec<i64> {
    let mut moved: Vec<i64> = axes.iter().map(|a| perm[*a as usize] as i64).collect();
    moved.sort_unstable();
    moved
}

impl Site<'_> {
    fn form(&self, input: usize) -> Perm {
        self.forms.of(self.graph, self.node.inputs[input]).1
    }

    fn operand(&mut self, input: usize, perm: &[usize]) -> Result<ValueId, OpError> {
        self.forms.broadcast(self.graph, self.node.inputs[input], perm, &self.node.origin)
    }

    fn original(&mut self, input: usize) -> Result<ValueId, OpError> {
        self.forms.original(self.graph, self.node.inputs[input], &self.node.origin)
    }

    /// Adds the rewritten node; its result is the old one's under `perm`.
    pub fn finish(&mut self, op: impl Into<Op>, inputs: &[ValueId], perm: Perm) -> Result<bool, OpError> {
        let result = self.node.outputs[0];
        let name = self.graph.value(result).name.clone();
        let new = self.graph.add(op, inputs, &self.node.origin, &name)?;
        self.forms.set(result, new, perm);
        Ok(true)
    }

    /// Result and epilogue operands have the first operand's permutation.
    fn elementwise(&mut self, op: impl Into<Op>, perm: Perm) -> Result<bool, OpError> {
        let mut inputs = vec![];
        for i in 0..self.node.inputs.len() {
            inputs.push(if i == 0 {
                self.forms.get(self.graph, self.node.inputs[0], &perm, &self.node.origin)?
            } else {
                self.operand(i, &perm)?
            });
        }
        self.finish(op, &inputs, perm)
    }

    /// Convolutions and pooling: image and epilogue operands channels last, weights as they are.
    fn channels_last(&mut self, images: usize) -> Result<bool, OpError> {
        let mut op = self.node.op.clone();
        match &mut op {
            Op::Conv(conv) => conv.data = DataLayout::Nhwc,
            Op::Pool(pool) => pool.data = DataLayout::Nhwc,
            _ => return Ok(false),
        }
        let own = op.own_inputs(self.node.inputs.len());
        let perm = channels_last(self.graph.ty(self.node.outputs[0]).rank());
        let mut inputs = vec![];
        for i in 0..self.node.inputs.len() {
            inputs.push(if i < images || i >= own { self.operand(i, &perm)? } else { self.original(i)? });
        }
        self.finish(op, &inputs, perm)
    }

    fn map(&mut self) -> Result<bool, OpError> {
        let perm = self.cheapest_form();
        let op = self.node.op.clone();
        let inputs: Vec<ValueId> = (0..self.node.inputs.len()).map(|i| self.operand(i, &perm)).collect::<Result<_, _>>()?;
        self.finish(op, &inputs, perm)
    }

    /// The permutation of the result that makes the fewest operands move; among equals the first that is no identity.
    fn cheapest_form(&self) -> Perm {
        let rank = self.graph.ty(self.node.outputs[0]).rank();
        let full: Vec<ValueId> = self.node.inputs.iter().copied().filter(|v| self.graph.ty(*v).rank() == rank).collect();
        let mut candidates: Vec<Perm> = full.iter().map(|v| self.forms.of(self.graph, *v).1).filter(|p| *p != identity(rank)).collect();
        candidates.push(identity(rank));
        let cost = |perm: &Perm| full.iter().filter(|v| !self.forms.is_free(self.graph, **v, perm)).count();
        candidates.into_iter().min_by_key(cost).unwrap_or_else(|| identity(rank))
    }

    fn reduce(&mut self, mut op: ir::ops::reduce::reduce_op::Reduce) -> Result<bool, OpError> {
        let perm = self.form(0);
        let reduced = |d: usize, axes: &[i64]| axes.contains(&(d as i64));
        let old_axes = std::mem::take(&mut op.axes);
        op.axes = moved_axes(&old_axes, &perm);
        let result = if op.keepdims {
            perm.clone()
        } else {
            // Dimensions that stay, numbered anew on both sides.
            let stay: Vec<usize> = (0..perm.len()).filter(|d| !reduced(*d, &op.axes)).collect();
            let kept = (0..perm.len()).filter(|d| !reduced(*d, &old_axes));
            kept.filter_map(|d| stay.iter().position(|s| *s == perm[d])).collect()
        };
        let mut inputs = vec![self.forms.get(self.graph, self.node.inputs[0], &perm, &self.node.origin)?];
        for i in 1..self.node.inputs.len() {
            inputs.push(self.operand(i, &result)?);
        }
        self.finish(op, &inputs, result)
    }
}
