// Times every step of a plain module in Node: node --no-liftoff -e … MODULE STEPS ROUNDS. The inputs stay zero; no step
// minds. The optimising compiler alone: no step is timed before it is done with its kernel.
import { readFileSync } from 'node:fs';

const [path, steps, rounds] = [process.argv[1], Number(process.argv[2]), Number(process.argv[3])];
const { exports } = (await WebAssembly.instantiate(readFileSync(path))).instance;
if (exports.init() !== 0) throw new Error('the module did not start');
const best = Array(steps).fill(Infinity);
for (let round = 0; round < rounds; round++) {
  for (let step = 0; step < steps; step++) {
    const start = performance.now();
    const code = exports.run(step, step + 1);
    if (code !== 0) throw new Error(`step ${step} ended with status ${code}`);
    best[step] = Math.min(best[step], performance.now() - start);
  }
}
console.log(JSON.stringify(best));
