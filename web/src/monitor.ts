// Rolling latency and throughput of a model's calls. It only listens: two numbers are kept per call.

import type { Model } from './model.js';
import { mean, quantiles, sorted } from './rolling.js';

export interface MonitorStats {
  /** Calls since the start or the last reset. */
  readonly calls: number;
  /** Calls per second over the window. */
  readonly throughput: number;
  /** Milliseconds from `forward` to its outputs, queue included. */
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export class PerformanceMonitor {
  readonly #window: number;
  /** Ends the listening. */
  readonly stop: () => void;
  #rows: number[][] = [];
  #calls = 0;

  /** Listens to `model` until `stop`; statistics are over the latest `window` calls. */
  constructor(model: Model, { window = 256 }: { window?: number } = {}) {
    this.#window = window;
    this.stop = model.onCall((ms) => this.record(ms));
  }

  /** Adds one call that ended now. */
  record(ms: number): void {
    this.#rows[this.#calls++ % this.#window] = [ms, performance.now()];
  }

  stats(): MonitorStats {
    const ends = sorted(this.#rows, 1);
    const between = ends.at(-1)! - ends[0]!;
    return { calls: this.#calls, throughput: between > 0 ? (1000 * (ends.length - 1)) / between : 0, mean: mean(sorted(this.#rows)), ...quantiles(this.#rows) };
  }

  reset(): void {
    this.#rows = [];
    this.#calls = 0;
  }
}
