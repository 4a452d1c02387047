// A module with free sizes beside one of the same model at fixed sizes, in turn in one page of Chromium; the outputs must agree.
//
// usage: node tests/bench/free.mjs --free F.wasm --fixed X.wasm [--rounds 9] [--calls 5] [--variant baseline]
//
// For example the sentence encoder: export it twice, with `--dim sequence=1..512` and with `--dim sequence=128`.

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { launchChromium, openPage } from '../browser/chromium.mjs';
import { serve } from '../browser/server.mjs';
import { preferBrowsers } from './priority.mjs';
import { median } from './statistics.mjs';

const { values: options } = parseArgs({
  options: {
    free: { type: 'string' },
    fixed: { type: 'string' },
    rounds: { type: 'string', default: '9' },
    calls: { type: 'string', default: '5' },
    variant: { type: 'string', default: 'baseline' },
  },
});
if (options.free === undefined || options.fixed === undefined) {
  console.error('usage: node tests/bench/free.mjs --free F.wasm --fixed X.wasm [--rounds 9] [--calls 5] [--variant baseline]');
  process.exit(2);
}

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const server = await serve({ '/web/': here('../../web/dist') });
const browser = await launchChromium();
if (!preferBrowsers()) console.error('note: without root on Linux other processes weigh as much as the benchmark');
try {
  server.put('/free.wasm', await readFile(options.free));
  server.put('/fixed.wasm', await readFile(options.fixed));
  const page = await openPage(browser, server.origin, 'free');
  const { rounds, error } = await page.evaluate(async ({ rounds, calls, variant }) => {
    const { WASMTorch, createTensor } = await import('/web/index.js');
    const runtime = await WASMTorch.init({ threads: 1 });
    const [fixed, free] = [await runtime.loadModel('/fixed.wasm', { variant }), await runtime.loadModel('/free.wasm', { variant })];
    const feeds = Object.fromEntries(fixed.inputs.map(({ name, dtype, shape }) => {
      const size = shape.reduce((a, b) => a * b, 1);
      if (dtype === 'f32') return [name, createTensor(Float32Array.from({ length: size }, (_, i) => Math.sin(i)), shape)];
      return [name, createTensor(Array.from({ length: size }, (_, i) => (/mask|type/.test(name) ? 1 : 1 + ((i * 37) % 97))), shape, dtype)];
    }));
    const time = async (model) => {
      const times = [];
      let outputs;
      for (let call = 0; call < calls; call++) {
        const start = performance.now();
        outputs = await model.forward(feeds);
        times.push(performance.now() - start);
      }
      return { ms: times.sort((a, b) => a - b)[calls >> 1], best: times[0], data: Object.values(outputs).map(({ data }) => data) };
    };
    for (const model of [fixed, free]) for (let call = 0; call < 10; call++) await model.forward(feeds);
    const found = [];
    let error = 0;
    for (let round = 0; round < rounds; round++) {
      const [a, b] = [await time(fixed), await time(free)];
      a.data.forEach((data, i) => {
        const most = data.reduce((m, x) => Math.max(m, Math.abs(Number(x))), 0);
        data.forEach((x, j) => (error = Math.max(error, Math.abs(Number(x) - Number(b.data[i][j])) / most)));
      });
      found.push({ fixed: a.ms, free: b.ms, best: [a.best, b.best] });
    }
    return { rounds: found, error };
  }, { rounds: Number(options.rounds), calls: Number(options.calls), variant: options.variant });
  const ratios = rounds.map(({ free, fixed }) => free / fixed);
  const [best1, best2] = [0, 1].map((i) => Math.min(...rounds.map(({ best }) => best[i])));
  console.log(`${basename(options.free)} beside ${basename(options.fixed)}, ${options.variant}, Chromium ${browser.version()}: ` +
    `${median(rounds.map(({ free }) => free)).toFixed(2)} ms with free sizes, ${median(rounds.map(({ fixed }) => fixed)).toFixed(2)} fixed; ` +
    `ratio ${median(ratios).toFixed(3)} (${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)}), of the best ${(best2 / best1).toFixed(3)}; largest relative difference ${error.toExponential(1)}`);
  if (!(error < 1e-4)) process.exitCode = 1;
} finally {
  await browser.close();
  await server.close();
}
