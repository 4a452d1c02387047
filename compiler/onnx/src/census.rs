//! What an ONNX file holds, without importing it: operators, parameters, declared inputs and outputs. It judges nothing,
//! so that models which cannot be imported are described too.

use crate::error::ImportErrors;
use crate::import::domain;
use crate::load;
use crate::proto::tensor_shape_proto::dimension::Value as DimValue;
use crate::proto::type_proto::Value as TypeValue;
use crate::proto::{ModelProto, NodeProto, ValueInfoProto};
use crate::tensor::dtype;
use indexmap::IndexMap;
use prost::bytes::Bytes;
use std::collections::HashSet;
use std::path::Path;

/// The contents of a model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    pub name: String,
    pub producer: String,
    pub ir_version: i64,
    /// (domain, version); the default domain is `""`.
    pub opsets: Vec<(String, i64)>,
    pub inputs: Vec<Declared>,
    pub outputs: Vec<Declared>,
    /// Operators with their domain unless it is the default one, and how often they occur; the most frequent first. Nodes
    /// of subgraphs and of function bodies count once each.
    pub operators: Vec<(String, usize)>,
    /// Elements of the floating-point initialisers.
    pub parameters: u64,
}

/// A graph input or output as the file declares it; a size is a number, a name or `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<String>,
}

/// Describes a file.
///
/// # Errors
/// When it cannot be read or is no ONNX model.
pub fn census_file(path: impl AsRef<Path>) -> Result<Census, ImportErrors> {
    let path = path.as_ref();
    Ok(census(&load::decode(load::read(path)?, &path.display().to_string())?))
}

/// Describes a model in memory.
///
/// # Errors
/// As [`census_file`].
pub fn census_bytes(bytes: impl Into<Bytes>) -> Result<Census, ImportErrors> {
    Ok(census(&load::decode(bytes.into(), "the input")?))
}

fn census(model: &ModelProto) -> Census {
    let graph = model.graph.clone().unwrap_or_default();
    let mut operators = IndexMap::new();
    count(&graph.node, &mut operators);
    for function in &model.functions {
        count(&function.node, &mut operators);
    }
    // Model-local functions are the file's own vocabulary, not operators.
    for function in &model.functions {
        operators.shift_remove(&qualified(function.domain(), function.name()));
    }
    let mut operators: Vec<(String, usize)> = operators.into_iter().collect();
    operators.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let initializers: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let floats = graph.initializer.iter().filter(|t| dtype(t.data_type()).is_ok_and(ir::DType::is_float));
    Census {
        name: graph.name().into(),
        producer: format!("{} {}", model.producer_name(), model.producer_version()).trim().into(),
        ir_version: model.ir_version(),
        opsets: model.opset_import.iter().map(|o| (domain(o.domain()).into(), o.version())).collect(),
        inputs: graph.input.iter().filter(|i| !initializers.contains(i.name())).map(declared).collect(),
        outputs: graph.output.iter().map(declared).collect(),
        operators,
        parameters: floats
            .map(|t| t.dims.iter().fold(1u64, |n, d| n.saturating_mul(u64::try_from(*d).unwrap_or(0))))
            .fold(0, u64::saturating_add),
    }
}

/// An operator's name, with its domain unless that is the default one.
pub(crate) fn qualified(domain_name: &str, operator: &str) -> String {
    match domain(domain_name) {
        "" => operator.into(),
        domain => format!("{domain}::{operator}"),
    }
}

fn count(nodes: &[NodeProto], into: &mut IndexMap<String, usize>) {
    for node in nodes {
        *into.entry(qualified(node.domain(), node.op_type())).or_default() += 1;
        for attribute in &node.attribute {
            for graph in attribute.g.iter().chain(&attribute.graphs) {
                count(&graph.node, into);
            }
        }
    }
}

fn declared(info: &ValueInfoProto) -> Declared {
    let tensor = match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TypeValue::TensorType(tensor)) => Some(tensor),
        _ => None,
    };
    let size = |dim: &crate::proto::tensor_shape_proto::Dimension| match &dim.value {
        Some(DimValue::DimValue(n)) if *n >= 0 => n.to_string(),
        Some(DimValue::DimParam(name)) if !name.is_empty() => name.clone(),
        _ => "?".into(),
    };
    let shape = tensor.and_then(|t| t.shape.as_ref()).map(|s| s.dim.iter().map(size).collect());
    let element = tensor.and_then(|t| dtype(t.elem_type()).ok()).map_or("?", ir::DType::name);
    Declared { name: info.name().into(), dtype: element.into(), shape: shape.unwrap_or_else(|| vec!["…".into()]) }
}
