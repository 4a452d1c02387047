//! The graph: values and the nodes that compute them. It holds no file-format names, no layouts beyond shapes, no kernels.

use crate::dim::{Dim, Symbols, const_dims};
use crate::dtype::DType;
use crate::ops::{Op, OpError};
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::sync::Arc;

pub use crate::bind::bind;

/// Element type and shape of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    pub dtype: DType,
    pub shape: Vec<Dim>,
}

impl TensorType {
    pub fn new(dtype: DType, shape: impl IntoIterator<Item = impl Into<Dim>>) -> TensorType {
        TensorType { dtype, shape: shape.into_iter().map(Into::into).collect() }
    }
    pub fn of(tensor: &Tensor) -> TensorType {
        TensorType::new(tensor.dtype, tensor.shape.iter().copied())
    }
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
    /// The shape as numbers, if no symbol is involved.
    pub fn const_shape(&self) -> Option<Vec<usize>> {
        const_dims(&self.shape)
    }
    /// Number of elements.
    pub fn elements(&self) -> Dim {
        self.shape.iter().product()
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        write!(f, "{}[{}]", self.dtype, shape.join(","))
    }
}

/// Index of a value in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// Index of a node in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// Where a value comes from.
#[derive(Debug, Clone)]
pub enum Def {
    /// The n-th model input.
    Input(usize),
    Const(Arc<Tensor>),
    /// The n-th output of a node.
    Node(NodeId, usize),
}

/// A tensor that flows through the graph.
#[derive(Debug, Clone)]
pub struct Value {
    /// Name for people; need not be unique.
    pub name: String,
    pub ty: TensorType,
    pub def: Def,
    /// For small integer tensors: the elements as sizes, when they are known (possibly symbolic).
    pub sizes: Option<Vec<Dim>>,
}

/// An operator applied to values.
#[derive(Debug, Clone)]
pub struct Node {
    pub op: Op,
    /// The operator's own inputs, then the extra operands of its epilogue.
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
    /// Names of the layers this node computes, as PyTorch named them. Survives fusion.
    pub origin: Vec<Arc<str>>,
}

/// A named model output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub name: String,
    pub value: ValueId,
}

/// What [`Graph::compact`] dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Nodes that no output needed; nodes removed before do not count.
    pub nodes: usize,
    /// Values of such nodes and of nodes removed before, and unused constants.
    pub values: usize,
}

/// A model. Nodes that no output needs may linger until dead-code elimination; [`Graph::order`] never visits them.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub name: String,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<Output>,
    /// Symbols that occur in dims, with their bounds.
    pub symbols: Symbols,
    values: Vec<Value>,
    nodes: Vec<Option<Node>>,
}

impl Graph {
    pub fn new(name: &str) -> Graph {
        Graph { name: name.into(), ..Graph::default() }
    }

    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }
    /// The type of a value.
    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.value(id).ty
    }
    /// The constant behind a value, if it is one.
    pub fn constant(&self, id: ValueId) -> Option<&Arc<Tensor>> {
        match &self.value(id).def {
            Def::Const(tensor) => Some(tensor),
            _ => None,
        }
    }
    /// The node that computes a value, if a node does.
    pub fn producer(&self, id: ValueId) -> Option<NodeId> {
        match self.value(id).def {
            Def::Node(node, _) => Some(node),
            _ => None,
        }
    }
    /// # Panics
    /// When the node was removed.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes[id.0 as usize].as_ref().expect("node was removed")
    }
    /// # Panics
    /// When the node was removed.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.0 as usize].as_mut().expect("node was removed")
    }
    /// The value, if there is one with this id.
    pub fn get_value(&self, id: ValueId) -> Option<&Value> {
        self.values.get(id.0 as usize)
    }
    /// The node, if there is one with this id and it was not removed.
    pub fn get_node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)?.as_ref()
    }
    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len() as u32).map(ValueId)
    }
    /// Every node that was not removed, in order of creation.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.nodes.len() as u32).map(NodeId).filter(|n| self.nodes[n.0 as usize].is_some())
    }

    /// Adds a value without checking that its definition refers back to it. Prefer the specific methods.
    fn add_value(&mut self, name: String, ty: TensorType, def: Def, sizes: Option<Vec<Dim>>) -> ValueId {
        self.values.push(Value { name, ty, def, sizes });
        ValueId(self.values.len() as u32 - 1)
    }

    /// Appends a model input.
    pub fn add_input(&mut self, name: &str, ty: TensorType) -> ValueId {
        let id = self.add_value(name.into(), ty, Def::Input(self.inputs.len()), None);
        self.inputs.push(id);
        id
    }

    /// Takes inputs away that nothing uses: those of which `keep` says no, by their number.
    pub fn retain_inputs(&mut self, keep: impl Fn(usize) -> bool) {
        let mut number = 0;
        self.inputs.retain(|_| {
            number += 1;
            keep(number - 1)
        });
        for (i, id) in self.inputs.iter().enumerate() {
            self.values[id.0 as usize].def = Def::Input(i);
        }
    }

    /// Adds a constant.
    pub fn add_const(&mut self, name: &str, tensor: impl Into<Arc<Tensor>>) -> ValueId {
        let tensor = tensor.into();
        let sizes = small_ints(&tensor);
        self.add_value(name.into(), TensorType::of(&tensor), Def::Const(tensor), sizes)
    }

    /// Adds a node; types and known sizes of its outputs are inferred. Outputs are named after `name`.
    pub fn add_node(&mut self, op: impl Into<Op>, inputs: &[ValueId], origin: &[Arc<str>], name: &str) -> Result<NodeId, OpError> {
        let op = op.into();
        let types: Vec<&TensorType> = inputs.iter().map(|v| self.ty(*v)).collect();
        let outputs = op.infer(&types)?;
        let known: Vec<Option<&[Dim]>> = inputs.iter().map(|v| self.value(*v).sizes.as_deref()).collect();
        // Of lists of integers only: operators that move elements do not look at their type.
        let is_list = outputs.first().is_some_and(|ty| (ty.dtype.is_int() || ty.dtype == DType::Bool) && ty.rank() <= 1);
        let sizes = op.sizes(&known, &types).filter(|_| is_list);
        let node = NodeId(self.nodes.len() as u32);
        let outputs = outputs
            .into_iter()
            .enumerate()
            .map(|(i, ty)| self.add_value(name.into(), ty, Def::Node(node, i), if i == 0 { sizes.clone() } else { None }))
            .collect();
        self.nodes.push(Some(Node { op, inputs: inputs.to_vec(), outputs, origin: origin.to_vec() }));
        Ok(node)
    }

    /// [`Graph::add_node`] for an operator with one output: its value.
    pub fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId], origin: &[Arc<str>], name: &str) -> Result<ValueId, OpError> {
        let node = self.add_node(op, inputs, origin, name)?;
        Ok(self.node(node).outputs[0])
    }

    pub fn add_output(&mut self, name: &str, value: ValueId) {
        self.outputs.push(Output { name: name.into(), value });
    }

    /// Every use of `old` (by nodes and model outputs) becomes a use of `new`.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        for node in self.nodes.iter_mut().flatten() {
            for input in &mut node.inputs {
                if *input == old {
                    *input = new;
                }
            }
        }
        for output in &mut self.outputs {
            if output.value == old {
                output.value = new;
            }
        }
    }

    /// Removes a node. Its outputs must have no uses left.
    pub fn remove_node(&mut self, id: NodeId) {
        self.nodes[id.0 as usize] = None;
    }

    /// Drops the nodes and constants that no output needs, and renumbers what stays in the order of use. Ids from before
    /// have no meaning afterwards. Inputs stay.
    pub fn compact(&mut self) -> Compacted {
        let mut old = std::mem::take(self);
        let order = old.order();
        let mut renumbered = vec![None; old.values.len()];
        let mut values: Vec<Value> = vec![];
        let mut keep = |id: ValueId, def: Option<Def>, old: &mut Graph| -> ValueId {
            *renumbered[id.0 as usize].get_or_insert_with(|| {
                let value = &mut old.values[id.0 as usize];
                values.push(Value {
                    name: std::mem::take(&mut value.name),
                    ty: value.ty.clone(),
                    def: def.unwrap_or_else(|| value.def.clone()),
                    sizes: value.sizes.take(),
                });
                ValueId(values.len() as u32 - 1)
            })
        };
        let inputs = old.inputs.clone().into_iter().map(|id| keep(id, None, &mut old)).collect();
        let mut nodes: Vec<Option<Node>> = vec![];
        for id in &order {
            let Some(mut node) = old.nodes[id.0 as usize].take() else { continue };
            let number = NodeId(nodes.len() as u32);
            for input in &mut node.inputs {
                *input = keep(*input, None, &mut old);
            }
            for (i, output) in node.outputs.iter_mut().enumerate() {
                *output = keep(*output, Some(Def::Node(number, i)), &mut old);
            }
            nodes.push(Some(node));
        }
        let mut outputs = std::mem::take(&mut old.outputs);
        for output in &mut outputs {
            output.value = keep(output.value, None, &mut old);
        }
        let dropped = Compacted { nodes: old.nodes.iter().flatten().count(), values: old.values.len() - values.len() };
        *self = Graph { name: old.name, inputs, outputs, symbols: old.symbols, values, nodes };
        dropped
    }

    /// How often each value is used: by nodes in [`Graph::order`] and as model output.
    pub fn use_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.values.len()];
        for node in self.order() {
            for input in &self.node(node).inputs {
                counts[input.0 as usize] += 1;
            }
        }
        for output in &self.outputs {
            counts[output.value.0 as usize] += 1;
        }
        counts
    }

    /// The symbols that nodes define, with these nodes: usually none.
    fn definers(&self) -> HashMap<Arc<str>, NodeId> {
        let nodes = (0..self.nodes.len() as u32).map(NodeId).filter_map(|id| Some((id, self.get_node(id)?)));
        nodes.flat_map(|(id, node)| node.op.defines().into_iter().map(move |symbol| (symbol, id))).collect()
    }

    /// The nodes that define what the sizes of a node mention, each once.
    fn defined_before(&self, id: NodeId, definers: &HashMap<Arc<str>, NodeId>) -> Vec<NodeId> {
        let node = self.node(id);
        let mut symbols = node.op.mentions();
        symbols.extend(node.outputs.iter().flat_map(|v| &self.ty(*v).shape).flat_map(Dim::symbols));
        let mut before: Vec<NodeId> = symbols.iter().filter_map(|s| definers.get(s).copied()).filter(|definer| *definer != id).collect();
        before.sort_unstable();
        before.dedup();
        before
    }

    /// The nodes that the outputs need, operands and definitions of sizes before users; deterministic.
    pub fn order(&self) -> Vec<NodeId> {
        let mut order = vec![];
        let mut seen = vec![false; self.nodes.len()];
        let definers = self.definers();
        let mut defined: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        // Iterative depth-first search: models can be thousands of nodes deep.
        let mut stack: Vec<(NodeId, usize)> = vec![];
        for output in &self.outputs {
            let mut next = self.producer(output.value);
            loop {
                if let Some(node) = next.take()
                    && !std::mem::replace(&mut seen[node.0 as usize], true)
                {
                    stack.push((node, 0));
                }
                let Some((node, input)) = stack.last_mut() else { break };
                match self.node(*node).inputs.get(*input) {
                    Some(value) => {
                        *input += 1;
                        next = self.producer(*value);
                    }
                    None => {
                        let after_inputs = *input - self.node(*node).inputs.len();
                        let before = match definers.is_empty() {
                            true => None,
                            false => defined.entry(*node).or_insert_with(|| self.defined_before(*node, &definers)).get(after_inputs),
                        };
                        match before {
                            Some(definer) => {
                                *input += 1;
                                next = Some(*definer);
                            }
                            None => {
                                order.push(*node);
                                stack.pop();
                            }
                        }
                    }
                }
            }
        }
        order
    }
}

/// Elements of a small integer tensor as sizes.
fn small_ints(tensor: &Tensor) -> Option<Vec<Dim>> {
    const LIMIT: usize = 64;
    (tensor.dtype.is_int() && tensor.rank() <= 1 && tensor.len() <= LIMIT).then(|| tensor.to_i64s().into_iter().map(Dim::from).collect())
}
