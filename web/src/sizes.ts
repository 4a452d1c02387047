// Sizes that are chosen before a call: what the shapes of the inputs say about them, and the shapes that follow from them.

import { WasmTorchError } from './errors.js';
import type { Manifest, TensorInfo } from './manifest.js';
import { formatShape, type Tensor } from './tensor.js';

/** A size that the shapes of the inputs choose, and its bounds. */
export interface SymbolInfo {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Byte offset from the arena's base; symbols follow each other. */
  readonly offset: number;
}

/** `128`, `"seq"` or `["+", ["*", 2, "seq"], 1]`. */
export type Size = number | string | readonly [fn: string, a: Size, b: Size];

type Values = ReadonlyMap<string, number>;

const FUNCTIONS: Record<string, (a: number, b: number) => number> = {
  '+': (a, b) => a + b,
  '*': (a, b) => a * b,
  floordiv: (a, b) => Math.floor(a / b),
  mod: (a, b) => a - b * Math.floor(a / b),
  min: Math.min,
  max: Math.max,
};

/** NaN where a symbol has no value yet. */
function valueOf(size: Size, values: Values): number {
  if (typeof size === 'number') return size;
  if (typeof size === 'string') return values.get(size) ?? NaN;
  return FUNCTIONS[size[0]]?.(valueOf(size[1], values), valueOf(size[2], values)) ?? NaN;
}

/** `[1,seq,384]`; expressions as the manifest has them. */
export function formatSizes({ sizes, shape }: TensorInfo): string {
  return JSON.stringify(sizes ?? shape).replaceAll('"', '');
}

/** The shape of an input or output for these values of the symbols, in the manifest's order. */
export function shapeAt({ symbols = [] }: Manifest, { sizes, shape }: TensorInfo, values: ArrayLike<number>): readonly number[] {
  const map = new Map(symbols.map(({ name }, i) => [name, values[i]!]));
  return sizes?.map((size) => valueOf(size, map)) ?? shape;
}

/** The largest value of every symbol. */
export function largest({ symbols = [] }: Manifest): Int32Array {
  return Int32Array.from(symbols, ({ max }) => max);
}

/** The values that the inputs' shapes give the symbols; throws unless they fit the manifest and each other. */
export function symbolValues({ inputs, symbols = [] }: Manifest, tensors: Readonly<Record<string, Tensor>>): Int32Array {
  const values = new Map<string, number>();
  for (const info of inputs) {
    const { shape } = tensors[info.name]!;
    const fail = (why: string, range = 'NAME=LOW..HIGH'): never => {
      throw new WasmTorchError('shape-mismatch', `Input '${info.name}': expected shape ${formatSizes(info)}, found ${formatShape(shape)}${why}.`, `other sizes need another export, with \`--dim ${range}\``);
    };
    const sizes: readonly Size[] = info.sizes ?? info.shape;
    if (shape.length !== sizes.length) fail('');
    sizes.forEach((size, axis) => {
      const found = shape[axis]!;
      const symbol = symbols.find(({ name }) => name === size);
      if (symbol !== undefined && !(found >= symbol.min && found <= symbol.max)) {
        fail(`: ${size} is ${symbol.min} to ${symbol.max}`, `${size}=${Math.min(found, symbol.min)}..${Math.max(found, symbol.max)}`);
      }
      const expected = valueOf(size, values);
      if (symbol !== undefined && Number.isNaN(expected)) values.set(symbol.name, found);
      else if (expected !== found) fail(`: dimension ${axis} must be ${expected}`);
    });
  }
  return Int32Array.from(symbols, ({ name, min }) => values.get(name) ?? min);
}
