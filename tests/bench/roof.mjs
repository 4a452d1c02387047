// The roof's micro-benchmark as a module: 12 independent accumulators, each acc = acc · c + d on four f32 lanes.

import { assemble, I, T } from '../../web/test/wasm.mjs';

const ACCUMULATORS = 12;

/** Exports `peak(iterations) → f32`; one iteration is 12 × 4 multiplications and additions. */
export function roofModule() {
  const [iterations, factor, term, first] = [0, 1, 2, 3];
  const accumulators = Array.from({ length: ACCUMULATORS }, (_, i) => first + i);
  const splat = (value) => [...I.f32(value), ...I.v128.splat];
  const body = [
    // c = 1/2 and d = 1: every accumulator tends to 2, far from denormals.
    ...[splat(0.5), I.set(factor), splat(1), I.set(term)],
    // Different start values, unknown to the compiler, keep it from merging accumulators.
    ...accumulators.flatMap((acc, i) => [I.get(iterations), I.i32(i), I.add, I.f32FromI32, I.v128.splat, I.set(acc)]),
    I.loop,
    ...accumulators.flatMap((acc) => [I.get(acc), I.get(factor), I.v128.multiply, I.get(term), I.v128.add, I.set(acc)]),
    ...[I.get(iterations), I.i32(1), I.subtract, I.tee(iterations), I.branchIf(0), I.end],
    I.get(first),
    ...accumulators.slice(1).flatMap((acc) => [I.get(acc), I.v128.add]),
    I.v128.lane(0),
  ];
  const locals = Array(2 + ACCUMULATORS).fill(T.v128);
  return assemble({ functions: [{ name: 'peak', params: [T.i32], results: [T.f32], locals, body }] });
}
