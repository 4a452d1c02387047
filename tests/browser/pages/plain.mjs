// A page without a bundler: options come in the address, the result goes into `window.result`.

import * as wasmTorch from '/web/index.js';

import { run } from './run.mjs';

window.wasmTorch = wasmTorch;
const options = new URLSearchParams(location.search).get('options');
window.result = options === null ? undefined : run(wasmTorch, JSON.parse(options));
