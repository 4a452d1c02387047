// The .npz reader against files that NumPy wrote and headers made by hand.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { parseNpy, readNpz } from './npz.mjs';

const DIGITS = fileURLToPath(new URL('../../models/digits/golden.npz', import.meta.url));

/** A .npy file with this header dictionary. */
function npy(header, data) {
  const padded = header.padEnd(117, ' ') + '\n';
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.from([padded.length, 0]), Buffer.from(padded), Buffer.from(data.buffer)]);
}

test('the digits file: names, types, shapes, values', { skip: !existsSync(DIGITS) && 'models/digits/golden.npz is not there' }, async () => {
  const arrays = await readNpz(DIGITS);
  assert.deepEqual([...arrays].map(([name, { dtype, shape }]) => [name, dtype, shape]), [
    ['images', 'f32', [256, 1, 28, 28]],
    ['labels', 'i64', [256]],
    ['logits', 'f32', [256, 10]],
  ]);
  for (const { shape, dtype, bytes } of arrays.values()) {
    assert.equal(bytes.length, shape.reduce((a, b) => a * b) * (dtype === 'f32' ? 4 : 8));
  }
  const labels = new BigInt64Array(arrays.get('labels').bytes.buffer);
  assert.ok(labels.every((label) => label >= 0n && label <= 9n) && new Set(labels).size === 10);
});

test('scalars, vectors and what is not supported', () => {
  const data = Float64Array.of(1.5);
  const scalar = parseNpy(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", data), 'a.npy');
  assert.deepEqual([scalar.dtype, scalar.shape, new Float64Array(scalar.bytes.buffer)[0]], ['f64', [], 1.5]);
  const vector = parseNpy(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (8,), }", data), 'a.npy');
  assert.deepEqual([vector.dtype, vector.shape], ['bool', [8]]);
  assert.throws(() => parseNpy(npy("{'descr': '>f8', 'fortran_order': False, 'shape': (), }", data), 'a.npy'), /a.npy: unsupported/);
  assert.throws(() => parseNpy(npy("{'descr': '<f8', 'fortran_order': True, 'shape': (1,), }", data), 'a.npy'), /Fortran/);
  assert.throws(() => parseNpy(Buffer.from('\x89PNG....'), 'a.npy'), /not a .npy/);
});

test('a file that is no archive', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'x.npz'), 'text that is long enough to be searched for a directory');
  await assert.rejects(readNpz(join(folder, 'x.npz')), /not a zip archive/);
});
