// One model's race: both contenders and the roof in turn, outputs compared after every round. Printing is report.mjs.

import { readFile, stat } from 'node:fs/promises';

import { errors, numbers } from '../browser/evaluate.mjs';
import { readNpz } from '../browser/npz.mjs';
import { Contender } from './contender.mjs';
import { readModuleManifest } from './module.mjs';
import { median, summarise } from './statistics.mjs';

const CONTENDERS = { ours: 'module', onnxruntime: 'onnx' };

/**
 * Runs `{name, onnx?, module?, golden}` and returns its part of the JSON report. `roof` is an opened Contender.
 * A model without `onnx` or `module` runs alone.
 */
export async function race({ browser, server, roof }, model, options) {
  const { feeds, golden } = await readGolden(server, model);
  const racers = [];
  const report = { name: model.name };
  try {
    for (const [name, key] of Object.entries(CONTENDERS)) {
      if (!model[key]) continue;
      server.put(`/${key}/${model.name}`, await readFile(model[key]));
      const racer = await Contender.open(browser, server.origin, name);
      racers.push(racer);
      const cold = await racer.prepare(`/${key}/${model.name}`, feeds, options.variant);
      report[name] = { file: model[key], bytes: (await stat(model[key])).size, ...cold };
    }
    for (const racer of racers) await racer.round(options.warmup);
    await measure(report, racers, roof, golden, options);
    if (model.module) await addWork(report, model.module);
    const ours = racers.find(({ name }) => name === 'ours');
    if (options.profile && ours) report.profile = await ours.profile(options.calls * options.rounds);
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
    for (const racer of racers) times.get(racer.name).push(await racer.round(calls));
    roofs.push(await roof.round(10));
    const found = await Promise.all(racers.map((racer) => racer.results()));
    racers.forEach((racer, r) => note(error, `${racer.name}_golden`, found[r], golden));
    if (racers.length > 1) note(error, 'ours_onnxruntime', found[0], found[1]);
  }
  for (const [name, all] of times) Object.assign(report[name], summarise(all.flat(), '_ms'), { round_medians_ms: all.map(median) });
  report.max_rel_err = error;
  report.roof_gflops = { median: median(roofs), rounds: roofs };
  if (racers.length > 1) {
    const ratios = report.ours.round_medians_ms.map((ours, i) => report.onnxruntime.round_medians_ms[i] / ours);
    report.ratio = { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
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

/** Feeds for the pages and expected outputs. `images`/`logits` of a classifier's file stand for `input`/`logits`, first row. */
async function readGolden(server, { name, golden }) {
  const arrays = await readNpz(golden);
  const [feeds, expected] = [[], {}];
  for (const [key, array] of arrays) {
    const [kind, tensor] = key === 'images' ? ['input', 'input'] : key === 'logits' ? ['output', 'logits'] : key.split(/:(.*)/s);
    const { dtype, shape, bytes } = key.includes(':') ? array : { ...array, shape: [1, ...array.shape.slice(1)], bytes: array.bytes.slice(0, array.bytes.length / array.shape[0]) };
    if (kind === 'input') {
      const url = `/feed/${name}/${tensor}`;
      server.put(url, Buffer.from(bytes));
      feeds.push({ name: tensor, dtype, shape, url });
    } else if (kind === 'output') {
      expected[tensor] = numbers(bytes, dtype);
    }
  }
  if (feeds.length === 0) throw new Error(`${golden}: no arrays named input:NAME`);
  return { feeds, golden: expected };
}
