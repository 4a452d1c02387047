// From nothing to the first result, once per page: our loader, onnxruntime-web, or the floor that no loader can beat.
//
// Each function is the page's first work and measures from its own start. A page imports its library before its script starts,
// so that time is told apart: `import_ms`.

const ARRAYS = { f32: Float32Array, f64: Float64Array, i8: Int8Array, u8: Uint8Array, i32: Int32Array, i64: BigInt64Array };

/** `feeds` are `{name, dtype, shape}`; the values do not matter here, but denormals would. */
const feedsOf = (feeds) => feeds.map(({ name, dtype, shape }) => {
  const data = new ARRAYS[dtype](shape.reduce((a, b) => a * b, 1));
  return { name, dtype, shape, data: dtype.startsWith('f') ? data.map((_, i) => Math.sin(i)) : data };
});

export async function ours({ module, feeds, options }) {
  const inputs = feedsOf(feeds);
  const before = performance.now();
  const { WASMTorch, createTensor } = await import('/web/index.js');
  const start = performance.now();
  const runtime = await WASMTorch.init(options);
  const model = await runtime.loadModel(module, options);
  const loaded = performance.now();
  await model.forward(Object.fromEntries(inputs.map(({ name, dtype, shape, data }) => [name, createTensor(data, shape, dtype)])));
  const end = performance.now();
  return { total_ms: end - start, import_ms: start - before, load_ms: loaded - start, first_ms: end - loaded, variant: model.variant, threads: model.threads, wasm_bytes: model.getMemoryStats().wasmMemory, stats: model.getMemoryStats() };
}

export async function onnxruntime({ onnx, feeds }) {
  const inputs = feedsOf(feeds);
  const before = performance.now();
  const ort = await import('/onnxruntime/ort.wasm.bundle.min.mjs');
  const start = performance.now();
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = '/onnxruntime/';
  const names = { f32: 'float32', f64: 'float64', i8: 'int8', u8: 'uint8', i32: 'int32', i64: 'int64' };
  const session = await ort.InferenceSession.create(onnx, { executionProviders: ['wasm'], graphOptimizationLevel: 'all' });
  const loaded = performance.now();
  await session.run(Object.fromEntries(inputs.map(({ name, dtype, shape, data }) => [name, new ort.Tensor(names[dtype], data, shape)])));
  const end = performance.now();
  return { total_ms: end - start, import_ms: start - before, load_ms: loaded - start, first_ms: end - loaded };
}

/** The same bytes fetched whole and copied once into a memory, and one inference by the file's `own` code, first (cold) and steady. */
export async function floor({ module, feeds, own }) {
  const start = performance.now();
  const bytes = new Uint8Array(await (await fetch(module)).arrayBuffer());
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes.length / 65536) });
  new Uint8Array(memory.buffer).set(bytes);
  const copied = performance.now();
  const { WASMTorch, createTensor } = await import('/web/index.js');
  const runtime = await WASMTorch.init({ threads: 1, inline: true });
  const model = await runtime.loadModel(bytes, { variant: own });
  const inputs = Object.fromEntries(feedsOf(feeds).map(({ name, dtype, shape, data }) => [name, createTensor(data, shape, dtype)]));
  const times = [];
  for (let i = 0; i < 15; i++) {
    const before = performance.now();
    await model.forward(inputs);
    times.push(performance.now() - before);
  }
  const steady = times.slice(5).sort((a, b) => a - b)[5];
  return { total_ms: copied - start + times[0], import_ms: 0, steady_total_ms: copied - start + steady, load_ms: copied - start, first_ms: times[0], steady_ms: steady };
}
