// Hand-made modules that follow the interface: y = 2x on f32 [2,3], in one step. No compiler wrote them.

import { createHash } from 'node:crypto';

import { assemble, customSection, I, join, pieces, T } from './wasm.mjs';

const ARENA = 1024;
const STATUS = 16;
/** Stays zeros. */
const POOL = 1152;
const READY = 48;
const STOP = 52;
const FAILED = 56;
const SCALE = 64;
const X = 0;
const Y = 32;
const PAGES = 1;

/** Its manifest, which a test may change. */
export const manifest = () => ({
  abi: 4,
  producer: 'hand-made',
  model: 'double',
  inputs: [{ name: 'x', dtype: 'f32', shape: [2, 3], offset: X, bytes: 24 }],
  outputs: [{ name: 'y', dtype: 'f32', shape: [2, 3], offset: Y, bytes: 24 }],
  memory: { weights_base: SCALE, weights_bytes: 0, arena_base: ARENA, arena_bytes: 64, live_bytes: 48, heap_base: 2048, initial_pages: PAGES, maximum_pages: PAGES },
  features: ['simd128'],
  steps: [{ layers: ['net.double'], kernel: 'map_f32_simd', tasks: 1, macs: 6, weight_bytes: 0 }],
  options: [],
  weights_sha256: [],
});

const half = (offset, ...product) => [I.global(0), I.global(0), I.v128.load(X + offset), ...product, I.v128.store(Y + offset)];

const fail = (code, step, detail) => [
  ...[I.i32(STATUS), I.i32(code), I.storeI32(0)],
  ...[I.i32(STATUS), step, I.storeI32(4)],
  ...[I.i32(STATUS), I.i32(detail), I.storeI32(8)],
  ...[I.i32(code), I.return],
];

/** The step to go on with is the last one asked for. */
const goOn = [I.i32(STATUS), I.get(1), I.storeI32(4)];

const scale = [I.i32(SCALE), I.v128.load(0)];
const both = (...product) => [...half(0, ...product), ...half(16, ...product), I.i32(0)];

/** What `run` does: the work, the work with weights unless a worker failed, a trap, a report of an index out of range, some time per call, or no end. */
const BODIES = {
  double: [...half(0, I.global(0), I.v128.load(X), I.v128.add), ...half(16, I.global(0), I.v128.load(X + 16), I.v128.add), I.i32(0)],
  weights: both(...scale, I.v128.multiply),
  relaxed: both(...scale, I.i32(0), I.f32FromI32, I.v128.splat, I.v128.relaxedMadd),
  watched: [I.i32(FAILED), I.loadI32(0), I.if, ...fail(7, I.i32(0), 0), I.end, ...both(...scale, I.v128.multiply)],
  trap: [I.unreachable],
  fail: [...fail(3, I.i32(0), 7), I.i32(0)],
  slow: [I.i32(400_000), I.set(2), I.loop, I.get(2), I.i32(1), I.subtract, I.tee(2), I.branchIf(0), I.end, I.i32(0)],
  forever: [I.loop, I.i32(0), I.loadI32(STOP), I.eqz, I.branchIf(0), I.end, I.i32(6)],
};

const result = [T.i32];
const address = (name, value) => ({ name, results: result, body: [I.i32(value)] });

const functions = (run, grows) => [
  address('init', 0),
  {
    name: 'run',
    params: [T.i32, T.i32],
    results: result,
    locals: [T.i32],
    body: [...(run === 'slow' ? [] : [I.get(1), I.i32(1), I.gtUnsigned, I.if, ...fail(1, I.get(1), 1), I.end]), ...goOn, ...BODIES[run]],
  },
  // The steps have one task: it is `run`, function 1, of one step.
  { name: 'run_tasks', params: [T.i32, T.i32, T.i32], results: result, body: [I.get(0), I.get(0), I.i32(1), I.add, I.call(1)] },
  address('status', STATUS),
  { name: 'alloc', params: [T.i32], results: result, body: [I.i32(8192)] },
  { name: 'free', params: [T.i32], body: [] },
  { name: 'pool_reserve', params: [T.i32, T.i32], results: result, body: [...(grows ? [I.i32(1), I.grow, I.drop] : []), I.get(1)] },
  { name: 'pool_limit', params: [T.i32], body: [] },
  address('pool_stats', POOL),
  address('stop_flag', STOP),
];

/** One worker joins by saying that it is ready; nobody gives it work. `start` is what `start_threads` returns. */
const threadFunctions = (worker) => [
  { name: 'start_threads', params: [T.i32], results: result, body: [I.i32(0)] },
  { name: 'thread_stack', params: [T.i32], results: result, body: [I.i32(4096)] },
  { name: 'set_stack', params: [T.i32], body: [] },
  { name: 'worker', params: [T.i32], body: worker === 'trap' ? [I.unreachable] : [I.i32(READY), I.i32(1), I.storeI32(0)] },
  { name: 'threads_ready', results: result, body: [I.i32(READY), I.loadI32(0)] },
  { name: 'stop_threads', body: [I.i32(READY), I.i32(0), I.storeI32(0)] },
  { name: 'set_blocking', params: [T.i32], body: [] },
  { name: 'worker_failed', body: [] },
  address('watch', FAILED),
];

const globals = [{ name: 'arena_base', value: ARENA }];
const json = (value) => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));

/** A file of these pieces behind their manifest: `describe` makes it from the parts. */
function file(content, describe) {
  const parts = content.map(([bytes, place]) => [bytes.length, place]);
  const described = describe(parts);
  return join([...(described === null ? [] : [customSection('wasm-torch.manifest', json(described))]), ...content]);
}

/** The module's bytes. `section` replaces the manifest's text, `without` drops one export, with `fixed` the arena's base cannot be set. */
export function doubleModule({ run = 'double', change = (m) => m, section, without, fixed } = {}) {
  const content = pieces({
    functions: functions(run).filter(({ name }) => name !== without),
    globals: globals.map((global) => ({ ...global, fixed })),
    pages: PAGES,
  });
  return file(content, (parts) => (section === undefined ? change({ ...manifest(), parts }) : section));
}

/** The features that the hand-made variants need. */
export const VARIANTS = {
  relaxed: ['simd128', 'relaxed-simd'],
  threads: ['simd128', 'atomics'],
  'relaxed+threads': ['simd128', 'relaxed-simd', 'atomics'],
};

/**
 * The same model with its factor among the weights, in a file of several variants. `stored` are the weights' bytes in the
 * file. `worker` is 'trap' where a thread is to fail, `external` leaves the weights out, `grows` makes a pool take another page.
 */
export function variantsModule({ run = 'weights', names = Object.keys(VARIANTS), change = (m) => m, stored, worker, external, grows } = {}) {
  const weights = new Uint8Array(Float32Array.of(2, 2, 2, 2).buffer);
  const memory = new Uint8Array(64);
  memory.set(weights);
  const customs = names.map((name) => {
    const threads = name.includes('threads');
    const bytes = assemble({
      functions: [...functions(run === 'weights' && name.includes('relaxed') ? 'relaxed' : run, grows), ...(threads ? threadFunctions(worker) : [])],
      globals,
      pages: PAGES,
      imported: { maximum: PAGES + 1, shared: threads },
    });
    return { name: `wasm-torch.variant.${name}`, bytes, place: name };
  });
  const base = manifest();
  const described = {
    ...base,
    variant: 'baseline',
    variants: customs.map(({ name, bytes }, i) => ({ name: names[i], features: VARIANTS[names[i]], section: name, bytes: bytes.length })),
    memory: { ...base.memory, weights_bytes: memory.length, maximum_pages: PAGES + 1 },
    weights_sha256: [createHash('sha256').update(memory).digest('hex')],
    external_weights: external ? { chunk_bytes: weights.length, chunks: external } : null,
  };
  const content = pieces({
    functions: functions(run, grows),
    globals,
    pages: PAGES,
    customs,
    data: external ? [] : [{ address: STOP, bytes: [0, 0, 0, 0] }, { address: SCALE, bytes: stored ?? weights }],
    trailing: [{ name: 'wasm-torch.report', bytes: json('{}') }],
  });
  return file(content, (parts) => change({ ...described, parts }));
}
