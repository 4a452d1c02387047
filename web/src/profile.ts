// Timings of a model's steps: collects them call by call and summarises them. It runs nothing.

import type { Manifest, StepInfo } from './manifest.js';

/** One step of the summary. */
export interface StepProfile {
  readonly step: number;
  readonly layers: readonly string[];
  readonly kernel: string;
  readonly tasks: number;
  readonly macs: number;
  readonly weightBytes: number;
  /** Midmean over the calls: the mean of the middle half, steady like a median and finer than the clock's tick. */
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

/** Keeps the latest `limit` timings of every step. */
export class Profiler {
  readonly #steps: readonly StepInfo[];
  readonly #samples: number[][];
  readonly #limit: number;
  #calls = 0;

  constructor(manifest: Manifest, limit = 1000) {
    this.#steps = manifest.steps;
    this.#samples = manifest.steps.map(() => []);
    this.#limit = limit;
  }

  /** Executes every step by itself and records how long it took. */
  measure(run: (first: number, last: number) => void): void {
    let before = performance.now();
    for (let step = 0; step < this.#steps.length; step++) {
      run(step, step + 1);
      const after = performance.now();
      this.#samples[step]![this.#calls % this.#limit] = after - before;
      before = after;
    }
    this.#calls += 1;
  }

  summary(): Profile {
    const times = this.#samples.map(midmean);
    const total = times.reduce((sum, ms) => sum + ms, 0);
    const steps = this.#steps.map(({ layers, kernel, tasks, macs, weight_bytes }, step) => {
      const ms = times[step]!;
      return { step, layers, kernel, tasks, macs, weightBytes: weight_bytes, ms, share: total > 0 ? ms / total : 0, gflops: ms > 0 ? (2e-6 * macs) / ms : 0 };
    });
    return { calls: this.#calls, ms: total, steps };
  }
}

/** Mean of the middle half of the samples; 0 when there are none. */
export function midmean(samples: readonly number[]): number {
  if (samples.length === 0) return 0;
  const sorted = [...samples].sort((a, b) => a - b);
  const cut = Math.floor(sorted.length / 4);
  const middle = sorted.slice(cut, sorted.length - cut);
  return middle.reduce((sum, value) => sum + value, 0) / middle.length;
}
