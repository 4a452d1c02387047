// Many callers, many models, many loads: in Node and in one page of Chromium. WASM_TORCH_LONG=1 runs the long versions
// (`make load`); WASM_TORCH_CASES names modules of the compiler, without which a hand-made one is used.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test as unlimited } from 'node:test';

import { variantsModule } from '../../web/test/double.mjs';
import * as wasmTorch from '../../web/dist/node.js';
import { FOLDERS, readCases } from './cases.mjs';
import { launchChromium, openPage } from './chromium.mjs';
import { serve } from './server.mjs';

const LONG = process.env.WASM_TORCH_LONG === '1';
const test = (name, body) => unlimited(name, { timeout: LONG ? 1_800_000 : 120_000 }, body);
let browser;
let server;
let bytes = Buffer.from(variantsModule());

before(async () => {
  server = await serve(FOLDERS);
  if (process.env.WASM_TORCH_CASES) bytes = (await readCases(process.env.WASM_TORCH_CASES)).find(({ name }) => name === 'digits.dynamo').module;
  server.put('/model.wasm', bytes);
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await server?.close();
}, { timeout: 30_000 });

/** So many callers at once, `rounds` calls each; every answer must be that of the call alone. Runs in Node and in a page. */
const callers = async ([library, source, count, rounds, options]) => {
  const { WASMTorch, createTensor } = typeof library === 'string' ? await import(library) : library;
  const runtime = await WASMTorch.init({ threads: 2 });
  const model = await runtime.loadModel(source, options);
  const [{ shape }] = model.inputs;
  const size = shape.reduce((a, b) => a * b, 1);
  const input = (seed) => createTensor(Float32Array.from({ length: size }, (_, i) => Math.sin(i * (seed + 1))), [...shape]);
  const first = (outputs) => [...Object.values(outputs)[0].data].join();
  const expected = [];
  for (let seed = 0; seed < count; seed++) expected.push(first(await model.forward(input(seed))));
  let wrong = 0;
  const caller = async (seed) => {
    for (let round = 0; round < rounds; round++) if (first(await model.forward(input(seed))) !== expected[seed]) wrong += 1;
  };
  await Promise.all(expected.map((_, seed) => caller(seed)));
  const different = new Set(expected).size;
  await runtime.shutdown();
  return { wrong, different };
};

test('64 callers of one model at once', async () => {
  const [count, rounds] = [64, LONG ? 200 : 5];
  const page = await openPage(browser, server.origin, 'callers');
  const found = [await callers([wasmTorch, bytes, count, rounds, {}])];
  for (const options of [{ inline: true }, { inline: false }, { inline: false, variant: 'baseline' }]) found.push(await page.evaluate(callers, ['/web/index.js', '/model.wasm', count, rounds, options]));
  for (const one of found) assert.deepEqual(one, { wrong: 0, different: count });
});

test('eight models in one page', async () => {
  const page = await openPage(browser, server.origin, 'eight');
  const found = await page.evaluate(async (rounds) => {
    const { WASMTorch, createTensor } = await import('/web/index.js');
    const runtime = await WASMTorch.init({ threads: 2 });
    const kinds = ['baseline', 'relaxed', 'threads', 'relaxed+threads'];
    const models = await Promise.all(Array.from({ length: 8 }, (_, i) => runtime.loadModel('/model.wasm', { variant: kinds[i % 4], inline: i < 2 })));
    const { shape } = models[0].inputs[0];
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.cos(i));
    const results = models.map(() => new Set());
    for (let round = 0; round < rounds; round++) {
      await Promise.all(models.map(async (model, i) => results[i].add([...Object.values(await model.forward(createTensor(data.slice(), [...shape])))[0].data].join())));
    }
    const stats = runtime.getMemoryStats();
    const weights = models[0].getMemoryStats().weights;
    await runtime.shutdown();
    // Fused multiply-adds round otherwise: two answers in all, one from each kind.
    return { each: results.map(({ size }) => size), kinds: new Set(results.map((set) => [...set][0])).size, weights: stats.weights / weights };
  }, LONG ? 2000 : 40);
  assert.deepEqual([found.each, found.weights], [Array(8).fill(1), 8]);
  assert.ok(found.kinds <= 2, `${found.kinds} different results`);
});

/** Resident bytes of all of the browser's processes that run pages. */
async function renderers() {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  const resident = (id) => {
    try {
      return 4096 * Number(readFileSync(`/proc/${id}/statm`, 'utf8').split(' ')[1]);
    } catch {
      return 0;
    }
  };
  return processInfo.filter(({ type }) => type === 'renderer').reduce((sum, { id }) => sum + resident(id), 0);
}

test('rounds of loading and disposing return to the memory they began with', async () => {
  const page = await openPage(browser, server.origin, 'rounds');
  const session = await page.context().newCDPSession(page);
  const rounds = (count) => page.evaluate(async (count) => {
    const { WASMTorch, createTensor } = await import('/web/index.js');
    const runtime = await WASMTorch.init({ threads: 2 });
    // Fetched once: the driver of the browser keeps every answer that a page gets.
    const file = await (await fetch('/model.wasm')).arrayBuffer();
    for (let round = 0; round < count; round++) {
      const model = await runtime.loadModel(file, { inline: round % 2 === 0 });
      const { shape } = model.inputs[0];
      await model.forward(createTensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), [...shape]));
      await model.dispose();
    }
    return runtime.getMemoryStats().wasmMemory;
  }, count);
  const settled = async () => {
    for (let i = 0; i < 3; i++) await session.send('HeapProfiler.collectGarbage');
    const heap = (await session.send('Runtime.getHeapUsage')).usedSize;
    return { heap, workers: page.workers().length, resident: await renderers() };
  };
  const count = LONG ? 1000 : 40;
  await rounds(LONG ? 100 : 20);
  const start = await settled();
  assert.equal(await rounds(count), 0);
  const end = await settled();
  console.log(`${count} rounds: heap ${start.heap} to ${end.heap} bytes, resident ${start.resident} to ${end.resident}, workers ${end.workers}`);
  assert.equal(end.workers, 0);
  assert.ok(end.heap < start.heap + 300_000, `the heap grew by ${end.heap - start.heap} bytes`);
  assert.ok(end.resident < start.resident * 1.25 + 20e6, `the process grew by ${end.resident - start.resident} bytes`);
});
