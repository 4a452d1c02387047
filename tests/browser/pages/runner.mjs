// A thread of Node that runs a module of the kind `threads` over and over, until `run` returns an error, or for five seconds. It owns no threads.

import { parentPort, workerData } from 'node:worker_threads';
import { inflateSync } from 'node:zlib';

const { file, steps, initial, maximum, watched } = workerData;
const own = new WebAssembly.Module(file);
const [section] = WebAssembly.Module.customSections(own, 'wasm-torch.variant.threads');
const module = new WebAssembly.Module(inflateSync(section));
const memory = new WebAssembly.Memory({ initial, maximum, shared: true });
// The file's own code brings the data of all variants.
new Uint8Array(memory.buffer).set(new Uint8Array(new WebAssembly.Instance(own).exports.memory.buffer));
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
exports.init();
exports.set_blocking(1);
exports.start_threads(1);
parentPort.postMessage({ module, memory, stack: exports.thread_stack(1), address: watched ? exports.watch() : undefined });
await new Promise((resolve) => parentPort.once('message', resolve));
while (exports.threads_ready() < 1);
parentPort.postMessage('ready');
const begin = performance.now();
for (let runs = 1; ; runs++) {
  const start = performance.now();
  const code = exports.run(0, steps);
  const ms = performance.now() - start;
  if (code !== 0 || start + ms - begin > 5000) {
    parentPort.postMessage({ code, ms, runs });
    break;
  }
}
