//! Floats of 8 and 4 bits as `f32` lanes: exact one way (but for the bits of a NaN), rounded to nearest even the other.
//! Codes travel in the low byte of 32-bit lanes.

use super::zero;
use ir::DType;
use kernel::*;

/// How a type spends its bits, below the sign: see `ir::narrow`.
#[derive(Debug, Clone, Copy)]
struct Format {
    mantissa: u32,
    bias: i32,
    sign: i32,
    /// The code of the largest number.
    largest: i32,
    nan: i32,
    has_infinity: bool,
    has_negative_zero: bool,
}

fn format(dtype: DType) -> Option<Format> {
    let eight = Format { mantissa: 3, bias: 7, sign: 0x80, largest: 0x7e, nan: 0x7f, has_infinity: false, has_negative_zero: true };
    Some(match dtype {
        DType::F8E4M3FN => eight,
        DType::F8E4M3FNUZ => Format { bias: 8, largest: 0x7f, nan: 0x80, has_negative_zero: false, ..eight },
        DType::F8E5M2 => Format { mantissa: 2, bias: 15, largest: 0x7b, has_infinity: true, ..eight },
        DType::F8E5M2FNUZ => Format { mantissa: 2, bias: 16, largest: 0x7f, nan: 0x80, has_negative_zero: false, ..eight },
        DType::F4E2M1 => Format { mantissa: 1, bias: 1, sign: 8, largest: 7, nan: 0, ..eight },
        _ => return None,
    })
}

/// `2^n` as an `f32`.
fn power(n: i32) -> f32 {
    (n as f32).exp2()
}

/// The values of codes.
pub fn decode(k: &mut K, dtype: DType, codes: E<I32x4>) -> E<F32x4> {
    let Some(f) = format(dtype) else { return decode_power(k, codes) };
    let code = k.in_local("code", codes);
    let size = code & k.constant_i32x4(f.sign - 1);
    let size = k.let_("size", size);
    // The fields in their places make a number whose exponent is `127 − bias` too small; denormals too.
    let value = i32x4_shl(size, 23 - f.mantissa as i32).cast::<F32x4>() * k.constant(power(127 - f.bias));
    let nan = f32::NAN.to_bits() as i32;
    let mut bits = value.cast::<I32x4>();
    if f.has_infinity {
        bits = bitselect::<I32x4, I32x4>(i32x4_gt_s(size, k.constant_i32x4(f.largest)), k.constant_i32x4(0x7f80_0000), bits);
        bits = bitselect::<I32x4, I32x4>(i32x4_gt_s(size, k.constant_i32x4(f.largest + 1)), k.constant_i32x4(nan), bits);
    } else if f.has_negative_zero && f.nan != 0 {
        bits = bitselect::<I32x4, I32x4>(i32x4_eq(size, k.constant_i32x4(f.nan)), k.constant_i32x4(nan), bits);
    } else if f.nan != 0 {
        bits = bitselect::<I32x4, I32x4>(i32x4_eq(code, k.constant_i32x4(f.nan)), k.constant_i32x4(nan), bits);
    }
    let sign = i32x4_shl(code & k.constant_i32x4(f.sign), 31 - f.sign.trailing_zeros() as i32);
    (bits | sign).cast()
}

/// The codes of values; what is too large becomes the largest number, infinities too unless the type has them.
pub fn encode(k: &mut K, dtype: DType, values: E<F32x4>) -> E<I32x4> {
    let Some(f) = format(dtype) else { return encode_power(k, values) };
    let value = k.in_local("value", values);
    let bits = value.cast::<I32x4>();
    let top = power((f.largest >> f.mantissa) - f.bias) * (1.0 + (f.largest & ((1 << f.mantissa) - 1)) as f32 / (1 << f.mantissa) as f32);
    let size = f32x4_pmin(f32x4_abs(value), k.constant(top));
    let size = k.let_("size", size);
    // Adding 1.5 · 2²³ units rounds to whole units of the result's last place.
    let exponent = i32x4_max_s(size.cast::<I32x4>() & k.constant_i32x4(0x7f80_0000), k.constant_i32x4((127 + 1 - f.bias) << 23));
    let unit = (exponent + k.constant_i32x4(((23 - f.mantissa as i32) << 23) | 0x40_0000)).cast::<F32x4>();
    let unit = k.let_("unit", unit);
    let rounded = (size + unit) - unit;
    let code = i32x4_shr_u((rounded * k.constant(power(f.bias - 127))).cast::<I32x4>(), 23 - f.mantissa as i32);
    let code = k.let_("code", code);
    let sign = i32x4_shr_u(bits, 31 - f.sign.trailing_zeros() as i32) & k.constant_i32x4(f.sign);
    let signed = code | sign;
    let signed = if f.has_negative_zero { signed } else { signed & i32x4_ne(code, zero::<I32x4>()) };
    let signed = if f.has_infinity {
        let is_infinite = i32x4_eq(f32x4_abs(value).cast::<I32x4>(), k.constant_i32x4(0x7f80_0000));
        signed + (is_infinite & k.constant_i32x4(1))
    } else {
        signed
    };
    let is_nan = f32x4_ne(value, value);
    bitselect::<I32x4, I32x4>(is_nan, k.constant_i32x4(f.nan), signed)
}

/// The codes are exponents.
fn decode_power(k: &mut K, codes: E<I32x4>) -> E<F32x4> {
    let code = k.in_local("code", codes);
    let value = bitselect::<I32x4, I32x4>(i32x4_eq(code, zero::<I32x4>()), k.constant_i32x4(0x40_0000), i32x4_shl(code, 23));
    bitselect::<I32x4, I32x4>(i32x4_eq(code, k.constant_i32x4(255)), k.constant_i32x4(f32::NAN.to_bits() as i32), value).cast()
}

/// The exponent of the next power of two.
fn encode_power(k: &mut K, values: E<F32x4>) -> E<I32x4> {
    let value = k.in_local("value", values);
    let size = k.let_("size", f32x4_abs(value).cast::<I32x4>());
    let normal = i32x4_min_s(i32x4_shr_u(size + k.constant_i32x4(0x7f_ffff), 23), k.constant_i32x4(254));
    let code = bitselect::<I32x4, I32x4>(i32x4_gt_s(size, k.constant_i32x4(0x40_0000)), normal, zero::<I32x4>());
    let has_none = f32x4_lt(value, zero::<F32x4>()) | f32x4_ne(value, value);
    bitselect::<I32x4, I32x4>(has_none, k.constant_i32x4(255), code)
}
