// Whether modules give the same bits: hashes of the outputs in Chromium and in this Node, baseline and relaxed code.
//
// usage: node tests/bench/same.mjs GOLDEN.npz MODULE.wasm…
//
// Inputs are the arrays `input:NAME` of the golden file. All modules given should agree, e.g. one model's INT8 exports at -O2
// and -O3. Exits with 1 when they do not; says what an engine cannot run.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { launchChromium } from '../browser/chromium.mjs';
import { readNpz } from '../browser/npz.mjs';
import { serve } from '../browser/server.mjs';
import { Contender } from './contender.mjs';
import { inNode } from './node.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const [golden, ...modules] = process.argv.slice(2);
if (modules.length === 0) {
  console.error('usage: node tests/bench/same.mjs GOLDEN.npz MODULE.wasm…');
  process.exit(2);
}

const server = await serve({ '/web/': here('../../web/dist'), '/bench/': here('.') });
const browser = await launchChromium();
const node = inNode(server.origin);
const engines = { [`Chromium ${browser.version()}`]: () => Contender.open(browser, server.origin, 'ours'), [`Node ${process.version}`]: () => node('ours') };
const feeds = [];
for (const [key, { dtype, shape, bytes }] of await readNpz(golden)) {
  if (!key.startsWith('input:')) continue;
  const url = `/feed/${key}`;
  server.put(url, Buffer.from(bytes));
  feeds.push({ name: key.slice('input:'.length), dtype, shape, url });
}
const hashes = new Set();
let skipped = 0;
for (const module of modules) {
  server.put('/module.wasm', await readFile(module));
  for (const variant of ['baseline', 'relaxed']) {
    for (const [engine, open] of Object.entries(engines)) {
      const contender = await open();
      try {
        await contender.prepare('/module.wasm', feeds, variant);
        // What the first run transforms, later ones use.
        await contender.round(2);
        const hash = createHash('sha256');
        for (const { buffer, byteOffset, byteLength } of Object.values(await contender.results())) hash.update(new Uint8Array(buffer, byteOffset, byteLength));
        const digest = hash.digest('hex');
        hashes.add(digest);
        console.log(`${digest}  ${module}, ${variant}, ${engine}`);
      } catch (error) {
        if (!/needs relaxed/.test(error.message)) throw error;
        skipped += 1;
        console.log(`SKIPPED  ${module}, ${variant}, ${engine}: no relaxed dot products`);
      } finally {
        await contender.close();
      }
    }
  }
}
await browser.close();
await server.close();
console.log(hashes.size === 1 ? `the same bits everywhere; ${skipped} skipped` : `${hashes.size} different results`);
process.exitCode = hashes.size === 1 ? 0 : 1;
