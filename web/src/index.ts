// The package in browsers and workers: addresses are fetched. It uses nothing that only Node has.

import { entry } from './runtime.js';

export * from './exports.js';

export const WASMTorch = entry((address) => fetch(address));
