//! Four elements of any type in registers: how they are loaded, stored and converted. Narrow integers travel widened to
//! 32 bits, 64-bit types as two vectors, bools as masks.

use ir::DType;
use kernel::{E, F32x4, F64x2, I32, I32x4, I64x2, K};

/// Four elements.
#[derive(Debug, Clone)]
pub enum Lanes {
    F32(E<F32x4>),
    /// i8…i32, u8…u32: widened with their own sign.
    I32(E<I32x4>),
    /// bool: all ones or all zeros per lane.
    Mask(E<I32x4>),
    I64([E<I64x2>; 2]),
    F64([E<F64x2>; 2]),
}

/// How the elements of a vector lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    Contiguous,
    /// One element for all lanes.
    Splat,
    /// This many bytes from one element to the next.
    Strided(i64),
}

/// Loads `n` ≤ 4 elements; reads no other byte. The remaining lanes hold anything.
pub fn load(_k: &mut K, _dtype: DType, _addr: impl Into<E<I32>>, _offset: u32, _pattern: Pattern, _n: usize) -> Lanes { todo!() }

/// Stores the first `n` ≤ 4 elements; writes no other byte.
pub fn store(_k: &mut K, _dtype: DType, _addr: impl Into<E<I32>>, _offset: u32, _pattern: Pattern, _n: usize, _value: Lanes) { todo!() }
