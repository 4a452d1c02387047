// Builds dist/: types by tsc, ES modules by esbuild; and the copy of the loader that `wasm-torch serve` has inside.
//
// core.js is what the entries share, so that a page and its workers load it once.

import { mkdir, rm } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';

import { build } from 'esbuild';

const here = (path) => new URL(path, import.meta.url).pathname;
const common = {
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  sourcemap: true,
  // The sources are in the package.
  sourcesContent: false,
  outdir: here('dist'),
  logLevel: 'warning',
  legalComments: 'none',
};

const tsc = (...options) => execFileSync(process.execPath, [here('node_modules/typescript/bin/tsc'), '-p', here('tsconfig.json'), ...options], { stdio: 'inherit' });
// What does not type-check leaves the last good build alone.
tsc('--noEmit', '--emitDeclarationOnly', 'false', '--declaration', 'false', '--declarationMap', 'false');
await rm(here('dist'), { recursive: true, force: true });
tsc();
await build({ ...common, entryPoints: ['core', 'thread', 'thread-node'].map((name) => here(`src/${name}.ts`)), external: ['node:*'] });
await build({ ...common, entryPoints: ['index', 'node', 'worker'].map((name) => here(`src/${name}.ts`)), external: ['node:*', './core.js'] });

await mkdir(here('serve/loader'), { recursive: true });
await build({
  ...common,
  sourcemap: false,
  outdir: here('serve/loader'),
  entryPoints: ['core', 'thread'].map((name) => here(`src/${name}.ts`)),
});
await build({ ...common, sourcemap: false, outdir: here('serve/loader'), entryPoints: ['index', 'worker'].map((name) => here(`src/${name}.ts`)), external: ['./core.js'] });
