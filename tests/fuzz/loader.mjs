// Loads damaged and forged modules with the JavaScript loader: `node loader.mjs FOLDER`, where `fuzz modules --write FOLDER` wrote them.
// Each must run, or fail with the loader's own error, within its time; a module that does not end is stopped from outside.

import { readdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

/** Milliseconds that a module may take before its thread is stopped: forged code may loop for ever, which is no fault of the loader. */
const PATIENCE = 5_000;

if (!isMainThread) {
  const { WASMTorch, WasmTorchError, readManifest, Tensor } = await import(process.env.WASM_TORCH_LOADER);
  const runtime = await WASMTorch.init({ threads: 1 });
  const arrays = { f32: Float32Array, f64: Float64Array, i64: BigInt64Array, i32: Int32Array, u8: Uint8Array, bool: Uint8Array };
  const attempt = async (work) => {
    try {
      await work();
      return 'accepted';
    } catch (error) {
      if (error instanceof WasmTorchError && error.code !== undefined) return 'refused';
      return `wrong ${error?.stack ?? error}`;
    }
  };
  // From here on it is the module's code that takes its time.
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = async (...given) => {
    const instance = await instantiate(...given);
    parentPort.postMessage('running');
    return instance;
  };
  process.on('unhandledRejection', (error) => parentPort.postMessage(`wrong unhandled ${error?.stack ?? error}`));
  parentPort.on('message', async (bytes) => {
    const manifest = await attempt(() => readManifest(bytes));
    const loaded = await attempt(async () => {
      const model = await runtime.loadModel(bytes);
      const input = ({ name, dtype, shape }) => [name, new Tensor(new arrays[dtype](shape.reduce((n, d) => n * d, 1)), shape, dtype)];
      if (model.inputs.every(({ dtype, bytes }) => dtype in arrays && bytes < 1 << 24)) {
        await model.forward(Object.fromEntries(model.inputs.map(input)));
      }
      await model.dispose();
    });
    parentPort.postMessage(manifest.startsWith('wrong') ? manifest : loaded);
  });
} else {
  const folder = process.argv[2];
  if (folder === undefined) throw new Error('usage: node loader.mjs FOLDER');
  process.env.WASM_TORCH_LOADER ??= new URL('../../web/dist/node.js', import.meta.url).href;
  const files = (await readdir(folder)).sort();
  const count = { accepted: 0, refused: 0, stopped: 0, wrong: 0 };
  const kinds = new Map();
  let worker;
  const attempt = (bytes) => {
    worker ??= new Worker(new URL(import.meta.url));
    return new Promise((done) => {
      let running = false;
      const listeners = {
        message: (message) => (message === 'running' ? (running = true) : end(message)),
        error: (error) => end(`wrong ended ${error.stack}`),
        exit: (code) => end(`wrong exit ${code}`),
      };
      const end = (answer) => {
        clearTimeout(timer);
        for (const [event, listener] of Object.entries(listeners)) worker.off(event, listener);
        done(answer);
      };
      const timer = setTimeout(() => end(running ? 'stopped' : 'wrong hang'), PATIENCE);
      for (const [event, listener] of Object.entries(listeners)) worker.on(event, listener);
      worker.postMessage(bytes);
    });
  };
  for (const file of files) {
    const bytes = new Uint8Array(await readFile(join(resolve(folder), file)));
    const fresh = worker === undefined;
    let answer = await attempt(bytes);
    if (answer === 'wrong hang' && !fresh) {
      // The code of a file that was refused may still run in that thread: it starts while weights arrive.
      await worker.terminate();
      worker = undefined;
      answer = await attempt(bytes);
    }
    const kind = answer.split(' ')[0];
    count[kind] += 1;
    if (kind === 'wrong') {
      const at = answer.split('\n').slice(0, 2).join(' ');
      kinds.set(at, [...(kinds.get(at) ?? []), basename(file)]);
    }
    if (kind !== 'accepted' && kind !== 'refused') {
      await worker.terminate();
      worker = undefined;
    }
  }
  await worker?.terminate();
  for (const [at, names] of kinds) console.log(`${at}\n  ${names.length} files, first ${names[0]}`);
  const { user, system } = process.cpuUsage();
  console.log(`${files.length} modules: ${count.accepted} accepted, ${count.refused} refused, ${count.stopped} stopped, ${count.wrong} wrong; ${((user + system) / 1e6).toFixed(1)} s of CPU`);
  process.exitCode = count.wrong === 0 ? 0 : 1;
}
