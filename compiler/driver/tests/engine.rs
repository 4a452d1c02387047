//! The host on hand-made plans: what a module reports and how it fails reach the caller with the layer's name.

use ir::{DType, Tensor};
use kernel::{F32x4, K, Kernel, load};
use link::{LinkInfo, link};
use lower::plan::{Arg, Buffer, BufferId, KernelId, Plan, Port, Step};
use wasm_torch::engine::EngineError;
use wasm_torch::{Instance, NamedTensor, bench};

/// y = x + x.
fn double() -> Kernel {
    let mut k = K::new("double_f32");
    let (x, y) = (k.arena("x"), k.arena("y"));
    let value = k.let_("value", load::<F32x4>(x, 0));
    k.store(y, 0, value + value);
    k.finish()
}

/// Writes a number to an address.
fn poke() -> Kernel {
    let mut k = K::new("poke");
    let (address, value) = (k.scalar("address"), k.scalar("value"));
    k.store(address, 0, value);
    k.finish()
}

/// Doubles four floats in the layer `twice`, then pokes in the layer `second`.
fn module(address: i32, value: i32) -> Vec<u8> {
    let buffer = |name: &str, offset| Buffer { name: name.into(), bytes: 16, align: 16, live: 0..2, offset, persistent: false };
    let port = |name: &str, buffer| Port {
        name: name.into(),
        dtype: "f32".into(),
        shape: vec![4],
        sizes: None,
        buffer: BufferId(buffer),
        offset: 0,
        bytes: 16,
    };
    let step = |kernel, args, origin: &str, reads, writes| Step {
        kernel: KernelId(kernel),
        args,
        tasks: 1,
        sequential: false,
        branch: None,
        origin: vec![origin.into()],
        macs: 4,
        reads,
        writes,
    };
    let (x, y) = (BufferId(0), BufferId(1));
    let plan = Plan {
        model: "poke".into(),
        kernels: vec![double(), poke()],
        steps: vec![
            step(0, vec![Arg::Buffer(x, 0), Arg::Buffer(y, 0)], "twice", vec![x], vec![y]),
            step(1, vec![Arg::Scalar(address), Arg::Scalar(value)], "second", vec![], vec![]),
        ],
        layers: vec![],
        buffers: vec![buffer("x", 0), buffer("y", 16)],
        weights: vec![],
        inputs: vec![port("x", 0)],
        outputs: vec![port("y", 1)],
        free: Default::default(),
        states: vec![],
        arena_bytes: 32,
        live_bytes: 32,
    };
    link(&plan, &LinkInfo::default()).expect("the plan links").wasm
}

/// Where the status record is; nothing moves when a scalar changes.
fn status_address() -> i32 {
    let engine = wasmtime::Engine::default();
    let module = wasmtime::Module::new(&engine, module(0, 0)).expect("a module");
    let mut store = wasmtime::Store::new(&engine, ());
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("an instance");
    instance.get_typed_func::<(), i32>(&mut store, "status").expect("an export").call(&mut store, ()).expect("no trap")
}

/// An address that holds nothing of the module's.
const HARMLESS: i32 = 60_000;

fn inputs() -> Vec<NamedTensor> {
    vec![NamedTensor::new("x", Tensor::new(&[4], &[1.0f32, -2.0, 0.5, 1e30]))]
}

#[test]
fn a_model_runs_again_and_again() {
    let mut instance = Instance::load(&module(HARMLESS, 7)).unwrap();
    for _ in 0..3 {
        let outputs = instance.forward(&inputs()).unwrap();
        assert_eq!(outputs, [NamedTensor::new("y", Tensor::new(&[4], &[2.0f32, -4.0, 1.0, 2e30]))]);
    }
    let memory = instance.memory().unwrap();
    assert_eq!((memory.arena, memory.weights, memory.pool_peak, memory.total % 65536), (32, 0, 0, 0));
    let profile = bench::profile(&mut instance, &inputs(), 3).unwrap();
    assert_eq!(profile.iter().map(|s| s.layers[0].as_str()).collect::<Vec<_>>(), ["twice", "second"]);
}

#[test]
fn a_status_names_the_layer() {
    let code = abi::Status::SizeOutOfBounds;
    let mut instance = Instance::load(&module(status_address(), code as i32)).unwrap();
    let error = instance.forward(&inputs()).unwrap_err();
    assert!(matches!(error, EngineError::Status { status, step: 1, .. } if status == code), "{error}");
    assert!(error.to_string().starts_with("the module stopped at step 1 (second): A size that depends on data"), "{error}");
    instance.run_steps(0..1).expect("the next run starts afresh");
    let mut instance = Instance::load(&module(status_address(), 999)).unwrap();
    assert!(matches!(instance.forward(&inputs()), Err(EngineError::UnknownStatus { code: 999, step: 1, .. })));
}

#[test]
fn a_trap_names_the_layer_of_a_single_step() {
    let mut instance = Instance::load(&module(-4, 1)).unwrap();
    assert!(matches!(instance.forward(&inputs()), Err(EngineError::Trap { layers: None, .. })));
    let error = instance.run_steps(1..2).unwrap_err().to_string();
    assert!(error.starts_with("the module trapped in second: "), "{error}");
}

#[test]
fn steps_and_inputs_are_checked() {
    let mut instance = Instance::load(&module(HARMLESS, 7)).unwrap();
    let steps = instance.run_steps(0..3).unwrap_err();
    assert!(matches!(steps, EngineError::Status { status: abi::Status::StepOutOfRange, .. }), "{steps}");
    let wrong = [NamedTensor::new("x", Tensor::zeros(DType::F32, &[5]))];
    assert!(matches!(instance.forward(&wrong), Err(EngineError::Inputs(problems)) if problems.len() == 1));
}

#[test]
fn a_manifest_that_lies_is_refused() {
    let good = module(HARMLESS, 7);
    let lie = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|w| w == from.as_bytes()).unwrap_or_else(|| panic!("no {from}"));
        let mut bad = good.clone();
        bad[at..at + to.len()].copy_from_slice(to.as_bytes());
        Instance::load(&bad).err().expect("refused").to_string()
    };
    assert!(lie(r#""dtype":"f32""#, r#""dtype":"f99""#).contains("`x` has the unknown type f99"));
    assert!(lie(r#""shape":[4]"#, r#""shape":[5]"#).contains("`x` takes 16 bytes, which is not f32[5]"));
    assert!(lie(r#""abi":4"#, r#""abi":9"#).contains("ABI version 9"));
}
