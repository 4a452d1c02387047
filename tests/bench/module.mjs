// Reads a module's manifest from its file, with the loader's own code.

import { readFile } from 'node:fs/promises';

import { readManifest } from '../../web/dist/node.js';

export async function readModuleManifest(path) {
  return readManifest(await readFile(path));
}
