// Times every step of a plain module. The inputs stay zero; no step minds, nor to be run again. Of all rounds a step's time is
// the mean of the faster half: clocks of pages tick coarsely.
async function measure(bytes, steps, rounds) {
  const { exports } = (await WebAssembly.instantiate(bytes)).instance;
  if (exports.init() !== 0) throw new Error('the module did not start');
  const times = Array.from({ length: steps }, () => []);
  for (let round = -1; round < rounds; round++) {
    for (let step = 0; step < steps; step++) {
      const start = performance.now();
      const code = exports.run(step, step + 1);
      const time = performance.now() - start;
      if (code !== 0) throw new Error(`step ${step} ended with status ${code}`);
      if (round >= 0) times[step].push(time);
    }
  }
  return times.map((all) => all.sort((a, b) => a - b).slice(0, Math.ceil(rounds / 2)).reduce((sum, time) => sum + time, 0) / Math.ceil(rounds / 2));
}
