// Loading and running in Firefox: every variant, in a worker and in place. Skipped, loudly, where there is no Firefox.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';

import puppeteer from 'puppeteer-core';

import { VARIANTS, variantsModule } from '../../web/test/double.mjs';
import { FOLDERS, readCases, runInPage, variantsOf } from './cases.mjs';
import { ISOLATED, OPEN, serve, STRICT } from './server.mjs';

const executablePath = process.env.FIREFOX ?? ['/usr/bin/firefox-esr', '/usr/bin/firefox'].find((path) => existsSync(path));
const skip = executablePath === undefined && 'no Firefox was found: apt-get install -y --no-install-recommends firefox-esr, or set FIREFOX to its path';
const DOUBLED = [2, 4, 6, 8, 10, 12];
let browser;
let strict;
let open;

before(async () => {
  if (skip) return;
  browser = await puppeteer.launch({ browser: 'firefox', executablePath, headless: true });
  [strict, open] = await Promise.all([serve(FOLDERS, { ...ISOLATED, 'Content-Security-Policy': STRICT }), serve(FOLDERS, OPEN)]);
  for (const server of [strict, open]) server.put('/variants.wasm', variantsModule());
});

after(async () => {
  await browser?.close();
  await Promise.all([strict?.close(), open?.close()]);
});

async function result(server, options) {
  const page = await browser.newPage();
  try {
    await page.goto(`${server.origin}/browser/pages/plain.html?options=${encodeURIComponent(JSON.stringify(options))}`);
    // The page's script has run when the page is loaded.
    return await page.evaluate(() => window.result);
  } finally {
    await page.close();
  }
}

for (const variant of [undefined, 'baseline', ...Object.keys(VARIANTS)]) {
  test(`isolated, ${variant ?? 'the best variant'}`, { skip }, async () => {
    for (const inline of [false, true]) {
      const found = await result(strict, { url: '/variants.wasm', init: { threads: 2 }, inline, ...(variant && { variant }) });
      const expected = variant ?? 'relaxed+threads';
      assert.deepEqual([found.y, found.variant, found.threads, found.why.worker], [DOUBLED, expected, expected.includes('threads') ? 2 : 1, undefined], found.error);
    }
  });
}

test('not isolated: no threads, and why', { skip }, async () => {
  const found = await result(open, { url: '/variants.wasm', init: { threads: 2 } });
  assert.deepEqual([found.y, found.variant, found.threads], [DOUBLED, 'relaxed', 1], found.error);
  assert.match(found.why.threads, /not cross-origin isolated/);
});

// Integer layers give the same bits in every engine and variant, with one thread or two.
const file = process.env.WASM_TORCH_CASES;
const integers = file && !skip ? (await readCases(file)).filter(({ name }) => name.endsWith('.int8')) : [];
if (!file) test('8-bit modules', { skip: 'WASM_TORCH_CASES is not set' }, () => {});
for (const one of integers) {
  test(`${one.name}: the bits of other engines`, async (t) => {
    const page = await browser.newPage();
    try {
      await page.goto(`${strict.origin}/browser/pages/plain.html`);
      for (const found of await runInPage(page, strict, one, variantsOf(one).map((variant) => ({ variant, inline: false })))) {
        if (found.skipped) t.diagnostic(`SKIPPED ${found.variant}: ${found.skipped}`);
        else assert.deepEqual(found.outputs, one.expected, `${found.variant}: SHA-256 of the outputs`);
      }
    } finally {
      await page.close();
    }
  });
}
