// The serve page: loads one or two modules, takes input, shows what they compute and how fast. It knows no model but by its manifest.

import { createTensor, imageToTensor, PerformanceMonitor, softmax, Tensor, topK, WASMTorch } from './loader/index.js';

const $ = (id) => document.getElementById(id);

/** The normalisation that the digits of MNIST are trained with. */
const DIGIT = { mean: 0.1307, std: 0.3081 };
const ARRAYS = { f32: Float32Array, f64: Float64Array, f16: Uint16Array, bf16: Uint16Array, i8: Int8Array, u8: Uint8Array, i16: Int16Array, u16: Uint16Array, i32: Int32Array, u32: Uint32Array, i64: BigInt64Array, u64: BigUint64Array, bool: Uint8Array };
const NPY = { f4: 'f32', f8: 'f64', f2: 'f16', i1: 'i8', u1: 'u8', i2: 'i16', u2: 'u16', i4: 'i32', u4: 'u32', i8: 'i64', u8: 'u64', b1: 'bool' };

const state = { runtime: undefined, model: undefined, second: undefined, source: './model.wasm', feeds: {}, recent: [], busy: false };

start().catch(show);

async function start() {
  state.runtime = await WASMTorch.init({ threads: 'auto', log_level: 'warn' });
  listCapabilities(state.runtime.capabilities());
  $('threads').checked = state.runtime.capabilities().threads;
  $('threads').disabled = !state.runtime.capabilities().threads;
  connect();
  const modules = await served();
  state.source = modules[0].url;
  state.name = modules[0].name;
  await load();
  if (modules[1]) await loadSecond(modules[1].url, modules[1].name);
}

/** What the server offers. A static folder has no list: its module is model.wasm. */
async function served() {
  const answer = await fetch('./info.json').catch(() => undefined);
  const list = answer?.ok ? (await answer.json()).modules : [];
  return list.length > 0 ? list : [{ url: './model.wasm' }];
}

/** (Re)loads the first module as the controls say. */
async function load() {
  const bar = $('progress');
  bar.classList.remove('done');
  $('error').hidden = true;
  const wanted = $('variant').value;
  const begin = performance.now();
  const options = {
    onProgress: ({ loaded, total }) => (total ? (bar.value = loaded / total) : bar.removeAttribute('value')),
    ...($('threads').checked ? {} : { threads: 1 }),
    ...(wanted && wanted !== 'best' ? { variant: wanted } : {}),
  };
  try {
    const model = await state.runtime.loadModel(state.source, options);
    await state.model?.dispose();
    state.monitor?.stop();
    state.model = model;
    state.monitor = new PerformanceMonitor(model);
    state.recent = [];
    model.onCall((ms) => {
      state.recent.push(ms);
      if (state.recent.length > 300) state.recent.splice(0, 150);
    });
    describe(model, performance.now() - begin);
    fillFeeds(model);
    await run();
  } finally {
    bar.classList.add('done');
  }
}

function describe(model, ms) {
  const { manifest } = model;
  const name = state.name ?? manifest.model;
  document.title = `${name} · wasm-torch`;
  $('model').textContent = name;
  const threads = model.threads > 1 ? `${model.threads} threads` : 'one thread';
  $('facts').textContent = `${manifest.steps.length} steps, ${count(manifest.steps.reduce((sum, { macs }) => sum + macs, 0))} multiply-adds, ${bytes(manifest.memory.weights_bytes)} weights · ${model.variant}, ${threads} · ready after ${ms.toFixed(0)} ms`;
  const select = $('variant');
  const kinds = ['best', manifest.variant ?? 'baseline', ...(manifest.variants ?? []).map(({ name }) => name)];
  const before = select.value || 'best';
  select.replaceChildren(...kinds.map((kind) => new Option(kind, kind)));
  select.value = kinds.includes(before) ? before : 'best';
  const inputs = $('input');
  inputs.replaceChildren(...manifest.inputs.map(({ name }) => new Option(name, name)));
  $('input-pick').hidden = manifest.inputs.length < 2;
  const info = chosenInput();
  $('input-type').textContent = info ? `${info.name}: ${info.dtype} [${info.shape.join(', ')}]` : 'no inputs';
  $('draw').hidden = !isDigit(info);
  $('normalise').hidden = imageLayout(info) === undefined || isDigit(info);
  drawMemory(model.getMemoryStats());
}

const chosenInput = () => state.model?.inputs.find(({ name }) => name === $('input').value) ?? state.model?.inputs[0];
const isDigit = (info) => info?.dtype === 'f32' && info.shape.join() === '1,1,28,28';

/** Height, width, channels and layout of an input that looks like one image. */
function imageLayout(info) {
  if (info?.dtype !== 'f32' || info.shape.length !== 4 || info.shape[0] !== 1) return undefined;
  const [, a, b, c] = info.shape;
  if (a === 1 || a === 3) return { channels: a, size: [b, c], layout: 'nchw' };
  return c === 1 || c === 3 ? { channels: c, size: [a, b], layout: 'nhwc' } : undefined;
}

/** Random values for inputs that have none of the right shape yet. */
function fillFeeds(model) {
  for (const info of model.inputs) {
    const held = state.feeds[info.name];
    if (held?.shape.join() !== info.shape.join() || held.dtype !== info.dtype) state.feeds[info.name] = isDigit(info) ? drawing() : randomTensor(info);
  }
}

function randomTensor({ dtype, shape }) {
  const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => (dtype.startsWith('f') ? Math.random() * 2 - 1 : Math.floor(Math.random() * 2)));
  return dtype === 'f16' || dtype === 'bf16' ? new Tensor(Uint16Array.from(values, () => 0x3c00 + Math.random() * 256), shape, dtype) : createTensor(values, shape, dtype);
}

/** Runs once on the current input and shows everything. */
async function run() {
  if (state.busy || !state.model) return;
  state.busy = true;
  try {
    const outputs = await state.model.forward(feedsOf(state.model));
    drawOutputs(outputs);
    drawMemory(state.model.getMemoryStats());
    drawLatency();
  } finally {
    state.busy = false;
  }
}

const feedsOf = (model) => Object.fromEntries(model.inputs.map(({ name }) => [name, state.feeds[name]]));

/** Runs as long as the switch is on, and draws at most once per frame. */
async function live() {
  while ($('live').checked && state.model) {
    const model = state.model;
    const end = performance.now() + 40;
    do await model.forward(feedsOf(model));
    while (performance.now() < end && !model.disposed);
    await new Promise(requestAnimationFrame);
    drawLatency();
    drawMemory(model.getMemoryStats());
  }
}

function drawOutputs(outputs) {
  $('outputs').replaceChildren(...Object.entries(outputs).map(([name, tensor]) => {
    const head = element('h3', {}, name, element('span', {}, `${tensor.dtype} [${tensor.shape.join(', ')}]`));
    return element('div', { className: 'output' }, head, ...content(tensor));
  }));
}

function content(tensor) {
  const { data, shape } = tensor;
  const floats = data instanceof Float32Array || data instanceof Float64Array;
  const classes = shape.at(-1) ?? 1;
  if (floats && classes === data.length && classes > 1 && classes <= 100_000) {
    const already = Math.abs(data.reduce((a, b) => a + b, 0) - 1) < 1e-3 && data.every((value) => value >= 0);
    const shares = already ? tensor : softmax(tensor);
    const best = topK(shares, 1)[0];
    const answer = element('p', { className: 'answer' }, String(best.index), element('small', {}, `${(100 * best.value).toFixed(1)} %${already ? '' : ' (softmax)'}`));
    const rows = classes <= 12 ? Array.from(shares.data, (value, index) => ({ index, value })) : topK(shares, 6);
    return [answer, bars(rows.map(({ index, value }) => [String(index), value, `${(100 * value).toFixed(1)} %`]))];
  }
  const shown = Array.from(data.subarray(0, 24), (value) => (floats ? value.toPrecision(4) : String(value))).join('  ');
  return [...(floats && data.length > 0 ? [statistics(data)] : []), element('pre', {}, shown + (data.length > 24 ? '  …' : ''))];
}

function statistics(data) {
  let [low, high, sum] = [Infinity, -Infinity, 0];
  for (const value of data) [low, high, sum] = [Math.min(low, value), Math.max(high, value), sum + value];
  return definitions([['smallest', low.toPrecision(4)], ['largest', high.toPrecision(4)], ['mean', (sum / data.length).toPrecision(4)]]);
}

function bars(rows) {
  const box = element('div', { className: 'bars' });
  for (const [label, share, text] of rows) box.append(element('span', {}, label), track(share), element('span', { className: 'value' }, text));
  return box;
}

function track(share) {
  const fill = element('div', { className: 'fill' });
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return element('div', { className: 'track' }, fill);
}

function drawLatency() {
  const { p50, p95, p99, throughput, calls } = state.monitor.stats();
  $('latency').replaceChildren(...[['p50', p50], ['p95', p95], ['p99', p99]].map(([name, ms]) => element('div', {}, element('b', {}, ms < 10 ? ms.toFixed(2) : ms.toFixed(1)), element('span', {}, `${name}, ms`))));
  $('throughput').textContent = `${count(calls)} calls${throughput > 0 ? `, ${throughput.toFixed(throughput < 10 ? 1 : 0)} per second` : ''}, from forward() to its outputs`;
  const points = state.recent.slice(-150);
  const high = Math.max(...points) * 1.1 || 1;
  const line = points.map((ms, i) => `${((300 * i) / Math.max(1, points.length - 1)).toFixed(1)} ${(80 - (76 * ms) / high).toFixed(1)}`);
  if (points.length === 1) line.push(`300 ${line[0].split(' ')[1]}`);
  const svg = 'http://www.w3.org/2000/svg';
  const path = (d, area) => {
    const node = document.createElementNS(svg, 'path');
    node.setAttribute('d', d);
    if (area) node.classList.add('area');
    return node;
  };
  $('spark').replaceChildren(path(`M${line.join('L')}L300 80L0 80Z`, true), path(`M${line.join('L')}`));
}

function drawMemory({ weights, arena, wasmMemory, heapUsed, pool }) {
  const rest = Math.max(0, wasmMemory - weights - arena);
  const meter = element('div', { className: 'meter' }, ...[weights, arena, rest].map((part) => {
    const box = element('span');
    box.style.width = `${(100 * part) / wasmMemory}%`;
    return box;
  }));
  const dot = (kind) => element('i', { className: `dot ${kind}` });
  $('memory').replaceChildren(meter, definitions([
    [[dot(''), 'weights'], bytes(weights)],
    [[dot('second'), 'arena'], bytes(arena)],
    [[dot('third'), 'runtime, pools, free'], bytes(rest)],
    ['WebAssembly memory', bytes(wasmMemory)],
    ['in use', bytes(heapUsed)],
    ['pool hits', pool.hits + pool.misses === 0 ? 'not used yet' : `${(100 * pool.hitRatio).toFixed(1)} %`],
  ]));
}

function definitions(rows) {
  return element('dl', {}, ...rows.flatMap(([name, value]) => [element('dt', {}, ...[name].flat()), element('dd', {}, value)]));
}

function listCapabilities({ simd, relaxedSimd, threads, threadCount, why }) {
  const rows = [['128-bit SIMD', simd, why.simd], ['relaxed SIMD', relaxedSimd, why.relaxedSimd], [threads ? `threads: ${threadCount}` : 'threads', threads, why.threads], ['workers for models', why.worker === undefined, why.worker]];
  $('capabilities').replaceChildren(...rows.map(([name, yes, reason]) =>
    element('li', {}, element('span', { className: yes ? 'yes' : 'no' }, yes ? '✓' : '✗'), element('span', {}, name, ...(reason ? [element('small', {}, reason)] : [])))));
}

/** At least 20 calls, and as many as fit into half a second: the clock ticks coarsely beside the steps of small models. */
async function profile() {
  const { model } = state;
  model.resetProfile();
  const end = performance.now() + 500;
  for (let i = 0; i < 20 || (i < 1000 && performance.now() < end); i++) await model.forward(feedsOf(model), { profile: true });
  drawLayers(model.profile());
}

function drawLayers({ steps, ms, calls }) {
  state.profiled = { steps, ms, calls };
  const sorted = [...steps].sort((a, b) => b.ms - a.ms);
  const rows = $('all-layers').checked ? steps : sorted.slice(0, 15);
  const most = sorted[0]?.ms || 1;
  const box = element('div', { className: 'bars layers' });
  for (const step of rows) {
    const name = step.layers.join(' + ') || '(no layer)';
    box.append(
      element('span', { className: 'name', title: name }, name),
      element('span', { className: 'kernel', title: step.kernel }, step.kernel),
      track(step.ms / most),
      element('span', { className: 'value' }, `${step.ms < 0.1 ? `${(1000 * step.ms).toFixed(step.ms < 0.01 ? 1 : 0)} µs` : `${step.ms.toFixed(2)} ms`} · ${(100 * step.share).toFixed(1)} %`),
      element('span', { className: 'value' }, step.gflops > 0 ? `${step.gflops.toFixed(0)} GFLOP/s` : ''),
    );
  }
  const hidden = steps.length - rows.length;
  const note = element('p', { className: 'muted' }, `${ms.toFixed(3)} ms in ${steps.length} steps, ${calls} calls${hidden > 0 ? `; ${hidden} faster steps are not shown` : ''}.`);
  $('layers').replaceChildren(note, box);
}

async function loadSecond(source, name) {
  await state.second?.model.dispose();
  const model = await state.runtime.loadModel(source, $('threads').checked ? {} : { threads: 1 });
  state.second = { model, name };
  $('race').disabled = false;
  $('comparison').textContent = `${name} is ready.`;
}

/** Both modules in turn, so that what disturbs one disturbs the other. */
async function race() {
  const first = { name: $('model').textContent, model: state.model };
  const racers = [first, state.second].map((racer) => ({ ...racer, times: [] }));
  for (const { name, model } of racers) {
    const other = model.inputs.find((info) => state.feeds[info.name]?.shape.join() !== info.shape.join());
    if (other) throw new Error(`${name} takes ${other.dtype} [${other.shape.join(', ')}] as '${other.name}', which is not the input at hand.`);
  }
  for (let i = 0; i < 33; i++) {
    for (const racer of racers) {
      const start = performance.now();
      racer.outputs = await racer.model.forward(feedsOf(racer.model));
      if (i >= 3) racer.times.push(performance.now() - start);
    }
  }
  const at = (times, part) => [...times].sort((a, b) => a - b)[Math.floor(part * times.length)];
  const rows = racers.map(({ name, model, times }) => [name, model.variant, at(times, 0.5).toFixed(3), at(times, 0.95).toFixed(3), bytes(model.getMemoryStats().wasmMemory)]);
  const table = element('table', {}, element('tr', {}, ...['module', 'variant', 'p50 ms', 'p95 ms', 'memory'].map((head) => element('th', {}, head))), ...rows.map((row) => element('tr', {}, ...row.map((cell) => element('td', {}, cell)))));
  const ratio = at(racers[1].times, 0.5) / at(racers[0].times, 0.5);
  $('comparison').replaceChildren(table, element('p', { className: 'muted' }, `The first takes ${(1 / ratio).toFixed(2)} × the second’s time. Largest difference of the outputs: ${difference(racers[0].outputs, racers[1].outputs)}.`));
}

function difference(a, b) {
  let worst = 0;
  for (const [name, tensor] of Object.entries(a)) {
    const other = b[name];
    if (other?.size !== tensor.size) return `'${name}' has another shape`;
    for (let i = 0; i < tensor.size; i++) worst = Math.max(worst, Math.abs(Number(tensor.data[i]) - Number(other.data[i])));
  }
  return worst === 0 ? 'none, bit for bit' : worst.toExponential(1);
}

/** An image, an .npy file, a module, or raw elements. */
async function take(file) {
  const info = chosenInput();
  if (file.name?.endsWith('.wasm')) return loadSecond(await file.arrayBuffer(), file.name);
  if (file.type.startsWith('image/')) {
    const layout = imageLayout(info);
    if (layout === undefined) throw new Error(`Input '${info?.name}' of shape [${info?.shape.join(', ')}] does not take an image.`);
    const bitmap = await createImageBitmap(file);
    const preview = $('preview');
    [preview.width, preview.height, preview.hidden] = [bitmap.width, bitmap.height, false];
    preview.getContext('2d').drawImage(bitmap, 0, 0);
    const list = (id) => $(id).value.split(',').map(Number);
    const how = isDigit(info) ? DIGIT : { mean: list('mean'), std: list('std'), fit: $('fit').value };
    state.feeds[info.name] = imageToTensor(bitmap, { ...layout, ...how });
  } else {
    $('preview').hidden = true;
    state.feeds[info.name] = elements(await file.arrayBuffer(), file.name, info);
  }
  await run();
}

/** A tensor from an .npy file or from raw little-endian elements. */
function elements(buffer, name, { dtype, shape, bytes: expected }) {
  let data = buffer;
  let found = dtype;
  if (name.endsWith('.npy')) {
    const view = new DataView(buffer);
    const start = view.getUint8(6) > 1 ? 12 : 10;
    const end = start + (start === 12 ? view.getUint32(8, true) : view.getUint16(8, true));
    found = NPY[/'descr': *'[<|](\w+)'/.exec(new TextDecoder().decode(buffer.slice(start, end)))?.[1]];
    data = buffer.slice(end);
  }
  if (found !== dtype || data.byteLength !== expected) throw new Error(`${name} holds ${data.byteLength} bytes of ${found ?? 'unknown elements'}; the input takes ${expected} bytes: ${dtype} [${shape.join(', ')}].`);
  return new Tensor(new ARRAYS[dtype](data), shape, dtype);
}

function connect() {
  const on = (id, event, handler) => $(id).addEventListener(event, (happening) => Promise.resolve(handler(happening)).catch(show));
  on('run', 'click', run);
  on('live', 'change', live);
  on('threads', 'change', load);
  on('variant', 'change', load);
  on('input', 'change', () => describe(state.model, 0));
  on('profile', 'click', profile);
  on('all-layers', 'change', () => state.profiled && drawLayers(state.profiled));
  on('race', 'click', race);
  on('random', 'click', () => {
    const info = chosenInput();
    state.feeds[info.name] = randomTensor(info);
    $('preview').hidden = true;
    return run();
  });
  for (const [button, input, handle] of [['browse', 'file', take], ['second', 'second-file', async (file) => loadSecond(await file.arrayBuffer(), file.name)]]) {
    on(button, 'click', () => $(input).click());
    on(input, 'change', ({ target }) => target.files[0] && handle(target.files[0]));
  }
  const drop = $('drop');
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  document.addEventListener('dragleave', (event) => event.relatedTarget === null && drop.classList.remove('over'));
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    const [file] = event.dataTransfer.files;
    if (file) take(file).catch(show);
  });
  document.addEventListener('paste', ({ clipboardData }) => clipboardData.files[0] && take(clipboardData.files[0]).catch(show));
  window.addEventListener('unhandledrejection', ({ reason }) => show(reason));
  connectPad();
}

/** Drawing with a pointer; every stroke's end is a call. */
function connectPad() {
  const pad = $('pad');
  const context = pad.getContext('2d', { willReadFrequently: true });
  Object.assign(context, { lineWidth: 22, lineCap: 'round', lineJoin: 'round', strokeStyle: '#fff' });
  let last;
  const point = ({ offsetX, offsetY }) => [(offsetX * pad.width) / pad.clientWidth, (offsetY * pad.height) / pad.clientHeight];
  const stroke = (event) => {
    if (last === undefined) return;
    const next = point(event);
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...next);
    context.stroke();
    last = next;
    predict();
  };
  const predict = () => {
    state.feeds[chosenInput().name] = drawing();
    run().catch(show);
  };
  pad.addEventListener('pointerdown', (event) => {
    pad.setPointerCapture(event.pointerId);
    last = point(event);
    stroke(event);
  });
  pad.addEventListener('pointermove', stroke);
  pad.addEventListener('pointerup', () => {
    last = undefined;
    // A call that was still running took an earlier picture.
    setTimeout(predict, 30);
  });
  $('clear').addEventListener('click', () => {
    context.clearRect(0, 0, pad.width, pad.height);
    predict();
  });
}

/** What was drawn as MNIST has it: the ink fits in 20 × 20 pixels, its centre of mass is the middle of 28 × 28. */
function drawing() {
  const pad = $('pad');
  const { data, width, height } = pad.getContext('2d', { willReadFrequently: true }).getImageData(0, 0, pad.width, pad.height);
  let [left, top, right, bottom, sum, sumX, sumY] = [width, height, 0, 0, 0, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const ink = data[(y * width + x) * 4 + 3];
      if (ink === 0) continue;
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
      [sum, sumX, sumY] = [sum + ink, sumX + ink * (x + 0.5), sumY + ink * (y + 0.5)];
    }
  }
  const canvas = new OffscreenCanvas(280, 280);
  const context = canvas.getContext('2d');
  context.fillRect(0, 0, 280, 280);
  if (sum > 0) {
    const scale = 200 / Math.max(right - left, bottom - top);
    context.setTransform(scale, 0, 0, scale, 140 - (scale * sumX) / sum, 140 - (scale * sumY) / sum);
    context.drawImage(pad, 0, 0);
  }
  return imageToTensor(canvas, { size: 28, channels: 1, ...DIGIT });
}

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function bytes(number) {
  const unit = number < 1024 ? 0 : number < 1024 ** 2 ? 1 : 2;
  return `${(number / 1024 ** unit).toFixed(unit === 0 || number >= 100 * 1024 ** unit ? 0 : 1)} ${['B', 'KiB', 'MiB'][unit]}`;
}

const count = (number) => new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 }).format(number);

function show(error) {
  console.error(error);
  $('error').textContent = error?.message ?? String(error);
  $('error').hidden = false;
}
