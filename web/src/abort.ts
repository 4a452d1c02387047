// Giving up on a promise when a signal says so, or after a while. What the promise stands for goes on.

/** As `promise`, or fails with the signal's reason as soon as it is aborted, or after `limit` milliseconds; 0: none. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined, limit = 0): Promise<T> {
  if (signal === undefined && limit === 0) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal!.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort);
    const timer = limit > 0 ? setTimeout(() => reject(new Error(`nothing came for ${limit / 1000} s`)), limit) : undefined;
    promise.then(resolve, reject).finally(() => {
      signal?.removeEventListener('abort', abort);
      clearTimeout(timer);
    });
  });
}
