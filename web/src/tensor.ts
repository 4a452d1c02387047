// A tensor: elements, shape and element type on the JavaScript side. It holds no module memory.

import { convert, DTYPES, type DType, dtypeNamed, dtypeOfArray, type TypedArray } from './dtype.js';
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
      throw new WasmTorchError('disposed', 'The tensor was disposed; its data is gone.', 'call dispose() after the last use');
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
  return `[${shape.join(',')}]`;
}

/**
 * A tensor from typed or plain (nested) arrays.
 *
 * `shape` defaults to the nesting of `data`; `dtype` to what a typed array holds, i64 for bigints, bool for booleans and
 * f32 for plain numbers, as in PyTorch. Values are converted when `dtype` asks for it and must fit.
 */
export function createTensor(data: TypedArray | Uint8ClampedArray | NestedArray, shape?: readonly number[], dtype?: string): Tensor {
  const wanted = dtype === undefined ? undefined : dtypeNamed(dtype);
  if (ArrayBuffer.isView(data)) {
    const view = data instanceof Uint8ClampedArray ? new Uint8Array(data.buffer, data.byteOffset, data.length) : data;
    const type = wanted ?? dtypeOfArray(view);
    const elements = view instanceof DTYPES[type] && type !== 'bool' ? view : convert(view, type);
    return checked(elements, shape ?? [view.length], type);
  }
  if (!Array.isArray(data)) {
    throw new WasmTorchError('invalid-argument', `A tensor's data is a typed or plain array; found ${typeof data}.`);
  }
  const flat: (number | bigint | boolean)[] = [];
  const nesting = flatten(data as NestedArray, flat);
  const first = flat[0];
  const type = wanted ?? (typeof first === 'bigint' ? 'i64' : typeof first === 'boolean' ? 'bool' : 'f32');
  return checked(convert(flat, type), shape ?? nesting, type);
}

function checked(data: TypedArray, shape: readonly number[], dtype: DType): Tensor {
  const bad = shape.find((dim) => !Number.isSafeInteger(dim) || dim < 0);
  if (bad !== undefined) {
    throw new WasmTorchError('invalid-argument', `Dimension ${bad} of shape ${formatShape(shape)} is not a whole number ≥ 0.`);
  }
  if (elementCount(shape) !== data.length) {
    throw new WasmTorchError('shape-mismatch', `Shape ${formatShape(shape)} has ${elementCount(shape)} elements; found ${data.length} in the data.`);
  }
  return new Tensor(data, shape, dtype);
}

/** Appends the leaves of `nested` to `flat` and returns its shape. */
function flatten(nested: NestedArray, flat: (number | bigint | boolean)[]): number[] {
  let inner: number[] | undefined;
  for (const item of nested) {
    const shape = Array.isArray(item) ? flatten(item as NestedArray, flat) : [];
    if (!Array.isArray(item)) flat.push(item as number | bigint | boolean);
    if (inner !== undefined && formatShape(inner) !== formatShape(shape)) {
      throw new WasmTorchError('shape-mismatch', `Nested arrays must be equally long; found ${formatShape(inner)} beside ${formatShape(shape)}.`);
    }
    inner = shape;
  }
  return [nested.length, ...(inner ?? [])];
}
