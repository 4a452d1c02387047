//! Mutations of tensors: shapes, types, elements, missing and external data.

use super::some_graph;
use crate::rng::Rng;
use onnx::proto::tensor_shape_proto::{Dimension, dimension};
use onnx::proto::type_proto::{Tensor, Value};
use onnx::proto::{ModelProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto};

fn tensor<'m>(model: &'m mut ModelProto, rng: &mut Rng) -> Option<&'m mut TensorProto> {
    let graph = some_graph(model, rng)?;
    let attributes = graph.node.iter_mut().flat_map(|n| &mut n.attribute).filter_map(|a| a.t.as_mut());
    let mut all: Vec<&mut TensorProto> = graph.initializer.iter_mut().chain(attributes).collect();
    let i = rng.below(all.len());
    if all.is_empty() { None } else { Some(all.swap_remove(i)) }
}

/// Any change.
pub(super) fn change(t: &mut TensorProto, rng: &mut Rng) {
    match rng.below(4) {
        0 => super::node::integers(&mut t.dims, rng),
        1 => t.data_type = Some(rng.range(-1, 27) as i32),
        _ => set_elements(t, rng),
    }
}

pub(super) fn dims(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(t) = tensor(model, rng) else { return };
    match rng.below(4) {
        // The same elements in another shape.
        0 if t.dims.len() > 1 => {
            let last = t.dims.pop().unwrap_or(1);
            if let Some(d) = t.dims.last_mut() {
                *d = d.wrapping_mul(last);
            }
        }
        1 => t.dims.insert(0, 1),
        _ => super::node::integers(&mut t.dims, rng),
    }
}

pub(super) fn dtype(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    if let Some(t) = tensor(model, rng) {
        t.data_type = Some(rng.range(-1, 27) as i32);
    }
}

/// Sizes, axes and pads are elements: extreme ones go far.
pub(super) fn elements(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(graph) = some_graph(model, rng) else { return };
    let attributes = graph.node.iter_mut().flat_map(|n| &mut n.attribute).filter_map(|a| a.t.as_mut());
    let all = graph.initializer.iter_mut().chain(attributes);
    let mut small: Vec<&mut TensorProto> = all.filter(|t| [6, 7].contains(&t.data_type()) || rng.one_in(4)).collect();
    let i = rng.below(small.len());
    if let Some(t) = small.get_mut(i) {
        set_elements(t, rng);
    }
}

fn set_elements(t: &mut TensorProto, rng: &mut Rng) {
    let wide = t.data_type() == 7;
    if let Some(raw) = &t.raw_data {
        let mut raw = raw.to_vec();
        let size = if wide { 8 } else { 4 };
        let i = rng.below(raw.len() / size) * size;
        if let Some(bytes) = raw.get_mut(i..i + size) {
            let mut old = [0; 8];
            old[..size].copy_from_slice(bytes);
            let new = if t.data_type() == 1 { i64::from(rng.wild_float().to_bits()) } else { rng.wild(i64::from_le_bytes(old)) };
            bytes.copy_from_slice(&new.to_le_bytes()[..size]);
        }
        t.raw_data = Some(raw.into());
        return;
    }
    super::node::integers(&mut t.int64_data, rng);
    let wild = rng.wild(1) as i32;
    if let Some(x) = rng.pick_mut(&mut t.int32_data) {
        *x = wild;
    }
    let wild = rng.wild_float();
    if let Some(x) = rng.pick_mut(&mut t.float_data) {
        *x = wild;
    }
}

pub(super) fn data(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(t) = tensor(model, rng) else { return };
    match rng.below(5) {
        0 => t.raw_data = None,
        1 => t.raw_data = Some(vec![0xff; rng.below(40)].into()),
        2 => t.float_data.push(1.0),
        3 => t.segment = Some(onnx::proto::tensor_proto::Segment { begin: Some(0), end: Some(rng.wild(1)) }),
        _ => {
            if let Some(raw) = &mut t.raw_data {
                let n = rng.below(raw.len());
                raw.truncate(n);
            }
        }
    }
}

/// Places outside of the model's folder, links, folders, devices, and files that are too short.
pub(crate) const LOCATIONS: &[&str] = &[
    "data.bin",
    "./data.bin",
    "../data.bin",
    "sub/../../data.bin",
    "sub/../data.bin",
    "/etc/passwd",
    "/dev/zero",
    "link",
    "loop",
    "dangling",
    "sub",
    "sub/data.bin",
    "",
    ".",
    "..",
    "missing",
    "data.bin/x",
    "a\0b",
    "fifo",
    "model.onnx",
];

pub(super) fn external(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(t) = tensor(model, rng) else { return };
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    t.data_location = Some(1);
    if rng.one_in(2) {
        t.raw_data = None;
    }
    let location = if rng.one_in(40) { "x".repeat(5000) } else { LOCATIONS[rng.below(LOCATIONS.len())].to_string() };
    t.external_data = vec![entry("location", location)];
    for key in ["offset", "length"] {
        if rng.one_in(2) {
            let value = match rng.below(4) {
                0 => String::new(),
                1 => u64::MAX.to_string(),
                2 => rng.wild(4).to_string(),
                _ => rng.below(300).to_string(),
            };
            t.external_data.push(entry(key, value));
        }
    }
    if rng.one_in(8) {
        let copy = t.external_data.clone();
        t.external_data.extend(copy);
    }
    if rng.one_in(4) {
        super::node::integers(&mut t.dims, rng);
    }
}

/// A declared input of the tensor's type.
pub(super) fn as_input(t: &TensorProto) -> ValueInfoProto {
    let dim = |d: &i64| Dimension { value: Some(dimension::Value::DimValue(*d)), ..Dimension::default() };
    let shape = TensorShapeProto { dim: t.dims.iter().map(dim).collect() };
    let ty = Tensor { elem_type: t.data_type, shape: Some(shape) };
    let ty = TypeProto { value: Some(Value::TensorType(ty)), ..TypeProto::default() };
    ValueInfoProto { name: t.name.clone(), r#type: Some(ty), ..ValueInfoProto::default() }
}
