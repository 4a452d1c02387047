// What a module says about itself: types of the manifest's JSON and its checks. It knows no model.

import { ABI_VERSION, MANIFEST_SECTION } from './abi.generated.js';
import { type DType, DTYPES } from './dtype.js';
import { damaged, messageOf, WasmTorchError } from './errors.js';
import { shapeAt, type Size, type SymbolInfo } from './sizes.js';
import { elementCount, formatShape } from './tensor.js';
import { selectVariant, type Variant, type VariantName } from './variant.js';

/** A model input or output and where its elements live. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  /** Of dimensions that are not fixed the largest size. */
  readonly shape: readonly number[];
  /** The shape of a tensor with dimensions that are not fixed, which follow from the symbols. */
  readonly sizes?: readonly Size[] | null;
  /** Byte offset from the arena's base. */
  readonly offset: number;
  readonly bytes: number;
}

/** What stays in the module between calls. */
export interface StateInfo extends TensorInfo {
  /** Of a state that grows: the distance of neighbours along each dimension, in elements. Others are dense. */
  readonly strides?: readonly number[] | null;
}

/** Where things are in memory, in bytes. */
export interface MemoryInfo {
  readonly weights_base: number;
  readonly weights_bytes: number;
  readonly arena_base: number;
  readonly arena_bytes: number;
  readonly live_bytes: number;
  readonly heap_base: number;
  readonly initial_pages: number;
  readonly maximum_pages: number;
}

/** One step: which layers it computes and with which kernel. */
export interface StepInfo {
  readonly layers: readonly string[];
  readonly kernel: string;
  readonly tasks: number;
  /** Multiply-accumulate operations per execution. */
  readonly macs: number;
  readonly weight_bytes: number;
}

/** The JSON of the custom section, field for field. */
export interface Manifest {
  readonly abi: number;
  readonly producer: string;
  readonly model: string;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /** What stays in the module between calls, named like inputs. */
  readonly states?: readonly StateInfo[];
  readonly memory: MemoryInfo;
  readonly features: readonly string[];
  readonly steps: readonly StepInfo[];
  readonly options: readonly (readonly [name: string, value: string])[];
  /** SHA-256 of each MiB of memory from `weights_base` on, `weights_bytes` in all. */
  readonly weights_sha256: readonly string[];
  /** Sizes that the shapes of the inputs choose. */
  readonly symbols?: readonly SymbolInfo[];
  /** The kind of the file's own code; the baseline when it does not say. */
  readonly variant?: VariantName;
  /** Further kinds, each in a custom section. */
  readonly variants?: readonly Variant[];
  /** Files that hold the weights, in order, when the data section does not. */
  readonly external_weights?: { readonly chunks: readonly { readonly file: string; readonly bytes: number; readonly sha256?: string }[] } | null;
  /** What follows the manifest in the file, without gaps: bytes and where they belong, to an address, to a variant's code or nowhere. */
  readonly parts: readonly (readonly [bytes: number, place: number | string | null])[];
}

/** What the manifest's section begins with: the length of its name, and the name. */
export const MANIFEST_NAME: string = String.fromCharCode(MANIFEST_SECTION.length) + MANIFEST_SECTION;

/** The manifest in a custom section's contents; throws where this loader could misread the module. */
export function parseManifest(section: ArrayBufferView | ArrayBuffer | undefined): Manifest {
  if (section === undefined) {
    throw new WasmTorchError('invalid-module', `The WebAssembly module does not begin with a section '${MANIFEST_SECTION}'.`, 'was it written by `wasm-torch export`? Tools that change sections break it');
  }
  try {
    const manifest: Manifest = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(section));
    const { abi, inputs, outputs, states = [], steps, symbols = [], memory, external_weights, parts } = manifest;
    if (abi !== ABI_VERSION && typeof abi === 'number') {
      throw new WasmTorchError('unsupported-abi', `The module was written for interface ${abi}; this loader knows interface ${ABI_VERSION}.`, abi > ABI_VERSION ? "update the npm package 'wasm-torch'" : 'export the model again with the current `wasm-torch`');
    }
    for (const field of ['inputs', 'outputs', 'steps', 'parts'] as const) if (!Array.isArray(manifest[field])) throw new Error(`it has no ${field}`);
    // Whatever else is not there, or of another type, throws here.
    for (const info of [...inputs, ...outputs, ...states]) {
      const { name, dtype, shape, bytes } = info;
      shapeAt(manifest, info, []);
      if (elementCount(shape) * DTYPES[dtype].BYTES_PER_ELEMENT !== bytes) throw new Error(`tensor '${name}' of ${dtype} ${formatShape(shape)} does not take ${bytes} bytes`);
    }
    for (const { layers } of steps) layers.join();
    for (const [bytes] of parts) bytes.toFixed();
    for (const { offset } of symbols) offset.toFixed();
    selectVariant(manifest, new Set());
    const chunks = external_weights?.chunks.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;
    const { weights_base, weights_bytes, initial_pages } = memory;
    if (!(weights_base + weights_bytes <= initial_pages * 65536 && chunks <= weights_bytes)) throw new Error('its weights lie outside of the memory');
    return manifest;
  } catch (cause) {
    throw cause instanceof WasmTorchError ? cause : damaged(`The module's manifest cannot be used: ${messageOf(cause)}.`, cause);
  }
}
