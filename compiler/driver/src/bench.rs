//! Times a module in this process: whole runs or single steps, inputs written before each. It measures, it compares nothing.

use crate::engine::EngineError;
use crate::{Instance, NamedTensor};
use serde::Serialize;
use std::time::Instant;

/// Statistics of repeated runs in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Times {
    pub runs: usize,
    /// The first run, warm-up included.
    pub first_ms: f64,
    pub min_ms: f64,
    pub median_ms: f64,
    pub p90_ms: f64,
    pub mean_ms: f64,
}

impl Times {
    /// Statistics of at least one time; the first is also reported alone.
    pub fn of(times: &[f64]) -> Times {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |q: f64| sorted[((sorted.len() - 1) as f64 * q).round() as usize];
        let mean_ms = times.iter().sum::<f64>() / times.len() as f64;
        Times { runs: times.len(), first_ms: times[0], min_ms: sorted[0], median_ms: at(0.5), p90_ms: at(0.9), mean_ms }
    }
}

/// Runs the model `repeat` times (at least once): on with its states, or each time with the same ones where
/// inputs are as large as these.
pub fn runs(instance: &mut Instance, inputs: &[NamedTensor], repeat: usize, mut after_each: impl FnMut()) -> Result<Times, EngineError> {
    let steps = instance.steps();
    let before = first_state(instance);
    let mut times = vec![];
    for _ in 0..repeat.max(1) {
        ready(instance, before.as_deref())?;
        instance.write_inputs(inputs)?;
        let start = Instant::now();
        instance.run_steps(0..steps)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        after_each();
    }
    Ok(Times::of(&times))
}

/// The states that every run begins with, where inputs are as large as states.
fn first_state(instance: &Instance) -> Option<Vec<NamedTensor>> {
    instance.has_inputs_that_grow().then(|| instance.save_state())
}

/// Makes room for another run with the same inputs.
fn ready(instance: &mut Instance, before: Option<&[NamedTensor]>) -> Result<(), EngineError> {
    match before {
        Some(states) => instance.restore_state(states),
        None => {
            if instance.is_full() {
                instance.reset_state();
            }
            Ok(())
        }
    }
}

/// One step in a profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepTime {
    pub layers: Vec<String>,
    pub kernel: String,
    /// Median over the runs.
    pub ms: f64,
    /// Part of the sum of all steps, 0 to 1.
    pub share: f64,
    /// Two operations per multiply-accumulate.
    pub gflops: f64,
}

/// Times every step alone, `repeat` times (at least once). A step in a loop counts with all its iterations.
pub fn profile(instance: &mut Instance, inputs: &[NamedTensor], repeat: usize) -> Result<Vec<StepTime>, EngineError> {
    let mut times = vec![vec![]; instance.steps()];
    let before = first_state(instance);
    for _ in 0..repeat.max(1) {
        ready(instance, before.as_deref())?;
        instance.write_inputs(inputs)?;
        let mut run = vec![0.0; times.len()];
        let mut step = 0;
        while let Some(sum) = run.get_mut(step) {
            let start = Instant::now();
            step = instance.run_steps(step..step + 1)?;
            *sum += start.elapsed().as_secs_f64() * 1e3;
        }
        times.iter_mut().zip(run).for_each(|(times, ms)| times.push(ms));
    }
    let medians: Vec<f64> = times.iter().map(|t| Times::of(t).median_ms).collect();
    let total: f64 = medians.iter().sum();
    let row = |(step, ms): (&abi::manifest::Step, &f64)| StepTime {
        layers: step.layers.clone(),
        kernel: step.kernel.clone(),
        ms: *ms,
        share: ms / total.max(f64::MIN_POSITIVE),
        gflops: 2.0 * step.macs as f64 / (ms.max(1e-9) * 1e6),
    };
    Ok(instance.manifest().steps.iter().zip(&medians).map(row).collect())
}
