//! Padding: with a constant, or by repeating, mirroring or continuing the tensor.

use super::{Row, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::shuffle::pad::Pad;
use ir::{DType, Dim, ValueId};

pub(super) const ROWS: &[Row] = &[one("Pad", pad)];

/// Pads and value are attributes before operator set 11; axes are an input from 18 on. Negative pads crop.
fn pad(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let rank = s.rank(x);
    let Some(pads) = s.ints_or_input("pads", 1)? else { invalid!("the pads are missing") };
    let axes = match s.optional(3) {
        Some(axes) => s.ints(axes, "axes")?,
        None => (0..rank as i64).collect(),
    };
    s.axes(&axes, rank)?;
    if pads.len() != 2 * axes.len() || pads.iter().any(|p| p.unsigned_abs() > 1 << 40) {
        invalid!("{} axes need {} pads, found {pads:?}", axes.len(), 2 * axes.len());
    }
    let value = match (s.attributes.float("value")?, s.optional(2)) {
        (Some(value), _) => value,
        (None, Some(v)) => s.scalar(v).ok_or_else(|| Fault::run_time("value of the padding"))?,
        (None, None) => 0.0,
    };
    let mode = s.attributes.string_or("mode", "constant")?;
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (i, axis) in axes.iter().enumerate() {
        let axis = s.axis(*axis, rank)?;
        (before[axis], after[axis]) = (pads[i], pads[axes.len() + i]);
    }
    let x = crop(s, x, &mut before, &mut after)?;
    if before.iter().chain(&after).all(|p| *p == 0) {
        return Ok(x);
    }
    match mode {
        "constant" => constant(s, x, &before, &after, value),
        "edge" | "reflect" | "wrap" => (0..rank).try_fold(x, |x, axis| extend(s, x, axis, before[axis], after[axis], mode)),
        other => invalid!("the mode `{other}` does not exist; expected `constant`, `reflect`, `edge` or `wrap`"),
    }
}

/// Surrounds with a constant.
pub(super) fn constant(s: &mut Site, x: ValueId, before: &[i64], after: &[i64], value: f64) -> Result<ValueId, Fault> {
    if s.dtype(x) == DType::Bool && value != 0.0 && value != 1.0 {
        invalid!("bool elements cannot be padded with {value}");
    }
    let dims = |pads: &[i64]| pads.iter().map(|p| Dim::from(*p)).collect();
    s.add(Pad { before: dims(before), after: dims(after), value }, &[x])
}

/// Applies the negative pads and sets them to 0.
pub(super) fn crop(s: &mut Site, mut x: ValueId, before: &mut [i64], after: &mut [i64]) -> Result<ValueId, Fault> {
    for axis in 0..before.len() {
        let (first, last) = (-before[axis].min(0), -after[axis].min(0));
        if first + last > 0 {
            let size = s.shape(x)[axis].clone();
            let count = size.clone() - (first + last);
            if count.as_const().is_some_and(|c| c < 0) {
                invalid!("dimension {axis} of size {size} cannot lose {first} + {last} elements");
            }
            x = s.slice(x, axis, first.into(), count, 1)?;
            (before[axis], after[axis]) = (before[axis].max(0), after[axis].max(0));
        }
    }
    Ok(x)
}

/// Extends one dimension by its own elements.
fn extend(s: &mut Site, x: ValueId, axis: usize, before: i64, after: i64, mode: &str) -> Result<ValueId, Fault> {
    let size = s.shape(x)[axis].clone();
    let most = size.as_const().map(|n| if mode == "reflect" { n - 1 } else { n });
    if mode != "edge" && most.is_some_and(|most| before.max(after) > most) || size == 0 {
        unsupported!("mode `{mode}` with pads {before} and {after} of a dimension of size {size} is not supported");
    }
    let mut parts = vec![];
    let sides = [(before, true), (after, false)];
    for (n, first) in sides {
        if !first {
            parts.push(x);
        }
        if n == 0 {
            continue;
        }
        parts.push(match mode {
            "edge" => {
                let start = if first { 0i64.into() } else { size.clone() - 1 };
                let element = s.slice(x, axis, start, 1i64.into(), 1)?;
                let mut shape = s.shape(element);
                shape[axis] = n.into();
                s.expand(element, shape)?
            }
            "reflect" => {
                let start = if first { Dim::from(n) } else { size.clone() - 2 };
                s.slice(x, axis, start, n.into(), -1)?
            }
            _ => {
                let start = if first { size.clone() - n } else { 0i64.into() };
                s.slice(x, axis, start, n.into(), 1)?
            }
        });
    }
    s.concat(&parts, axis)
}
