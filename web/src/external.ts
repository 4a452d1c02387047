// Fetches weights that lie beside the module in chunks. A chunk that broke off is fetched again; good ones are not.

import { WasmTorchError } from './errors.js';
import type { WeightsCheck } from './integrity.js';
import type { Manifest } from './manifest.js';
import { type Again, type OpenAddress, type Opened, type OpenOptions, withOpened } from './source.js';

/** How often one chunk is tried. */
const ATTEMPTS = 3;

export interface ExternalOptions extends OpenOptions {
  readonly onBytes: (bytes: number) => void;
  readonly weights: WeightsCheck;
}

/** What was changed will not be another time. */
const again: Again = ({ code }, attempts) => attempts < ATTEMPTS && code !== 'corrupted';

/** Writes every chunk to its place after the weights' base. `base` is the address that the files are relative to. */
export async function fetchExternalWeights(manifest: Manifest, memory: WebAssembly.Memory, base: string | undefined, open: OpenAddress, options: ExternalOptions): Promise<void> {
  if (!base) {
    throw new WasmTorchError('invalid-argument', 'The weights lie beside the module, whose address is unknown.', 'load it from an address, or pass {weightsUrl}');
  }
  const { onBytes, weights } = options;
  const { chunks } = manifest.external_weights!;
  let address = manifest.memory.weights_base;
  for (const chunk of chunks) {
    const { file, bytes } = chunk;
    let at = 0;
    const fill = async ({ next }: Opened) => {
      // What an earlier attempt brought does not count.
      onBytes(-at);
      at = 0;
      for (let piece; (piece = await next()); at += piece.length) {
        // Memory that has grown is another buffer.
        new Uint8Array(memory.buffer).set(piece, address + at);
        onBytes(piece.length);
      }
      // What was changed is not kept in a cache. The last file leaves out zeros at the end.
      weights.written(chunk === chunks.at(-1) ? Infinity : address + bytes);
      await weights.matched();
    };
    await withOpened(beside(base, file), open, { ...options, size: bytes }, fill, again);
    address += bytes;
  }
}

/** The file's address in the folder of `base`, which in Node may be a path. */
function beside(base: string, file: string): string {
  return /^[a-z]+:/.test(base) ? new URL(file, base).href : base.slice(0, base.lastIndexOf('/') + 1) + file;
}
