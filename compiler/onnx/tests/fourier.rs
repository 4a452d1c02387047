//! Long Fourier transforms, which the importer writes as two rounds, against their definition.

use ir::{DType, Tensor};
use onnx::proto::attribute_proto::AttributeType;
use onnx::proto::tensor_shape_proto::{Dimension, dimension};
use onnx::proto::*;
use onnx::{ImportOptions, import_bytes};
use prost::Message;

fn port(name: &str, shape: &[i64]) -> ValueInfoProto {
    let dim = |d: &i64| Dimension { value: Some(dimension::Value::DimValue(*d)), ..Default::default() };
    let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(shape) };
    let of = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(of), ..Default::default() }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: Some(AttributeType::Int as i32), ..Default::default() }
}

/// Products of the graph, and its result.
fn run(batch: i64, n: i64, parts: i64, onesided: bool, inverse: bool, x: &Tensor) -> (usize, Tensor) {
    let to = if onesided { n / 2 + 1 } else { n };
    let attribute = vec![int("axis", 1), int("onesided", onesided.into()), int("inverse", inverse.into())];
    let node =
        NodeProto { op_type: Some("DFT".into()), input: vec!["x".into()], output: vec!["y".into()], attribute, ..Default::default() };
    let (input, output) = (vec![port("x", &[batch, n, parts])], vec![port("y", &[batch, to, 2])]);
    let graph = GraphProto { name: Some("dft".into()), node: vec![node], input, output, ..Default::default() };
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
    let model = ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() };
    let imported = import_bytes(model.encode_to_vec(), &ImportOptions::default()).unwrap();
    let products = imported.graph.node_ids().filter(|id| imported.graph.node(*id).op.name() == "matmul").count();
    let mut results = ir::eval::eval(&imported.graph, std::slice::from_ref(x)).unwrap();
    (products, results.remove(0))
}

#[test]
fn two_rounds_equal_the_definition() {
    // Lengths, whether there are two rounds, and what else varies.
    let cases = [
        (1, 512, 1, true, false, 2),
        (2, 600, 2, false, true, 2),
        (1, 640, 2, false, false, 2),
        (1, 521, 1, true, false, 1),
        (2, 256, 2, false, false, 1),
    ];
    for (batch, n, parts, onesided, inverse, products) in cases {
        let x = Tensor::from_fn(DType::F32, &[batch as usize, n as usize, parts as usize], |i| ((i * i) as f64 * 0.37).sin());
        let (found_products, y) = run(batch, n, parts, onesided, inverse, &x);
        assert_eq!(found_products, products, "length {n}");
        let (x, y) = (x.to_f64s(), y.to_f64s());
        let to = y.len() as i64 / 2 / batch;
        for b in 0..batch {
            for k in (0..to).step_by(37) {
                let (mut re, mut im) = (0.0, 0.0);
                for i in 0..n {
                    let at = ((b * n + i) * parts) as usize;
                    let (a, b) = (x[at], if parts == 2 { x[at + 1] } else { 0.0 });
                    let turn = std::f64::consts::TAU * ((i * k) % n) as f64 / n as f64;
                    let (sin, cos) = if inverse { turn.sin_cos() } else { (-turn).sin_cos() };
                    re += a * cos - b * sin;
                    im += a * sin + b * cos;
                }
                let scale = if inverse { n as f64 } else { 1.0 };
                let at = 2 * (b * to + k) as usize;
                let error = (y[at] - re / scale).abs().max((y[at + 1] - im / scale).abs()) * scale;
                assert!(error < 1e-3, "length {n}, frequency {k}: {} + {}i instead of {re} + {im}i", y[at], y[at + 1]);
            }
        }
    }
}
