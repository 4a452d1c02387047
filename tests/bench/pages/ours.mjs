// Contender: a wasm-torch module, in its page. It measures itself and compares nothing.

import { createTensor, WASMTorch } from '/web/index.js';

let model;
let inputs;
let outputs;

/** Compiles and runs once, on one thread. `feeds` are `{name, dtype, shape, data}`. */
export async function prepare(url, feeds, variant) {
  const bytes = await (await fetch(url)).arrayBuffer();
  const start = performance.now();
  const runtime = await WASMTorch.init({ threads: 1, inline: true });
  model = await runtime.loadModel(bytes, { variant });
  const compiled = performance.now();
  inputs = Object.fromEntries(feeds.map(({ name, shape, dtype, data }) => [name, createTensor(data, shape, dtype)]));
  const ready = performance.now();
  outputs = await model.forward(inputs);
  return { compile_ms: compiled - start, first_call_ms: performance.now() - ready };
}

/** Milliseconds per call, `calls` times the mean of `repeat`. */
export async function round(calls, repeat = 1, options = undefined) {
  const times = [];
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    for (let j = 0; j < repeat; j++) outputs = await model.forward(inputs, options);
    times.push((performance.now() - start) / repeat);
  }
  return times;
}

/** The last call's outputs: `{name: typed array}`. */
export const results = () => Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));

/** Timings per step over `calls` calls. */
export async function profile(calls) {
  await round(3, 1, { profile: true });
  model.resetProfile();
  await round(calls, 1, { profile: true });
  return model.profile();
}
