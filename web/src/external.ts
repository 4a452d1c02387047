// Fetches weights that lie beside the module in chunks. A chunk that broke off is fetched again; good ones are not.

import { messageOf, WasmTorchError } from './errors.js';
import type { WeightsCheck } from './integrity.js';
import type { Manifest } from './manifest.js';
import { type OpenAddress, openSource, type OpenOptions } from './source.js';

/** How often one chunk is tried. */
const ATTEMPTS = 3;

export interface ExternalOptions extends OpenOptions {
  readonly onBytes: (bytes: number) => void;
  readonly weights: WeightsCheck;
}

/** Writes every chunk to its place after the weights' base. `base` is the address that the files are relative to. */
export async function fetchExternalWeights(manifest: Manifest, memory: WebAssembly.Memory, base: string | undefined, open: OpenAddress, options: ExternalOptions): Promise<void> {
  if (base === undefined) {
    throw new WasmTorchError('invalid-argument', 'The weights lie in files beside the module, whose address is unknown.', 'load it from an address, or pass {weightsUrl}');
  }
  const { weights_base, weights_bytes } = manifest.memory;
  const { chunks } = manifest.external_weights!;
  const { signal, onBytes, weights } = options;
  let address = weights_base;
  for (const { file, bytes } of chunks) {
    const url = beside(base, file);
    const fetchChunk = async () => {
      const opened = await openSource(url, open, options);
      let at = 0;
      try {
        for (let piece; (piece = await opened.next()) !== undefined; ) {
          if (at + piece.length > bytes) throw new Error(`it is longer than ${bytes} bytes`);
          // Memory that has grown is another buffer.
          new Uint8Array(memory.buffer).set(piece, address + at);
          at += piece.length;
          onBytes(piece.length);
        }
        if (at < bytes) throw new Error(`found ${at} of ${bytes} bytes`);
        // What was changed is not kept in a cache. The last file leaves out zeros at the end.
        weights.written(file === chunks.at(-1)!.file ? weights_base + weights_bytes : address + bytes);
        await weights.matched();
      } catch (cause) {
        onBytes(-at);
        await opened.settle(false);
        if (cause instanceof WasmTorchError) throw cause;
        throw new WasmTorchError('fetch-failed', `${url}: ${messageOf(cause)}.`, 'put the files that `export` wrote beside the module', cause);
      }
      await opened.settle(true);
    };
    for (let attempt = 1; ; attempt++) {
      try {
        await fetchChunk();
        break;
      } catch (error) {
        signal?.throwIfAborted();
        if (attempt === ATTEMPTS || (error as WasmTorchError).code === 'corrupted') throw error;
        await new Promise((resolve) => setTimeout(resolve, 200 * attempt));
      }
    }
    address += bytes;
  }
}

/** The file's address in the folder of `base`, which in Node may be a path. */
function beside(base: string, file: string): string {
  return /^[a-z]+:/.test(base) ? new URL(file, base).href : base.slice(0, base.lastIndexOf('/') + 1) + file;
}
