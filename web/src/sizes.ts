// Sizes that are chosen before a call: what the shapes of the inputs say about them, and the shapes that follow from them.

import { WasmTorchError } from './errors.js';
import type { Manifest, TensorInfo } from './manifest.js';
import { formatShape } from './tensor.js';

/** A size that the shapes of the inputs choose, and its bounds. */
export interface SymbolInfo {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Byte offset from the arena's base; symbols follow each other. */
  readonly offset: number;
  /** The size of states that grow: the module keeps it. */
  readonly kept?: boolean;
  /** A size that a run computes, known behind it. */
  readonly found?: boolean;
}

/** `128`, `"seq"` or `["+", ["*", 2, "seq"], 1]`. */
export type Size = number | string | readonly [fn: string, a: Size, b: Size];

type Symbols = readonly SymbolInfo[];

const FUNCTIONS: Record<string, (a: number, b: number) => number> = {
  '+': (a, b) => a + b,
  '*': (a, b) => a * b,
  floordiv: (a, b) => Math.floor(a / b),
  mod: (a, b) => a - b * Math.floor(a / b),
  min: Math.min,
  max: Math.max,
};

/** `values` are those of the symbols, NaN where one is not known yet. */
function valueOf(size: Size, symbols: Symbols, values: ArrayLike<number>): number {
  if (Array.isArray(size)) return FUNCTIONS[size[0]]!(valueOf(size[1], symbols, values), valueOf(size[2], symbols, values));
  return values[symbols.findIndex(({ name }) => name === size)] ?? (size as number);
}

/** `[1,seq,384]`; expressions as the manifest has them. */
export function formatSizes({ sizes, shape }: TensorInfo): string {
  return JSON.stringify(sizes ?? shape).replaceAll('"', '');
}

/** The shape of an input or output for these values of the symbols, in the manifest's order. */
export function shapeAt({ symbols = [] }: Manifest, { sizes, shape }: TensorInfo, values: ArrayLike<number>): readonly number[] {
  return sizes?.map((size) => valueOf(size, symbols, values)) ?? shape;
}

/** The largest value of every symbol. */
export function largest({ symbols = [] }: Manifest): Int32Array {
  return Int32Array.from(symbols, ({ max }) => max);
}

/** True when the module keeps sizes, of states that grow. */
export function grows({ symbols = [] }: Manifest): boolean {
  return symbols.some(({ kept }) => kept);
}

/**
 * The values that the inputs' shapes give the symbols; throws unless they fit the manifest and each other. `now` are those of
 * the module, of which it keeps some; without them, what depends on these is not checked.
 */
export function symbolValues(
  manifest: Pick<Manifest, 'inputs' | 'symbols'>,
  tensors: Readonly<Record<string, { readonly shape: readonly number[] }>>,
  now?: ArrayLike<number>,
): Int32Array {
  const { inputs, symbols = [] } = manifest;
  const values = symbols.map(({ name, kept, max }, i) => {
    const value = kept && now !== undefined ? now[i]! : NaN;
    if (value > max) {
      throw new WasmTorchError('shape-mismatch', `The states are full: ${name} is ${value}, at most ${max} when a call begins.`, `resetState(), or another export, with \`--dim ${name}=0..${2 * max}\``);
    }
    return value;
  });
  const unknown = now === undefined && symbols.some(({ kept }) => kept);
  for (const info of inputs) {
    const { shape } = tensors[info.name]!;
    const fail = (why = '', range = 'NAME=LOW..HIGH') => {
      throw new WasmTorchError('shape-mismatch', `Tensor '${info.name}': expected shape ${formatSizes(info)}, found ${formatShape(shape)}${why}.`, `other sizes need another export, with \`--dim ${range}\``);
    };
    const sizes: readonly Size[] = info.sizes ?? info.shape;
    if (shape.length !== sizes.length) fail();
    sizes.forEach((size, axis) => {
      const found = shape[axis]!;
      const max = info.shape[axis]!;
      const i = symbols.findIndex(({ name }) => name === size);
      if (Number.isNaN(values[i])) {
        const { min } = symbols[i]!;
        if (found >= min && found <= max) values[i] = found;
        else fail(`: ${size} is ${min} to ${max}`, `${size}=${Math.min(found, min)}..${Math.max(found, max)}`);
      }
      const expected = valueOf(size, symbols, values);
      if (expected !== found && !(unknown && Number.isNaN(expected))) fail(`: dimension ${axis} must be ${expected}`);
    });
  }
  return Int32Array.from(symbols, ({ min }, i) => values[i] || min);
}
