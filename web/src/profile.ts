// Timings of a model's steps: collects them call by call and summarises them. It runs nothing.

import type { Manifest, StepInfo } from './manifest.js';
import { mean, Rolling } from './rolling.js';

/** One step of the summary. */
export interface StepProfile {
  readonly step: number;
  readonly layers: readonly string[];
  readonly kernel: string;
  readonly tasks: number;
  readonly macs: number;
  readonly weightBytes: number;
  /** Typical over the calls, finer than the clock's tick. */
  readonly ms: number;
  /** Part of the sum over all steps, 0 to 1. */
  readonly share: number;
  /** 2 × macs per nanosecond; 0 for steps that only move data. */
  readonly gflops: number;
}

export interface Profile {
  /** Profiled calls so far. */
  readonly calls: number;
  /** Sum of the steps' times. */
  readonly ms: number;
  /** In order of execution. */
  readonly steps: readonly StepProfile[];
}

/** One row of `getProfilingData()`. */
export interface OperationTime {
  /** The layers' names, joined. */
  readonly layer: string;
  readonly kernel: string;
  readonly ms: number;
  readonly share: number;
  readonly calls: number;
}

export interface ProfilingData {
  /** Slowest first. */
  readonly operationTimes: readonly OperationTime[];
  /** Percentiles of the profiled calls' times, in milliseconds; 0 without calls. */
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** Keeps the latest `limit` timings of every step. */
export class Profiler {
  readonly #steps: readonly StepInfo[];
  readonly #samples: number[][];
  readonly #calls: Rolling;
  readonly #limit: number;

  constructor(manifest: Manifest, limit = 1000) {
    this.#steps = manifest.steps;
    this.#samples = manifest.steps.map(() => []);
    this.#calls = new Rolling(limit);
    this.#limit = limit;
  }

  /** One call: how long it and each of its steps took. */
  add(ms: number, steps: ArrayLike<number>): void {
    const at = this.#calls.count % this.#limit;
    this.#samples.forEach((samples, step) => (samples[at] = steps[step]!));
    this.#calls.add(ms);
  }

  summary(): Profile {
    const times = this.#samples.map(typical);
    const total = times.reduce((sum, ms) => sum + ms, 0);
    const steps = this.#steps.map(({ layers, kernel, tasks, macs, weight_bytes }, step) => {
      const ms = times[step]!;
      return { step, layers, kernel, tasks, macs, weightBytes: weight_bytes, ms, share: total > 0 ? ms / total : 0, gflops: ms > 0 ? (2e-6 * macs) / ms : 0 };
    });
    return { calls: this.#calls.count, ms: total, steps };
  }

  data(): ProfilingData {
    const { calls, steps } = this.summary();
    const operationTimes = steps
      .map(({ layers, kernel, ms, share }) => ({ layer: layers.join(' + '), kernel, ms, share, calls }))
      .sort((a, b) => b.ms - a.ms);
    const [p50, p95, p99] = this.#calls.quantiles(0.5, 0.95, 0.99) as [number, number, number];
    return { operationTimes, p50, p95, p99 };
  }
}

/** Steps faster than this, in milliseconds, are near the clock's tick. */
const TICK = 0.05;

/**
 * A typical time; 0 without samples: the mean of the middle half, steady like a median. For what the clock hardly sees, the
 * mean of all but the slowest fiftieth: most samples are 0 then, and only a mean knows of the others.
 */
export function typical(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const quarter = Math.floor(sorted.length / 4);
  const middle = mean(sorted.slice(quarter, sorted.length - quarter));
  return middle > TICK ? middle : mean(sorted.slice(0, Math.ceil(sorted.length * 0.98)));
}
