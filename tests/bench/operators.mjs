// Prepares the operator table: single operators as ONNX, exported for the race, beside plain JavaScript.
//
// usage: node tests/bench/operators.mjs WASM_TORCH FOLDER [EXPORT_OPTION…]
//   WASM_TORCH   the command-line program     FOLDER   gets NAME.onnx, NAME.npz, NAME.json, NAME.wasm and operators.json
//
// Then: node tests/bench/bench.mjs --config FOLDER/operators.json --batch --rounds 3 --calls 9

import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { npy, onnxModel, values, zip } from './onnx.mjs';
import { OPERATORS } from './pages/operators.mjs';

const product = (shape) => shape.reduce((a, b) => a * b, 1);
const positive = (array) => array.map((x) => 0.5 + Math.abs(x));

/** One node `y = op(x, …weights)`. `x` is a shape; `weights` are `{name: {shape, values?}}` in the node's order. */
function row(name, operator, op, x, y, { weights = {}, parameters = {}, attributes = {}, opset = 17, inputs, outputs = ['y'], runtime = [], scale = 1 } = {}) {
  return { name, operator, op, x, y, weights, parameters, attributes, opset, inputs: inputs ?? ['x', ...Object.keys(weights)], outputs, runtime, scale };
}

const K = (n) => (n < 2 ** 20 ? `${n / 1024}K` : '1M');
const elementwise = (operator, op, options) =>
  [2 ** 10, 2 ** 14, 2 ** 17, 2 ** 20].map((n) => row(`${operator} ${K(n)}`, operator, op, [n / 1024, 1024], [n / 1024, 1024], { scale: 4, ...options }));
const matmul = (n) => row(`matmul ${n}³`, 'matmul', 'MatMul', [n, n], [n, n], { weights: { w: { shape: [n, n] } }, parameters: { m: n, k: n, n } });
const linear = (m, k, n) => row(`linear ${m}×${k}→${n}`, 'matmul', 'Gemm', [m, k], [m, n], { weights: { w: { shape: [k, n] }, bias: { shape: [n] } }, parameters: { m, k, n } });
const [C, S] = [64, 56];

/** Every line of the table. */
export const ROWS = [
  ...elementwise('relu', 'Relu'),
  ...elementwise('sigmoid', 'Sigmoid'),
  ...elementwise('tanh', 'Tanh'),
  ...elementwise('gelu', 'Gelu', { opset: 20 }),
  ...elementwise('softmax', 'Softmax', { parameters: { width: 1024 }, attributes: { axis: { int: 1 } } }),
  ...[64, 128, 256, 512, 1024].map(matmul),
  row('matmul 512³, both computed', 'matmul', 'MatMul', [512, 512], [512, 512], { weights: { w: { shape: [512, 512] } }, runtime: ['w'], parameters: { m: 512, k: 512, n: 512 } }),
  linear(1, 768, 768), linear(32, 768, 3072), linear(128, 384, 1536),
  row('transpose 1024²', 'transpose', 'Transpose', [1024, 1024], [1024, 1024], { attributes: { perm: { ints: [1, 0] } }, parameters: { m: 1024, n: 1024 } }),
  row('conv2d 3→64, 224²', 'conv', 'Conv', [1, 3, 224, 224], [1, 64, 224, 224], {
    weights: { w: { shape: [64, 3, 3, 3] }, bias: { shape: [64] } }, attributes: { pads: { ints: [1, 1, 1, 1] } }, parameters: { size: 224, inputs: 3, outputs: 64 },
  }),
  row('batch norm 64×56²', 'batch_norm', 'BatchNormalization', [1, C, S, S], [1, C, S, S], {
    weights: { scale: { shape: [C] }, shift: { shape: [C] }, mean: { shape: [C] }, variance: { shape: [C], of: positive } }, parameters: { pixels: S * S },
  }),
  row('layer norm 128×768', 'layer_norm', 'LayerNormalization', [128, 768], [128, 768], { weights: { scale: { shape: [768] }, shift: { shape: [768] } }, parameters: { width: 768 } }),
  row('group norm 64×56², 32 groups', 'group_norm', 'GroupNormalization', [1, C, S, S], [1, C, S, S], {
    opset: 21, weights: { scale: { shape: [C] }, shift: { shape: [C] } }, attributes: { num_groups: { int: 32 } }, parameters: { width: (C / 32) * S * S, pixels: S * S },
  }),
  row('LSTM 64→256, 50 steps', 'lstm', 'LSTM', [50, 1, 64], [50, 1, 1, 256], {
    weights: { w: { shape: [1, 1024, 64], of: (a) => a.map((v) => v / 16) }, r: { shape: [1, 1024, 256], of: (a) => a.map((v) => v / 16) } },
    attributes: { hidden_size: { int: 256 } }, parameters: { steps: 50, inputs: 64, hidden: 256 },
  }),
  ...[256, 1024, 4096].map((n) => row(`DFT ${n}`, 'dft', 'DFT', [1, n, 1], [1, n, 2], { attributes: { axis: { int: 1 } }, parameters: { n } })),
];

/** Files of one row: `{onnx, npz, json}`. */
export function files({ name, operator, op, x, y, weights, parameters, attributes, opset, inputs, outputs, runtime, scale }) {
  const held = Object.fromEntries(Object.entries(weights).map(([key, { shape, of = (a) => a }], i) => [key, { shape, values: of(values(product(shape), i + 2)) }]));
  const arrays = { x: values(product(x), 1).map((v) => v * scale), ...Object.fromEntries(Object.entries(held).map(([key, { values }]) => [key, values])) };
  const given = Object.fromEntries(runtime.map((key) => [key, held[key].shape]));
  const constant = Object.fromEntries(Object.entries(held).filter(([key]) => !runtime.includes(key)));
  const onnx = onnxModel({ name: operator, opset, nodes: [{ op, inputs, outputs, attributes }], inputs: { x, ...given }, outputs: { y }, weights: constant });
  const npz = zip({
    'input:x.npy': npy(x, arrays.x),
    ...Object.fromEntries(Object.entries(held).map(([key, { shape, values }]) => [`${runtime.includes(key) ? 'input' : 'plain'}:${key}.npy`, npy(shape, values)])),
    'output:y.npy': npy(y, OPERATORS[operator](arrays, parameters)),
  });
  return { onnx, npz, json: JSON.stringify({ name, operator, parameters, output: 'y' }) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [program, folder, ...options] = process.argv.slice(2);
  if (folder === undefined) {
    console.error('usage: node tests/bench/operators.mjs WASM_TORCH FOLDER [EXPORT_OPTION…]');
    process.exit(2);
  }
  await mkdir(folder, { recursive: true });
  const config = [];
  for (const one of ROWS) {
    const stem = one.name.replaceAll(/[^A-Za-z0-9]+/g, '_');
    const path = (suffix) => resolve(folder, `${stem}.${suffix}`);
    for (const [suffix, bytes] of Object.entries(files(one))) await writeFile(path(suffix), bytes);
    execFileSync(program, ['export', path('onnx'), '-o', path('wasm'), '-q', ...options], { stdio: 'inherit' });
    config.push({ name: one.name, onnx: path('onnx'), module: path('wasm'), plain: path('json'), golden: path('npz') });
  }
  await writeFile(join(folder, 'operators.json'), `${JSON.stringify(config, null, 2)}\n`);
}
