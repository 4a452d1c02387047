// What `WASMTorch.init` takes: the options that count here, and those that a browser cannot honour. It starts nothing.

import type { Settings } from './engine.js';
import { detect } from './features.js';
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

/** True of every module whatever is asked for; only the opposite would be ignored. */
const ALWAYS = ['simd', 'enable_memory_recycling', 'work_stealing', 'memory_growth', 'optimize_for_speed'];

const MAXIMUM_THREADS = 8;

/** With what a runtime says of itself. */
export interface RuntimeSettings extends Settings {
  readonly ignored: readonly string[];
}

/** What follows from the options, of which those that count are named. Probing takes a millisecond: `found` is what was found before. */
export function settingsOf({ threads, compute_threads, memory_pool_size = 0, profiling, debug, log_level, inline, ...others }: InitOptions, platform: Platform, found = detect()): RuntimeSettings {
  const wanted = threads ?? compute_threads ?? true;
  const auto = wanted === true || wanted === 'auto';
  const count = auto ? Math.min(platform.cores ?? globalThis.navigator?.hardwareConcurrency, MAXIMUM_THREADS) : Math.floor(+wanted);
  // One thread needs no shared memory.
  const atomics = found.atomics || (count > 1 ? '' : auto ? 'the machine has one core' : 'one thread was asked for');
  return {
    threads: atomics ? 1 : count,
    features: { ...found, atomics },
    poolBytes: memory_pool_size,
    ignored: Object.entries(others).flatMap(([name, value]) => (value === undefined || (value === true && ALWAYS.includes(name)) ? [] : name)),
  };
}

/** The settings as users read them; `why`: what else is not so. */
export function capabilitiesOf({ threads: threadCount, features, ignored }: RuntimeSettings, why: Readonly<Record<string, string>> | undefined): Capabilities {
  const { simd128: simd, 'relaxed-simd': relaxedSimd, atomics: threads, ...others } = features;
  const reasons = Object.entries({ simd, relaxedSimd, threads, ...others, ...why }).filter(([, reason]) => reason);
  return { simd: !simd, relaxedSimd: !relaxedSimd, threads: !threads, threadCount, why: Object.fromEntries(reasons), ignored };
}
