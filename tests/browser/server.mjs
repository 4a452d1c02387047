// A static server on localhost for tests and benchmarks: cross-origin isolated pages, files and bytes. No ranges, no caching.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';

const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.map': 'application/json',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/** These make a page cross-origin isolated: shared memory and a clock of 5 µs. */
export const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

const PAGE = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>wasm-torch</title>';

/** What a careful site allows: its own scripts and WebAssembly, no `eval`, no `blob:`. */
export const STRICT = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; img-src data:";

/** Headers of pages that are not isolated, whose files any origin may read. */
export const OPEN = { 'Access-Control-Allow-Origin': '*' };

/**
 * Starts a server. `folders` maps a prefix such as `/web/` to a folder. `/` is an empty page. `headers` go with every answer.
 * `put(path, bytes)` adds bytes in memory, `on(path, handler)` a handler of requests. Returns `{origin, put, on, close}`.
 */
export async function serve(folders = {}, extra = ISOLATED) {
  const handlers = new Map();
  const memory = new Map([['/', { bytes: PAGE, type: TYPES['.html'] }]]);
  const answer = async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const type = TYPES[extname(path)] ?? 'application/octet-stream';
    const headers = { ...extra, 'Cache-Control': 'no-store' };
    if (handlers.has(path)) return handlers.get(path)(request, response, headers);
    const held = memory.get(path);
    if (held !== undefined) {
      response.writeHead(200, { ...headers, 'Content-Type': held.type ?? type, 'Content-Length': Buffer.byteLength(held.bytes) }).end(held.bytes);
      return;
    }
    const prefix = Object.keys(folders).find((start) => path.startsWith(start));
    const file = prefix && `${folders[prefix]}/${path.slice(prefix.length)}`;
    const info = file && (await stat(file).catch(() => undefined));
    if (!info?.isFile()) {
      response.writeHead(404, headers).end(`not found: ${path}`);
      return;
    }
    response.writeHead(200, { ...headers, 'Content-Type': type, 'Content-Length': info.size });
    await pipeline(createReadStream(file), response);
  };
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => response.destroy(error));
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://localhost:${server.address().port}`,
    put: (path, bytes) => memory.set(path, { bytes }),
    on: (path, handler) => handlers.set(path, handler),
    close: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}
