// Locks that tell of a worker's end: who holds one gives it up only by ending. Whoever is told its name waits for it.

/** A name that nobody has. */
export function lockName(): string {
  return `wasm-torch-${Date.now()}-${Math.random()}`;
}

/** Takes the lock and keeps it for life; resolves to its name, or to an empty one where there are no locks. */
export function hold(name: string): Promise<string> {
  return new Promise((resolve) => {
    const locks = globalThis.navigator?.locks;
    const held = () => {
      resolve(name);
      return new Promise(() => {});
    };
    if (locks === undefined) resolve('');
    else locks.request(name, held).catch(() => resolve(''));
  });
}
