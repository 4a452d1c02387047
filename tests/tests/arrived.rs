//! Models that arrive quantised, in the forms of onnxruntime's quantiser and of PyTorch's pt2e: they run on integer layers,
//! near what onnxruntime computes with them, and the module gives the bits of `eval`.

use std::path::PathBuf;
use wasm_torch::{ExportOptions, Instance, NamedTensor, npz};
use wasm_torch_tests::{Tensor, models};

fn model(name: &str) -> PathBuf {
    models().join("quantized").join(format!("{name}.onnx"))
}

/// Samples and onnxruntime's results, one row each.
fn golden(name: &str) -> (Vec<Tensor>, Vec<f32>) {
    let arrays = npz::read_npz(&model(name).with_extension("npz")).unwrap();
    let array = |start: &str| arrays.iter().find(|a| a.name.starts_with(start)).expect("inputs and outputs").tensor.clone();
    let (inputs, outputs) = (array("input:"), array("output:"));
    let size = inputs.len() / inputs.shape[0];
    let samples = inputs.as_slice::<f32>().chunks_exact(size).map(|x| Tensor::new(&inputs.shape[1..], x)).collect();
    (samples, outputs.as_slice::<f32>().to_vec())
}

/// `step`: what one step of the result's grid is; results of `f32` differ by rounding only.
fn check(name: &str, integer: usize, step: f32) {
    let compiled = wasm_torch::compile(&model(name), &ExportOptions::default(), &mut |_| {}).unwrap();
    let products = compiled.report.products;
    assert_eq!((products.integer, products.float), (integer, 0), "{name}");
    let mut graph = onnx::import_file(model(name), &onnx::ImportOptions::default()).unwrap().graph;
    passes::run(&mut graph, &passes::Options::default(), &mut |_| {}).unwrap();
    let mut instance = Instance::load(&compiled.linked.wasm).unwrap();
    let (samples, expected) = golden(name);
    let mut found = vec![];
    for sample in samples {
        let from_eval = ir::eval::eval(&graph, std::slice::from_ref(&sample)).unwrap().remove(0);
        let input = &graph.value(graph.inputs[0]).name;
        let from_module = instance.forward(&[NamedTensor::new(input, sample)]).unwrap().remove(0).tensor;
        assert_eq!(from_module.bytes(), from_eval.bytes(), "{name}: the module and `eval`");
        found.extend_from_slice(from_module.as_slice::<f32>());
    }
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
    assert!(worst <= step, "{name}: {worst} apart, a step is {step}");
}

#[test]
fn quantise_and_dequantise_around_layers() {
    // The last grid has the scale 0.0026: equal but for the conversion.
    check("qdq_u8", 7, 1e-6);
}

#[test]
fn signed_activations() {
    check("qdq_i8", 7, 1e-6);
}

#[test]
fn quantised_operators() {
    check("qop_u8", 7, 1e-6);
}

#[test]
fn pytorch_pt2e() {
    check("pt2e", 7, 1e-5);
}
