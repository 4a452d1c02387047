// A loaded model: checks tensors against the manifest and runs the module. It knows only what the manifest says.

import { DTYPES, type TypedArray } from './dtype.js';
import type { Backend } from './engine.js';
import { WasmTorchError } from './errors.js';
import type { MemoryStats } from './instance.js';
import type { Manifest, TensorInfo } from './manifest.js';
import { type Profile, Profiler, type ProfilingData } from './profile.js';
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
  readonly #listeners = new Set<(ms: number) => void>();
  #profiler: Profiler;
  #profiling: boolean;
  #disposed = false;

  /** Made by `runtime.loadModel`. */
  constructor(backend: Backend, profiling = false) {
    this.manifest = backend.info.manifest;
    this.#backend = backend;
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
    this.inputs.forEach((info) => check(info, named[info.name]));
    const start = performance.now();
    const sizes = symbolValues(this.manifest, named);
    const arrays = [...this.inputs.map(({ name }) => named[name]!.data), sizes];
    const profile = options.profile ?? this.#profiling;
    const shapes = grows(this.manifest) ? Object.fromEntries(this.inputs.map(({ name }) => [name, { shape: named[name]!.shape }])) : undefined;
    const call = this.#backend.call(arrays, { profile, signal: options.signal, transfer: options.transfer, shapes });
    if (options.transfer) this.inputs.forEach(({ name }) => named[name]!.dispose());
    const { outputs, ms, steps, sizes: found } = await call;
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
    const arrays = await this.#backend.state();
    const sizes = arrays.pop() as Int32Array;
    return Object.fromEntries(this.states.map((info, i) => [info.name, new Tensor(arrays[i]!, shapeAt(this.manifest, info, sizes), info.dtype)]));
  }

  /** The next call finds these states, all of them, which `saveState` gave. */
  async restoreState(states: Readonly<Tensors>): Promise<void> {
    this.#check();
    known(states, this.states, 'state');
    this.states.forEach((info) => check(info, states[info.name], 'State'));
    const sizes = symbolValues({ ...this.manifest, inputs: this.states }, states);
    await this.#backend.state([...this.states.map(({ name }) => states[name]!.data), sizes]);
  }

  /** The next call finds zeros. */
  async resetState(): Promise<void> {
    this.#check();
    const sizes = Int32Array.from(this.manifest.symbols ?? [], ({ min }) => min);
    await this.#backend.state([...zeros(this.states.map((info) => ({ ...info, shape: shapeAt(this.manifest, info, sizes) }))), sizes]);
  }

  /**
   * Runs `calls` times on zeros, so that all threads and the engine's best code are ready; states stay as they were.
   * Returns the milliseconds of the last call.
   */
  async warmup(calls = 3): Promise<number> {
    this.#check();
    let last = 0;
    const states = await this.#backend.state();
    for (let call = 0; call < calls; call++) {
      last = (await this.#backend.call([...zeros(this.inputs), largest(this.manifest)], { profile: false, ready: true })).ms;
    }
    await this.#backend.state(states);
    return last;
  }

  /** Another instance: inputs, outputs and intermediate tensors of its own, the same weights. Dispose each. */
  async share(): Promise<Model<I, O>> {
    this.#check();
    return new Model<I, O>(await this.#backend.share(), this.#profiling);
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
    await this.#backend.dispose();
  }

  #check(): void {
    if (this.#disposed) throw new WasmTorchError('disposed', `The model '${this.manifest.model}' was disposed.`, 'load it again');
  }

  #named(inputs: Readonly<Tensors> | Tensor): Readonly<Tensors> {
    const nameless = inputs instanceof Tensor;
    if (nameless && this.inputs.length === 1) return { [this.inputs[0]!.name]: inputs };
    if (nameless || typeof inputs !== 'object' || inputs === null) {
      throw new WasmTorchError('invalid-argument', `forward takes tensors by name; found ${nameless ? 'one tensor without a name' : inputs === null ? 'null' : typeof inputs}.`, `pass {name: tensor} for ${names(this.inputs)}`);
    }
    known(inputs, this.inputs, 'input');
    return inputs;
  }
}

function zeros(infos: readonly TensorInfo[]): TypedArray[] {
  return infos.map(({ dtype, shape }) => new DTYPES[dtype](elementCount(shape)));
}

const names = (infos: readonly TensorInfo[]) => infos.map(({ name }) => `'${name}'`).join(', ') || 'none';

/** Throws when a tensor has a name that the model does not know. */
function known(tensors: Readonly<Tensors>, infos: readonly TensorInfo[], what: 'input' | 'state'): void {
  const unknown = Object.keys(tensors).find((name) => !infos.some((info) => info.name === name));
  if (unknown === undefined) return;
  throw new WasmTorchError(`unknown-${what}`, `The model has no ${what} '${unknown}'.`, `its ${what}s are ${names(infos)}`);
}

/** Throws unless `tensor` is what the model takes as this input or state. */
function check(info: TensorInfo, tensor: Tensor | undefined, what: 'Input' | 'State' = 'Input'): void {
  const expected = `${info.dtype} ${formatSizes(info)}`;
  if (tensor === undefined) throw new WasmTorchError(what === 'Input' ? 'missing-input' : 'missing-state', `${what} '${info.name}' is missing.`, `it takes ${expected}`);
  if (!(tensor instanceof Tensor)) {
    throw new WasmTorchError('invalid-argument', `${what} '${info.name}': expected a tensor of ${expected}, found ${typeof tensor}.`, 'wrap the data with createTensor');
  }
  if (tensor.dtype !== info.dtype) {
    throw new WasmTorchError('dtype-mismatch', `${what} '${info.name}': expected ${info.dtype}, found ${tensor.dtype}.`, `createTensor(data, shape, '${info.dtype}') converts`);
  }
  // A disposed tensor throws here, before anything is written.
  void tensor.data;
}
