// One model's race: the contenders and the roof in turn, outputs compared after every round. Printing is report.mjs.

import { readFile, stat } from 'node:fs/promises';

import { errors, numbers } from '../browser/evaluate.mjs';
import { readNpz } from '../browser/npz.mjs';
import { account } from './account.mjs';
import { readModuleManifest } from './module.mjs';
import { median, summarise } from './statistics.mjs';

/** Contenders and the file of a model that they run. `f32`: another module of ours, before quantisation. */
const CONTENDERS = { ours: 'module', onnxruntime: 'onnx', f32: 'f32', plain: 'plain' };
/** The page of a contender, where it has another name. */
const PAGES = { f32: 'ours' };
/** With `batch`, calls are repeated until one measurement takes about this long. */
const BATCH_MS = 2;

/**
 * Runs `{name, onnx?, module?, f32?, plain?, golden}` and returns its part of the JSON report. `open(name)` makes a contender,
 * `roof` is one that is open already. A contender without its file does not take part; with `batch`, neither does one
 * that cannot run the model.
 */
export async function race({ open, server, roof }, model, options) {
  const { feeds, held, golden } = await readGolden(server, model);
  const racers = [];
  const report = { name: model.name };
  try {
    for (const [name, key] of Object.entries(CONTENDERS)) {
      if (!model[key]) continue;
      server.put(`/${key}/${model.name}`, await readFile(model[key]));
      const racer = await open(PAGES[name] ?? name);
      racer.name = name;
      try {
        const cold = await racer.prepare(`/${key}/${model.name}`, name === 'plain' ? [...feeds, ...held] : feeds, options.variant);
        racers.push(racer);
        report[name] = { file: model[key], bytes: (await stat(model[key])).size, ...cold };
      } catch (error) {
        await racer.close();
        if (!options.batch) throw error;
        report.refused = { ...report.refused, [name]: error.message.split('\n')[0] };
      }
    }
    for (const racer of racers) {
      const warm = await racer.round(options.warmup);
      racer.repeat = options.batch ? Math.min(2000, Math.ceil(BATCH_MS / Math.max(median(warm), 1e-3))) : 1;
      if (racer.repeat > 1) await racer.round(options.warmup, racer.repeat);
    }
    await measure(report, racers, roof, golden, options);
    if (model.module) await addWork(report, model.module);
    const ours = racers.find(({ name }) => name === 'ours');
    if (options.profile && ours) {
      report.profile = await ours.profile(options.calls * options.rounds);
      report.account = account(report.profile, report.roof_gflops.median);
    }
    return report;
  } finally {
    for (const racer of racers) await racer.close();
  }
}

/** The interleaved rounds: A B roof, A B roof, … */
async function measure(report, racers, roof, golden, { rounds, calls }) {
  const times = new Map(racers.map(({ name }) => [name, []]));
  const roofs = [];
  const error = {};
  for (let i = 0; i < rounds; i++) {
    for (const racer of racers) times.get(racer.name).push(await racer.round(calls, racer.repeat));
    roofs.push(await roof.round(10));
    const found = await Promise.all(racers.map((racer) => racer.results()));
    racers.forEach((racer, r) => note(error, `${racer.name}_golden`, found[r], golden));
    if (racers[0].name === 'ours' && racers[1]?.name === 'onnxruntime') note(error, 'ours_onnxruntime', found[0], found[1]);
  }
  for (const [name, all] of times) Object.assign(report[name], summarise(all.flat(), '_ms'), { round_medians_ms: all.map(median) });
  report.max_rel_err = error;
  report.roof_gflops = { median: median(roofs), rounds: roofs };
  for (const [name, key] of [['onnxruntime', 'ratio'], ['f32', 'f32_ratio'], ['plain', 'plain_ratio']]) {
    if (!report.ours || !report[name]) continue;
    const ratios = report.ours.round_medians_ms.map((ours, i) => report[name].round_medians_ms[i] / ours);
    report[key] = { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
  }
}

/** Keeps the largest relative error between tensors of the same name. */
function note(error, key, found, expected) {
  for (const [name, values] of Object.entries(expected)) {
    if (found[name] === undefined) throw new Error(`there is no output '${name}'; found ${Object.keys(found).join(', ')}`);
    error[key] = Math.max(error[key] ?? 0, errors(found[name], values).max_rel_err);
  }
}

/** Operations from the module's manifest: of both contenders, since they compute the same graph. */
async function addWork(report, path) {
  const manifest = await readModuleManifest(path);
  report.macs = manifest.steps.reduce((sum, { macs }) => sum + macs, 0);
  for (const name of Object.keys(CONTENDERS)) {
    if (!report[name]) continue;
    const gflops = (2e-6 * report.macs) / report[name].median_ms;
    Object.assign(report[name], { gflops, roof_share: gflops / report.roof_gflops.median });
  }
}

/** Feeds for the pages, arrays that only plain JavaScript needs, and expected outputs. `images`/`logits` of a classifier's file stand for `input`/`logits`, first row. */
async function readGolden(server, { name, golden }) {
  const arrays = await readNpz(golden);
  const [feeds, held, expected] = [[], [], {}];
  for (const [key, array] of arrays) {
    const [kind, tensor] = key === 'images' ? ['input', 'input'] : key === 'logits' ? ['output', 'logits'] : key.split(/:(.*)/s);
    const { dtype, shape, bytes } = key.includes(':') ? array : { ...array, shape: [1, ...array.shape.slice(1)], bytes: array.bytes.slice(0, array.bytes.length / array.shape[0]) };
    if (kind === 'input' || kind === 'plain') {
      const url = `/feed/${name}/${tensor}`;
      server.put(url, Buffer.from(bytes));
      (kind === 'input' ? feeds : held).push({ name: tensor, dtype, shape, url });
    } else if (kind === 'output') {
      expected[tensor] = numbers(bytes, dtype);
    }
  }
  if (feeds.length === 0) throw new Error(`${golden}: no arrays named input:NAME`);
  return { feeds, held, golden: expected };
}
