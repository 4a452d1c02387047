// Compile and first inference in Chromium once a module's bytes are there: new page each time, modules in turns.
//
// usage: node tests/bench/first.mjs [--rounds 9] [--variant relaxed] [--unchecked] X.wasm…
//
// `load` is what the loader does with bytes that have arrived (compile, weights into the memory, their hashes unless --unchecked,
// instantiate), in the page's thread.

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { launchChromium, openPage } from '../browser/chromium.mjs';
import { serve } from '../browser/server.mjs';
import { preferBrowsers } from './priority.mjs';
import { median } from './statistics.mjs';

const { values: options, positionals: files } = parseArgs({ allowPositionals: true, options: { rounds: { type: 'string', default: '9' }, variant: { type: 'string', default: 'relaxed' }, unchecked: { type: 'boolean', default: false } } });
if (files.length === 0) {
  console.error('usage: node tests/bench/first.mjs [--rounds 9] [--variant relaxed] [--unchecked] X.wasm…');
  process.exit(2);
}
const server = await serve({ '/web/': fileURLToPath(new URL('../../web/dist', import.meta.url)) });
const browser = await launchChromium();
if (!preferBrowsers()) console.error('note: without root on Linux other processes weigh as much as the benchmark');
try {
  for (const [i, file] of files.entries()) server.put(`/${i}.wasm`, await readFile(file));
  const found = files.map(() => []);
  for (let round = 0; round <= Number(options.rounds); round++) {
    for (const i of files.keys()) {
      const page = await openPage(browser, server.origin, 'first');
      const times = await page.evaluate(first, [`/${i}.wasm`, { variant: options.variant, integrity: !options.unchecked }]);
      if (round > 0) found[i].push(times);
      await page.context().close();
    }
  }
  for (const [i, runs] of found.entries()) {
    const middle = (value) => median(runs.map(value)).toFixed(1);
    const total = ({ load, calls }) => load + calls[0];
    console.log(`${basename(files[i])}, ${options.variant}, Chromium ${browser.version()}: ${middle(total)} ms = load ${middle(({ load }) => load)} + first call ${middle(({ calls }) => calls[0])}; ` +
      `best ${Math.min(...runs.map(total)).toFixed(1)}; second call ${middle(({ calls }) => calls[1])}, later ${middle(({ calls }) => Math.min(...calls))}`);
  }
} finally {
  await browser.close();
  await server.close();
}

async function first([url, options]) {
  const { WASMTorch, createTensor } = await import('/web/index.js');
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const runtime = await WASMTorch.init({ threads: 1, inline: true });
  runtime.capabilities();
  const start = performance.now();
  const model = await runtime.loadModel(bytes, options);
  const load = performance.now() - start;
  const feeds = Object.fromEntries(model.inputs.map(({ name, dtype, shape }) => [name, createTensor(Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (dtype.startsWith('f') ? Math.sin(i) : 1)), shape, dtype)]));
  const calls = [];
  for (let call = 0; call < 8; call++) {
    const before = performance.now();
    await model.forward(feeds);
    calls.push(performance.now() - before);
  }
  return { load, calls };
}
