// The comparison finds what it must find: a check that cannot fail checks nothing.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { doubleModule } from '../../web/test/double.mjs';
import { inNode } from './cases.mjs';
import { errors, numbers } from './evaluate.mjs';

const array = (key, shape, data) => ({ key, dtype: data instanceof BigInt64Array ? 'i64' : 'f32', shape, bytes: new Uint8Array(data.buffer) });
const x = Float32Array.of(1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1);
const y = x.map((value) => 2 * value);
const run = (...arrays) => inNode({ module: doubleModule(), arrays });

test('equal outputs: no error, the hash of the raw bytes', async () => {
  const found = await run(array('input:x', [4, 3], x), array('output:y', [4, 3], y));
  assert.deepEqual(found, {
    variant: 'baseline',
    threads: 1,
    outputs: { y: createHash('sha256').update(new Uint8Array(y.buffer)).digest('hex') },
    calls: 2,
    max_abs_err: 0,
    max_rel_err: 0,
  });
});

test('one wrong element is found, relative to the largest', async () => {
  const wrong = y.slice();
  wrong[7] += 0.5;
  const found = await run(array('input:x', [4, 3], x), array('output:y', [4, 3], wrong));
  assert.equal(found.max_abs_err, 0.5);
  assert.equal(found.max_rel_err, 0.5 / 12);
});

test('classes: agreement with the golden ones, and labels', async () => {
  const golden = y.slice();
  golden[0] = 100;
  const labels = array('labels', [2], BigInt64Array.of(5n, 3n));
  const found = await run(array('images', [4, 3], x), array('logits', [4, 3], golden), labels);
  assert.deepEqual([found.predictions, found.agree, found.correct], [[5, 0], 1, 1]);
});

test('NaN, infinity and lengths', () => {
  assert.equal(errors([NaN, Infinity, 1], [NaN, Infinity, 1]).max_abs_err, 0);
  assert.equal(errors([NaN, 1], [0, 1]).max_abs_err, Infinity);
  assert.equal(errors([Infinity], [1]).max_rel_err, Infinity);
  assert.equal(errors([-Infinity], [Infinity]).max_abs_err, Infinity);
  assert.throws(() => errors([1], [1, 2]), /expected 2 output elements, found 1/);
});

test('half-precision bits become numbers', () => {
  const bits = (...values) => new Uint8Array(Uint16Array.from(values).buffer);
  assert.deepEqual([...numbers(bits(0x3c00, 0xc000, 1, 0x7c00), 'f16')], [1, -2, 2 ** -24, Infinity]);
  assert.deepEqual([...numbers(bits(0x3f80, 0xc000), 'bf16')], [1, -2]);
});

test('missing inputs and outputs are errors', async () => {
  await assert.rejects(run(array('output:y', [4, 3], y)), /no input 'x'/);
  await assert.rejects(run(array('input:x', [4, 3], x)), /no output 'y'/);
  await assert.rejects(run(array('input:x', [3], x.slice(0, 9)), array('output:y', [4, 3], y)), /whole number of calls/);
});
