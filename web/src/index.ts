// The package in browsers, in one file: pages load it, and so do the workers of models, which know themselves by their name.

import { platform } from './browser.js';
import { entry } from './runtime.js';
import { serveModels } from './serve.js';

export * from './exports.js';
/** @internal */
export { entry } from './runtime.js';

export const WASMTorch = entry(platform);

if (platform.inline && (globalThis as { name?: string }).name === 'wasm-torch model') serveModels();
