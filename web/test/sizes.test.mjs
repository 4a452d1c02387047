// Modules whose sizes the inputs' shapes choose: several shapes, in one thread and in a worker, and shapes that do not fit.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createTensor, WASMTorch } from 'wasm-torch';

import { doubleModule } from './double.mjs';

/** y = 2x on f32 [n,3] with n from 1 to 2, whose output is called f32 [1,3*n]. */
const change = (m) => ({
  ...m,
  symbols: [{ name: 'n', min: 1, max: 2, offset: 64 }],
  inputs: [{ ...m.inputs[0], sizes: ['n', 3] }],
  outputs: [{ ...m.outputs[0], shape: [1, 6], sizes: [1, ['*', 3, 'n']] }],
});
const tensor = (n) => createTensor(Float32Array.from({ length: 3 * n }, (_, i) => i + 1), [n, 3]);

for (const worker of [false, true]) {
  test(`one module, several shapes${worker ? ', in a worker' : ''}`, async () => {
    const runtime = await WASMTorch.init({ inline: !worker });
    const model = await runtime.loadModel(doubleModule({ change }));
    await model.warmup(1);
    for (const n of [2, 1, 2]) {
      const { y } = await model.forward({ x: tensor(n) });
      assert.deepEqual([...y.shape], [1, 3 * n]);
      assert.deepEqual([...y.data], Array.from({ length: 3 * n }, (_, i) => 2 * i + 2));
    }
    await model.dispose();
    await runtime.dispose?.();
  });
}

test('shapes outside of the bounds are refused before the module runs', async () => {
  const runtime = await WASMTorch.init();
  const model = await runtime.loadModel(doubleModule({ change }));
  const refused = (shape, pattern) =>
    assert.rejects(model.forward({ x: createTensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape) }), (error) => {
      assert.equal(error.code, 'shape-mismatch', error.message);
      assert.match(error.message, pattern);
      return true;
    });
  await refused([3, 3], /'x': expected shape \[n,3\], found \[3,3\]: n is 1 to 2.\nhint: .* `--dim n=1..3`/);
  await refused([0, 3], /n is 1 to 2/);
  await refused([2, 4], /expected shape \[n,3\], found \[2,4\]/);
  await refused([6], /expected shape \[n,3\], found \[6\]/);
});

test('inputs that share a size must agree', async () => {
  const runtime = await WASMTorch.init();
  const two = (m) => ({ ...change(m), inputs: [...change(m).inputs, { ...m.inputs[0], name: 'z', sizes: [['+', 'n', 1], 3], shape: [3, 3], bytes: 36 }] });
  const model = await runtime.loadModel(doubleModule({ change: two }));
  await assert.rejects(model.forward({ x: tensor(2), z: tensor(2) }), /'z': expected shape \[\[\+,n,1\],3\], found \[2,3\]: dimension 0 must be 3/);
});

/** y = 2x with a state that grows by one row of three per call: rows 4 apart in memory, `past` from 0 to 1 when a call begins. */
const growing = (m) => ({
  ...m,
  symbols: [{ name: 'past', min: 0, max: 1, offset: 64, kept: true }],
  states: [{ name: 'h', dtype: 'f32', shape: [1, 2, 3], sizes: [1, 'past', 3], strides: [8, 4, 1], offset: 128, bytes: 24, output: 'g' }],
});

for (const inline of [true, false]) {
  test(`states that grow keep their size${inline ? '' : ', in a worker'}`, async () => {
    const runtime = await WASMTorch.init({ inline });
    const model = await runtime.loadModel(doubleModule({ change: growing }));
    const saved = await model.saveState();
    assert.deepEqual([...saved.h.shape], [1, 0, 3]);
    const two = createTensor(Float32Array.from({ length: 6 }, (_, i) => i), [1, 2, 3]);
    await model.restoreState({ h: two });
    const found = await model.saveState();
    assert.deepEqual([[...found.h.shape], [...found.h.data]], [[1, 2, 3], [0, 1, 2, 3, 4, 5]]);
    await assert.rejects(model.forward({ x: createTensor(new Float32Array(6), [2, 3]) }), /The states are full: past is 2, at most 1/);
    await assert.rejects(model.restoreState({ h: createTensor(new Float32Array(9), [1, 3, 3]) }), /State|shape/);
    await model.warmup(1);
    assert.deepEqual([...(await model.saveState()).h.shape], [1, 2, 3], 'as before the warmup');
    await model.resetState();
    assert.deepEqual([...(await model.saveState()).h.shape], [1, 0, 3]);
    const { y } = await model.forward({ x: createTensor(Float32Array.from([1, 2, 3, 4, 5, 6]), [2, 3]) });
    assert.deepEqual([...y.data], [2, 4, 6, 8, 10, 12]);
    await model.dispose();
  });
}
