//! A small plan written by hand and a host for its module. Not a test.
#![allow(dead_code, reason = "each test file uses a part")]

use kernel::{F32x4, K, Kernel, load, max_nan};
use link::{LinkInfo, Linked, link};
use lower::plan::{Arg, Buffer, BufferId, KernelId, Plan, Port, Step, Weight, WeightId};
use wasmtime::{Engine, Instance, Memory, Module, Store};

/// Elements of every tensor of [`plan`]; a task does a quarter.
pub const N: usize = 64;
const BYTES: u32 = 4 * N as u32;
const TASKS: u32 = 4;

/// y = relu(x · w + b), element by element.
pub fn scale_relu() -> Kernel {
    scale_relu_of(K::new("scale_relu_f32"))
}

/// The same with fused multiply-adds.
pub fn scale_relu_relaxed() -> Kernel {
    let mut k = K::new("scale_relu_f32_relaxed");
    k.use_relaxed_madd();
    scale_relu_of(k)
}

fn scale_relu_of(mut k: K) -> Kernel {
    let (x, w, b, y) = (k.arena("x"), k.weights("w"), k.weights("b"), k.arena("y"));
    let block = k.let_("block", k.task() * (BYTES / TASKS) as i32);
    let zero = k.constant(0.0);
    k.for_("i", 0, (BYTES / TASKS) as i32, 16, |k, i| {
        let at = k.let_("at", block + i);
        let sum = k.mul_add(load::<F32x4>(x + at, 0), load::<F32x4>(w + at, 0), load::<F32x4>(b + at, 0));
        k.store(y + at, 0, max_nan(sum, zero));
    });
    k.finish()
}

/// y = x + x, all elements in one task.
pub fn double() -> Kernel {
    let mut k = K::new("double_f32");
    let (x, y) = (k.arena("x"), k.arena("y"));
    k.for_("i", 0, BYTES as i32, 16, |k, i| {
        let value = k.let_("value", load::<F32x4>(x + i, 0));
        k.store(y + i, 0, value + value);
    });
    k.finish()
}

/// The same as [`double`] in another way.
pub fn double_relaxed() -> Kernel {
    let mut k = K::new("double_f32_relaxed");
    k.use_relaxed_madd();
    let (x, y) = (k.arena("x"), k.arena("y"));
    let two = k.constant(2.0);
    let zero = k.constant(0.0);
    k.for_("i", 0, BYTES as i32, 16, |k, i| {
        let value = k.mul_add(load::<F32x4>(x + i, 0), two, zero);
        k.store(y + i, 0, value);
    });
    k.finish()
}

/// Writes `code` and `detail` into the status record, whose address it is told.
pub fn fail() -> Kernel {
    let mut k = K::new("fail");
    let (status, code, detail) = (k.scalar("status"), k.scalar("code"), k.scalar("detail"));
    k.store(status, 0, code);
    k.store(status, 8, detail);
    k.finish()
}

pub fn weight_values() -> Vec<f32> {
    (0..N).map(|i| i as f32 - 20.0).collect()
}

pub fn bias_values() -> Vec<f32> {
    (0..N).map(|i| if i < N / 2 { 0.5 * i as f32 } else { 0.0 }).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn buffer(name: &str, offset: u32, live: std::ops::Range<usize>) -> Buffer {
    Buffer { name: name.into(), bytes: BYTES, align: 64, live, offset, persistent: false }
}

fn port(name: &str, buffer: usize) -> Port {
    let shape = vec![1, N as u64];
    Port { name: name.into(), dtype: "f32".into(), shape, sizes: None, buffer: BufferId(buffer), offset: 0, bytes: BYTES }
}

fn weight(name: &str, bytes: Vec<u8>, align: u32) -> Weight {
    Weight { name: name.into(), bytes: bytes.into(), align, origin: vec!["fc".into()] }
}

fn step(kernel: usize, args: Vec<Arg>, tasks: u32, origin: &str, reads: usize, writes: usize) -> Step {
    Step {
        kernel: KernelId(kernel),
        args,
        tasks,
        sequential: false,
        branch: None,
        origin: vec![origin.into()],
        macs: N as u64,
        reads: vec![BufferId(reads)],
        writes: vec![BufferId(writes)],
    }
}

/// z = 2 · relu(x · w + b): two steps, and a kernel that nothing calls.
pub fn plan() -> Plan {
    let at = |id| Arg::Buffer(BufferId(id), 0);
    let weights = |id| Arg::Weight(WeightId(id), 0);
    Plan {
        model: "tiny".into(),
        kernels: vec![fail(), scale_relu(), double()],
        steps: vec![step(1, vec![at(0), weights(0), weights(2), at(1)], TASKS, "fc", 0, 1), step(2, vec![at(1), at(2)], 1, "twice", 1, 2)],
        buffers: vec![buffer("x", 0, 0..1), buffer("y", 256, 0..2), buffer("z", 512, 1..2)],
        weights: vec![weight("w", bytes(&weight_values()), 64), weight("odd", vec![7, 7, 7], 1), weight("b", bytes(&bias_values()), 128)],
        inputs: vec![port("x", 0)],
        outputs: vec![port("z", 2)],
        layers: vec![],
        free: Default::default(),
        states: vec![],
        arena_bytes: 768,
        live_bytes: 512,
    }
}

pub fn linked(plan: &Plan) -> Linked {
    link(plan, &LinkInfo::default()).expect("the plan links")
}

/// An instance in wasmtime, driven through the ABI alone.
pub struct Host {
    pub store: Store<()>,
    pub instance: Instance,
    pub memory: Memory,
}

impl Host {
    pub fn new(wasm: &[u8]) -> Host {
        let engine = Engine::default();
        let module = Module::new(&engine, wasm).expect("a valid module");
        assert_eq!(module.imports().len(), 0, "a module imports nothing");
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("an instance");
        let memory = instance.get_memory(&mut store, abi::MEMORY).expect("a memory");
        let mut host = Host { store, instance, memory };
        assert_eq!(host.call("init", &[]), 0);
        host
    }

    /// Calls an export whose parameters and result are `i32`; 0 without a result.
    pub fn call(&mut self, name: &str, args: &[u32]) -> u32 {
        let function = self.instance.get_func(&mut self.store, name).expect("an export");
        let args: Vec<wasmtime::Val> = args.iter().map(|arg| wasmtime::Val::I32(*arg as i32)).collect();
        let mut results = vec![wasmtime::Val::I32(0); function.ty(&self.store).results().len()];
        function.call(&mut self.store, &args, &mut results).expect("no trap");
        results.first().map_or(0, |result| result.unwrap_i32() as u32)
    }

    pub fn word(&self, address: u32) -> u32 {
        let bytes = self.memory.data(&self.store)[address as usize..][..4].try_into().expect("4 bytes");
        u32::from_le_bytes(bytes)
    }

    /// Code, step and detail of the status record.
    pub fn status(&mut self) -> [u32; 3] {
        let at = self.call("status", &[]);
        [self.word(at), self.word(at + 4), self.word(at + 8)]
    }

    pub fn write(&mut self, address: u32, values: &[f32]) {
        self.memory.write(&mut self.store, address as usize, &bytes(values)).expect("inside the memory");
    }

    pub fn read(&self, address: u32, count: usize) -> Vec<f32> {
        (0..count as u32).map(|i| f32::from_bits(self.word(address + 4 * i))).collect()
    }
}
