// Reads a file ahead of whoever takes it, so that it arrives while a worker starts, and looks at its manifest. It drops nothing.

import { type Manifest, readManifest } from './manifest.js';
import type { Opened } from './source.js';
import { concatenate } from './stream.js';

/** Bytes that are held at most, give or take a piece. */
const LIMIT = 16 << 20;

export class Ahead implements Opened {
  readonly owned: boolean;
  readonly url: string | undefined;
  readonly total: number | undefined;
  readonly fromCache: boolean;
  readonly settle: (good: boolean) => Promise<void>;
  readonly #opened: Opened;
  readonly #held: Uint8Array[] = [];
  #bytes = 0;
  #reading = false;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #wake = () => {};

  constructor(opened: Opened) {
    ({ owned: this.owned, url: this.url, total: this.total, fromCache: this.fromCache, settle: this.settle } = opened);
    this.#opened = opened;
    void this.#read();
  }

  readonly next = async (): Promise<Uint8Array | undefined> => {
    while (this.#held.length === 0 && !this.#ended) await this.#more();
    const piece = this.#held.shift();
    this.#bytes -= piece?.length ?? 0;
    if (piece === undefined && this.#failure !== undefined) throw this.#failure.error;
    void this.#read();
    return piece;
  };

  /** The manifest, if the file begins with one as it should. */
  async manifest(): Promise<Manifest | undefined> {
    for (;;) {
      const beginning = concatenate(this.#held);
      if (beginning.length >= firstSectionEnd(beginning)) {
        try {
          return readManifest(beginning);
        } catch {
          // Whoever loads the file words it better.
          return undefined;
        }
      }
      if (this.#ended) return undefined;
      await this.#more();
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  async #read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    while (!this.#ended && this.#bytes < LIMIT) {
      try {
        const piece = await this.#opened.next();
        if (piece === undefined) this.#ended = true;
        else this.#bytes += this.#held.push(piece) && piece.length;
      } catch (error) {
        this.#failure = { error };
        this.#ended = true;
      }
      this.#wake();
    }
    this.#reading = false;
  }
}

/** Where the first section ends: after id and length at byte 8. */
function firstSectionEnd(bytes: Uint8Array): number {
  let size = 0;
  for (let at = 9, bits = 0; at < bytes.length; at++, bits += 7) {
    size += (bytes[at]! & 0x7f) * 2 ** bits;
    if (bytes[at]! < 0x80) return at + 1 + size;
  }
  return Infinity;
}
