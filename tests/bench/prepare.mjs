// Exports every model of a folder for the race, and matrix products of 512³ and 1024³; writes the race's config.
//
// usage: node tests/bench/prepare.mjs WASM_TORCH MODELS FOLDER [EXPORT_OPTION…]
//   WASM_TORCH   the command-line program          MODELS   folder of NAME.dynamo.onnx with NAME.dynamo.npz
//   FOLDER       gets NAME.wasm and models.json    others   passed on to `wasm-torch export`, e.g. -O3

import { execFileSync } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const [program, models, folder, ...options] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node tests/bench/prepare.mjs WASM_TORCH MODELS FOLDER [EXPORT_OPTION…]');
  process.exit(2);
}
await mkdir(folder, { recursive: true });
const matmul = fileURLToPath(new URL('matmul.mjs', import.meta.url));
const products = ['512', '1024'];
for (const size of products) execFileSync(process.execPath, [matmul, size, folder], { stdio: 'inherit' });

// Those with results to compare with.
const files = await readdir(models);
const found = files.filter((file) => file.endsWith('.dynamo.onnx') && files.includes(file.replace(/onnx$/, 'npz'))).sort();
const sources = [...products.map((size) => join(folder, `matmul_${size}`)), ...found.map((file) => join(models, file.slice(0, -'.onnx'.length)))];
const config = sources.map((source) => {
  const name = source.split('/').at(-1).replace('.dynamo', '');
  const module = resolve(folder, `${name}.wasm`);
  execFileSync(program, ['export', `${source}.onnx`, '-o', module, ...options], { stdio: 'inherit' });
  return { name, onnx: resolve(`${source}.onnx`), module, golden: resolve(`${source}.npz`) };
});
await writeFile(join(folder, 'models.json'), `${JSON.stringify(config, null, 2)}\n`);
