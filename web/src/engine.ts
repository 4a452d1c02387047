// A model that runs in this thread: loads it, starts its threads, runs calls. It checks no tensors and keeps no queue.

import type { TypedArray } from './dtype.js';
import { messageOf, WasmTorchError } from './errors.js';
import type { Features } from './features.js';
import { Cancelled, Instance, type MemoryStats } from './instance.js';
import type { LoadedModule } from './load.js';
import type { Manifest } from './manifest.js';
import type { Platform } from './port.js';
import { shapeAt, symbolValues } from './sizes.js';
import { ThreadPool } from './threads.js';
import type { VariantName } from './variant.js';

/** After this long in one piece the event loop gets its turn, in calls that may be cancelled. */
const SLICE_MS = 8;

/**
 * The first call needs the other cores itself: they compile its code. So threads start after it, or after so long without a
 * call, which is while weights arrive; but at once for models with calls of so many operations, which threads join on the way.
 */
const THREADS_MS = 50;
const LONG_CALL = 3e9;

/** What stays the same for all models of a runtime. */
export interface Settings {
  /** Threads that compute, the caller's included. */
  readonly threads: number;
  readonly features: Features;
  /** Bytes that the pools hold ready from the start. */
  readonly poolBytes: number;
}

/** What is known of a loaded model. */
export interface ModelInfo {
  readonly manifest: Manifest;
  readonly variant: VariantName;
  readonly threads: number;
  /** Why something that was asked for is not so. */
  readonly why: Readonly<Record<string, string>>;
}

export interface CallOptions {
  /** Time every step. */
  readonly profile: boolean;
  /** Begin when all threads are there. */
  readonly ready?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Give the inputs' buffers away instead of copying them. */
  readonly transfer?: boolean | undefined;
  /** The inputs' shapes, where their sizes depend on those of states. */
  readonly shapes?: Readonly<Record<string, { readonly shape: readonly number[] }>> | undefined;
}

export interface CallResult {
  /** In the manifest's order. */
  readonly outputs: TypedArray[];
  /** The values of the symbols. */
  readonly sizes: Int32Array;
  /** Milliseconds of the call, without the way to a worker and back. */
  readonly ms: number;
  /** Milliseconds of each step, if they were asked for. */
  readonly steps: Float64Array | undefined;
  readonly memory: MemoryStats;
  readonly state: Pick<ModelInfo, 'threads' | 'why'>;
}

/** Where a model runs: one call at a time. */
export interface Backend {
  readonly info: ModelInfo;
  /** As of the last call. */
  readonly memory: MemoryStats;
  /** The inputs in the manifest's order, then the values of its symbols. */
  call(inputs: TypedArray[], options: CallOptions): Promise<CallResult>;
  /** What the states are after the calls so far, in the manifest's order, and the symbols' values; `arrays` replace them. */
  state(arrays?: TypedArray[]): Promise<TypedArray[]>;
  /** The same weights with another arena. */
  share(): Promise<Backend>;
  dispose(): Promise<void>;
}

/** What the arenas of one instance have in common. */
interface Shared {
  readonly instance: Instance;
  info: ModelInfo;
  readonly pool: ThreadPool | undefined;
  /** Starts the threads, once; resolves when they are there, or are not. */
  readonly join: () => Promise<void> | undefined;
  users: number;
}

export class Engine implements Backend {
  memory: MemoryStats;
  readonly #shared: Shared;
  readonly #arena: number;

  private constructor(shared: Shared, arena: number) {
    this.#shared = shared;
    this.#arena = arena;
    this.memory = shared.instance.memoryStats();
  }

  /** Instantiates a module, whose weights may still arrive. */
  static async start(loaded: LoadedModule, platform: Platform, { threads, poolBytes }: Settings): Promise<Engine> {
    const { manifest, variant, why } = loaded;
    const threaded = variant.includes('threads');
    if (!threaded && threads > 1) why.threads = `the variant ${variant} has one thread`;
    const instance = await Instance.create(loaded);
    if (poolBytes > 0) instance.exports.pool_reserve(poolBytes, 1);
    const pool = threaded && threads > 1 ? new ThreadPool(platform, instance.exports) : undefined;
    let joining: Promise<void> | undefined;
    const join = () =>
      (joining ??= pool?.start(threads - 1, loaded.module).catch((error) => {
        why.threads = messageOf(error);
        shared.info = { ...shared.info, threads: 1 };
      }));
    const shared: Shared = { instance, info: { manifest, variant, threads: pool === undefined ? 1 : threads, why }, pool, join, users: 1 };
    if (manifest.steps.reduce((sum, { macs }) => sum + macs, 0) > LONG_CALL) void join();
    else if (pool !== undefined) setTimeout(() => shared.users > 0 && join(), THREADS_MS);
    return new Engine(shared, 0);
  }

  get info(): ModelInfo {
    return this.#shared.info;
  }

  /** The word that ends `run` early when it is not 0, where another thread can reach it. */
  stopFlag(): Int32Array | undefined {
    const { memory, stop_flag } = this.#shared.instance.exports;
    return memory.buffer instanceof ArrayBuffer ? undefined : new Int32Array(memory.buffer, stop_flag() >>> 0, 1);
  }

  /** Inputs are written before this comes back, unless all threads are to be ready. */
  async call(inputs: TypedArray[], options: CallOptions): Promise<CallResult> {
    const shared = this.#shared;
    if (options.ready) await shared.join();
    try {
      return await this.#run(inputs, options);
    } catch (error) {
      throw error instanceof Cancelled ? new WasmTorchError('cancelled', 'The call was cancelled.') : error;
    } finally {
      if (shared.users > 0) void shared.join();
    }
  }

  async #run(inputs: TypedArray[], { profile, signal, shapes }: CallOptions): Promise<CallResult> {
    const { instance } = this.#shared;
    const { manifest } = instance;
    const start = performance.now();
    instance.selectArena(this.#arena);
    const given = shapes === undefined ? (inputs[manifest.inputs.length] as Int32Array) : symbolValues(manifest, shapes, instance.sizes());
    manifest.inputs.forEach((info, i) => instance.write(info, inputs[i]!));
    if (manifest.symbols?.length) instance.write(manifest.symbols[0]!, given);
    const count = manifest.steps.length;
    const steps = profile ? new Float64Array(count) : undefined;
    if (steps === undefined && signal === undefined) {
      instance.run(0, count);
    } else {
      let before = performance.now();
      let turn = before;
      // Where no other thread can stop them, long steps are done task by task. A branch goes back in a loop, or past steps.
      const piecewise = signal !== undefined && this.stopFlag() === undefined;
      for (let step = 0, task = 0; step < count; ) {
        const next = piecewise ? instance.runTask(step, task) : instance.run(step, step + 1);
        let now = performance.now();
        if (steps !== undefined) steps[step]! += now - before;
        task = piecewise && next === step && task + 1 < manifest.steps[step]!.tasks ? task + 1 : 0;
        step = next;
        if (signal !== undefined && now - turn > SLICE_MS) {
          await nextTurn();
          signal.throwIfAborted();
          turn = now = performance.now();
        }
        before = now;
      }
    }
    // What the run has found is in memory now.
    const now = instance.sizes();
    const sizes = given.map((size, i) => (manifest.symbols![i]!.found ? now[i]! : size));
    const outputs = manifest.outputs.map((info) => instance.read(info, shapeAt(manifest, info, sizes)));
    this.memory = instance.memoryStats();
    const { threads, why } = this.info;
    return { outputs, sizes, ms: performance.now() - start, steps, memory: this.memory, state: { threads, why } };
  }

  async state(arrays?: TypedArray[]): Promise<TypedArray[]> {
    const { instance } = this.#shared;
    const { states = [], symbols } = instance.manifest;
    instance.selectArena(this.#arena);
    if (arrays !== undefined && symbols?.length) instance.write(symbols[0]!, arrays[states.length]!);
    const sizes = instance.sizes();
    return [...states.map((info, i) => instance.state(info, shapeAt(instance.manifest, info, sizes), arrays?.[i])), sizes];
  }

  async share(): Promise<Engine> {
    const arena = this.#shared.instance.addArena();
    this.#shared.users += 1;
    return new Engine(this.#shared, arena);
  }

  async dispose(): Promise<void> {
    this.#shared.instance.removeArena(this.#arena);
    if (--this.#shared.users === 0) await this.#shared.pool?.stop();
  }
}

/** Lets messages and timers run: sooner than a timer would. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}
