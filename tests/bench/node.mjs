// Contenders in this Node process instead of pages: the same modules, with the pages' addresses resolved here.

import { register } from 'node:module';

const HOOKS = `
const places = { '/web/index.js': new URL('../../web/dist/node.js', '${import.meta.url}'), '/onnxruntime/ort.wasm.bundle.min.mjs': new URL('node_modules/onnxruntime-web/dist/ort.node.min.mjs', '${import.meta.url}') };
export const resolve = (specifier, context, next) => specifier in places ? { url: places[specifier].href, shortCircuit: true } : next(specifier, context);
`;

/** Returns what opens a contender by name; their addresses are answered by `origin`. */
export function inNode(origin) {
  register(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
  const arrays = { f32: Float32Array, f64: Float64Array, i8: Int8Array, u8: Uint8Array, i32: Int32Array, i64: BigInt64Array, bool: Uint8Array };
  const { fetch } = globalThis;
  globalThis.fetch = (address, options) => fetch(typeof address === 'string' && address.startsWith('/') ? origin + address : address, options);
  return async (name) => {
    const module = await import(`./pages/${name}.mjs?${Math.random()}`);
    return {
      name,
      prepare: async (url, feeds = [], variant = 'baseline') =>
        module.prepare(url, await Promise.all(feeds.map(async (feed) => ({ ...feed, data: new arrays[feed.dtype](await (await globalThis.fetch(feed.url)).arrayBuffer()) }))), variant),
      round: async (calls, repeat) => module.round(calls, repeat),
      profile: async (calls) => module.profile(calls),
      results: async () => module.results(),
      close: async () => {},
    };
  };
}
