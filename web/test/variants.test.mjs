// Variants: the rule on the table that the Rust host is tested on, and hand-made modules of every kind that Node runs.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { selectVariant, WASMTorch, WasmTorchError } from 'wasm-torch';

import { doubleModule, VARIANTS, variantsModule } from './double.mjs';

const { cases } = JSON.parse(await readFile(new URL('../../tests/variants.json', import.meta.url), 'utf8'));
const x = [[1, 2, 3], [4, 5, 6]];

const fails = (code, ...patterns) => (error) => {
  assert.ok(error instanceof WasmTorchError, String(error));
  assert.equal(error.code, code, error.message);
  for (const pattern of patterns) assert.match(error.message, pattern);
  return true;
};

for (const { name, own, variants, available, pick } of cases) {
  test(`select_variant: ${name}`, () => {
    const found = selectVariant({ variant: own.name, features: own.features, variants }, new Set(available));
    assert.equal(found?.name ?? null, pick);
  });
}

test('every variant that this Node can run, forced', async () => {
  const runtime = await WASMTorch.init({ threads: 2 });
  const { relaxedSimd, threads } = runtime.capabilities();
  assert.ok(threads);
  for (const variant of ['baseline', ...Object.keys(VARIANTS)]) {
    if (variant.includes('relaxed') && !relaxedSimd) {
      await assert.rejects(runtime.loadModel(variantsModule(), { variant }), fails('unsupported-feature', /relaxed-simd/));
      continue;
    }
    const model = await runtime.loadModel(variantsModule(), { variant });
    await model.warmup(1);
    assert.equal(model.variant, variant);
    assert.equal(model.threads, variant.includes('threads') ? 2 : 1, JSON.stringify(model.why));
    const { y } = await model.forward(runtime.createTensor(x));
    assert.deepEqual([...y.data], [2, 4, 6, 8, 10, 12]);
    await model.dispose();
  }
});

test('one thread takes no shared memory', async () => {
  const runtime = await WASMTorch.init({ threads: 1 });
  assert.deepEqual([runtime.getThreadCount(), runtime.capabilities().threads], [1, false]);
  assert.match(runtime.capabilities().why.threads, /one thread was asked for/);
  const model = await runtime.loadModel(variantsModule({ names: ['threads'] }));
  assert.equal(model.variant, 'baseline');
  const two = await WASMTorch.init({ threads: 2 });
  assert.equal((await two.loadModel(variantsModule({ names: ['threads'] }), { threads: 1 })).variant, 'baseline');
});

test('a variant that the file does not have', async () => {
  const runtime = await WASMTorch.init();
  await assert.rejects(runtime.loadModel(doubleModule(), { variant: 'threads' }), fails('invalid-argument', /no variant 'threads'; it has baseline/));
});

test('a thread that fails at its start leaves one thread and a reason', async () => {
  const runtime = await WASMTorch.init({ threads: 2 });
  const model = await runtime.loadModel(variantsModule({ worker: 'trap' }), { variant: 'threads' });
  await model.warmup();
  assert.equal(model.threads, 1);
  assert.match(model.why.threads, /could not be started: unreachable/);
  const { y } = await model.forward(runtime.createTensor(x));
  assert.equal(y.data[5], 12);
  await model.dispose();
});

test('a compiled module runs its own code', async () => {
  const runtime = await WASMTorch.init();
  const model = await runtime.loadModel(await WebAssembly.compile(variantsModule()));
  assert.equal(model.variant, 'baseline');
  const { y } = await model.forward(runtime.createTensor(x));
  assert.equal(y.data[5], 12);
});
