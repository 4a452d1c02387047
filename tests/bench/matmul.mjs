// Writes one square f32 matrix product as ONNX with its golden file, for the share of the roof that one kernel reaches.
//
// usage: node tests/bench/matmul.mjs N FOLDER        writes FOLDER/matmul_N.onnx and FOLDER/matmul_N.npz

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { npy, onnxModel, values, zip } from './onnx.mjs';

export { values };

/** `y = x · weight` with x [n,n] and the weight held in the model, as a Linear layer has it. */
export const matmulOnnx = (n, weight) => onnxModel({
  name: `matmul_${n}`,
  nodes: [{ op: 'MatMul', inputs: ['x', 'weight'], outputs: ['y'] }],
  inputs: { x: [n, n] },
  outputs: { y: [n, n] },
  weights: { weight: { shape: [n, n], values: weight } },
});

/** x · w, summed in f64. */
function product(n, x, w) {
  const y = new Float32Array(n * n);
  const row = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    row.fill(0);
    for (let k = 0; k < n; k++) for (let j = 0; j < n; j++) row[j] += x[i * n + k] * w[k * n + j];
    y.set(row, i * n);
  }
  return y;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [n, folder] = [Number(process.argv[2]), process.argv[3]];
  if (!Number.isInteger(n) || n < 1 || folder === undefined) {
    console.error('usage: node tests/bench/matmul.mjs N FOLDER');
    process.exit(1);
  }
  const [x, weight] = [values(n * n, 1), values(n * n, 2)];
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `matmul_${n}.onnx`), matmulOnnx(n, weight));
  await writeFile(join(folder, `matmul_${n}.npz`), zip({ 'input:x.npy': npy([n, n], x), 'output:y.npy': npy([n, n], product(n, x, weight)) }));
}
