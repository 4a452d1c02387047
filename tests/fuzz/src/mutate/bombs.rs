//! Small files that ask for much memory or time.

use crate::rng::Rng;
use onnx::proto::attribute_proto::AttributeType;
use onnx::proto::{AttributeProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto};

/// Sizes beyond what a file or a memory holds, and some that it just holds.
const SIZES: &[i64] = &[1 << 10, 1 << 16, 1 << 20, 1 << 24, 1 << 28, (1 << 30) - 1, 1 << 31, 1 << 33, 1 << 40, 1 << 62, i64::MAX, -1];

fn integers(name: &str, values: &[i64]) -> TensorProto {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let dims = vec![values.len() as i64];
    TensorProto { name: Some(name.into()), data_type: Some(7), dims, raw_data: Some(raw.into()), ..TensorProto::default() }
}

fn scalar(name: &str, value: i64) -> TensorProto {
    TensorProto { dims: vec![], ..integers(name, &[value]) }
}

/// Constants that declare far more than they hold.
pub(super) fn constant(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(graph) = &mut model.graph else { return };
    let dims: Vec<i64> = (0..1 + rng.below(3)).map(|_| SIZES[rng.below(SIZES.len())]).collect();
    let name = graph.initializer.first().map_or("bomb".to_string(), |t| t.name().to_string());
    graph.initializer.retain(|t| t.name() != name);
    match rng.below(3) {
        0 => graph.initializer.push(TensorProto { dims, data_type: Some(1), name: Some(name), ..TensorProto::default() }),
        1 => {
            let values = TensorProto { data_type: Some(1), dims: vec![1], float_data: vec![1.0], ..TensorProto::default() };
            let values = TensorProto { name: Some(name), ..values };
            let indices = integers("", &[rng.wild(0)]);
            graph.sparse_initializer.push(SparseTensorProto { values: Some(values), indices: Some(indices), dims });
        }
        _ => {
            let width = rng.range(2, 5) as i32 * 4 + 2;
            graph.initializer.push(TensorProto { dims, data_type: Some(width), name: Some(name), ..TensorProto::default() });
        }
    }
}

/// Operators that make much of little, read by the model's first node.
pub(super) fn operator(model: &mut ModelProto, _: &ModelProto, rng: &mut Rng) {
    let Some(graph) = &mut model.graph else { return };
    let rank = 1 + rng.below(3);
    let sizes: Vec<i64> = (0..rank).map(|_| SIZES[rng.below(SIZES.len())]).collect();
    let first = super::node::names(graph).first().cloned().unwrap_or_default();
    let operators: &[(&str, &[&str])] = &[
        ("ConstantOfShape", &["bomb_sizes"]),
        ("Expand", &["bomb_one", "bomb_sizes"]),
        ("Tile", &["bomb_ones", "bomb_sizes"]),
        ("Range", &["bomb_zero", "bomb_one", "bomb_unit"]),
        ("Range", &["bomb_unit", "bomb_zero", "bomb_unit"]),
        ("OneHot", &["bomb_zero", "bomb_one", "bomb_pair"]),
        ("Pad", &["bomb_ones", "bomb_pads"]),
        ("EyeLike", &["bomb_ones"]),
        ("Resize", &["bomb_ones", "", "", "bomb_sizes"]),
        ("TopK", &["bomb_ones", "bomb_sizes"]),
        ("Split", &["bomb_ones", "bomb_sizes"]),
        ("Gather", &["bomb_ones", "bomb_sizes"]),
        ("HannWindow", &["bomb_one"]),
        ("RandomNormal", &[]),
        ("Trilu", &["bomb_ones", "bomb_one"]),
        ("CumSum", &["bomb_ones", "bomb_one"]),
        ("Expand", &["", "bomb_sizes"]),
        ("Reshape", &["", "bomb_sizes"]),
        ("Slice", &["", "bomb_sizes", "bomb_pads", "bomb_sizes"]),
        ("Pad", &["", "bomb_pads"]),
        ("Tile", &["", "bomb_sizes"]),
        ("MelWeightMatrix", &["bomb_one", "bomb_one", "bomb_one", "bomb_zero", "bomb_one"]),
        ("DFT", &["", "bomb_one"]),
        ("Col2Im", &["", "bomb_sizes", "bomb_sizes"]),
        ("AffineGrid", &["", "bomb_sizes"]),
    ];
    let (name, inputs) = operators[rng.below(operators.len())];
    let attribute = if name == "RandomNormal" { vec![ints("shape", &sizes)] } else { vec![] };
    let input = inputs.iter().map(|i| if i.is_empty() && name != "Resize" { first.clone() } else { i.to_string() }).collect();
    let made = [
        integers("bomb_sizes", &sizes),
        integers("bomb_pads", &sizes.iter().chain(&sizes).copied().collect::<Vec<_>>()),
        scalar("bomb_one", sizes[0]),
        scalar("bomb_zero", 0),
        scalar("bomb_unit", [1, -1, 0, 1 << 20][rng.below(4)]),
        integers("bomb_pair", &[0, 1]),
        TensorProto { dims: vec![1; rank], ..integers("bomb_ones", &[1]) },
    ];
    graph.initializer.extend(made);
    graph.node.insert(0, NodeProto { op_type: Some(name.into()), input, output: vec!["bombed".into()], attribute, ..NodeProto::default() });
    if rng.one_in(2) {
        graph.output.push(ValueInfoProto { name: Some("bombed".into()), ..ValueInfoProto::default() });
    } else if let Some(node) = graph.node.get_mut(1) {
        match rng.pick_mut(&mut node.input) {
            Some(input) => *input = "bombed".into(),
            None => node.input.push("bombed".into()),
        }
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let (name, ints) = (Some(name.to_string()), values.to_vec());
    AttributeProto { name, ints, r#type: Some(AttributeType::Ints as i32), ..AttributeProto::default() }
}
