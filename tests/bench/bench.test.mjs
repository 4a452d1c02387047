// The benchmark's parts, and one short race of onnxruntime-web alone. It asserts no speed.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { variantsModule } from '../../web/test/double.mjs';
import { readNpz } from '../browser/npz.mjs';
import { profileTable, raceTable } from './report.mjs';
import { roofModule } from './roof.mjs';
import { quantile, summarise } from './statistics.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const bench = (...args) => promisify(execFile)(process.execPath, [here('bench.mjs'), ...args]);

test('quantiles', () => {
  assert.equal(quantile([3, 1, 2], 0.5), 2);
  assert.equal(quantile([4, 1, 2, 3], 0.5), 2.5);
  assert.deepEqual(summarise([5, 1, 3], '_ms'), { median_ms: 3, p90_ms: 4.6, min_ms: 1, count: 3 });
});

test('the roof computes what it says', async () => {
  const { instance } = await WebAssembly.instantiate(roofModule());
  const expected = (n) => Array.from({ length: 12 }, (_, i) => n + i).reduce((sum, start) => {
    let value = start;
    for (let k = 0; k < n; k++) value = value * 0.5 + 1;
    return sum + value;
  }, 0);
  for (const n of [1, 2, 40]) assert.ok(Math.abs(instance.exports.peak(n) - expected(n)) < 1e-4);
});

test('tables', () => {
  const one = { bytes: 2 ** 20, compile_ms: 1, first_call_ms: 2, median_ms: 1, p90_ms: 2, min_ms: 1, gflops: 50, roof_share: 0.5 };
  const model = { name: 'm', ours: one, onnxruntime: { ...one, median_ms: 2 }, max_rel_err: { ours_golden: 1e-6 }, ratio: { median: 2, min: 1.9, max: 2.1 } };
  assert.match(raceTable([model]), /m +ours +1\.00 +1\.0 +2\.00 +1\.000 +2\.000 +1\.000 +50\.0 +50\.0% +1\.0e-6 +2\.00 \(1\.90–2\.10\)/);
  const step = { step: 0, layers: ['conv'], kernel: 'k1', tasks: 1, macs: 1e6, weightBytes: 0, ms: 1, share: 0.25, gflops: 2 };
  const slow = { ...step, step: 1, kernel: 'k2', macs: 0, gflops: 0, ms: 3, share: 0.75 };
  const lines = profileTable({ name: 'm', roof_gflops: { median: 4 }, profile: { calls: 2, ms: 4, steps: [step, slow] } }).split('\n');
  assert.match(lines[2], /^3\.0000 .*75\.0% +75\.0% .*k2 +conv$/);
  assert.match(lines[3], /^1\.0000 +25\.0% +100\.0% +2\.0 +50\.0% +1\.00 .*k1 +conv$/);
});

test('the matrix product runs in onnxruntime-web and equals its golden file', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = (file) => join(folder, file);
  await promisify(execFile)(process.execPath, [here('matmul.mjs'), '9', folder]);
  const arrays = await readNpz(path('matmul_9.npz'));
  assert.deepEqual([...arrays.keys()], ['input:x', 'output:y']);
  assert.ok((await stat(path('matmul_9.onnx'))).size > 9 * 9 * 4);
  await bench('--onnx', path('matmul_9.onnx'), '--golden', path('matmul_9.npz'), '--rounds', '1', '--calls', '1');
});

test('a short race with JSON', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
  t.after(() => rm(folder, { recursive: true }));
  const digits = (file) => here(`../../models/digits/${file}`);
  const json = join(folder, 'out.json');
  const { stdout } = await bench('--model', 'digits', '--onnx', digits('digits.legacy.onnx'), '--golden', digits('golden.npz'), '--rounds', '2', '--calls', '3', '--json', json);
  assert.match(stdout, /digits +onnxruntime/);
  const [model] = JSON.parse(await readFile(json, 'utf8')).models;
  assert.equal(model.onnxruntime.count, 6);
  assert.ok(model.onnxruntime.median_ms > 0 && model.roof_gflops.median > 0);
  assert.ok(model.max_rel_err.onnxruntime_golden < 1e-4);
});

test('one cold start of a hand-made module beside its floor', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'double.wasm'), variantsModule());
  const { stdout } = await promisify(execFile)(process.execPath, [here('cold.mjs'), '--module', join(folder, 'double.wasm'), '--rounds', '1']);
  assert.match(stdout, /ours +[0-9.]+ ms = .* × the floor/);
});

test('a missing file is one clear line and exit code 1', async () => {
  await assert.rejects(bench('--onnx', 'none.onnx', '--golden', 'none.npz'), ({ code, stderr }) => {
    assert.equal(code, 1);
    assert.match(stderr, /^error: .*none\.npz/m);
    return true;
  });
});
