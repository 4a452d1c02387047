// Finds a custom section in the bytes of a WebAssembly module. It checks the file's outline, not its code.

import { WasmTorchError } from './errors.js';

const CUSTOM = 0;

/** What a file that is no module begins with, and what that file is. */
const LOOKALIKES: readonly { starts: readonly number[]; what: string; hint: string }[] = [
  { starts: [0x89, 0x50, 0x4e, 0x47], what: 'a PNG image', hint: 'pass the .wasm that `wasm-torch export` wrote; images go in as tensors' },
  { starts: [0xff, 0xd8, 0xff], what: 'a JPEG image', hint: 'pass the .wasm that `wasm-torch export` wrote; images go in as tensors' },
  { starts: [0x3c], what: 'an HTML or XML page', hint: 'the address may be wrong: servers often answer a missing file with a page' },
  { starts: [0x1f, 0x8b], what: 'gzip data', hint: 'serve the file with `Content-Encoding: gzip`, or unpack it' },
  { starts: [0x50, 0x4b, 3, 4], what: 'a zip archive (PyTorch checkpoints are zip archives)', hint: 'export the model to ONNX, then run `wasm-torch export model.onnx`' },
  { starts: [0x08], what: 'perhaps an ONNX model', hint: 'run `wasm-torch export model.onnx` first' },
];

const truncated = (message: string) =>
  new WasmTorchError('invalid-module', message, { hint: 'the file is cut off: load or export it again' });

/** Throws unless the bytes begin like a WebAssembly module of version 1. */
function checkHeader(bytes: Uint8Array): void {
  if (bytes.length === 0) throw truncated('The module is empty: found 0 bytes.');
  const isWasm = [0x00, 0x61, 0x73, 0x6d].every((byte, i) => bytes[i] === byte || i >= bytes.length);
  if (!isWasm) {
    const lookalike = LOOKALIKES.find(({ starts }) => starts.every((byte, i) => bytes[i] === byte));
    const found = [...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    throw new WasmTorchError('invalid-module', `Not a WebAssembly module: expected it to begin with 00 61 73 6d, found ${found}${lookalike ? `: ${lookalike.what}` : ''}.`, {
      hint: lookalike?.hint ?? 'pass the .wasm that `wasm-torch export` wrote',
    });
  }
  if (bytes.length < 8) throw truncated(`The module ends after ${bytes.length} bytes, inside its header.`);
  const version = bytes[4]! | (bytes[5]! << 8) | (bytes[6]! << 16) | (bytes[7]! << 24);
  if (version !== 1) {
    throw new WasmTorchError('invalid-module', `Expected a core WebAssembly module of version 1, found version ${version}.`, {
      hint: 'WebAssembly components and drafts are not supported',
    });
  }
}

/** One section: its id and where its contents lie. */
interface Section {
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

/** The sections in file order. Throws where a section reaches past the end of the bytes. */
function* sections(bytes: Uint8Array): Generator<Section> {
  checkHeader(bytes);
  let at = 8;
  while (at < bytes.length) {
    const id = bytes[at]!;
    const [size, start] = leb(bytes, at + 1);
    if (start + size > bytes.length) {
      throw truncated(`Section ${id} at byte ${at} needs ${start + size} bytes, the module ends after ${bytes.length}.`);
    }
    at = start + size;
    yield { id, start, end: at };
  }
}

/**
 * Contents of the first custom section with this name, or undefined. Walks the whole file, so that a truncated module is
 * found out here and not by an engine's message.
 */
export function customSection(bytes: Uint8Array, name: string): Uint8Array | undefined {
  let found: Uint8Array | undefined;
  for (const { id, start, end } of sections(bytes)) {
    if (id !== CUSTOM || found !== undefined) continue;
    const [length, at] = leb(bytes, start);
    if (at + length <= end && new TextDecoder().decode(bytes.subarray(at, at + length)) === name) {
      found = bytes.subarray(at + length, end);
    }
  }
  return found;
}

/** An unsigned LEB128 number of at most 32 bits and the position after it. */
function leb(bytes: Uint8Array, at: number): [value: number, next: number] {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) throw truncated(`The module ends after ${bytes.length} bytes, inside a section's header.`);
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return [value, at + i + 1];
  }
  throw new WasmTorchError('invalid-module', `The length at byte ${at} is not a valid number.`, { hint: 'the file is damaged: load or export it again' });
}
