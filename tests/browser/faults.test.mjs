// What may go wrong on the way to a page, in Chromium and in Node: transfers that stall, break off or bring something else,
// memory that the engine does not give. Every fault is a typed error, and the page goes on.

import assert from 'node:assert/strict';
import { after, before, test as unlimited } from 'node:test';

import { doubleModule, variantsModule } from '../../web/test/double.mjs';
import * as inNode from '../../web/dist/node.js';
import { FOLDERS } from './cases.mjs';
import { launchChromium, openPage } from './chromium.mjs';
import { serve } from './server.mjs';

const test = (name, body) => unlimited(name, { timeout: 60_000 }, body);
const FILE = Buffer.from(variantsModule());
const BESIDE = Buffer.from(variantsModule({ external: [{ file: 'chunk.bin', bytes: 16 }] }));
const CHUNK = Buffer.from(Float32Array.of(2, 2, 2, 2).buffer);
const STALL = { stallTimeout: 300 };

/** Handlers by what they do with the file `bytes`. A connection that is closed early is the server's doing. */
const FAULTS = {
  'never answers': () => {},
  stalls: (bytes, response, headers) => response.writeHead(200, headers).write(bytes.subarray(0, bytes.length / 2)),
  resets: (bytes, response, headers) => {
    response.writeHead(200, headers).write(bytes.subarray(0, bytes.length / 2));
    setTimeout(() => response.destroy(), 50);
  },
  'ends before its length': (bytes, response, headers) => {
    response.writeHead(200, { ...headers, 'Content-Length': bytes.length + 100 }).write(bytes);
    setTimeout(() => response.destroy(), 50);
  },
  'brings a part': (bytes, response, headers) => {
    const part = bytes.subarray(8);
    response.writeHead(206, { ...headers, 'Content-Length': part.length, 'Content-Range': `bytes 8-${bytes.length - 1}/${bytes.length}` }).end(part);
  },
  'brings an error page': (bytes, response, headers) => response.writeHead(503, headers).end('<!doctype html>busy'),
};

/** Those that are noticed by the time that passes. */
const SILENT = ['never answers', 'stalls'];

/** What each of them is called. */
const WORDS = {
  'never answers': /nothing came for 0\.3 s/,
  stalls: /could not be read: nothing came for 0\.3 s/,
  resets: /could not be read/,
  'ends before its length': /could not be read/,
  'brings a part': /expected status 200, found 206/,
  'brings an error page': /expected status 200, found 503/,
};

let browser;
let server;
let page;

before(async () => {
  server = await serve(FOLDERS);
  server.put('/good.wasm', FILE);
  for (const [i, [, handler]] of Object.entries(FAULTS).entries()) {
    server.on(`/fault${i}.wasm`, (request, response, headers) => handler(FILE, response, headers));
    server.put(`/beside${i}/model.wasm`, BESIDE);
    server.on(`/beside${i}/chunk.bin`, (request, response, headers) => handler(CHUNK, response, headers));
  }
  browser = await launchChromium();
  page = await openPage(browser, server.origin, 'faults');
});

after(async () => {
  await browser?.close();
  await server?.close();
}, { timeout: 30_000 });

/** Runs in either: loads `url`, and afterwards the good file. */
const attempt = async ([library, base, path, options]) => {
  const { WASMTorch, createTensor } = typeof library === 'string' ? await import(library) : library;
  const runtime = await WASMTorch.init({ threads: 2 });
  const found = await runtime.loadModel(`${base}${path}`, options).then(() => ({ code: 'loaded' }), ({ code, message }) => ({ code, message }));
  const model = await runtime.loadModel(`${base}/good.wasm`);
  const { y } = await model.forward(createTensor([[1, 2, 3], [4, 5, 6]]));
  await runtime.shutdown();
  return { ...found, after: y.data[5] };
};

/** Loads in a page's thread, in a worker, and in Node. */
async function everywhere(path, options) {
  const found = [];
  for (const inline of [true, false]) found.push(await page.evaluate(attempt, ['/web/index.js', '', path, { ...options, inline }]));
  return [...found, await attempt([inNode, server.origin, path, options])];
}

for (const [i, name] of Object.keys(FAULTS).entries()) {
  test(`a server that ${name}`, async () => {
    // What says something is waited for, however busy the machine is.
    for (const found of await everywhere(`/fault${i}.wasm`, SILENT.includes(name) ? STALL : {})) {
      assert.deepEqual([found.code, found.after], ['fetch-failed', 12], found.message);
      assert.match(found.message, WORDS[name]);
    }
  });
}

test('weights beside the module: the same faults, after a few attempts', async () => {
  const faults = Object.keys(FAULTS).map(async (name, i) => {
    for (const inline of [true, false]) {
      const found = await page.evaluate(attempt, ['/web/index.js', '', `/beside${i}/model.wasm`, { ...STALL, inline }]);
      assert.deepEqual([found.code, found.after], ['fetch-failed', 12], `${name}: ${found.message}`);
    }
  });
  await Promise.all(faults);
});

test('weights beside the module that are too long, too short or a page', async () => {
  server.put('/beside/model.wasm', BESIDE);
  for (const [bytes, code, words] of [[Buffer.alloc(20), 'fetch-failed', /found 20 of 16 bytes/], [CHUNK.subarray(4), 'fetch-failed', /found 12 of 16 bytes/], ['<!doctype html>.', 'corrupted', /SHA-256/]]) {
    server.put('/beside/chunk.bin', bytes);
    const found = await page.evaluate(attempt, ['/web/index.js', '', '/beside/model.wasm', { inline: true }]);
    assert.deepEqual([found.code, found.after], [code, 12], found.message);
    assert.match(found.message, words);
  }
});

test('without a limit a slow server is waited for', async () => {
  server.on('/slow.wasm', (request, response, headers) => {
    response.writeHead(200, headers).write(FILE.subarray(0, 100));
    setTimeout(() => response.end(FILE.subarray(100)), 700);
  });
  for (const options of [{ stallTimeout: 0 }, {}]) {
    for (const found of await everywhere('/slow.wasm', options)) assert.deepEqual([found.code, found.after], ['loaded', 12], found.message);
  }
});

test('memory that the engine does not give', async () => {
  // More pages than there are addresses, and more than a page's process gets once others have them.
  const asks = (pages) => (m) => ({ ...m, memory: { ...m.memory, initial_pages: pages, maximum_pages: pages } });
  server.put('/vast.wasm', Buffer.from(variantsModule({ change: asks(70_000) })));
  for (const found of await everywhere('/vast.wasm', {})) {
    assert.deepEqual([found.code, found.after], ['out-of-memory', 12], found.message);
    assert.match(found.message, /did not give the module its 4375 MiB of memory/);
  }
  server.put('/four.wasm', Buffer.from(variantsModule({ change: asks(65_536) })));
  const full = await page.evaluate(async (url) => {
    const held = [];
    const { WASMTorch } = await import('/web/index.js');
    const runtime = await WASMTorch.init({ inline: true });
    let code;
    // The engine may free what earlier pages had only now.
    for (let pass = 0; pass < 20 && code !== 'out-of-memory'; pass++) {
      try {
        for (let i = 0; i < 1000; i++) held.push(new WebAssembly.Memory({ initial: 65_536, maximum: 65_536 }));
      } catch {}
      code = await runtime.loadModel(url).then(() => 'loaded', (error) => error.code);
    }
    const count = held.length;
    held.length = 0;
    return { code, count };
  }, '/four.wasm');
  assert.ok(full.count < 1000, 'the page was given four terabytes');
  assert.equal(full.code, 'out-of-memory');
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  const found = await page.evaluate(attempt, ['/web/index.js', '', '/vast.wasm', { inline: true }]);
  assert.equal(found.after, 12);
});

test('a module that runs out of memory says so, and the next call is right', async () => {
  server.put('/trap.wasm', Buffer.from(doubleModule({ run: 'trap' })));
  const codes = await page.evaluate(async () => {
    const { WASMTorch, createTensor } = await import('/web/index.js');
    const runtime = await WASMTorch.init({ inline: true });
    const model = await runtime.loadModel('/good.wasm');
    const codes = [];
    try {
      createTensor(new Float32Array(2 ** 40), [2 ** 40]);
    } catch (error) {
      codes.push(error.name);
    }
    const bad = await runtime.loadModel('/trap.wasm');
    codes.push(await bad.forward(createTensor(new Float32Array(6), [2, 3])).catch((error) => error.code));
    codes.push((await model.forward(createTensor(new Float32Array(6).fill(3), [2, 3]))).y.data[0]);
    await runtime.shutdown();
    return codes;
  });
  assert.deepEqual(codes, ['RangeError', 'execution-failed', 6]);
});
