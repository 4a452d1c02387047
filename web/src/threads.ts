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
  readonly workers: number;
  readonly #ports: Port[] = [];
  #exports: Exports | undefined;
  #failure: string | undefined;

  /** Starts the workers' scripts, which takes a while: best before code and weights are there. */
  constructor(platform: Platform, workers: number) {
    this.workers = workers;
    try {
      for (let i = 0; i < workers; i++) {
        const port = platform.startThread!();
        this.#ports.push(port);
        port.listen(({ failed }: ThreadFailure) => this.#fail(failed), (message) => this.#fail(message));
      }
    } catch (error) {
      this.#fail(messageOf(error));
    }
  }

  /** Makes the workers join; resolves when all are waiting for work. Until then, and when that fails, the caller works alone. */
  async join(exports: Exports, module: WebAssembly.Module, mayBlock: boolean): Promise<void> {
    exports.set_blocking!(mayBlock ? 1 : 0);
    if (exports.start_threads!(this.workers) !== 0) this.#fail('there is no memory for their stacks');
    this.#exports = exports;
    this.#ports.forEach((port, i) => {
      const start: ThreadStart = { module, memory: exports.memory, index: i + 1, stack: exports.thread_stack!(i + 1) };
      port.post(start);
    });
    const ready = await until(() => this.#failure !== undefined || exports.threads_ready!() >= this.workers, START_MS);
    if (!ready) this.#fail(`they took longer than ${START_MS / 1000} s`);
    if (this.#failure === undefined) return;
    const why = `The threads could not be started: ${this.#failure}.`;
    await this.stop();
    throw new WasmTorchError('worker-failed', why);
  }

  /** Ends the workers: politely first. */
  async stop(): Promise<void> {
    // Whoever waits for them to join does so in vain.
    this.#fail('the model was disposed');
    const exports = this.#exports;
    this.#exports = undefined;
    try {
      exports?.stop_threads!();
      if (exports !== undefined) await until(() => exports.threads_ready!() === 0, STOP_MS);
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
