//! Modules with routines, run in wasmtime: the same results as `eval`, a status that names the step, and nothing of a routine in a
//! module that calls none.

mod common;

use common::{Host, linked, plan};
use ir::ops::routine::Reduction;
use ir::ops::routine::random::RandomNormal;
use ir::ops::routine::sample::{GridSample, Outside, Sampling};
use ir::ops::routine::scatter::ScatterNd;
use ir::ops::routine::select::{NonZero, TopK, Unique};
use ir::{DType, Graph, Op, Tensor, TensorType};

/// A model of one node, and its module's results; the status if the run fails.
fn run(op: impl Into<Op>, inputs: &[Tensor]) -> Result<(), [u32; 3]> {
    let mut g = Graph::new("routine");
    let ids: Vec<_> = inputs.iter().enumerate().map(|(i, t)| g.add_input(&format!("x{i}"), TensorType::of(t))).collect();
    let node = g.add_node(op, &ids, &["head.select".into()], "y").unwrap();
    for (i, value) in g.node(node).outputs.clone().into_iter().enumerate() {
        g.add_output(&format!("y{i}"), value);
    }
    let plan = lower::lower(&g, &lower::Options::default()).unwrap();
    let linked = linked(&plan);
    let manifest = &linked.manifest;
    assert_eq!(manifest.steps.last().unwrap().layers, ["head.select"]);
    let mut host = Host::new(&linked.wasm);
    let base = manifest.memory.arena_base;
    for (port, tensor) in manifest.inputs.iter().zip(inputs) {
        host.memory.write(&mut host.store, (base + port.offset) as usize, tensor.bytes()).unwrap();
    }
    // Twice: scratch memory keeps nothing.
    for _ in 0..2 {
        if host.call("run", &[0, manifest.steps.len() as u32]) != 0 {
            ir::eval::eval(&g, inputs).expect_err("eval refuses too");
            return Err(host.status());
        }
    }
    for (port, expected) in manifest.outputs.iter().zip(ir::eval::eval(&g, inputs).unwrap()) {
        let at = (base + port.offset) as usize;
        let bytes = &host.memory.data(&host.store)[at..at + port.bytes as usize];
        assert_eq!(bytes, expected.bytes(), "{}", port.name);
    }
    Ok(())
}

#[test]
fn results_are_those_of_eval() {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::I8, DType::I64, DType::U64] {
        let x = Tensor::random(dtype, &[3, 40, 2], 1);
        run(TopK { axis: 1, largest: true, k: vec![7i64.into()] }, std::slice::from_ref(&x)).unwrap();
        let indices = Tensor::new(&[4, 1], &[2i64, 0, 2, -1]);
        run(ScatterNd { reduction: Reduction::Add }, &[x, indices, Tensor::random(dtype, &[4, 40, 2], 2)]).unwrap();
    }
    let x = Tensor::new(&[6], &[2i64, 1, 1, 3, 4, 3]);
    run(Unique { axis: -1, sorted: false, count: vec![4i64.into()] }, &[x]).unwrap();
    let inputs = [Tensor::random(DType::F32, &[1, 3, 7, 9], 3), Tensor::random(DType::F32, &[1, 5, 6, 2], 4)];
    run(GridSample { mode: Sampling::Cubic, outside: Outside::Reflection, align_corners: false }, &inputs).unwrap();
    let shape = vec![100i64.into()];
    run(RandomNormal { seed: 7, mean: 0.0, scale: 1.0, dtype: DType::F32, shape }, &[]).unwrap();
}

#[test]
fn a_failure_says_which_step() {
    let x = Tensor::new(&[2, 3], &[0f32, 1.0, -0.0, 2.0, 0.0, 3.0]);
    run(NonZero { count: vec![3i64.into()] }, std::slice::from_ref(&x)).unwrap();
    for count in [2i64, 4] {
        let status = run(NonZero { count: vec![count.into()] }, std::slice::from_ref(&x)).unwrap_err();
        assert_eq!(status, [abi::Status::SizeOutOfBounds as u32, 0, 3], "three elements are not zero");
    }
    let indices = Tensor::new(&[1, 1], &[2i64]);
    let status = run(ScatterNd { reduction: Reduction::None }, &[x, indices, Tensor::new(&[1, 3], &[0f32; 3])]).unwrap_err();
    assert_eq!(status, [abi::Status::IndexOutOfRange as u32, 0, 2]);
}

/// The runtime without routines, plus two small kernels.
#[test]
fn a_module_without_routines_has_none() {
    let code = linked(&plan()).sizes.code;
    assert!(code < 4096, "{code} bytes: routines should be dropped");
}
