// The loader in real Chromium: every variant picked and forced, isolated and not, strict policies, and what may go wrong.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test as unlimited } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

import { doubleModule, manifest, VARIANTS, variantsModule } from '../../web/test/double.mjs';
import { FOLDERS } from './cases.mjs';
import { launchChromium } from './chromium.mjs';
import { ISOLATED, OPEN, serve, STRICT } from './server.mjs';

const NAMES = ['baseline', ...Object.keys(VARIANTS)];
/** The hand-made modules are small: without being asked a page would run them in its own thread. */
const TWO = { init: { threads: 2, inline: false }, url: '/variants.wasm' };
/** A test that hangs is named, not the whole file. */
const test = (name, body) => unlimited(name, { timeout: 60_000 }, body);
let browser;
let isolated;
let open;
let strict;

before(async () => {
  [isolated, open, strict] = await Promise.all([ISOLATED, OPEN, { ...ISOLATED, 'Content-Security-Policy': STRICT }].map((headers) => serve(FOLDERS, headers)));
  for (const server of [isolated, open, strict]) server.put('/variants.wasm', variantsModule());
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await Promise.all([isolated, open, strict].map((server) => server?.close()));
}, { timeout: 30_000 });

/** A page that has the loader as `window.wasmTorch`; closed when the test ends. */
async function openPlain(t, server, options) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(0);
  const query = options === undefined ? '' : `?options=${encodeURIComponent(JSON.stringify(options))}`;
  await page.goto(`${server.origin}/browser/pages/plain.html${query}`);
  await page.evaluate(() => new Promise((resolve) => (function wait() { 'wasmTorch' in window ? resolve() : setTimeout(wait, 1); })()));
  return page;
}

/** What a plain page finds that was opened with these options. */
async function result(t, server, options) {
  const page = await openPlain(t, server, options);
  return page.evaluate(() => window.result);
}

/** The interface number is part of the cache's keys. */
const ABI = manifest().abi;

const DOUBLED = [2, 4, 6, 8, 10, 12];

test('isolated: the best variant, in a worker, with threads', async (t) => {
  const found = await result(t, isolated, TWO);
  assert.deepEqual([found.y, found.variant, found.threads, found.why], [DOUBLED, 'relaxed+threads', 2, {}]);
  assert.equal(found.loaded, variantsModule().length);
  assert.deepEqual(found.memory, { heapUsed: 128, peakBytes: 128, weights: 64, arena: 64, wasmMemory: 65536, pool: { hits: 0, misses: 0, hitRatio: 0 } });
});

test('not isolated: no threads, and why', async (t) => {
  const found = await result(t, open, TWO);
  assert.deepEqual([found.y, found.variant, found.threads], [DOUBLED, 'relaxed', 1]);
  assert.match(found.why.threads, /not cross-origin isolated.*Cross-Origin-Opener-Policy/);
  const forced = await result(t, open, { ...TWO, variant: 'threads' });
  assert.equal(forced.code, 'unsupported-feature');
  assert.match(forced.error, /needs atomics.*not cross-origin isolated/);
});

test('a small model runs in the page unless asked otherwise, a large one does not', async (t) => {
  const large = (m) => ({ ...m, steps: [{ ...m.steps[0], macs: 1e9 }] });
  isolated.put('/large.wasm', variantsModule({ change: large }));
  const page = await openPlain(t, isolated);
  const found = await page.evaluate(async () => {
    const { run } = await import('/browser/pages/run.mjs');
    const Real = window.Worker;
    let models = 0;
    window.Worker = class extends Real {
      constructor(url, options) {
        super(url, options);
        models += options.name === 'wasm-torch model';
      }
    };
    const small = await run(window.wasmTorch, { url: '/variants.wasm' });
    const before = models;
    const large = await run(window.wasmTorch, { url: '/large.wasm' });
    return [small.y, before, large.y, models];
  });
  assert.deepEqual(found, [DOUBLED, 0, DOUBLED, 1]);
});

for (const variant of NAMES) {
  test(`forced: ${variant}, in a worker and in place, also under a strict policy`, async (t) => {
    for (const server of [isolated, strict]) {
      for (const inline of [false, true]) {
        const found = await result(t, server, { ...TWO, variant, inline });
        assert.deepEqual([found.y, found.variant, found.threads, found.why.worker], [DOUBLED, variant, variant.includes('threads') ? 2 : 1, undefined], found.error);
      }
    }
  });
}

test('the strict policy is one: it stops eval and blob: workers', async (t) => {
  const page = await openPlain(t, strict);
  const stopped = await page.evaluate(() => new Promise((resolve) => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective }) => resolve(violatedDirective));
    new Worker(URL.createObjectURL(new Blob([''])));
  }));
  assert.match(stopped, /worker-src|script-src/);
});

test('from another origin no worker can start: in place, and why', async (t) => {
  const page = await openPlain(t, open);
  const found = await page.evaluate(async ([origin, options]) => {
    const [wasmTorch, { run }] = await Promise.all([import(`${origin}/web/index.js`), import('/browser/pages/run.mjs')]);
    return run(wasmTorch, options);
  }, [(await crossOrigin(t)).origin, TWO]);
  assert.deepEqual([found.y, found.variant], [DOUBLED, 'relaxed'], found.error);
  assert.match(found.why.worker, /in this thread/);
});

/** A second origin with the loader. */
async function crossOrigin(t) {
  const server = await serve(FOLDERS, OPEN);
  t.after(() => server.close());
  return server;
}

test('offline after caching; another version fetches again and drops the old one', async (t) => {
  const server = await serve(FOLDERS);
  t.after(() => server.close());
  let fetches = 0;
  server.on('/cached.wasm', (request, response, headers) => {
    fetches += 1;
    response.writeHead(200, { ...headers, 'Content-Type': 'application/wasm' }).end(variantsModule());
  });
  const page = await openPlain(t, server);
  const load = (version) => page.evaluate(async (version) => {
    const { run } = await import('/browser/pages/run.mjs');
    return run(window.wasmTorch, { url: '/cached.wasm', cache: { name: 'models', version } });
  }, version);
  assert.deepEqual((await load('1')).y, DOUBLED);
  await kept(page, 'models', ['cached.wasm'], 1);
  server.on('/cached.wasm', (request, response) => response.destroy());
  assert.deepEqual((await load('1')).y, DOUBLED);
  assert.equal(fetches, 1);
  assert.equal((await load('2')).code, 'fetch-failed');
  server.on('/cached.wasm', (request, response, headers) => response.writeHead(200, headers).end(variantsModule()));
  assert.deepEqual((await load('2')).y, DOUBLED);
  await kept(page, 'models', ['cached.wasm'], 2);
});

/** Waits until a cache keeps these files of this version and nothing else: a loaded model does not wait for the cache. */
async function kept(page, cache, files, version = '') {
  const expected = files.map((file) => `${file}?${ABI}-${version}`);
  const found = async () => (await page.evaluate(async (cache) => (await (await caches.open(cache)).keys()).map(({ url }) => url), cache))
    .map((url) => url.slice(url.lastIndexOf('%2F') + 3)).sort();
  for (let turn = 0; turn < 100 && !isDeepStrictEqual(await found(), expected); turn++) await setTimeout(50);
  assert.deepEqual(await found(), expected);
}

test('weights beside the module: a load that was given up goes on with the chunk that is missing', async (t) => {
  const server = await serve(FOLDERS);
  t.after(() => server.close());
  server.put('/beside/model.wasm', Buffer.from(variantsModule({ external: ['a', 'b'].map((name) => ({ file: `${name}.bin`, bytes: 8 })) })));
  const asked = [];
  let stuck;
  const waiting = new Promise((resolve) => (stuck = resolve));
  for (const name of ['a', 'b']) {
    server.on(`/beside/${name}.bin`, (request, response, headers) => {
      // The first time the second chunk does not come.
      if (asked.push(name) === 2) return stuck();
      response.writeHead(200, headers).end(Buffer.from(Float32Array.of(2, 2).buffer));
    });
  }
  const page = await openPlain(t, server);
  await page.evaluate(() => {
    window.controller = new AbortController();
    window.load = async (signal) => {
      const { WASMTorch, createTensor } = window.wasmTorch;
      const model = await (await WASMTorch.init()).loadModel('/beside/model.wasm', { cache: { name: 'beside' }, signal });
      return [...(await model.forward(createTensor([[1, 2, 3], [4, 5, 6]]))).y.data];
    };
    window.first = window.load(window.controller.signal).catch(({ message }) => message);
  });
  await waiting;
  await kept(page, 'beside', ['a.bin', 'model.wasm']);
  assert.equal(await page.evaluate(() => (window.controller.abort(new Error('enough')), window.first)), 'enough');
  assert.deepEqual(await page.evaluate(() => window.load()), DOUBLED);
  assert.deepEqual(asked, ['a', 'b', 'b']);
});

test('weights beside the module: what is damaged in the cache is fetched again, in any thread', async (t) => {
  const server = await serve(FOLDERS);
  t.after(() => server.close());
  server.put('/beside/model.wasm', Buffer.from(variantsModule({ external: ['a', 'b'].map((name) => ({ file: `${name}.bin`, bytes: 8 })) })));
  const asked = [];
  for (const name of ['a', 'b']) {
    server.on(`/browser/pages/weights/${name}.bin`, (request, response, headers) => {
      asked.push(name);
      response.writeHead(200, headers).end(Buffer.from(Float32Array.of(2, 2).buffer));
    });
  }
  const page = await openPlain(t, server);
  for (const inline of [true, false]) {
    const load = async () => {
      const y = await page.evaluate(async (inline) => {
        const { WASMTorch, createTensor } = window.wasmTorch;
        // The address counts from the page.
        const options = { cache: { name: `beside-${inline}` }, weightsUrl: 'weights/', inline };
        const model = await (await WASMTorch.init({ threads: 1 })).loadModel('/beside/model.wasm', options);
        return [...(await model.forward(createTensor([[1, 2, 3], [4, 5, 6]]))).y.data];
      }, inline);
      await kept(page, `beside-${inline}`, ['a.bin', 'b.bin', 'model.wasm']);
      return y;
    };
    assert.deepEqual(await load(), DOUBLED);
    await page.evaluate(async (inline) => {
      const cache = await caches.open(`beside-${inline}`);
      const key = (await cache.keys()).find(({ url }) => url.includes('b.bin'));
      await cache.put(key, new Response(new Uint8Array(8)));
    }, inline);
    assert.deepEqual(await load(), DOUBLED);
    assert.deepEqual(asked.splice(0), ['a', 'b', 'b']);
    assert.deepEqual(await load(), DOUBLED);
    assert.deepEqual(asked, []);
  }
});

test('what is damaged in the cache is fetched again', async (t) => {
  const page = await openPlain(t, isolated);
  const found = await page.evaluate(async (abi) => {
    const { run } = await import('/browser/pages/run.mjs');
    const key = `/${encodeURIComponent(new URL('/variants.wasm', location.href))}?${abi}-`;
    const file = new Uint8Array(await (await fetch('/variants.wasm')).arrayBuffer());
    const cache = await caches.open('wasm-torch');
    // The last weights, before the report of 24 bytes or so.
    file[file.length - 26] ^= 1;
    await cache.put(key, new Response(file));
    return run(window.wasmTorch, { url: '/variants.wasm', cache: true });
  }, ABI);
  assert.deepEqual(found.y, DOUBLED, found.error);
});

/** Runs `body(wasmTorch, argument)` in a plain page. */
async function inPage(t, server, body, argument) {
  const page = await openPlain(t, server);
  return page.evaluate(([body, argument]) => (0, eval)(`(${body})`)(window.wasmTorch, argument), [body.toString(), argument]);
}

test('cancel: promptly by the stop flag, between steps without shared memory, in the queue', async (t) => {
  isolated.put('/forever.wasm', variantsModule({ run: 'forever' }));
  isolated.put('/slow.wasm', doubleModule({ run: 'slow', change: (m) => ({ ...m, steps: Array(5000).fill(m.steps[0]) }) }));
  const found = await inPage(t, isolated, async ({ WASMTorch, createTensor }) => {
    const runtime = await WASMTorch.init({ threads: 2, inline: false });
    const x = createTensor([[1, 2, 3], [4, 5, 6]]);
    const cancel = async (url, options) => {
      const model = await runtime.loadModel(url, options);
      const controller = new AbortController();
      const call = model.forward(x, { signal: controller.signal }).then(() => 'done', (error) => error);
      const other = new AbortController();
      const waiting = model.forward(x, { signal: other.signal }).then(() => 'done', (error) => error.message);
      const before = model.forward(x, { signal: AbortSignal.abort(new Error('before')) }).catch((error) => error.message);
      await new Promise((resolve) => setTimeout(resolve, 100));
      other.abort(new Error('waiting'));
      const inQueue = await waiting;
      const start = performance.now();
      controller.abort(new Error('enough'));
      const reason = (await call).message;
      const ms = performance.now() - start;
      await before;
      // The worker is free again.
      const next = new AbortController();
      setTimeout(() => next.abort(new Error('again')), 20);
      const again = await model.forward(x, { signal: next.signal }).then(() => 'done', (error) => error.message);
      const ended = performance.now();
      await model.dispose();
      return { variant: model.variant, reason, inQueue, before: await before, ms, again, disposed: performance.now() - ended };
    };
    return { flag: await cancel('/forever.wasm'), steps: await cancel('/slow.wasm'), inline: await cancel('/slow.wasm', { inline: true }) };
  });
  for (const [name, { reason, inQueue, before, ms, again, disposed }] of Object.entries(found)) {
    assert.deepEqual([reason, inQueue, before, again], ['enough', 'waiting', 'before', 'again'], name);
    assert.ok(ms < 500 && disposed < 1000, `${name}: ${ms} ms, ${disposed} ms`);
  }
  assert.equal(found.flag.variant, 'relaxed+threads');
});

test('10,000 calls leave nothing behind, in a worker and in place', async (t) => {
  const page = await openPlain(t, isolated);
  const cdp = await page.context().newCDPSession(page);
  for (const inline of [false, true]) {
    await page.evaluate(async (inline) => {
      const { WASMTorch, createTensor } = window.wasmTorch;
      const runtime = await WASMTorch.init({ threads: 2, inline });
      const model = await runtime.loadModel('/variants.wasm');
      window.calls = async (count) => {
        for (let i = 0; i < count; i++) {
          const x = createTensor(new Float32Array(6).fill(i), [2, 3]);
          const { y } = await model.forward(x, { transfer: i % 2 === 0 });
          if (y.data[5] !== 2 * i) throw new Error(`call ${i}: ${y.data}`);
          y.dispose();
        }
        return model.getMemoryStats();
      };
      window.finish = () => model.dispose();
    }, inline);
    const heap = async () => {
      await cdp.send('HeapProfiler.collectGarbage');
      return (await cdp.send('Runtime.getHeapUsage')).usedSize;
    };
    const first = await page.evaluate(() => window.calls(500));
    const before = await heap();
    const last = await page.evaluate(() => window.calls(10_000));
    const grown = (await heap()) - before;
    assert.ok(grown < 200_000, `the heap grew by ${grown} bytes`);
    assert.deepEqual(last, first);
    await page.evaluate(() => window.finish());
  }
});

test('two models at once, and instances that share weights', async (t) => {
  const found = await inPage(t, isolated, async ({ WASMTorch, createTensor }) => {
    const runtime = await WASMTorch.init({ threads: 2, inline: false });
    const [one, two] = await Promise.all([runtime.loadModel('/variants.wasm'), runtime.loadModel('/variants.wasm', { variant: 'baseline' })]);
    const shared = await one.share();
    const calls = Array.from({ length: 60 }, async (_, i) => (await [one, two, shared][i % 3].forward(createTensor(new Float32Array(6).fill(i), [2, 3]))).y.data[5]);
    const values = await Promise.all(calls);
    await one.dispose();
    const after = (await shared.forward(createTensor(new Float32Array(6).fill(50), [2, 3]))).y.data[0];
    const stats = runtime.getMemoryStats();
    await runtime.shutdown();
    return { values, after, weights: stats.weights };
  });
  assert.deepEqual(found.values, Array.from({ length: 60 }, (_, i) => 2 * i));
  assert.equal(found.after, 100);
  assert.equal(found.weights, 64);
});

/** Puts the workers that a page starts into `window.workers`; with `script` they run that instead. */
const watchWorkers = (page, script) => page.evaluate((script) => {
  const Real = window.Worker;
  window.workers = [];
  window.Worker = class extends Real {
    constructor(url, options) {
      super(script ?? url, options);
      window.workers.push(this);
    }
  };
}, script);

test('a worker that throws, and one that is ended from outside: errors, not hangs', async (t) => {
  isolated.put('/forever.wasm', variantsModule({ run: 'forever' }));
  for (const [how, script, expected] of [['boom', '/browser/pages/boom.mjs', /^worker-failed: The worker failed: .*boom/], ['terminate', '/browser/pages/slow-lock.mjs', /^worker-failed: The worker died/]]) {
    for (const url of ['/variants.wasm', '/forever.wasm']) {
      const page = await openPlain(t, isolated);
      await watchWorkers(page, script);
      const found = await page.evaluate(async ([how, url]) => {
        const { WASMTorch, createTensor } = window.wasmTorch;
        const outcome = (promise) => promise.then(() => 'done', ({ code, message }) => `${code}: ${message}`);
        const model = await (await WASMTorch.init({ threads: 1, inline: false })).loadModel(url, { variant: 'baseline' });
        const end = () => (how === 'boom' ? workers[0].postMessage('boom') : workers[0].terminate());
        // A worker inside of a call that has no end cannot throw.
        if (how === 'boom' && url === '/forever.wasm') end();
        const calls = [0, 1].map(() => outcome(model.forward(createTensor([[1, 2, 3], [4, 5, 6]]))));
        end();
        const first = await Promise.all(calls);
        const late = await outcome(model.forward(createTensor([[1, 2, 3], [4, 5, 6]])));
        const shared = await outcome(model.share());
        await model.dispose();
        return [...first, late, shared];
      }, [how, url]);
      // What the worker answered before its end counts.
      for (const text of found) if (text !== 'done' || url === '/forever.wasm') assert.match(text, expected, `${how} ${url}`);
      assert.match(found[2], expected);
    }
  }
});

test('a thread that ends: the page notices, and says so to the model', async (t) => {
  const server = await serve(FOLDERS);
  t.after(() => server.close());
  server.put('/watched.wasm', variantsModule({ run: 'watched', names: ['threads'] }));
  const script = await readFile(new URL('../../web/dist/thread.js', import.meta.url), 'utf8');
  server.on('/web/thread.js', (request, response, headers) => response.writeHead(200, { ...headers, 'Content-Type': 'text/javascript' }).end(`${script}\nfetch('/end').then(close);`));
  const ended = new Promise((resolve) => server.on('/called', (request, response, headers) => resolve(response.writeHead(200, headers).end())));
  server.on('/end', (request, response, headers) => ended.then(() => response.writeHead(200, headers).end()));
  const found = await inPage(t, server, async ({ WASMTorch, createTensor }) => {
    const model = await (await WASMTorch.init({ threads: 2, inline: false })).loadModel('/watched.wasm');
    await model.warmup(1);
    await fetch('/called');
    const end = performance.now() + 30_000;
    for (let calls = 0; performance.now() < end; calls++) {
      const error = await model.forward(createTensor([[1, 2, 3], [4, 5, 6]])).then(() => undefined, (error) => error);
      if (error !== undefined) return { calls: calls > 0, code: error.code, message: error.message, threads: model.why };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return { code: 'none' };
  });
  assert.equal(found.code, 'worker-failed', JSON.stringify(found));
  assert.match(found.message, /worker thread failed/);
});

test('a worker that dies while it loads: an error, not a hang', async (t) => {
  isolated.on('/endless.wasm', (request, response, headers) => {
    response.writeHead(200, headers);
    response.write(Buffer.from(variantsModule().subarray(0, -60)));
  });
  const page = await openPlain(t, isolated);
  await watchWorkers(page);
  const found = await page.evaluate(async () => {
    const runtime = await window.wasmTorch.WASMTorch.init({ threads: 1, inline: false });
    const outcome = (onProgress) => runtime.loadModel('/endless.wasm', { onProgress }).then(() => 'done', ({ code }) => code);
    return outcome(() => window.workers[0].terminate());
  });
  assert.equal(found, 'worker-failed');
});

test('a module that stops, stops one call and says where', async (t) => {
  isolated.put('/trap.wasm', doubleModule({ run: 'trap' }));
  isolated.put('/fail.wasm', doubleModule({ run: 'fail' }));
  const trap = await result(t, isolated, { url: '/trap.wasm', inline: false });
  assert.deepEqual([trap.code, /unreachable/.test(trap.error)], ['execution-failed', true]);
  const fail = await result(t, isolated, { url: '/fail.wasm', inline: false });
  assert.match(fail.error, /step 0 \(net\.double\)/);
});

test('corrupted, truncated, foreign and newer modules are named, through the worker too', async (t) => {
  const good = variantsModule();
  const files = {
    corrupted: [variantsModule({ stored: new Uint8Array(Float32Array.of(2, 2, 2, 3).buffer) }), 'corrupted', /SHA-256/],
    truncated: [good.subarray(0, good.length - 60), 'invalid-module', /cut off/],
    cut: [good.subarray(0, 900), 'invalid-module', /ends after 900 bytes, before the end of its manifest/],
    newer: [variantsModule({ change: (m) => ({ ...m, abi: m.abi + 1 }) }), 'unsupported-abi', /written for interface \d+.*update the npm package/s],
    foreign: [doubleModule({ section: null }), 'invalid-module', /section 'wasm-torch.manifest'/],
    html: [new TextEncoder().encode('<!doctype html>'), 'invalid-module', /HTML/],
  };
  const page = await openPlain(t, isolated);
  const load = (options) => page.evaluate(async (options) => (await import('/browser/pages/run.mjs')).run(window.wasmTorch, options), options);
  for (const [name, [bytes, code, pattern]] of Object.entries(files)) {
    isolated.put(`/${name}.wasm`, Buffer.from(bytes));
    for (const inline of [false, true]) {
      const found = await load({ url: `/${name}.wasm`, inline });
      assert.equal(found.code, code, `${name}: ${found.error}`);
      assert.match(found.error, pattern);
    }
  }
  assert.equal((await load({ url: '/none.wasm' })).code, 'fetch-failed');
});

test('an aborted load ends its worker', async (t) => {
  isolated.on('/endless.wasm', (request, response, headers) => {
    response.writeHead(200, headers);
    response.write(Buffer.from(variantsModule().subarray(0, -60)));
  });
  const found = await inPage(t, isolated, async ({ WASMTorch }) => {
    const runtime = await WASMTorch.init({ inline: false });
    const controller = new AbortController();
    const options = { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) };
    const error = await runtime.loadModel('/endless.wasm', options).catch(({ message }) => message);
    return { error, next: (await (await runtime.loadModel('/variants.wasm')).warmup()) >= 0 };
  });
  assert.deepEqual(found, { error: 'enough', next: true });
});

test('every kind of source goes to the worker', async (t) => {
  const found = await inPage(t, isolated, async ({ WASMTorch, createTensor }) => {
    const runtime = await WASMTorch.init({ threads: 2, inline: false });
    const bytes = () => fetch('/variants.wasm').then((response) => response.arrayBuffer());
    const sources = { url: new URL('/variants.wasm', location.href), response: fetch('/variants.wasm'), bytes: await bytes(), view: new Uint8Array(await bytes()), compiled: WebAssembly.compileStreaming(fetch('/variants.wasm')) };
    const found = {};
    for (const [name, source] of Object.entries(sources)) {
      const model = await runtime.loadModel(source);
      const x = createTensor([[1, 2, 3], [4, 5, 6]]);
      const { y } = await model.forward(x, { transfer: true, profile: true });
      found[name] = [model.variant, y.data[5], x.disposed, model.getProfilingData().operationTimes.length];
      await model.dispose();
    }
    return found;
  });
  const best = ['relaxed+threads', 12, true, 1];
  assert.deepEqual(found, { url: best, response: best, bytes: best, view: best, compiled: ['baseline', 12, true, 1] });
});

test('a service worker runs models in place', async (t) => {
  const page = await openPlain(t, open);
  const found = await page.evaluate(async (options) => {
    await navigator.serviceWorker.register('/browser/pages/service.mjs', { type: 'module' });
    const { active } = await navigator.serviceWorker.ready;
    const answer = new Promise((resolve) => (navigator.serviceWorker.onmessage = ({ data }) => resolve(data)));
    active.postMessage(options);
    return answer;
  }, { url: '/variants.wasm' });
  assert.deepEqual([found.y, found.variant, found.why.worker], [DOUBLED, 'relaxed', undefined], found.error);
});

test('pictures from bitmaps, canvases and pixels become the same tensor', async (t) => {
  const found = await inPage(t, isolated, async ({ imageToTensor }) => {
    const canvas = new OffscreenCanvas(6, 4);
    const context = canvas.getContext('2d');
    for (let i = 0; i < 24; i++) {
      context.fillStyle = `rgb(${i * 10}, ${255 - i * 10}, ${i * 5})`;
      context.fillRect(i % 6, Math.floor(i / 6), 1, 1);
    }
    const options = { size: [8, 9], mean: [0.4, 0.5, 0.6], std: 0.25 };
    const pixels = imageToTensor(context.getImageData(0, 0, 6, 4), options);
    const others = [canvas, await createImageBitmap(canvas), new VideoFrame(canvas, { timestamp: 0 })].map((source) => imageToTensor(source, options));
    return { shape: pixels.shape, worst: others.map(({ data }) => Math.max(...data.map((value, i) => Math.abs(value - pixels.data[i])))) };
  });
  assert.deepEqual(found.shape, [1, 3, 8, 9]);
  // A video frame may travel through YUV.
  assert.ok(found.worst[0] < 1e-6 && found.worst[1] < 1e-6 && found.worst[2] < 0.2, String(found.worst));
});

test('monitor and options', async (t) => {
  const found = await inPage(t, isolated, async ({ WASMTorch, PerformanceMonitor, createTensor }) => {
    const runtime = await WASMTorch.init({ threads: 2, thread_affinity: true, io_threads: 2, simd: true, simd_width: 4, enable_numa_awareness: true, profiling: true, memory_pool_size: 1024 });
    const model = await runtime.loadModel('/variants.wasm');
    const monitor = new PerformanceMonitor(model);
    for (let i = 0; i < 20; i++) await model.forward(createTensor(new Float32Array(6), [2, 3]));
    const { calls, throughput, p50, p99 } = monitor.stats();
    const data = runtime.getProfilingData();
    return { ignored: runtime.capabilities().ignored, calls, sane: throughput > 0 && p50 > 0 && p99 >= p50, operations: data.operationTimes, simd: runtime.hasSIMD(), threads: runtime.getThreadCount() };
  });
  assert.deepEqual(found.ignored, ['thread_affinity', 'io_threads', 'simd_width', 'enable_numa_awareness']);
  assert.deepEqual([found.calls, found.sane, found.simd, found.threads], [20, true, true, 2]);
  assert.deepEqual([found.operations[0].layer, found.operations[0].kernel, found.operations[0].calls], ['net.double', 'map_f32_simd', 20]);
});
