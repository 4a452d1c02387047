// Keeps files in the browser's Cache API under a versioned key. Where there is no Cache API it fetches, and says nothing.

import { ABI_VERSION } from './abi.generated.js';

/** `true` stands for the default name and an empty version. */
export type CacheOption = boolean | { readonly name?: string; readonly version?: string };

/** A response, and how to forget it. */
export interface CachedResponse {
  readonly response: Response;
  /** Takes what turned out wrong out of the cache; whether it came from there. */
  readonly drop?: () => Promise<boolean>;
}

/** Opens `address`, from the cache if it is there, and keeps it there. */
export async function openCached(address: string, open: () => Promise<Response>, option: CacheOption | undefined): Promise<CachedResponse> {
  const { name = 'wasm-torch', version = '' } = Object(option) as Exclude<CacheOption, boolean>;
  // The Cache API knows http only; it is missing or refuses in insecure contexts and some privacy modes.
  const cache = option && /^http/.test(address) ? await globalThis.caches?.open(name).catch(() => undefined) : undefined;
  if (!cache) return { response: await open() };
  // What is searched for is the version: the rest of the key is the address.
  const key = new URL(`/${encodeURIComponent(address)}?${ABI_VERSION}-${encodeURIComponent(version)}`, address);
  const held = await cache.match(key);
  const response = held ?? (await open());
  if (!held && response.ok) {
    const keep = async (copy: Response) => {
      await cache.put(key, copy);
      // Other versions go when this one is there.
      for (const other of await cache.keys(key, { ignoreSearch: true })) if (other.url !== key.href) await cache.delete(other);
    };
    // A full disk is no reason to fail.
    keep(response.clone()).catch(() => {});
  }
  const drop = async () => {
    await cache.delete(key);
    return !!held;
  };
  return { response, drop };
}
