//! Checks of a graph. It repairs nothing and computes nothing.
//!
//! 1. Ids: inputs, outputs, operands and results of live nodes name values that exist, and no operand's producer was removed.
//! 2. Definitions: `Input(n)` is the n-th input and every input says so; `Node(k, i)` is result i of node k and every result
//!    says so; input names and output names are each unique.
//! 3. Order: no node needs its own result.
//! 4. Types: results have the types that the operator infers from the operands, its arity and its epilogue's number of
//!    extra operands included.
//! 5. Constants have the type of their tensor.
//! 6. Symbols in types, known sizes and attributes are declared, bounds are ordered, and constant sizes are not negative.
//! 7. Known sizes belong to integer tensors of rank ≤ 1 and are as many as the elements.
//! 8. Every node has an origin.
//! 9. The graphs within a node have these properties too.
//!
//! Nodes that no output needs are checked too, unless they were removed.

use crate::dim::Dim;
use crate::graph::{Def, Graph, NodeId, TensorType, ValueId};
use crate::ops::{Arity, OpError};
use std::sync::Arc;

/// A broken property of a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("{user} uses {value:?}, which does not exist")]
    NoSuchValue { user: String, value: ValueId },
    #[error("{user} uses {value:?}, whose producer {node:?} was removed or never existed")]
    RemovedProducer { user: String, value: ValueId, node: NodeId },
    #[error("the definition of {value:?} (`{name}`) does not match the place that should define it")]
    Definition { value: ValueId, name: String },
    #[error("{kind} name `{name}` is given twice")]
    DuplicateName { kind: &'static str, name: String },
    #[error("{node} needs its own result")]
    Cycle { node: String },
    #[error("{node}: {source}")]
    Infer { node: String, source: OpError },
    #[error("{node}: {found} operands for the epilogue, which uses {expected}")]
    EpilogueOperands { node: String, expected: usize, found: usize },
    #[error("{node} has {found} results, its operator defines {expected}")]
    ResultCount { node: String, expected: usize, found: usize },
    #[error("{node}: result {index} is recorded as {recorded} and inferred as {inferred}")]
    ResultType { node: String, index: usize, recorded: TensorType, inferred: TensorType },
    #[error("the constant `{name}` is recorded as {recorded} and holds {actual}")]
    ConstType { name: String, recorded: TensorType, actual: TensorType },
    #[error("{user} mentions the undeclared symbol `{symbol}`")]
    UndeclaredSymbol { user: String, symbol: Arc<str> },
    #[error("the bounds of the symbol `{symbol}` are empty")]
    EmptyBounds { symbol: Arc<str> },
    #[error("`{name}` has a negative size: {ty}")]
    NegativeSize { name: String, ty: TensorType },
    #[error("`{name}`: known sizes {sizes:?} do not fit {ty}")]
    KnownSizes { name: String, sizes: Vec<Dim>, ty: TensorType },
    #[error("{node} has no origin")]
    NoOrigin { node: String },
    #[error("in a graph within {node}: {source}")]
    Within { node: String, source: Box<VerifyError> },
}

/// Checks every property of the module's header; all that are broken.
pub fn verify(graph: &Graph) -> Result<(), Vec<VerifyError>> {
    let mut errors = vec![];
    symbols(graph, &mut errors);
    values(graph, &mut errors);
    nodes(graph, &mut errors);
    cycles(graph, &mut errors);
    // A wrong definition is seen from both of its ends.
    let mut seen = vec![];
    errors.retain(|e| {
        !seen.contains(e) && {
            seen.push(e.clone());
            true
        }
    });
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// `conv of layer1.conv`
fn describe(graph: &Graph, id: NodeId) -> String {
    match graph.get_node(id) {
        Some(node) if node.origin.is_empty() => format!("{} (node {})", node.op.name(), id.0),
        Some(node) => format!("{} of {}", node.op.name(), node.origin.join(", ")),
        None => format!("node {}", id.0),
    }
}

/// Properties 1 and 2 for one use.
fn usable(graph: &Graph, user: &str, value: ValueId, errors: &mut Vec<VerifyError>) -> bool {
    let Some(def) = graph.get_value(value).map(|v| &v.def) else {
        errors.push(VerifyError::NoSuchValue { user: user.into(), value });
        return false;
    };
    match def {
        Def::Node(node, _) if graph.get_node(*node).is_none() => {
            errors.push(VerifyError::RemovedProducer { user: user.into(), value, node: *node });
            false
        }
        _ => true,
    }
}

/// Bounds of the symbols, inputs, outputs and their names.
fn symbols(graph: &Graph, errors: &mut Vec<VerifyError>) {
    for (symbol, bound) in &graph.symbols {
        if bound.max.is_some_and(|max| max < bound.min) {
            errors.push(VerifyError::EmptyBounds { symbol: symbol.clone() });
        }
    }
    let mut names: Vec<(&'static str, &str)> = vec![];
    for (n, id) in graph.inputs.iter().enumerate() {
        if !usable(graph, "the list of inputs", *id, errors) {
            continue;
        }
        let value = graph.value(*id);
        if !matches!(value.def, Def::Input(i) if i == n) {
            errors.push(VerifyError::Definition { value: *id, name: value.name.clone() });
        }
        names.push(("the input", &value.name));
    }
    for output in &graph.outputs {
        usable(graph, &format!("the output `{}`", output.name), output.value, errors);
        names.push(("the output", &output.name));
    }
    let mut seen = std::collections::HashSet::new();
    for (kind, name) in names {
        if !seen.insert((kind, name)) {
            errors.push(VerifyError::DuplicateName { kind, name: name.into() });
        }
    }
}

fn values(graph: &Graph, errors: &mut Vec<VerifyError>) {
    for id in graph.value_ids() {
        let value = graph.value(id);
        let defined = match &value.def {
            Def::Input(n) => graph.inputs.get(*n) == Some(&id),
            // Values of removed nodes may linger; only their use is a mistake.
            Def::Node(node, i) => match graph.get_node(*node) {
                Some(node) => node.outputs.get(*i) == Some(&id),
                None => continue,
            },
            Def::Const(tensor) => {
                let actual = TensorType::of(tensor);
                if actual != value.ty {
                    errors.push(VerifyError::ConstType { name: value.name.clone(), recorded: value.ty.clone(), actual });
                }
                true
            }
        };
        if !defined {
            errors.push(VerifyError::Definition { value: id, name: value.name.clone() });
        }
        let known = value.sizes.iter().flatten();
        let symbols: Vec<Arc<str>> = value.ty.shape.iter().chain(known).flat_map(Dim::symbols).collect();
        undeclared(graph, symbols, || format!("`{}`", value.name), errors);
        if value.ty.shape.iter().any(|d| d.as_const().is_some_and(|c| c < 0)) {
            errors.push(VerifyError::NegativeSize { name: value.name.clone(), ty: value.ty.clone() });
        }
        if let Some(sizes) = &value.sizes {
            let ints = value.ty.dtype.is_int() || value.ty.dtype == crate::DType::Bool;
            if !ints || value.ty.rank() > 1 || value.ty.elements() != sizes.len() as i64 {
                errors.push(VerifyError::KnownSizes { name: value.name.clone(), sizes: sizes.clone(), ty: value.ty.clone() });
            }
        }
    }
}

fn undeclared(graph: &Graph, symbols: Vec<Arc<str>>, user: impl Fn() -> String, errors: &mut Vec<VerifyError>) {
    for symbol in symbols {
        let error = VerifyError::UndeclaredSymbol { user: user(), symbol: symbol.clone() };
        if !graph.symbols.contains_key(&symbol) && !errors.contains(&error) {
            errors.push(error);
        }
    }
}

fn nodes(graph: &Graph, errors: &mut Vec<VerifyError>) {
    for id in graph.node_ids() {
        let node = graph.node(id);
        let name = describe(graph, id);
        if node.origin.is_empty() {
            errors.push(VerifyError::NoOrigin { node: name.clone() });
        }
        undeclared(graph, node.op.symbols(), || name.clone(), errors);
        for within in node.op.subgraphs().into_iter().flat_map(|graph| verify(graph).err().unwrap_or_default()) {
            errors.push(VerifyError::Within { node: name.clone(), source: Box::new(within) });
        }
        for (i, output) in node.outputs.iter().enumerate() {
            match graph.get_value(*output) {
                None => errors.push(VerifyError::NoSuchValue { user: name.clone(), value: *output }),
                Some(value) if !matches!(value.def, Def::Node(n, k) if n == id && k == i) => {
                    errors.push(VerifyError::Definition { value: *output, name: value.name.clone() });
                }
                Some(_) => {}
            }
        }
        // Every mistake, not just the first: no short circuit.
        let unusable = node.inputs.iter().filter(|v| !usable(graph, &name, **v, errors)).count();
        if unusable == 0 && node.outputs.iter().all(|v| graph.get_value(*v).is_some()) {
            types(graph, id, name, errors);
        }
    }
}

/// Property 4 of one node whose operands and results exist.
fn types(graph: &Graph, id: NodeId, name: String, errors: &mut Vec<VerifyError>) {
    let node = graph.node(id);
    if let (Arity::Exactly(own), Some(epilogue)) = (node.op.def().arity(), node.op.def().epilogue()) {
        let expected = epilogue.args() - 1;
        if node.inputs.len() >= own && node.inputs.len() - own != expected {
            errors.push(VerifyError::EpilogueOperands { node: name, expected, found: node.inputs.len() - own });
            return;
        }
    }
    let operands: Vec<&TensorType> = node.inputs.iter().map(|v| graph.ty(*v)).collect();
    let inferred = match node.op.infer(&operands) {
        Ok(inferred) => inferred,
        Err(source) => return errors.push(VerifyError::Infer { node: name, source }),
    };
    if inferred.len() != node.outputs.len() {
        return errors.push(VerifyError::ResultCount { node: name, expected: inferred.len(), found: node.outputs.len() });
    }
    for (index, (value, inferred)) in node.outputs.iter().zip(inferred).enumerate() {
        let recorded = graph.ty(*value);
        if *recorded != inferred {
            errors.push(VerifyError::ResultType { node: name.clone(), index, recorded: recorded.clone(), inferred });
        }
    }
}

/// Property 3: iterative depth-first search over all nodes; an operand on the current path closes a cycle.
fn cycles(graph: &Graph, errors: &mut Vec<VerifyError>) {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let count = graph.node_ids().map(|n| n.0 as usize + 1).max().unwrap_or(0);
    let mut marks = vec![Mark::New; count];
    for root in graph.node_ids() {
        let mut path: Vec<(NodeId, usize)> = vec![];
        if marks[root.0 as usize] == Mark::New {
            marks[root.0 as usize] = Mark::OnPath;
            path.push((root, 0));
        }
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(value) = graph.node(node).inputs.get(*next) else {
                marks[node.0 as usize] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            let Some(Def::Node(producer, _)) = graph.get_value(*value).map(|v| &v.def) else { continue };
            if graph.get_node(*producer).is_none() {
                continue;
            }
            match marks[producer.0 as usize] {
                Mark::Done => {}
                Mark::OnPath => errors.push(VerifyError::Cycle { node: describe(graph, *producer) }),
                Mark::New => {
                    marks[producer.0 as usize] = Mark::OnPath;
                    path.push((*producer, 0));
                }
            }
        }
    }
}
