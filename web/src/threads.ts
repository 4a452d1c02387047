// A model's pool of threads: starts workers on the same code and memory, awaits them, stops them. It hands out no work.

import { messageOf, WasmTorchError } from './errors.js';
import type { Exports } from './instance.js';
import type { Platform, Port } from './port.js';

/** How long workers may take to start or to stop. */
const START_MS = 10_000;
const STOP_MS = 1_000;

/** What a thread is told, once. */
export interface ThreadStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly index: number;
  readonly stack: number;
}

/** What a thread says: nothing at its good end, which `threads_ready` shows. */
export interface ThreadFailure {
  readonly failed: string;
}

export class ThreadPool {
  readonly #ports: Port[];
  #exports: Exports | undefined;
  #failure: string | undefined;

  private constructor(ports: Port[]) {
    this.#ports = ports;
  }

  /** Starts the workers' scripts, which takes a while: best before code and weights are there. */
  static launch(platform: Platform, workers: number): ThreadPool {
    const ports = Array.from({ length: workers }, () => platform.startThread!());
    const pool = new ThreadPool(ports);
    for (const port of ports) port.listen(({ failed }: ThreadFailure) => pool.#fail(failed), (message) => pool.#fail(message));
    return pool;
  }

  /** Threads that compute, the caller's included. */
  get size(): number {
    return this.#exports === undefined ? 1 : this.#ports.length + 1;
  }

  /** Makes the workers join; resolves when all are waiting for work. */
  async join(exports: Exports, module: WebAssembly.Module, mayBlock: boolean): Promise<void> {
    exports.set_blocking!(mayBlock ? 1 : 0);
    if (exports.start_threads!(this.#ports.length) !== 0) throw new WasmTorchError('out-of-memory', 'There is no memory for the stacks of the threads.');
    this.#ports.forEach((port, i) => {
      const start: ThreadStart = { module, memory: exports.memory, index: i + 1, stack: exports.thread_stack!(i + 1) };
      port.post(start);
    });
    const ready = await until(() => this.#failure !== undefined || exports.threads_ready!() >= this.#ports.length, START_MS);
    if (this.#failure !== undefined) throw new WasmTorchError('worker-failed', `A thread could not be started: ${this.#failure}.`);
    if (!ready) throw new WasmTorchError('worker-failed', `The threads did not start within ${START_MS / 1000} s.`);
    this.#exports = exports;
  }

  /** Ends the workers: politely first. */
  async stop(): Promise<void> {
    const exports = this.#exports;
    this.#exports = undefined;
    try {
      exports?.stop_threads!();
      if (exports !== undefined) await until(() => exports.threads_ready!() === 0, STOP_MS);
    } catch (error) {
      this.#failure ??= messageOf(error);
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
