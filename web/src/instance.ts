// A running module: calls its exports and moves bytes in and out of its memory. It checks no tensors and keeps no queue.

import { EXPORTS, type ModuleExports, POOL_STATS, STATUS, STATUS_RECORD, STATUS_TEXTS, type ThreadExports } from './abi.generated.js';
import { DTYPES, type TypedArray } from './dtype.js';
import { damaged, messageOf, noMemory, WasmTorchError } from './errors.js';
import type { LoadedModule } from './load.js';
import type { Manifest, StateInfo, TensorInfo } from './manifest.js';
import { elementCount } from './tensor.js';
import type { VariantName } from './variant.js';

/** What every module exports, and what only those with threads do. */
export type Exports = ModuleExports & Partial<ThreadExports>;

/** Bytes and counts of one model. */
export interface MemoryStats {
  /** Weights, arena and what the pools handed out. */
  readonly heapUsed: number;
  /** The largest value that `heapUsed` had. */
  readonly peakBytes: number;
  readonly weights: number;
  readonly arena: number;
  /** Size of the WebAssembly memory: what the page pays. */
  readonly wasmMemory: number;
  readonly pool: { readonly hits: number; readonly misses: number; readonly hitRatio: number };
}

/** What `run` throws when the stop flag ended it; whoever set the flag knows why. */
export class Cancelled extends Error {}

export class Instance {
  readonly manifest: Manifest;
  readonly variant: VariantName;
  readonly exports: Exports;
  readonly #arenas: number[];

  private constructor({ manifest, variant }: LoadedModule, instance: WebAssembly.Instance) {
    this.manifest = manifest;
    this.variant = variant;
    this.exports = instance.exports as unknown as Exports;
    this.#arenas = [this.exports.arena_base.value as number];
  }

  /** Instantiates the module and calls its `init`. */
  static async create(loaded: LoadedModule): Promise<Instance> {
    const { module, memory } = loaded;
    let instance: Instance;
    try {
      instance = new Instance(loaded, await WebAssembly.instantiate(module, { env: { memory: memory! } }));
      const { exports } = instance;
      const missing = EXPORTS.filter((name) => !(name in exports));
      if (missing.length > 0) throw new Error(`it does not export ${missing.join(', ')}`);
      // A base that cannot be set is found here.
      instance.selectArena(0);
    } catch (cause) {
      const what = 'The module could not be instantiated';
      throw cause instanceof RangeError ? noMemory(what, cause) : damaged(`${what}: ${messageOf(cause)}.`, cause);
    }
    instance.call(() => instance.exports.init());
    return instance;
  }

  /** Executes steps until one outside of first..last (half-open) is due: its number. */
  run(first: number, last: number): number {
    this.call(() => this.exports.run(first, last));
    return this.#status(STATUS_RECORD.step);
  }

  /** Executes one task of a step: the step that is due then. */
  runTask(step: number, task: number): number {
    this.call(() => this.exports.run_tasks(step, task, task + 1));
    return this.#status(STATUS_RECORD.step);
  }

  /** Copies an input's elements to where the module expects them. */
  write({ offset }: { readonly offset: number }, { buffer, byteOffset, byteLength }: TypedArray): void {
    this.#bytes(offset, byteLength).set(new Uint8Array(buffer, byteOffset, byteLength));
  }

  /** A copy of an output's elements. */
  read({ dtype, offset }: TensorInfo, shape: readonly number[]): TypedArray {
    const array = DTYPES[dtype];
    const elements = elementCount(shape);
    return new array(this.#bytes(offset, elements * array.BYTES_PER_ELEMENT).slice().buffer as ArrayBuffer, 0, elements);
  }

  /** A copy of a state's elements at a shape; or `elements` written there. */
  state(info: StateInfo, shape: readonly number[], elements?: TypedArray): TypedArray {
    const array = DTYPES[info.dtype];
    const bytes = array.BYTES_PER_ELEMENT;
    const dense = elements ?? new array(elementCount(shape));
    const inner = new Uint8Array(dense.buffer, dense.byteOffset, dense.byteLength);
    // The last dimensions whose elements lie together in both.
    let first = shape.length;
    let run = bytes;
    while (first > 0 && (info.strides?.[first - 1] ?? run / bytes) * bytes === run) run *= shape[--first]!;
    for (let at = 0; at < inner.length; at += run) {
      let rest = at / run;
      let from = info.offset;
      for (let d = first - 1; d >= 0; d--) {
        from += (rest % shape[d]!) * info.strides![d]! * bytes;
        rest = Math.floor(rest / shape[d]!);
      }
      const outer = this.#bytes(from, run);
      if (elements === undefined) inner.set(outer, at);
      else outer.set(inner.subarray(at, at + run));
    }
    return dense;
  }

  /** What the symbols are now, in the manifest's order. */
  sizes(): Int32Array {
    return Int32Array.from(this.manifest.symbols ?? [], ({ offset, min }) => Math.max(min, new Int32Array(this.#bytes(offset, 4).slice().buffer)[0]!));
  }

  /** Another arena in the same memory, beside the same weights: its number. The first one has number 0. */
  addArena(): number {
    const address = this.exports.alloc(this.manifest.memory.arena_bytes + 64);
    if (address === 0) {
      throw new WasmTorchError('out-of-memory', 'There is no memory for another instance.', 'export with a larger `--pool-mb`');
    }
    // What persists begins as zeros.
    new Uint8Array(this.exports.memory.buffer, address >>> 0, this.manifest.memory.arena_bytes + 64).fill(0);
    return this.#arenas.push(address) - 1;
  }

  removeArena(arena: number): void {
    if (arena > 0) this.exports.free(this.#arenas[arena]!);
  }

  /** Makes the next calls use this arena. Arenas begin on a cache line. */
  selectArena(arena: number): void {
    const address = this.#arenas[arena]!;
    this.exports.arena_base.value = arena === 0 ? address : (address + 63) & -64;
  }

  memoryStats(): MemoryStats {
    const { weights_bytes: weights, arena_bytes: arena } = this.manifest.memory;
    const record = this.exports.pool_stats();
    const hits = this.#word(record + POOL_STATS.hits);
    const misses = this.#word(record + POOL_STATS.misses);
    return {
      heapUsed: weights + arena + this.#word(record + POOL_STATS.used_bytes),
      peakBytes: weights + arena + this.#word(record + POOL_STATS.peak_bytes),
      weights,
      arena,
      wasmMemory: this.exports.memory.buffer.byteLength,
      pool: { hits, misses, hitRatio: hits / (hits + misses) || 0 },
    };
  }

  /** The module's memory may grow in any call: views are made afresh, and addresses are unsigned. */
  #bytes(offset: number, bytes: number): Uint8Array {
    const base = this.exports.arena_base.value as number;
    const { buffer } = this.exports.memory;
    const start = (base + offset) >>> 0;
    // Sizes that follow from a damaged manifest may be negative, or no numbers.
    if (!(bytes >= 0 && start + bytes <= buffer.byteLength)) throw damaged(`The manifest points at byte ${start + bytes}, outside of the memory.`);
    return new Uint8Array(buffer, start, bytes);
  }

  /** The word at an address, which exports give as if it were signed. */
  #word(address: number): number {
    return new Uint32Array(this.exports.memory.buffer, address >>> 0, 1)[0]!;
  }

  /** A field of the last call's outcome. */
  #status(field: number): number {
    return this.#word(this.exports.status() + field);
  }

  /** Calls an export that returns a status code and turns a bad one into an error that names the layer. */
  call(enter: () => number): void {
    let code: number;
    try {
      code = enter();
    } catch (cause) {
      throw new WasmTorchError('execution-failed', `The module stopped: ${messageOf(cause)}.`, 'report this with the model', cause);
    }
    if (code === 0) return;
    if (code === STATUS.Cancelled) throw new Cancelled();
    const step = this.#status(STATUS_RECORD.step);
    const detail = this.#status(STATUS_RECORD.detail);
    const info = this.manifest.steps[step];
    const layers = info?.layers ?? [];
    const where = info === undefined ? '' : ` in step ${step} (${layers.join(' + ') || info.kernel})`;
    const kind = code === STATUS.OutOfMemory ? 'out-of-memory' : code === STATUS.WorkerFailed ? 'worker-failed' : 'execution-failed';
    // Indices may be negative.
    const found = code === STATUS.IndexOutOfRange ? `index ${detail | 0}` : `detail ${detail}`;
    throw new WasmTorchError(kind, `${STATUS_TEXTS[code] ?? `Unknown status ${code}.`} Found${where}, ${found}.`, undefined, undefined, layers);
  }
}
