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
import { account, classOf } from './account.mjs';
import { compare } from './compare.mjs';
import { htmlReport } from './html.mjs';
import { files, ROWS } from './operators.mjs';
import { accountTable, operatorTable, profileTable, raceTable } from './report.mjs';
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

test('an account by class adds up', () => {
  const step = (kernel, ms, macs) => ({ kernel, ms, macs });
  const rows = account({ steps: [step('contract_f32_m4n8', 2, 5e7), step('copy_run_4', 1, 0), step('recurrent_lstm_f32', 1, 1e6), step('contract_f32_m5n8', 2, 5e7)] }, 100);
  assert.deepEqual(rows.map((row) => [row.class, row.ms]), [['products, convolutions', 4], ['moves', 1], ['recurrence', 1]]);
  assert.equal(rows[0].gflops, 50);
  assert.equal(rows[0].lost_ms, 2);
  assert.equal(classOf('winograd_4x4_3x3_input_f32_c64'), 'filter transforms');
  assert.equal(classOf('depthwise_f32_3x3_c96'), 'depthwise, pooling');
  assert.match(accountTable({ name: 'm', account: rows }), /moves +1\.000 +16\.7% +- +- +1\.000/);
});

test('reports compare ratio against ratio', async (t) => {
  const report = (ratios) => ({ models: Object.entries(ratios).map(([name, median]) => ({ name, ratio: { median } })) });
  const { lines, missing } = compare(report({ a: 2, b: 1, gone: 3 }), report({ a: 1.5, b: 1.2 }));
  assert.deepEqual(lines.map(({ change }) => Math.round(100 * change)), [-25, 20]);
  assert.deepEqual(missing, ['gone']);
  const folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
  t.after(() => rm(folder, { recursive: true }));
  const [old, fresh] = ['old.json', 'new.json'].map((file) => join(folder, file));
  await writeFile(old, JSON.stringify(report({ a: 2 })));
  await writeFile(fresh, JSON.stringify(report({ a: 1.9 })));
  const run = (...args) => promisify(execFile)(process.execPath, [here('compare.mjs'), old, fresh, ...args]);
  await run();
  await assert.rejects(run('--threshold', '0.02'), ({ code }) => code === 1);
});

test('the page holds its charts and loads nothing', () => {
  const one = { median_ms: 1, p90_ms: 2, first_call_ms: 3, roof_share: 0.5 };
  const ratio = { median: 2, min: 1.9, max: 2.1 };
  const model = { name: 'a <b>', ours: one, onnxruntime: one, plain: one, ratio, plain_ratio: ratio, max_rel_err: {}, account: [{ class: 'moves', ms: 1, share: 1, lost_ms: 1 }] };
  const machine = { cpu: 'c', engine: 'e', variant: 'v', onnxruntime_web: '1' };
  const page = htmlReport({ machine, rounds: 1, calls: 1, models: [model] });
  assert.equal(page.match(/<svg/g).length, 4);
  assert.ok(page.includes('a &lt;b&gt;') && !/<script|src=|href=|undefined|NaN/.test(page));
});

test('single operators: plain JavaScript, and onnxruntime-web where it can', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
  t.after(() => rm(folder, { recursive: true }));
  const small = ['gelu 1K', 'softmax 1K', 'layer norm 128×768', 'DFT 256'].map((name) => ROWS.find((row) => row.name === name));
  const config = [];
  for (const [i, row] of small.entries()) {
    const path = (suffix) => join(folder, `${i}.${suffix}`);
    for (const [suffix, bytes] of Object.entries(files(row))) await writeFile(path(suffix), bytes);
    config.push({ name: row.name, onnx: path('onnx'), plain: path('json'), golden: path('npz') });
  }
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const json = join(folder, 'out.json');
  await bench('--config', join(folder, 'config.json'), '--batch', '--rounds', '1', '--calls', '2', '--warmup', '1', '--json', json);
  const { models } = JSON.parse(await readFile(json, 'utf8'));
  for (const { name, onnxruntime, plain, max_rel_err } of models) {
    assert.ok(plain.median_ms > 0 && onnxruntime.median_ms > 0, name);
    assert.ok(max_rel_err.plain_golden === 0 && max_rel_err.onnxruntime_golden < 1e-5, name);
  }
  assert.match(operatorTable(models), /gelu 1K +- +[0-9.]+ +[0-9.]+/);
});

test('the race in Node', async () => {
  const digits = (file) => here(`../../models/digits/${file}`);
  const { stdout } = await bench('--node', '--model', 'digits', '--onnx', digits('digits.legacy.onnx'), '--golden', digits('golden.npz'), '--rounds', '1', '--calls', '1');
  assert.match(stdout, /Node v[\s\S]*digits +onnxruntime/);
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
