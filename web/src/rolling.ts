// The latest samples of something and their quantiles. It measures nothing.

export class Rolling {
  readonly #samples: number[] = [];
  readonly #limit: number;
  /** Samples ever added. */
  count = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(sample: number): void {
    this.#samples[this.count++ % this.#limit] = sample;
  }

  get mean(): number {
    return mean(this.#samples);
  }

  /** The samples below which these parts of all lie; 0 without samples. */
  quantiles(...parts: number[]): number[] {
    const sorted = [...this.#samples].sort((a, b) => a - b);
    return parts.map((part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0);
  }
}

/** 0 without samples. */
export function mean(samples: readonly number[]): number {
  return samples.reduce((sum, sample) => sum + sample, 0) / (samples.length || 1);
}
