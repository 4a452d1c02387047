//! Operators whose course or sizes are decided by values that exist only at run time: a branch and a loop, which hold graphs, and
//! `measure`. A body sees nothing of
//! the graph around it: what it uses from outside is an input of the node, *captured*, and an input of the body.

use crate::attr::{Attr, AttrValue};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::eval::eval;
use crate::graph::{Graph, TensorType};
use crate::op_error;
use crate::ops::{Op, OpError};
use crate::tensor::Tensor;
use std::sync::Arc;

mod branch;
mod measure;
mod repeat;

pub use branch::{Found, If};
pub use measure::Measure;
pub use repeat::Loop;

/// A graph as an operator's attribute. Two are equal when their texts are.
#[derive(Clone)]
pub struct Subgraph(pub Arc<Graph>);

impl Subgraph {
    pub fn new(graph: Graph) -> Subgraph {
        Subgraph(Arc::new(graph))
    }

    /// The graph, for changing.
    pub fn graph_mut(&mut self) -> &mut Graph {
        Arc::make_mut(&mut self.0)
    }

    fn inputs(&self) -> impl Iterator<Item = &TensorType> {
        self.0.inputs.iter().map(|id| self.0.ty(*id))
    }

    fn outputs(&self) -> Vec<&TensorType> {
        self.0.outputs.iter().map(|output| self.0.ty(output.value)).collect()
    }

    /// Fails unless the body takes what it is given.
    fn takes(&self, what: &str, given: &[&TensorType]) -> Result<(), OpError> {
        if self.0.inputs.len() != given.len() {
            op_error!("{what} takes {} values, found {}", self.0.inputs.len(), given.len());
        }
        match self.inputs().zip(given).position(|(input, given)| input != *given) {
            Some(i) => op_error!("input {i} of {what} is {}, found {}", self.0.ty(self.0.inputs[i]), given[i]),
            None => Ok(()),
        }
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, OpError> {
        eval(&self.0, inputs).map_err(|error| OpError(error.to_string()))
    }
}

impl std::ops::Deref for Subgraph {
    type Target = Graph;
    fn deref(&self) -> &Graph {
        &self.0
    }
}

impl PartialEq for Subgraph {
    fn eq(&self, other: &Subgraph) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.to_string() == other.0.to_string()
    }
}

/// The graph's text.
impl std::fmt::Debug for Subgraph {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl AttrValue for Subgraph {
    const EXPECTED: &'static str = "a graph in braces";
    fn to_attr(&self) -> Attr {
        Attr::Graph(self.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Subgraph> {
        match attr {
            Attr::Graph(graph) => Some(graph.clone()),
            _ => None,
        }
    }
}

impl Op {
    /// The graphs that the operator holds, in order of declaration.
    pub fn subgraphs(&self) -> Vec<&Subgraph> {
        match self {
            Op::If(op) => vec![&op.then, &op.otherwise],
            Op::Loop(op) => vec![&op.body],
            _ => vec![],
        }
    }

    /// [`Op::subgraphs`], for changing.
    pub fn subgraphs_mut(&mut self) -> Vec<&mut Subgraph> {
        match self {
            Op::If(op) => vec![&mut op.then, &mut op.otherwise],
            Op::Loop(op) => vec![&mut op.body],
            _ => vec![],
        }
    }

    /// The symbols whose values only the results of this operator decide.
    pub fn defines(&self) -> Vec<Arc<str>> {
        match self {
            Op::Measure(op) => op.size.iter().filter_map(Dim::as_symbol).collect(),
            Op::If(op) => op.sizes.0.iter().filter_map(Dim::as_symbol).collect(),
            _ => vec![],
        }
    }

    /// How many of the operator's first inputs are its own; the captured ones follow.
    pub fn captured_from(&self) -> usize {
        match self {
            Op::If(_) => 1,
            Op::Loop(op) => 2 + op.carried as usize,
            _ => usize::MAX,
        }
    }
}

/// Fails unless a value is one element of this type, without dimensions.
fn scalar(what: &str, dtype: DType, ty: &TensorType) -> Result<(), OpError> {
    match ty.dtype == dtype && ty.rank() == 0 {
        true => Ok(()),
        false => op_error!("{what} must be {dtype}[], found {ty}"),
    }
}

/// The first dimension in front of a type.
fn stacked(count: &Dim, ty: &TensorType) -> TensorType {
    TensorType { dtype: ty.dtype, shape: std::iter::once(count.clone()).chain(ty.shape.iter().cloned()).collect() }
}
