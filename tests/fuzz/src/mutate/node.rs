//! Mutations of nodes: attributes, operands, results, operators, order.

use super::{is_graph, some_graph};
use crate::rng::Rng;
use onnx::proto::attribute_proto::AttributeType;
use onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto};

fn node<'m>(model: &'m mut ModelProto, rng: &mut Rng) -> Option<&'m mut NodeProto> {
    let in_function = !model.functions.is_empty() && rng.one_in(3);
    if in_function {
        return rng.pick_mut(&mut model.functions).and_then(|f| rng.pick_mut(&mut f.node));
    }
    some_graph(model, rng).and_then(|g| rng.pick_mut(&mut g.node))
}

/// A node that has attributes, if there is one.
fn attribute<'m>(model: &'m mut ModelProto, rng: &mut Rng) -> Option<&'m mut AttributeProto> {
    let graph = some_graph(model, rng)?;
    let mut all: Vec<&mut AttributeProto> = graph.node.iter_mut().flat_map(|n| &mut n.attribute).collect();
    let i = rng.below(all.len());
    if all.is_empty() { None } else { Some(all.swap_remove(i)) }
}

pub(super) fn attribute_value(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(a) = attribute(model, rng) else { return };
    match a.r#type() {
        AttributeType::Int => a.i = Some(rng.wild(a.i())),
        AttributeType::Float => a.f = Some(rng.wild_float()),
        AttributeType::String => a.s = Some(text(rng)),
        AttributeType::Ints => integers(&mut a.ints, rng),
        AttributeType::Floats => {
            if rng.one_in(3) {
                a.floats.push(1.0);
            }
            if let Some(f) = rng.pick_mut(&mut a.floats) {
                *f = 0.0;
            }
            let wild = rng.wild_float();
            if let Some(f) = rng.pick_mut(&mut a.floats) {
                *f = wild;
            }
        }
        AttributeType::Strings => {
            let new = text(rng);
            match rng.pick_mut(&mut a.strings) {
                Some(s) => *s = new,
                None => a.strings.push(new),
            }
        }
        AttributeType::Tensor => {
            if let Some(t) = &mut a.t {
                super::tensor::change(t, rng);
            }
        }
        _ => a.r#type = Some(rng.range(0, 15) as i32),
    }
}

/// Other elements, or another number of them.
pub(super) fn integers(list: &mut Vec<i64>, rng: &mut Rng) {
    match rng.below(6) {
        0 => {
            list.pop();
        }
        1 => list.push(rng.range(-2, 3)),
        2 => list.clear(),
        3 => list.extend(list.clone()),
        _ => {
            if let Some(i) = list.len().checked_sub(1).map(|last| rng.below(last + 1)) {
                list[i] = rng.wild(list[i]);
            }
        }
    }
}

/// Names of modes, and what is none.
fn text(rng: &mut Rng) -> Vec<u8> {
    let known: &[&[u8]] = &[
        b"",
        b"\xff\xfe",
        b"SAME_UPPER",
        b"SAME_LOWER",
        b"VALID",
        b"linear",
        b"cubic",
        b"nearest",
        b"reflect",
        b"edge",
        b"wrap",
        b"constant",
        b"bidirectional",
        b"reverse",
        b"add",
        b"mul",
        b"max",
        b"align_corners",
        b"half_pixel",
        b"floor",
        b"ceil",
        b"DCR",
        b"CRD",
        b"tanh",
        b"none",
        b"ij,jk->ik",
        b"...ij,...jk->...ik",
        b"ii->i",
        b"i,->i",
        b"...->",
        b"->a",
        b"i\0j",
    ];
    known[rng.below(known.len())].to_vec()
}

pub(super) fn attribute_kind(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(a) = attribute(model, rng) else { return };
    match rng.below(4) {
        0 => a.r#type = Some(rng.range(0, 15) as i32),
        1 => a.r#type = None,
        2 => a.ref_attr_name = Some(a.name().to_string()),
        _ => {
            let (name, kind) = (a.name.clone(), [AttributeType::Int, AttributeType::Ints, AttributeType::Float, AttributeType::String]);
            *a = AttributeProto { name, r#type: Some(kind[rng.below(4)] as i32), i: Some(rng.wild(1)), ..AttributeProto::default() };
            a.ints = (0..rng.below(5)).map(|_| rng.wild(1)).collect();
        }
    }
}

/// Names that many operators look at.
const NAMES: &[&str] = &[
    "axis",
    "axes",
    "perm",
    "pads",
    "strides",
    "dilations",
    "group",
    "kernel_shape",
    "to",
    "keepdims",
    "epsilon",
    "mode",
    "auto_pad",
    "ceil_mode",
    "num_outputs",
    "blocksize",
    "hidden_size",
    "direction",
    "transB",
    "alpha",
    "value",
    "allowzero",
    "output_shape",
    "batch_dims",
    "largest",
    "sorted",
    "num_heads",
    "equation",
    "split",
    "noop_with_empty_axes",
    "storage_order",
    "layout",
];

pub(super) fn attribute_set(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(node) = node(model, rng) else { return };
    match rng.below(4) {
        0 => {
            let i = rng.below(node.attribute.len());
            if i < node.attribute.len() {
                node.attribute.remove(i);
            }
        }
        1 => {
            let copy = rng.pick(&node.attribute).cloned();
            node.attribute.extend(copy);
        }
        2 => {
            let name = NAMES[rng.below(NAMES.len())].to_string();
            if let Some(a) = rng.pick_mut(&mut node.attribute) {
                a.name = Some(name);
            }
        }
        _ => {
            let name = Some(NAMES[rng.below(NAMES.len())].to_string());
            let mut a = AttributeProto { name, ..AttributeProto::default() };
            let kind = [AttributeType::Int, AttributeType::Ints, AttributeType::Float][rng.below(3)];
            a.r#type = Some(kind as i32);
            match kind {
                AttributeType::Int => a.i = Some(rng.wild(0)),
                AttributeType::Ints => a.ints = (0..rng.below(5)).map(|_| rng.wild(1)).collect(),
                _ => a.f = Some(rng.wild_float()),
            }
            node.attribute.push(a);
        }
    }
}

/// All names of values in a graph.
pub(super) fn names(graph: &GraphProto) -> Vec<String> {
    let results = graph.node.iter().flat_map(|n| n.output.iter().cloned());
    let inputs = graph.input.iter().map(|i| i.name().to_string());
    inputs.chain(graph.initializer.iter().map(|t| t.name().to_string())).chain(results).collect()
}

pub(super) fn inputs(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(graph) = some_graph(model, rng) else { return };
    let names = names(graph);
    let name = rng.pick(&names).cloned().unwrap_or_default();
    let Some(node) = rng.pick_mut(&mut graph.node) else { return };
    let (at, new) = (rng.below(node.input.len()), if rng.one_in(8) { "nowhere".into() } else { name });
    match rng.below(7) {
        0 => {
            node.input.pop();
        }
        1 => node.input.push(new),
        2 => node.input.clear(),
        3 if at < node.input.len() => node.input[at] = String::new(),
        // Its own result.
        4 if at < node.input.len() => node.input[at] = node.output.first().cloned().unwrap_or_default(),
        5 => node.input.reverse(),
        _ if at < node.input.len() => node.input[at] = new,
        _ => node.input.extend(std::iter::repeat_n(new, 9)),
    }
}

pub(super) fn outputs(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(graph) = some_graph(model, rng) else { return };
    let names = names(graph);
    let name = rng.pick(&names).cloned().unwrap_or_default();
    let Some(node) = rng.pick_mut(&mut graph.node) else { return };
    let at = rng.below(node.output.len());
    match rng.below(5) {
        0 => {
            node.output.pop();
        }
        1 => node.output.push("new".into()),
        2 => node.output.push(name),
        3 if at < node.output.len() => node.output[at] = String::new(),
        _ if at < node.output.len() => node.output[at] = name,
        _ => node.output.clear(),
    }
}

pub(super) fn operator(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let known: Vec<(&str, &str)> = onnx::supported_ops().collect();
    let (domain, name) = known[rng.below(known.len())];
    let Some(node) = node(model, rng) else { return };
    match rng.below(6) {
        0 => node.domain = Some("com.example".into()),
        1 => node.op_type = Some("Nothing".into()),
        _ => {
            node.domain = Some(domain.into());
            node.op_type = Some(name.into());
            if rng.one_in(2) {
                node.attribute.retain(|a| is_graph(a.r#type()));
            }
        }
    }
}

pub(super) fn order(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(graph) = some_graph(model, rng) else { return };
    let n = graph.node.len();
    if n == 0 {
        return;
    }
    let (a, b) = (rng.below(n), rng.below(n));
    match rng.below(4) {
        0 => graph.node.swap(a, b),
        1 => {
            graph.node.remove(a);
        }
        2 => graph.node.insert(b, graph.node[a].clone()),
        _ => graph.node.reverse(),
    }
}
