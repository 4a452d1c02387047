// Writes small ONNX models and .npz files byte by byte, for benchmarks of single operators. It validates nothing.

import { unsigned } from '../../web/test/wasm.mjs';

const bytesOf = (text) => Buffer.from(text, 'utf8');
const raw = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/** Protobuf fields: a number as a varint, bytes, text and messages with their length. */
const number = (field, value) => Buffer.from([...unsigned(field * 8), ...unsigned(value)]);
const block = (field, ...parts) => {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? bytesOf(part) : part)));
  return Buffer.concat([Buffer.from([...unsigned(field * 8 + 2), ...unsigned(body.length)]), body]);
};

const FLOAT = 1;
/** Field of AttributeProto and its type, by the kind of a value. */
const ATTRIBUTES = {
  int: (value) => [number(3, value), number(20, 2)],
  float: (value) => [Buffer.from([2 * 8 + 5]), raw(Float32Array.of(value)), number(20, 1)],
  string: (value) => [block(4, value), number(20, 3)],
  ints: (value) => [...value.map((v) => number(8, v)), number(20, 7)],
};

/**
 * A model of f32 tensors. `nodes` are `{op, inputs, outputs, attributes: {name: {int|float|string|ints}}}`, `inputs` and
 * `outputs` `{name: shape}`, `weights` `{name: {shape, values}}` (`values` of i64 where they are BigInts).
 */
export function onnxModel({ name, opset = 17, nodes, inputs, outputs, weights = {} }) {
  const value = (field) => ([tensor, shape]) => block(field, block(1, tensor), block(2, block(1, number(1, FLOAT), block(2, ...shape.map((d) => block(1, number(1, d)))))));
  const attribute = ([key, kinds]) => block(5, block(1, key), ...Object.entries(kinds).flatMap(([kind, v]) => ATTRIBUTES[kind](v)));
  const node = ({ op, inputs, outputs, attributes = {} }) =>
    block(1, ...inputs.map((i) => block(1, i)), ...outputs.map((o) => block(2, o)), block(3, op), block(4, op), ...Object.entries(attributes).map(attribute));
  const weight = ([key, { shape, values }]) =>
    block(5, ...shape.map((d) => number(1, d)), number(2, values instanceof BigInt64Array ? 7 : FLOAT), block(8, key), block(9, raw(values)));
  const graph = block(7, ...nodes.map(node), block(2, name), ...Object.entries(weights).map(weight), ...Object.entries(inputs).map(value(11)), ...Object.entries(outputs).map(value(12)));
  return Buffer.concat([number(1, 10), block(2, 'wasm-torch'), graph, block(8, number(2, opset))]);
}

/** An f32 array as a .npy file. */
export function npy(shape, values) {
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
