//! Checks a module against the meaning of its model: both get the same inputs, the outputs are compared. The model is
//! evaluated as imported, without passes.

use crate::compare::{Difference, Tolerance, compare};
use crate::engine::{dtype, shape};
use crate::{Error, Instance, NamedTensor};
use abi::manifest::Manifest;
use ir::{Graph, Tensor};
use serde::Serialize;

/// Outcome of one set of inputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Where the inputs come from: `inputs` or `random, seed 3`.
    pub inputs: String,
    pub outputs: Vec<Difference>,
    pub ok: bool,
}

/// Runs model and module on `inputs`.
pub fn verify(
    graph: &Graph,
    instance: &mut Instance,
    inputs: &[NamedTensor],
    label: String,
    tolerance: Tolerance,
) -> Result<Sample, Error> {
    crate::engine::check_inputs(&instance.manifest().inputs, inputs)?;
    let ordered: Result<Vec<Tensor>, Error> = graph.inputs.iter().map(|id| given(&graph.value(*id).name, inputs)).collect();
    let expected = ir::eval::eval(graph, &ordered?)?;
    let found = instance.forward(inputs)?;
    let outputs: Vec<Difference> = graph
        .outputs
        .iter()
        .zip(&expected)
        .map(|(output, expected)| match found.iter().find(|f| f.name == output.name) {
            Some(found) => compare(&output.name, expected, &found.tensor, tolerance),
            None => Difference {
                output: output.name.clone(),
                max_abs: f64::INFINITY,
                max_rel: f64::INFINITY,
                argmax_equal: None,
                mismatch: Some("the module has no output of this name".into()),
                ok: false,
            },
        })
        .collect();
    let ok = outputs.iter().all(|o| o.ok) && found.len() == outputs.len();
    Ok(Sample { inputs: label, outputs, ok })
}

fn given(name: &str, inputs: &[NamedTensor]) -> Result<Tensor, Error> {
    inputs.iter().find(|i| i.name == name).map(|i| i.tensor.clone()).ok_or_else(|| {
        let sentence = format!("the model has the input `{name}`, which the module does not take");
        Error::Usage(format!("{sentence}\nhint: if it was bound at export, bind it again: --bind {name}=VALUE"))
    })
}

/// Random tensors for a module's inputs.
pub fn random_inputs(manifest: &Manifest, seed: u64) -> Vec<NamedTensor> {
    let tensor = |(i, input): (usize, &abi::manifest::Tensor)| {
        // Neighbouring seeds and inputs share nothing: SplitMix64 is seeded far apart.
        let seed = seed.wrapping_mul(0x1000_0000_01b3).wrapping_add(i as u64 + 1);
        NamedTensor::new(&input.name, Tensor::random(dtype(input), &shape(input), seed))
    };
    manifest.inputs.iter().enumerate().map(tensor).collect()
}
