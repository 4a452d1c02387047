// The budget of the loader: what a page that uses all of it downloads, compressed as servers do.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { brotliCompressSync } from 'node:zlib';

/** Bytes of the files below together, each compressed with brotli. The goal is 12 KiB. */
const BUDGET = 13_700;
const FILES = ['index.js', 'thread.js'];
const dist = new URL('../dist/', import.meta.url);

test(`the loader is at most ${BUDGET} bytes`, async () => {
  const sizes = await Promise.all(FILES.map(async (name) => brotliCompressSync(await readFile(new URL(name, dist))).length));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  assert.ok(total <= BUDGET, `${total} bytes: ${FILES.map((name, i) => `${name} ${sizes[i]}`).join(', ')}`);
  console.log(`the loader: ${total} of ${BUDGET} bytes, compressed`);
});

test('nothing else is in the package for browsers', async () => {
  const scripts = (await readdir(dist)).filter((name) => name.endsWith('.js') && !name.includes('node'));
  assert.deepEqual(scripts.sort(), FILES);
});
