// Keeps files in the browser's Cache API under a versioned key. Where there is no Cache API it fetches, and says nothing.

import { ABI_VERSION } from './abi.generated.js';
import type { OpenAddress } from './source.js';

/** `true` stands for the default name and an empty version. */
export type CacheOption = boolean | { readonly name?: string; readonly version?: string };

/** A response and what to do with it in the end. */
export interface CachedResponse {
  readonly response: Response;
  readonly fromCache: boolean;
  /** Call once: keeps what was fetched, or drops what turned out wrong. */
  readonly settle: (good: boolean) => Promise<void>;
}

const PARAMETER = 'wasm-torch';

/** Opens `address`, from the cache if it is there. */
export async function openCached(address: string, open: OpenAddress, option: CacheOption): Promise<CachedResponse> {
  const { name = 'wasm-torch', version = '' } = typeof option === 'object' ? option : {};
  const key = new URL(address);
  key.searchParams.set(PARAMETER, `${ABI_VERSION}-${version}`);
  // The Cache API is missing or refuses in insecure contexts and some privacy modes.
  const cache = await globalThis.caches?.open(name).catch(() => undefined);
  const held = await cache?.match(key);
  if (cache !== undefined && held !== undefined) {
    return { response: held, fromCache: true, settle: async (good) => void (good || (await cache.delete(key))) };
  }
  const response = await open(address);
  if (cache === undefined || !response.ok) return { response, fromCache: false, settle: async () => {} };
  // A full disk is no reason to fail.
  const stored = cache.put(key, response.clone()).then(() => true, () => false);
  const settle = async (good: boolean) => {
    if (!good) await cache.delete(key);
    else if (await stored) await dropOthers(cache, key);
  };
  return { response, fromCache: false, settle };
}

/** Deletes the same file's entries of other versions. */
async function dropOthers(cache: Cache, key: URL): Promise<void> {
  const bare = (href: string) => {
    const url = new URL(href);
    url.searchParams.delete(PARAMETER);
    return url.href;
  };
  const others = (await cache.keys()).filter(({ url }) => url !== key.href && new URL(url).searchParams.has(PARAMETER) && bare(url) === bare(key.href));
  await Promise.all(others.map((request) => cache.delete(request)));
}
