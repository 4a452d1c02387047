//! Weights that are stored in fewer bits: expanded by the first run of every variant, the same bits in each run.

use ir::{DType, Tensor};
use std::path::Path;
use wasm_torch::quantize::QuantizeOptions;
use wasm_torch::quantize::options::WeightOption;
use wasm_torch::{ExportOptions, Instance, LoadOptions, NamedTensor, compile};

#[test]
fn the_first_run_expands_and_later_ones_agree() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits/digits.dynamo.onnx");
    let images: Vec<Tensor> = (1..4).map(|seed| Tensor::random(DType::F32, &[1, 1, 28, 28], seed)).collect();
    let run = |wasm: &[u8], options: &LoadOptions| -> Option<Vec<Vec<f32>>> {
        let mut instance = match Instance::load_with(wasm, options) {
            Err(error) if options.variant.as_deref().is_some_and(|v| v.contains("relaxed")) => {
                eprintln!("SKIPPED {:?}: {error}", options.variant);
                return None;
            }
            instance => instance.unwrap(),
        };
        let twice = images.iter().chain(&images);
        let outputs = twice.map(|x| instance.forward(&[NamedTensor::new("input", x.clone())]).unwrap().remove(0).tensor);
        Some(outputs.map(|t| t.as_slice::<f32>().to_vec()).collect())
    };
    let module = |weights: Option<WeightOption>| {
        let options = ExportOptions { quantize: QuantizeOptions { weights, ..QuantizeOptions::default() }, ..ExportOptions::default() };
        compile(&model, &options, &mut |_| {}).unwrap()
    };
    let float = module(None);
    let exact = run(&float.linked.wasm, &LoadOptions::default()).unwrap();
    for (weights, error) in [(WeightOption::F16, 2e-3), (WeightOption::Int8, 0.03), (WeightOption::Int4, 0.3)] {
        let small = module(Some(weights));
        // For f16 all but biases shrink.
        let most = if weights == WeightOption::F16 { 0.54 } else { 1.0 };
        let part = small.report.sizes.weights as f64 / float.report.sizes.weights as f64;
        assert!(part < most, "{weights:?}: {part:.2} of the bytes");
        for (variant, threads) in [("baseline", 1), ("threads", 2), ("relaxed", 1)] {
            let options = LoadOptions { variant: Some(variant.into()), threads: Some(threads), ..LoadOptions::default() };
            let Some(found) = run(&small.linked.wasm, &options) else { continue };
            assert_eq!(found[..3], found[3..], "{weights:?}, {variant}: the second round");
            let largest = exact.iter().flatten().fold(0f32, |m, x| m.max(x.abs()));
            let apart = found.iter().flatten().zip(exact.iter().flatten()).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
            assert!(apart <= error * largest, "{weights:?}, {variant}: {apart} of {largest} apart");
        }
    }
}
