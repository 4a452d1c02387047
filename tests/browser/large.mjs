// Loads one large module in Chromium, runs it once, and says how much memory that takes beside its weights and arena.
//
// node tests/browser/large.mjs FILE.wasm

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';

import { FOLDERS } from './cases.mjs';
import { launchChromium, openPage } from './chromium.mjs';
import { serve } from './server.mjs';

const file = resolve(process.argv[2]);
const server = await serve({ ...FOLDERS, '/module/': dirname(file) });
const browser = await launchChromium();

/** Largest resident bytes that the browser's processes with pages ever had, together. */
async function peak() {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  const high = (id) => 1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0);
  return Math.max(...processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => high(id)));
}

try {
  const page = await openPage(browser, server.origin, 'large');
  const before = await peak();
  const found = await page.evaluate(async (url) => {
    const { WASMTorch, createTensor } = await import('/web/index.js');
    const start = performance.now();
    const model = await (await WASMTorch.init({ threads: 1 })).loadModel(url, { inline: false });
    const loaded = performance.now() - start;
    const { shape } = model.inputs[0];
    const outputs = await model.forward(createTensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5), [...shape]));
    const finite = Object.values(outputs).every(({ data }) => data.every(Number.isFinite));
    return { loaded, finite, ...model.getMemoryStats() };
  }, `/module/${basename(file)}`);
  const needed = found.weights + found.arena;
  const process = (await peak()) - before;
  console.log(`weights and arena ${needed} bytes; WebAssembly memory ${found.wasmMemory}, ${(found.wasmMemory / needed).toFixed(3)} times; peak of the page's process ${process} more than an empty page, ${(process / needed).toFixed(3)} times; loaded in ${(found.loaded / 1e3).toFixed(1)} s`);
  assert.ok(found.finite);
  assert.ok(found.wasmMemory <= 1.1 * needed, 'the WebAssembly memory is too large');
} finally {
  await browser.close();
  await server.close();
}
