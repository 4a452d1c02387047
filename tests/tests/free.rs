//! Modules whose sizes stay free: random graphs and a recorded model, compiled once, run at several sizes, against `eval`.

#[path = "../../compiler/lower/tests/common/free_graphs.rs"]
mod free_graphs;

use ir::{Graph, Tensor};
use wasm_torch::compare::{Tolerance, compare};
use wasm_torch::engine::LoadOptions;
use wasm_torch::export::{lower, run_passes};
use wasm_torch::options::DimOption;
use wasm_torch::{ExportOptions, Instance, ModelOptions, NamedTensor};

/// Differences of close numbers magnify what was rounded before.
const TOLERANCE: Tolerance = Tolerance { rtol: 2e-4, atol: 1e-6 };

/// The graph's module, after the passes of the default level.
fn module(graph: &Graph) -> Vec<u8> {
    let config = ExportOptions { variants: Some(vec!["all".to_string()]), ..ExportOptions::default() }.resolve().expect("options");
    let mut graph = graph.clone();
    run_passes(&mut graph, &config, &mut |_| {}).expect("passes");
    let plan = lower(&graph, &config).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    link::link(&plan, &config.link).expect("links").wasm
}

fn inputs(graph: &Graph, values: &[(&str, i64)], seed: u64) -> Vec<NamedTensor> {
    let value = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, v)| ir::Dim::from(*v));
    let tensor = |(i, id): (usize, &ir::ValueId)| {
        let ty = graph.ty(*id);
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.substitute(&value).as_const().expect("all symbols") as usize).collect();
        NamedTensor::new(&graph.value(*id).name, Tensor::random(ty.dtype, &shape, seed + i as u64))
    };
    graph.inputs.iter().enumerate().map(tensor).collect()
}

fn check(instance: &mut Instance, graph: &Graph, inputs: &[NamedTensor]) {
    let tensors: Vec<Tensor> = inputs.iter().map(|i| i.tensor.clone()).collect();
    let expected = ir::eval::eval(graph, &tensors).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let found = instance.forward(inputs).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    for (found, expected) in found.iter().zip(&expected) {
        let difference = compare(&found.name, expected, &found.tensor, TOLERANCE);
        assert!(difference.ok, "{difference:?}\n{graph}");
    }
}

#[test]
fn random_graphs_at_several_sizes() {
    let mut state = 5u64;
    let mut pick = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for round in 0..6 {
        let text = free_graphs::random(&mut pick);
        let graph = ir::text::parse_graph(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let wasm = module(&graph);
        for (variant, threads) in [("baseline", 1), ("threads", 2)] {
            let options = LoadOptions { variant: Some(variant.into()), threads: Some(threads), ..LoadOptions::default() };
            let mut instance = Instance::load_with(&wasm, &options).expect("loads");
            for (b, s) in free_graphs::SIZES {
                check(&mut instance, &graph, &inputs(&graph, &[("b", *b), ("s", *s)], round));
            }
        }
    }
}

#[test]
fn a_model_with_a_free_batch_and_sizes_outside_of_its_bounds() {
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/cases/symbolic_batch.onnx");
    let dims = vec!["batch=1..5".parse::<DimOption>().expect("an option")];
    let options = ExportOptions { model: ModelOptions { dims, ..ModelOptions::default() }, ..ExportOptions::default() };
    let wasm = wasm_torch::compile(&model, &options, &mut |_| {}).expect("compiles").linked.wasm;
    let graph = onnx::import_file(&model, &onnx::ImportOptions::default()).expect("imports").graph;
    let mut instance = Instance::load(&wasm).expect("loads");
    let symbols = &instance.manifest().symbols;
    assert_eq!((symbols.len(), &*symbols[0].name, symbols[0].min, symbols[0].max), (1, "batch", 1, 5));
    for batch in [3, 1, 5, 2] {
        check(&mut instance, &graph, &inputs(&graph, &[("batch", batch)], 1));
    }
    let error = instance.forward(&inputs(&graph, &[("batch", 6)], 1)).expect_err("too many").to_string();
    assert!(error.contains("has the size 6 in dimension 0; `batch` is 1 to 5\nhint: export with --dim batch=1..6"), "{error}");
    // It runs on.
    check(&mut instance, &graph, &inputs(&graph, &[("batch", 4)], 2));
}
