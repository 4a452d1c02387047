//! Operators that move elements: transpositions, slices, joins, copies, lookups.

use super::{Row, many, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::gather::gather_op::Gather;
use ir::ops::shuffle::slice::Slice;
use ir::pointwise::Fn;
use ir::{DType, Dim, Symbols, Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[
    one("Concat", concat),
    one("DepthToSpace", depth_to_space),
    one("Gather", gather),
    one("OneHot", one_hot),
    one("Slice", slice),
    one("SpaceToDepth", space_to_depth),
    many("Split", split),
    one("Tile", tile),
    one("Transpose", transpose),
    one("Trilu", trilu),
];

fn concat(s: &mut Site) -> Result<ValueId, Fault> {
    let parts = s.variadic()?;
    // Before operator set 4 the axis could be left out.
    let axis = s.axis_attribute(1, s.rank(parts[0]))?;
    s.concat(&parts, axis)
}

fn transpose(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let rank = s.rank(x);
    let perm = match s.attributes.ints("perm")? {
        Some(perm) => perm.iter().map(|p| s.axis(*p, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).rev().collect(),
    };
    s.transpose(x, &perm)
}

/// A known single index is a slice: a view or a copy of one piece.
fn gather(s: &mut Site) -> Result<ValueId, Fault> {
    let (data, indices) = (s.input(0)?, s.input(1)?);
    let shape = s.shape(data);
    let axis = s.axis_attribute(0, shape.len())?;
    if s.rank(indices) == 0
        && let Some(index) = s.sizes(indices, "index").ok().and_then(|i| i.first()?.as_const())
        && let Some(size) = shape[axis].as_const()
    {
        if index < -size || index >= size {
            invalid!("the index {index} is out of range for dimension {axis} of {}", s.ty(data));
        }
        let start = if index < 0 { index + size } else { index };
        let slice = s.slice(data, axis, start.into(), 1i64.into(), 1)?;
        let mut shape = shape;
        shape.remove(axis);
        return s.reshape(slice, shape);
    }
    s.add(Gather { axis: axis as i64 }, &[data, indices])
}

/// The smaller of a size and a limit, decided where the symbols' bounds allow it.
fn at_most(size: Dim, limit: &Dim, symbols: &Symbols) -> Dim {
    let (low, high) = (limit.clone() - size.clone()).range(symbols);
    match () {
        () if low.is_some_and(|l| l >= 0) => size,
        () if high.is_some_and(|h| h <= 0) => limit.clone(),
        () => size.min(limit.clone()),
    }
}

fn at_least(size: Dim, limit: i64, symbols: &Symbols) -> Dim {
    let (low, high) = size.range(symbols);
    match () {
        () if low.is_some_and(|l| l >= limit) => size,
        () if high.is_some_and(|h| h <= limit) => limit.into(),
        () => size.max(limit),
    }
}

/// Start, count and step of one sliced dimension; positions may count from the end and lie outside.
fn slice_range(start: &Dim, end: &Dim, step: i64, size: &Dim, symbols: &Symbols) -> (Dim, Dim) {
    const FAR: i64 = 1 << 41;
    let position = |d: &Dim| match d.as_const().map(|c| c.clamp(-FAR, FAR)) {
        Some(c) if c < 0 => size.clone() + c,
        Some(c) => c.into(),
        None if d.range(symbols).1.is_some_and(|high| high < 0) => size.clone() + d.clone(),
        None => d.clone(),
    };
    let (start, end) = (position(start), position(end));
    let (first, length) = if step > 0 {
        let first = at_least(at_most(start, size, symbols), 0, symbols);
        let last = at_least(at_most(end, size, symbols), 0, symbols);
        (first.clone(), last - first)
    } else {
        let top = size.clone() - 1;
        let first = at_least(at_most(start, &top, symbols), 0, symbols);
        let last = at_least(at_most(end, &top, symbols), -1, symbols);
        (first.clone(), first - last)
    };
    (first, at_least(length.ceil_div(step.saturating_abs()), 0, symbols))
}

/// Starts, ends and axes are attributes before operator set 10.
fn slice(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let list = |name: &str, i: usize| -> Result<Option<Vec<Dim>>, Fault> {
        match (s.attributes.ints(name)?, s.optional(i)) {
            (Some(list), _) => Ok(Some(list.iter().map(|d| Dim::from(*d)).collect())),
            (None, Some(v)) => s.sizes(v, name).map(Some),
            (None, None) => Ok(None),
        }
    };
    let (Some(starts), Some(ends)) = (list("starts", 1)?, list("ends", 2)?) else { invalid!("starts and ends are missing") };
    let axes = s.ints_or_input("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match s.optional(4) {
        Some(v) => s.ints(v, "steps")?,
        None => vec![1; starts.len()],
    };
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        invalid!("found {} starts, {} ends, {} axes and {} steps", starts.len(), ends.len(), axes.len(), steps.len());
    }
    s.axes(&axes, shape.len())?;
    let mut op = Slice { starts: vec![0i64.into(); shape.len()], counts: shape.clone(), steps: vec![1; shape.len()] };
    for i in 0..starts.len() {
        let axis = s.axis(axes[i], shape.len())?;
        if steps[i] == 0 {
            invalid!("the step of axis {axis} is 0");
        }
        // A larger step takes one element all the same.
        op.steps[axis] = steps[i].clamp(-(1 << 41), 1 << 41);
        (op.starts[axis], op.counts[axis]) = slice_range(&starts[i], &ends[i], op.steps[axis], &shape[axis], &s.graph.symbols);
    }
    if op.counts == shape && op.steps.iter().all(|s| *s == 1) {
        return Ok(x);
    }
    s.add(op, &[x])
}

/// Sizes are an attribute before operator set 13, then an input; without them the parts are equal, the last one smaller.
fn split(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let x = s.input(0)?;
    let axis = s.axis_attribute(0, s.rank(x))?;
    let size = s.shape(x)[axis].clone();
    let given: Option<Vec<Dim>> = match (s.attributes.ints("split")?, s.optional(1)) {
        (Some(list), _) => Some(list.iter().map(|d| Dim::from(*d)).collect()),
        (None, Some(v)) => Some(s.sizes(v, "split sizes")?),
        (None, None) => None,
    };
    let parts = match given {
        Some(parts) => parts,
        None => {
            let n = s.attributes.int_or("num_outputs", s.outputs.len() as i64)?;
            if n < 1 || n > s.outputs.len().max(1) as i64 {
                invalid!("{} outputs cannot hold {n} parts", s.outputs.len());
            }
            match (size.div_exact(&n.into()), size.as_const()) {
                (Some(part), _) => vec![part; n as usize],
                (None, Some(size)) => {
                    let part = (size + n - 1) / n;
                    (0..n).map(|i| part.min(size - i * part).max(0).into()).collect()
                }
                (None, None) => return Err(Fault::run_time("size of the parts")),
            }
        }
    };
    let total = parts.iter().fold(Dim::from(0i64), |sum, p| sum + p.clone());
    if total != size || parts.iter().any(|p| p.as_const().is_some_and(|p| p < 0)) {
        invalid!("parts of sizes {parts:?} do not add up to {size}, dimension {axis} of {}", s.ty(x));
    }
    let mut start = Dim::from(0i64);
    let mut results = vec![];
    for part in parts {
        results.push(s.slice(x, axis, start.clone(), part.clone(), 1)?);
        start = start + part;
    }
    Ok(results)
}

/// Copies as a broadcast between two views: `[d…] → [1, d, …] → [r, d, …] → [r·d, …]`.
fn tile(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, repeats) = (s.input(0)?, s.input(1)?);
    let shape = s.shape(x);
    let repeats = s.sizes(repeats, "repeats")?;
    if repeats.len() != shape.len() || repeats.iter().any(|r| r.as_const().is_some_and(|r| r < 0)) {
        invalid!("the repeats {repeats:?} do not fit {}", s.ty(x));
    }
    let (mut split, mut copied, mut joined) = (vec![], vec![], vec![]);
    for (size, repeat) in shape.into_iter().zip(repeats) {
        if repeat != 1 {
            split.push(1i64.into());
            copied.push(repeat.clone());
        }
        split.push(size.clone());
        copied.push(size.clone());
        joined.push(size * repeat);
    }
    let x = s.reshape(x, split)?;
    let x = s.expand(x, copied)?;
    s.reshape(x, joined)
}

fn block_size(s: &Site, x: ValueId) -> Result<i64, Fault> {
    let block = s.attributes.int_or("blocksize", 0)?;
    if !(1..=1 << 20).contains(&block) || s.rank(x) != 4 {
        invalid!("an image [N, C, H, W] and a block size are needed, found {} and {block}", s.ty(x));
    }
    Ok(block)
}

fn divide(size: &Dim, by: i64) -> Result<Dim, Fault> {
    size.div_exact(&by.into()).ok_or_else(|| Fault::invalid(format!("the size {size} is not a multiple of {by}")))
}

fn depth_to_space(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let b = block_size(s, x)?;
    let [n, c, h, w] = <[Dim; 4]>::try_from(s.shape(x)).map_err(|_| Fault::invalid("an image is needed"))?;
    let c = divide(&c, b * b)?;
    let block = Dim::from(b);
    let (split, perm) = match s.attributes.string_or("mode", "DCR")? {
        "DCR" => ([n.clone(), block.clone(), block, c.clone(), h.clone(), w.clone()], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n.clone(), c.clone(), block.clone(), block, h.clone(), w.clone()], [0, 1, 4, 2, 5, 3]),
        other => invalid!("the mode `{other}` does not exist; expected `DCR` or `CRD`"),
    };
    let x = s.reshape(x, split.to_vec())?;
    let x = s.transpose(x, &perm)?;
    s.reshape(x, vec![n, c, h * b, w * b])
}

/// Depth counts block positions before channels (`DCR`) or after them (`CRD`).
fn space_to_depth(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let b = block_size(s, x)?;
    let [n, c, h, w] = <[Dim; 4]>::try_from(s.shape(x)).map_err(|_| Fault::invalid("an image is needed"))?;
    let (h, w) = (divide(&h, b)?, divide(&w, b)?);
    let x = s.reshape(x, vec![n.clone(), c.clone(), h.clone(), b.into(), w.clone(), b.into()])?;
    let perm = match s.attributes.string_or("mode", "DCR")? {
        "DCR" => [0, 3, 5, 1, 2, 4],
        "CRD" => [0, 1, 3, 5, 2, 4],
        other => invalid!("the mode `{other}` does not exist; expected `DCR` or `CRD`"),
    };
    let x = s.transpose(x, &perm)?;
    s.reshape(x, vec![n, c * b * b, h, w])
}

/// Keeps one triangle of the last two dimensions: selects between the input and 0 by a constant mask.
fn trilu(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let upper = s.attributes.int_or("upper", 1)? != 0;
    let k = match s.optional(1) {
        Some(k) => s.scalar(k).ok_or_else(|| Fault::run_time("diagonal"))? as i64,
        None => 0,
    };
    let sizes: Vec<usize> = shape.iter().rev().take(2).rev().filter_map(|d| usize::try_from(d.as_const()?).ok()).collect();
    let [rows, columns] = sizes[..] else { return Err(Fault::run_time("size of the matrix")) };
    if rows == 0 || columns == 0 {
        return Ok(x);
    }
    if rows.checked_mul(columns).is_none_or(|n| n > 1 << 26) {
        unsupported!("matrices of {rows} x {columns} are not supported");
    }
    let mask = Tensor::from_fn(DType::Bool, &[rows, columns], |i| {
        let diagonal = ((i / columns) as i64).saturating_add(k);
        let column = (i % columns) as i64;
        f64::from(if upper { column >= diagonal } else { column <= diagonal })
    });
    let mask = s.constant_value(mask);
    if s.dtype(x) == DType::Bool {
        return s.binary(Fn::And, x, mask);
    }
    s.map(Fn::Select, [mask.into(), x.into(), 0.0.into()])
}

/// Compares positions along a new axis with the indices and chooses between two values.
fn one_hot(s: &mut Site) -> Result<ValueId, Fault> {
    let (indices, depth, values) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let depth = s.scalar(depth).ok_or_else(|| Fault::run_time("depth"))?;
    if !(1.0..=(1 << 24) as f64).contains(&depth) {
        invalid!("the depth {depth} is not a size");
    }
    let rank = s.rank(indices) + 1;
    let axis = s.axis_attribute(-1, rank)?;
    let mut shape = s.shape(indices);
    shape.insert(axis, 1i64.into());
    let indices = s.cast(indices, DType::I64)?;
    let negative = s.binary(Fn::Less, indices, 0i64)?;
    let wrapped = s.binary(Fn::Add, indices, depth as i64)?;
    let indices = s.map(Fn::Select, [negative.into(), wrapped.into(), indices.into()])?;
    let indices = s.reshape(indices, shape)?;
    let positions = s.positions(DType::I64, rank, axis, depth as i64)?;
    let hit = s.binary(Fn::Equal, indices, positions)?;
    let off = s.slice(values, 0, 0i64.into(), 1i64.into(), 1)?;
    let on = s.slice(values, 0, 1i64.into(), 1i64.into(), 1)?;
    s.map(Fn::Select, [hit.into(), on.into(), off.into()])
}
