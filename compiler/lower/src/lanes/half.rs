//! 16-bit floats as `f32` lanes: exact one way, rounded to nearest even the other. Bits travel in the low half of
//! 32-bit lanes.

use kernel::{E, F32x4, I32x4, K, bitselect, f32x4_abs, i32x4_ge_s, i32x4_gt_s, i32x4_shl, i32x4_shr_u};

/// bfloat16 is the upper half of an `f32`.
pub fn from_bf16(bits: E<I32x4>) -> E<F32x4> {
    i32x4_shl(bits, 16).cast()
}

/// Shifting the fields into place leaves the exponent 112 too small; a product corrects it, for denormals too.
pub fn from_f16(k: &mut K, bits: E<I32x4>) -> E<F32x4> {
    let bits = k.in_local("half", bits);
    let unsigned = k.constant_i32x4(0x7fff);
    let magnitude = k.let_("magnitude", i32x4_shl(bits & unsigned, 13));
    let value = magnitude.cast::<F32x4>() * k.constant(f32::from_bits(0x7780_0000));
    let is_special = i32x4_ge_s(magnitude, k.constant_i32x4(0x0f80_0000));
    let special = (magnitude | k.constant_i32x4(0x7f80_0000)).cast::<F32x4>();
    let value = bitselect::<F32x4, I32x4>(is_special, special, value).cast::<I32x4>();
    (value | i32x4_shl(bits & k.constant_i32x4(0x8000), 16)).cast()
}

/// Rounds; NaN becomes a quiet NaN.
pub fn to_bf16(k: &mut K, value: E<F32x4>) -> E<I32x4> {
    let bits = k.in_local("bits", value).cast::<I32x4>();
    let odd = i32x4_shr_u(bits, 16) & k.constant_i32x4(1);
    let rounded = i32x4_shr_u(bits + k.constant_i32x4(0x7fff) + odd, 16);
    let is_nan = i32x4_gt_s(bits & k.constant_i32x4(i32::MAX), k.constant_i32x4(0x7f80_0000));
    bitselect::<I32x4, I32x4>(is_nan, k.constant_i32x4(0x7fc0), rounded)
}

/// Rounds; what is too large becomes ∞, NaN a quiet NaN.
pub fn to_f16(k: &mut K, value: E<F32x4>) -> E<I32x4> {
    let value = k.in_local("single", value);
    let bits = value.cast::<I32x4>();
    let unsigned = k.constant_i32x4(i32::MAX);
    let magnitude = k.let_("magnitude", bits & unsigned);
    // Normal results: round off 13 bits and move the exponent.
    let odd = i32x4_shr_u(magnitude, 13) & k.constant_i32x4(1);
    let normal = i32x4_shr_u(magnitude + k.constant_i32x4(0xfff - 0x3800_0000) + odd, 13);
    // Denormal ones: adding ½ rounds at the bit that matters.
    let half = k.constant(0.5);
    let denormal = (f32x4_abs(value) + half).cast::<I32x4>() - k.constant_i32x4(0x3f00_0000);
    let is_normal = i32x4_ge_s(magnitude, k.constant_i32x4(0x3880_0000));
    let finite = bitselect::<I32x4, I32x4>(is_normal, normal, denormal);
    let is_large = i32x4_ge_s(magnitude, k.constant_i32x4(0x4780_0000));
    let is_nan = i32x4_gt_s(magnitude, k.constant_i32x4(0x7f80_0000));
    let large = bitselect::<I32x4, I32x4>(is_nan, k.constant_i32x4(0x7e00), k.constant_i32x4(0x7c00));
    let unsigned = bitselect::<I32x4, I32x4>(is_large, large, finite);
    unsigned | (i32x4_shr_u(bits, 16) & k.constant_i32x4(0x8000))
}
