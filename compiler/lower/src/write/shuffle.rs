//! Writes [`ir::algorithm::Shuffle`], and plain copies between views. What lies outside a padded operand is cut off into
//! boxes of its own here, so that no kernel decides per element; how a box is moved is `moves`.

use crate::LowerError;
use crate::cx::{Cx, NodeCx};
use crate::extent::{Extent, Size};
use crate::view::View;
use crate::write::fill;
use crate::write::moves::{self, Box, Form};
use crate::write::nest::{Nest, TASK_BYTES, Tasks, Walk};
use ir::Dim;
use ir::algorithm::{Access, Piece, Shuffle};
use kernel::K;
use std::ops::Range;
use std::sync::Arc;

pub fn write(cx: &mut Cx, nx: &NodeCx, nest: &Shuffle) -> Result<(), LowerError> {
    for piece in &nest.pieces {
        write_piece(cx, nx, piece)?;
    }
    Ok(())
}

/// Writes the pieces of a concatenation that are not in their places.
pub fn write_missing(cx: &mut Cx, nx: &NodeCx, nest: &Shuffle) -> Result<(), LowerError> {
    for piece in &nest.pieces {
        let from = &nx.inputs[piece.read.operand];
        let place = advanced_by(&Walk::of(&nx.output), &piece.start);
        let is_there =
            place.moving.is_const() && (from.source, from.offset, &from.strides) == (nx.output.source, place.base, &nx.output.strides);
        if !is_there || nx.constants[piece.read.operand].is_some() {
            write_piece(cx, nx, piece)?;
        }
    }
    Ok(())
}

/// Copies all elements of `from` to `to`, which has the same shape and type; either may have gaps.
pub fn copy(cx: &mut Cx, from: &View, to: &View, origin: &[Arc<str>]) -> Result<(), LowerError> {
    copy_walks(cx, from.extents(), Walk::of(from), Walk::of(to), origin);
    Ok(())
}

fn write_piece(cx: &mut Cx, nx: &NodeCx, piece: &Piece) -> Result<(), LowerError> {
    let extent: Vec<Extent> = piece.extent.iter().map(|d| cx.extent(d)).collect();
    if extent.iter().any(|e| e.most == 0) {
        return Ok(());
    }
    let to = advanced_by(&Walk::of(&nx.output), &piece.start);
    let from_view = &nx.inputs[piece.read.operand];
    let whole: Vec<Range<usize>> = extent.iter().map(|e| 0..e.most).collect();
    let inside = match piece.read.pad {
        None => whole.clone(),
        Some(_) => interior(&piece.read, &from_view.extents(), &extent)
            .ok_or_else(|| LowerError::Unsupported { layer: nx.name.clone(), what: "padding along a sum of axes or a free size".into() })?,
    };
    // A free axis is inside as a whole.
    let sizes = |ranges: &[Range<usize>]| -> Vec<Extent> {
        ranges.iter().zip(&extent).map(|(r, e)| if e.is_free() { e.clone() } else { r.len().into() }).collect()
    };
    for outside in around(&whole, &inside) {
        let value = piece.read.pad.expect("only padded reads have an outside");
        fill::fill(cx, sizes(&outside), advanced(&to, &starts(&outside)), value, nx.origin);
    }
    if inside.iter().all(|r| !r.is_empty()) {
        let view = nx.input(cx, piece.read.operand);
        let from = Walk::new(&view, &piece.read.index, extent.len());
        copy_walks(cx, sizes(&inside), advanced(&from, &starts(&inside)), advanced(&to, &starts(&inside)), nx.origin);
    }
    Ok(())
}

fn starts(ranges: &[Range<usize>]) -> Vec<usize> {
    ranges.iter().map(|r| r.start).collect()
}

/// The walk from another starting index.
pub fn advanced(walk: &Walk, by: &[usize]) -> Walk {
    let bytes = walk.view.dtype.bytes() as i64;
    let moved: i64 = by.iter().zip(&walk.strides).map(|(i, s)| *i as i64 * s / bytes).sum();
    Walk { base: walk.base + moved, ..walk.clone() }
}

/// The walk from a starting index that may only be known at run time.
pub fn advanced_by(walk: &Walk, by: &[Dim]) -> Walk {
    let fixed: Vec<usize> = by.iter().map(|d| d.as_const().unwrap_or(0) as usize).collect();
    let bytes = walk.view.dtype.bytes() as i64;
    let moving = by.iter().zip(&walk.strides).filter(|(d, _)| !d.is_const());
    let moving = moving.fold(walk.moving.clone(), |sum, (d, s)| sum + d.clone() * (s / bytes));
    Walk { moving, ..advanced(walk, &fixed) }
}

/// The part of a box that reads inside a tensor of `shape`; `None` when that is no box.
fn interior(read: &Access, shape: &[Extent], extent: &[Extent]) -> Option<Vec<Range<usize>>> {
    let mut inside: Vec<Range<usize>> = extent.iter().map(|e| 0..e.most).collect();
    for (affine, size) in read.index.iter().zip(shape) {
        let is_free = size.is_free() || affine.terms.iter().any(|(a, c)| *c != 0 && extent[*a].is_free());
        if is_free {
            match affine.terms[..] {
                [(axis, 1)] if affine.offset == 0 && extent[axis] == *size => continue,
                _ => return None,
            }
        }
        let (offset, size) = (affine.offset.as_const()?, size.most as i64);
        let mut axes: Vec<usize> = affine.terms.iter().map(|(a, _)| *a).filter(|a| affine.coefficient(*a) != 0).collect();
        axes.sort_unstable();
        axes.dedup();
        let range = match axes[..] {
            [] if (0..size).contains(&offset) => continue,
            [] => return Some(extent.iter().map(|_| 0..0).collect()),
            [axis] => {
                let c = affine.coefficient(axis);
                let fits = |i: &usize| (0..size).contains(&(offset + c * *i as i64));
                let first = inside[axis].clone().find(fits).unwrap_or(inside[axis].end);
                let last = inside[axis].clone().rev().find(fits).map_or(first, |l| l + 1);
                (axis, first..last)
            }
            _ => return None,
        };
        inside[range.0] = range.1;
    }
    Some(inside)
}

/// Boxes that cover `whole` without `inside`.
fn around(whole: &[Range<usize>], inside: &[Range<usize>]) -> Vec<Vec<Range<usize>>> {
    if inside.iter().any(Range::is_empty) && !whole.is_empty() {
        return vec![whole.to_vec()];
    }
    let mut left = whole.to_vec();
    let mut boxes = vec![];
    for d in 0..whole.len() {
        for part in [left[d].start..inside[d].start, inside[d].end..left[d].end] {
            if !part.is_empty() {
                let mut slab = left.clone();
                slab[d] = part;
                boxes.push(slab);
            }
        }
        left[d] = inside[d].clone();
    }
    boxes
}

/// One step that copies a box.
pub fn copy_walks(cx: &mut Cx, dims: Vec<Extent>, from: Walk, to: Walk, origin: &[Arc<str>]) {
    if dims.iter().any(|d| d.most == 0) {
        return;
    }
    let bytes = to.view.dtype.bytes();
    let output = to.view.clone();
    let mut nest = Nest { dims, walks: vec![from, to] };
    nest.merge(0);
    let order = shape(&at_most(&nest), &nest.strides(), bytes).order();
    let mut nest = nest.reordered(&order);
    if shape(&at_most(&nest), &nest.strides(), bytes).form() == Form::Transpose {
        split_rows(&mut nest, TASK_BYTES / bytes / 4);
    }
    let strides = nest.strides();
    let whole = shape(&at_most(&nest), &strides, bytes);
    let tasks = Tasks::aligned(&nest.dims, TASK_BYTES / bytes, |d| whole.multiple(d));
    let dims: Vec<String> = nest.dims.iter().map(ToString::to_string).collect();
    let mut k = K::new(format!("copy_{:?}_{bytes}_{}", whole.form(), dims.join("x")).to_lowercase());
    let params = nest.params(&mut k, |i| ["x", "y"][i], &[]);
    let inner = tasks.inner(&strides);
    tasks.emit(&mut k, &params.dims, &params.pointers, &strides, |k, p, dims| moves::copy(k, &shape(dims, &inner, bytes), p[0], p[1]));
    let args = params.args(cx);
    cx.step(k.finish(), args, tasks.count, 0, origin, &[&output], &[]);
}

/// Makes the last dimension of a transpose at most `most` long, so that a task holds whole tiles of it.
fn split_rows(nest: &mut Nest, most: usize) {
    let last = nest.dims.len() - 1;
    let size = nest.dims[last].most;
    if size <= most || nest.dims[last].is_free() {
        return;
    }
    if let Some(inner) = (1..=most / 4).rev().map(|n| 4 * n).find(|n| size.is_multiple_of(*n)) {
        nest.dims[last] = inner.into();
        nest.dims.insert(last - 1, (size / inner).into());
        for walk in &mut nest.walks {
            let stride = walk.strides[last] * inner as i64;
            walk.strides.insert(last - 1, stride);
        }
    }
}

fn at_most(nest: &Nest) -> Vec<Size> {
    nest.dims.iter().map(Extent::at_most).collect()
}

fn shape(dims: &[Size], strides: &[Vec<i64>], bytes: usize) -> Box {
    Box { dims: dims.to_vec(), from: strides[0].clone(), to: strides[1].clone(), bytes }
}
