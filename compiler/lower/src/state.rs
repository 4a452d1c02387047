//! State: outputs that become inputs of the next run. Their buffers persist; the last steps of a run write them, so that a
//! run that fails leaves them as they were.

use crate::LowerError;
use crate::control::assign;
use crate::cx::Cx;
use crate::driver::port;
use crate::plan::StatePort;
use crate::view::View;
use ir::{Graph, ValueId};
use std::collections::HashMap;

/// Numbers of the input and the output that are one state.
pub struct StateOf {
    pub input: usize,
    pub output: usize,
}

/// The ports that the named pairs (output, input) mean; every pair that means none.
pub fn ports(graph: &Graph, states: &[(String, String)]) -> Result<Vec<StateOf>, Vec<LowerError>> {
    let mut found: Vec<StateOf> = vec![];
    let mut errors = vec![];
    for (output, input) in states {
        let mut fail = |what: String| errors.push(LowerError::State { output: output.clone(), input: input.clone(), what });
        let inputs: Vec<&str> = graph.inputs.iter().map(|id| &graph.value(*id).name[..]).collect();
        let outputs: Vec<&str> = graph.outputs.iter().map(|o| &o.name[..]).collect();
        let place = |names: &[&str], name: &str| names.iter().position(|n| *n == name);
        match (place(&inputs, input), place(&outputs, output)) {
            (None, _) => fail(format!("the model has no input `{input}`; it has: {}", inputs.join(", "))),
            (_, None) => fail(format!("the model has no output `{output}`; it has: {}", outputs.join(", "))),
            (Some(i), Some(o)) => {
                let (from, to) = (graph.ty(graph.outputs[o].value), graph.ty(graph.inputs[i]));
                if from != to {
                    fail(format!("the output is {from}, the input {to}"));
                } else if let Some(symbol) = to.shape.iter().flat_map(ir::Dim::symbols).next() {
                    fail(format!("its size `{symbol}` is free; bind it, e.g. --dim {symbol}=1"));
                } else if found.iter().any(|other| other.input == i || other.output == o) {
                    fail("one of them belongs to another state".into());
                } else {
                    found.push(StateOf { input: i, output: o });
                }
            }
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Writes the new states over the old ones, all at once.
pub fn finish(cx: &mut Cx, graph: &Graph, views: &HashMap<ValueId, View>, states: &[StateOf]) -> Result<Vec<StatePort>, LowerError> {
    let (mut from, mut to, mut ports) = (vec![], vec![], vec![]);
    for state in states {
        let output = &graph.outputs[state.output];
        from.push(match (graph.constant(output.value), views.get(&output.value)) {
            (Some(tensor), _) => cx.constant(&output.name, tensor, &[]),
            (None, Some(view)) => view.clone(),
            (None, None) => return Err(LowerError::Bug { layer: output.name.clone(), what: "output was not computed".into() }),
        });
        let input = graph.inputs[state.input];
        to.push(views[&input].clone());
        ports.push(StatePort { port: port(&graph.value(input).name, &views[&input])?, output: output.name.clone() });
    }
    assign(cx, "state", &["state".into()], &from, &to)?;
    Ok(ports)
}
