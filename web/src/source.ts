// From any source to pieces of bytes as they arrive. It does not look into them.

import { unlessAborted } from './abort.js';
import { type CacheOption, type CachedResponse, openCached } from './cache.js';
import { messageOf, WasmTorchError } from './errors.js';

/** A URL; in Node also a path. */
export type Address = string | URL;

/** Where a module's bytes come from. */
export type ByteSource = Address | Response | ArrayBuffer | ArrayBufferView;

/** Where a module comes from: an address, the answer of a fetch, bytes, or a module compiled before. */
export type ModuleSource = ByteSource | WebAssembly.Module;

/** Opens an address. Each platform has its own. */
export type OpenAddress = (address: Address, signal?: AbortSignal) => Promise<Response>;

/** The next piece of a file, or undefined at its end. */
export type NextChunk = () => Promise<Uint8Array | undefined>;

/** A file whose bytes are on their way. */
export interface Opened {
  readonly next: NextChunk;
  /** Whether the pieces are a caller's and may not be given away. */
  readonly held?: boolean;
  /** Where further files are looked for, if it is known. */
  readonly url?: string | undefined;
  /** The file's size, if it is known. */
  readonly total?: number | undefined;
  /** Gives up what is on its way or turned out wrong; whether that came from a cache. */
  readonly drop?: () => Promise<boolean | undefined>;
}

/** Whether to open a source once more, after so many attempts of which the last failed. */
export type Again = (error: WasmTorchError, attempts: number, fromCache: boolean | undefined) => boolean | undefined;

/** Opens `source` for `use`. What came damaged out of a cache is opened once more, unless told otherwise. */
export async function withOpened<T>(source: ByteSource, open: OpenAddress, options: OpenOptions, use: (opened: Opened) => Promise<T>, again: Again = (_, attempts, fromCache) => fromCache && attempts === 1): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    let opened: Opened | undefined;
    try {
      opened = await openSource(source, open, options);
      return await use(opened);
    } catch (error) {
      const fromCache = await opened?.drop?.();
      options.signal?.throwIfAborted();
      if (!again(error as WasmTorchError, attempts, fromCache)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200 * attempts));
    }
  }
}

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  readonly cache?: CacheOption | undefined;
  /** Milliseconds without a byte after which a transfer counts as broken off: a minute unless told; 0: no limit. */
  readonly stallTimeout?: number | undefined;
  /** The size that the file must have, if it is known. */
  readonly size?: number;
}

const STALL = 60_000;

/** Bytes of a caller's that are taken at once: those that go to a worker are copied. */
const PIECE = 1 << 20;

/** Opens a source of bytes. */
export async function openSource(source: ByteSource, open: OpenAddress, options: OpenOptions): Promise<Opened> {
  // A buffer has no further buffer inside.
  const { buffer = source, byteOffset, byteLength } = Object(source) as ArrayBufferView;
  if (byteLength !== undefined) return held(new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength));
  if (source instanceof Response) return streamed({ response: source }, source.url, options);
  if (typeof source === 'string' || source instanceof URL) {
    const address = absolute(source);
    return streamed(openCached(address, () => open(address, options.signal), options.cache), address, options);
  }
  throw new WasmTorchError('invalid-argument', `Expected an address, a Response, bytes or a WebAssembly.Module, found ${source && typeof source}.`);
}

/** The address as seen from anywhere: relative ones count from the page or the worker. */
export function absolute(address: Address): string {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  return base ? new URL(address, base).href : String(address);
}

function held(bytes: Uint8Array): Opened {
  let at = 0;
  const next = async () => (at < bytes.length ? bytes.subarray(at, (at += PIECE)) : undefined);
  return { next, held: true, total: bytes.length };
}

async function streamed(opening: CachedResponse | Promise<CachedResponse>, address: string, options: OpenOptions): Promise<Opened> {
  const where = address || 'The response';
  const answered = async () => {
    const answer = await opening;
    const { status } = answer.response;
    // A part is no answer: nobody asked for a range.
    if (status !== 200) throw new Error(`expected status 200, found ${status}`);
    return answer;
  };
  const { response, drop } = await received(answered(), where, options);
  const { body, headers, url } = response;
  const reader = body?.getReader();
  const total = options.size || Number(!headers.has('Content-Encoding') && headers.get('Content-Length')) || undefined;
  let bytes = 0;
  const read = async () => {
    const piece = (await reader?.read())?.value;
    if (piece) bytes += piece.length;
    if (bytes > options.size! || (!piece && bytes < total!)) throw new Error(`found ${bytes} of ${total} bytes`);
    return piece;
  };
  return {
    next: () => received(read(), where, options),
    url: url || address,
    total,
    async drop() {
      void reader?.cancel().catch(() => {});
      return drop?.();
    },
  };
}

/** What comes over the network, if it comes in time. */
async function received<T>(coming: Promise<T>, where: string, { signal, stallTimeout = STALL }: OpenOptions): Promise<T> {
  try {
    return await unlessAborted(coming, signal, stallTimeout);
  } catch (cause) {
    throw new WasmTorchError('fetch-failed', `${where} could not be read: ${messageOf(cause)}.`, 'try again, or check the address, the network and CORS headers', cause);
  }
}
