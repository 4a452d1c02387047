// The script of a model's worker in a browser: an Engine behind messages. See remote.ts for the other side.

import { platform } from './browser.js';
import { Engine, toPlain } from './core.js';
import type { Progress } from './load.js';
import type { Reply, Request } from './remote.js';

const engines: Engine[] = [];
const PROGRESS_BYTES = 1 << 18;
let cancel = new AbortController();

/** Pieces of the file that came and were not taken yet, and who waits for one. */
const chunks: (Uint8Array | undefined)[] = [];
let wake = () => {};

async function nextChunk(): Promise<Uint8Array | undefined> {
  while (chunks.length === 0) await new Promise<void>((resolve) => (wake = resolve));
  return chunks.shift();
}

const say = (reply: Reply, transfer: Transferable[] = []) => postMessage(reply, { transfer });

async function answer(request: Request): Promise<[value: unknown, transfer?: Transferable[]]> {
  if (request.kind === 'load') {
    const { module, url, total, settings, options } = request;
    const opened = { next: nextChunk, owned: true, url, total, fromCache: false, settle: async () => {} };
    let last = -Infinity;
    const onProgress = (progress: Progress) => {
      // The first, the last where the end is known, and between them one per quarter of a MiB.
      if (Math.abs(progress.loaded - last) < PROGRESS_BYTES && progress.loaded !== progress.total) return;
      last = progress.loaded;
      say({ kind: 'progress', progress });
    };
    const engine = await Engine.load(module ?? opened, platform, settings, { ...options, onProgress });
    engines.push(engine);
    return [{ info: engine.info, memory: engine.memory, stopFlag: engine.stopFlag() }];
  }
  if (request.kind === 'call') {
    cancel = new AbortController();
    const signal = request.cancellable ? cancel.signal : undefined;
    const result = await engines[request.arena]!.call(request.inputs, { profile: request.profile, signal, transfer: true });
    return [result, result.outputs.map(({ buffer }) => buffer as ArrayBuffer)];
  }
  if (request.kind === 'share') {
    const engine = await engines[request.arena]!.share();
    return [{ arena: engines.push(engine) - 1, memory: engine.memory }];
  }
  if (request.kind === 'dispose') await engines[request.arena]!.dispose();
  return [undefined];
}

onmessage = async ({ data }: MessageEvent<Request & { id: number }>) => {
  if (data.kind === 'cancel') return cancel.abort();
  if (data.kind === 'chunk') {
    chunks.push(data.bytes);
    return wake();
  }
  try {
    const [value, transfer] = await answer(data);
    say({ kind: 'done', id: data.id, value }, transfer);
  } catch (error) {
    say({ kind: 'failed', id: data.id, error: toPlain(error) });
  }
};

// A page is not told when its worker is terminated, but it gets the lock that the worker held. So the worker says that it is
// there once it has the lock; where there are no locks it has none.
const lock = `wasm-torch-${Date.now()}-${Math.random()}`;
const alive = (held?: string) => say({ kind: 'alive', lock: held });
const hold = () => {
  alive(lock);
  return new Promise(() => {});
};
if (navigator.locks === undefined) alive();
else navigator.locks.request(lock, hold).catch(() => alive());
