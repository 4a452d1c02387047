// From a source to compiled code, the manifest and a memory that holds the data, all while bytes arrive. It instantiates nothing.

import { EXPORTS, MANIFEST_SECTION } from './abi.generated.js';
import type { CacheOption } from './cache.js';
import { damaged, messageOf, noMemory, WasmTorchError } from './errors.js';
import { fetchExternalWeights } from './external.js';
import type { Features } from './features.js';
import { weightsCheck, whyNoIntegrity } from './integrity.js';
import { type Manifest, namedSection, parseManifest } from './manifest.js';
import { importMemory, type RawSection } from './rewrite.js';
import { absolute, type OpenAddress, type Opened } from './source.js';
import { ModuleReader, truncated } from './stream.js';
import { chooseVariant, type Variant, type VariantName } from './variant.js';

const CUSTOM = 0;
const DATA = 11;

/** Bytes of code that are compiled at once. */
const SMALL_CODE = 1 << 16;

/** Bytes so far, of how many: unknown until the file says it. */
export interface Progress {
  readonly loaded: number;
  readonly total: number | undefined;
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

/** What loading needs to know of its surroundings. */
export interface LoadContext {
  readonly open: OpenAddress;
  readonly features: Features;
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

/** Loads a compiled module, or the file whose bytes `source` delivers; resolves when it is started and all is there. */
export async function load<T extends Disposable>(source: WebAssembly.Module | Opened, context: LoadContext, start: Start<T>, options: LoadOptions): Promise<T> {
  options.signal?.throwIfAborted();
  return isModule(source) ? start(precompiled(source, context, options)) : stream(source, context, start, options);
}

/** TypeScript sees any object as a WebAssembly.Module, so `instanceof` would leave other types nothing. */
export function isModule(source: unknown): source is WebAssembly.Module {
  return source instanceof WebAssembly.Module;
}

/** A compiled module has its data inside, in the file's own kind. */
function precompiled(module: WebAssembly.Module, { features }: LoadContext, { variant }: LoadOptions): LoadedModule {
  const manifest = parseManifest(WebAssembly.Module.customSections(module, MANIFEST_SECTION)[0]);
  const chosen = chooseVariant({ ...manifest, variants: [] }, features.available, features.why, variant);
  if (manifest.external_weights || WebAssembly.Module.imports(module).length > 0) {
    throw new WasmTorchError('invalid-argument', 'This module cannot be given its data once it is compiled.', 'pass the address or the bytes');
  }
  return { manifest, variant: chosen.name, module: withExports(module), memory: undefined, why: {} };
}

/** One pass over one file. */
async function stream<T extends Disposable>(opened: Opened, { open, features }: LoadContext, start: Start<T>, options: LoadOptions): Promise<T> {
  let loaded = 0;
  let { total } = opened;
  const progress = (bytes: number) => {
    loaded += bytes;
    if (bytes !== 0) options.onProgress?.({ loaded, total });
  };
  const reader = new ModuleReader(async () => {
    const chunk = await opened.next();
    progress(chunk?.length ?? 0);
    return chunk;
  });
  const first = await reader.section();
  const section = first?.id === CUSTOM ? namedSection(await reader.bytes(first.size)).get(MANIFEST_SECTION) : undefined;
  const manifest = opened.manifest ?? parseManifest(section);
  const variant = chooseVariant(manifest, features.available, features.why, options.variant);
  const { weights_base, weights_bytes } = manifest.memory;
  const memory = createMemory(manifest, variant.name);
  const why = options.integrity === false ? {} : whyNoIntegrity();
  const weights = weightsCheck(memory, manifest, options.integrity !== false && why.integrity === undefined);

  const own: RawSection[] = [];
  let compiled: Promise<WebAssembly.Module> | undefined;
  let hasData = manifest.external_weights != null || weights_bytes === 0;
  let started: Promise<T> | undefined;
  const begin = () => {
    started ??= compiled?.then((module) => start({ manifest, variant: variant.name, module: withExports(module), memory, why }));
    started?.catch(() => {});
  };
  const ownCode = () => (variant.section === undefined ? compile(importMemory(own), variant) : undefined);
  const sections = async () => {
    for (let section; (section = await reader.section()) !== undefined; ) {
      if (section.id === DATA) {
        hasData = true;
        total ??= reader.end;
        compiled ??= ownCode();
        await readData(reader, memory, (address) => {
          if (address <= weights_base) return;
          begin();
          weights.written(address);
        });
        continue;
      }
      const contents = await reader.bytes(section.size);
      if (section.id !== CUSTOM) own.push({ id: section.id, contents });
      else if (variant.section !== undefined) {
        const code = namedSection(contents).get(variant.section);
        if (code !== undefined) compiled = compile(variant.features.includes('deflate') ? inflate(code) : code, variant);
      }
    }
    compiled ??= ownCode();
    if (compiled === undefined || !hasData) throw truncated(`The module ends after ${reader.position} bytes, before its ${hasData ? `section '${variant.section}'` : 'data section'}.`);
    begin();
    if (manifest.external_weights) {
      total = loaded + manifest.external_weights.chunks.reduce((sum, { bytes }) => sum + bytes, 0);
      const base = options.weightsUrl === undefined ? opened.url : absolute(options.weightsUrl);
      await fetchExternalWeights(manifest, memory, base, open, { ...options, onBytes: progress, weights });
    }
    // What the file leaves out at the end is zeros.
    weights.written(weights_base + weights_bytes);
    await weights.matched();
  };
  try {
    await sections();
    return await started!;
  } catch (error) {
    void started?.then((it) => it.dispose(), () => {});
    throw error;
  }
}

/** Starts the compiler; whoever awaits it gets its complaint. */
function compile(code: Uint8Array | Promise<Uint8Array>, variant: Variant): Promise<WebAssembly.Module> {
  const compiling = async () => {
    const bytes = (await code) as Uint8Array<ArrayBuffer>;
    // Small code takes less time than the way to the engine's compiler and back.
    return bytes.length < SMALL_CODE ? new WebAssembly.Module(bytes) : WebAssembly.compile(bytes);
  };
  const compiled = compiling().catch((cause: unknown) => {
    throw new WasmTorchError('invalid-module', `The engine rejects the module: ${messageOf(cause)}.`, `the file is damaged, or the engine lacks one of: ${variant.features.join(', ') || 'no special features'}`, cause);
  });
  compiled.catch(() => {});
  return compiled;
}

/** The code in a compressed section. */
async function inflate(section: Uint8Array): Promise<Uint8Array> {
  // A Blob's stream would come by way of another process.
  const expanded = new Response(section as Uint8Array<ArrayBuffer>).body!.pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(expanded).arrayBuffer());
}

/** Writes the segments of the data section, in order, to where they belong in memory; `written` says how far it is. */
async function readData(reader: ModuleReader, memory: WebAssembly.Memory, written: (address: number) => void): Promise<void> {
  const { end } = reader;
  for (let left = await reader.number(); left > 0; left--) {
    const at = reader.position;
    // An active segment of memory 0, whose address is one `i32.const`.
    const start = (await reader.number()) || (await reader.number());
    let address = await reader.number(true);
    if (start !== 0x41 || (await reader.number()) !== 0x0b) throw damaged(`The data segment at byte ${at} has no constant address.`);
    const size = await reader.number();
    if (reader.position + size > end || address + size > memory.buffer.byteLength) throw damaged(`The data segment at byte ${at} reaches past the memory or its section.`);
    await reader.pieces(size, (piece) => {
      // Memory that has grown is another buffer.
      new Uint8Array(memory.buffer).set(piece, address);
      address += piece.length;
      written(address);
    });
  }
  if (reader.position !== end) throw damaged(`The data section ends at byte ${reader.position}; it says ${end}.`);
}

/** The memory that every kind of code imports, of the size that the manifest asks for. */
function createMemory({ memory: { initial_pages, maximum_pages } }: Manifest, variant: VariantName): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: initial_pages, maximum: maximum_pages, shared: variant.includes('threads') });
  } catch (cause) {
    throw noMemory(`The engine did not give the module its ${Math.ceil(initial_pages / 16)} MiB of memory`, cause);
  }
}

/** Throws unless the module exports what every host relies on. */
function withExports(module: WebAssembly.Module): WebAssembly.Module {
  const found = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  const missing = EXPORTS.filter((name) => !found.has(name));
  if (missing.length > 0) {
    throw new WasmTorchError('invalid-module', `The module does not export ${missing.join(', ')}.`, 'tools that strip exports break a module; export it again');
  }
  return module;
}
