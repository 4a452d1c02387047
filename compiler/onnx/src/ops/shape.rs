//! Constants, shapes and views: operators that compute sizes, or the same elements under another shape.

use super::{Row, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use crate::tensor::{dtype, to_dense, to_tensor};
use ir::ops::map::broadcast_dims;
use ir::ops::routine::dynamic::Cumulate;
use ir::{Dim, Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[
    one("Constant", constant),
    one("ConstantOfShape", constant_of_shape),
    one("Expand", expand),
    one("EyeLike", eye_like),
    one("Flatten", flatten),
    one("Range", range),
    one("Reshape", reshape),
    one("Shape", shape),
    one("Size", size),
    one("Squeeze", squeeze),
    one("Unsqueeze", unsqueeze),
];

/// Elements that the importer writes into the graph itself.
const LIMIT: usize = 1 << 24;

fn constant(s: &mut Site) -> Result<ValueId, Fault> {
    let a = &s.attributes;
    let tensor = if let Some(value) = a.get("value").and_then(|v| v.t.as_ref()) {
        to_tensor(value, s.base)?
    } else if let Some(value) = a.get("sparse_value").and_then(|v| v.sparse_tensor.as_ref()) {
        to_dense(value, s.base)?
    } else if let Some(value) = a.get("value_float") {
        Tensor::scalar(value.f())
    } else if let Some(values) = a.floats("value_floats")? {
        Tensor::new(&[values.len()], values)
    } else if let Some(value) = a.int("value_int")? {
        Tensor::scalar(value)
    } else if let Some(values) = a.ints("value_ints")? {
        Tensor::new(&[values.len()], values)
    } else if a.has("value_string") || a.has("value_strings") {
        unsupported!("constants of strings are not supported");
    } else {
        invalid!("the constant has no value");
    };
    Ok(s.constant_value(tensor))
}

fn constant_of_shape(s: &mut Site) -> Result<ValueId, Fault> {
    let shape = s.input(0)?;
    let shape = s.sizes(shape, "shape")?;
    let value = match s.attributes.get("value").and_then(|v| v.t.as_ref()) {
        Some(value) => to_tensor(value, s.base)?,
        None => Tensor::scalar(0f32),
    };
    if value.len() != 1 {
        invalid!("the value must have one element, found {}", value.len());
    }
    check_sizes(&shape)?;
    let value = s.constant_value(value.reshaped(&[]));
    s.expand(value, shape)
}

fn check_sizes(shape: &[Dim]) -> Result<(), Fault> {
    match shape.iter().find(|d| d.as_const().is_some_and(|d| d < 0)) {
        Some(d) => Err(Fault::invalid(format!("the shape {shape:?} has the negative size {d}"))),
        None => Ok(()),
    }
}

/// Broadcasts in both directions: a target size of 1 keeps the input's.
fn expand(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, target) = (s.input(0)?, s.input(1)?);
    let target = s.sizes(target, "shape")?;
    check_sizes(&target)?;
    let shape = broadcast_dims(&[&s.shape(x), &target])?;
    s.expand(x, shape)
}

fn eye_like(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let shape = s.const_shape(x, "shape")?;
    let k = s.attributes.int_or("k", 0)?;
    let dtype = match s.attributes.int("dtype")? {
        Some(number) => dtype(i32::try_from(number).unwrap_or(-1))?,
        None => s.dtype(x),
    };
    let [rows, columns] = shape[..] else { invalid!("the input must be a matrix, found {}", s.ty(x)) };
    let size = [rows as usize, columns as usize];
    if size[0].checked_mul(size[1]).is_none_or(|n| n == 0 || n > LIMIT) {
        unsupported!("a matrix of shape {shape:?} is not supported");
    }
    let columns = size[1];
    let eye = Tensor::from_fn(dtype, &size, |i| f64::from((i % columns) as i64 == ((i / columns) as i64).saturating_add(k)));
    Ok(s.constant_value(eye))
}

fn flatten(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let axis = s.attributes.int_or("axis", 1)?;
    // The axis may be the rank itself: then there is one column.
    let axis = if axis == shape.len() as i64 { shape.len() } else { s.axis(axis, shape.len())? };
    s.reshape(x, vec![shape[..axis].iter().product(), shape[axis..].iter().product()])
}

fn range(s: &mut Site) -> Result<ValueId, Fault> {
    let ids = [s.input(0)?, s.input(1)?, s.input(2)?];
    if let Some(range) = free_range(s, ids)? {
        return Ok(range);
    }
    let mut values = [0.0; 3];
    for (value, id) in values.iter_mut().zip(ids) {
        let size = s.graph.value(id).sizes.as_ref().and_then(|d| d.first()?.as_const()).map(|d| d as f64);
        *value = s.scalar(id).or(size).ok_or_else(|| Fault::run_time("range"))?;
    }
    let [start, limit, delta] = values;
    let n = ((limit - start) / delta).ceil().max(0.0);
    if n.is_nan() || n > LIMIT as f64 {
        invalid!("the range from {start} to {limit} in steps of {delta} cannot be made");
    }
    Ok(s.constant_value(Tensor::from_fn(s.dtype(ids[0]), &[n as usize], |i| start + i as f64 * delta)))
}

/// A range between sizes of which some are free: the beginning of the longest one, whose length the bounds give, or running
/// sums of steps where they don't.
fn free_range(s: &mut Site, ids: [ValueId; 3]) -> Result<Option<ValueId>, Fault> {
    let dtype = s.dtype(ids[0]);
    let sizes = ids.map(|id| s.graph.value(id).sizes.as_ref().and_then(|sizes| sizes.first().cloned()));
    let [Some(start), Some(limit), Some(delta)] = sizes else { return Ok(None) };
    let (Some(delta), true) = (delta.as_const().filter(|d| *d > 0), dtype.is_int()) else { return Ok(None) };
    if start.is_const() && limit.is_const() {
        return Ok(None);
    }
    let n = (limit - start.clone()).ceil_div(delta);
    let (least, most) = n.range(&s.graph.symbols);
    let most = most.and_then(|most| usize::try_from(most).ok()).filter(|most| *most <= LIMIT);
    let n = if least.is_some_and(|least| least >= 0) { n } else { n.max(0) };
    let range = match most {
        Some(most) => {
            let longest = s.constant_value(Tensor::from_fn(dtype, &[most], |i| (i as i64 * delta) as f64));
            s.slice(longest, 0, 0i64.into(), n, 1)?
        }
        None => {
            let step = s.constant_value(Tensor::from_fn(dtype, &[], |_| delta as f64));
            let steps = s.expand(step, vec![n])?;
            let axis = s.constant_value(Tensor::scalar(0i64));
            s.add(Cumulate { product: false, exclusive: true, reverse: false }, &[steps, axis])?
        }
    };
    let start = s.size_operand(&start, dtype)?;
    s.map(ir::pointwise::Fn::Add, [range.into(), start]).map(Some)
}

/// In the target −1 (once) stands for what is left, 0 for the input's size unless `allowzero`.
fn reshape(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let from = s.ty(x);
    let target: Vec<Dim> = match s.attributes.ints("shape")? {
        Some(shape) => shape.iter().map(|d| Dim::from(*d)).collect(),
        None => {
            let shape = s.input(1)?;
            s.sizes(shape, "shape")?
        }
    };
    let copies_zero = !s.attributes.flag("allowzero")?;
    let mut shape = vec![];
    let mut rest = None;
    for (i, size) in target.iter().enumerate() {
        shape.push(match size.as_const() {
            Some(0) if copies_zero => match from.shape.get(i) {
                Some(size) => size.clone(),
                None => invalid!("the target shape {target:?} keeps dimension {i}, which {from} does not have"),
            },
            Some(-1) if rest.is_none() => {
                rest = Some(i);
                Dim::from(1i64)
            }
            Some(n) if n < 0 => invalid!("the target shape {target:?} is not valid"),
            _ => size.clone(),
        });
    }
    if let Some(i) = rest {
        let others: Dim = shape.iter().product();
        let elements = from.elements();
        shape[i] = match elements.div_exact(&others) {
            Some(size) => size,
            None if elements == 0 => 0i64.into(),
            None if elements.is_const() && others.is_const() => invalid!("{from} cannot be reshaped to {target:?}"),
            None => elements.floor_div(others),
        };
    }
    s.reshape(x, shape)
}

/// The shape from `start` to `end`.
fn shape(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let rank = shape.len() as i64;
    let clamp = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let (start, end) = (clamp(s.attributes.int_or("start", 0)?), clamp(s.attributes.int_or("end", rank)?));
    s.sizes_value(shape.get(start..end).unwrap_or_default().to_vec())
}

fn size(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let sizes = s.sizes_value(vec![s.ty(x).elements()])?;
    s.reshape(sizes, vec![])
}

fn squeeze(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let from = s.shape(x);
    let axes = match s.ints_or_input("axes", 1)? {
        Some(axes) => s.axes(&axes, from.len())?,
        None => (0..from.len()).filter(|d| from[*d] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|a| from[**a].as_const().is_some_and(|d| d != 1)) {
        invalid!("dimension {axis} of {} has not the size 1", s.ty(x));
    }
    let shape = from.into_iter().enumerate().filter(|(d, _)| !axes.contains(d)).map(|(_, size)| size);
    s.reshape(x, shape.collect())
}

fn unsqueeze(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let Some(axes) = s.ints_or_input("axes", 1)? else { invalid!("the axes are missing") };
    let mut shape = s.shape(x);
    let axes = s.axes(&axes, shape.len() + axes.len())?;
    axes.iter().for_each(|a| shape.insert(*a, 1i64.into()));
    s.reshape(x, shape)
}
