// What a module says about itself: types of the manifest's JSON and its checks. It knows no model.

import { ABI_VERSION, MANIFEST_SECTION } from './abi.generated.js';
import { type DType, DTYPES, findDType } from './dtype.js';
import { damaged, messageOf, WasmTorchError } from './errors.js';
import type { Size, SymbolInfo } from './sizes.js';
import { HEADER } from './stream.js';
import { elementCount, formatShape } from './tensor.js';
import type { Variant, VariantName } from './variant.js';

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
}

/** The manifest in a custom section's contents; throws where this loader could misread the module. */
export function parseManifest(section: ArrayBufferView | ArrayBuffer | undefined): Manifest {
  if (section === undefined) {
    throw new WasmTorchError('invalid-module', `The WebAssembly module has no '${MANIFEST_SECTION}' section.`, 'was it written by `wasm-torch export`? Tools that strip custom sections break it');
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(section));
  } catch (cause) {
    throw broken(`it is not JSON (${messageOf(cause)})`, cause);
  }
  const manifest = json as Manifest;
  if (typeof manifest?.abi !== 'number') throw broken("it has no number 'abi'");
  if (manifest.abi !== ABI_VERSION) {
    throw new WasmTorchError('unsupported-abi', `The module was written for interface ${manifest.abi}; this loader knows interface ${ABI_VERSION}.`, manifest.abi > ABI_VERSION ? "update the npm package 'wasm-torch'" : 'export the model again with the current `wasm-torch`');
  }
  const wrong = differs(json, LIKE, 'it');
  if (wrong !== undefined) throw broken(`${wrong} is not what it should be`);
  manifest.inputs.forEach(checkTensor);
  manifest.outputs.forEach(checkTensor);
  manifest.states?.forEach(checkTensor);
  const { weights_base, weights_bytes, initial_pages } = manifest.memory;
  const chunks = manifest.external_weights?.chunks.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;
  if (weights_base + weights_bytes > initial_pages * 65536 || chunks > weights_bytes) throw broken('its weights lie outside of the memory');
  return manifest;
}

/** The manifest in the bytes of a module file, as far as the file goes. */
export function readManifest(bytes: Uint8Array): Manifest {
  return manifestIn(bytes) ?? parseManifest(undefined);
}

/** The manifest in the first section of a file; undefined when its bytes end before. */
export function manifestIn(bytes: Uint8Array): Manifest | undefined {
  let at = HEADER.length + 1;
  let size = 0;
  for (let bits = 0; ; bits += 7) {
    const byte = bytes[at++] ?? 0;
    size += (byte & 0x7f) * 2 ** bits;
    if (byte < 0x80) break;
  }
  return at + size > bytes.length || size === 0 ? undefined : parseManifest(namedSection(bytes.subarray(at, at + size)).get(MANIFEST_SECTION));
}

/** What a custom section holds, under its name. */
export function namedSection(contents: Uint8Array): Map<string, Uint8Array> {
  // Names that matter are shorter than 128 bytes.
  const start = 1 + contents[0]!;
  return new Map([[new TextDecoder().decode(contents.subarray(1, start)), contents.subarray(start)]]);
}

function checkTensor(tensor: TensorInfo): void {
  const dtype = findDType(tensor.dtype);
  if (dtype === undefined) throw broken(`tensor '${tensor.name}' has the unknown data type '${tensor.dtype}'`);
  const bytes = elementCount(tensor.shape) * DTYPES[dtype].BYTES_PER_ELEMENT;
  if (bytes !== tensor.bytes) {
    throw broken(`tensor '${tensor.name}' of ${dtype} ${formatShape(tensor.shape)} takes ${bytes} bytes, it says ${tensor.bytes}`);
  }
}

/** Whatever JSON may hold. */
const ANY = undefined;
const TENSOR = { name: '', dtype: '', shape: [0], 'sizes?': [ANY], offset: 0, bytes: 0 };

/** A value of each field that the loader reads. Numbers are whole and not negative. */
const LIKE = {
  inputs: [TENSOR],
  outputs: [TENSOR],
  'states?': [TENSOR],
  'symbols?': [{ name: '', min: 0, max: 0, offset: 0 }],
  memory: { weights_base: 0, weights_bytes: 0, arena_bytes: 0, initial_pages: 0, maximum_pages: 0 },
  'variant?': '',
  features: [''],
  'variants?': [{ name: '', features: [''], section: '' }],
  steps: [{ layers: [''], kernel: '', 'macs?': 0 }],
  'weights_sha256?': [''],
  'external_weights?': { chunks: [{ file: '', bytes: 0 }] },
};

/** The first place where a value is not of the example's form. */
function differs(value: any, example: any, at: string): string | undefined {
  if (example === ANY) return;
  if (typeof value !== typeof example || value === null || Array.isArray(value) !== Array.isArray(example)) return at;
  if (example === 0) return Number.isSafeInteger(value) && value >= 0 ? undefined : at;
  if (typeof value !== 'object') return;
  for (const field in Array.isArray(value) ? value : example) {
    const name = field.replace('?', '');
    const wrong = name !== field && value[name] == null ? undefined : differs(value[name], example[Array.isArray(value) ? 0 : field], `${at}.${name}`);
    if (wrong !== undefined) return wrong;
  }
  return;
}

function broken(why: string, cause?: unknown): WasmTorchError {
  return damaged(`The module's manifest cannot be used: ${why}.`, cause);
}
