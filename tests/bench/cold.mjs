// Cold start in Chromium: script start → first result, in a new page without caches, ours beside onnxruntime-web and the floor.
// A script starts when what it imports is there; the import is told apart.
//
// usage: node tests/bench/cold.mjs --module X.wasm [--onnx X.onnx] [--rounds 7] [--json FILE] [--inline] [--threads N] [--variant NAME] [--settle MS]
//
// The floor: fetch the same bytes, copy them into a memory, one inference. Contenders take turns. Memory is what the browser
// itself measures of the whole page (performance.measureUserAgentSpecificMemory). A page is left alone for `--settle` milliseconds
// first: until then the browser starts this page's process and the next one's and ends the last one's, and on two cores that is
// half of what would be measured.

import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { launchChromium, openPage } from '../browser/chromium.mjs';
import { serve } from '../browser/server.mjs';
import { readModuleManifest } from './module.mjs';
import { preferBrowsers } from './priority.mjs';
import { median } from './statistics.mjs';

const { values: options } = parseArgs({
  options: {
    module: { type: 'string' },
    onnx: { type: 'string' },
    rounds: { type: 'string', default: '7' },
    json: { type: 'string' },
    inline: { type: 'boolean', default: false },
    threads: { type: 'string' },
    variant: { type: 'string' },
    settle: { type: 'string', default: '700' },
  },
});
if (options.module === undefined) {
  console.error('usage: node tests/bench/cold.mjs --module X.wasm [--onnx X.onnx] [--rounds 7] [--json FILE] [--inline] [--threads N] [--variant NAME] [--settle MS]');
  process.exit(2);
}

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const manifest = await readModuleManifest(options.module);
const server = await serve({ '/web/': here('../../web/dist'), '/bench/': here('.'), '/onnxruntime/': here('node_modules/onnxruntime-web/dist') });
// The last flag makes the browser measure memory at once instead of some time later.
const browser = await launchChromium(['--enable-blink-features=ForceEagerMeasureMemory']);
if (!preferBrowsers()) console.error('note: without root on Linux other processes weigh as much as the benchmark');

const contenders = ['floor', 'ours', ...(options.onnx ? ['onnxruntime'] : [])];
const asked = {
  module: '/model.wasm',
  onnx: '/model.onnx',
  own: manifest.variant ?? 'baseline',
  feeds: manifest.inputs.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
  options: { ...(options.inline && { inline: true }), ...(options.threads && { threads: Number(options.threads) }), ...(options.variant && { variant: options.variant }) },
};
try {
  server.put('/model.wasm', await readFile(options.module));
  if (options.onnx) server.put('/model.onnx', await readFile(options.onnx));
  const runs = Object.fromEntries(contenders.map((name) => [name, []]));
  // The first round warms the machine, not the pages: each page is new.
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const name of contenders) {
      const found = await once(name);
      if (round > 0) runs[name].push(found);
    }
  }
  await report(runs);
} finally {
  await browser.close();
  await server.close();
}

async function once(name) {
  const page = await openPage(browser, server.origin, name);
  try {
    await new Promise((resolve) => setTimeout(resolve, Number(options.settle)));
    return await page.evaluate(async ([name, asked]) => {
      const contender = await import('/bench/pages/cold.mjs');
      const found = await contender[name](asked);
      // A thread that waits for work answers no questions: with a pool the browser cannot measure.
      const unknown = new Promise((resolve) => setTimeout(resolve, 500, { bytes: NaN, breakdown: [] }));
      const { bytes, breakdown } = await (found.threads > 1 ? unknown : Promise.race([unknown, performance.measureUserAgentSpecificMemory()]));
      return { ...found, page_bytes: bytes, types: breakdown.filter(({ bytes }) => bytes > 0).map(({ types, bytes }) => [types.join('+'), bytes]) };
    }, [name, asked]);
  } finally {
    await page.context().close();
  }
}

async function report(runs) {
  const middle = (name, field) => median(runs[name].map((run) => run[field]));
  const rows = contenders.map((name) => ({
    name,
    ...Object.fromEntries(['total_ms', 'import_ms', 'load_ms', 'first_ms', 'page_bytes'].map((field) => [field, middle(name, field)])),
    floors: median(runs[name].map(({ total_ms }, i) => total_ms / runs.floor[i].total_ms)),
    best: Math.min(...runs[name].map(({ total_ms }) => total_ms)),
  }));
  const { weights_bytes, arena_bytes } = manifest.memory;
  const planned = weights_bytes + arena_bytes;
  const { variant, threads, wasm_bytes } = runs.ours[0];
  console.log(`${basename(options.module)}, ${options.rounds} rounds, Chromium ${browser.version()}, ours: ${variant}, ${threads} thread(s), ${options.inline ? 'in place' : 'in a worker unless it is small'}`);
  for (const { name, total_ms, import_ms, load_ms, first_ms, floors, best, page_bytes } of rows) {
    console.log(`${name.padEnd(12)} ${total_ms.toFixed(1).padStart(7)} ms = ${load_ms.toFixed(1)} load + ${first_ms.toFixed(1)} first result; ${floors.toFixed(2)} × the floor; after ${import_ms.toFixed(1)} for the import; best ${best.toFixed(1)}; page ${mib(page_bytes)} MiB`);
  }
  console.log(`with a steady instead of a first inference the floor is ${middle('floor', 'steady_total_ms').toFixed(1)} ms; ours / that: ${(middle('ours', 'total_ms') / middle('floor', 'steady_total_ms')).toFixed(2)}`);
  console.log(`WebAssembly memory ${mib(wasm_bytes)} MiB = ${(wasm_bytes / planned).toFixed(3)} × (${mib(weights_bytes)} weights + ${mib(arena_bytes)} arena)`);
  console.log(`page of ours by kind: ${runs.ours.at(-1).types.map(([type, bytes]) => `${type || 'other'} ${mib(bytes)}`).join(', ')} MiB`);
  if (options.json) await writeFile(options.json, `${JSON.stringify({ rows, runs, planned }, null, 2)}\n`);
}

function mib(bytes) {
  return (bytes / 2 ** 20).toFixed(2);
}
