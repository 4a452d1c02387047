//! Conversions between element types, as [`ir::pointwise::Fn::Cast`] defines them: saturating from floats, modulo 2ⁿ
//! between integers.

use super::{int, mask};
use crate::lanes::{Lanes, half, narrow, zero};
use ir::{DType, dtype::Class};
use kernel::*;

pub fn cast(k: &mut K, from: DType, to: DType, x: Lanes) -> Lanes {
    if from == to {
        return x;
    }
    match x {
        Lanes::F32(x) => from_f32(k, to, x),
        Lanes::F64(x) => from_f64(k, to, x),
        Lanes::I32(x) => from_int(k, from == DType::U32, to, x),
        Lanes::I64(x) => from_wide(k, from == DType::U64, to, x),
        Lanes::Mask(x) => match to {
            to if is_single(to) => {
                let one = x.cast() & k.constant(1.0);
                Lanes::F32(rounded(k, to, one))
            }
            _ => {
                let bit = x & k.constant_i32x4(1);
                from_int(k, false, to, bit)
            }
        },
    }
}

/// Floats that travel as `f32`.
fn is_single(dtype: DType) -> bool {
    dtype.is_float() && dtype != DType::F64
}

/// Values of a float type of 16 bits or less, still as `f32`.
fn rounded(k: &mut K, to: DType, x: E<F32x4>) -> E<F32x4> {
    match to {
        DType::F16 => {
            let bits = half::to_f16(k, x);
            half::from_f16(k, bits)
        }
        DType::BF16 => half::from_bf16(half::to_bf16(k, x)),
        to if to.is_narrow_float() => {
            // Infinities saturate too.
            let x = if to == DType::F8E5M2 {
                let (low, high) = (k.constant(-57344.0), k.constant(57344.0));
                f32x4_pmax(f32x4_pmin(x, high), low)
            } else {
                x
            };
            let codes = narrow::encode(k, to, x);
            narrow::decode(k, to, codes)
        }
        _ => x,
    }
}

/// The range of a narrow integer type; `None` for 32 bits and more.
fn range(to: DType) -> Option<(i32, i32)> {
    let bits = to.bits();
    (bits < 32).then(|| if to.class() == Class::Unsigned { (0, (1 << bits) - 1) } else { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) })
}

/// The same bits as an element of another type of as many bits.
pub fn reinterpret(k: &mut K, from: DType, to: DType, x: Lanes) -> Lanes {
    // The bits, as unsigned words of the lanes' width.
    let words = match (x, from) {
        (Lanes::F64(x), _) => Lanes::I64(x.map(E::cast)),
        (Lanes::F32(x), DType::F16) => Lanes::I32(half::to_f16(k, x)),
        (Lanes::F32(x), DType::BF16) => Lanes::I32(half::to_bf16(k, x)),
        (Lanes::F32(x), from) if from.is_narrow_float() => Lanes::I32(narrow::encode(k, from, x)),
        (Lanes::F32(x), _) => Lanes::I32(x.cast()),
        (Lanes::Mask(x), _) => Lanes::I32(x & k.constant_i32x4(1)),
        (x, _) => x,
    };
    match (words, to) {
        (Lanes::I64(x), DType::F64) => Lanes::F64(x.map(E::cast)),
        (Lanes::I32(x), DType::F32) => Lanes::F32(x.cast()),
        (Lanes::I32(x), DType::F16) => {
            let bits = x & k.constant_i32x4(0xffff);
            Lanes::F32(half::from_f16(k, bits))
        }
        (Lanes::I32(x), DType::BF16) => Lanes::F32(half::from_bf16(x)),
        (Lanes::I32(x), DType::Bool) => Lanes::Mask(i32x4_ne(x, zero::<I32x4>())),
        (Lanes::I32(x), to) if to.is_narrow_float() => {
            let codes = x & k.constant_i32x4(0xff);
            Lanes::F32(narrow::decode(k, to, codes))
        }
        (Lanes::I32(x), to) => Lanes::I32(int::wrap(k, to, x)),
        (x, _) => x,
    }
}

/// Saturates 32-bit integers to a narrower type.
fn saturated(k: &mut K, to: DType, x: E<I32x4>) -> E<I32x4> {
    // Integers of less than a byte wrap.
    if to.bits() < 8 {
        return int::wrap(k, to, x);
    }
    match range(to) {
        Some((low, high)) => i32x4_max_s(i32x4_min_s(x, k.constant_i32x4(high)), k.constant_i32x4(low)),
        None => x,
    }
}

/// Four 64-bit lanes from a scalar function of the lane number.
fn lanes(f: impl Fn(u8) -> E<I64>) -> Lanes {
    Lanes::I64([0, 2].map(|i| i64x2_replace_lane(1, i64x2_splat(f(i)), f(i + 1))))
}

fn from_f32(k: &mut K, to: DType, x: E<F32x4>) -> Lanes {
    match to {
        to if is_single(to) => Lanes::F32(rounded(k, to, x)),
        DType::F64 => {
            let x = k.in_local("x", x);
            Lanes::F64([f64x2_promote_low_f32x4(x), f64x2_promote_low_f32x4(shuffle64::<F32x4>([1, 0], x, x))])
        }
        DType::Bool => Lanes::Mask(f32x4_ne(x, zero::<F32x4>())),
        DType::I64 | DType::U64 => {
            let x = k.in_local("x", x);
            lanes(|i| {
                let lane = f32x4_extract_lane(i, x);
                if to == DType::U64 { i64_trunc_sat_f32_u(lane) } else { i64_trunc_sat_f32_s(lane) }
            })
        }
        DType::U32 => Lanes::I32(i32x4_trunc_sat_f32x4_u(x)),
        _ => Lanes::I32(saturated(k, to, i32x4_trunc_sat_f32x4_s(x))),
    }
}

fn from_f64(k: &mut K, to: DType, [low, high]: [E<F64x2>; 2]) -> Lanes {
    match to {
        DType::F64 => Lanes::F64([low, high]),
        to if is_single(to) => {
            let single = shuffle64::<F32x4>([0, 2], f32x4_demote_f64x2_zero(low), f32x4_demote_f64x2_zero(high));
            Lanes::F32(rounded(k, to, single))
        }
        DType::Bool => Lanes::Mask(mask::narrow([f64x2_ne(low, zero::<F64x2>()), f64x2_ne(high, zero::<F64x2>())])),
        DType::I64 | DType::U64 => {
            let x = [k.in_local("low", low), k.in_local("high", high)];
            lanes(|i| {
                let lane = f64x2_extract_lane(i % 2, x[usize::from(i / 2)]);
                if to == DType::U64 { i64_trunc_sat_f64_u(lane) } else { i64_trunc_sat_f64_s(lane) }
            })
        }
        DType::U32 => Lanes::I32(shuffle64::<I32x4>([0, 2], i32x4_trunc_sat_f64x2_u_zero(low), i32x4_trunc_sat_f64x2_u_zero(high))),
        _ => {
            let x = shuffle64::<I32x4>([0, 2], i32x4_trunc_sat_f64x2_s_zero(low), i32x4_trunc_sat_f64x2_s_zero(high));
            Lanes::I32(saturated(k, to, x))
        }
    }
}

fn from_int(k: &mut K, unsigned: bool, to: DType, x: E<I32x4>) -> Lanes {
    match to {
        to if is_single(to) => {
            let x = if unsigned { f32x4_convert_i32x4_u(x) } else { f32x4_convert_i32x4_s(x) };
            Lanes::F32(rounded(k, to, x))
        }
        DType::F64 => {
            let x = k.in_local("x", x);
            let parts = [x.get(), shuffle64::<I32x4>([1, 0], x, x)];
            Lanes::F64(parts.map(|x| if unsigned { f64x2_convert_low_i32x4_u(x) } else { f64x2_convert_low_i32x4_s(x) }))
        }
        DType::Bool => Lanes::Mask(i32x4_ne(x, zero::<I32x4>())),
        DType::I64 | DType::U64 => {
            let x = k.in_local("x", x);
            Lanes::I64(if unsigned {
                [i64x2_extend_low_i32x4_u(x), i64x2_extend_high_i32x4_u(x)]
            } else {
                [i64x2_extend_low_i32x4_s(x), i64x2_extend_high_i32x4_s(x)]
            })
        }
        _ => Lanes::I32(int::wrap(k, to, x)),
    }
}

fn from_wide(k: &mut K, unsigned: bool, to: DType, [low, high]: [E<I64x2>; 2]) -> Lanes {
    match to {
        DType::I64 | DType::U64 => Lanes::I64([low, high]),
        DType::Bool => Lanes::Mask(mask::narrow([i64x2_ne(low, zero::<I64x2>()), i64x2_ne(high, zero::<I64x2>())])),
        to if to.is_float() => {
            let x = [k.in_local("low", low), k.in_local("high", high)];
            let lane = |i: u8| i64x2_extract_lane(i % 2, x[usize::from(i / 2)]);
            if to == DType::F64 {
                let convert = |i: u8| if unsigned { f64_convert_i64_u(lane(i)) } else { f64_convert_i64_s(lane(i)) };
                return Lanes::F64([0, 2].map(|i| f64x2_replace_lane(1, f64x2_splat(convert(i)), convert(i + 1))));
            }
            let convert = |i: u8| if unsigned { f32_convert_i64_u(lane(i)) } else { f32_convert_i64_s(lane(i)) };
            let single = (1..4).fold(f32x4_splat(convert(0)), |v, i| f32x4_replace_lane(i, v, convert(i)));
            Lanes::F32(rounded(k, to, single))
        }
        _ => {
            let x = mask::narrow([low, high]);
            Lanes::I32(int::wrap(k, to, x))
        }
    }
}
