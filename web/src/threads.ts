// A model's pool of threads: starts workers on the same code and memory, awaits them, stops them. It hands out no work.

import { messageOf, WasmTorchError } from './errors.js';
import type { Exports } from './instance.js';
import { lockName } from './lock.js';
import type { Platform, Port } from './port.js';

/** How long workers may take to start or to stop. */
const START_MS = 30_000;
const STOP_MS = 1_000;

/** What a thread is told, once: the last is a lock to be held while it lives, where there are locks. */
export type ThreadStart = readonly [module: WebAssembly.Module, memory: WebAssembly.Memory, index: number, stack: number, lock: string];

/** How the end of a thread is noticed, and where a 1 says so. */
export interface Watch {
  readonly flag: Int32Array;
  readonly locks: readonly string[];
}

export class ThreadPool {
  readonly #platform: Platform;
  readonly #exports: Exports;
  readonly #ports: Port[] = [];
  #failure: string | undefined;

  constructor(platform: Platform, exports: Exports) {
    this.#platform = platform;
    this.#exports = exports;
  }

  /** Starts workers and makes them join; resolves when all are waiting for work. Until then, and when that fails, the caller works alone. */
  async start(workers: number, module: WebAssembly.Module): Promise<void> {
    const exports = this.#exports;
    const { startThread, mayBlock, watch } = this.#platform;
    const locks: string[] = [];
    try {
      exports.set_blocking!(mayBlock ? 1 : 0);
      if (exports.start_threads!(workers) !== 0) throw new Error('there is no memory for their stacks');
      for (let index = 1; index <= workers; index++) {
        const port = startThread!();
        this.#ports.push(port);
        // A thread says why it failed, and nothing at its good end, which `threads_ready` shows.
        const fail = (message: string) => this.#fail(message);
        port.listen(fail, fail);
        const lock = lockName();
        locks.push(lock);
        const start: ThreadStart = [module, exports.memory, index, exports.thread_stack!(index), lock];
        port.post(start);
      }
    } catch (error) {
      this.#fail(messageOf(error));
    }
    const ready = await until(() => this.#failure !== undefined || exports.threads_ready!() >= workers, START_MS);
    if (!ready) this.#fail(`they took longer than ${START_MS / 1000} s`);
    if (this.#failure === undefined) {
      watch?.({ flag: new Int32Array(exports.memory.buffer, exports.watch!() >>> 0, 1), locks });
      return;
    }
    const why = `The threads could not be started: ${this.#failure}.`;
    await this.stop();
    throw new WasmTorchError('worker-failed', why);
  }

  /** Ends the workers: politely first. */
  async stop(): Promise<void> {
    // Whoever waits for them to join does so in vain.
    this.#fail('the model was disposed');
    const { stop_threads, threads_ready } = this.#exports;
    try {
      stop_threads!();
      await until(() => threads_ready!() === 0, STOP_MS);
    } catch {
      // The module has trapped before; its workers end all the same.
    }
    for (const port of this.#ports) port.terminate();
  }

  #fail(message: string): void {
    this.#failure ??= message;
  }
}

/** Polls; false when `ms` have passed. */
async function until(done: () => boolean, ms: number): Promise<boolean> {
  const end = performance.now() + ms;
  while (!done()) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return true;
}
