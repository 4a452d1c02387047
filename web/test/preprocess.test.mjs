// Pictures to tensors, and outputs to answers: against values worked out by hand or by torchvision.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createTensor, imageToTensor, PerformanceMonitor, softmax, topK, WASMTorch, WasmTorchError } from 'wasm-torch';

import { doubleModule } from './double.mjs';

const near = (actual, expected, tolerance = 1e-6) => actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= tolerance, `${i}: ${value}, expected ${expected[i]}`));

/** Two by two pixels: red, green; blue, white. */
const image = { width: 2, height: 2, data: Uint8Array.of(255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 255) };

test('layouts, mean and std', () => {
  const nchw = imageToTensor(image);
  assert.deepEqual([...nchw.shape], [1, 3, 2, 2]);
  assert.deepEqual([...nchw.data], [1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1]);
  const nhwc = imageToTensor(image, { layout: 'nhwc', mean: [0, 0.5, 1], std: [1, 0.5, 2] });
  assert.deepEqual([...nhwc.shape], [1, 2, 2, 3]);
  near(nhwc.data, [1, -1, -0.5, 0, 1, -0.5, 0, -1, 0, 1, 1, 0]);
});

test('one channel is the luma', () => {
  near(imageToTensor(image, { channels: 1 }).data, [0.299, 0.587, 0.114, 1]);
});

test('resizing averages where it shrinks and interpolates where it grows, as torchvision does', () => {
  near(imageToTensor(image, { size: 1 }).data, [0.5, 0.5, 0.5]);
  // torchvision's Resize(4, antialias=True) of the red channel's first row [1, 0].
  near(imageToTensor(image, { size: 4 }).data.slice(0, 4), [1, 0.75, 0.25, 0]);
});

test('cropping takes the middle', () => {
  const wide = { width: 4, height: 2, data: new Uint8Array(32).map((_, i) => (Math.floor(i / 4) % 4) * 50) };
  assert.deepEqual([...imageToTensor(wide, { size: 2, fit: 'crop', channels: 3 }).data.slice(0, 2)].map((value) => Math.round(value * 255)), [50, 100]);
});

test('other images need a canvas', () => {
  assert.throws(() => imageToTensor({ width: 2, height: 2 }), (error) => error instanceof WasmTorchError && /canvas/.test(error.message));
});

test('softmax along the last dimension, of large values too', () => {
  const { data, shape } = softmax(createTensor([[1000, 1000], [0, Math.log(3)]]));
  assert.deepEqual([...shape], [2, 2]);
  near(data, [0.5, 0.5, 0.25, 0.75]);
});

test('topK: largest first, the first of equal ones, NaN last', () => {
  const labels = ['a', 'b', 'c', 'd', 'e'];
  const found = topK(createTensor([2, NaN, 5, 2, 9]), 4, labels);
  assert.deepEqual(found.map(({ index }) => index), [4, 2, 0, 3]);
  assert.deepEqual(found[0], { index: 4, value: 9, label: 'e' });
  assert.equal(topK(createTensor([3n, 7n]))[0].value, 7);
  assert.throws(() => topK(createTensor(Uint16Array.of(1), [1], 'f16')), /bits/);
});

test('a monitor sees the calls of its model until it is stopped', async () => {
  const model = await (await WASMTorch.init()).loadModel(doubleModule());
  const monitor = new PerformanceMonitor(model, { window: 4 });
  assert.deepEqual(monitor.stats(), { calls: 0, throughput: 0, mean: 0, p50: 0, p95: 0, p99: 0 });
  for (let i = 0; i < 6; i++) await model.forward(createTensor(new Float32Array(6), [2, 3]));
  await model.warmup(2);
  const { calls, throughput, p50, p95, p99 } = monitor.stats();
  assert.equal(calls, 6);
  assert.ok(throughput > 0 && p50 > 0 && p50 <= p95 && p95 <= p99);
  monitor.stop();
  await model.forward(createTensor(new Float32Array(6), [2, 3]));
  assert.equal(monitor.stats().calls, 6);
});
