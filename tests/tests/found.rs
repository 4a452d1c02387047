//! Sizes that data decides: modules that select rows, boxes and the best few, run with ever other counts in one instance, against
//! `eval`.

use ir::{B8, Tensor};
use std::path::{Path, PathBuf};
use wasm_torch::compare::{Tolerance, compare};
use wasm_torch::engine::LoadOptions;
use wasm_torch::{ExportOptions, Instance, NamedTensor};
use wasm_torch_tests::Level;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../models/cases/flow/{name}.onnx"))
}

fn module(name: &str, level: Level) -> Vec<u8> {
    let options = ExportOptions { level: Some(level), variants: Some(vec!["all".into()]), ..ExportOptions::default() };
    wasm_torch::compile(&file(name), &options, &mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}")).linked.wasm
}

/// Runs of one instance with these inputs; the shapes of the first output.
fn shapes(name: &str, runs: &[Vec<NamedTensor>]) -> Vec<Vec<usize>> {
    let graph = onnx::import_file(file(name), &onnx::ImportOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}")).graph;
    let mut shapes = vec![];
    for (level, variant, threads) in [(Level::O0, "baseline", 1), (Level::O2, "baseline", 1), (Level::O2, "threads", 2)] {
        let options = LoadOptions { variant: Some(variant.into()), threads: Some(threads), ..LoadOptions::default() };
        let mut instance = Instance::load_with(&module(name, level), &options).expect("loads");
        shapes.clear();
        for inputs in runs {
            let tensors: Vec<Tensor> = graph.inputs.iter().map(|id| given(inputs, &graph.value(*id).name)).collect();
            let expected = ir::eval::eval(&graph, &tensors).unwrap_or_else(|e| panic!("{name}: {e}"));
            let found = instance.forward(inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.tensor.shape, expected.shape, "{name}: {}", found.name);
                let difference = compare(&found.name, expected, &found.tensor, Tolerance { rtol: 1e-5, atol: 1e-6 });
                assert!(difference.ok, "{name} {level} {variant}: {difference:?}");
            }
            shapes.push(found[0].tensor.shape.clone());
        }
    }
    shapes
}

fn given(inputs: &[NamedTensor], name: &str) -> Tensor {
    inputs.iter().find(|input| input.name == name).expect("all inputs").tensor.clone()
}

fn scored(first: &str, shape: &[usize], scores: &[f32], least: f32) -> Vec<NamedTensor> {
    let data = Tensor::random(ir::DType::F32, shape, 3);
    let scores = Tensor::new(&[scores.len()], scores);
    vec![NamedTensor::new(first, data), NamedTensor::new("scores", scores), NamedTensor::new("least", Tensor::scalar(least))]
}

#[test]
fn rows_above_a_threshold() {
    let scores = [0.1f32, 0.9, 0.4, 0.8, 0.3, 0.7, 0.2, 0.6, 0.5];
    let runs: Vec<_> = [0.0f32, 2.0, 0.65, 0.05, 0.85, 0.45].map(|least| scored("x", &[9, 4], &scores, least)).into();
    assert_eq!(shapes("found_rows", &runs), [[5, 4], [0, 4], [3, 4], [5, 4], [1, 4], [5, 4]]);
}

#[test]
fn boxes_that_suppress_others() {
    let scores: Vec<f32> = (0..14).map(|i| ((i * 5) % 14) as f32 / 14.0).collect();
    let boxes = Tensor::from_fn(ir::DType::F32, &[14, 4], |i| ((i / 4 * 7) % 5) as f64 + if i % 4 < 2 { 0.0 } else { 2.0 });
    let run = |least: f32| {
        let mut inputs = scored("boxes", &[14, 4], &scores, least);
        inputs[0].tensor = boxes.clone();
        inputs
    };
    let shapes = shapes("found_boxes", &[0.3, 2.0, 0.0, 0.9, 0.5].map(run));
    assert_eq!([&shapes[1], &shapes[3]], [&[0, 4], &[1, 4]]);
    assert!(shapes[0][0] > 1 && shapes[2][0] == 4, "{shapes:?}");
}

#[test]
fn as_many_as_an_input_says() {
    let run = |k: i64, keep: [u8; 3]| {
        let keep = Tensor::new(&[3], &keep.map(B8));
        let x = Tensor::random(ir::DType::F32, &[3, 7], 5);
        vec![NamedTensor::new("x", x), NamedTensor::new("k", Tensor::new(&[1], &[k])), NamedTensor::new("keep", keep)]
    };
    let runs = [run(4, [1, 0, 1]), run(7, [1, 1, 1]), run(0, [0, 1, 0]), run(2, [0, 0, 0])];
    assert_eq!(shapes("found_best", &runs), [[3, 4], [3, 7], [3, 0], [3, 2]]);
    // More than there are: the module says so, and so does the naive evaluation.
    let mut instance = Instance::load(&module("found_best", Level::O2)).expect("loads");
    let error = instance.forward(&run(8, [1, 1, 1])).expect_err("too many").to_string();
    assert!(error.contains("top"), "{error}");
    assert_eq!(instance.forward(&run(3, [1, 1, 0])).expect("goes on")[0].tensor.shape, [3, 3]);
}
