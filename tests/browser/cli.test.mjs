// What the command line writes and serves, in real Chromium: the page of `serve` under its own policy, weights beside the
// module, compressed copies, wasm-opt, memory, and a pool that loses a thread.
//
// WASM_TORCH=PATH is the binary; without it the tests are skipped, and say so.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test as unlimited } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';

import { matmulOnnx, values } from '../bench/matmul.mjs';
import { readManifest, WASMTorch } from '../../web/dist/node.js';
import { FOLDERS } from './cases.mjs';
import { launchChromium, openPage } from './chromium.mjs';
import { ISOLATED, serve } from './server.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const DIGITS = here('../../models/digits/digits.dynamo.onnx');
const binary = process.env.WASM_TORCH;
const skip = binary === undefined && 'WASM_TORCH is not set: the command line is not tested here';
const test = (name, options, body) => unlimited(name, { timeout: 120_000, skip, ...options }, body);
/** wasm-opt takes its time. */
const SOME = ['--variants', 'baseline,relaxed'];
const wasmOpt = here('node_modules/.bin/wasm-opt');

let folder;
let browser;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wasm-torch-'));
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
}, { timeout: 30_000 });

/** Exports `model` under `name` and returns the report and the module's path. */
async function exported(model, name, options = [], env = {}) {
  const path = join(folder, name);
  const { stdout } = await promisify(execFile)(binary, ['export', model, '-o', path, '--json', ...options], { env: { ...process.env, ...env }, maxBuffer: 1 << 26 });
  return { path, report: JSON.parse(stdout) };
}

/** A matrix product of n³, large enough for threads. */
async function product(n, name, options) {
  const onnx = join(folder, `${name}.onnx`);
  await writeFile(onnx, matmulOnnx(n, values(n * n, 2)));
  return exported(onnx, name, options);
}

test('the page of serve runs a model under its own policy, and shows what it found', {}, async (t) => {
  const { path } = await exported(DIGITS, 'digits.wasm');
  const server = spawn(binary, ['serve', path, path, '--port', '0']);
  t.after(() => server.kill());
  let said = '';
  server.stderr.on('data', (text) => (said += text));
  server.stdout.on('data', (text) => (said += text));
  while (!/http:\/\/\S+/.test(said)) await new Promise((resolve) => setTimeout(resolve, 20));
  const context = await browser.newContext({ viewport: { width: 1280, height: 1400 } });
  t.after(() => context.close());
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', ({ message }) => complaints.push(message));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.goto(/http:\/\/[^\s/]+\/?/.exec(said)[0]);
  await page.waitForFunction(() => document.getElementById('model').textContent.length > 1 && document.getElementById('outputs').textContent.length > 10, undefined, { timeout: 60_000 });
  const found = await page.evaluate(() => ({ isolated: crossOriginIsolated, facts: document.getElementById('facts').textContent, error: document.getElementById('error').hidden }));
  assert.ok(found.isolated && found.error, JSON.stringify(found));
  assert.match(found.facts, /steps, .* weights · .*, (one thread|\d+ threads)/);
  if (process.env.WASM_TORCH_SCREENSHOT) await page.screenshot({ path: process.env.WASM_TORCH_SCREENSHOT });
  assert.deepEqual(complaints, []);
});

/** Loads and runs a module of one input in a page, with every way asked for; returns what it found. */
async function inPage(server, url, ways) {
  const page = await openPage(browser, server.origin, url);
  try {
    return await page.evaluate(async ([url, ways]) => {
      const { WASMTorch, createTensor } = await import('/web/index.js');
      const found = [];
      for (const options of ways) {
        const runtime = await WASMTorch.init({ threads: 2 });
        const seen = [];
        const model = await runtime.loadModel(url, { ...options, onProgress: (progress) => seen.push(progress) });
        await model.warmup(1);
        const [{ name, shape, dtype }] = model.inputs;
        const data = new Float32Array(shape.reduce((a, b) => a * b)).map((_, i) => Math.sin(i));
        const outputs = await model.forward({ [name]: createTensor(data, shape, dtype) });
        const [{ data: result }] = Object.values(outputs);
        const hash = await crypto.subtle.digest('SHA-256', result);
        const digest = Array.from(new Uint8Array(hash), (byte) => byte.toString(16)).join('');
        found.push({ digest, variant: model.variant, threads: model.threads, why: model.why, last: seen.at(-1), memory: model.getMemoryStats() });
        await model.dispose();
      }
      return found;
    }, [url, ways]);
  } finally {
    await page.context().close();
  }
}

/** A server of the folder with the loader. */
async function folderServer(t) {
  const server = await serve({ ...FOLDERS, '/m/': folder }, ISOLATED);
  t.after(() => server.close());
  return server;
}

test('weights beside the module: the same results, a broken chunk alone is fetched again', {}, async (t) => {
  const { path } = await product(640, 'plain.wasm');
  await product(640, 'beside.wasm', ['--external-weights=1']);
  const chunks = (await readdir(folder)).filter((name) => name.startsWith('beside') && !/\.(wasm|onnx)$/.test(name)).sort();
  assert.ok(chunks.length >= 2, chunks.join(' '));
  assert.ok((await stat(join(folder, 'beside.wasm'))).size < (await stat(path)).size / 4);
  const server = await folderServer(t);
  const ways = [{ inline: true }, { inline: false }, { inline: false, threads: 1 }];
  const [expected] = await inPage(server, '/m/plain.wasm', ways);
  const asked = [];
  for (const name of chunks) {
    const bytes = await readFile(join(folder, name));
    server.on(`/m/${name}`, (request, response, headers) => {
      asked.push(name);
      const first = asked.filter((other) => other === name).length === 1;
      response.writeHead(200, { ...headers, 'Content-Length': bytes.length });
      // The first answer for the last chunk breaks off.
      if (first && name === chunks.at(-1)) response.write(bytes.subarray(0, 1000), () => response.destroy());
      else response.end(bytes);
    });
  }
  const [once] = await inPage(server, '/m/beside.wasm', [{ inline: false }]);
  assert.equal(once.digest, expected.digest);
  assert.deepEqual(asked, [...chunks, chunks.at(-1)]);
  assert.equal(once.last.loaded, once.last.total);
  for (const found of await inPage(server, '/m/beside.wasm', ways)) assert.equal(found.digest, expected.digest);
  const wrong = await readFile(join(folder, chunks[0]));
  wrong[77] ^= 1;
  server.on(`/m/${chunks[0]}`, (request, response, headers) => response.writeHead(200, headers).end(wrong));
  await assert.rejects(inPage(server, '/m/beside.wasm', [{}]), /SHA-256/);
});

test('compressed copies load as they are', {}, async (t) => {
  const { report } = await exported(DIGITS, 'small.wasm', ['--precompress']);
  const sizes = await Promise.all(['', '.br', '.gz'].map(async (end) => (await stat(join(folder, `small.wasm${end}`))).size));
  assert.ok(sizes[1] < sizes[2] && sizes[2] < sizes[0], sizes.join(' '));
  assert.match(JSON.stringify(report), new RegExp(`${sizes[1]}.*${sizes[2]}|${sizes[2]}.*${sizes[1]}`));
  const server = await folderServer(t);
  for (const [end, encoding] of [['br', 'br'], ['gz', 'gzip']]) {
    const bytes = await readFile(join(folder, `small.wasm.${end}`));
    server.on(`/${end}.wasm`, (request, response, headers) => response.writeHead(200, { ...headers, 'Content-Type': 'application/wasm', 'Content-Encoding': encoding, 'Content-Length': bytes.length }).end(bytes));
  }
  const [plain] = await inPage(server, '/m/small.wasm', [{}]);
  for (const end of ['br', 'gz']) for (const found of await inPage(server, `/${end}.wasm`, [{}, { inline: false }])) assert.equal(found.digest, plain.digest);
});

test('wasm-opt: every variant still computes the same bits', { skip: skip || (!(await works(wasmOpt)) && 'there is no wasm-opt in node_modules') }, async (t) => {
  const plain = await exported(DIGITS, 'before.wasm', SOME);
  const { report } = await exported(DIGITS, 'after.wasm', [...SOME, '--wasm-opt'], { PATH: `${here('node_modules/.bin')}:${process.env.PATH}` });
  const [before, after] = await Promise.all([plain.path, join(folder, 'after.wasm')].map(async (path) => (await stat(path)).size));
  t.diagnostic(`wasm-opt saved ${before - after} of ${before} bytes: ${JSON.stringify(report.wasm_opt ?? report.size)}`);
  assert.ok(after < before, `${after} of ${before} bytes`);
  const manifest = readManifest(await readFile(plain.path));
  const ways = ['baseline', ...manifest.variants.map(({ name }) => name)].map((variant) => ({ variant, inline: false }));
  const server = await folderServer(t);
  const [expected, found] = [await inPage(server, '/m/before.wasm', ways), await inPage(server, '/m/after.wasm', ways)];
  found.forEach(({ digest, variant }, i) => assert.equal(digest, expected[i].digest, variant));
});

async function works(path) {
  try {
    execFileSync(path, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test('memory: weights once in WebAssembly, none on the JavaScript heap; threads give the same bits', {}, async (t) => {
  const n = 1280;
  await product(n, 'large.wasm');
  const server = await folderServer(t);
  const ways = ['baseline', 'threads'].flatMap((variant) => [true, false].map((inline) => ({ variant, inline })));
  const found = await inPage(server, '/m/large.wasm', ways);
  for (const { memory, digest, threads, variant, why } of found) {
    assert.equal(digest, found[0].digest, variant);
    assert.equal(threads, variant === 'threads' ? 2 : 1, JSON.stringify(why));
    assert.ok(memory.weights >= 4 * n * n, String(memory.weights));
    assert.ok(memory.wasmMemory <= 1.15 * (memory.weights + memory.arena), `${memory.wasmMemory} bytes for ${memory.weights} + ${memory.arena}`);
  }
  for (const options of [{ threads: 1, inline: true }, { threads: 1, inline: false }, { threads: 2, inline: true }, { threads: 2, inline: false }]) {
    const page = await openPage(browser, server.origin, 'memory');
    const session = await page.context().newCDPSession(page);
    const heap = async () => {
      await session.send('HeapProfiler.collectGarbage');
      const { usedSize, backingStorageSize = 0 } = await session.send('Runtime.getHeapUsage');
      return { usedSize, backingStorageSize };
    };
    await page.evaluate(async () => (window.wasmTorch = await import('/web/index.js')));
    const before = await heap();
    await page.evaluate(async (options) => {
      const runtime = await window.wasmTorch.WASMTorch.init(options);
      window.model = await runtime.loadModel('/m/large.wasm', options);
      await window.model.warmup(1);
    }, options);
    const { usedSize, backingStorageSize } = await heap();
    assert.ok(usedSize - before.usedSize < 1 << 20, `${JSON.stringify(options)}: the heap grew by ${usedSize - before.usedSize} bytes`);
    // In place the module's memory counts as a backing store of this page: once.
    const planned = found[0].memory.wasmMemory;
    assert.ok(backingStorageSize - before.backingStorageSize < 1.1 * planned + (2 << 20), `${JSON.stringify(options)}: buffers grew by ${backingStorageSize - before.backingStorageSize} of ${planned} bytes`);
    await page.context().close();
  }
});

test('a call that may be cancelled leaves the page its turns, also within a long step', {}, async (t) => {
  await product(1280, 'long.wasm', ['--variants', 'baseline']);
  const server = await folderServer(t);
  const page = await openPage(browser, server.origin, 'turns');
  t.after(() => page.context().close());
  const { alone, longest, elements, same } = await page.evaluate(async () => {
    const { WASMTorch, createTensor } = await import('/web/index.js');
    const model = await (await WASMTorch.init({ threads: 1, inline: true })).loadModel('/m/long.wasm');
    const input = createTensor(new Float32Array(1280 * 1280).map((_, i) => Math.sin(i)), [1280, 1280]);
    const call = async (options) => Object.values(await model.forward({ [model.inputs[0].name]: input }, options))[0].data;
    await model.warmup();
    const start = performance.now();
    const plain = await call();
    const alone = performance.now() - start;
    let longest = Infinity;
    let same = true;
    // The machine stops for a while now and then: the best of some calls counts.
    for (let round = 0; round < 5; round++) {
      let most = 0;
      let before = performance.now();
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        most = Math.max(most, performance.now() - before);
        before = performance.now();
        port2.postMessage(0);
      };
      port2.postMessage(0);
      const sliced = await call({ signal: new AbortController().signal });
      port1.close();
      longest = Math.min(longest, most);
      same &&= sliced.every((value, i) => value === plain[i]);
    }
    return { alone, longest, same, elements: plain.length };
  });
  t.diagnostic(`${longest.toFixed(0)} ms in one piece of a call of ${alone.toFixed(0)} ms`);
  assert.deepEqual([elements, same], [1280 * 1280, true]);
  assert.ok(longest < alone / 2, `${longest} of ${alone} ms`);
});

/** Ends a thread while a host runs a module of threads: the status that `run` gives then, 0 where it goes on alone. */
async function endThread(t, file, watched) {
  const manifest = readManifest(file);
  // The parts by hand, as the loader puts them together: the caller of `run` is a thread too, so that this one can end its worker.
  const { initial_pages: initial, maximum_pages: maximum } = manifest.memory;
  const runner = new Worker(here('pages/runner.mjs'), { workerData: { file, steps: manifest.steps.length, initial, maximum, watched } });
  t.after(() => runner.terminate());
  const said = [];
  let wake = () => {};
  runner.on('message', (message) => {
    said.push(message);
    wake();
  });
  const next = async () => {
    while (said.length === 0) await new Promise((resolve) => (wake = resolve));
    return said.shift();
  };
  const start = await next();
  const thread = new Worker(here('../../web/dist/thread-node.js'));
  thread.postMessage([start.module, start.memory, 1, start.stack, '']);
  runner.postMessage('begin');
  assert.equal(await next(), 'ready');
  await new Promise((resolve) => setTimeout(resolve, 200));
  await thread.terminate();
  if (watched) Atomics.store(new Int32Array(start.memory.buffer, start.address), 0, 1);
  return next();
}

for (const watched of [true, false]) test(`a thread that is ended while it holds a task: an error ${watched ? 'at once where the host watches' : 'after a while where nobody watches'}, not a hang`, {}, async (t) => {
  const { path } = await product(1024, 'heavy.wasm');
  const file = await readFile(path);
  // Nearly always it is inside of a task; between two of them its end does no harm.
  for (let attempt = 1; ; attempt++) {
    const { code, ms, runs } = await endThread(t, file, watched);
    t.diagnostic(`status ${code} after ${runs} runs, ${ms.toFixed(0)} ms in the last`);
    if (code === 0 && attempt < 5) continue;
    assert.equal(code, 7);
    assert.ok(ms < (watched ? 5_000 : 60_000), `${ms} ms`);
    return;
  }
});
