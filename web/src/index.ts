// The package in browsers and their workers.

import { platform } from './browser.js';
import { entry } from './core.js';

export * from './public.js';

export const WASMTorch = entry(platform);
