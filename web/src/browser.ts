// What browsers offer: fetch and workers. The workers are files of this package, which bundlers find by these very expressions.

import { type Platform, workerPort } from './port.js';

export const platform: Platform = {
  open: (address, signal) => fetch(address, signal === undefined ? {} : { signal }),
  startWorker: () => workerPort(new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'wasm-torch' })),
  startThread: () => workerPort(new Worker(new URL('./thread.js', import.meta.url), { type: 'module', name: 'wasm-torch thread' })),
  inline: typeof document === 'undefined',
  mayBlock: typeof document === 'undefined' && typeof Worker !== 'undefined',
};
