// A service worker that runs a model and answers with what it found.

import * as wasmTorch from '/web/index.js';

import { run } from './run.mjs';

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('message', (event) => event.waitUntil(run(wasmTorch, event.data).then((found) => event.source.postMessage(found))));
