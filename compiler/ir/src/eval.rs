//! Evaluation of a graph on tensors: the oracle of tests, `verify` and `--check-passes`. It is naive by intent; speed is
//! the kernels' business.

use crate::DType;
use crate::bind::{BindError, bind, layer};
use crate::dim::Dim;
use crate::graph::{Def, Graph, Node, NodeId, TensorType, ValueId};
use crate::ops::{Op, OpError};
use crate::tensor::Tensor;
use std::borrow::Cow;
use std::sync::Arc;

/// Why a graph cannot be evaluated on these inputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("the model takes {expected} inputs, found {found}")]
    InputCount { expected: usize, found: usize },
    #[error("input `{input}` holds {expected}, found {found}")]
    InputType { input: String, expected: DType, found: DType },
    #[error("input `{input}` is {expected}, found shape {found:?}")]
    InputShape { input: String, expected: TensorType, found: Vec<usize> },
    #[error("`{symbol}` is {first} in one input and {second} in `{input}`")]
    SymbolConflict { symbol: String, first: i64, input: String, second: i64 },
    #[error("the shapes of the inputs do not determine `{symbol}`")]
    UnboundSymbol { symbol: String },
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("layer {layer}: {source}")]
    Node { layer: String, source: OpError },
}

/// Called after each node with its outputs.
pub type Observer<'a> = dyn FnMut(NodeId, &[Tensor]) + 'a;

/// The outputs of the graph. Symbols take their values from the inputs' shapes.
pub fn eval(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvalError> {
    eval_with(graph, inputs, &mut |_, _| {})
}

/// [`eval`] with an observer. The graph that the observer's ids belong to has the ids of `graph`.
pub fn eval_with(graph: &Graph, inputs: &[Tensor], observer: &mut Observer) -> Result<Vec<Tensor>, EvalError> {
    let symbols = unify(graph, inputs)?;
    let mut graph = Cow::Borrowed(graph);
    if !symbols.is_empty() {
        let values: Vec<(&str, i64)> = symbols.iter().map(|(name, value)| (&**name, *value)).collect();
        bind(graph.to_mut(), &values)?;
    }
    let mut found: Vec<(Arc<str>, i64)> = vec![];
    let mut uses = graph.use_counts();
    let mut values: Vec<Option<Cow<Tensor>>> = graph.value_ids().map(|_| None).collect();
    for (id, tensor) in graph.inputs.iter().zip(inputs) {
        values[id.0 as usize] = Some(Cow::Borrowed(tensor));
    }
    for id in graph.order() {
        let node = graph.node(id);
        let operands: Vec<&Tensor> = node.inputs.iter().map(|v| tensor(&graph, &values, *v)).collect();
        let fail = |source| EvalError::Node { layer: layer(&node.origin), source };
        let known = (!found.is_empty()).then(|| with_found(&node.op, &found)).transpose()?;
        let outputs = known.as_ref().unwrap_or(&node.op).eval(&operands).map_err(fail)?;
        define(&graph, node, &outputs, &mut found).map_err(fail)?;
        observer(id, &outputs);
        for (value, tensor) in node.outputs.iter().zip(outputs) {
            if uses[value.0 as usize] > 0 {
                values[value.0 as usize] = Some(Cow::Owned(tensor));
            }
        }
        for value in &node.inputs {
            uses[value.0 as usize] -= 1;
            if uses[value.0 as usize] == 0 {
                values[value.0 as usize] = None;
            }
        }
    }
    Ok(graph.outputs.iter().map(|o| tensor(&graph, &values, o.value).clone()).collect())
}

/// The operator with the sizes that nodes before it have defined.
fn with_found(op: &Op, found: &[(Arc<str>, i64)]) -> Result<Op, EvalError> {
    let mut op = op.substitute(&|name| found.iter().find(|(symbol, _)| **symbol == *name).map(|(_, value)| Dim::from(*value)));
    for inner in op.subgraphs_mut() {
        let known: Vec<(&str, i64)> =
            found.iter().filter(|(name, _)| inner.symbols.contains_key(name)).map(|(name, value)| (&**name, *value)).collect();
        bind(inner.graph_mut(), &known)?;
    }
    Ok(op)
}

/// Notes the values of the symbols that the results of a node define.
fn define(graph: &Graph, node: &Node, outputs: &[Tensor], found: &mut Vec<(Arc<str>, i64)>) -> Result<(), OpError> {
    let sizes: Vec<i64> = match &node.op {
        Op::Measure(_) => vec![outputs[0].to_i64s()[0]],
        Op::If(op) => op.differing().into_iter().map(|(i, d)| outputs[i].shape[d] as i64).collect(),
        _ => return Ok(()),
    };
    for (symbol, size) in node.op.defines().into_iter().zip(sizes) {
        let fits = graph.symbols.get(&symbol).is_none_or(|bound| size >= bound.min && bound.max.is_none_or(|max| size <= max));
        if !fits {
            return Err(OpError(format!("the size `{symbol}` is {size}, outside of its bounds")));
        }
        found.push((symbol, size));
    }
    Ok(())
}

fn tensor<'a>(graph: &'a Graph, values: &'a [Option<Cow<Tensor>>], id: ValueId) -> &'a Tensor {
    match &graph.value(id).def {
        Def::Const(tensor) => tensor,
        _ => values[id.0 as usize].as_ref().expect("operands are computed before their users and kept until the last"),
    }
}

/// The values of the symbols that the inputs' shapes determine.
pub fn unify(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<(Arc<str>, i64)>, EvalError> {
    if graph.inputs.len() != inputs.len() {
        return Err(EvalError::InputCount { expected: graph.inputs.len(), found: inputs.len() });
    }
    let mut symbols: Vec<(Arc<str>, i64)> = vec![];
    let declared = || graph.inputs.iter().map(|id| graph.value(*id)).zip(inputs);
    for (value, tensor) in declared() {
        if value.ty.dtype != tensor.dtype {
            return Err(EvalError::InputType { input: value.name.clone(), expected: value.ty.dtype, found: tensor.dtype });
        }
        if value.ty.rank() != tensor.rank() {
            return Err(EvalError::InputShape { input: value.name.clone(), expected: value.ty.clone(), found: tensor.shape.clone() });
        }
        for (dim, size) in value.ty.shape.iter().zip(&tensor.shape) {
            let size = *size as i64;
            let Some(name) = dim.as_symbol() else { continue };
            match symbols.iter().find(|(n, _)| *n == name) {
                Some((_, first)) if *first != size => {
                    let (symbol, input) = (name.to_string(), value.name.clone());
                    return Err(EvalError::SymbolConflict { symbol, first: *first, input, second: size });
                }
                Some(_) => {}
                None => symbols.push((name, size)),
            }
        }
    }
    let value_of = |symbol: &str| symbols.iter().find(|(name, _)| **name == *symbol).map(|(_, value)| Dim::from(*value));
    for (value, tensor) in declared() {
        for (dim, size) in value.ty.shape.iter().zip(&tensor.shape) {
            let dim = dim.substitute(&value_of);
            match dim.as_const() {
                Some(expected) if expected == *size as i64 => {}
                Some(_) => {
                    let (input, expected) = (value.name.clone(), value.ty.clone());
                    return Err(EvalError::InputShape { input, expected, found: tensor.shape.clone() });
                }
                None => return Err(EvalError::UnboundSymbol { symbol: dim.symbols()[0].to_string() }),
            }
        }
    }
    Ok(symbols)
}
