// Work that is done one after the other. It does not know what the work is.

export class Queue {
  #tail: Promise<unknown> = Promise.resolve();
  #length = 0;

  /** Whether something runs or waits. */
  get busy(): boolean {
    return this.#length > 0;
  }

  /** Does `work` when all earlier work is over: at once when there is none. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#length++ === 0 ? work() : this.#tail.then(work);
    this.#tail = done.catch(() => {}).finally(() => (this.#length -= 1));
    return done;
  }
}
