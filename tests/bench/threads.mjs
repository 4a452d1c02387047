// Two threads beside one in Chromium, the same code in turn in one page; the outputs must agree bit for bit.
//
// usage: node tests/bench/threads.mjs --module X.wasm [--threads 2] [--rounds 9] [--calls 10] [--variant threads]

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
    module: { type: 'string' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '9' },
    calls: { type: 'string', default: '10' },
    variant: { type: 'string', default: 'relaxed+threads' },
  },
});
if (options.module === undefined) {
  console.error('usage: node tests/bench/threads.mjs --module X.wasm [--threads 2] [--rounds 9] [--calls 10] [--variant relaxed+threads]');
  process.exit(2);
}

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const server = await serve({ '/web/': here('../../web/dist') });
const browser = await launchChromium();
if (!preferBrowsers()) console.error('note: without root on Linux other processes weigh as much as the benchmark');
try {
  server.put('/model.wasm', await readFile(options.module));
  const page = await openPage(browser, server.origin, 'threads');
  const { rounds, why, equal } = await page.evaluate(async ({ threads, rounds, calls, variant }) => {
    const { WASMTorch, createTensor } = await import('/web/index.js');
    const runtime = await WASMTorch.init({ threads, inline: false });
    const many = await runtime.loadModel('/model.wasm', { variant });
    const one = await runtime.loadModel('/model.wasm', { variant: variant === 'threads' ? 'baseline' : variant.replace('+threads', ''), threads: 1 });
    const arrays = { f32: Float32Array, i64: BigInt64Array, i32: Int32Array, u8: Uint8Array };
    const feeds = Object.fromEntries(one.inputs.map(({ name, dtype, shape }) => {
      const data = new arrays[dtype](shape.reduce((a, b) => a * b, 1));
      return [name, createTensor(dtype === 'f32' ? data.map((_, i) => Math.sin(i)) : data, shape, dtype)];
    }));
    const time = async (model) => {
      const times = [];
      let outputs;
      for (let call = 0; call < calls; call++) {
        const start = performance.now();
        outputs = await model.forward(feeds);
        times.push(performance.now() - start);
      }
      return { ms: times.sort((a, b) => a - b)[calls >> 1], best: times[0], bits: Object.values(outputs).map(({ data }) => String(new Uint8Array(data.buffer))).join() };
    };
    for (const model of [one, many]) await model.warmup(20);
    const found = [];
    let equal = true;
    for (let round = 0; round < rounds; round++) {
      const [a, b] = [await time(one), await time(many)];
      equal &&= a.bits === b.bits;
      found.push({ one: a.ms, many: b.ms, best: [a.best, b.best] });
    }
    return { rounds: found, why: many.why, equal };
  }, { threads: Number(options.threads), rounds: Number(options.rounds), calls: Number(options.calls), variant: options.variant });
  const ratios = rounds.map(({ one, many }) => one / many);
  const [best1, best2] = [0, 1].map((i) => Math.min(...rounds.map(({ best }) => best[i])));
  console.log(`${basename(options.module)}, ${options.variant}, Chromium ${browser.version()}: ${median(rounds.map(({ one }) => one)).toFixed(2)} ms on one thread, ${median(rounds.map(({ many }) => many)).toFixed(2)} on ${options.threads}; ` +
    `${median(ratios).toFixed(2)} times faster (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}); best ${best1.toFixed(2)} and ${best2.toFixed(2)}, ${(best1 / best2).toFixed(2)}; ${equal ? 'the same bits' : 'OTHER BITS'}`);
  if (Object.keys(why).length > 0) console.log(`not as asked: ${JSON.stringify(why)}`);
  if (!equal) process.exitCode = 1;
} finally {
  await browser.close();
  await server.close();
}
