//! Decoders whose key-value cache stays in the module: what PyTorch generates, from a prompt at once and token by token; and
//! that a token costs no more than its attention, however many came before.

use ir::Tensor;
use std::path::{Path, PathBuf};
use std::time::Instant;
use wasm_torch::npz::read_npz;
use wasm_torch::options::DimOption;
use wasm_torch::{ExportOptions, Instance, ModelOptions, NamedTensor};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/decoders")
}

/// A module that keeps the cache of `layers` layers.
fn compiled(model: &Path, layers: usize, dims: &[&str]) -> Instance {
    let dims = dims.iter().map(|dim| dim.parse::<DimOption>().expect("an option")).collect();
    let pairs = (0..layers).flat_map(|layer| ["key", "value"].map(|part| format!("present_{part}_{layer}=past_{part}_{layer}")));
    let options = ExportOptions {
        model: ModelOptions { dims, ..ModelOptions::default() },
        states: pairs.map(|pair| pair.parse().expect("an option")).collect(),
        variants: Some(vec!["baseline".into()]),
        ..ExportOptions::default()
    };
    let compiled = wasm_torch::compile(model, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
    Instance::load(&compiled.linked.wasm).expect("loads")
}

/// The logits behind the last of the tokens.
fn logits(instance: &mut Instance, tokens: &[i64]) -> Vec<f32> {
    let ids = NamedTensor::new("input_ids", Tensor::new(&[1, tokens.len()], tokens));
    let outputs = instance.forward(&[ids]).unwrap_or_else(|e| panic!("{e}"));
    let all: Vec<f64> = outputs[0].tensor.to_f64s();
    all[all.len() / tokens.len() * (tokens.len() - 1)..].iter().map(|x| *x as f32).collect()
}

fn most_likely(logits: &[f32]) -> i64 {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).expect("a vocabulary") as i64
}

fn golden(model: &str) -> (Vec<i64>, Vec<i64>, Tensor) {
    let arrays = read_npz(&folder().join(format!("{model}.npz"))).expect("a golden");
    let of = |name: &str| arrays.iter().find(|a| a.name == name).expect("an array").tensor.clone();
    let numbers = |name: &str| of(name).to_f64s().iter().map(|x| *x as i64).collect();
    (numbers("prompt"), numbers("tokens"), of("logits"))
}

#[test]
fn greedy_tokens_are_those_of_pytorch() {
    for model in ["gpt2", "llama"] {
        let (prompt, expected, expected_logits) = golden(model);
        let scale = expected_logits.to_f64s().iter().fold(0f64, |m, x| m.max(x.abs()));
        for exporter in ["dynamo", "legacy"] {
            let path = folder().join(format!("{model}.{exporter}.onnx"));
            let mut instance = compiled(&path, 2, &["sequence=1..8", "past=0..80"]);
            for at_once in [true, false] {
                instance.reset_state();
                let mut last = vec![];
                for part in prompt.chunks(if at_once { prompt.len() } else { 1 }) {
                    last = logits(&mut instance, part);
                }
                let mut worst = 0f64;
                for (i, token) in expected.iter().enumerate() {
                    let of_step = &expected_logits.to_f64s()[i * last.len()..][..last.len()];
                    worst = last.iter().zip(of_step).fold(worst, |m, (a, b)| m.max((f64::from(*a) - b).abs() / scale));
                    assert_eq!(most_likely(&last), *token, "{model}.{exporter}, token {i}");
                    last = logits(&mut instance, &[*token]);
                }
                assert!(worst < 1e-4, "{model}.{exporter}: relative error {worst:.1e}");
                assert_eq!(instance.save_state()[0].tensor.shape[2], prompt.len() + expected.len());
            }
        }
    }
}

#[test]
fn states_that_grow_are_saved_restored_cleared_and_end() {
    let mut instance = compiled(&folder().join("llama.dynamo.onnx"), 2, &["sequence=1", "past=0..6"]);
    let text = [3i64, 14, 15, 9, 2, 6, 5];
    assert_eq!(instance.save_state()[0].tensor.shape, [1, 2, 0, 8], "empty at first");
    let first: Vec<Vec<f32>> = text[..4].iter().map(|token| logits(&mut instance, &[*token])).collect();
    let saved = instance.save_state();
    assert_eq!(saved[3].tensor.shape, [1, 2, 4, 8]);
    let rest: Vec<Vec<f32>> = text[4..].iter().map(|token| logits(&mut instance, &[*token])).collect();
    // Seven are there now, and a run begins with six at most.
    let error = instance.forward(&[NamedTensor::new("input_ids", Tensor::new(&[1, 1], &[1i64]))]).expect_err("full").to_string();
    assert!(error.contains("the state `past_key_0` is full: `past` is 7, at most 6"), "{error}");
    assert!(error.contains("hint: reset the states, or export with --dim past=0..12"), "{error}");
    assert_eq!(instance.save_state()[0].tensor.shape, [1, 2, 7, 8], "what a refused run leaves");
    instance.restore_state(&saved).expect("restores");
    let again: Vec<Vec<f32>> = text[4..].iter().map(|token| logits(&mut instance, &[*token])).collect();
    assert_eq!(again, rest);
    instance.reset_state();
    let cleared: Vec<Vec<f32>> = text[..4].iter().map(|token| logits(&mut instance, &[*token])).collect();
    assert_eq!(cleared, first);

    let mut wrong = saved.clone();
    wrong[0].tensor = Tensor::zeros(ir::DType::F32, &[1, 2, 3, 8]);
    wrong[2].tensor = Tensor::zeros(ir::DType::F32, &[1, 2, 9, 8]);
    let error = instance.restore_state(&wrong).expect_err("sizes").to_string();
    for sentence in [
        "the state `past_value_0` is f32[1, 2, past, 8], found f32[1, 2, 4, 8]",
        "`past_key_1` is f32[1, 2, past, 8], found f32[1, 2, 9, 8]",
    ] {
        assert!(error.contains(sentence), "{error}");
    }
    assert_eq!(instance.save_state()[0].tensor.shape, [1, 2, 4, 8], "nothing is written");
}

#[test]
fn a_module_refuses_a_full_state_itself() {
    // A host that looks at nothing: the module's own check.
    let mut instance = compiled(&folder().join("gpt2.legacy.onnx"), 2, &["sequence=1..4", "past=0..5"]);
    logits(&mut instance, &[1, 2, 3]);
    logits(&mut instance, &[4, 5, 6]);
    let steps = instance.steps();
    let error = instance.run_steps(0..steps).expect_err("full").to_string();
    assert!(error.contains("states of size past"), "{error}");
    assert_eq!(instance.save_state()[1].tensor.shape[2], 6);
}

#[test]
#[ignore = "a measurement of a larger model: models/decoders/export.py --large, then cargo test -p wasm-torch-tests --test decoders -- --ignored --nocapture"]
fn time_per_token() {
    let cache = std::env::var_os("WASM_TORCH_CACHE").map(PathBuf::from);
    let root = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/wasm-torch"));
    let mut instance = compiled(&root.join("models/gpt2_medium.dynamo.onnx"), 6, &["sequence=1", "past=0..2000"]);
    let attention = |instance: &mut Instance| {
        let ids = NamedTensor::new("input_ids", Tensor::new(&[1, 1], &[7i64]));
        let steps = wasm_torch::bench::profile(instance, &[ids], 1).expect("runs");
        let of = |part: bool| steps.iter().filter(|s| s.layers.iter().any(|l| l.ends_with(".attn")) == part).map(|s| s.ms).sum::<f64>();
        (of(true), of(false))
    };
    println!("tokens  ms per token  attention  rest");
    for until in [16, 64, 256, 1024, 1900] {
        while instance.save_state()[0].tensor.shape[2] < until {
            logits(&mut instance, &[7]);
        }
        let mut times: Vec<f64> = (0..9)
            .map(|_| {
                let start = Instant::now();
                logits(&mut instance, &[7]);
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let profiles: Vec<(f64, f64)> = (0..9).map(|_| attention(&mut instance)).collect();
        let least = |part: fn(&(f64, f64)) -> f64| profiles.iter().map(part).fold(f64::INFINITY, f64::min);
        println!("{until:6}  {:12.2}  {:9.2}  {:5.2}", times[0], least(|p| p.0), least(|p| p.1));
    }
}
