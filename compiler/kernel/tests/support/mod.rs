//! Runs kernels in wasmtime, for tests that compare it with the interpreter. Holds no test of its own.
#![allow(dead_code)]

use kernel::{Kernel, emit_standalone_module};
use wasmtime::{Config, Engine, Instance, Memory, Module, Store};

/// An instance of a module of kernels.
pub struct Wasm {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
}

impl Wasm {
    pub fn new(kernels: &[Kernel], pages: u32) -> Wasm {
        let bytes = emit_standalone_module(kernels, pages).expect("kernels are valid");
        let mut config = Config::new();
        config.wasm_relaxed_simd(true);
        let engine = Engine::new(&config).expect("the configuration is supported");
        let module = Module::new(&engine, &bytes).expect("the module is valid");
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("no imports are missing");
        let memory = instance.get_memory(&mut store, "memory").expect("the memory is exported");
        Wasm { store, instance, memory }
    }

    pub fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    pub fn set_arena_base(&mut self, base: u32) {
        let global = self.instance.get_global(&mut self.store, "arena_base").expect("the global is exported");
        global.set(&mut self.store, wasmtime::Val::I32(base as i32)).expect("the global is mutable");
    }

    /// Whether the call returned; `false` if it trapped.
    pub fn run(&mut self, name: &str, args: u32, task: u32) -> bool {
        let function = self.instance.get_typed_func::<(u32, u32), ()>(&mut self.store, name).expect("a kernel's type");
        function.call(&mut self.store, (args, task)).is_ok()
    }
}

/// A small reproducible generator (xorshift64*).
pub struct Rng(pub u64);

impl Rng {
    pub fn u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.u64() >> 33) as usize % n
    }

    /// Uniform in −1..1.
    pub fn f32(&mut self) -> f32 {
        (self.u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

pub fn put_words(memory: &mut [u8], addr: usize, words: &[u32]) {
    for (i, word) in words.iter().enumerate() {
        memory[addr + 4 * i..addr + 4 * i + 4].copy_from_slice(&word.to_le_bytes());
    }
}

pub fn put_floats(memory: &mut [u8], addr: usize, values: &[f32]) {
    for (i, value) in values.iter().enumerate() {
        memory[addr + 4 * i..addr + 4 * i + 4].copy_from_slice(&value.to_le_bytes());
    }
}

pub fn get_floats(memory: &[u8], addr: usize, n: usize) -> Vec<f32> {
    let word = |i: usize| memory[addr + 4 * i..addr + 4 * i + 4].try_into().expect("four bytes");
    (0..n).map(|i| f32::from_le_bytes(word(i))).collect()
}
