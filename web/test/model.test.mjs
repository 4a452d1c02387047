// Tensors, forward, profile and dispose, in Node.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createTensor, WASMTorch, WasmTorchError } from 'wasm-torch';

import { doubleModule } from './double.mjs';

const runtime = await WASMTorch.init();
const x = () => createTensor([1, 2, 3, 4, 5, 6], [2, 3]);
const load = (options) => runtime.loadModel(doubleModule(options));

function fails(code, ...patterns) {
  return (error) => {
    assert.ok(error instanceof WasmTorchError, String(error));
    assert.equal(error.code, code, error.message);
    for (const pattern of patterns) assert.match(error.message, pattern);
    return true;
  };
}

test('createTensor infers shape and type', () => {
  const cases = [
    [[Float32Array.of(1, 2)], [2], 'f32'],
    [[[1, 2, 3]], [3], 'f32'],
    [[[[1, 2], [3, 4], [5, 6]]], [3, 2], 'f32'],
    [[[1n, 2n]], [2], 'i64'],
    [[[true, false]], [2], 'bool'],
    [[[5], []], [], 'f32'],
    [[[1, 2, 3, 4], [2, 2], 'int64'], [2, 2], 'i64'],
    [[Int32Array.of(-1, 2), undefined, 'i64'], [2], 'i64'],
    [[BigInt64Array.of(7n)], [1], 'i64'],
    [[Uint8ClampedArray.of(255)], [1], 'u8'],
    [[Uint8Array.of(0, 2), [2], 'bool'], [2], 'bool'],
    [[Uint16Array.of(0x3c00), [1], 'f16'], [1], 'f16'],
    [[[]], [0], 'f32'],
  ];
  for (const [args, shape, dtype] of cases) {
    const tensor = createTensor(...args);
    assert.deepEqual([...tensor.shape], shape);
    assert.equal(tensor.dtype, dtype);
  }
  assert.deepEqual([...createTensor([1, 2], [2], 'int64').data], [1n, 2n]);
  assert.deepEqual([...createTensor(Uint8Array.of(0, 2), [2], 'bool').data], [0, 1]);
});

test('createTensor wraps a typed array without a copy', () => {
  const data = new Float32Array(6);
  assert.equal(createTensor(data, [2, 3]).data, data);
});

test('createTensor refuses what does not fit', () => {
  assert.throws(() => createTensor([1.5], [1], 'i32'), fails('invalid-argument', /Element 0 is 1.5, which i32 cannot hold/));
  assert.throws(() => createTensor([1.5], [1], 'i64'), fails('invalid-argument'));
  assert.throws(() => createTensor([300], [1], 'u8'), fails('invalid-argument', /300/));
  assert.throws(() => createTensor([2n ** 63n], [1], 'i64'), fails('invalid-argument'));
  assert.throws(() => createTensor([1], [1], 'f16'), fails('invalid-argument', /bits/));
  assert.throws(() => createTensor([1, 2, 3], [2, 2]), fails('shape-mismatch', /has 4 elements; found 3/));
  assert.throws(() => createTensor([[1, 2], [3]]), fails('shape-mismatch', /equally long/));
  assert.throws(() => createTensor([1], [1.5]), fails('invalid-argument', /Dimension 1.5/));
  assert.throws(() => createTensor([1], [1], 'float31'), fails('invalid-argument', /'float31' is not a data type/));
  assert.throws(() => createTensor('text'), fails('invalid-argument', /found string/));
});

test('forward takes named tensors or the only one, and repeats', async () => {
  const model = await load();
  assert.equal(model.inputs[0].name, 'x');
  assert.deepEqual(model.outputs[0].shape, [2, 3]);
  for (const input of [{ x: x() }, x()]) {
    const { y } = await model.forward(input);
    assert.equal(y.dtype, 'f32');
    assert.deepEqual([...y.shape], [2, 3]);
    assert.deepEqual([...y.data], [2, 4, 6, 8, 10, 12]);
  }
  const [first, second] = await Promise.all([model.forward(x()), model.forward(createTensor(new Float32Array(6), [2, 3]))]);
  assert.deepEqual([...first.y.data, ...second.y.data], [2, 4, 6, 8, 10, 12, 0, 0, 0, 0, 0, 0]);
});

test('forward takes a view into a larger buffer', async () => {
  const model = await load();
  const { y } = await model.forward({ x: createTensor(Float32Array.of(9, 9, 1, 2, 3, 4, 5, 6, 9).subarray(2, 8), [2, 3]) });
  assert.deepEqual([...y.data], [2, 4, 6, 8, 10, 12]);
});

test('forward refuses wrong inputs', async () => {
  const model = await load();
  const refuses = (input, ...expected) => assert.rejects(model.forward(input), fails(...expected));
  await refuses({}, 'missing-input', /input 'x' is missing: expected f32 \[2,3\]/, /createTensor/);
  await refuses({ x: x(), z: x() }, 'unknown-input', /no input 'z'/, /its inputs are \["x"\]/);
  await refuses({ x: createTensor([1, 2, 3, 4, 5, 6], [3, 2]) }, 'shape-mismatch', /expected shape \[2,3\], found \[3,2\]/);
  await refuses({ x: createTensor([1, 2, 3, 4, 5, 6], [2, 3], 'i32') }, 'dtype-mismatch', /input 'x' is i32: expected f32/, /createTensor/);
  await refuses({ x: new Float32Array(6) }, 'invalid-argument', /input 'x' is no tensor/, /createTensor/);
  await refuses(null, 'invalid-argument', /found null/);
});

test('disposed tensors and models say so', async () => {
  const model = await load();
  const tensor = x();
  tensor.dispose();
  tensor.dispose();
  assert.ok(tensor.disposed);
  assert.throws(() => tensor.data, fails('disposed', /tensor was disposed/));
  await assert.rejects(model.forward(tensor), fails('disposed'));
  model.dispose();
  model.dispose();
  await assert.rejects(model.forward(x()), fails('disposed', /model 'double' was disposed/));
});

test('failures inside the module name the layer', async () => {
  const failing = await load({ run: 'fail' });
  await assert.rejects(failing.forward(x()), (error) => {
    assert.deepEqual(error.layers, ['net.double']);
    return fails('execution-failed', /index tensor/, /step 0 \(net.double\)/, /index 7/)(error);
  });
  const trapping = await load({ run: 'trap' });
  await assert.rejects(trapping.forward(x()), fails('execution-failed', /unreachable/));
  const long = await load({ change: (m) => ({ ...m, steps: [...m.steps, ...m.steps] }) });
  await assert.rejects(long.forward(x()), fails('execution-failed', /does not have/));
});

test('states are saved, restored and cleared', async () => {
  // The module's output in memory stands for a state: every call writes it.
  const state = { name: 'h', dtype: 'f32', shape: [2, 3], offset: 32, bytes: 24 };
  const model = await load({ change: (m) => ({ ...m, states: [state] }) });
  assert.deepEqual(model.states.map(({ name }) => name), ['h']);
  const now = async () => [...(await model.saveState()).h.data];
  assert.deepEqual(await now(), [0, 0, 0, 0, 0, 0]);
  await model.forward(x());
  const saved = await model.saveState();
  assert.deepEqual([...saved.h.data], [2, 4, 6, 8, 10, 12]);
  await model.resetState();
  assert.deepEqual(await now(), [0, 0, 0, 0, 0, 0]);
  await model.restoreState(saved);
  // Whoever asks later sees what was asked for before.
  const [, later] = await Promise.all([model.forward(createTensor([1, 1, 1, 1, 1, 1], [2, 3])), now()]);
  assert.deepEqual(later, [2, 2, 2, 2, 2, 2]);
  await model.warmup(2);
  assert.deepEqual(await now(), [2, 2, 2, 2, 2, 2], 'as before the warmup');
  await assert.rejects(model.restoreState({}), fails('missing-state', /state 'h' is missing/));
  await assert.rejects(model.restoreState({ ...saved, g: saved.h }), fails('unknown-state', /no state 'g'/, ));
  await assert.rejects(model.restoreState({ h: createTensor([1], [1]) }), fails('shape-mismatch', /'h': expected shape/));
  const other = await model.share();
  assert.deepEqual([...(await other.saveState()).h.data], [0, 0, 0, 0, 0, 0], 'an instance has states of its own');
  await Promise.all([model.dispose(), other.dispose()]);
});

test('profile times every step', async () => {
  const model = await load();
  assert.equal(model.profile().calls, 0);
  for (let i = 0; i < 5; i++) {
    const { y } = await model.forward(x(), { profile: true });
    assert.equal(y.data[5], 12);
  }
  const { calls, steps, ms } = model.profile();
  assert.equal(calls, 5);
  assert.equal(steps.length, 1);
  assert.deepEqual(steps[0].layers, ['net.double']);
  assert.equal(steps[0].ms, ms);
  assert.ok(ms > 0 && steps[0].gflops > 0 && steps[0].share === 1);
  model.resetProfile();
  assert.equal(model.profile().calls, 0);
});
