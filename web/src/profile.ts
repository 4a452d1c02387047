// Timings of a model's steps: collects them call by call and summarises them. It runs nothing.

import type { Manifest, StepInfo } from './manifest.js';
import { mean, quantiles, sorted } from './rolling.js';

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

/** Keeps the latest timings of every step. */
export class Profiler {
  readonly #steps: readonly StepInfo[];
  readonly #rows: number[][] = [];
  #calls = 0;

  constructor({ steps }: Manifest) {
    this.#steps = steps;
  }

  /** One call: how long it and each of its steps took. */
  add(ms: number, steps: Iterable<number>): void {
    this.#rows[this.#calls++ % 1000] = [ms, ...steps];
  }

  summary(): Profile {
    const times = this.#steps.map((_, step) => typical(sorted(this.#rows, step + 1)));
    const total = times.reduce((sum, ms) => sum + ms, 0);
    const steps = this.#steps.map(({ layers, kernel, tasks, macs, weight_bytes }, step) => {
      const ms = times[step]!;
      return { step, layers, kernel, tasks, macs, weightBytes: weight_bytes, ms, share: ms && ms / total, gflops: ms && (2e-6 * macs) / ms };
    });
    return { calls: this.#calls, ms: total, steps };
  }

  data(): ProfilingData {
    const { calls, steps } = this.summary();
    const operationTimes = steps
      .map(({ layers, kernel, ms, share }) => ({ layer: layers.join(' + '), kernel, ms, share, calls }))
      .sort((a, b) => b.ms - a.ms);
    return { operationTimes, ...quantiles(this.#rows) };
  }
}

/**
 * A typical one of times in order; 0 without any: the mean of the middle half, steady like a median. For what the clock hardly
 * sees, the mean of all but the slowest fiftieth: most are 0 then, and only a mean knows of the others.
 */
export function typical(times: readonly number[]): number {
  const middle = mean(times, 0.25, 0.75);
  // Milliseconds: steps that are faster are near the clock's tick.
  return middle > 0.05 ? middle : mean(times, 0, 0.98);
}
