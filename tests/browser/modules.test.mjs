// Every variant of every module runs in Node, in a newer Node and in headless Chromium: right within tolerance, equal bit for bit.
//
// WASM_TORCH_CASES=FILE.json names the cases (see cases.mjs); without it a hand-made module runs.
// WASM_TORCH_RESULTS=FILE.json takes the findings: one `{name, engine, outputs, …}` per case and engine.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { FOLDERS, handMade, inChromium, inNewerNode, inNode, readCases, relaxedInNode, variantsOf } from './cases.mjs';
import { launchChromium } from './chromium.mjs';
import { serve } from './server.mjs';

const file = process.env.WASM_TORCH_CASES;
const cases = file ? await readCases(file) : [handMade()];
const results = [];
let browser;
let server;
let newer;

before(async () => {
  newer = await inNewerNode(file);
  server = await serve(FOLDERS);
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await server?.close();
  if (process.env.WASM_TORCH_RESULTS) await writeFile(process.env.WASM_TORCH_RESULTS, `${JSON.stringify(results, null, 2)}\n`);
});

test('a newer Node', (t) => {
  if (newer === undefined) t.skip('npm has no newer Node for this machine');
});

if (!file) test('modules of the compiler', { skip: 'WASM_TORCH_CASES is not set: only the hand-made module runs' }, () => {});

const needsRelaxed = (variant) => variant.includes('relaxed');

for (const one of cases) {
  test(one.name, async (t) => {
    const variants = variantsOf(one);
    const runs = [];
    for (const variant of variants) {
      if (needsRelaxed(variant) && !relaxedInNode) continue;
      runs.push({ engine: `node ${process.version}`, ...(await inNode(one, { variant })) });
    }
    for (const { name, ...found } of newer ?? []) {
      if (name !== one.name) continue;
      if (found.skipped) t.diagnostic(`SKIPPED ${found.variant} in ${found.engine}: ${found.skipped}`);
      else runs.push(found);
    }
    // Modules with one variant are small: they run in the page itself.
    const several = variants.length > 1;
    const ways = several ? [...variants.map((variant) => ({ variant, inline: false })), { inline: false, share: true }] : [{ inline: true }];
    for (const found of await inChromium(browser, server, one, ways)) {
      if (found.skipped) t.diagnostic(`SKIPPED ${found.variant}: ${found.skipped}`);
      else runs.push({ engine: `chromium ${browser.version()}`, ...found });
    }
    results.push(...runs.map((run) => ({ name: one.name, ...run })));
    for (const found of runs) {
      const where = `${found.variant} in ${found.engine}`;
      assert.ok(found.max_rel_err <= one.rtol, `${where}: largest relative error ${found.max_rel_err}, allowed ${one.rtol}`);
      assert.equal(found.threads, found.variant.includes('threads') ? 2 : 1, where);
      if (found.agree !== undefined) assert.equal(found.agree, found.predictions.length, `${where}: predictions that equal the golden ones`);
      // Threads change no bits, nor do engines; fused multiply-adds do, which integers have none of.
      const alike = runs.find(({ variant }) => one.rtol === 0 || needsRelaxed(variant) === needsRelaxed(found.variant));
      assert.deepEqual(found.outputs, alike.outputs, `${where}: SHA-256 of the outputs, against ${alike.variant} in ${alike.engine}`);
    }
    const exact = runs.find(({ variant }) => !needsRelaxed(variant));
    if (typeof one.expected === 'string') assert.deepEqual(Object.values(exact.outputs), [one.expected], 'SHA-256 of the outputs against the expected one');
    else if (one.expected) assert.deepEqual(exact.outputs, one.expected, 'SHA-256 of the outputs against the expected ones');
  });
}
