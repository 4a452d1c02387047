// Sweeps register tiles over sizes of matrix products in Chromium: what justifies the table and the cost model of
// compiler/lower/src/schedule.rs. Prints GFLOP/s of every tile and what the predicted choice loses against the best.
//
// usage: node tests/bench/sweep.mjs WASM_TORCH [--variant baseline] [--sizes NAME,…] [--json FILE]

import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { launchChromium } from '../browser/chromium.mjs';
import { serve } from '../browser/server.mjs';
import { Contender } from './contender.mjs';
import { onnxModel, values } from './onnx.mjs';
import { preferBrowsers } from './priority.mjs';
import { roofModule } from './roof.mjs';
import { median } from './statistics.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Rows, columns, depth: what stands for a class of layers. */
export const SIZES = {
  'square 512': [512, 512, 512],
  'tokens 128, projection': [128, 384, 384],
  'tokens 128, wide': [128, 1536, 384],
  'tokens 128, deep': [128, 384, 1536],
  'tokens 197, narrow': [197, 192, 768],
  'pixels 56², 16 channels': [3136, 16, 96],
  'pixels 56², 24 → 144': [3136, 144, 24],
  'pixels 14², 96 → 576': [196, 576, 96],
  'pixels 7², 960 → 160': [49, 160, 960],
  'pixels 7², 320 → 1280': [49, 1280, 320],
  'scores of a head': [128, 128, 32],
  'few rows': [8, 768, 768],
  vector: [1, 1024, 1024],
};

/** The tiles of the table, read where they are defined. */
export async function tiles() {
  const text = await readFile(here('../../compiler/lower/src/schedule.rs'), 'utf8');
  return [...text.matchAll(/TILES: &\[\(usize, usize\)\] =\s*&\[([^\]]*)\]/g)]
    .flatMap(([, list]) => [...list.matchAll(/\((\d+), (\d+)\)/g)].map(([, rows, vectors]) => [Number(rows), Number(vectors)]))
    .filter(([r, v], i, all) => all.findIndex(([a, b]) => a === r && b === v) === i);
}

async function main() {
  const { values: options, positionals: [program] } = parseArgs({
    allowPositionals: true,
    options: { variant: { type: 'string', default: 'baseline' }, sizes: { type: 'string' }, json: { type: 'string' } },
  });
  if (program === undefined) throw new Error('usage: node tests/bench/sweep.mjs WASM_TORCH [--variant baseline] [--sizes NAME,…] [--json FILE]');
  const chosen = Object.entries(SIZES).filter(([name]) => options.sizes === undefined || options.sizes.split(',').includes(name));
  const folder = await mkdtemp(join(tmpdir(), 'wasm-torch-sweep-'));
  const server = await serve({ '/web/': here('../../web/dist'), '/bench/': here('.') });
  const browser = await launchChromium();
  if (!preferBrowsers()) console.error('note: without root on Linux other processes weigh as much as the benchmark');
  try {
    server.put('/roof.wasm', roofModule());
    const roof = await Contender.open(browser, server.origin, 'roof');
    await roof.prepare('/roof.wasm');
    const ours = await Contender.open(browser, server.origin, 'ours');
    const all = await tiles();
    const found = [];
    for (const [name, size] of chosen) {
      const one = await sweep(name, size, all, { folder, server, ours, roof, program, variant: options.variant });
      found.push(one);
      print(one);
    }
    const losses = found.map(({ gflops, best }) => gflops.predicted / best);
    console.log(`\nthe predicted tiles reach ${(100 * Math.min(...losses)).toFixed(0)}–100 % of the best ones, ${(100 * median(losses)).toFixed(0)} % in the middle (${options.variant}, Chromium ${browser.version()})`);
    if (options.json) await writeFile(options.json, recorded({ variant: options.variant, chromium: browser.version(), sizes: found }));
  } finally {
    await browser.close();
    await server.close();
    await rm(folder, { recursive: true });
  }
}

/** One size with every tile: the best of three profiles each, in turn. */
async function sweep(name, [rows, columns, depth], all, { folder, server, ours, roof, program, variant }) {
  const path = (file) => join(folder, file);
  const weights = { w: { shape: [depth, columns], values: values(depth * columns, 2) } };
  await writeFile(path('m.onnx'), onnxModel({ name, nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }], inputs: { x: [rows, depth] }, outputs: { y: [rows, columns] }, weights }));
  server.put('/feed/x', Buffer.from(values(rows * depth, 1).buffer));
  const feeds = [{ name: 'x', dtype: 'f32', shape: [rows, depth], url: '/feed/x' }];
  const best = {};
  const modules = [['predicted'], ...all.filter(([r]) => r <= rows).map((tile) => [tile.join('x'), tile])];
  for (const [key, tile] of modules) {
    await writeFile(path('s.json'), JSON.stringify({ products: tile ? [{ rows, columns, depth, tile, relaxed_tile: tile }] : [] }));
    execFileSync(program, ['export', path('m.onnx'), '-o', path('m.wasm'), '-q', '--variants', variant, '--schedule', path('s.json')], { stdio: 'inherit' });
    server.put(`/module/${key}`, await readFile(path('m.wasm')));
  }
  const calls = Math.max(3, Math.ceil(2e8 / (rows * columns * depth)));
  for (let round = 0; round < 3; round++) {
    for (const [key] of modules) {
      await ours.prepare(`/module/${key}`, feeds, variant);
      const { steps } = await ours.profile(calls);
      const ms = steps.reduce((sum, step) => sum + step.ms, 0);
      best[key] = Math.min(best[key] ?? Infinity, ms);
    }
  }
  const gflops = Object.fromEntries(Object.entries(best).map(([key, ms]) => [key, (2e-6 * rows * columns * depth) / ms]));
  return { name, rows, columns, depth, roof: await roof.round(10), best: Math.max(...Object.values(gflops)), gflops };
}

/** JSON with a line per size, and numbers of one digit after the point. */
function recorded({ sizes, ...rest }) {
  const line = (size) => JSON.stringify(size, (_, value) => (typeof value === 'number' ? Math.round(10 * value) / 10 : value));
  return `${JSON.stringify(rest).slice(0, -1)},"sizes":[\n${sizes.map(line).join(',\n')}\n]}\n`;
}

function print({ name, rows, columns, depth, roof, best, gflops }) {
  const ranked = Object.entries(gflops).filter(([key]) => key !== 'predicted').sort(([, a], [, b]) => b - a);
  console.log(`${name} (${rows} × ${columns} × ${depth}), roof ${roof.toFixed(1)}: predicted ${gflops.predicted.toFixed(1)} = ${((100 * gflops.predicted) / best).toFixed(0)} % of the best`);
  console.log(`    ${ranked.map(([key, value]) => `${key} ${value.toFixed(1)}`).join('  ')}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
