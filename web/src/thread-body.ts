// What one thread of a pool does: joins the model's memory and takes tasks until it is told to stop. It loads nothing.

import { messageOf } from './errors.js';
import { hold } from './lock.js';
import type { ThreadStart } from './threads.js';

/** Runs until `stop_threads`; `report` is told of a failure, and so is the thread that waits for this one. */
export async function runThread([module, memory, index, stack, lock]: ThreadStart, report: (failure: string) => void): Promise<void> {
  let exports: { set_stack(address: number): void; worker(index: number): void; worker_failed(): void } | undefined;
  try {
    exports = (await WebAssembly.instantiate(module, { env: { memory } })).exports as unknown as NonNullable<typeof exports>;
    exports.set_stack(stack);
    // From here on its end is noticed.
    await hold(lock);
    exports.worker(index);
  } catch (error) {
    exports?.worker_failed();
    report(messageOf(error));
  }
}
