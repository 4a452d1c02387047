//! Mutations of whole graphs: declared types, ports, operator sets, parts of another model, nesting, functions, names.

use super::node::names as values;
use super::some_graph;
use crate::rng::Rng;
use onnx::proto::attribute_proto::AttributeType;
use onnx::proto::tensor_shape_proto::{Dimension, dimension};
use onnx::proto::type_proto::Value;
use onnx::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto};

pub(super) fn value_infos(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(graph) = some_graph(model, rng) else { return };
    let list = match rng.below(4) {
        0 | 1 => &mut graph.input,
        2 => &mut graph.output,
        _ => &mut graph.value_info,
    };
    let Some(info) = rng.pick_mut(list) else { return };
    let Some(TypeProto { value: Some(Value::TensorType(tensor)), .. }) = &mut info.r#type else {
        info.r#type = None;
        return;
    };
    match rng.below(8) {
        0 => tensor.elem_type = Some(rng.range(-1, 27) as i32),
        1 => tensor.shape = None,
        2 if rng.one_in(3) => info.r#type = None,
        _ => {
            let dims = &mut tensor.shape.get_or_insert_default().dim;
            let new = match rng.below(5) {
                0 => None,
                1 => Some(dimension::Value::DimParam(["", "batch", "n", "s", "2x y", "batch*2", "\u{e9}"][rng.below(7)].into())),
                _ => Some(dimension::Value::DimValue(rng.wild(4))),
            };
            let new = Dimension { value: new, ..Dimension::default() };
            match rng.below(5) {
                0 => dims.push(new),
                1 => {
                    dims.pop();
                }
                2 if rng.one_in(8) => dims.extend(vec![new; 40]),
                _ => match rng.pick_mut(dims) {
                    Some(dim) => *dim = new,
                    None => dims.push(new),
                },
            }
        }
    }
}

pub(super) fn ports(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(graph) = some_graph(model, rng) else { return };
    let names = values(graph);
    let name = rng.pick(&names).cloned();
    let copy = |list: &mut Vec<ValueInfoProto>, rng: &mut Rng| {
        let copy = rng.pick(list).cloned();
        list.extend(copy);
    };
    match rng.below(8) {
        0 => copy(&mut graph.input, rng),
        1 => copy(&mut graph.output, rng),
        2 => {
            graph.input.pop();
        }
        3 => graph.output.clear(),
        4 => {
            let copy = rng.pick(&graph.initializer).cloned();
            graph.initializer.extend(copy);
        }
        5 => graph.output.push(ValueInfoProto { name, ..ValueInfoProto::default() }),
        6 => graph.input.push(ValueInfoProto { name, ..ValueInfoProto::default() }),
        _ => {
            if let Some(output) = rng.pick_mut(&mut graph.output) {
                output.name = name;
            }
        }
    }
}

pub(super) fn opsets(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let version = [1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 21, 22, 23, 24, 28, 99, 0, -1, i64::MAX, i64::MIN][rng.below(23)];
    match rng.pick_mut(&mut model.opset_import) {
        Some(opset) => opset.version = Some(version),
        None => model.opset_import.push(OperatorSetIdProto { domain: None, version: Some(version) }),
    }
    if rng.one_in(8) {
        model.opset_import.clear();
    }
}

/// Nodes of another model, with its constants, reading values of this one.
pub(super) fn splice(model: &mut ModelProto, other: &ModelProto, rng: &mut Rng) {
    let Some(from) = &other.graph else { return };
    model.opset_import.extend(other.opset_import.iter().filter(|o| !o.domain().is_empty()).cloned());
    let Some(graph) = &mut model.graph else { return };
    let known = values(graph);
    let start = rng.below(from.node.len());
    for node in from.node.iter().skip(start).take(1 + rng.below(6)) {
        let mut node = node.clone();
        for input in &mut node.input {
            if let Some(t) = from.initializer.iter().find(|t| t.name() == input).filter(|t| !known.iter().any(|n| n == t.name())) {
                if !graph.initializer.iter().any(|have| have.name == t.name) {
                    graph.initializer.push(t.clone());
                }
            } else if !rng.one_in(4) {
                *input = rng.pick(&known).cloned().unwrap_or_default();
            }
        }
        if let (Some(result), true) = (node.output.first().cloned(), rng.one_in(2))
            && let Some(output) = rng.pick_mut(&mut graph.output)
        {
            output.name = Some(result);
        }
        graph.node.push(node);
    }
}

/// The graph within a branch of itself, a few times or far more often than anything should nest.
pub(super) fn nest(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let times = [1, 2, 5, 20, 30, 31, 33, 45, 200][rng.below(9)];
    for _ in 0..times {
        let Some(inner) = model.graph.take() else { return };
        if inner.node.len() > 200 {
            model.graph = Some(inner);
            return;
        }
        let (input, output, initializer) = (inner.input.clone(), inner.output.clone(), inner.initializer.clone());
        let body = GraphProto { input: vec![], initializer: vec![], ..inner };
        let branch = |name: &str| AttributeProto {
            name: Some(name.into()),
            r#type: Some(AttributeType::Graph as i32),
            g: Some(body.clone()),
            ..AttributeProto::default()
        };
        // Both branches would double it every time.
        let mut attribute = vec![branch("then_branch")];
        if times < 3 {
            attribute.push(branch("else_branch"));
        }
        let condition = values(&body).first().cloned().or_else(|| input.first().map(|i| i.name().into())).unwrap_or_default();
        let outputs = output.iter().map(|o| o.name().to_string()).collect();
        let node = NodeProto { op_type: Some("If".into()), input: vec![condition], output: outputs, attribute, ..NodeProto::default() };
        model.graph = Some(GraphProto { node: vec![node], input, output, initializer, ..GraphProto::default() });
    }
}

/// Functions that call themselves or each other, or many times, or not with what they take.
pub(super) fn functions(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(graph) = &mut model.graph else { return };
    let call = |name: String, input: &str, output: &str| NodeProto {
        op_type: Some(name),
        domain: Some("local".into()),
        input: vec![input.into()],
        output: vec![output.into()],
        ..NodeProto::default()
    };
    // Some expand to more nodes than there may be, which takes a while.
    let (depth, width) = if rng.one_in(20) { (31, 2) } else { [(1, 2), (3, 3), (30, 1), (40, 1), (2, 4), (5, 2)][rng.below(6)] };
    let cyclic = rng.one_in(20);
    for level in 0..depth {
        let next = if level + 1 == depth { 0 } else { level + 1 };
        let mut node: Vec<NodeProto> = if level + 1 == depth && !cyclic {
            vec![NodeProto { op_type: Some("Relu".into()), input: vec!["x".into()], output: vec!["y".into()], ..NodeProto::default() }]
        } else {
            (0..width).map(|_| call(format!("f{next}"), "x", "y")).collect()
        };
        if rng.one_in(6) {
            node.pop();
        }
        model.functions.push(FunctionProto {
            name: Some(format!("f{level}")),
            domain: Some("local".into()),
            input: vec!["x".into()],
            output: vec!["y".into()],
            node,
            ..FunctionProto::default()
        });
    }
    let known = values(graph);
    let input = rng.pick(&known).cloned().unwrap_or_default();
    graph.node.push(call("f0".into(), &input, "called"));
    if let Some(output) = graph.output.first_mut() {
        output.name = Some("called".into());
    }
}

/// Names that are long, empty, equal or strange.
fn names_of(rng: &mut Rng) -> String {
    match rng.below(6) {
        0 => String::new(),
        1 => "x".repeat(10_000),
        2 => "\u{1f600}\n\"%".into(),
        3 => "a/b/../c".into(),
        4 => "%0".into(),
        _ => "x".into(),
    }
}

pub(super) fn names(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let new = names_of(rng);
    let Some(graph) = some_graph(model, rng) else { return };
    if rng.one_in(3) {
        // Of a value, everywhere.
        let known = values(graph);
        let Some(old) = rng.pick(&known).cloned() else { return };
        let rename = |name: &mut String| {
            if *name == old {
                name.clone_from(&new);
            }
        };
        graph.node.iter_mut().for_each(|n| n.input.iter_mut().chain(&mut n.output).for_each(rename));
        let infos = graph.input.iter_mut().chain(&mut graph.output).filter_map(|i| i.name.as_mut());
        infos.chain(graph.initializer.iter_mut().filter_map(|t| t.name.as_mut())).for_each(rename);
    } else if let Some(node) = rng.pick_mut(&mut graph.node) {
        node.name = Some(new);
    } else {
        graph.name = Some(new);
    }
}
