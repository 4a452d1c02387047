// Every module runs in Node and in headless Chromium: right within tolerance, equal bit for bit.
//
// WASM_TORCH_CASES=FILE.json names the cases (see cases.mjs); without it a hand-made module runs.
// WASM_TORCH_RESULTS=FILE.json takes the findings: one `{name, engine, outputs, …}` per case and engine.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { doubleModule } from '../../web/test/double.mjs';
import { FOLDERS, inChromium, inNode, readCases } from './cases.mjs';
import { launchChromium } from './chromium.mjs';
import { serve } from './server.mjs';

/** 4 calls of y = 2x. The hash is that of the doubled bytes. */
function handMade() {
  const x = Float32Array.from({ length: 24 }, (_, i) => i - 7.25);
  const y = x.map((value) => 2 * value);
  const array = (key, data) => ({ key, dtype: 'f32', shape: [8, 3], bytes: new Uint8Array(data.buffer) });
  return { name: 'hand-made double', rtol: 0, module: doubleModule(), arrays: [array('input:x', x), array('output:y', y)] };
}

const file = process.env.WASM_TORCH_CASES;
const cases = file ? await readCases(file) : [handMade()];
const results = [];
let browser;
let server;

before(async () => {
  server = await serve(FOLDERS);
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await server?.close();
  if (process.env.WASM_TORCH_RESULTS) await writeFile(process.env.WASM_TORCH_RESULTS, `${JSON.stringify(results, null, 2)}\n`);
});

if (!file) test('modules of the compiler', { skip: 'WASM_TORCH_CASES is not set: only the hand-made module runs' }, () => {});

for (const one of cases) {
  test(one.name, async () => {
    const node = await inNode(one);
    results.push({ name: one.name, engine: `node ${process.version}`, ...node });
    const chromium = await inChromium(browser, server, one);
    results.push({ name: one.name, engine: `chromium ${browser.version()}`, ...chromium });
    for (const found of [node, chromium]) {
      assert.ok(found.max_rel_err <= one.rtol, `largest relative error ${found.max_rel_err}, allowed ${one.rtol}`);
      if (found.agree !== undefined) assert.equal(found.agree, found.predictions.length, 'predictions that equal the golden ones');
    }
    assert.deepEqual(chromium.outputs, node.outputs, 'SHA-256 of the outputs, Chromium against Node');
    if (typeof one.expected === 'string') assert.deepEqual(Object.values(node.outputs), [one.expected], 'SHA-256 of the outputs, Node against the expected one');
    else if (one.expected) assert.deepEqual(node.outputs, one.expected, 'SHA-256 of the outputs, Node against the expected ones');
  });
}
