//! Models of any size, made up: linear layers as PyTorch exports them, with weights in the file or beside it. They compute
//! nothing of use; they are there to be large.

use onnx::proto::tensor_proto::{DataLocation, DataType};
use onnx::proto::tensor_shape_proto::{Dimension, dimension};
use onnx::proto::*;
use prost::Message;
use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;

/// Where the weights of a [`Stack`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    Inside,
    /// In a file of external data.
    Beside,
    /// In a file of external data that takes no place on the disk: all zeros.
    Hole,
}

/// So many layers `relu(x · Wᵀ)` of one width.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    pub layers: usize,
    pub width: usize,
    pub weights: Weights,
}

impl Stack {
    /// Layers of 2048² weights, 16 MiB each, until there are `mb` MiB.
    pub fn of_size(mb: usize, weights: Weights) -> Stack {
        Stack { layers: mb.div_ceil(16).max(1), width: 2048, weights }
    }

    /// Bytes of one layer's weights, and of all.
    pub fn bytes(&self) -> (u64, u64) {
        let layer = 4 * (self.width * self.width) as u64;
        (layer, layer * self.layers as u64)
    }

    /// Writes the model to `path`, and its data beside it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let data = path.with_extension("data");
        let (layer, all) = self.bytes();
        match self.weights {
            Weights::Inside => {}
            Weights::Hole => File::create(&data)?.set_len(all)?,
            Weights::Beside => {
                let mut file = BufWriter::new(File::create(&data)?);
                (0..self.layers).try_for_each(|i| file.write_all(&self.values(i)))?;
                file.flush()?;
            }
        }
        let name = data.file_name().expect("a file").to_string_lossy().into_owned();
        std::fs::write(path, self.model(&name, layer).encode_to_vec())
    }

    /// Weights of one layer: small, and no two the same.
    fn values(&self, layer: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_u32.wrapping_mul(layer as u32 + 1) | 1;
        let scale = 2.0 / (self.width as f32).sqrt() / (1u32 << 31) as f32;
        let number = |_| {
            // Xorshift (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state as i32 as f32 * scale).to_le_bytes()
        };
        (0..self.width * self.width).flat_map(number).collect()
    }

    fn model(&self, data: &str, layer: u64) -> ModelProto {
        let mut graph = GraphProto { name: Some("stack".into()), ..GraphProto::default() };
        let mut from = "x".to_string();
        for i in 0..self.layers {
            let (weight, product, to) = (format!("layers.{i}.weight"), format!("product_{i}"), format!("y_{i}"));
            let mut tensor = TensorProto {
                name: Some(weight.clone()),
                dims: vec![self.width as i64; 2],
                data_type: Some(DataType::Float as i32),
                ..TensorProto::default()
            };
            if self.weights == Weights::Inside {
                tensor.raw_data = Some(self.values(i).into());
            } else {
                let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
                tensor.data_location = Some(DataLocation::External as i32);
                tensor.external_data = vec![
                    entry("location", data.into()),
                    entry("offset", (layer * i as u64).to_string()),
                    entry("length", layer.to_string()),
                ];
            }
            graph.initializer.push(tensor);
            let transposed = AttributeProto {
                name: Some("transB".into()),
                r#type: Some(attribute_proto::AttributeType::Int as i32),
                i: Some(1),
                ..AttributeProto::default()
            };
            graph.node.push(node("Gemm", &[&from, &weight], &product, vec![transposed]));
            graph.node.push(node("Relu", &[&product], &to, vec![]));
            from = to;
        }
        let port = |name: &str| {
            let dim = |n: usize| Dimension { value: Some(dimension::Value::DimValue(n as i64)), ..Dimension::default() };
            let shape = TensorShapeProto { dim: vec![dim(1), dim(self.width)] };
            let tensor = type_proto::Tensor { elem_type: Some(DataType::Float as i32), shape: Some(shape) };
            let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
            ValueInfoProto { name: Some(name.into()), r#type: Some(r#type), ..ValueInfoProto::default() }
        };
        graph.input.push(port("x"));
        graph.output.push(port(&from));
        ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(17) }],
            graph: Some(graph),
            ..ModelProto::default()
        }
    }
}

fn node(op_type: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.into()),
        name: Some(format!("/{output}/{op_type}")),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        attribute,
        ..NodeProto::default()
    }
}
