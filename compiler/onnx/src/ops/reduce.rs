//! Operators that combine the elements along axes: sums, norms, softmax, positions of extrema.

use super::{Row, one};
use crate::error::Fault;
use crate::site::Site;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::reduce::softmax::Softmax;
use ir::pointwise::{Fn, Pointwise};
use ir::{DType, Dim, ValueId};

pub(super) const ROWS: &[Row] = &[
    one("ArgMax", |s| arg(s, ReduceKind::Max)),
    one("ArgMin", |s| arg(s, ReduceKind::Min)),
    one("Hardmax", hardmax_rows),
    one("Hardmax", hardmax).since(13),
    one("LogSoftmax", |s| softmax_rows(s, true)),
    one("LogSoftmax", |s| softmax(s, true)).since(13),
    one("ReduceL1", |s| reduce(s, "abs(?a)", ReduceKind::Sum, "")),
    one("ReduceL2", |s| reduce(s, "mul(?a, ?a)", ReduceKind::Sum, "sqrt(?a)")),
    one("ReduceLogSum", |s| reduce(s, "", ReduceKind::Sum, "log(?a)")),
    one("ReduceLogSumExp", log_sum_exp),
    one("ReduceMax", |s| reduce(s, "", ReduceKind::Max, "")),
    one("ReduceMean", mean),
    one("ReduceMin", |s| reduce(s, "", ReduceKind::Min, "")),
    one("ReduceProd", |s| reduce(s, "", ReduceKind::Prod, "")),
    one("ReduceSum", |s| reduce(s, "", ReduceKind::Sum, "")),
    one("ReduceSumSquare", |s| reduce(s, "mul(?a, ?a)", ReduceKind::Sum, "")),
    one("Softmax", |s| softmax_rows(s, false)),
    one("Softmax", |s| softmax(s, false)).since(13),
];

/// Axes (an attribute in old operator sets, an input in new ones; all when there are none) and whether they stay as size 1.
fn axes(s: &Site, x: ValueId) -> Result<(Vec<usize>, bool), Fault> {
    let rank = s.rank(x);
    let keepdims = s.attributes.int_or("keepdims", 1)? != 0;
    let given = s.ints_or_input("axes", 1)?.unwrap_or_default();
    Ok(match given.is_empty() {
        true if s.attributes.flag("noop_with_empty_axes")? => (vec![], keepdims),
        true => ((0..rank).collect(), keepdims),
        false => (s.axes(&given, rank)?, keepdims),
    })
}

/// Reduces between two expressions, which may be empty.
fn reduce(s: &mut Site, before: &str, kind: ReduceKind, after: &str) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let (axes, keepdims) = axes(s, x)?;
    let prepared = if before.is_empty() { x } else { s.term(before, &[x])? };
    let reduced = if axes.is_empty() { prepared } else { s.reduce(kind, prepared, &axes, keepdims)? };
    // The number of elements of a shape: a size computed from sizes.
    if let (Some(sizes), ReduceKind::Prod, false) = (s.graph.value(x).sizes.clone(), kind, axes.is_empty())
        && s.graph.value(reduced).sizes.is_none()
    {
        s.graph.value_mut(reduced).sizes = Some(vec![sizes.iter().product()]);
    }
    if after.is_empty() { Ok(reduced) } else { s.term(after, &[reduced]) }
}

fn mean(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let (axes, keepdims) = axes(s, x)?;
    mean_over(s, x, &axes, keepdims)
}

/// The sum divided by the number of elements.
pub(super) fn mean_over(s: &mut Site, x: ValueId, axes: &[usize], keepdims: bool) -> Result<ValueId, Fault> {
    if axes.is_empty() {
        return Ok(x);
    }
    let shape = s.shape(x);
    let count: Dim = axes.iter().map(|a| &shape[*a]).product();
    let sum = s.reduce(ReduceKind::Sum, x, axes, keepdims)?;
    let count = s.size_operand(&count, s.dtype(x))?;
    s.binary(Fn::Div, sum, count)
}

/// `max + log Σ exp(x − max)`; an infinite maximum is not subtracted.
fn log_sum_exp(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let (axes, keepdims) = axes(s, x)?;
    let max = s.reduce(ReduceKind::Max, x, &axes, true)?;
    let max = s.term("select(isinf(?a), 0.0, ?a)", &[max])?;
    let powers = s.term("exp(sub(?a, ?b))", &[x, max])?;
    let sum = s.reduce(ReduceKind::Sum, powers, &axes, true)?;
    let result = s.term("add(log(?a), ?b)", &[sum, max])?;
    let shape = s.shape(result).into_iter().enumerate().filter(|(d, _)| keepdims || !axes.contains(d)).map(|(_, size)| size);
    s.reshape(result, shape.collect())
}

fn arg(s: &mut Site, kind: ReduceKind) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let axis = s.axis_attribute(0, s.rank(x))?;
    let keepdims = s.attributes.int_or("keepdims", 1)? != 0;
    let last = s.attributes.flag("select_last_index")?;
    let (position, _) = position(s, x, kind, axis, keepdims, last)?;
    s.cast(position, DType::I64)
}

/// The position of the extremum along an axis: the smallest (or with `last` the largest) position whose element equals it.
/// Second, all positions in the same type, shaped to broadcast against `x`.
fn position(s: &mut Site, x: ValueId, kind: ReduceKind, axis: usize, keepdims: bool, last: bool) -> Result<(ValueId, ValueId), Fault> {
    let rank = s.rank(x);
    let n = s.shape(x)[axis].as_const().ok_or_else(|| Fault::run_time("size of the axis"))?;
    // Positions in f32 where they are exact: they then move through the same lanes as the elements.
    let dtype = if n < 1 << 24 { DType::F32 } else { DType::I64 };
    if n == 0 {
        return Err(Fault::invalid("no position can be given along an axis of size 0"));
    }
    let positions = s.positions(dtype, rank, axis, n)?;
    let extremum = s.reduce(kind, x, &[axis], true)?;
    let is_extremum = s.binary(Fn::Equal, x, extremum)?;
    let (combine, other) = if last { (ReduceKind::Max, -1.0) } else { (ReduceKind::Min, n as f64) };
    let candidates = s.map(Fn::Select, [is_extremum.into(), positions.into(), other.into()])?;
    Ok((s.reduce(combine, candidates, &[axis], keepdims)?, positions))
}

/// 1 at the first largest element along an axis, else 0.
fn hardmax_along(s: &mut Site, x: ValueId, axis: usize) -> Result<ValueId, Fault> {
    let (first, positions) = position(s, x, ReduceKind::Max, axis, true, false)?;
    let hit = s.binary(Fn::Equal, positions, first)?;
    s.cast(hit, s.dtype(x))
}

fn hardmax(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let axis = s.axis_attribute(-1, s.rank(x))?;
    hardmax_along(s, x, axis)
}

/// Before operator set 13 the axis cuts the shape into a matrix.
fn hardmax_rows(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let axis = s.axis_attribute(1, shape.len())?;
    let rows = s.reshape(x, vec![shape[..axis].iter().product(), shape[axis..].iter().product()])?;
    let result = hardmax_along(s, rows, 1)?;
    s.reshape(result, shape)
}

fn softmax(s: &mut Site, log: bool) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let axis = s.axis_attribute(-1, s.rank(x))? as i64;
    s.add(Softmax { axis, log, epilogue: Pointwise::identity() }, &[x])
}

/// Before operator set 13 the axis cuts the shape into a matrix, whose rows are normalised.
fn softmax_rows(s: &mut Site, log: bool) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let axis = s.axis_attribute(1, shape.len())?;
    let (x, axis) = if axis + 1 == shape.len() {
        (x, axis)
    } else {
        let rows: Dim = shape[..axis].iter().product();
        (s.reshape(x, vec![rows, shape[axis..].iter().product()])?, 1)
    };
    let result = s.add(Softmax { axis: axis as i64, log, epilogue: Pointwise::identity() }, &[x])?;
    s.reshape(result, shape)
}
