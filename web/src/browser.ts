// What browsers offer: fetch and workers. The workers are files of this package, which bundlers find by these very expressions.
// A model's worker is the package itself under a name of its own, so that nothing is fetched twice.

import { type Platform, workerPort } from './port.js';

export const platform: Platform = {
  open: (address, signal) => fetch(address, signal === undefined ? {} : { signal }),
  startWorker: () => workerPort(new Worker(new URL('./index.js', import.meta.url), { type: 'module', name: 'wasm-torch model' })),
  startThread: () => workerPort(new Worker(new URL('./thread.js', import.meta.url), { type: 'module', name: 'wasm-torch thread' })),
  inline: typeof document === 'undefined',
  mayBlock: typeof document === 'undefined' && typeof Worker !== 'undefined',
};
