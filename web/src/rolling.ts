// Statistics of the latest calls of something: rows of numbers, the first how long a call took. It measures nothing.

export type Rows = readonly (readonly number[])[];

/** One of the numbers of each row, smallest first. */
export function sorted(rows: Rows, which = 0): number[] {
  return rows.map((row) => row[which]!).sort((a, b) => a - b);
}

/** The times below which half, 95 and 99 percent of all lie; 0 without rows. */
export function quantiles(rows: Rows): { p50: number; p95: number; p99: number } {
  const times = sorted(rows);
  const at = (part: number) => times[Math.floor(part * times.length)] ?? 0;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/** The mean of samples, or of those between these parts of all; 0 without any. */
export function mean(samples: readonly number[], from = 0, to = 1): number {
  const part = samples.slice(samples.length * from, Math.ceil(samples.length * to));
  return part.reduce((sum, sample) => sum + sample, 0) / (part.length || 1);
}
