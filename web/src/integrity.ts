// Checks weights against the manifest's SHA-256 hashes, MiB by MiB, as they arrive in memory. It copies no weights but the MiB at hand.

import { WasmTorchError } from './errors.js';
import type { Manifest } from './manifest.js';
import { hex } from './stream.js';

const MEBIBYTE = 1 << 20;

/** Why hashes cannot be computed here, if so. */
export function whyNoIntegrity(): string | undefined {
  return globalThis.crypto?.subtle ? undefined : 'the weights were not checked: crypto.subtle is missing (the page is not a secure context)';
}

export class WeightsCheck {
  readonly #memory: WebAssembly.Memory;
  readonly #hashes: readonly string[];
  readonly #base: number;
  readonly #bytes: number;
  readonly #pending: Promise<void>[] = [];
  #next = 0;
  #failure: WasmTorchError | undefined;

  /** Without `enabled` nothing is checked. */
  constructor(memory: WebAssembly.Memory, manifest: Manifest, enabled: boolean) {
    this.#memory = memory;
    this.#hashes = enabled && whyNoIntegrity() === undefined ? (manifest.weights_sha256 ?? []) : [];
    this.#base = manifest.memory.weights_base;
    this.#bytes = manifest.memory.weights_bytes;
  }

  /** Everything from the weights' base up to the address `end` is in memory. Throws when an earlier part was wrong. */
  written(end: number): void {
    while (this.#next < this.#hashes.length && end - this.#base >= Math.min((this.#next + 1) * MEBIBYTE, this.#bytes)) {
      this.#pending.push(this.#check(this.#next++));
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Waits for all hashes; memory beyond what was written counts as zeros. Throws the first mismatch. */
  async finish(): Promise<void> {
    this.written(this.#base + this.#bytes);
    await Promise.all(this.#pending);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #check(index: number): Promise<void> {
    const start = index * MEBIBYTE;
    const end = Math.min(start + MEBIBYTE, this.#bytes);
    const view = new Uint8Array(this.#memory.buffer, this.#base + start, end - start);
    // Hashes of shared memory are not allowed: a copy of this MiB.
    const bytes = this.#memory.buffer instanceof ArrayBuffer ? view : view.slice();
    const found = hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)));
    if (found !== this.#hashes[index]) {
      this.#failure ??= new WasmTorchError('corrupted', `The weights were changed: bytes ${start} to ${end} have SHA-256 ${found}, the manifest says ${this.#hashes[index]}.`, {
        hint: 'load it again, past caches',
      });
    }
  }
}
