// Compares two JSON reports of the race, ratio against ratio: what runs beside us is measured in the same session, so
// that a slower machine is no regression. Exits with 1 when a model lost more than the threshold.
//
// usage: node tests/bench/compare.mjs OLD.json NEW.json [--threshold 0.1]

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** How many times faster than onnxruntime-web, or, where that did not run, the share of the roof. */
const speed = (model) => model.ratio?.median ?? model.ours?.roof_share;

/** Lines `{name, before, after, change}` of the models in both reports, and the names that are only in the old one. */
export function compare(before, after) {
  const now = new Map(after.models.map((model) => [model.name, model]));
  const known = before.models.filter((model) => speed(model) !== undefined);
  const lines = known.filter(({ name }) => speed(now.get(name) ?? {}) !== undefined).map((model) => {
    const [old, fresh] = [speed(model), speed(now.get(model.name))];
    return { name: model.name, before: old, after: fresh, change: fresh / old - 1 };
  });
  return { lines, missing: known.map(({ name }) => name).filter((name) => !lines.some((line) => line.name === name)) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values: options, positionals } = parseArgs({ allowPositionals: true, options: { threshold: { type: 'string', default: '0.1' } } });
  if (positionals.length !== 2) {
    console.error('usage: node tests/bench/compare.mjs OLD.json NEW.json [--threshold 0.1]');
    process.exit(2);
  }
  const [before, after] = await Promise.all(positionals.map(async (path) => JSON.parse(await readFile(path, 'utf8'))));
  const { lines, missing } = compare(before, after);
  const worse = ({ change }) => change < -Number(options.threshold);
  for (const line of lines) {
    console.log(`${worse(line) ? '✗' : ' '} ${line.name.padEnd(32)} ${line.before.toFixed(2).padStart(6)} → ${line.after.toFixed(2).padStart(6)}  ${(100 * line.change).toFixed(1).padStart(6)} %`);
  }
  for (const name of missing) console.log(`✗ ${name.padEnd(32)} is not in the new report`);
  if (missing.length > 0 || lines.some(worse)) process.exitCode = 1;
}
