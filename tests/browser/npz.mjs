// Reads NumPy's .npz and .npy files (little-endian, C order, stored or deflated). It writes none.

import { readFile } from 'node:fs/promises';
import { inflateRawSync } from 'node:zlib';

/** NumPy type → short name of the element type. */
const DTYPES = {
  'f2': 'f16', 'f4': 'f32', 'f8': 'f64',
  'i1': 'i8', 'i2': 'i16', 'i4': 'i32', 'i8': 'i64',
  'u1': 'u8', 'u2': 'u16', 'u4': 'u32', 'u8': 'u64',
  'b1': 'bool',
};

/** Arrays by name, in file order: a Map of `{dtype, shape, bytes}`. */
export async function readNpz(path) {
  const entries = unzip(await readFile(path), path);
  return new Map([...entries].map(([name, bytes]) => [name.replace(/\.npy$/, ''), parseNpy(bytes, `${path}: ${name}`)]));
}

/** One array from the contents of a .npy file. */
export function parseNpy(file, where) {
  if (file.subarray(1, 6).toString('latin1') !== 'NUMPY') throw new Error(`${where}: not a .npy file`);
  const wide = file[6] >= 2;
  const start = wide ? 12 : 10;
  const end = start + (wide ? file.readUInt32LE(8) : file.readUInt16LE(8));
  const header = file.subarray(start, end).toString('latin1');
  const [, order, type] = /'descr': *'([<>|=])(\w+)'/.exec(header) ?? [];
  const dtype = DTYPES[type];
  const dims = /'shape': *\(([^)]*)\)/.exec(header)?.[1];
  if (dtype === undefined || order === '>' || dims === undefined) throw new Error(`${where}: unsupported array ${header.trim()}`);
  if (/'fortran_order': *True/.test(header)) throw new Error(`${where}: Fortran order is not supported; save with numpy.ascontiguousarray`);
  const shape = dims.split(',').filter((dim) => dim.trim() !== '').map(Number);
  // A copy of its own: typed arrays need aligned storage.
  return { dtype, shape, bytes: new Uint8Array(file.subarray(end)) };
}

/** Contents by file name, read through the central directory. */
function unzip(zip, path) {
  const last = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (last < 0) throw new Error(`${path}: not a zip archive, or cut off`);
  const files = new Map();
  let at = zip.readUInt32LE(last + 16);
  for (let rest = zip.readUInt16LE(last + 10); rest > 0; rest--) {
    const method = zip.readUInt16LE(at + 10);
    const packed = zip.readUInt32LE(at + 20);
    const nameLength = zip.readUInt16LE(at + 28);
    const local = zip.readUInt32LE(at + 42);
    const name = zip.subarray(at + 46, at + 46 + nameLength).toString('utf8');
    // The local header repeats the name and has an extra field of its own length.
    const data = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const bytes = zip.subarray(data, data + packed);
    if (method !== 0 && method !== 8) throw new Error(`${path}: ${name}: compression method ${method} is not supported`);
    files.set(name, method === 8 ? inflateRawSync(bytes) : bytes);
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return files;
}
