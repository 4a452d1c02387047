//! Binding symbols: replaces symbols by numbers in types, operators and known sizes, and infers every type again. It does
//! not decide which symbols to bind.

use crate::dim::{Bound, Dim};
use crate::graph::{Def, Graph};
use crate::ops::OpError;
use std::sync::Arc;

/// Why symbols cannot be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    #[error("there is no free dimension `{name}`; the model has: {}", if known.is_empty() { "none".into() } else { known.join(", ") })]
    UnknownSymbol { name: String, known: Vec<String> },
    #[error("{name} = {value} is outside its bounds {}..{}", bound.min, bound.max.map_or(String::new(), |m| m.to_string()))]
    OutOfBounds { name: String, value: i64, bound: Bound },
    #[error("`{name}` is bound twice, to {first} and {second}")]
    Conflict { name: String, first: i64, second: i64 },
    #[error("layer {layer}: {source}")]
    Node { layer: String, source: OpError },
    #[error("layer {layer}: a size becomes negative: {ty}")]
    NegativeSize { layer: String, ty: String },
}

/// Replaces symbols by numbers everywhere and drops them from the symbol table. On error the graph is unchanged.
pub fn bind(graph: &mut Graph, values: &[(&str, i64)]) -> Result<(), BindError> {
    for (i, (name, value)) in values.iter().enumerate() {
        let Some(bound) = graph.symbols.get(*name) else {
            let known = graph.symbols.keys().map(ToString::to_string).collect();
            return Err(BindError::UnknownSymbol { name: (*name).into(), known });
        };
        if *value < bound.min || bound.max.is_some_and(|max| *value > max) {
            return Err(BindError::OutOfBounds { name: (*name).into(), value: *value, bound: *bound });
        }
        if let Some((_, first)) = values[..i].iter().find(|(n, v)| n == name && v != value) {
            return Err(BindError::Conflict { name: (*name).into(), first: *first, second: *value });
        }
    }
    let mut bound = graph.clone();
    let value_of = |symbol: &str| values.iter().find(|(name, _)| *name == symbol).map(|(_, value)| Dim::from(*value));
    bound.symbols.retain(|name, _| value_of(name).is_none());
    for id in bound.value_ids() {
        let value = bound.value_mut(id);
        for dim in value.ty.shape.iter_mut().chain(value.sizes.iter_mut().flatten()) {
            *dim = dim.substitute(&value_of);
        }
        if matches!(value.def, Def::Input(_)) {
            not_negative(&value.ty, &value.name)?;
        }
    }
    for node in bound.node_ids().collect::<Vec<_>>() {
        let node = bound.node_mut(node);
        node.op = node.op.substitute(&value_of);
        for graph in node.op.subgraphs_mut() {
            let known: Vec<(&str, i64)> = values.iter().filter(|(name, _)| graph.symbols.contains_key(*name)).copied().collect();
            bind(graph.graph_mut(), &known)?;
        }
    }
    for id in bound.order() {
        let node = bound.node(id);
        let layer = layer(&node.origin);
        let types: Vec<_> = node.inputs.iter().map(|v| bound.ty(*v)).collect();
        let inferred = node.op.infer(&types).map_err(|source| BindError::Node { layer: layer.clone(), source })?;
        let known: Vec<Option<&[Dim]>> = node.inputs.iter().map(|v| bound.value(*v).sizes.as_deref()).collect();
        let sizes = node.op.sizes(&known, &types);
        for (i, (output, ty)) in node.outputs.clone().into_iter().zip(inferred).enumerate() {
            not_negative(&ty, &layer)?;
            let value = bound.value_mut(output);
            value.ty = ty;
            if i == 0 && sizes.is_some() {
                value.sizes.clone_from(&sizes);
            }
        }
    }
    *graph = bound;
    Ok(())
}

fn not_negative(ty: &crate::TensorType, layer: &str) -> Result<(), BindError> {
    match ty.shape.iter().any(|d| d.as_const().is_some_and(|c| c < 0)) {
        true => Err(BindError::NegativeSize { layer: layer.into(), ty: ty.to_string() }),
        false => Ok(()),
    }
}

/// The layers of a node, for error sentences.
pub(crate) fn layer(origin: &[Arc<str>]) -> String {
    if origin.is_empty() { "(no name)".into() } else { origin.join(", ") }
}
