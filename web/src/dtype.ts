// The element types of tensors, one row each. Half-precision types travel as their bits in a Uint16Array.

import { WasmTorchError } from './errors.js';

/** A typed array that a tensor can hold. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

interface TypedArrayConstructor {
  readonly BYTES_PER_ELEMENT: number;
  readonly name: string;
  new (length: number): TypedArray;
  new (buffer: ArrayBuffer, byteOffset?: number, length?: number): TypedArray;
}

/**
 * Every element type by its short name, as a manifest spells it, with the array that holds its elements. Of those that share
 * an array, the first is what the array stands for when nothing else is said.
 */
export const DTYPES = {
  f32: Float32Array,
  f64: Float64Array,
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  bool: Uint8Array,
} as const satisfies Record<string, TypedArrayConstructor>;

export type DType = keyof typeof DTYPES;

export const NAMES = Object.keys(DTYPES) as DType[];

/** Further names in PyTorch, NumPy and ONNX. */
const ALIASES: Readonly<Record<string, DType>> = { float: 'f32', double: 'f64', half: 'f16', int: 'i32', long: 'i64', boolean: 'bool' };

/** The element type with this short or long name, if there is one. `float32` is `f32`, `uint8` is `u8`. */
export function findDType(name: string): DType | undefined {
  const short = name.replace(/^(b?f)loat|^([iu])i?nt/, '$1$2');
  return NAMES.find((dtype) => dtype === (ALIASES[name] ?? short));
}

/** Whether elements are bits that no number is converted to. */
export function isHalf(dtype: DType): boolean {
  return dtype.endsWith('f16');
}

/** The element type of data for which nothing else is said: that of a typed array, or what the first of plain elements tells. */
export function dtypeOf(data: ArrayLike<number | bigint | boolean>): DType {
  const plain = ({ bigint: 'i64', boolean: 'bool' } as Record<string, DType>)[typeof data[0]] ?? 'f32';
  return NAMES.find((name) => data instanceof DTYPES[name]) ?? plain;
}

/** Elements of type `dtype` from numbers, bigints or booleans; throws where a value does not fit. */
export function convert(values: ArrayLike<number | bigint | boolean>, dtype: DType): TypedArray {
  if (isHalf(dtype)) throw new WasmTorchError('invalid-argument', `The elements of ${dtype} tensors are bits.`, 'pass them in a Uint16Array');
  const out = new (DTYPES[dtype] as TypedArrayConstructor)(values.length);
  const cast: (value: any) => any = dtype === 'bool' ? Boolean : typeof out[0] === 'bigint' ? BigInt : Number;
  const exact = /^[iu]/.test(dtype);
  for (let i = 0; i < out.length; i++) {
    const value = values[i]!;
    try {
      out[i] = cast(value);
    } catch {
      // BigInt() refuses what is not whole: a 0 stays.
    }
    // `==` compares a bigint and a number by value: what wrapped around differs.
    if (exact && out[i] != value) throw new WasmTorchError('invalid-argument', `Element ${i} is ${value}, which ${dtype} cannot hold.`);
  }
  return out;
}
