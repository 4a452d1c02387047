// Reads a WebAssembly file piece by piece as its bytes arrive. It knows sections and numbers, not what they mean.

import { damaged, WasmTorchError } from './errors.js';

/** The next piece of the file, or undefined at its end. */
export type NextChunk = () => Promise<Uint8Array | undefined>;

/** What a file that is no module begins with, and what that file is. */
const LOOKALIKES: Readonly<Record<string, string>> = {
  '3c': 'an HTML page (servers often answer a missing file with one)',
  '1f 8b': 'gzip data, which needs `Content-Encoding: gzip`',
  '50 4b': 'a zip archive, as PyTorch checkpoints are',
  '08': 'perhaps an ONNX model',
};

/** The first eight bytes of every module. */
export const HEADER = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/** One section: its id and how many bytes it has left. */
export interface Section {
  readonly id: number;
  readonly size: number;
}

export function truncated(message: string): WasmTorchError {
  return damaged(message, undefined, 'cut off');
}

export class ModuleReader {
  /** Bytes of the file read so far. */
  position = 0;
  /** Where the section at hand ends, or the header. */
  end = 8;
  readonly #next: NextChunk;
  #chunk: Uint8Array = new Uint8Array();

  constructor(next: NextChunk) {
    this.#next = next;
  }

  /** The next section, or undefined at the end of the file. The first call reads the header; throws unless it is a module's. */
  async section(): Promise<Section | undefined> {
    if (this.position === 0) {
      const parts: Uint8Array[] = [];
      await this.pieces(8, (piece) => parts.push(piece)).catch(() => {});
      const head = concatenate(parts);
      if (!head.every((byte, i) => byte === HEADER[i])) {
        const found = hex(head, ' ');
        const what = Object.entries(LOOKALIKES).find(([start]) => found.startsWith(start))?.[1];
        throw new WasmTorchError('invalid-module', `Not a WebAssembly module: expected it to begin with ${hex(HEADER, ' ')}, found ${found}${what ? `: ${what}` : ''}.`, 'pass the .wasm that `wasm-torch export` wrote');
      }
      if (head.length < 8) throw this.#ended();
    }
    if (!(await this.#fill())) return undefined;
    this.end = this.position + 2;
    const id = (await this.bytes(1))[0]!;
    const size = await this.number();
    this.end = this.position + size;
    return { id, size };
  }

  /** A LEB128 number of 32 bits; of a signed one the unsigned number with the same bits, as addresses are. */
  async number(signed?: boolean): Promise<number> {
    let value = 0;
    for (let shift = 0; ; ) {
      const byte = (await this.bytes(1))[0]!;
      value |= (byte & 0x7f) << shift;
      shift += 7;
      if (byte > 0x7f && shift < 35) continue;
      return (signed && shift < 32 && byte & 0x40 ? value | (-1 << shift) : value) >>> 0;
    }
  }

  /** The next `count` bytes: a view where one piece holds them, else a copy. */
  async bytes(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const parts: Uint8Array[] = [];
    await this.pieces(count, (piece) => parts.push(piece));
    return (parts.length === 1 ? parts[0]! : concatenate(parts)) as Uint8Array<ArrayBuffer>;
  }

  /** Hands the next `count` bytes to `take`, piece by piece. */
  async pieces(count: number, take: (piece: Uint8Array) => void): Promise<void> {
    for (const end = this.position + count; this.position < end; ) {
      if (!(await this.#fill())) throw this.#ended();
      const piece = this.#chunk.subarray(0, end - this.position);
      this.#chunk = this.#chunk.subarray(piece.length);
      this.position += piece.length;
      take(piece);
    }
  }

  /** Makes sure that a byte is there; false at the end of the file. */
  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const chunk = await this.#next();
      if (chunk === undefined) return false;
      this.#chunk = chunk;
    }
    return true;
  }

  #ended(): WasmTorchError {
    return truncated(`The part at hand needs ${this.end} bytes, the module ends after ${this.position}.`);
  }
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
