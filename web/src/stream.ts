// Reads a WebAssembly file piece by piece as its bytes arrive. It knows sections and numbers, not what they mean.

import { WasmTorchError } from './errors.js';

/** The next piece of the file, or undefined at its end. */
export type NextChunk = () => Promise<Uint8Array | undefined>;

/** What a file that is no module begins with, and what that file is. */
const LOOKALIKES: Readonly<Record<string, string>> = {
  '89 50': 'a PNG image',
  'ff d8': 'a JPEG image',
  '3c': 'an HTML page (servers often answer a missing file with one)',
  '1f 8b': 'gzip data, which needs `Content-Encoding: gzip`',
  '50 4b': 'a zip archive, as PyTorch checkpoints are',
  '08': 'perhaps an ONNX model',
};

const MAGIC = [0x00, 0x61, 0x73, 0x6d];

/** The first eight bytes of every module. */
export const HEADER = Uint8Array.of(...MAGIC, 1, 0, 0, 0);

/** One section: its id and where its contents end in the file. */
export interface Section {
  readonly id: number;
  readonly end: number;
}

export function truncated(message: string): WasmTorchError {
  return new WasmTorchError('invalid-module', message, { hint: 'the file is cut off: load or export it again' });
}

export function damaged(message: string): WasmTorchError {
  return new WasmTorchError('invalid-module', message, { hint: 'the file is damaged: load or export it again' });
}

export class ModuleReader {
  /** Bytes of the file read so far. */
  position = 0;
  readonly #next: NextChunk;
  #chunk: Uint8Array = new Uint8Array();
  #at = 0;
  /** What is being read and where it ends, for messages. */
  #what = 'The header';
  #end = 8;

  constructor(next: NextChunk) {
    this.#next = next;
  }

  /** Reads the header; throws unless it is that of a WebAssembly module of version 1. */
  async header(): Promise<void> {
    if (!(await this.#fill())) throw truncated('The module is empty: found 0 bytes.');
    const head = await this.#atMost(8);
    if (!MAGIC.every((byte, i) => head[i] === byte || i >= head.length)) {
      const found = hex(head.subarray(0, 4), ' ');
      const what = Object.entries(LOOKALIKES).find(([start]) => found.startsWith(start))?.[1];
      throw new WasmTorchError('invalid-module', `Not a WebAssembly module: expected it to begin with 00 61 73 6d, found ${found}${what ? `: ${what}` : ''}.`, {
        hint: 'pass the .wasm that `wasm-torch export` wrote',
      });
    }
    if (head.length < 8) throw truncated(`The module ends after ${head.length} bytes, inside its header.`);
    if (!HEADER.every((byte, i) => head[i] === byte)) {
      throw damaged(`Expected WebAssembly version 1, found version bytes ${hex(head.subarray(4), ' ')}.`);
    }
  }

  /** The next section's header, or undefined at the end of the file. */
  async section(): Promise<Section | undefined> {
    if (!(await this.#fill())) return undefined;
    const start = this.position;
    this.#what = `The header of the section at byte ${start}`;
    this.#end = start + 2;
    const id = await this.byte();
    const size = await this.unsigned();
    this.#what = `Section ${id} at byte ${start}`;
    this.#end = this.position + size;
    return { id, end: this.#end };
  }

  async byte(): Promise<number> {
    if (!(await this.#fill())) throw this.#ended();
    this.position += 1;
    return this.#chunk[this.#at++]!;
  }

  /** An unsigned LEB128 number of at most 32 bits. */
  async unsigned(): Promise<number> {
    return (await this.#leb())[0];
  }

  /** A signed LEB128 number of at most 32 bits, as the unsigned number with the same bits: an address. */
  async address(): Promise<number> {
    const [value, bits] = await this.#leb();
    const negative = bits < 35 && value >= 2 ** (bits - 1);
    return (negative ? value - 2 ** bits : value) >>> 0;
  }

  async #leb(): Promise<[value: number, bits: number]> {
    let value = 0;
    const start = this.position;
    for (let bits = 0; bits < 35; bits += 7) {
      const byte = await this.byte();
      value += (byte & 0x7f) * 2 ** bits;
      if (byte < 0x80) return [value, bits + 7];
    }
    throw damaged(`The number at byte ${start} is longer than 32 bits.`);
  }

  /** The next `count` bytes: a view where one piece holds them, else a copy. */
  async bytes(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await this.#atMost(count);
    if (bytes.length < count) throw this.#ended();
    return bytes as Uint8Array<ArrayBuffer>;
  }

  /** Hands the next `count` bytes to `take`, piece by piece. */
  async pieces(count: number, take: (piece: Uint8Array) => void): Promise<void> {
    for (let left = count; left > 0; ) {
      if (!(await this.#fill())) throw this.#ended();
      const piece = this.#chunk.subarray(this.#at, this.#at + left);
      this.#at += piece.length;
      this.position += piece.length;
      left -= piece.length;
      take(piece);
    }
  }

  /** Up to `count` bytes; fewer only at the end of the file. */
  async #atMost(count: number): Promise<Uint8Array> {
    if (this.#chunk.length - this.#at >= count) {
      this.position += count;
      return this.#chunk.subarray(this.#at, (this.#at += count));
    }
    const parts: Uint8Array[] = [];
    let length = 0;
    while (length < count && (await this.#fill())) {
      const piece = this.#chunk.subarray(this.#at, this.#at + count - length);
      parts.push(piece);
      this.#at += piece.length;
      length += piece.length;
    }
    this.position += length;
    return concatenate(parts);
  }

  /** Makes sure that a byte is there; false at the end of the file. */
  async #fill(): Promise<boolean> {
    while (this.#at === this.#chunk.length) {
      const chunk = await this.#next();
      if (chunk === undefined) return false;
      this.#chunk = chunk;
      this.#at = 0;
    }
    return true;
  }

  #ended(): WasmTorchError {
    return truncated(`${this.#what} needs ${this.#end} bytes, the module ends after ${this.position}.`);
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
