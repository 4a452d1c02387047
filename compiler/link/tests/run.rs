//! Linked modules run in wasmtime, through the ABI alone.

mod common;

use common::{Host, N, bias_values, linked, plan, weight_values};
use lower::plan::{Arg, KernelId};

#[test]
fn computes_what_the_plan_says() {
    let linked = linked(&plan());
    let manifest = &linked.manifest;
    let mut host = Host::new(&linked.wasm);
    let base = manifest.memory.arena_base;
    let arena = host.instance.get_global(&mut host.store, abi::ARENA_BASE).expect("a global");
    assert_eq!(arena.get(&mut host.store).unwrap_i32() as u32, base);

    let x: Vec<f32> = (0..N).map(|i| (i as f32 - 30.0) * 0.25).collect();
    host.write(base + manifest.inputs[0].offset, &x);
    assert_eq!(host.call("run", &[0, 2]), 0);
    let expected: Vec<f32> = (0..N).map(|i| 2.0 * (x[i] * weight_values()[i] + bias_values()[i]).max(0.0)).collect();
    assert_eq!(host.read(base + manifest.outputs[0].offset, N), expected);
    assert_eq!(host.status(), [0, 2, 0], "the next step is the third");
}

#[test]
fn runs_any_range_of_steps() {
    let linked = linked(&plan());
    let mut host = Host::new(&linked.wasm);
    let base = linked.manifest.memory.arena_base;
    host.write(base + 256, &[1.0; N]);
    assert_eq!(host.call("run", &[1, 2]), 0, "the second step alone");
    assert_eq!(host.read(base + 512, N), [2.0; N]);
    assert_eq!(host.call("run", &[1, 1]), 0, "no step");
}

#[test]
fn refuses_steps_that_do_not_exist() {
    let mut host = Host::new(&linked(&plan()).wasm);
    let out_of_range = abi::Status::StepOutOfRange as u32;
    assert_eq!(host.call("run", &[0, 3]), out_of_range);
    assert_eq!(host.status(), [out_of_range, 3, 2]);
    assert_eq!(host.call("run", &[u32::MAX, 1]), out_of_range);
    assert_eq!(host.status(), [out_of_range, u32::MAX, 2]);
    assert_eq!(host.call("run", &[0, 2]), 0, "the next run starts afresh");
    assert_eq!(host.status(), [0, 2, 0]);
}

#[test]
fn a_failing_kernel_stops_the_run() {
    let code = abi::Status::IndexOutOfRange as u32;
    // Nothing moves when a scalar changes: the first module tells the address for the second.
    let failing = |status: u32| {
        let mut plan = plan();
        plan.steps.insert(1, plan.steps[1].clone());
        let step = &mut plan.steps[1];
        step.kernel = KernelId(0);
        step.args = vec![Arg::Scalar(status as i32), Arg::Scalar(code as i32), Arg::Scalar(77)];
        step.tasks = 3;
        linked(&plan).wasm
    };
    let status = Host::new(&failing(0)).call("status", &[]);
    let mut host = Host::new(&failing(status));
    assert_eq!(host.call("run", &[0, 3]), code);
    assert_eq!(host.status(), [code, 1, 77]);
}

#[test]
fn allocates_above_the_plan_up_to_the_declared_pool() {
    let linked = linked(&plan());
    let memory = &linked.manifest.memory;
    let mut host = Host::new(&linked.wasm);
    let first = host.call("alloc", &[1000]);
    assert!(first >= memory.heap_base && first.is_multiple_of(16), "{first}");
    let second = host.call("alloc", &[1000]);
    assert!(second >= first + 1000);
    host.call("free", &[first]);
    host.call("free", &[0]);
    assert_eq!(host.call("alloc", &[600]), first, "a freed block of the class is used again");

    assert_ne!(host.call("alloc", &[32 << 20]), 0, "half of the 64 MiB");
    assert_eq!(host.call("alloc", &[33 << 20]), 0, "no room for a block of 64");
    assert_eq!(host.call("alloc", &[u32::MAX]), 0);
    let stats = host.call("pool_stats", &[]);
    let field = |name: &str| {
        let offset = abi::PoolStats::FIELDS.iter().find(|(field, ..)| *field == name).expect("a field").1;
        host.word(stats + offset as u32)
    };
    assert_eq!((field("hits"), field("misses"), field("refused")), (1, 3, 2));
    assert_eq!(field("used_bytes"), 2048 + (32 << 20));
    assert_eq!(host.call("run", &[0, 2]), 0, "the plan is not disturbed");
}
