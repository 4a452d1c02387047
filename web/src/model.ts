// A loaded model: checks tensors against the manifest and runs the module. It knows only what the manifest says.

import { unlessAborted } from './abort.js';
import { DTYPES, type TypedArray } from './dtype.js';
import type { Backend } from './engine.js';
import { WasmTorchError } from './errors.js';
import type { MemoryStats } from './instance.js';
import type { Manifest, TensorInfo } from './manifest.js';
import { type Profile, Profiler, type ProfilingData } from './profile.js';
import { Queue } from './queue.js';
import { formatSizes, grows, largest, shapeAt, symbolValues } from './sizes.js';
import { elementCount, Tensor } from './tensor.js';
import type { VariantName } from './variant.js';

/** Tensors by name. */
export type Tensors = Record<string, Tensor>;

export interface ForwardOptions {
  /** Time every step of this call; `model.profile()` sums up. */
  readonly profile?: boolean;
  /** Cancels the call: it fails with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Move the inputs' buffers to the worker instead of copying them; the tensors are disposed. */
  readonly transfer?: boolean;
}

/** `I` and `O` are the inputs and outputs by name, as `export --types` writes them. */
export class Model<I extends Readonly<Tensors> = Readonly<Tensors>, O extends Tensors = Tensors> {
  readonly manifest: Manifest;
  readonly #backend: Backend;
  /** Of all instances beside the same weights. */
  readonly #queue: Queue;
  readonly #listeners = new Set<(ms: number) => void>();
  #profiler: Profiler;
  #profiling: boolean;
  #disposed = false;

  /** Made by `runtime.loadModel`. */
  constructor(backend: Backend, profiling = false, queue = new Queue()) {
    this.manifest = backend.info.manifest;
    this.#backend = backend;
    this.#queue = queue;
    this.#profiler = new Profiler(this.manifest);
    this.#profiling = profiling;
  }

  get inputs(): readonly TensorInfo[] {
    return this.manifest.inputs;
  }

  get outputs(): readonly TensorInfo[] {
    return this.manifest.outputs;
  }

  /** The kind of code that runs. */
  get variant(): VariantName {
    return this.#backend.info.variant;
  }

  /** Threads that compute. They start after the first call, or before it when there is time; `warmup` waits for them. If they fail, it becomes 1 and `why.threads` says so. */
  get threads(): number {
    return this.#backend.info.threads;
  }

  /** Why something that was asked for is not so: `threads`, `integrity`, `worker`. */
  get why(): Readonly<Record<string, string>> {
    return this.#backend.info.why;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Outputs by name for inputs by name; a model with one input takes the tensor alone. Calls queue; inputs are copied. */
  async forward(inputs: I | Tensor, options: ForwardOptions = {}): Promise<O> {
    this.#check();
    const named = this.#named(inputs);
    const start = performance.now();
    const sizes = symbolValues(this.manifest, named);
    const arrays = [...this.inputs.map(({ name }) => named[name]!.data), sizes];
    const { signal, transfer, profile = this.#profiling } = options;
    const shapes = grows(this.manifest) ? Object.fromEntries(this.inputs.map(({ name }) => [name, { shape: named[name]!.shape }])) : undefined;
    // A call that runs at once has taken its inputs when this comes back from it; what waits needs copies.
    const copies = this.#queue.busy && !transfer;
    const taken = copies ? arrays.map((array) => array.slice()) : arrays;
    const call = this.#queue.run(async () => {
      signal?.throwIfAborted();
      return this.#backend.call(taken, { profile, signal, transfer: transfer || copies, shapes });
    });
    if (transfer) this.inputs.forEach(({ name }) => named[name]!.dispose());
    // A call that waits for its turn is given up at once.
    const { outputs, ms, steps, sizes: found } = await unlessAborted(call, signal);
    if (steps !== undefined) this.#profiler.add(ms, steps);
    for (const listener of this.#listeners) listener(performance.now() - start);
    return Object.fromEntries(this.outputs.map((info, i) => [info.name, new Tensor(outputs[i]!, shapeAt(this.manifest, info, found), info.dtype)])) as O;
  }

  /** What stays in the module between calls, as `export --state` says: zeros at first. */
  get states(): readonly TensorInfo[] {
    return this.manifest.states ?? [];
  }

  /** Copies of the states after the calls so far, by name. */
  async saveState(): Promise<Tensors> {
    this.#check();
    const arrays = await this.#state();
    const sizes = arrays.pop() as Int32Array;
    return Object.fromEntries(this.states.map((info, i) => [info.name, new Tensor(arrays[i]!, shapeAt(this.manifest, info, sizes), info.dtype)]));
  }

  /** The next call finds these states, all of them, which `saveState` gave. */
  async restoreState(states: Readonly<Tensors>): Promise<void> {
    this.#check();
    check(states, this.states, 'state');
    const sizes = symbolValues({ ...this.manifest, inputs: this.states }, states);
    await this.#state([...this.states.map(({ name }) => states[name]!.data.slice()), sizes]);
  }

  /** The next call finds zeros. */
  async resetState(): Promise<void> {
    this.#check();
    const sizes = Int32Array.from(this.manifest.symbols ?? [], ({ min }) => min);
    await this.#state([...zeros(this.states.map((info) => ({ ...info, shape: shapeAt(this.manifest, info, sizes) }))), sizes]);
  }

  /**
   * Runs `calls` times on zeros, so that all threads and the engine's best code are ready; states stay as they were.
   * Returns the milliseconds of the last call.
   */
  async warmup(calls = 3): Promise<number> {
    this.#check();
    let last = 0;
    const states = await this.#state();
    for (let call = 0; call < calls; call++) {
      const inputs = [...zeros(this.inputs), largest(this.manifest)];
      last = (await this.#queue.run(() => this.#backend.call(inputs, { profile: false, ready: true, transfer: true }))).ms;
    }
    await this.#state(states);
    return last;
  }

  /** Another instance: inputs, outputs and intermediate tensors of its own, the same weights. Dispose each. */
  async share(): Promise<Model<I, O>> {
    this.#check();
    return new Model<I, O>(await this.#backend.share(), this.#profiling, this.#queue);
  }

  /** Calls `listener` with the milliseconds of every call from now on; returns what ends that. */
  onCall(listener: (ms: number) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Whether every call is profiled, not only those with `{profile: true}`. */
  enableOperationProfiling(enabled = true): void {
    this.#profiling = enabled;
  }

  /** Times by operation, slowest first, and percentiles of the profiled calls. */
  getProfilingData(): ProfilingData {
    return this.#profiler.data();
  }

  /** Timings of all profiled calls since the last reset, in order of execution. */
  profile(): Profile {
    return this.#profiler.summary();
  }

  resetProfile(): void {
    this.#profiler = new Profiler(this.manifest);
  }

  /** As of the last call. */
  getMemoryStats(): MemoryStats {
    return this.#backend.memory;
  }

  /** Gives the module, its memory, threads and worker up, after the calls that wait. Harmless when repeated. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#queue.run(() => this.#backend.dispose());
  }

  #state(arrays?: TypedArray[]): Promise<TypedArray[]> {
    return this.#queue.run(() => this.#backend.state(arrays));
  }

  #check(): void {
    if (this.#disposed) throw new WasmTorchError('disposed', `The model '${this.manifest.model}' was disposed.`, 'load it again');
  }

  #named(inputs: Readonly<Tensors> | Tensor): Readonly<Tensors> {
    const alone = inputs instanceof Tensor;
    const named = alone && this.inputs.length === 1 ? { [this.inputs[0]!.name]: inputs } : inputs;
    if (named instanceof Tensor || Object(named) !== named) {
      throw new WasmTorchError('invalid-argument', `forward takes {name: tensor} for ${names(this.inputs)}; found ${alone ? 'one tensor' : inputs}.`);
    }
    check(named, this.inputs, 'input');
    return named;
  }
}

function zeros(infos: readonly TensorInfo[]): TypedArray[] {
  return infos.map(({ dtype, shape }) => new DTYPES[dtype](elementCount(shape)));
}

const names = (infos: readonly TensorInfo[]) => JSON.stringify(infos.map(({ name }) => name));

/** Throws unless `tensors` are the model's inputs or states by name. */
function check(tensors: Readonly<Tensors>, infos: readonly TensorInfo[], what: 'input' | 'state'): void {
  for (const unknown in tensors) {
    if (!infos.some(({ name }) => name === unknown)) throw new WasmTorchError(`unknown-${what}`, `The model has no ${what} '${unknown}'.`, `its ${what}s are ${names(infos)}`);
  }
  for (const info of infos) {
    const { name, dtype } = info;
    const tensor = tensors[name];
    const [code, found] =
      tensor === undefined ? ([`missing-${what}`, 'missing'] as const) : tensor instanceof Tensor ? (['dtype-mismatch', tensor.dtype] as const) : (['invalid-argument', 'no tensor'] as const);
    if (found !== dtype) throw new WasmTorchError(code, `The ${what} '${name}' is ${found}: expected ${dtype} ${formatSizes(info)}.`, `createTensor(data, shape, '${dtype}') makes it`);
  }
}
