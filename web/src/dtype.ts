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

/** Every element type by its short name, as a manifest spells it, with the array that holds its elements. */
export const DTYPES = {
  f32: Float32Array,
  f64: Float64Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  bool: Uint8Array,
} as const satisfies Record<string, TypedArrayConstructor>;

export type DType = keyof typeof DTYPES;

/** What the letters of short names stand for in PyTorch, NumPy and ONNX: `float32`, `uint8`. */
const WORDS: Readonly<Record<string, string>> = { f: 'float', bf: 'bfloat', i: 'int', u: 'uint' };

/** Further names. */
const ALIASES: Partial<Record<DType, string>> = { f32: 'float', f64: 'double', f16: 'half', i32: 'int', i64: 'long', bool: 'boolean' };

/** The element type with this short or long name, if there is one. */
export function findDType(name: string): DType | undefined {
  return (Object.keys(DTYPES) as DType[]).find((short) => [short, ALIASES[short], short.replace(/^\D+/, (letters) => WORDS[letters] ?? letters)].includes(name));
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
  const found = (Object.keys(DTYPES) as DType[]).find((name) => !isHalf(name) && array instanceof DTYPES[name]);
  if (found === undefined) {
    throw new WasmTorchError('invalid-argument', `A ${array.constructor.name} cannot be a tensor's data.`);
  }
  return found;
}

/** Elements of type `dtype` from numbers, bigints or booleans; throws where a value does not fit. */
export function convert(values: ArrayLike<number | bigint | boolean>, dtype: DType): TypedArray {
  const array: TypedArrayConstructor = DTYPES[dtype];
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
