// Rolling latency and throughput of a model's calls. It only listens: one number is kept per call.

import type { Model } from './model.js';
import { Rolling } from './rolling.js';

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
  readonly #unsubscribe: () => void;
  #latencies!: Rolling;
  #ends!: Rolling;

  /** Listens to `model` until `stop`; statistics are over the latest `window` calls. */
  constructor(model: Model, { window = 256 }: { window?: number } = {}) {
    this.#window = window;
    this.reset();
    this.#unsubscribe = model.onCall((ms) => this.record(ms));
  }

  /** Adds one call that ended now. */
  record(ms: number): void {
    this.#latencies.add(ms);
    this.#ends.add(performance.now());
  }

  stats(): MonitorStats {
    const [p50, p95, p99] = this.#latencies.quantiles(0.5, 0.95, 0.99) as [number, number, number];
    const [first, last] = this.#ends.quantiles(0, 1) as [number, number];
    const calls = this.#latencies.count;
    const between = Math.min(calls, this.#window) - 1;
    return { calls, throughput: last > first ? (1000 * between) / (last - first) : 0, mean: this.#latencies.mean, p50, p95, p99 };
  }

  reset(): void {
    this.#latencies = new Rolling(this.#window);
    this.#ends = new Rolling(this.#window);
  }

  stop(): void {
    this.#unsubscribe();
  }
}
