// Modules whose sizes are free, in real Chromium: a decoder that keeps its key-value cache and writes what PyTorch writes, in
// the page and in a worker, alone and with threads; shapes outside of the bounds.
//
// WASM_TORCH=PATH is the binary; without it the tests are skipped, and say so.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test as unlimited } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { FOLDERS } from './cases.mjs';
import { launchChromium, openPage } from './chromium.mjs';
import { readNpz } from './npz.mjs';
import { serve } from './server.mjs';

const models = (path) => fileURLToPath(new URL(`../../models/${path}`, import.meta.url));
const binary = process.env.WASM_TORCH;
const skip = binary === undefined && 'WASM_TORCH is not set: the command line is not tested here';
const test = (name, body) => unlimited(name, { timeout: 120_000, skip }, body);

let folder;
let browser;
let server;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
  server = await serve(FOLDERS);
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
}, { timeout: 30_000 });

/** Exports a model and serves the module. */
async function served(model, name, options) {
  const path = join(folder, name);
  await promisify(execFile)(binary, ['export', models(model), '-o', path, '--quiet', ...options]);
  server.put(`/${name}`, await readFile(path));
}

const STATES = [0, 1].flatMap((layer) => ['key', 'value'].flatMap((part) => ['--state', `present_${part}_${layer}=past_${part}_${layer}`]));

for (const model of ['gpt2', 'llama']) {
  test(`${model} with a key-value cache writes what PyTorch writes`, async () => {
    const arrays = await readNpz(models(`decoders/${model}.npz`));
    const numbers = (key) => Array.from(new BigInt64Array(Uint8Array.from(arrays.get(key).bytes).buffer), Number);
    const [prompt, tokens] = [numbers('prompt'), numbers('tokens')];
    await served(`decoders/${model}.dynamo.onnx`, `${model}.wasm`, [...STATES, '--dim', 'sequence=1..8', '--dim', 'past=0..80']);
    const page = await openPage(browser, server.origin, model);
    const found = await page.evaluate(async ({ url, prompt, count }) => {
      const { WASMTorch, createTensor } = await import('/web/index.js');
      const runtime = await WASMTorch.init({ threads: 2 });
      const all = [];
      for (const options of [{ variant: 'baseline', inline: true }, { variant: 'relaxed+threads', inline: false }]) {
        const model = await runtime.loadModel(url, options);
        const next = async (ids) => {
          const { logits } = await model.forward({ input_ids: createTensor(BigInt64Array.from(ids, BigInt), [1, ids.length]) });
          const last = logits.data.subarray(logits.data.length - logits.shape[2]);
          return last.indexOf(last.reduce((a, b) => Math.max(a, b)));
        };
        const write = async (token, count) => {
          const text = [];
          for (; text.length < count; token = await next([token])) text.push(token);
          return [text, token];
        };
        await model.warmup(1);
        // Half, then the other half twice from the same place; and all of it token by token.
        const [first, token] = await write(await next(prompt), count / 2);
        const saved = await model.saveState();
        const [second] = await write(token, count / 2);
        await model.restoreState(saved);
        const [again] = await write(token, count / 2);
        await model.resetState();
        let start;
        for (const id of prompt) start = await next([id]);
        const [single] = await write(start, count);
        const full = await (async () => { for (let i = 0; i < 40; i++) await next([1]); })().then(() => 'no error', ({ code, message }) => `${code}: ${message}`);
        all.push({ text: [...first, ...second], again, single, shape: saved.past_key_0.shape, full });
        await model.dispose();
      }
      await runtime.shutdown();
      return all;
    }, { url: `/${model}.wasm`, prompt, count: tokens.length });
    for (const { text, again, single, shape, full } of found) {
      assert.deepEqual(text, tokens);
      assert.deepEqual(again, tokens.slice(tokens.length / 2));
      assert.deepEqual(single, tokens);
      assert.deepEqual(shape, [1, 2, prompt.length + tokens.length / 2, model === 'gpt2' ? 16 : 8]);
      assert.match(full, /shape-mismatch: The states are full: past is 81, at most 80/);
    }
    await page.context().close();
  });
}

test('one module at several sizes, and sizes outside of its bounds', async () => {
  await served('cases/symbolic_batch.onnx', 'batch.wasm', ['--dim', 'batch=1..5']);
  const page = await openPage(browser, server.origin, 'sizes');
  const { rows, refused } = await page.evaluate(async () => {
    const { WASMTorch, createTensor } = await import('/web/index.js');
    const runtime = await WASMTorch.init();
    const model = await runtime.loadModel('/batch.wasm');
    const [{ name, shape }] = model.inputs;
    const width = shape.slice(1).reduce((a, b) => a * b, 1);
    const run = async (batch) => {
      const { data, shape: found } = Object.values(await model.forward({ [name]: createTensor(Float32Array.from({ length: batch * width }, (_, i) => Math.sin(i)), [batch, ...shape.slice(1)]) }))[0];
      return { batch: found[0], first: Array.from(data.subarray(0, data.length / batch)) };
    };
    const rows = [];
    for (const batch of [3, 1, 5, 2]) rows.push({ asked: batch, ...(await run(batch)) });
    const refused = await run(6).then(() => undefined, ({ code, message, hint }) => ({ code, message, hint }));
    rows.push({ asked: 4, ...(await run(4)) });
    await runtime.shutdown();
    return { rows, refused };
  });
  for (const { asked, batch, first } of rows) {
    assert.equal(batch, asked);
    assert.deepEqual(first, rows[0].first, 'the first row is the same in every batch');
  }
  assert.equal(refused.code, 'shape-mismatch');
  assert.match(refused.message, /batch is 1 to 5/);
  assert.match(refused.hint, /--dim batch=1\.\.6/);
  await page.context().close();
});
