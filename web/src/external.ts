// Fetches weights that lie beside the module in chunks. A chunk that broke off is fetched again; finished ones are not.

import { messageOf, WasmTorchError } from './errors.js';
import type { Manifest } from './manifest.js';
import { type OpenAddress, openSource, type OpenOptions } from './source.js';

/** How often one chunk is tried. */
const ATTEMPTS = 3;

export interface ExternalOptions extends OpenOptions {
  readonly onBytes: (bytes: number) => void;
  /** Everything below this address is in memory. */
  readonly written: (address: number) => void;
}

/** Writes every chunk to its place after the weights' base. `base` is the address that the files are relative to. */
export async function fetchExternalWeights(manifest: Manifest, memory: WebAssembly.Memory, base: string | undefined, open: OpenAddress, options: ExternalOptions): Promise<void> {
  if (base === undefined) {
    throw new WasmTorchError('invalid-argument', 'The weights lie in files beside the module, whose address is unknown.', 'load it from an address, or pass {weightsUrl}');
  }
  let address = manifest.memory.weights_base;
  for (const { file, bytes } of manifest.external_weights!.chunks) {
    const target = new Uint8Array(memory.buffer, address, bytes);
    const url = beside(base, file);
    for (let attempt = 1; ; attempt++) {
      try {
        await fetchChunk(url, target, open, options);
        break;
      } catch (error) {
        options.signal?.throwIfAborted();
        if (attempt === ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200 * attempt));
      }
    }
    address += bytes;
    options.written(address);
  }
}

async function fetchChunk(url: string, target: Uint8Array, open: OpenAddress, options: ExternalOptions): Promise<void> {
  const opened = await openSource(url, open, options);
  let at = 0;
  try {
    for (let piece; (piece = await opened.next()) !== undefined; ) {
      if (at + piece.length > target.length) throw new Error(`it is longer than ${target.length} bytes`);
      target.set(piece, at);
      at += piece.length;
      options.onBytes(piece.length);
    }
    if (at < target.length) throw new Error(`found ${at} of ${target.length} bytes`);
  } catch (cause) {
    options.onBytes(-at);
    await opened.settle(false);
    options.signal?.throwIfAborted();
    throw new WasmTorchError('fetch-failed', `${url}: ${messageOf(cause)}.`, 'put the files that `export` wrote beside the module', cause);
  }
  await opened.settle(true);
}

/** The file's address in the folder of `base`, which in Node may be a path. */
function beside(base: string, file: string): string {
  return /^[a-z]+:/.test(base) ? new URL(file, base).href : base.slice(0, base.lastIndexOf('/') + 1) + file;
}
