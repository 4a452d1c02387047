// One module of each released interface: the loader runs that of its own and says of others what to do.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { manifest } from '../../web/test/double.mjs';
import { createTensor, WASMTorch } from '../../web/dist/node.js';

const folder = new URL('../compat/', import.meta.url);
const { abi } = manifest();
const names = (await readdir(folder)).filter((name) => name.endsWith('.wasm'));
// Also where there is one core.
const runtime = await WASMTorch.init({ threads: 2 });

const refusal = (bytes) => runtime.loadModel(bytes).then(() => assert.fail('loaded'), ({ code, message }) => ({ code, message }));

test('the module of this interface runs in every variant that there is', async () => {
  assert.ok(names.includes(`abi${abi}.wasm`), 'keep a module of this interface in tests/compat');
  const bytes = await readFile(new URL(`abi${abi}.wasm`, folder));
  for (const variant of ['baseline', 'threads', undefined]) {
    const model = await runtime.loadModel(bytes, { variant });
    const tensor = (f) => createTensor(Float32Array.from({ length: 30 }, (_, i) => f(i)), [2, 3, 5]);
    const outputs = await model.forward({ a: tensor((i) => i), b: tensor((i) => 100 - 3 * i) });
    assert.deepEqual([...Object.values(outputs)[0].data], Array.from({ length: 30 }, (_, i) => 100 - 2 * i));
    await model.dispose();
  }
});

test('older and newer ones are refused with the way out', async () => {
  for (const name of names.filter((name) => name !== `abi${abi}.wasm`)) {
    const { code, message } = await refusal(await readFile(new URL(name, folder)));
    assert.equal(code, 'unsupported-abi', name);
    assert.match(message, /export the model again/);
  }
  const bytes = await readFile(new URL(`abi${abi}.wasm`, folder));
  const at = bytes.indexOf(`{"abi":${abi},`) + '{"abi":'.length;
  for (const [number, advice] of [[abi - 1, /export the model again/], [abi + 1, /update the npm package/]]) {
    const other = Buffer.from(bytes);
    other.write(String(number), at);
    const { code, message } = await refusal(other);
    assert.equal(code, 'unsupported-abi');
    assert.match(message, new RegExp(`written for interface ${number}; this loader knows interface ${abi}`));
    assert.match(message, advice);
  }
});
