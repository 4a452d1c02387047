// A hand-made module that follows the interface: y = 2x on f32 [2,3], in one step. No compiler wrote it.

import { assemble, I, T } from './wasm.mjs';

const ARENA = 1024;
const STATUS = 16;
const X = 0;
const Y = 32;

/** Its manifest, which a test may change. */
export const manifest = () => ({
  abi: 1,
  producer: 'hand-made',
  model: 'double',
  inputs: [{ name: 'x', dtype: 'f32', shape: [2, 3], offset: X, bytes: 24 }],
  outputs: [{ name: 'y', dtype: 'f32', shape: [2, 3], offset: Y, bytes: 24 }],
  memory: { weights_base: 64, weights_bytes: 0, arena_base: ARENA, arena_bytes: 64, live_bytes: 48, heap_base: 2048, initial_pages: 1, maximum_pages: 1 },
  features: ['simd128'],
  steps: [{ layers: ['net.double'], kernel: 'map_f32_simd', tasks: 1, macs: 6, weight_bytes: 0 }],
  options: [],
  weights_sha256: [],
});

const double = (offset) => [
  I.global(0),
  ...[I.global(0), I.v128.load(X + offset)],
  ...[I.global(0), I.v128.load(X + offset)],
  I.v128.add,
  I.v128.store(Y + offset),
];

const fail = (code, step, detail) => [
  ...[I.i32(STATUS), I.i32(code), I.storeI32(0)],
  ...[I.i32(STATUS), step, I.storeI32(4)],
  ...[I.i32(STATUS), I.i32(detail), I.storeI32(8)],
  ...[I.i32(code), I.return],
];

/** What `run` does: the work, a trap, or a report of an index out of range. */
const BODIES = {
  double: [...double(0), ...double(16), I.i32(0)],
  trap: [I.unreachable],
  fail: [...fail(3, I.i32(0), 7), I.i32(0)],
};

/** The module's bytes. `section` replaces the manifest's text, `without` drops one export. */
export function doubleModule({ run = 'double', change = (m) => m, section, without } = {}) {
  const result = [T.i32];
  const functions = [
    { name: 'init', results: result, body: [I.i32(0)] },
    {
      name: 'run',
      params: [T.i32, T.i32],
      results: result,
      body: [I.get(1), I.i32(1), I.gtUnsigned, I.if, ...fail(1, I.get(1), 1), I.end, ...BODIES[run]],
    },
    { name: 'status', results: result, body: [I.i32(STATUS)] },
    { name: 'alloc', params: [T.i32], results: result, body: [I.i32(0)] },
    { name: 'free', params: [T.i32], body: [] },
    { name: 'pool_stats', results: result, body: [I.i32(STATUS)] },
  ];
  const bytes = new TextEncoder().encode(section ?? JSON.stringify(change(manifest())));
  return assemble({
    functions: functions.filter(({ name }) => name !== without),
    globals: [{ name: 'arena_base', value: ARENA }],
    pages: 1,
    customs: section === null ? [] : [{ name: 'wasm-torch.manifest', bytes }],
  });
}
