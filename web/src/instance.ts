// A running module: calls its exports and moves bytes in and out of its memory. It checks no tensors.

import { type ModuleExports, STATUS, STATUS_RECORD } from './abi.generated.js';
import { DTYPES } from './dtype.js';
import { messageOf, WasmTorchError } from './errors.js';
import type { LoadedModule } from './load.js';
import type { Manifest, TensorInfo } from './manifest.js';
import { Tensor } from './tensor.js';

export class Instance {
  readonly manifest: Manifest;
  readonly #exports: ModuleExports;

  private constructor(manifest: Manifest, instance: WebAssembly.Instance) {
    this.manifest = manifest;
    this.#exports = instance.exports as unknown as ModuleExports;
  }

  /** Instantiates the module and calls its `init`. */
  static async create({ module, manifest }: LoadedModule): Promise<Instance> {
    let wasm: WebAssembly.Instance;
    try {
      wasm = await WebAssembly.instantiate(module, {});
    } catch (cause) {
      if (!(cause instanceof RangeError)) {
        throw new WasmTorchError('invalid-module', `The module could not be instantiated: ${messageOf(cause)}.`, { cause });
      }
      const mib = Math.ceil(manifest.memory.initial_pages / 16);
      throw new WasmTorchError('out-of-memory', `The engine did not give the module its ${mib} MiB of memory: ${messageOf(cause)}.`, {
        hint: 'dispose models that are no longer used, or close other tabs',
        cause,
      });
    }
    const instance = new Instance(manifest, wasm);
    instance.#call(() => instance.#exports.init());
    return instance;
  }

  /** Executes steps first..last (half-open). */
  run(first: number, last: number): void {
    this.#call(() => this.#exports.run(first, last));
  }

  /** Copies a tensor's elements to where the module expects this input. */
  write(info: TensorInfo, tensor: Tensor): void {
    const { buffer, byteOffset, byteLength } = tensor.data;
    this.#bytes(info).set(new Uint8Array(buffer, byteOffset, byteLength));
  }

  /** A copy of this output, as a tensor. */
  read(info: TensorInfo): Tensor {
    const copy = this.#bytes(info).slice().buffer as ArrayBuffer;
    return new Tensor(new DTYPES[info.dtype].array(copy), info.shape, info.dtype);
  }

  /** The module's memory may grow in any call: views are made afresh, and addresses are unsigned. */
  #bytes(info: TensorInfo): Uint8Array {
    const base = this.#exports.arena_base.value as number;
    return new Uint8Array(this.#exports.memory.buffer, (base + info.offset) >>> 0, info.bytes);
  }

  /** Calls an export that returns a status code and turns a bad one into an error that names the layer. */
  #call(enter: () => number): void {
    let code: number;
    try {
      code = enter();
    } catch (cause) {
      throw new WasmTorchError('execution-failed', `The module stopped: ${messageOf(cause)}.`, {
        hint: 'this is a fault of the compiler or a damaged file: report it with the model',
        cause,
      });
    }
    if (code === 0) return;
    const record = new DataView(this.#exports.memory.buffer, this.#exports.status() >>> 0);
    const step = record.getUint32(STATUS_RECORD.step, true);
    const detail = record.getUint32(STATUS_RECORD.detail, true);
    const status = STATUS.find((row) => row.code === code);
    const info = this.manifest.steps[step];
    const layers = info?.layers ?? [];
    const where = info === undefined ? '' : ` in step ${step} (${layers.join(' + ') || info.kernel})`;
    throw new WasmTorchError(status?.name === 'OutOfMemory' ? 'out-of-memory' : 'execution-failed', `${status?.text ?? `Unknown status ${code}.`} Found${where}, detail ${detail}.`, { layers });
  }
}
