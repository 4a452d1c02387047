// The race in Chromium or Node on one thread: our modules beside onnxruntime-web (and, for single operators, plain
// JavaScript), interleaved, outputs compared. See --help.

import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { launchChromium } from '../browser/chromium.mjs';
import { serve } from '../browser/server.mjs';
import { Contender } from './contender.mjs';
import { htmlReport } from './html.mjs';
import { inNode } from './node.mjs';
import { preferBrowsers } from './priority.mjs';
import { race } from './race.mjs';
import { accountTable, operatorTable, profileTable, raceTable } from './report.mjs';
import { roofModule } from './roof.mjs';

const HELP = `usage: node tests/bench/bench.mjs --model NAME --golden X.npz [--onnx X.onnx] [--module X.wasm]
       node tests/bench/bench.mjs --config MODELS.json

  --config FILE   several models: [{"name", "onnx", "module", "golden"}], paths relative to the file; "f32": another
                  module of ours beside a quantised one, "rtol": the largest error of this model
  --only NAME     of the models of --config, those whose name contains NAME
  --rounds N      rounds of ours, onnxruntime-web, roof (5)
  --calls N       calls per round and contender (20)
  --warmup N      calls before the first round (10)
  --variant NAME  which code of our module: baseline (default) or relaxed
  --profile       time every step of our module, slowest first
  --batch         for operators of microseconds: each measurement is the mean of as many calls as take 2 ms
  --node          in this Node instead of Chromium
  --rtol X        largest allowed error relative to the largest output (1e-4)
  --json FILE     write everything as JSON
  --html FILE     write a page with charts

The golden file has arrays input:NAME and output:NAME. Exits with 1 when outputs differ by more than --rtol.`;

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'model' },
    onnx: { type: 'string' },
    module: { type: 'string' },
    golden: { type: 'string' },
    config: { type: 'string' },
    only: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    calls: { type: 'string', default: '20' },
    warmup: { type: 'string', default: '10' },
    rtol: { type: 'string', default: '1e-4' },
    variant: { type: 'string', default: 'baseline' },
    profile: { type: 'boolean', default: false },
    batch: { type: 'boolean', default: false },
    node: { type: 'boolean', default: false },
    json: { type: 'string' },
    html: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (options.help) {
  console.log(HELP);
} else {
  await main().catch((error) => {
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  });
}

async function main() {
  const counts = Object.fromEntries(['rounds', 'calls', 'warmup'].map((name) => [name, Number(options[name])]));
  const models = await chosenModels();
  const server = await serve({ '/web/': here('../../web/dist'), '/bench/': here('.'), '/onnxruntime/': here('node_modules/onnxruntime-web/dist') });
  const browser = options.node ? undefined : await launchChromium();
  const open = browser ? (name) => Contender.open(browser, server.origin, name) : inNode(server.origin);
  if (browser && !preferBrowsers()) console.error('note: without root on Linux other processes weigh as much as the benchmark');
  try {
    server.put('/roof.wasm', roofModule());
    const roof = await open('roof');
    await roof.prepare('/roof.wasm');
    const reports = [];
    for (const model of models) {
      console.error(`${model.name} …`);
      reports.push({ rtol: model.rtol ?? Number(options.rtol), ...await race({ open, server, roof }, model, { ...counts, profile: options.profile, variant: options.variant, batch: options.batch }) });
    }
    await publish(reports, counts, browser ? `Chromium ${browser.version()}` : `Node ${process.version}`);
  } finally {
    await browser?.close();
    await server.close();
  }
}

async function chosenModels() {
  if (!options.config) {
    if (!options.golden || !(options.onnx || options.module)) throw new Error('--golden and one of --onnx and --module are needed, or --config\nhint: see --help');
    return [{ name: options.model, onnx: options.onnx, module: options.module, golden: options.golden }];
  }
  const folder = dirname(resolve(options.config));
  const path = (relative) => relative && resolve(folder, relative);
  const rows = JSON.parse(await readFile(options.config, 'utf8'));
  return rows
    .filter(({ name }) => name.includes(options.only ?? ''))
    .map(({ onnx, module, f32, plain, golden, ...rest }) => ({ ...rest, onnx: path(onnx), module: path(module), f32: path(f32), plain: path(plain), golden: path(golden) }));
}

async function publish(models, counts, engine) {
  const { version } = JSON.parse(await readFile(here('node_modules/onnxruntime-web/package.json'), 'utf8'));
  const machine = { cpu: cpus()[0].model, cores: cpus().length, engine, variant: options.variant, onnxruntime_web: version };
  const roofs = models.map(({ roof_gflops }) => roof_gflops.median);
  console.log(`${machine.cpu}, ${engine}, onnxruntime-web ${version}, one thread, ${counts.rounds} rounds of ${counts.calls} calls`);
  console.log(`roof (f32 multiply and add in registers): ${roofs.map((roof) => roof.toFixed(1)).join(', ')} GFLOP/s`);
  console.log('ratio: onnxruntime-web’s time / ours, in a line of f32 that one’s, median of the rounds (smallest–largest). compile: from bytes to ready, onnxruntime-web with its own start\n');
  console.log(options.batch ? operatorTable(models) : raceTable(models));
  for (const model of models) if (model.profile) console.log(`\n${profileTable(model)}\n\n${accountTable(model)}`);
  const report = { machine, ...counts, models };
  if (options.json) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (options.html) await writeFile(options.html, htmlReport(report));
  const wrong = models.filter(({ max_rel_err, rtol }) => !Object.values(max_rel_err).every((error) => error <= rtol));
  for (const { name, max_rel_err, rtol } of wrong) console.error(`${name}: outputs differ by more than ${rtol}: ${JSON.stringify(max_rel_err)}`);
  if (wrong.length > 0) process.exitCode = 1;
}
