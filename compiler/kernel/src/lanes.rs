//! Lane types: the Rust views of a wasm value in which the instruction table states operands and semantics. They hold
//! no instruction of their own; the helpers here are the vocabulary of the table's semantics column.
#![allow(non_camel_case_types)]

use crate::ir::Ty;
use crate::typed::{F32, F32x4, F64, F64x2, I8x16, I16x8, I32, I32x4, I64, I64x2, Type, V128};

/// Any wasm value as raw bits: scalars in the low bits, vectors in lane order, little-endian.
pub type Bits = u128;

pub type i8x16 = [i8; 16];
pub type u8x16 = [u8; 16];
pub type i16x8 = [i16; 8];
pub type u16x8 = [u16; 8];
pub type i32x4 = [i32; 4];
pub type u32x4 = [u32; 4];
pub type i64x2 = [i64; 2];
pub type u64x2 = [u64; 2];
pub type f32x4 = [f32; 4];
pub type f64x2 = [f64; 2];

/// A Rust type that views a wasm value: its wasm type, the builder's marker, and the conversion from and to bits.
pub trait Lanes: Copy {
    const TY: Ty;
    type Marker: Type;
    fn from_bits(bits: Bits) -> Self;
    fn into_bits(self) -> Bits;
}

macro_rules! scalar_lanes {
    ($($t:ty, $marker:ident, $bits:ty, $from:expr, $into:expr;)*) => {$(
        impl Lanes for $t {
            const TY: Ty = <$marker as Type>::TY;
            type Marker = $marker;
            #[inline(always)]
            fn from_bits(bits: Bits) -> Self {
                $from(bits as $bits)
            }
            #[inline(always)]
            fn into_bits(self) -> Bits {
                let bits: $bits = $into(self);
                Bits::from(bits)
            }
        }
    )*};
}

scalar_lanes! {
    i32, I32, u32, |b: u32| b as i32, |v: i32| v as u32;
    u32, I32, u32, |b| b, |v| v;
    i64, I64, u64, |b: u64| b as i64, |v: i64| v as u64;
    u64, I64, u64, |b| b, |v| v;
    f32, F32, u32, f32::from_bits, f32::to_bits;
    f64, F64, u64, f64::from_bits, f64::to_bits;
    u128, V128, u128, |b| b, |v| v;
}

macro_rules! vector_lanes {
    ($($t:ident = [$e:ty; $n:literal], $marker:ident;)*) => {$(
        impl Lanes for $t {
            const TY: Ty = Ty::V128;
            type Marker = $marker;
            #[inline(always)]
            fn from_bits(bits: Bits) -> Self {
                chunks::<_, $n>(bits.to_le_bytes()).map(<$e>::from_le_bytes)
            }
            #[inline(always)]
            fn into_bits(self) -> Bits {
                let mut bytes = [0; 16];
                for (chunk, lane) in bytes.chunks_exact_mut(16 / $n).zip(self) {
                    chunk.copy_from_slice(&lane.to_le_bytes());
                }
                Bits::from_le_bytes(bytes)
            }
        }
    )*};
}

vector_lanes! {
    i8x16 = [i8; 16], I8x16;
    u8x16 = [u8; 16], I8x16;
    i16x8 = [i16; 8], I16x8;
    u16x8 = [u16; 8], I16x8;
    i32x4 = [i32; 4], I32x4;
    u32x4 = [u32; 4], I32x4;
    i64x2 = [i64; 2], I64x2;
    u64x2 = [u64; 2], I64x2;
    f32x4 = [f32; 4], F32x4;
    f64x2 = [f64; 2], F64x2;
}

/// Cuts `BYTES` bytes into `N` equal arrays of `SIZE` bytes.
#[inline(always)]
pub(crate) fn chunks<const SIZE: usize, const N: usize>(bytes: impl AsRef<[u8]>) -> [[u8; SIZE]; N] {
    let bytes = bytes.as_ref();
    std::array::from_fn(|i| std::array::from_fn(|j| bytes[i * SIZE + j]))
}

#[inline(always)]
pub(crate) fn zip<A: Copy, B: Copy, R, const N: usize>(a: [A; N], b: [B; N], f: impl Fn(A, B) -> R) -> [R; N] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
pub(crate) fn zip3<A: Copy, R, const N: usize>(a: [A; N], b: [A; N], c: [A; N], f: impl Fn(A, A, A) -> R) -> [R; N] {
    std::array::from_fn(|i| f(a[i], b[i], c[i]))
}

/// Lanewise comparison: all ones where `f` holds, zero elsewhere.
#[inline(always)]
pub(crate) fn compare<A: Copy, M: From<i8>, const N: usize>(a: [A; N], b: [A; N], f: impl Fn(A, A) -> bool) -> [M; N] {
    std::array::from_fn(|i| M::from(-i8::from(f(a[i], b[i]))))
}

/// The lanes of `a` followed by those of `b`.
#[inline(always)]
pub(crate) fn concat<A: Copy, const N: usize, const M: usize>(a: [A; N], b: [A; N]) -> [A; M] {
    std::array::from_fn(|i| if i < N { a[i] } else { b[i - N] })
}

#[inline(always)]
pub(crate) fn with_lane<A, const N: usize>(mut a: [A; N], lane: usize, value: A) -> [A; N] {
    a[lane] = value;
    a
}

/// The integer part of `a`, or `None` where a trapping conversion traps for want of an integer.
pub(crate) fn checked_trunc(a: f64) -> Option<i128> {
    (a.is_finite() && a.abs() < 1e30).then(|| a.trunc() as i128)
}

/// Minimum and maximum as wasm defines them: NaN if either operand is, −0 below +0.
pub(crate) trait WasmFloat {
    fn wasm_min(self, other: Self) -> Self;
    fn wasm_max(self, other: Self) -> Self;
}

macro_rules! wasm_float {
    ($($t:ty)*) => {$(
        impl WasmFloat for $t {
            fn wasm_min(self, other: Self) -> Self {
                if self.is_nan() || other.is_nan() {
                    Self::NAN
                } else if self == other {
                    if self.is_sign_negative() { self } else { other }
                } else if self < other {
                    self
                } else {
                    other
                }
            }
            fn wasm_max(self, other: Self) -> Self {
                if self.is_nan() || other.is_nan() {
                    Self::NAN
                } else if self == other {
                    if self.is_sign_negative() { other } else { self }
                } else if self > other {
                    self
                } else {
                    other
                }
            }
        }
    )*};
}

wasm_float! { f32 f64 }
