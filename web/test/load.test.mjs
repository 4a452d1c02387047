// Loading: every kind of source works, and everything that is no module is refused with a reason.

import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { WASMTorch, WasmTorchError } from 'wasm-torch';

import { doubleModule } from './double.mjs';

const runtime = await WASMTorch.init();
const bytes = doubleModule();

/** Asserts that `promise` fails with this code and a message that matches every pattern. */
async function refused(promise, code, ...patterns) {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof WasmTorchError, String(error));
    assert.equal(error.code, code, error.message);
    for (const pattern of patterns) assert.match(error.message, pattern);
    return true;
  });
}

async function doubles(source) {
  const model = await runtime.loadModel(source);
  const { y } = await model.forward({ x: runtime.createTensor([[1, 2, 3], [4, 5, 6]]) });
  assert.deepEqual([...y.data], [2, 4, 6, 8, 10, 12]);
}

test('bytes, views and buffers', async () => {
  await doubles(bytes);
  await doubles(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const shifted = new Uint8Array(bytes.length + 5);
  shifted.set(bytes, 5);
  await doubles(shifted.subarray(5));
});

test('a compiled module', async () => doubles(await WebAssembly.compile(bytes)));

test('a Response, or the promise of one', async () => {
  await doubles(new Response(bytes));
  await doubles(Promise.resolve(new Response(bytes)));
});

test('a path, a file: address, an http: address', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
  const path = join(folder, 'double.wasm');
  await writeFile(path, bytes);
  const server = createServer((request, response) => (request.url === '/double.wasm' ? response.end(bytes) : response.writeHead(404).end('<html>')));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${server.address().port}`;
  t.after(() => {
    server.close();
    return rm(folder, { recursive: true });
  });
  await doubles(path);
  await doubles(pathToFileURL(path));
  await doubles(`${base}/double.wasm`);
  await refused(runtime.loadModel(`${base}/other.wasm`), 'fetch-failed', /other\.wasm/, /expected status 200, found 404/, /hint:/);
  await refused(runtime.loadModel(join(folder, 'none.wasm')), 'fetch-failed', /none\.wasm/);
  await refused(runtime.loadModel('http://127.0.0.1:1/x.wasm'), 'fetch-failed');
});

test('every truncation is refused', async () => {
  for (let length = 0; length < bytes.length; length++) {
    await refused(runtime.loadModel(bytes.subarray(0, length)), 'invalid-module');
  }
  await refused(runtime.loadModel(bytes.subarray(0, bytes.length - 1)), 'invalid-module', /ends after \d+ bytes, before byte \d+/, /cut off/);
});

test('files that are no modules are named', async () => {
  const file = (...start) => Uint8Array.from([...start, 13, 10, 26, 10, 0, 0]);
  await refused(runtime.loadModel(new Uint8Array()), 'invalid-module', /ends after 0/);
  await refused(runtime.loadModel(new TextEncoder().encode('<!doctype html>')), 'invalid-module', /HTML/);
  await refused(runtime.loadModel(file(8, 8, 18, 7)), 'invalid-module', /ONNX/, /wasm-torch export/);
  await refused(runtime.loadModel(file(1, 2, 3, 4)), 'invalid-module', /expected it to begin with 00 61 73 6d 01 00 00 00, found 01 02 03 04/);
  await refused(runtime.loadModel(file(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0)), 'invalid-module', /found 00 61 73 6d 0d/);
  await refused(runtime.loadModel(42), 'invalid-argument', /found number/);
});

test('foreign, stripped and damaged modules', async () => {
  await refused(runtime.loadModel(doubleModule({ section: null })), 'invalid-module', /does not begin with a section 'wasm-torch.manifest'/);
  await refused(runtime.loadModel(WebAssembly.compile(doubleModule({ section: null }))), 'invalid-module', /section 'wasm-torch.manifest'/);
  // Whatever size its first section says it has, a foreign module is not waited for.
  const foreign = Uint8Array.of(...bytes.subarray(0, 8), 0, 0xff, 0xff, 0xff, 0xff, 7, 4, ...new TextEncoder().encode('name, and so on: more than our name has'));
  await refused(runtime.loadModel(foreign), 'invalid-module', /section 'wasm-torch.manifest'/);
  await refused(runtime.loadModel(doubleModule({ section: '{"abi":' })), 'invalid-module', /cannot be used: .*JSON/);
  await refused(runtime.loadModel(doubleModule({ section: '{}' })), 'invalid-module', /cannot be used/);
  await refused(runtime.loadModel(doubleModule({ section: '{"abi":4}' })), 'invalid-module', /cannot be used: it has no inputs/);
  await refused(runtime.loadModel(doubleModule({ without: 'status' })), 'invalid-module', /does not export status/);
  const sized = (bytes) => (m) => ({ ...m, inputs: [{ ...m.inputs[0], bytes }] });
  await refused(runtime.loadModel(doubleModule({ change: sized(20) })), 'invalid-module', /'x' of f32 \[2,3\] does not take 20 bytes/);
  const code = bytes.slice();
  code[code.length - 2] = 0xff;
  await refused(runtime.loadModel(code), 'invalid-module', /engine rejects/);
});

test('sizes, addresses and bases that no module has', async () => {
  await refused(runtime.loadModel(doubleModule({ fixed: true })), 'invalid-module', /could not be instantiated/);
  const call = async (change) => {
    const model = await runtime.loadModel(doubleModule({ change }));
    return model.forward(runtime.createTensor([[1, 2, 3], [4, 5, 6]]));
  };
  for (const size of [-3, ['+', 1], 1e9]) {
    const outputs = (m) => ({ ...m, outputs: [{ ...m.outputs[0], sizes: [2, size] }] });
    await refused(call(outputs), 'invalid-module', /outside of the memory/);
  }
  const symbols = (offset) => (m) => ({ ...m, symbols: [{ name: 'n', min: 1, max: 3, offset }] });
  assert.deepEqual([...(await call(symbols(61))).y.data], [2, 4, 6, 8, 10, 12]);
  await refused(call(symbols(1 << 20)), 'invalid-module', /outside of the memory/);
});

test('what fuzzing found runs, or is refused', async () => {
  const folder = new URL('../../tests/fuzz/inputs/modules/', import.meta.url);
  const files = await readdir(folder);
  for (const file of files) {
    const error = await runtime.loadModel(new URL(file, folder)).then((model) => model.dispose(), (error) => error);
    assert.ok(error === undefined || error instanceof WasmTorchError, `${file}: ${error?.stack}`);
    assert.notEqual(error?.code, 'unsupported-abi', `${file} is of an earlier interface`);
  }
  assert.ok(files.length >= 2);
});

test('another interface number is refused before anything else is read', async () => {
  await refused(runtime.loadModel(doubleModule({ section: '{"abi":5,"inputs":"new"}' })), 'unsupported-abi', /interface 5.*interface 4/, /update/);
  await refused(runtime.loadModel(doubleModule({ change: (m) => ({ ...m, abi: 0 }) })), 'unsupported-abi', /export the model again/);
});
