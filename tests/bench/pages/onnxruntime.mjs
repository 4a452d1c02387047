// Contender: onnxruntime-web's WebAssembly provider on one thread, in its page. It measures itself and compares nothing.

import * as ort from '/onnxruntime/ort.wasm.bundle.min.mjs';

const TYPES = { f32: 'float32', f64: 'float64', i8: 'int8', u8: 'uint8', i16: 'int16', u16: 'uint16', i32: 'int32', u32: 'uint32', i64: 'int64', u64: 'uint64', bool: 'bool', f16: 'float16' };

ort.env.wasm.numThreads = 1;
if (globalThis.document !== undefined) ort.env.wasm.wasmPaths = '/onnxruntime/';

let session;
let inputs;
let outputs;

/** Creates the session and runs once. `feeds` are `{name, dtype, shape, bytes}`. */
export async function prepare(url, feeds) {
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const start = performance.now();
  session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'], graphOptimizationLevel: 'all' });
  const compiled = performance.now();
  inputs = Object.fromEntries(feeds.map(({ name, shape, dtype, data }) => [name, new ort.Tensor(TYPES[dtype], data, shape)]));
  const ready = performance.now();
  outputs = await session.run(inputs);
  return { compile_ms: compiled - start, first_call_ms: performance.now() - ready };
}

/** Milliseconds per call, `calls` times the mean of `repeat`. */
export async function round(calls, repeat = 1) {
  const times = [];
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    for (let j = 0; j < repeat; j++) outputs = await session.run(inputs);
    times.push((performance.now() - start) / repeat);
  }
  return times;
}

/** The last call's outputs: `{name: typed array}`. */
export const results = () => Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));
