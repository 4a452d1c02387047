// The package in Node: paths and file: addresses are read from disk, others are fetched.

import { readFile } from 'node:fs/promises';

import { entry } from './runtime.js';

export * from './exports.js';

export const WASMTorch = entry(async (address) => {
  const text = String(address);
  if (/^(https?|data|blob):/.test(text)) return fetch(address);
  return new Response(await readFile(text.startsWith('file:') ? new URL(text) : text));
});
