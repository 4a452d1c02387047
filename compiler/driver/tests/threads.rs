//! Threads in wasmtime on a hand-made plan: the same bits as one thread, no race in thousands of runs, small steps alone,
//! cancelling, failing workers, and an end without hanging threads.

use ir::Tensor;
use kernel::{F32x4, K, Kernel, load};
use link::{Kind, LinkInfo, link};
use lower::plan::{Arg, Buffer, BufferId, KernelId, Plan, Port, Step};
use std::time::{Duration, Instant};
use wasm_torch::engine::EngineError;
use wasm_torch::{Instance, LoadOptions, NamedTensor};

const TASKS: usize = 61;
/// Elements of one task, and of a tensor.
const BLOCK: usize = 4096;
const N: usize = TASKS * BLOCK;

/// y = x · factor + 0.5, block by block; `rounds` times over, as work.
fn scale(name: &str, factor: f32, rounds: i32) -> Kernel {
    let mut k = K::new(name);
    let (x, y) = (k.arena("x"), k.arena("y"));
    let start = k.let_("start", k.task() * (4 * BLOCK) as i32);
    let (factor, half) = (k.constant(factor), k.constant(0.5));
    k.for_("round", 0, rounds, 1, |k, _| {
        k.for_("i", 0, (4 * BLOCK) as i32, 16, |k, i| {
            let at = k.let_("at", start + i);
            k.store(y + at, 0, load::<F32x4>(x + at, 0) * factor + half);
        });
    });
    k.finish()
}

/// Writes to an address far outside in task 40 alone.
fn trap() -> Kernel {
    let mut k = K::new("trap");
    let y = k.arena("y");
    let task = k.task();
    k.if_(kernel::i32_eq(task, 40), |k| k.store(y + 0x7f00_0000, 0, kernel::E::<kernel::I32>::from(1)));
    k.finish()
}

/// b = f(a), c = g(b), d = f(c), with a step too small to share in the middle.
fn plan(rounds: i32, last: Kernel) -> Plan {
    let buffer = |name: &str, at: usize| Buffer {
        name: name.into(),
        bytes: (4 * N) as u32,
        align: 64,
        live: 0..4,
        offset: (4 * N * at) as u32,
        persistent: false,
    };
    let port = |name: &str, at| Port {
        name: name.into(),
        dtype: "f32".into(),
        shape: vec![N as u64],
        sizes: None,
        buffer: BufferId(at),
        offset: 0,
        bytes: (4 * N) as u32,
    };
    let step = |kernel, from: usize, to: usize, tasks: usize, origin: &str| Step {
        kernel: KernelId(kernel),
        args: if kernel == 2 {
            vec![Arg::Buffer(BufferId(to), 0)]
        } else {
            vec![Arg::Buffer(BufferId(from), 0), Arg::Buffer(BufferId(to), 0)]
        },
        tasks: tasks as u32,
        sequential: false,
        branch: None,
        origin: vec![origin.into()],
        macs: (rounds as usize * tasks * BLOCK) as u64,
        reads: vec![BufferId(from)],
        writes: vec![BufferId(to)],
    };
    Plan {
        model: "threads".into(),
        kernels: vec![scale("half", 0.5, rounds), scale("third", 1.0 / 3.0, rounds), last],
        steps: vec![
            step(0, 0, 1, TASKS, "one"),
            step(1, 1, 2, TASKS, "two"),
            step(1, 1, 2, 1, "small"),
            step(2, 2, 2, TASKS, "last"),
            step(0, 2, 3, TASKS, "four"),
        ],
        layers: vec![],
        buffers: vec![buffer("a", 0), buffer("b", 1), buffer("c", 2), buffer("d", 3)],
        weights: vec![],
        inputs: vec![port("a", 0)],
        outputs: vec![port("b", 1), port("d", 3)],
        free: Default::default(),
        states: vec![],
        arena_bytes: (16 * N) as u32,
        live_bytes: (16 * N) as u32,
    }
}

fn nothing() -> Kernel {
    let mut k = K::new("nothing");
    let _ = k.arena("y");
    k.finish()
}

fn module(plan: &Plan) -> Vec<u8> {
    link(plan, &LinkInfo { variants: Kind::ALL.to_vec(), ..LinkInfo::default() }).expect("links").wasm
}

fn load_with(file: &[u8], variant: &str, threads: u32) -> Instance {
    Instance::load_with(
        file,
        &LoadOptions { threads: Some(threads), variant: Some(variant.into()), folder: None, ..LoadOptions::default() },
    )
    .expect("loads")
}

fn input(seed: u64) -> Vec<NamedTensor> {
    vec![NamedTensor::new("a", Tensor::random(ir::DType::F32, &[N], seed))]
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let file = module(&plan(1, nothing()));
    let expected = Instance::load(&file).expect("loads").forward(&input(1)).expect("runs");
    for variant in ["relaxed", "threads", "relaxed+threads"] {
        for threads in 1..=if variant.contains("threads") { 4 } else { 1 } {
            let mut instance = load_with(&file, variant, threads);
            assert_eq!(instance.variant(), variant);
            assert_eq!(instance.forward(&input(1)).expect("runs"), expected, "{variant} with {threads} threads");
        }
    }
}

/// Each run has other values, so that a task which was left out or done twice, or a step begun too early, shows.
#[test]
fn two_thousand_runs_are_right() {
    let file = module(&plan(1, nothing()));
    for (threads, runs) in [(2, 1000), (4, 1000)] {
        let mut instance = load_with(&file, "threads", threads);
        for run in 0..runs {
            let values: Vec<f32> = (0..N).map(|i| ((i * 7 + run * 13) % 1009) as f32).collect();
            instance.write_inputs(&[NamedTensor::new("a", Tensor::new(&[N], &values))]).expect("fits");
            instance.run_steps(0..5).expect("runs");
            let outputs = instance.read_outputs().expect("reads");
            let half = |x: f32| x * 0.5 + 0.5;
            let third = |x: f32| x * (1.0 / 3.0) + 0.5;
            let [b, d] = [0, 1].map(|i| outputs[i].tensor.as_slice::<f32>());
            let wrong = (0..N).find(|i| b[*i] != half(values[*i]) || d[*i] != half(third(half(values[*i]))));
            assert_eq!(wrong, None, "run {run} with {threads} threads");
            if run % 100 == 0 {
                // Longer than workers spin: they sleep and must be woken.
                std::thread::sleep(Duration::from_millis(3));
            }
        }
    }
}

#[test]
fn instances_end_without_hanging_threads() {
    let file = module(&plan(1, nothing()));
    let start = Instant::now();
    for round in 0..30 {
        let mut instance = load_with(&file, "relaxed+threads", 3);
        if round % 2 == 0 {
            instance.run_steps(0..2).expect("runs");
        }
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_run_is_cancelled_between_tasks() {
    // Many times longer than the test may take.
    let file = module(&plan(20_000, nothing()));
    for (variant, threads) in [("threads", 1), ("threads", 3)] {
        let mut instance = load_with(&file, variant, threads);
        instance.write_inputs(&input(1)).expect("fits");
        let stop = instance.stop_handle();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            stop.stop();
        });
        let start = Instant::now();
        let error = instance.run_steps(0..5).expect_err("cancelled");
        assert!(matches!(error, EngineError::Status { status: abi::Status::Cancelled, step: 0, .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        other.join().expect("no panic");
        // What was asked for once is done once.
        instance.run_steps(2..3).expect("runs again");
    }
}

#[test]
fn without_shared_memory_a_run_is_cancelled_between_steps() {
    let mut instance = Instance::load(&module(&plan(1, nothing()))).expect("loads");
    instance.write_inputs(&input(1)).expect("fits");
    let stop = instance.stop_handle();
    stop.stop();
    let error = instance.run_steps(0..5).expect_err("cancelled");
    assert!(matches!(error, EngineError::Status { status: abi::Status::Cancelled, step: 0, .. }), "{error}");
    instance.run_steps(0..5).expect("runs again");
}

#[test]
fn an_interruptible_run_is_cancelled_within_a_step() {
    let file = module(&plan(20_000, nothing()));
    let folder = tempfile::tempdir().expect("a folder");
    for variant in ["baseline", "relaxed"] {
        for cache in [None, Some(folder.path().to_path_buf())] {
            let options = LoadOptions { variant: Some(variant.into()), interruptible: true, cache, ..LoadOptions::default() };
            let mut instance = Instance::load_with(&file, &options).expect("loads");
            let mut other = Instance::load_with(&file, &options).expect("loads");
            instance.write_inputs(&input(1)).expect("fits");
            let stop = instance.stop_handle();
            let stopper = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                stop.stop();
            });
            let start = Instant::now();
            let error = instance.run_steps(0..5).expect_err("cancelled");
            assert!(matches!(error, EngineError::Status { status: abi::Status::Cancelled, step: 0, .. }), "{error}");
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
            stopper.join().expect("no panic");
            assert!(instance.interrupted());
            let mut again = instance.again(&file).expect("the same code");
            assert!(!again.interrupted());
            again.run_steps(2..3).expect("runs");
            other.run_steps(2..3).expect("a stop is for one instance");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 2, "one file for each variant");
}

#[test]
fn memory_stays_within_its_limit() {
    let file = module(&plan(1, nothing()));
    let needed = u64::from(Instance::load(&file).expect("loads").manifest().memory.initial_pages) << 16;
    for variant in ["baseline", "relaxed", "threads"] {
        let load = |limit| {
            Instance::load_with(&file, &LoadOptions { variant: Some(variant.into()), memory_limit: Some(limit), ..LoadOptions::default() })
        };
        let error = load(needed - 1).err().expect("too much");
        assert!(matches!(error, EngineError::MemoryLimit { .. }), "{error}");
        let mut instance = load(needed).expect("loads");
        instance.run_steps(2..3).expect("runs");
        assert!(instance.memory().expect("stats").total <= needed);
    }
}

/// Whichever thread takes the bad task: an error, never a hang.
#[test]
fn a_failing_thread_is_an_error() {
    let file = module(&plan(1, trap()));
    for _ in 0..20 {
        let mut instance = load_with(&file, "threads", 4);
        instance.write_inputs(&input(1)).expect("fits");
        let error = instance.run_steps(0..5).expect_err("fails");
        assert!(matches!(error, EngineError::Trap { .. } | EngineError::Threads(_)), "{error}");
    }
}

#[test]
fn wrong_wishes_are_refused() {
    let file = module(&plan(1, nothing()));
    let load = |file: &[u8], threads, variant: Option<&str>| {
        let options = LoadOptions { threads: Some(threads), variant: variant.map(str::to_string), folder: None, ..LoadOptions::default() };
        Instance::load_with(file, &options).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(load(&file, 1, Some("fast")).contains("no variant `fast`"));
    assert!(load(&file, 2, Some("relaxed")).contains("no threads in its variant `relaxed`"));
    let plain = link(&plan(1, nothing()), &LinkInfo::default()).expect("links").wasm;
    assert!(load(&plain, 2, None).contains("no variant with threads"));
    assert!(load(&file, 200, Some("threads")).is_empty(), "many threads are slow, not wrong");
    let only = link(&plan(1, nothing()), &LinkInfo { variants: vec![Kind::Threads], ..LinkInfo::default() }).expect("links").wasm;
    assert!(load(&only, 1, None).is_empty() && load(&only, 3, None).is_empty(), "a plain module of the kind threads");
}
