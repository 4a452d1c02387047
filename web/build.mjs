// Builds dist/: types by tsc, ES modules by esbuild and terser; and the copy of the loader that `wasm-torch serve` has inside.
//
// index.js is the whole loader, so that a page and its workers load it once; thread.js is what each thread of a model runs.

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';

import { build } from 'esbuild';
import { minify } from 'terser';

const here = (path) => new URL(path, import.meta.url).pathname;

/** Names that only this package uses, of what its classes and records have: they become shorter. Private ones begin with `_`. */
const INTERNAL =
  /^(_.*|addArena|alive|ask|cores|busy|cancellable|feed|guarded|held|instance|listen|mayBlock|memoryStats|onBytes|pieces|poolBytes|position|post|quantiles|readManifest|removeArena|runTask|reserved_bytes|refused|limit_bytes|matched|peak_bytes|used_bytes|selectArena|settings|shapes|startThread|startWorker|stopFlag|summary|tail|tell|users|written)$/;

/** Private members become ordinary ones, whose names can be shortened to those that compress best. */
const privates = {
  name: 'privates',
  setup: ({ onLoad }) => onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => ({ contents: (await readFile(path, 'utf8')).replace(/(?<=\.|^  (?:(?:readonly|get|async) )*)#(?=\w)/gm, '_'), loader: 'ts' })),
};

const tsc = (...options) => execFileSync(process.execPath, [here('node_modules/typescript/bin/tsc'), '-p', here('tsconfig.json'), ...options], { stdio: 'inherit' });
// What does not type-check leaves the last good build alone.
tsc('--noEmit', '--emitDeclarationOnly', 'false', '--declaration', 'false', '--declarationMap', 'false');
await rm(here('dist'), { recursive: true, force: true });
tsc();

const nameCache = {};
for (const name of ['index', 'thread', 'node', 'thread-node']) {
  const { outputFiles } = await build({
    entryPoints: [here(`src/${name}.ts`)],
    outfile: here(`dist/${name}.js`),
    bundle: true,
    minifySyntax: true,
    format: 'esm',
    target: 'es2022',
    sourcemap: true,
    // The sources are in the package.
    sourcesContent: false,
    external: name === 'index' ? [] : ['node:*', './index.js'],
    logLevel: 'warning',
    legalComments: 'none',
    plugins: [privates],
    // A field without a value is not worth a declaration.
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
    write: false,
  });
  const [map, code] = outputFiles.sort((a, b) => b.path.length - a.path.length).map(({ text }) => text);
  const small = await minify(code.replace(/\n\/\/# sourceMappingURL=.*/, ''), {
    module: true,
    ecma: 2020,
    compress: { passes: 4, inline: 1, hoist_props: true, toplevel: true, unsafe_arrows: true, unsafe_methods: true, pure_getters: true, keep_fargs: false },
    // The package in Node hands its platform to the one in index.js.
    ...(/^(index|node)$/.test(name) && { mangle: { properties: { regex: INTERNAL } }, nameCache }),
    sourceMap: { content: map, filename: `${name}.js`, url: `${name}.js.map` },
  });
  await writeFile(here(`dist/${name}.js`), small.code);
  await writeFile(here(`dist/${name}.js.map`), small.map);
}

await mkdir(here('serve/loader'), { recursive: true });
for (const name of ['index', 'thread']) {
  const code = await readFile(here(`dist/${name}.js`), 'utf8');
  await writeFile(here(`serve/loader/${name}.js`), code.replace(/\n\/\/# sourceMappingURL=.*/, ''));
}
