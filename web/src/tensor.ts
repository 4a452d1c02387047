// A tensor: elements, shape and element type on the JavaScript side. It holds no module memory.

import { convert, DTYPES, type DType, dtypeOf, findDType, NAMES, type TypedArray } from './dtype.js';
import { WasmTorchError } from './errors.js';

/** Numbers, nested as deep as the tensor has dimensions, or flat with a shape given beside it. */
export type NestedArray = readonly (number | bigint | boolean | NestedArray)[];

/** Dense, row-major. Typed arrays are wrapped without a copy. */
export class Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  #data: TypedArray | undefined;

  /** `data` must have the array type of `dtype` and as many elements as `shape` says; `createTensor` converts and checks. */
  constructor(data: TypedArray, shape: readonly number[], dtype: DType) {
    this.#data = data;
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
  }

  /** Elements in row-major order. Throws when the tensor was disposed. */
  get data(): TypedArray {
    if (this.#data === undefined) {
      throw new WasmTorchError('disposed', 'The tensor was disposed.', 'call dispose() after the last use');
    }
    return this.#data;
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.shape);
  }

  get disposed(): boolean {
    return this.#data === undefined;
  }

  /** Gives the data up. Harmless when repeated. */
  dispose(): void {
    this.#data = undefined;
  }
}

/** Product of the dimensions; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/** `[1,28,28]`. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape}]`;
}

/**
 * A tensor from typed or plain (nested) arrays.
 *
 * `shape` defaults to the nesting of `data`; `dtype` to what a typed array holds, i64 for bigints, bool for booleans and
 * f32 for plain numbers, as in PyTorch. Values are converted when `dtype` asks for it and must fit.
 */
export function createTensor(data: TypedArray | Uint8ClampedArray | NestedArray, shape?: readonly number[], dtype?: string): Tensor {
  if (!Array.isArray(data) && !ArrayBuffer.isView(data)) {
    throw new WasmTorchError('invalid-argument', `Data is a typed or plain array; found ${typeof data}.`);
  }
  let flat: any = data instanceof Uint8ClampedArray ? new Uint8Array(data.buffer, data.byteOffset, data.length) : data;
  const nesting = [flat.length];
  // One level of nesting at a time.
  while (Array.isArray(flat) && flat.some(Array.isArray)) {
    const [length, ...others] = new Set(flat.map((item) => item?.length));
    if (others.length > 0) throw new WasmTorchError('shape-mismatch', `Nested arrays must be equally long; found ${length} and ${others}.`);
    nesting.push(length);
    const parts = [];
    for (const item of flat) for (const part of item) parts.push(part);
    flat = parts;
  }
  const type = dtype === undefined ? dtypeOf(flat) : findDType(dtype);
  if (type === undefined) throw new WasmTorchError('invalid-argument', `'${dtype}' is not a data type.`, `use one of ${NAMES.join(', ')}`);
  const elements: TypedArray = flat instanceof DTYPES[type] && type !== 'bool' ? flat : convert(flat, type);
  const dims = shape ?? nesting;
  const bad = dims.find((dim) => !Number.isSafeInteger(dim) || dim < 0);
  if (bad !== undefined) throw new WasmTorchError('invalid-argument', `Dimension ${bad} is not a size.`);
  if (elementCount(dims) !== elements.length) {
    throw new WasmTorchError('shape-mismatch', `Shape ${formatShape(dims)} has ${elementCount(dims)} elements; found ${elements.length}.`);
  }
  return new Tensor(elements, dims, type);
}
