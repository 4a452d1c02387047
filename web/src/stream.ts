// The beginning of a module's file as its bytes arrive: from a source of bytes to its manifest and what follows. It reads no parts.

import { damaged, WasmTorchError } from './errors.js';
import { type Manifest, MANIFEST_NAME, parseManifest } from './manifest.js';
import type { Opened } from './source.js';

/** What a file that is no module begins with, and what that file is. */
const LOOKALIKES: Readonly<Record<string, string>> = {
  '3c': 'an HTML page (servers often answer a missing file with one)',
  '1f 8b': 'gzip data, which needs `Content-Encoding: gzip`',
  '50 4b': 'a zip archive, as PyTorch checkpoints are',
  '08': 'perhaps an ONNX model',
};

/** The first eight bytes of every module. */
export const HEADER = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/** A file whose manifest is known. `next` goes on behind the manifest's section. */
export interface ModuleFile extends Opened {
  readonly manifest: Manifest;
  /** Bytes up to there. */
  readonly position: number;
}

/** Reads a file up to its manifest, which is its first section. */
export async function readBeginning(opened: Opened): Promise<ModuleFile> {
  let head = new Uint8Array();
  for (;;) {
    const found = beginning(head);
    if (found !== undefined) {
      let rest: Uint8Array | undefined = head.subarray(found.position);
      const next = async () => {
        const piece = rest ?? (await opened.next());
        rest = undefined;
        return piece;
      };
      return { ...opened, ...found, next };
    }
    const piece = await opened.next();
    if (piece === undefined) throw truncated(head.length, 'the end of its manifest');
    head = concatenate([head, piece]);
  }
}

/** The manifest in the bytes of a module file. */
export function readManifest(bytes: Uint8Array): Manifest {
  return beginning(bytes)?.manifest ?? parseManifest(undefined);
}

/** The manifest and where its section ends; undefined when the bytes end before. Throws unless they begin as a module of ours does. */
function beginning(bytes: Uint8Array): { manifest: Manifest; position: number } | undefined {
  const head = bytes.subarray(0, HEADER.length);
  if (!head.every((byte, i) => byte === HEADER[i])) {
    const found = hex(head, ' ');
    const what = Object.entries(LOOKALIKES).find(([start]) => found.startsWith(start))?.[1];
    throw new WasmTorchError('invalid-module', `Not a WebAssembly module: expected it to begin with ${hex(HEADER, ' ')}, found ${found}${what ? `: ${what}` : ''}.`, 'pass the .wasm that `wasm-torch export` wrote');
  }
  let at = HEADER.length + 1;
  let size = 0;
  for (let scale = 1, byte = 0x80; byte >= 0x80; scale *= 0x80) {
    byte = bytes[at++] ?? 0;
    size += (byte & 0x7f) * scale;
  }
  const contents = at + MANIFEST_NAME.length;
  if (contents > bytes.length) return;
  // A foreign module is refused before its first section is there.
  const named = new TextDecoder().decode(bytes.subarray(at, contents)) === MANIFEST_NAME;
  const position = at + size;
  if (named && position > bytes.length) return;
  return { manifest: parseManifest(named ? bytes.subarray(contents, position) : undefined), position };
}

/** A file that ends too early. */
export function truncated(found: number, expected: string): WasmTorchError {
  return damaged(`The file ends after ${found} bytes, before ${expected}.`, undefined, 'cut off');
}

/** Bytes as pairs of digits. */
export function hex(bytes: Uint8Array, between = ''): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(between);
}

/** The parts one after the other, in a buffer of their own. */
export function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
