// Checks weights against the manifest's SHA-256 hashes, MiB by MiB, as they arrive in memory. It copies no weights but the MiB at hand.

import { WasmTorchError } from './errors.js';
import type { Manifest } from './manifest.js';
import { hex } from './stream.js';

const MEBIBYTE = 1 << 20;

/** Why hashes cannot be computed here, if so. */
export function whyNoIntegrity(): Record<string, string> {
  return globalThis.crypto?.subtle ? {} : { integrity: 'the weights were not checked, which needs https or localhost' };
}

export interface WeightsCheck {
  /** Everything from the weights' base up to the address `end` is in memory. Throws when an earlier part was wrong. */
  written(end: number): void;
  /** Waits for the hashes of what was written. Throws the first mismatch. */
  matched(): Promise<unknown>;
}

/** Without `enabled` nothing is checked. */
export function weightsCheck(wasm: WebAssembly.Memory, { memory: { weights_base, weights_bytes }, weights_sha256 }: Manifest, enabled: boolean): WeightsCheck {
  const pending: Promise<void>[] = [];
  let failure: unknown;
  const check = async (start: number, end: number, hash: string) => {
    // Memory that has grown is another buffer.
    const { buffer } = wasm;
    const view = new Uint8Array(buffer, weights_base, weights_bytes).subarray(start, end);
    // Hashes of shared memory are not allowed, but of a copy of this MiB.
    const bytes = buffer instanceof ArrayBuffer ? view : view.slice();
    const found = hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)));
    if (found !== hash) throw new WasmTorchError('corrupted', `The weights were changed: bytes ${start} to ${end} have SHA-256 ${found}, the manifest says ${hash}.`, 'load it again, past caches');
  };
  return {
    written(address) {
      for (;;) {
        const start = pending.length * MEBIBYTE;
        const end = Math.min(start + MEBIBYTE, weights_bytes);
        const hash = enabled && weights_sha256?.[pending.length];
        if (!hash || address - weights_base < end) break;
        const checking = check(start, end, hash);
        pending.push(checking);
        checking.catch((error) => (failure = error));
      }
      if (failure) throw failure;
    },
    matched: () => Promise.all(pending),
  };
}
