// node --no-liftoff -e … MODULE STEPS ROUNDS: the optimising compiler alone, so that no step is timed before its kernel is ready.
const { readFileSync } = await import('node:fs');
console.log(JSON.stringify(await measure(readFileSync(process.argv[1]), Number(process.argv[2]), Number(process.argv[3]))));
