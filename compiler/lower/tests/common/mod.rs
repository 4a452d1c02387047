//! Runs a plan in the kernel interpreter, and compares lowered graphs with `eval`.
#![allow(dead_code)] // Every test binary uses its own part.

use ir::{DType, Graph, Tensor};
use kernel::{Interp, ParamKind};
use lower::plan::{Arg, Plan};
use seen::Seen;
use std::cell::RefCell;

mod seen;

/// Executes every step of a plan. A step may touch only the buffers it says it reads or writes and the weights among its
/// arguments; tasks run backwards, and must not meet (see `seen`), since threads run them at the same time; the arena starts out full of NaNs, so that nothing can rely on zeros.
pub fn execute_plan(plan: &Plan, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let mut values = symbol_values(plan, inputs);
    let arena_base = 64u32;
    let weights_base = (arena_base + plan.arena_bytes).next_multiple_of(64) + 64;
    let mut memory = vec![0xffu8; weights_base as usize];
    let place = |b: &lower::plan::BufferId| {
        let buffer = &plan.buffers[b.0];
        arena_base + buffer.offset..arena_base + buffer.offset + buffer.bytes
    };
    let mut weights: Vec<std::ops::Range<u32>> = vec![];
    for weight in &plan.weights {
        memory.resize(memory.len().next_multiple_of(64), 0xff);
        let start = memory.len() as u32;
        memory.extend(weight.bytes.iter());
        weights.push(start..memory.len() as u32);
    }
    memory.resize(memory.len().next_multiple_of(64), 0xff);
    // Step records, then the argument records, as the linker lays them out.
    let records = memory.len() as u32;
    let first_args = plan.steps.len() as u32 * abi::StepRecord::BYTES;
    let all_args: usize = plan.steps.iter().map(|step| step.args.len()).sum();
    let records_bytes = first_args + all_args as u32 * abi::ARG_BYTES;
    memory.resize(memory.len() + records_bytes as usize, 0);
    for buffer in plan.buffers.iter().filter(|b| b.persistent) {
        let at = (arena_base + buffer.offset) as usize;
        memory[at..at + buffer.bytes as usize].fill(0);
    }
    for (port, tensor) in plan.inputs.iter().zip(inputs) {
        let at = (arena_base + plan.buffers[port.buffer.0].offset + port.offset) as usize;
        memory[at..at + tensor.bytes().len()].copy_from_slice(tensor.bytes());
    }
    if let Some(at) = plan.free.at {
        for (i, (_, value)) in values.iter().enumerate() {
            let at = (arena_base + plan.buffers[at.0].offset) as usize + 4 * i;
            memory[at..at + 4].copy_from_slice(&(*value as i32).to_le_bytes());
        }
    }
    let mut s = 0;
    while let Some(step) = plan.steps.get(s) {
        let args_before: usize = plan.steps[..s].iter().map(|step| step.args.len()).sum();
        let args = records + first_args + args_before as u32 * abi::ARG_BYTES;
        let kernel = &plan.kernels[step.kernel.0];
        for (i, (arg, param)) in step.args.iter().zip(&kernel.params).enumerate() {
            let value = match (arg, param.kind) {
                (Arg::Buffer(b, o), ParamKind::Arena) => plan.buffers[b.0].offset + o,
                (Arg::Weight(w, o), ParamKind::Weights) => weights[w.0].start + o,
                (Arg::Scalar(v), ParamKind::Scalar) => *v as u32,
                // The first step wrote it.
                (Arg::Size(_), ParamKind::Scalar) => continue,
                (Arg::Records, ParamKind::Weights) => records,
                other => return Err(format!("step {s}: argument {i} does not fit: {other:?}")),
            };
            let at = args as usize + 4 * i;
            memory[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let mut allowed: Vec<_> = step.reads.iter().chain(&step.writes).map(place).collect();
        allowed.extend(step.args.iter().filter_map(|arg| match arg {
            Arg::Weight(w, _) => Some(weights[w.0].clone()),
            Arg::Records => Some(records..records + records_bytes),
            _ => None,
        }));
        let shared = !step.sequential && step.tasks > 1;
        let seen = RefCell::new(Seen::new(arena_base, if shared { plan.arena_bytes } else { 0 }));
        let watch = |task, writes, bytes| seen.borrow_mut().alone(task, writes, bytes);
        let order: Vec<u32> = if step.sequential { (0..step.tasks).collect() } else { (0..step.tasks).rev().collect() };
        for task in order {
            let mut callees = call_routine;
            let mut interp = Interp::new(&mut memory);
            interp.callees = Some(&mut callees);
            interp.arena_base = arena_base;
            interp.allowed = Some(allowed.clone());
            interp.watch = shared.then_some(&watch as &kernel::Watch<'_>);
            interp.run(kernel, args, task).map_err(|e| format!("step {s}: {e}\n{kernel}"))?;
            seen.borrow_mut().settle(task, &memory).map_err(|e| format!("step {s}: {e}\n{kernel}"))?;
        }
        s += 1;
        if let (Some(branch), Some(Arg::Buffer(b, o))) = (step.branch, step.args.first()) {
            let flag = memory[(arena_base + plan.buffers[b.0].offset + o) as usize];
            if (flag != 0) == branch.when {
                s = branch.target;
            }
        }
    }
    // What the run found is there now.
    if let Some(at) = plan.free.at {
        for (i, (name, value)) in values.iter_mut().enumerate().filter(|(_, (name, _))| plan.free.found.iter().any(|f| **f == *name)) {
            let at = (arena_base + plan.buffers[at.0].offset) as usize + 4 * i;
            *value = i32::from_le_bytes(memory[at..at + 4].try_into().expect("four bytes")).into();
            assert!(*value >= 0, "{name} is {value}");
        }
    }
    let read = |port: &lower::plan::Port| {
        let at = (arena_base + plan.buffers[port.buffer.0].offset + port.offset) as usize;
        let value = |name: &str| values.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
        let shape: Vec<usize> = match &port.sizes {
            Some(sizes) => sizes.iter().map(|size| size.value(&value).expect("all symbols have values") as usize).collect(),
            None => port.shape.iter().map(|d| *d as usize).collect(),
        };
        let dtype = DType::from_name(&port.dtype).expect("a known type");
        let bytes = shape.iter().product::<usize>() * dtype.bytes();
        Tensor::from_bytes(dtype, &shape, &memory[at..at + bytes]).expect("port sizes agree")
    };
    Ok(plan.outputs.iter().map(read).collect())
}

/// The symbols' values that the inputs' shapes determine, in the plan's order; 0 of those that the run finds.
fn symbol_values(plan: &Plan, inputs: &[Tensor]) -> Vec<(String, i64)> {
    let symbols = plan.free.symbols.iter().map(|(name, _)| {
        let symbol = abi::manifest::Size::Symbol(name.to_string());
        let found = plan.inputs.iter().zip(inputs).find_map(|(port, tensor)| {
            let axis = port.sizes.as_ref()?.iter().position(|size| *size == symbol)?;
            Some(tensor.shape[axis] as i64)
        });
        let found = if plan.free.found.contains(name) { Some(0) } else { found };
        (name.to_string(), found.expect("a size of an input"))
    });
    symbols.collect()
}

/// Runs a routine natively on the interpreter's memory.
pub fn call_routine(name: &str, args: &[u128], memory: &mut [u8]) -> Result<(), String> {
    let routine = routines::find(name).ok_or("there is no such routine")?;
    let [descriptor, addresses @ ..] = args else { return Err("no arguments".into()) };
    let addresses: Vec<u32> = addresses.iter().map(|a| *a as u32).collect();
    let addresses = addresses.try_into().map_err(|_| "a wrong number of addresses")?;
    let done = routines::frame::run_in(routine.run, memory, *descriptor as u32, &addresses);
    done.map_err(|failure| format!("{:?} {}", failure.status, failure.detail as i32))
}

/// Lowers `graph` and compares the plan's outputs with `eval`, relative to the largest output.
pub fn check(graph: &Graph, inputs: &[Tensor], tolerance: f64) {
    check_with(graph, inputs, tolerance, &lower::Options::default());
}

/// [`check`] with options.
pub fn check_with(graph: &Graph, inputs: &[Tensor], tolerance: f64, options: &lower::Options) {
    let expected = ir::eval::eval(graph, inputs).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let plan = lower::lower(graph, options).unwrap_or_else(|e| panic!("{e:?}\n{graph}"));
    let found = execute_plan(&plan, inputs).unwrap_or_else(|e| panic!("{e}\n{graph}\n{plan}"));
    for (o, (found, expected)) in found.iter().zip(&expected).enumerate() {
        same(found, expected, tolerance).unwrap_or_else(|e| panic!("output {o}, {e}\n{graph}\n{plan}"));
    }
    let mut shared = [plan];
    let kernels = shared[0].kernels.len();
    lower::share(&mut shared);
    if shared[0].kernels.len() < kernels {
        let [plan] = &shared;
        assert_eq!(execute_plan(plan, inputs).as_ref(), Ok(&found), "with shared kernels\n{graph}\n{plan}");
    }
}

/// Whether two tensors are equal up to `tolerance`, relative to the largest expected element.
pub fn same(found: &Tensor, expected: &Tensor, tolerance: f64) -> Result<(), String> {
    if (found.dtype, &found.shape) != (expected.dtype, &expected.shape) {
        return Err(format!("{}{:?} instead of {}{:?}", found.dtype, found.shape, expected.dtype, expected.shape));
    }
    let scale = expected.to_f64s().iter().filter(|x| x.is_finite()).fold(1e-6f64, |m, x| m.max(x.abs()));
    for (i, (f, e)) in found.to_f64s().iter().zip(expected.to_f64s()).enumerate() {
        let same = (f.is_nan() && e.is_nan()) || *f == e || (f - e).abs() <= tolerance * scale;
        if !same {
            return Err(format!("element {i}: {f} instead of {e}"));
        }
    }
    Ok(())
}

/// A deterministic generator of test data (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number in `low..=high`.
    pub fn range(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }
    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
    /// A number in −1..1.
    pub fn float(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
    pub fn tensor(&mut self, dtype: DType, shape: &[usize]) -> Tensor {
        Tensor::from_fn(dtype, shape, |_| if dtype.is_float() { self.float() } else { (self.next() % 7) as f64 })
    }
}
