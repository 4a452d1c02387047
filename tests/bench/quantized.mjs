// Exports INT8 and f32 modules for a race beside the models that onnxruntime has quantised itself; writes the race's config.
//
// usage: node tests/bench/quantized.mjs WASM_TORCH MODELS PEERS FOLDER [EXPORT_OPTION…]
//   WASM_TORCH   the command-line program          MODELS   folder of NAME.legacy.onnx with NAME.legacy.npz
//   PEERS        what models/quantized/peers.py wrote: NAME.quantized.onnx; where ranges are static NAME.samples.npz and
//                NAME.FORM.quantized.onnx, of which our modules are the same
//   FOLDER       gets NAME.int8.wasm, NAME.f32.wasm and models.json    others   passed on to `wasm-torch export`, e.g. -O3

import { execFileSync } from 'node:child_process';
import { access, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/** Quantised outputs are near those of f32 and no more: each side's scales come from noise. */
const RTOL = 1;

const [program, models, peers, folder, ...options] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node tests/bench/quantized.mjs WASM_TORCH MODELS PEERS FOLDER [EXPORT_OPTION…]');
  process.exit(2);
}
await mkdir(folder, { recursive: true });
const found = (await readdir(peers)).filter((file) => file.endsWith('.quantized.onnx')).sort();
const config = [];
const exported = new Set();
for (const file of found) {
  const [name, ...form] = file.slice(0, -'.quantized.onnx'.length).split('.');
  const source = join(models, `${name}.legacy.onnx`);
  const samples = join(peers, `${name}.samples.npz`);
  const isStatic = await access(samples).then(() => true, () => false);
  const scheme = isStatic ? ['--quantize', 'int8-static', '--calibrate', samples, '--calibration', 'min-max'] : ['--quantize', 'int8-dynamic'];
  const [module, f32] = ['int8', 'f32'].map((kind) => resolve(folder, `${name}.${kind}.wasm`));
  if (!exported.has(name)) {
    execFileSync(program, ['export', source, '-o', f32, ...options], { stdio: 'inherit' });
    execFileSync(program, ['export', source, '-o', module, ...scheme, ...options], { stdio: 'inherit' });
    exported.add(name);
  }
  config.push({ name: [name, ...(form.length > 0 ? form : ['int8'])].join(' '), onnx: resolve(peers, file), module, f32, golden: resolve(models, `${name}.legacy.npz`), rtol: RTOL });
}
await writeFile(join(folder, 'models.json'), `${JSON.stringify(config, null, 2)}\n`);
