// The package in browsers and their workers, in one file: pages, workers and Node load the same.

import { platform } from './browser.js';
import { entry } from './runtime.js';

export * from './exports.js';
/** @internal */
export { entry } from './runtime.js';
/** @internal */
export { serveModels } from './serve.js';

export const WASMTorch = entry(platform);
