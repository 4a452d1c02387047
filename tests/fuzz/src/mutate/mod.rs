//! Mutations of ONNX models. Most keep the file a protobuf message and change what it says: one table of them, from which
//! each input takes a few.

mod bombs;
mod bytes;
mod graph;
mod node;
mod tensor;

use crate::rng::Rng;
use onnx::proto::attribute_proto::AttributeType;
use onnx::proto::{GraphProto, ModelProto};
use prost::Message;

pub(crate) use bytes::{damage, noise};

/// Changes a model in one place. `other` is another model, to take things from.
type Mutation = fn(&mut ModelProto, &ModelProto, &mut Rng);

/// How often each is chosen, relative to the others.
const MUTATIONS: &[(usize, Mutation)] = &[
    (8, node::attribute_value),
    (2, node::attribute_kind),
    (2, node::attribute_set),
    (6, node::inputs),
    (2, node::outputs),
    (3, node::operator),
    (2, node::order),
    (4, tensor::dims),
    (4, tensor::elements),
    (3, tensor::dtype),
    (2, tensor::data),
    (2, tensor::external),
    (4, graph::value_infos),
    (2, graph::ports),
    (2, graph::opsets),
    (3, graph::splice),
    (1, graph::nest),
    (1, graph::functions),
    (1, graph::names),
    (2, bombs::constant),
    (3, bombs::operator),
];

/// A model with one to four changes.
pub(crate) fn mutate(bytes: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let (Ok(mut model), Ok(other)) = (ModelProto::decode(bytes), ModelProto::decode(other)) else { return damage(bytes, rng) };
    let total: usize = MUTATIONS.iter().map(|(weight, _)| weight).sum();
    for _ in 0..[1, 1, 1, 2, 2, 4][rng.below(6)] {
        let mut at = rng.below(total);
        let chosen = MUTATIONS.iter().find(|(weight, _)| {
            let hit = at < *weight;
            at = at.saturating_sub(*weight);
            hit
        });
        let (_, mutation) = chosen.expect("the weights add up");
        mutation(&mut model, &other, rng);
    }
    model.encode_to_vec()
}

/// The main graph, or one within a node of it.
fn some_graph<'m>(model: &'m mut ModelProto, rng: &mut Rng) -> Option<&'m mut GraphProto> {
    let graph = model.graph.as_mut()?;
    let bodies = graph.node.iter().flat_map(|n| &n.attribute).filter(|a| a.g.is_some()).count();
    let chosen = if bodies > 0 && rng.one_in(2) { rng.below(bodies) } else { return Some(graph) };
    graph.node.iter_mut().flat_map(|n| &mut n.attribute).filter_map(|a| a.g.as_mut()).nth(chosen)
}

/// A graph that holds no more than it must be asked for.
fn is_graph(kind: AttributeType) -> bool {
    matches!(kind, AttributeType::Graph | AttributeType::Graphs)
}

/// Models with one thing less: a node, an attribute, an initialiser, what a file says of values, or its names.
pub(crate) fn smaller(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Ok(model) = ModelProto::decode(bytes) else { return crate::shrink::bytes(bytes) };
    let mut models = vec![];
    let mut without = |change: &dyn Fn(&mut ModelProto, &mut GraphProto)| {
        let mut model = model.clone();
        let Some(mut graph) = model.graph.take() else { return };
        change(&mut model, &mut graph);
        model.graph = Some(graph);
        models.push(model.encode_to_vec());
    };
    let Some(graph) = &model.graph else { return crate::shrink::bytes(bytes) };
    without(&|_, g| g.value_info.clear());
    without(&|m, _| {
        m.metadata_props.clear();
        m.doc_string = None;
        m.training_info.clear();
    });
    without(&|m, _| m.functions.clear());
    without(&|_, g| {
        g.node.iter_mut().for_each(|n| {
            n.doc_string = None;
            n.metadata_props.clear();
        });
    });
    let nodes = graph.node.len();
    let mut piece = nodes / 2;
    while piece > 0 {
        for at in (0..nodes).step_by(piece) {
            without(&|_, g| {
                g.node.drain(at..(at + piece).min(nodes));
            });
        }
        piece /= 2;
    }
    for i in 0..graph.initializer.len() {
        without(&|_, g| {
            g.initializer.remove(i);
        });
        // A weight becomes an input of the same type: the file loses its bytes.
        without(&|_, g| {
            let tensor = g.initializer.remove(i);
            g.input.retain(|input| input.name != tensor.name);
            g.input.push(tensor::as_input(&tensor));
        });
    }
    for i in 0..graph.input.len() {
        without(&|_, g| {
            g.input.remove(i);
        });
    }
    for i in 0..graph.output.len() {
        without(&|_, g| {
            g.output.remove(i);
        });
    }
    for (n, node) in graph.node.iter().enumerate() {
        for a in 0..node.attribute.len() {
            without(&|_, g| {
                g.node[n].attribute.remove(a);
            });
        }
        without(&|_, g| g.node[n].name = None);
    }
    // The results of nodes become outputs, so that what follows may go.
    if nodes > 1 {
        for (n, node) in graph.node.iter().enumerate() {
            let Some(name) = node.output.first().cloned() else { continue };
            without(&|_, g| {
                g.node.truncate(n + 1);
                g.output.truncate(1);
                if let Some(output) = g.output.first_mut() {
                    output.name = Some(name.clone());
                    output.r#type = None;
                }
            });
        }
    }
    models
}
