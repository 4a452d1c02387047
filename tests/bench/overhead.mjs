// What listening and pooling cost: calls with a PerformanceMonitor beside calls without, and blocks from the pools beside blocks
// for which the memory must grow. In Node, in turn, medians of ratios.
//
// usage: node tests/bench/overhead.mjs --module X.wasm

import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';

import { createTensor, PerformanceMonitor, WASMTorch } from '../../web/dist/node.js';
import { median } from './statistics.mjs';

const { values: options } = parseArgs({ options: { module: { type: 'string' } } });
if (options.module === undefined) {
  console.error('usage: node tests/bench/overhead.mjs --module X.wasm');
  process.exit(2);
}
const file = await readFile(options.module);

const runtime = await WASMTorch.init({ threads: 1 });
const model = await runtime.loadModel(file);
const feeds = Object.fromEntries(model.inputs.map(({ name, dtype, shape }) => [name, createTensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape, dtype)]));
await model.warmup(300);
const calls = async () => {
  const start = performance.now();
  for (let i = 0; i < 40; i++) await model.forward(feeds);
  return performance.now() - start;
};
const ratios = [];
for (let round = 0; round < 301; round++) {
  const measured = {};
  // Whoever comes first has the colder caches: they take turns.
  for (const which of round % 2 ? ['with', 'without'] : ['without', 'with']) {
    const monitor = which === 'with' ? new PerformanceMonitor(model) : undefined;
    measured[which] = await calls();
    monitor?.stop();
  }
  ratios.push(measured.with / measured.without);
}
console.log(`PerformanceMonitor: ${(100 * (median(ratios) - 1)).toFixed(2)} % of calls that take ${((await calls()) / 40).toFixed(3)} ms`);

/** Nanoseconds per block of `bytes`, written to once per page as whoever asks for it does. */
const block = 192 * 1024;
const times = { cached: [], anew: [] };
let stats;
for (let round = 0; round < 15; round++) {
  const { instance: { exports } } = await WebAssembly.instantiate(file);
  exports.init();
  const touch = (address) => {
    const bytes = new Uint8Array(exports.memory.buffer, address, block);
    for (let at = 0; at < block; at += 4096) bytes[at] = 1;
  };
  const time = (count, body) => {
    const start = performance.now();
    for (let i = 0; i < count; i++) body();
    return (1e6 * (performance.now() - start)) / count;
  };
  const held = [];
  times.anew.push(time(24, () => {
    const address = exports.alloc(block) >>> 0;
    if (address === 0) throw new Error('the pools are full: export with a larger --pool-mb');
    touch(address);
    held.push(address);
  }));
  for (const address of held) exports.free(address);
  times.cached.push(time(2000, () => {
    const address = exports.alloc(block) >>> 0;
    touch(address);
    exports.free(address);
  }));
  // Sizes as tensors of changing lengths have them, after a warm-up.
  const sizes = Array.from({ length: 64 }, (_, i) => 1000 + ((i * 7919) % 60_000));
  const record = () => new Uint32Array(exports.memory.buffer, exports.pool_stats() >>> 0, 7);
  for (const size of sizes) exports.free(exports.alloc(size));
  const before = [...record()];
  for (let i = 0; i < 2000; i++) {
    const some = [0, 1, 2].map((j) => exports.alloc(sizes[(i * 3 + j) % 64]));
    for (const address of some) exports.free(address);
  }
  const after = [...record()];
  stats = { hits: after[3] - before[3], misses: after[4] - before[4] };
}
const [cached, anew] = [median(times.cached), median(times.anew)];
console.log(`pools: a block of ${block / 1024} KiB ${cached.toFixed(0)} ns from the cache, ${anew.toFixed(0)} ns anew: ${(anew / cached).toFixed(1)} times faster; hit ratio after warm-up ${((100 * stats.hits) / (stats.hits + stats.misses)).toFixed(1)} %`);
