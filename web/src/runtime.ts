// The entry: WASMTorch.init() and the runtime that loads models and makes tensors. It holds no model state but a list.

import { unlessAborted } from './abort.js';
import { readAhead } from './ahead.js';
import { type Backend, Engine, type Settings } from './engine.js';
import { messageOf } from './errors.js';
import type { MemoryStats } from './instance.js';
import { isModule, load, type LoadedModule, type LoadOptions, precompiled } from './load.js';
import type { Manifest } from './manifest.js';
import { Model, type Tensors } from './model.js';
import { type Capabilities, capabilitiesOf, type InitOptions, type RuntimeSettings, settingsOf } from './options.js';
import type { Platform } from './port.js';
import type { OperationTime, ProfilingData } from './profile.js';
import { Connection, Remote } from './remote.js';
import { absolute, type ByteSource, type ModuleSource, type Opened, withOpened } from './source.js';
import { readBeginning } from './stream.js';
import { chooseVariant } from './variant.js';
import { createTensor } from './tensor.js';

export type { Capabilities, InitOptions } from './options.js';

export interface ModelOptions extends LoadOptions {
  /** Run the model in this thread (true) or in a worker of its own (false). By default only small models run in a page's thread. */
  readonly inline?: boolean;
  /** For this model, instead of what `init` was given: up to as many as `capabilities().threadCount`. */
  readonly threads?: number;
}

/** Larger files have models that are not small, whatever their manifest says. */
const LARGE_FILE = 4 << 20;

/** Whether a call takes a fraction of a millisecond. */
function isSmall(manifest: Manifest): boolean {
  return manifest.memory.weights_bytes <= 1 << 20 && manifest.steps.reduce((sum, { macs }) => sum + macs, 0) <= 5e6;
}

/** What is told at all; a level includes those before it. */
const LEVELS = ['warn', 'info', 'debug'];

export class Runtime {
  readonly #platform: Platform;
  readonly #options: InitOptions;
  #models: Model[] = [];
  #found: RuntimeSettings | undefined;
  #why: Record<string, string> | undefined;
  #profiling: boolean;

  /** A tensor from typed or plain arrays: see `createTensor`. */
  readonly createTensor = createTensor;

  constructor(platform: Platform, options: InitOptions) {
    this.#platform = platform;
    this.#options = options;
    this.#profiling = !!options.profiling;
  }

  /** Whether the engine has the 128-bit SIMD instructions that modules need. */
  hasSIMD(): boolean {
    return !this.#settings.features.simd128;
  }

  /** Threads that a model with a threads variant gets. */
  getThreadCount(): number {
    return this.#settings.threads;
  }

  /** What the engine and the page allow, and why not. */
  capabilities(): Capabilities {
    return capabilitiesOf(this.#settings, this.#why);
  }

  /**
   * A model from an address, a Response, bytes or a compiled module; promises of these are awaited. In a page it runs in a
   * worker of its own, unless a call takes less time than a message to a worker.
   */
  async loadModel<I extends Readonly<Tensors> = Readonly<Tensors>, O extends Tensors = Tensors>(source: ModuleSource | PromiseLike<ModuleSource>, options: ModelOptions = {}): Promise<Model<I, O>> {
    // Disposed models give their memory back before the next one takes its own.
    this.#live();
    const backend = await this.#load(source, options);
    const { variant, threads, manifest, why } = backend.info;
    this.#log('info', manifest.model, { variant, threads, why });
    const model = new Model<I, O>(backend, this.#profiling);
    this.#models.push(model as never);
    return model;
  }

  /** Whether every call of every model is profiled. */
  enableOperationProfiling(enabled = true): void {
    this.#profiling = enabled;
    for (const model of this.#live()) model.enableOperationProfiling(enabled);
  }

  /** Of all models: times by operation, slowest first; percentiles of the model that was loaded last. */
  getProfilingData(): ProfilingData {
    const all = this.#live().map((model) => model.getProfilingData());
    const operationTimes = all.flatMap((data): readonly OperationTime[] => data.operationTimes).sort((a, b) => b.ms - a.ms);
    return { p50: 0, p95: 0, p99: 0, ...all.at(-1), operationTimes };
  }

  /** Sums over all models that are not disposed, each as of its last call. */
  getMemoryStats(): MemoryStats {
    const sum = { heapUsed: 0, peakBytes: 0, weights: 0, arena: 0, wasmMemory: 0, hits: 0, misses: 0 };
    for (const model of this.#live()) {
      const { pool, ...bytes } = model.getMemoryStats();
      const all = { ...bytes, ...pool };
      for (const name in sum) sum[name as keyof typeof sum] += all[name as keyof typeof sum];
    }
    const { hits, misses, ...bytes } = sum;
    return { ...bytes, pool: { hits, misses, hitRatio: hits / (hits + misses) || 0 } };
  }

  /** Disposes all models. */
  async shutdown(): Promise<void> {
    await Promise.all(this.#live().map((model) => model.dispose()));
  }

  async #load(source: ModuleSource | PromiseLike<ModuleSource>, options: ModelOptions): Promise<Backend> {
    const platform = this.#platform;
    const given = await source;
    const inline = options.inline ?? this.#options.inline ?? (platform.inline || undefined);
    let connecting: Promise<Connection | undefined> | undefined;
    const connect = () => {
      connecting ??= this.#connect(options.signal);
      connecting.catch(() => {});
      return connecting;
    };
    const start = async (loaded: LoadedModule, settings: Settings, here: boolean): Promise<Backend> => {
      const connection = here ? undefined : await connect();
      return connection === undefined ? Engine.start(loaded, platform, settings) : Remote.start(connection, { kind: 'start', loaded, settings }, options.signal);
    };
    const attempt = async (opened: Opened): Promise<Backend> => {
      // The size tells before the manifest does, and a worker takes a while to start.
      const away = inline === false || (inline === undefined && (opened.total ?? 0) > LARGE_FILE);
      if (away) void connect();
      const weightsUrl = options.weightsUrl === undefined ? opened.url : absolute(options.weightsUrl);
      const file = await readBeginning({ ...readAhead(opened), url: weightsUrl });
      const here = inline === true || (!away && isSmall(file.manifest));
      // Threads of a small model would take longer to start than they ever save.
      const settings = this.#settingsFor(options.threads ?? (here && !inline && !options.variant?.includes('threads') ? 1 : undefined));
      const variant = chooseVariant(file.manifest, settings.features, options.variant);
      if (!here && !variant.name.includes('threads')) {
        const connection = await connect();
        if (connection !== undefined) return Remote.load(connection, file, variant, settings, options);
      }
      // Shared memory is filled from here, while the worker starts.
      return load(file, variant, platform.open, (loaded) => start(loaded, settings, here), options);
    };
    const guarded = (loading: Promise<Backend>) => loading.catch((error) => {
      void connecting?.then((connection) => connection?.end(error), () => {});
      connecting = undefined;
      throw error;
    });
    if (isModule(given)) {
      const settings = this.#settingsFor(options.threads);
      return guarded(start(precompiled(given, settings.features, options.variant), settings, inline === true));
    }
    const loading = withOpened(given as ByteSource, platform.open, options, (opened) => guarded(attempt(opened)));
    // The engine is probed while the answer is on its way. A getter alone would count as pure and be left out.
    this.#settingsFor(undefined);
    return loading;
  }

  get #settings(): RuntimeSettings {
    return (this.#found ??= settingsOf(this.#options, this.#platform));
  }

  #settingsFor(threads: number | undefined): Settings {
    return threads === undefined ? this.#settings : settingsOf({ ...this.#options, threads: Math.min(threads, this.#settings.threads) }, this.#platform, this.#settings.features);
  }

  /** A new worker; none where its script cannot run, because of the page's policy or its origin, which is no reason to fail. */
  async #connect(signal: AbortSignal | undefined): Promise<Connection | undefined> {
    let connection: Connection | undefined;
    try {
      const { startWorker, startThread } = this.#platform;
      if (startWorker === undefined || typeof Worker === 'undefined') throw new Error('there are no workers here');
      connection = new Connection(startWorker(), startThread);
      await unlessAborted(connection.alive, signal);
      return connection;
    } catch (error) {
      connection?.end(error);
      signal?.throwIfAborted();
      const worker = `models run in this thread: ${messageOf(error)}`;
      this.#why = { worker };
      this.#log('warn', worker);
      return undefined;
    }
  }

  #live(): Model[] {
    return (this.#models = this.#models.filter(({ disposed }) => !disposed));
  }

  #log(level: 'warn' | 'info', ...text: unknown[]): void {
    const { debug, log_level = debug ? 'debug' : '' } = this.#options;
    if (LEVELS.indexOf(level) <= LEVELS.indexOf(log_level)) console[level]('wasm-torch:', ...text);
  }
}

/** The entry for a platform. */
export function entry(platform: Platform): { init(options?: InitOptions): Promise<Runtime> } {
  return { init: async (options = {}) => new Runtime(platform, options) };
}
