// Writes one square f32 matrix product as ONNX with its golden file, for the share of the roof that one kernel reaches.
//
// usage: node tests/bench/matmul.mjs N FOLDER        writes FOLDER/matmul_N.onnx and FOLDER/matmul_N.npz

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { unsigned } from '../../web/test/wasm.mjs';

const bytesOf = (text) => Buffer.from(text, 'utf8');
const raw = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/** Protobuf fields: a number as a varint, bytes, text and messages with their length. */
const number = (field, value) => Buffer.from([...unsigned(field * 8), ...unsigned(value)]);
const block = (field, ...parts) => {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? bytesOf(part) : part)));
  return Buffer.concat([Buffer.from([...unsigned(field * 8 + 2), ...unsigned(body.length)]), body]);
};

/** `y = x · weight` with x [n,n] and the weight held in the model, as a Linear layer has it. */
export function matmulOnnx(n, weight) {
  const float = 1;
  const shape = block(2, block(1, number(1, n)), block(1, number(1, n)));
  const value = (field, name) => block(field, block(1, name), block(2, block(1, number(1, float), shape)));
  const node = block(1, block(1, 'x'), block(1, 'weight'), block(2, 'y'), block(3, 'matmul'), block(4, 'MatMul'));
  const initializer = block(5, number(1, n), number(1, n), number(2, float), block(8, 'weight'), block(9, raw(weight)));
  const graph = block(7, node, block(2, `matmul_${n}`), initializer, value(11, 'x'), value(12, 'y'));
  return Buffer.concat([number(1, 8), block(2, 'wasm-torch'), graph, block(8, number(2, 17))]);
}

/** An f32 array as a .npy file. */
function npy(shape, values) {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`.padEnd(117) + '\n';
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.from([header.length, 0]), bytesOf(header), raw(values)]);
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Files by name as a zip archive, stored. */
export function zip(files) {
  const words = (...pairs) => Buffer.concat(pairs.map(([size, value]) => {
    const bytes = Buffer.alloc(size);
    bytes.writeUIntLE(value, 0, size);
    return bytes;
  }));
  const [locals, directory] = [[], []];
  let offset = 0;
  for (const [name, bytes] of Object.entries(files)) {
    // Version 2.0, no flags, stored, 1980-01-01, checksum, both sizes, length of the name, no extra field.
    const common = words([2, 20], [2, 0], [2, 0], [2, 0], [2, 33], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, name.length], [2, 0]);
    const local = Buffer.concat([words([4, 0x04034b50]), common, bytesOf(name), bytes]);
    directory.push(Buffer.concat([words([4, 0x02014b50], [2, 20]), common, words([2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), bytesOf(name)]));
    locals.push(local);
    offset += local.length;
  }
  const entries = Buffer.concat(directory);
  const count = directory.length;
  return Buffer.concat([...locals, entries, words([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, entries.length], [4, offset], [2, 0])]);
}

/** Values in [-1, 1), the same every time. */
export function values(count, seed) {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** x · w, summed in f64. */
function product(n, x, w) {
  const y = new Float32Array(n * n);
  const row = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    row.fill(0);
    for (let k = 0; k < n; k++) for (let j = 0; j < n; j++) row[j] += x[i * n + k] * w[k * n + j];
    y.set(row, i * n);
  }
  return y;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [n, folder] = [Number(process.argv[2]), process.argv[3]];
  if (!Number.isInteger(n) || n < 1 || folder === undefined) {
    console.error('usage: node tests/bench/matmul.mjs N FOLDER');
    process.exit(1);
  }
  const [x, weight] = [values(n * n, 1), values(n * n, 2)];
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `matmul_${n}.onnx`), matmulOnnx(n, weight));
  await writeFile(join(folder, `matmul_${n}.npz`), zip({ 'input:x.npy': npy([n, n], x), 'output:y.npy': npy([n, n], product(n, x, weight)) }));
}
