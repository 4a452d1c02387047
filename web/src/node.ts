// The package in Node: paths and file: addresses are read from disk, others are fetched; threads are worker threads.

import { createReadStream } from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';

import { entry } from './index.js';
import type { Port } from './port.js';

export * from './index.js';

async function open(address: string | URL, signal?: AbortSignal): Promise<Response> {
  const text = String(address);
  if (/^(https?|data|blob):/.test(text)) return fetch(address, signal === undefined ? {} : { signal });
  const path = text.startsWith('file:') ? new URL(text) : text;
  // Opened first, so that a missing file is an error here.
  const file = await openFile(path);
  const { size } = await file.stat();
  const stream = createReadStream('', { fd: file, highWaterMark: 1 << 18 });
  return new Response(Readable.toWeb(stream) as ReadableStream, { headers: { 'Content-Length': String(size) } });
}

function startThread(): Port {
  const worker = new Worker(new URL('./thread-node.js', import.meta.url));
  worker.unref();
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer as never),
    listen(onMessage, onError) {
      worker.on('message', onMessage as (message: unknown) => void);
      worker.on('error', ({ message }) => onError(message));
    },
    terminate: () => void worker.terminate(),
  };
}

export const WASMTorch = entry({ open, startThread, inline: true, mayBlock: true, cores: availableParallelism() });
