// From a source to compiled code, the manifest and a memory that holds the data, all while bytes arrive. It instantiates nothing.

import { MANIFEST_SECTION } from './abi.generated.js';
import type { CacheOption } from './cache.js';
import { damaged, messageOf, noMemory, WasmTorchError } from './errors.js';
import { fetchExternalWeights } from './external.js';
import type { Features } from './features.js';
import { weightsCheck, whyNoIntegrity } from './integrity.js';
import { type Manifest, parseManifest } from './manifest.js';
import type { OpenAddress } from './source.js';
import { concatenate, HEADER, type ModuleFile, truncated } from './stream.js';
import { chooseVariant, type Variant, type VariantName } from './variant.js';

/** Bytes of code that are compiled at once. */
const SMALL_CODE = 1 << 16;

/** Bytes so far, of how many. */
export interface Progress {
  readonly loaded: number;
  readonly total: number;
}

export interface LoadOptions {
  /** Take this variant, not the best one. */
  readonly variant?: VariantName | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds without a byte after which loading fails with `fetch-failed`: a minute unless told; 0: no limit. */
  readonly stallTimeout?: number | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Keep the file in the browser's Cache API; a version replaces what earlier versions kept. */
  readonly cache?: CacheOption | undefined;
  /** Check the weights' hashes (the default). */
  readonly integrity?: boolean | undefined;
  /** Where external weights lie, if not beside the module. */
  readonly weightsUrl?: string | URL | undefined;
}

export interface LoadedModule {
  readonly manifest: Manifest;
  readonly variant: VariantName;
  readonly module: WebAssembly.Module;
  /** Holds all data. None for a module that was compiled before and so brings its own. */
  readonly memory: WebAssembly.Memory | undefined;
  /** Why something that was asked for is not so. */
  readonly why: Record<string, string>;
}

/** What becomes of a module whose code is compiled, while its weights may still arrive: everything below them is in memory. */
export type Start<T> = (loaded: LoadedModule) => Promise<T>;

interface Disposable {
  dispose(): Promise<void>;
}

/** TypeScript sees any object as a WebAssembly.Module, so `instanceof` would leave other types nothing. */
export function isModule(source: unknown): source is WebAssembly.Module {
  return source instanceof WebAssembly.Module;
}

/** A compiled module has its data inside, in the file's own kind. */
export function precompiled(module: WebAssembly.Module, features: Features, forced: VariantName | undefined): LoadedModule {
  const manifest = parseManifest(WebAssembly.Module.customSections(module, MANIFEST_SECTION)[0]);
  const { name } = chooseVariant({ ...manifest, variants: [] }, features, forced);
  if (manifest.external_weights || WebAssembly.Module.imports(module).length > 0) {
    throw new WasmTorchError('invalid-argument', 'This module cannot be given its data once it is compiled.', 'pass the address or the bytes');
  }
  return { manifest, variant: name, module, memory: undefined, why: {} };
}

/** Loads what follows a file's manifest; resolves when it is started and all is there. */
export async function load<T extends Disposable>(file: ModuleFile, variant: Variant, open: OpenAddress, start: Start<T>, options: LoadOptions): Promise<T> {
  options.signal?.throwIfAborted();
  const { manifest } = file;
  const { parts, external_weights } = manifest;
  const { weights_base, weights_bytes } = manifest.memory;
  const memory = createMemory(manifest, variant.name);
  const why = options.integrity === false ? {} : whyNoIntegrity();
  const weights = weightsCheck(memory, manifest, options.integrity !== false && why.integrity === undefined);

  const end = parts.reduce((sum, [size]) => sum + size, file.position);
  const total = (external_weights?.chunks ?? []).reduce((sum, { bytes }) => sum + bytes, end);
  let loaded = file.position;
  const progress = (bytes: number) => {
    loaded += bytes;
    options.onProgress?.({ loaded, total });
  };

  const code: Uint8Array[] = variant.section === undefined ? [HEADER] : [];
  const lastOfCode = parts.map(([, place]) => place).lastIndexOf(variant.name);
  let compiled: Promise<WebAssembly.Module> | undefined;
  let started: Promise<T> | undefined;
  const begin = () => {
    started ??= compiled?.then((module) => start({ manifest, variant: variant.name, module, memory, why }));
    started?.catch(() => {});
  };
  try {
    let chunk: Uint8Array | undefined = new Uint8Array();
    for (const [index, [size, place]] of parts.entries()) {
      let address = Number(place);
      // Whatever lies below the weights is in memory now.
      if (address >= weights_base) begin();
      for (let left = size; left > 0; ) {
        if (chunk.length === 0) {
          chunk = await file.next();
          if (chunk === undefined) throw truncated(loaded, `byte ${end}`);
          progress(chunk.length);
        }
        const piece = chunk.subarray(0, left);
        chunk = chunk.subarray(piece.length);
        left -= piece.length;
        if (place === variant.name) code.push(piece);
        if (typeof place !== 'number') continue;
        // Memory that has grown is another buffer.
        new Uint8Array(memory.buffer).set(piece, address);
        address += piece.length;
        weights.written(address);
      }
      if (index === lastOfCode) compiled = compile(code, variant);
    }
    // A transfer that breaks off behind the last part broke off all the same.
    while (chunk !== undefined) chunk = await file.next();
    begin();
    if (started === undefined) throw damaged(`The file has no code of its variant '${variant.name}'.`);
    if (external_weights) {
      await fetchExternalWeights(manifest, memory, file.url, open, { ...options, onBytes: progress, weights });
    }
    // What the file leaves out at the end is zeros.
    weights.written(weights_base + weights_bytes);
    await weights.matched();
    return await started;
  } catch (error) {
    void started?.then((it) => it.dispose(), () => {});
    // What the engine says of code and places that do not fit.
    const misfit = [RangeError, TypeError, WebAssembly.RuntimeError].some((kind) => error instanceof kind);
    throw misfit ? damaged(`The module cannot be loaded: ${messageOf(error)}.`, error) : error;
  }
}

/** Starts the compiler; whoever awaits it gets its complaint. */
function compile(parts: readonly Uint8Array[], { features }: Variant): Promise<WebAssembly.Module> {
  const compiling = async () => {
    const code = concatenate(parts);
    const bytes = features.includes('deflate') ? await inflate(code) : code;
    // Small code takes less time than the way to the engine's compiler and back.
    return bytes.byteLength < SMALL_CODE ? new WebAssembly.Module(bytes) : WebAssembly.compile(bytes);
  };
  const compiled = compiling().catch((cause: unknown) => {
    throw new WasmTorchError('invalid-module', `The engine rejects the module: ${messageOf(cause)}.`, `the file is damaged, or the engine lacks one of: ${features.join(', ') || 'no special features'}`, cause);
  });
  compiled.catch(() => {});
  return compiled;
}

function inflate(code: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  // A Blob's stream would come by way of another process.
  return new Response(new Response(code).body!.pipeThrough(new DecompressionStream('deflate'))).arrayBuffer();
}

/** The memory that every kind of code imports, of the size that the manifest asks for. */
function createMemory({ memory: { initial_pages, maximum_pages } }: Manifest, variant: VariantName): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: initial_pages, maximum: maximum_pages, shared: variant.includes('threads') });
  } catch (cause) {
    throw noMemory(`The engine did not give the module its ${Math.ceil(initial_pages / 16)} MiB of memory`, cause);
  }
}
