// Reads a module's manifest from its file, with the loader's own code.

import { readFile } from 'node:fs/promises';

import { MANIFEST_SECTION } from '../../web/dist/abi.generated.js';
import { parseManifest } from '../../web/dist/manifest.js';
import { customSection } from '../../web/dist/section.js';

export async function readModuleManifest(path) {
  return parseManifest(customSection(await readFile(path), MANIFEST_SECTION));
}
