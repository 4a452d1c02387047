//! Values that are views of others: slices, transposes and reshapes that move nothing, because whoever reads them steps
//! through memory as it lies; and results that are written in the order in which a transpose behind them leaves them.
//!
//! Attention's heads are the main use: `transpose(reshape(x·W))` is a view of the product, and the result of the second
//! product is stored with its heads side by side, as the projection behind it reads them. Tensors with free sizes stay as
//! they are.

use crate::cx::{Cx, NodeCx};
use crate::extent::Extent;
use crate::layout::{self, Halos};
use crate::view::{View, linear};
use ir::algorithm::Access;
use ir::ops::Op;
use ir::{Algorithm, DType, Graph, NodeId, ValueId};
use std::collections::{HashMap, HashSet};

/// What all readers of a value can cope with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reads {
    /// Row-major, without gaps.
    Dense,
    /// Any strides, but neighbours along the last dimension must be neighbours in memory.
    Runs,
    /// Any strides.
    Any,
}

/// Shorter runs are cheaper to copy than to step over.
const SHORTEST_RUN: usize = 4;

/// Which values need not be laid out densely.
#[derive(Debug, Default)]
pub struct Aliases {
    reads: HashMap<ValueId, Reads>,
    /// Model outputs and values with a margin have buffers of their own.
    pinned: HashSet<ValueId>,
    /// Dimension d of the stored order is dimension `perm[d]` of the value.
    stored: HashMap<ValueId, Vec<usize>>,
}

impl Aliases {
    pub fn new(
        graph: &Graph,
        order: &[NodeId],
        algorithms: &HashMap<NodeId, Algorithm>,
        halos: &Halos,
        winograd: &HashSet<NodeId>,
    ) -> Aliases {
        let pinned = graph.outputs.iter().map(|o| o.value).chain(halos.keys().copied()).collect();
        let mut aliases = Aliases { pinned, ..Aliases::default() };
        let mut uses: HashMap<ValueId, usize> = HashMap::new();
        // Users come before what they use, so that a reshape knows what its own readers want.
        for id in order.iter().rev() {
            let node = graph.node(*id);
            for (i, value) in node.inputs.iter().enumerate() {
                let reads = aliases.reads_of(graph, *id, i, &algorithms[id], winograd.contains(id));
                let known = aliases.reads.entry(*value).or_insert(Reads::Any);
                *known = (*known).min(reads);
                *uses.entry(*value).or_default() += 1;
            }
        }
        for id in order {
            let node = graph.node(*id);
            let Op::Transpose(transpose) = &node.op else { continue };
            let Some(producer) = graph.producer(node.inputs[0]) else { continue };
            let perm: Vec<usize> = transpose.perm.iter().map(|p| *p as usize).collect();
            let keeps_runs = perm.last() == Some(&(perm.len().wrapping_sub(1)));
            let is_product = matches!(graph.node(producer).op, Op::MatMul(_)) && graph.ty(node.inputs[0]).dtype == DType::F32;
            let is_known = graph.ty(node.inputs[0]).const_shape().is_some();
            if keeps_runs && is_product && is_known && uses[&node.inputs[0]] == 1 && !aliases.pinned.contains(&node.inputs[0]) {
                aliases.stored.insert(node.inputs[0], perm);
            }
        }
        aliases
    }

    fn reads_of(&self, graph: &Graph, id: NodeId, input: usize, algorithm: &Algorithm, winograd: bool) -> Reads {
        let node = graph.node(id);
        // A pointwise convolution reaches nowhere.
        let reaches = |access: &Access| access.pad.is_some() && layout::reaches_outside(graph, node, access, algorithm);
        match algorithm {
            Algorithm::View if self.pinned.contains(&node.outputs[0]) => Reads::Dense,
            Algorithm::View => self.reads.get(&node.outputs[0]).copied().unwrap_or(Reads::Any),
            // A view of it, or a copy.
            Algorithm::Shuffle(_) => Reads::Any,
            Algorithm::Map(_) | Algorithm::Reduce(_) => Reads::Runs,
            Algorithm::Window(w) if input == w.x.operand && graph.ty(node.inputs[input]).dtype == DType::F32 => Reads::Runs,
            Algorithm::Contract(c) => {
                let is_float = [&c.a, &c.b].iter().all(|o| graph.ty(node.inputs[o.operand]).dtype == DType::F32);
                let is_padded = winograd || reaches(&c.a) || reaches(&c.b);
                match input {
                    _ if !is_float || is_padded => Reads::Dense,
                    // It is packed first.
                    i if i == c.b.operand && matches!(node.op, Op::MatMul(_)) => Reads::Any,
                    i if i == c.b.operand => Reads::Dense,
                    _ => Reads::Runs,
                }
            }
            _ => Reads::Dense,
        }
    }

    fn allows(&self, value: ValueId, view: &View) -> bool {
        let runs = || view.shape.last().is_some_and(|size| *size >= SHORTEST_RUN) && view.strides.last() == Some(&1);
        let reads = self.reads.get(&value).copied().unwrap_or(Reads::Any);
        !self.pinned.contains(&value) && (view.is_dense() || reads == Reads::Any || (reads == Reads::Runs && runs()))
    }

    /// Whether all readers of a value can cope with gaps between its innermost runs, and nobody wants it in another order.
    pub fn reads_runs_of(&self, graph: &Graph, value: ValueId) -> bool {
        let reads = self.reads.get(&value).copied().unwrap_or(Reads::Any);
        let is_long = graph.ty(value).shape.last().and_then(ir::Dim::as_const).is_none_or(|size| size >= SHORTEST_RUN as i64);
        let is_placed = self.pinned.contains(&value) || self.stored.contains_key(&value);
        !is_placed && (reads == Reads::Any || (reads == Reads::Runs && is_long))
    }

    /// The output of a node that only selects or reorders elements of its input, as a view of that.
    pub fn selected(&self, algorithm: &Algorithm, nx: &NodeCx, output: ValueId) -> Option<View> {
        let Algorithm::Shuffle(shuffle) = algorithm else { return None };
        let [piece] = &shuffle.pieces[..] else { return None };
        let is_free = !nx.output.free.is_empty() || nx.inputs.iter().any(|view| !view.free.is_empty());
        let is_whole = piece.start.iter().all(|s| *s == 0) && nx.output.elements() > 0 && !is_free;
        if !is_whole || piece.read.pad.is_some() || nx.constants[piece.read.operand].is_some() {
            return None;
        }
        let position = linear(&nx.inputs[piece.read.operand], &piece.read.index, nx.output.shape.len());
        let moves = |d: usize| position.strides[d] > 0 || (nx.output.shape[d] == 1 && position.strides[d] == 0);
        if !(0..nx.output.shape.len()).all(moves) {
            return None;
        }
        let input = &nx.inputs[piece.read.operand];
        let view = View { shape: nx.output.shape.clone(), offset: position.base, strides: position.strides, ..input.clone() };
        self.allows(output, &view).then_some(view)
    }

    /// A reshape of a view with gaps, where strides can express it and readers take it.
    pub fn reshaped(&self, view: &View, shape: &[usize], output: ValueId) -> Option<View> {
        let extents: Vec<Extent> = shape.iter().map(|size| Extent { most: *size, free: None }).collect();
        view.reshaped(&extents).filter(|view| self.allows(output, view))
    }

    /// The buffer of a result that is stored in the order of the transpose behind it.
    pub fn stored(&self, cx: &mut Cx, name: &str, dtype: DType, shape: &[usize], value: ValueId) -> Option<View> {
        let perm = self.stored.get(&value)?;
        let moved: Vec<usize> = perm.iter().map(|p| shape[*p]).collect();
        let dense = cx.temporary(name, dtype, &moved);
        let mut strides = vec![0; shape.len()];
        perm.iter().zip(&dense.strides).for_each(|(p, s)| strides[*p] = *s);
        Some(View { shape: shape.to_vec(), strides, ..dense })
    }
}
