// The script of one thread in Node. See thread-body.ts.

import { parentPort } from 'node:worker_threads';

import { runThread } from './thread-body.js';

parentPort!.once('message', (start) => void runThread(start, (failure) => parentPort!.postMessage(failure)));
