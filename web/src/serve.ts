// What a model's worker does in a browser: engines behind messages. See remote.ts for the other side.

import { platform } from './browser.js';
import { Engine } from './engine.js';
import { toPlain } from './errors.js';
import { load, type Progress } from './load.js';
import { hold, lockName } from './lock.js';
import type { Port } from './port.js';
import type { Notice, Reply, Request } from './remote.js';
import type { ThreadStart, Watch } from './threads.js';

/** Answers a page's requests. */
export function serveModels(): void {
  const engines: Engine[] = [];
  let cancel = new AbortController();
  /** Pieces of the file that came and were not taken yet, and who waits for one. */
  const pieces: (Uint8Array | undefined)[] = [];
  let wake = () => {};
  const next = async () => {
    while (pieces.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return pieces.shift();
  };
  const say = (reply: Reply, transfer: Transferable[] = []) => postMessage(reply, { transfer });

  // The page starts the threads: a worker that starts one itself may wait in Firefox for ever.
  let threadFailed = (_message: string) => {};
  const startThread = (): Port => ({
    post: (thread) => say({ thread: thread as ThreadStart }),
    listen: (_, onError) => void (threadFailed = onError),
    terminate: () => say({ thread: null }),
  });
  const here = { ...platform, startThread, watch: (watch: Watch) => say({ watch }) };

  const answer = async (request: Request): Promise<[value?: unknown, transfer?: Transferable[]]> => {
    if (request.kind === 'start' || request.kind === 'load') {
      const onProgress = (progress: Progress) => say({ progress });
      const { settings } = request;
      const engine = await (request.kind === 'start'
        ? Engine.start(request.loaded, here, settings)
        : load({ ...request.file, next }, request.variant, platform.open, (loaded) => Engine.start(loaded, here, settings), { ...request.options, onProgress }));
      engines.push(engine);
      return [{ info: engine.info, memory: engine.memory, stopFlag: engine.stopFlag() }];
    }
    const engine = engines[request.arena]!;
    if (request.kind === 'call') {
      cancel = new AbortController();
      const result = await engine.call(request.inputs, { ...request.options, signal: request.cancellable ? cancel.signal : undefined, transfer: true });
      return [result, result.outputs.map(({ buffer }) => buffer as ArrayBuffer)];
    }
    if (request.kind === 'state') return [await engine.state(request.arrays)];
    if (request.kind === 'dispose') return [await engine.dispose()];
    const shared = await engine.share();
    return [{ arena: engines.push(shared) - 1, memory: shared.memory }];
  };

  onmessage = async ({ data }: MessageEvent<Notice | (Request & { id: number })>) => {
    if (data.kind === 'cancel') return cancel.abort();
    if (data.kind === 'pieces') {
      pieces.push(...data.pieces);
      return wake();
    }
    if (data.kind === 'thread-failed') return threadFailed(data.message);
    const { id } = data;
    try {
      const [value, transfer] = await answer(data);
      say({ id, value }, transfer);
    } catch (error) {
      say({ id, error: toPlain(error) });
    }
  };

  // A page is not told when its worker is terminated, but it gets the lock that the worker held.
  void hold(lockName()).then((lock) => say({ lock }));
}
