// From any source to a compiled module and its manifest. It instantiates nothing.

import { EXPORTS, MANIFEST_SECTION } from './abi.generated.js';
import { messageOf, WasmTorchError } from './errors.js';
import { hasSimd } from './features.js';
import { type Manifest, parseManifest } from './manifest.js';
import { customSection } from './section.js';

/** A URL; in Node also a path. */
export type Address = string | URL;

/** Where a module's bytes come from. */
type ByteSource = Address | Response | ArrayBuffer | ArrayBufferView;

/** Where a module comes from: an address, the answer of a fetch, bytes, or a module compiled before. */
export type ModuleSource = ByteSource | WebAssembly.Module;

/** Opens an address. Each platform has its own. */
export type OpenAddress = (address: Address) => Promise<Response>;

export interface LoadedModule {
  readonly module: WebAssembly.Module;
  readonly manifest: Manifest;
}

/** Compiles the module of `source` and reads its manifest. */
export async function load(source: ModuleSource | PromiseLike<ModuleSource>, open: OpenAddress): Promise<LoadedModule> {
  const given = await source;
  if (given instanceof WebAssembly.Module) {
    return withExports(given, parseManifest(WebAssembly.Module.customSections(given, MANIFEST_SECTION)[0]));
  }
  // TypeScript sees any object as a WebAssembly.Module, so the test above leaves it no type here.
  const bytes = await bytesOf(given as ByteSource, open);
  const manifest = parseManifest(customSection(bytes, MANIFEST_SECTION));
  if (manifest.features.includes('simd128') && !hasSimd()) {
    throw new WasmTorchError('no-simd', 'The module needs 128-bit WebAssembly SIMD, which this engine does not have.', {
      hint: 'SIMD is in Chrome 91, Firefox 89, Safari 16.4, Node 16 and later; some privacy modes switch it off',
    });
  }
  try {
    return withExports(await WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>), manifest);
  } catch (cause) {
    if (cause instanceof WasmTorchError) throw cause;
    throw new WasmTorchError('invalid-module', `The engine rejects the module: ${messageOf(cause)}.`, {
      hint: `the file is damaged, or the engine lacks one of: ${manifest.features.join(', ') || 'no special features'}`,
      cause,
    });
  }
}

async function bytesOf(source: ByteSource, open: OpenAddress): Promise<Uint8Array> {
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (typeof source === 'string' || source instanceof URL) return bodyOf(await opened(source, open));
  if (typeof Response !== 'undefined' && source instanceof Response) return bodyOf(source);
  throw new WasmTorchError('invalid-argument', `A module is loaded from an address, a Response, bytes or a WebAssembly.Module; found ${source === null ? 'null' : typeof source}.`);
}

async function opened(address: Address, open: OpenAddress): Promise<Response> {
  try {
    return await open(address);
  } catch (cause) {
    throw new WasmTorchError('fetch-failed', `${address} could not be read: ${messageOf(cause)}.`, {
      hint: 'check the address, the network and, across origins, the CORS headers',
      cause,
    });
  }
}

async function bodyOf(response: Response): Promise<Uint8Array> {
  const where = response.url || 'The response';
  if (!response.ok) {
    throw new WasmTorchError('fetch-failed', `${where}: expected status 200, found ${response.status} ${response.statusText}.`, { hint: 'check the address' });
  }
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw new WasmTorchError('fetch-failed', `${where}: the transfer broke off: ${messageOf(cause)}.`, { hint: 'try again', cause });
  }
}

/** Throws unless the module exports what every host relies on. */
function withExports(module: WebAssembly.Module, manifest: Manifest): LoadedModule {
  const found = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  const missing = EXPORTS.filter((name) => !found.has(name));
  if (missing.length > 0) {
    throw new WasmTorchError('invalid-module', `The module does not export ${missing.join(', ')}.`, { hint: 'tools that strip exports break a module; export it again' });
  }
  return { module, manifest };
}
