// Summaries of timings. Nothing here measures.

/** The value below which a part `q` of the samples lies, interpolated. */
export function quantile(samples, q) {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
}

export const median = (samples) => quantile(samples, 0.5);

/** `{median, p90, min, count}` with `suffix` after each name but the last. */
export function summarise(samples, suffix = '') {
  return { [`median${suffix}`]: median(samples), [`p90${suffix}`]: quantile(samples, 0.9), [`min${suffix}`]: Math.min(...samples), count: samples.length };
}
