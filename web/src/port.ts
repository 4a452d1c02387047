// What a platform offers besides the language: opening addresses and starting workers. Each entry file has one.

import type { OpenAddress } from './source.js';
import type { Watch } from './threads.js';

/** A started worker, in a browser or in Node. */
export interface Port {
  post(message: unknown, transfer?: Transferable[]): void;
  /** Messages, and the one event that says that the worker failed. */
  listen(onMessage: (message: never) => void, onError: (message: string) => void): void;
  terminate(): void;
}

export interface Platform {
  readonly open: OpenAddress;
  /** Starts a worker that runs models off the main thread. */
  readonly startWorker?: () => Port;
  /** Starts `thread.js`, one thread of a model's pool. */
  readonly startThread: () => Port;
  /** Whether models run in place when nothing else is said. */
  readonly inline: boolean;
  /** Processor cores, if `navigator` does not know. */
  readonly cores?: number;
  /** Who is told of a pool's threads can notice their ends while this thread computes. */
  readonly watch?: (watch: Watch) => void;
  /** Whether this thread may wait on shared memory. */
  readonly mayBlock: boolean;
}

/** A browser's worker as a port. */
export function workerPort(worker: Worker): Port {
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    listen(onMessage, onError) {
      worker.onmessage = ({ data }) => onMessage(data as never);
      worker.onerror = (event) => {
        event.preventDefault();
        onError(event.message || 'its script could not be loaded');
      };
      worker.onmessageerror = () => onError('a message could not be read');
    },
    terminate: () => worker.terminate(),
  };
}
