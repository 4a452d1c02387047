//! Checks a module against an oracle, by default the meaning of its model: both get the same inputs, the outputs are
//! compared. What the oracle answers is its own affair.

use crate::compare::{Difference, Tolerance, compare};
use crate::engine::{dtype, shape_at};
use crate::oracle::Oracle;
use crate::{Error, Instance, NamedTensor};
use abi::manifest::Manifest;
use ir::Tensor;
use serde::Serialize;

/// Outcome of one set of inputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Where the inputs come from: `inputs` or `random, seed 3`.
    pub inputs: String,
    pub outputs: Vec<Difference>,
    pub ok: bool,
}

/// Runs oracle and module on `inputs`. An output that only one of them has is a difference.
pub fn verify(
    oracle: &mut Oracle,
    instance: &mut Instance,
    inputs: &[NamedTensor],
    label: String,
    tolerance: Tolerance,
) -> Result<Sample, Error> {
    crate::engine::check_inputs(instance.manifest(), inputs)?;
    // States are inputs and outputs of the model, and stay in the module from sample to sample.
    if instance.is_full() {
        instance.reset_state();
    }
    let expected = oracle.outputs(&[inputs, &instance.save_state()].concat())?;
    let mut found = instance.forward(inputs)?;
    let states = instance.save_state().into_iter().zip(&instance.manifest().states);
    found.extend(states.map(|(saved, state)| NamedTensor::new(&state.output, saved.tensor)));
    let mut outputs: Vec<Difference> = expected
        .iter()
        .map(|expected| match found.iter().find(|f| f.name == expected.name) {
            Some(found) => compare(&expected.name, &expected.tensor, &found.tensor, tolerance),
            None => missing(&expected.name, "the module has no output of this name".into()),
        })
        .collect();
    let unexpected = found.iter().filter(|f| !expected.iter().any(|e| e.name == f.name));
    outputs.extend(unexpected.map(|f| missing(&f.name, format!("{oracle} has no output of this name"))));
    let ok = outputs.iter().all(|o| o.ok);
    Ok(Sample { inputs: label, outputs, ok })
}

fn missing(output: &str, mismatch: String) -> Difference {
    let (max_abs, max_rel) = (f64::INFINITY, f64::INFINITY);
    Difference { output: output.into(), max_abs, max_rel, argmax_equal: None, mismatch: Some(mismatch), ok: false }
}

/// Random tensors for a module's inputs. Free sizes are the largest with seed 0, and somewhere in their bounds with others;
/// those of states that grow are as small as they may be, as they are in a module that has not run.
pub fn random_inputs(manifest: &Manifest, seed: u64) -> Vec<NamedTensor> {
    random_inputs_at(manifest, &vec![None; manifest.symbols.len()], seed)
}

/// [`random_inputs`] for the next run of an instance, whose states may have grown.
pub fn random_inputs_of(instance: &Instance, seed: u64) -> Vec<NamedTensor> {
    random_inputs_at(instance.manifest(), &instance.kept_sizes(), seed)
}

fn random_inputs_at(manifest: &Manifest, kept: &[Option<i64>], seed: u64) -> Vec<NamedTensor> {
    let size = |(symbol, kept): (&abi::manifest::Symbol, &Option<i64>)| match seed {
        _ if symbol.kept => kept.unwrap_or(symbol.min),
        0 => symbol.max,
        _ => symbol.min + (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as i64 % (symbol.max - symbol.min + 1),
    };
    let sizes: Vec<i64> = manifest.symbols.iter().zip(kept).map(size).collect();
    let tensor = |(i, input): (usize, &abi::manifest::Tensor)| {
        // Neighbouring seeds and inputs share nothing: SplitMix64 is seeded far apart.
        let seed = seed.wrapping_mul(0x1000_0000_01b3).wrapping_add(i as u64 + 1);
        NamedTensor::new(&input.name, Tensor::random(dtype(input), &shape_at(manifest, input, &sizes), seed))
    };
    manifest.inputs.iter().enumerate().map(tensor).collect()
}
