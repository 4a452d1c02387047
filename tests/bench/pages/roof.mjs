// The roof: how fast this core multiplies and adds f32 vectors in registers. An upper bound for every kernel.

let peak;

/** Compiles the micro-benchmark and lets it tier up. */
export async function prepare(url) {
  const { instance } = await WebAssembly.instantiate(await (await fetch(url)).arrayBuffer());
  peak = instance.exports.peak;
  for (let i = 0; i < 500; i++) peak(2000);
}

/** GFLOP/s of the best of `calls` calls of about 1 ms. */
export function round(calls) {
  const iterations = 500_000;
  const flops = iterations * 12 * 4 * 2;
  let best = Infinity;
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    peak(iterations);
    best = Math.min(best, performance.now() - start);
  }
  return flops / best / 1e6;
}
