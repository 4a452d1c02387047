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

export interface DTypeRow {
  readonly array: TypedArrayConstructor;
  /** Longer names that PyTorch, NumPy and ONNX users know. */
  readonly aliases: readonly string[];
}

const row = (array: TypedArrayConstructor, ...aliases: string[]): DTypeRow => ({ array, aliases });

/** Every element type by its short name, as a manifest spells it. */
export const DTYPES = {
  f32: row(Float32Array, 'float32', 'float'),
  f64: row(Float64Array, 'float64', 'double'),
  f16: row(Uint16Array, 'float16', 'half'),
  bf16: row(Uint16Array, 'bfloat16'),
  i8: row(Int8Array, 'int8'),
  u8: row(Uint8Array, 'uint8'),
  i16: row(Int16Array, 'int16'),
  u16: row(Uint16Array, 'uint16'),
  i32: row(Int32Array, 'int32', 'int'),
  u32: row(Uint32Array, 'uint32'),
  i64: row(BigInt64Array, 'int64', 'long'),
  u64: row(BigUint64Array, 'uint64'),
  bool: row(Uint8Array, 'boolean'),
} as const satisfies Record<string, DTypeRow>;

export type DType = keyof typeof DTYPES;

const BY_NAME = new Map<string, DType>(
  (Object.keys(DTYPES) as DType[]).flatMap((name) => [name, ...DTYPES[name].aliases].map((alias) => [alias, name] as const)),
);

/** The element type with this short or long name, if there is one. */
export function findDType(name: string): DType | undefined {
  return BY_NAME.get(name);
}

/** The element type with this short or long name. */
export function dtypeNamed(name: string): DType {
  const found = findDType(name);
  if (found === undefined) {
    throw new WasmTorchError('invalid-argument', `'${name}' is not a data type.`, `use one of ${Object.keys(DTYPES).join(', ')}`);
  }
  return found;
}

/** Whether elements are bits that no number is converted to. */
export function isHalf(dtype: DType): boolean {
  return dtype === 'f16' || dtype === 'bf16';
}

/** The element type a typed array stands for when nothing else is said. */
export function dtypeOfArray(array: TypedArray): DType {
  const found = (Object.keys(DTYPES) as DType[]).find((name) => !isHalf(name) && array instanceof DTYPES[name].array);
  if (found === undefined) {
    throw new WasmTorchError('invalid-argument', `A ${array.constructor.name} cannot be a tensor's data.`);
  }
  return found;
}

/** Elements of type `dtype` from numbers, bigints or booleans; throws where a value does not fit. */
export function convert(values: ArrayLike<number | bigint | boolean>, dtype: DType): TypedArray {
  const { array } = DTYPES[dtype];
  if (isHalf(dtype)) throw new WasmTorchError('invalid-argument', `Numbers are not converted to ${dtype}.`, `pass the bits of the ${dtype} values in a ${array.name}`);
  const out = new array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (dtype === 'bool') {
      out[i] = value ? 1 : 0;
    } else if (dtype[0] === 'f') {
      out[i] = Number(value);
    } else {
      // `==` compares a bigint and a number by value: what wrapped around differs.
      const number = typeof value === 'boolean' ? Number(value) : value;
      const whole = typeof number === 'bigint' || Number.isInteger(number);
      if (whole) out[i] = array.BYTES_PER_ELEMENT > 4 ? BigInt(number) : Number(number);
      if (!whole || out[i] != number) {
        throw new WasmTorchError('invalid-argument', `Element ${i} is ${value}, which ${dtype} cannot hold.`);
      }
    }
  }
  return out;
}
