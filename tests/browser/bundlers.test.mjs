// Vite's and webpack's builds of an app that imports the package by its name: the workers are found, every variant runs.

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import * as vite from 'vite';
import webpack from 'webpack';

import { VARIANTS, variantsModule } from '../../web/test/double.mjs';
import { launchChromium, openPage } from './chromium.mjs';
import { ISOLATED, serve, STRICT } from './server.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PACKAGE = here('../../web');

let browser;
let folder;

before(async () => {
  browser = await launchChromium();
  folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
});

after(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

const BUILDS = {
  async vite(outDir) {
    await vite.build({
      root: here('bundle'),
      configFile: false,
      logLevel: 'error',
      resolve: { alias: { 'wasm-torch': `${PACKAGE}/dist/index.js` } },
      worker: { format: 'es' },
      build: { outDir, emptyOutDir: true, target: 'es2022' },
    });
  },
  async webpack(path) {
    const modules = join(folder, 'node_modules');
    await mkdir(modules, { recursive: true });
    await symlink(PACKAGE, join(modules, 'wasm-torch')).catch(() => {});
    await new Promise((resolve, reject) => {
      webpack({
        mode: 'production',
        context: here('bundle'),
        entry: './main.js',
        output: { path, publicPath: 'auto', filename: '[name].js' },
        resolve: { modules: [modules] },
      }, (error, stats) => (error || stats.hasErrors() ? reject(error ?? new Error(stats.toString('errors-only'))) : resolve()));
    });
    await writeFile(join(path, 'index.html'), '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script src="main.js"></script>');
  },
};

for (const [name, build] of Object.entries(BUILDS)) {
  test(`${name}: a production build runs every variant, in a worker, under a strict policy`, async () => {
    const out = join(folder, name);
    await build(out);
    const files = await readdir(out, { recursive: true });
    assert.ok(files.filter((file) => file.endsWith('.js')).length >= 3, files.join(' '));
    const server = await serve({ '/app/': out }, { ...ISOLATED, 'Content-Security-Policy': STRICT });
    try {
      // Vite's addresses begin at the root.
      for (const file of files.filter((file) => file.startsWith('assets/'))) server.on(`/${file}`, (request, response) => response.writeHead(307, { Location: `/app/${file}` }).end());
      server.put('/variants.wasm', variantsModule());
      for (const variant of ['baseline', ...Object.keys(VARIANTS)]) {
        const options = { url: '/variants.wasm', variant, inline: false, init: { threads: 2 } };
        const page = await openPage(browser, `${server.origin}/app/index.html?options=${encodeURIComponent(JSON.stringify(options))}`, name);
        const found = await page.evaluate(() => window.result);
        await page.context().close();
        assert.deepEqual([found.y, found.variant, found.threads, found.why], [[2, 4, 6, 8, 10, 12], variant, variant.includes('threads') ? 2 : 1, variant.includes('threads') ? {} : found.why], found.error);
        assert.equal(found.why.worker, undefined);
      }
    } finally {
      await server.close();
    }
  });
}
