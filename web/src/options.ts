// What `WASMTorch.init` takes: the options that count here, and those that a browser cannot honour. It starts nothing.

import type { Settings } from './engine.js';
import { detect, type Features } from './features.js';
import type { Platform } from './port.js';

export interface InitOptions {
  /** Threads per model: a number, 'auto' (the default: one per core, 8 at most), true for 'auto', false for one. */
  readonly threads?: number | 'auto' | boolean;
  /** The same as `threads`, under another name. */
  readonly compute_threads?: number;
  /** Bytes that the memory pools hold ready from the start. */
  readonly memory_pool_size?: number;
  /** Profile every call of every model. */
  readonly profiling?: boolean;
  /** As `log_level: 'debug'`. */
  readonly debug?: boolean;
  /** What is told to the console: nothing unless asked for. */
  readonly log_level?: 'silent' | 'error' | 'warn' | 'info' | 'debug';
  /** Run models in this thread (true) or in workers of their own (false). By default only small models run in a page's thread. */
  readonly inline?: boolean;
  readonly simd?: boolean;
  readonly memory_growth?: boolean;
  readonly optimize_for_speed?: boolean;
  readonly initial_memory?: number;
  readonly enable_memory_recycling?: boolean;
  readonly thread_affinity?: boolean;
  readonly work_stealing?: boolean;
  readonly io_threads?: number;
  readonly thread_stack_size?: number;
  readonly enable_numa_awareness?: boolean;
}

export interface Capabilities {
  readonly simd: boolean;
  readonly relaxedSimd: boolean;
  readonly threads: boolean;
  /** Threads that a model with a threads variant gets. */
  readonly threadCount: number;
  /** Why one of these is not so, by its name; `worker` where models cannot run off this thread. */
  readonly why: Readonly<Record<string, string>>;
  /** Options that were given and change nothing here. */
  readonly ignored: readonly string[];
}

const HONOURED = ['threads', 'compute_threads', 'memory_pool_size', 'profiling', 'debug', 'log_level', 'inline'];

/** True of every module whatever is asked for; only the opposite would be ignored. */
const ALWAYS = ['simd', 'enable_memory_recycling', 'work_stealing', 'memory_growth', 'optimize_for_speed'];

/** Names as users of capabilities() read them. */
const NAMES: Readonly<Record<string, string>> = { simd128: 'simd', 'relaxed-simd': 'relaxedSimd', atomics: 'threads' };

const MAXIMUM_THREADS = 8;

/** What follows from the options. Probing takes a millisecond: `features` is what was found before. */
export function settingsOf(options: InitOptions, platform: Platform, features = detect()): Settings & { readonly capabilities: Capabilities; readonly found: Features } {
  const why = Object.fromEntries(Object.entries(features.why).map(([name, text]) => [NAMES[name] ?? name, text]));
  const wanted = options.threads ?? options.compute_threads ?? 'auto';
  const cores = platform.cores ?? globalThis.navigator?.hardwareConcurrency ?? 1;
  let threads = wanted === false ? 1 : typeof wanted === 'number' ? Math.max(1, Math.floor(wanted)) : Math.min(cores, MAXIMUM_THREADS);
  if (threads > 1 && platform.startThread === undefined) why.threads ??= 'workers cannot be started here';
  if (why.threads !== undefined) threads = 1;
  else if (threads === 1) why.threads = wanted === 'auto' || wanted === true ? 'the machine has one core' : 'one thread was asked for';
  const available = new Set(features.available);
  // One thread needs no shared memory.
  if (threads === 1) available.delete('atomics');
  const ignored = Object.entries(options).filter(([name, value]) => value !== undefined && !HONOURED.includes(name) && !(value === true && ALWAYS.includes(name)));
  return {
    threads,
    features: { available, why: { ...features.why, ...(why.threads === undefined ? {} : { atomics: why.threads }) } },
    poolBytes: options.memory_pool_size ?? 0,
    found: features,
    capabilities: {
      simd: available.has('simd128'),
      relaxedSimd: available.has('relaxed-simd'),
      threads: threads > 1,
      threadCount: threads,
      why,
      ignored: ignored.map(([name]) => name),
    },
  };
}
