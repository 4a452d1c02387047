// From any source to pieces of bytes as they arrive. It does not look into them.

import { unlessAborted } from './abort.js';
import { type CacheOption, type CachedResponse, openCached } from './cache.js';
import { messageOf, WasmTorchError } from './errors.js';
import type { Manifest } from './manifest.js';
import type { NextChunk } from './stream.js';

/** A URL; in Node also a path. */
export type Address = string | URL;

/** Where a module's bytes come from. */
export type ByteSource = Address | Response | ArrayBuffer | ArrayBufferView;

/** Where a module comes from: an address, the answer of a fetch, bytes, or a module compiled before. */
export type ModuleSource = ByteSource | WebAssembly.Module;

/** Opens an address. Each platform has its own. */
export type OpenAddress = (address: Address, signal?: AbortSignal) => Promise<Response>;

/** A file whose bytes are on their way. */
export interface Opened {
  readonly next: NextChunk;
  /** Whether the pieces may be given away: those of a caller's bytes may not. */
  readonly owned: boolean;
  /** Where further files are looked for. */
  readonly url: string | undefined;
  /** The file's size, if it is known. */
  readonly total: number | undefined;
  readonly fromCache: boolean;
  /** Its manifest, if it was read before. */
  manifest?: Manifest | undefined;
  /** Call once, when the bytes turned out good or not. */
  readonly settle: (good: boolean) => Promise<void>;
}

/** Opens `source` for `use`. What came damaged out of a cache is opened once more. */
export async function withOpened<T>(source: ByteSource, open: OpenAddress, options: OpenOptions, use: (opened: Opened) => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    const opened = await openSource(source, open, options);
    try {
      const result = await use(opened);
      void opened.settle(true);
      return result;
    } catch (error) {
      await opened.settle(false);
      options.signal?.throwIfAborted();
      if (!opened.fromCache || attempt > 0) throw error;
    }
  }
}

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  readonly cache?: CacheOption | undefined;
  /** Milliseconds without a byte after which a transfer counts as broken off: a minute unless told; 0: no limit. */
  readonly stallTimeout?: number | undefined;
}

const STALL = 60_000;

/** Bytes of a caller's that are taken at once: those that go to a worker are copied. */
const PIECE = 1 << 20;

const keep = async () => {};

/** Opens a source of bytes. */
export async function openSource(source: ByteSource, open: OpenAddress, options: OpenOptions): Promise<Opened> {
  if (source instanceof ArrayBuffer) return held(new Uint8Array(source));
  if (ArrayBuffer.isView(source)) return held(new Uint8Array(source.buffer, source.byteOffset, source.byteLength));
  if (typeof Response !== 'undefined' && source instanceof Response) return streamed({ response: source, fromCache: false, settle: keep }, source.url, options);
  if (typeof source === 'string' || source instanceof URL) {
    const address = absolute(source);
    const opening = async (url: Address) => {
      const response = open(url, options.signal);
      try {
        return await unlessAborted(response, undefined, options.stallTimeout ?? STALL);
      } catch (cause) {
        response.then(({ body }) => body?.cancel()).catch(() => {});
        options.signal?.throwIfAborted();
        throw new WasmTorchError('fetch-failed', `${source} could not be read: ${messageOf(cause)}.`, 'check the address, the network and, across origins, the CORS headers', cause);
      }
    };
    const cached = options.cache && /^https?:/.test(address) ? await openCached(address, opening, options.cache) : { response: await opening(address), fromCache: false, settle: keep };
    return streamed(cached, cached.response.url || address, options);
  }
  throw new WasmTorchError('invalid-argument', `A module is loaded from an address, a Response, bytes or a WebAssembly.Module; found ${source === null ? 'null' : typeof source}.`);
}

/** The address as seen from anywhere: relative ones count from the page or the worker. */
export function absolute(address: Address): string {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  return base === undefined ? String(address) : new URL(address, base).href;
}

function held(bytes: Uint8Array): Opened {
  let at = 0;
  const next = async () => (at < bytes.length ? bytes.subarray(at, (at += PIECE)) : undefined);
  return { next, owned: false, url: undefined, total: bytes.length, fromCache: false, settle: keep };
}

function streamed({ response, fromCache, settle }: CachedResponse, url: string, { signal, stallTimeout = STALL }: OpenOptions): Opened {
  const where = url || 'The response';
  // A part is no answer: nobody asked for a range.
  if (!response.ok || response.status === 206) {
    throw new WasmTorchError('fetch-failed', `${where}: expected status 200, found ${response.status} ${response.statusText}.`, 'check the address');
  }
  const reader = response.body?.getReader();
  const length = response.headers.get('Content-Length');
  const total = length !== null && response.headers.get('Content-Encoding') === null ? Number(length) : undefined;
  let received = 0;
  const next = async () => {
    try {
      const value = reader && (await unlessAborted(reader.read(), signal, stallTimeout)).value;
      if (value !== undefined) received += value.length;
      else if (total !== undefined && received < total) throw new Error(`found ${received} of ${total} bytes`);
      return value;
    } catch (cause) {
      void reader?.cancel().catch(() => {});
      signal?.throwIfAborted();
      throw new WasmTorchError('fetch-failed', `${where}: the transfer broke off: ${messageOf(cause)}.`, 'try again', cause);
    }
  };
  return {
    next,
    owned: true,
    url: url || undefined,
    total,
    fromCache,
    settle: async (good) => {
      if (!good) void reader?.cancel().catch(() => {});
      await settle(good);
    },
  };
}
