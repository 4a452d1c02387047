//! Layouts: which buffers get a margin (a halo) that their producer keeps filled with the padding value, so that
//! convolutions have no border branches; where a copy is needed instead; which outputs overwrite an input.

use crate::LowerError;
use crate::cx::{Cx, NodeCx};
use crate::extent::OVERRUN;
use crate::view::{Source, View, linear, reach};
use crate::write::nest::Walk;
use crate::write::{contract, fill, shuffle};
use ir::algorithm::Access;
use ir::pointwise::Literal;
use ir::{Algorithm, Dim, Graph, Node, NodeId, ValueId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Elements before and after each dimension, and what they hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Halo {
    pub before: Vec<usize>,
    pub after: Vec<usize>,
    pub value: Literal,
}

/// The values whose buffers have a halo.
pub type Halos = HashMap<ValueId, Halo>;

/// The accesses of an algorithm that read outside their operand and rely on a margin. Shuffles handle padding themselves.
pub fn padded_accesses(algorithm: &Algorithm) -> Vec<&Access> {
    let accesses = match algorithm {
        Algorithm::Contract(c) => vec![&c.a, &c.b],
        Algorithm::Window(w) => vec![&w.x],
        _ => vec![],
    };
    accesses.into_iter().filter(|a| a.pad.is_some()).collect()
}

/// The axes over which an operand is reached: minimal filtering reads whole tiles.
fn axes(algorithm: &Algorithm, winograd: bool) -> Vec<Dim> {
    match algorithm {
        Algorithm::Contract(c) if winograd => contract::winograd::rounded_axes(c),
        Algorithm::Contract(c) => c.axes.clone(),
        Algorithm::Window(w) => w.axes.clone(),
        Algorithm::Reduce(r) => r.axes.clone(),
        _ => vec![],
    }
}

/// The margin an access needs; `None` when it stays inside.
fn margin(access: &Access, shape: &[usize], axes: &[Dim]) -> Option<Halo> {
    let (before, after) = reach(access, shape, axes);
    let outside = before.iter().chain(&after).any(|n| *n > 0);
    outside.then(|| Halo { before, after, value: access.pad.expect("a padded access") })
}

/// Whether an access leaves its operand, as far as sizes are known.
pub fn reaches_outside(graph: &Graph, node: &Node, access: &Access, algorithm: &Algorithm) -> bool {
    let shape = graph.ty(node.inputs[access.operand]).const_shape();
    shape.is_none_or(|shape| margin(access, &shape, &axes(algorithm, false)).is_some())
}

/// Chooses the values whose producer keeps a halo: computed by a node that can write with gaps, only used by nodes that
/// can read with gaps, not a model output, and all padded uses agree on the value.
pub fn halos(graph: &Graph, order: &[NodeId], algorithms: &HashMap<NodeId, Algorithm>, winograd: &HashSet<NodeId>) -> Halos {
    let mut wanted: HashMap<ValueId, Option<Halo>> = HashMap::new();
    for output in &graph.outputs {
        wanted.insert(output.value, None);
    }
    for id in order {
        let node = graph.node(*id);
        match algorithms[id] {
            Algorithm::View => {
                wanted.insert(node.inputs[0], None);
                wanted.insert(node.outputs[0], None);
            }
            // Routines read and write dense tensors, and so do branches and loops.
            Algorithm::Routine(_) | Algorithm::Control | Algorithm::Measure(_) => {
                wanted.extend(node.inputs.iter().chain(&node.outputs).map(|v| (*v, None)))
            }
            _ => {}
        }
    }
    for id in order {
        let algorithm = &algorithms[id];
        for access in padded_accesses(algorithm) {
            let value = graph.node(*id).inputs[access.operand];
            let Some(shape) = graph.ty(value).const_shape() else { continue };
            let Some(need) = margin(access, &shape, &axes(algorithm, winograd.contains(id))) else { continue };
            let entry = wanted
                .entry(value)
                .or_insert_with(|| Some(Halo { before: vec![0; shape.len()], after: vec![0; shape.len()], value: need.value }));
            if let Some(halo) = entry
                && halo.value == need.value
            {
                let widen = |a: &mut Vec<usize>, b: &[usize]| a.iter_mut().zip(b).for_each(|(a, b)| *a = (*a).max(*b));
                widen(&mut halo.before, &need.before);
                widen(&mut halo.after, &need.after);
            }
        }
    }
    wanted.into_iter().filter_map(|(v, h)| h.filter(|_| graph.producer(v).is_some()).map(|h| (v, h))).collect()
}

/// True when the operand of a padded access has a wide enough margin, or needs none.
pub fn has_margin(halos: &Halos, graph: &Graph, value: ValueId, access: &Access, algorithm: &Algorithm, winograd: bool) -> bool {
    // Free sizes are seen to apart.
    let Some(shape) = graph.ty(value).const_shape() else { return true };
    let Some(need) = margin(access, &shape, &axes(algorithm, winograd)) else { return true };
    halos.get(&value).is_some_and(|have| have.value == need.value && covers(&have.before, &need.before) && covers(&have.after, &need.after))
}

fn covers(have: &[usize], need: &[usize]) -> bool {
    have.iter().zip(need).all(|(h, n)| h >= n)
}

/// A view of `shape` inside a new buffer with a margin, which a first step fills.
fn with_halo(cx: &mut Cx, name: &str, dtype: ir::DType, shape: &[usize], halo: &Halo, origin: &[Arc<str>]) -> Result<View, LowerError> {
    let outer: Vec<usize> = (0..shape.len()).map(|d| halo.before[d] + shape[d] + halo.after[d]).collect();
    let whole = cx.temporary(name, dtype, &outer);
    let offset = halo.before.iter().zip(&whole.strides).map(|(b, s)| *b as i64 * s).sum();
    let view = View { shape: shape.to_vec(), offset, ..whole.clone() };
    fill::halo(cx, &whole, &view, halo, origin)?;
    Ok(view)
}

/// A copy of `input` with the margin that an access needs.
pub fn padded_copy(cx: &mut Cx, input: &View, access: &Access, algorithm: &Algorithm, nx: &NodeCx) -> Result<View, LowerError> {
    let halo = margin(access, &input.shape, &axes(algorithm, nx.winograd)).expect("the access needs a margin");
    let view = with_halo(cx, &format!("{} padded", nx.name), input.dtype, &input.shape, &halo, nx.origin)?;
    shuffle::copy(cx, input, &view, nx.origin)?;
    Ok(view)
}

/// The accesses of an algorithm that may reach outside their operand, or run over its end along a free axis.
pub fn reaching_accesses(algorithm: &Algorithm) -> Vec<&Access> {
    match algorithm {
        Algorithm::Contract(c) => vec![&c.a, &c.b],
        // What a window has become.
        Algorithm::Reduce(r) if r.x.pad.is_some() => vec![&r.x],
        _ => vec![],
    }
}

/// A copy of an operand with free sizes that has the margin which an access needs, and room behind it for a tile that runs
/// over the end of a free axis; `None` where the operand itself has both. What surrounds the copy is filled on every run.
pub fn free_padded_copy(cx: &mut Cx, input: &View, access: &Access, algorithm: &Algorithm, nx: &NodeCx) -> Option<View> {
    let axes = cx.extents(&axes(algorithm, false));
    let value = access.pad.unwrap_or(Literal::Int(0));
    let (mut outer, mut offset, mut dims) = (vec![], vec![], vec![]);
    let mut is_needed = false;
    for (affine, size) in access.index.iter().zip(input.extents()) {
        let has_free = affine.terms.iter().any(|(axis, c)| *c != 0 && axes[*axis].is_free());
        // The window of a pointwise convolution moves nothing.
        let mut moving = affine.terms.iter().filter(|(axis, _)| !axes[*axis].is_one());
        let is_plain = affine.offset == 0 && matches!((moving.next(), moving.next()), (Some((_, 1)), None));
        is_needed |= has_free && !is_plain;
        let first = affine.offset.as_const().expect("free offsets are refused before");
        let (mut low, mut high, mut overrun) = (first, Dim::from(first), 0);
        for (axis, c) in &affine.terms {
            let steps = axes[*axis].dim() - 1;
            if *c < 0 {
                low += c * (axes[*axis].most as i64 - 1).max(0)
            } else {
                high = high + steps * *c
            }
            overrun += if axes[*axis].is_free() { c.unsigned_abs() as usize * OVERRUN } else { 0 };
        }
        let before = (-low).max(0) as usize;
        let after = (high - (size.dim() - 1)).range(&cx.symbols).1.unwrap_or(0).max(0) as usize;
        is_needed |= before > 0 || after > 0;
        dims.push(if size.is_free() { cx.extent(&(size.dim() + before + after)) } else { (before + size.most + after).into() });
        outer.push(before + size.most + after + if size.is_free() { overrun + OVERRUN } else { 0 });
        offset.push(before);
    }
    if !is_needed {
        return None;
    }
    let whole = cx.temporary(&format!("{} padded", nx.name), input.dtype, &outer);
    let start = offset.iter().zip(&whole.strides).map(|(b, s)| *b as i64 * s).sum();
    let inside = View { shape: input.shape.clone(), free: input.free.clone(), offset: start, ..whole.clone() };
    fill::fill(cx, dims, Walk::of(&whole), value, nx.origin);
    shuffle::copy_walks(cx, input.extents(), Walk::of(input), Walk::of(&inside), nx.origin);
    Some(inside)
}

/// Where a node's output goes: a dense buffer, or one with a halo.
pub fn output_view(cx: &mut Cx, graph: &Graph, value: ValueId, halo: Option<&Halo>, origin: &[Arc<str>]) -> Result<View, LowerError> {
    let v = graph.value(value);
    let extents = cx.extents(&v.ty.shape);
    match halo {
        Some(halo) => {
            let shape: Vec<usize> = extents.iter().map(|e| e.most).collect();
            with_halo(cx, &v.name, v.ty.dtype, &shape, halo, origin)
        }
        None => Ok(cx.tensor(&v.name, v.ty.dtype, &extents)),
    }
}

/// The input that a map's output may overwrite: it dies here, has the output's size and is read at the position that
/// is written, and no other operand shares its buffer.
pub fn in_place(algorithm: &Algorithm, nx: &NodeCx, node: &Node, dies: impl Fn(&ValueId) -> bool) -> Option<usize> {
    let Algorithm::Map(map) = algorithm else { return None };
    let position = |i: usize| linear(&nx.inputs[i], &map.operands[i].index, map.axes.len());
    (0..nx.inputs.len()).find(|i| {
        let view = &nx.inputs[*i];
        // What has the output's strides has its room.
        let like_output = view.offset == 0 && view.strides == nx.output.strides;
        let fits = nx.constants[*i].is_none()
            && (view.is_dense() || like_output)
            && view.extents() == nx.output.extents()
            && view.dtype.bytes() == nx.output.dtype.bytes();
        let alone = (0..nx.inputs.len()).all(|j| j == *i || nx.inputs[j].source != view.source || position(j) == position(*i));
        fits && alone && matches!(view.source, Source::Buffer(_)) && dies(&node.inputs[*i])
    })
}
