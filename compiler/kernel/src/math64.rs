//! Elementary functions on four floats that need more than single precision inside: they work on two pairs of doubles.
//! The functions that do not are in `math.rs`.

use crate::builder::K;
use crate::math::horner;
use crate::ops::*;
use crate::typed::{E, F32x4, F64x2, I32x4, I64x2, V};

/// sin x: absolute error at most 2⁻²³ for |x| ≤ 10⁸; larger finite arguments give some value in −1..1, ±∞ NaN.
pub fn sin(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    sin_shifted(k, x, 0)
}

/// cos x, as [`sin`].
pub fn cos(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    sin_shifted(k, x, 1)
}

/// sin(x + quarter·π/2).
fn sin_shifted(k: &mut K, x: impl Into<E<F32x4>>, quarter: i32) -> E<F32x4> {
    const SIN: [f32; 3] = [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1];
    const COS: [f32; 3] = [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2];
    let x = k.in_local("trig_x", x);
    let (low_r, low_n) = reduce_quarter(k, f64x2_promote_low_f32x4(x));
    let (high_r, high_n) = reduce_quarter(k, f64x2_promote_low_f32x4(shuffle64::<F32x4>([1, 0], x, x)));
    let r = shuffle64::<F32x4>([0, 2], f32x4_demote_f64x2_zero(low_r), f32x4_demote_f64x2_zero(high_r));
    // Beyond the range of the reduction r is no remainder; keep the result a sine at least.
    let (minus_one, one) = (k.constant(-1.0), k.constant(1.0));
    let r = k.let_("r", min_nan(max_nan(r, minus_one), one));
    let n = shuffle64::<I32x4>([0, 2], i32x4_trunc_sat_f64x2_s_zero(low_n), i32x4_trunc_sat_f64x2_s_zero(high_n));
    let n = n + k.constant_i32x4(quarter);
    let n = k.let_("quadrant", n);
    let z = k.let_("z", r * r);
    let sin = horner(k, z, &SIN) * (z * r) + r;
    let cos = horner(k, z, &COS) * (z * z) - z * k.constant(0.5) + one;
    let is_odd = i32x4_shr_s(i32x4_shl(n, 31), 31);
    let sign = i32x4_shl(i32x4_shr_u(n, 1), 31);
    let value = bitselect::<F32x4, I32x4>(is_odd, cos, sin);
    (value.cast::<I32x4>() ^ sign).cast()
}

/// `(r, n)` with x = n·π/2 + r and |r| ≤ π/4.
fn reduce_quarter(k: &mut K, x: E<F64x2>) -> (E<F64x2>, V<F64x2>) {
    let x = k.let_("wide_x", x);
    let quarters = x * k.constant_f64(std::f64::consts::FRAC_2_PI);
    let n = k.let_("wide_n", f64x2_nearest(quarters));
    // π/2 in two parts, the high one of 25 bits (fdlibm).
    let high = k.constant_f64(1.570_796_310_901_641_8);
    let low = k.constant_f64(1.589_325_477_352_819_7e-8);
    (x - n * high - n * low, n)
}

/// xʸ with the special cases of C's `pow`, at most 1 ulp.
pub fn pow(k: &mut K, x: impl Into<E<F32x4>>, y: impl Into<E<F32x4>>) -> E<F32x4> {
    let (x, y) = (k.in_local("pow_x", x), k.in_local("pow_y", y));
    let magnitude = k.let_("magnitude", f32x4_abs(x));
    let low = pow_wide(k, f64x2_promote_low_f32x4(magnitude), f64x2_promote_low_f32x4(y));
    let high_of = |v: V<F32x4>| f64x2_promote_low_f32x4(shuffle64::<F32x4>([1, 0], v, v));
    let high = pow_wide(k, high_of(magnitude), high_of(y));
    let value = shuffle64::<F32x4>([0, 2], f32x4_demote_f64x2_zero(low), f32x4_demote_f64x2_zero(high));
    let value = k.let_("power", value);

    let (zero, one, half) = (k.constant(0.0), k.constant(1.0), k.constant(0.5));
    let is_integer = |v: E<F32x4>| f32x4_eq(f32x4_trunc(v.clone()), v);
    let y_is_integer = k.let_("y_is_integer", is_integer(y.get()));
    let y_is_odd = andnot::<I32x4, I32x4>(y_is_integer, is_integer(y * half));
    let sign = k.constant_i32x4(i32::MIN);
    let signed = value.cast::<I32x4>() ^ (x.cast::<I32x4>() & y_is_odd & sign);
    // A negative finite base has a power only if the exponent is an integer.
    let is_negative = f32x4_lt(x, zero) & f32x4_lt(magnitude, k.constant(f32::INFINITY));
    let has_no_power = andnot::<I32x4, I32x4>(is_negative, y_is_integer);
    let signed = bitselect::<F32x4, I32x4>(has_no_power, k.constant(f32::NAN), signed.cast::<F32x4>());
    // x⁰ and 1ʸ are 1 even for NaN; (−1)^±∞ is 1.
    let y_is_infinite = f32x4_eq(f32x4_abs(y), k.constant(f32::INFINITY));
    let unit_to_infinity = f32x4_eq(magnitude, one) & y_is_infinite;
    let is_one = f32x4_eq(y, zero) | f32x4_eq(x, one) | unit_to_infinity;
    bitselect::<F32x4, I32x4>(is_one, one, signed)
}

/// xʸ for x ≥ 0, as doubles good to 2⁻³⁰; x is a float's value, so never a denormal double.
fn pow_wide(k: &mut K, x: E<F64x2>, y: E<F64x2>) -> E<F64x2> {
    let (x, y) = (k.let_("wide_x", x), k.let_("wide_y", y));
    // x = 2ᵉ·m with √½ ≤ m < √2; ln m = 2·artanh((m − 1)/(m + 1)).
    let bits = x.cast::<I64x2>();
    let sqrt_half = i64x2_splat(std::f64::consts::FRAC_1_SQRT_2.to_bits() as i64);
    let exponent = k.let_("wide_exponent", i64x2_shr_s(bits - sqrt_half, 52));
    let m = k.let_("wide_m", (bits - i64x2_shl(exponent, 52)).cast::<F64x2>());
    // 1.5·2⁵² plus an integer has the integer in its low bits: the conversions that SIMD lacks.
    let magic_bits = 0x4338_0000_0000_0000_i64;
    let magic = k.constant_f64(f64::from_bits(magic_bits as u64));
    let e = (exponent + i64x2_splat(magic_bits)).cast::<F64x2>() - magic;
    let one = k.constant_f64(1.0);
    let s = k.let_("s", (m - one) / (m + one));
    let z = k.let_("wide_z", s * s);
    let artanh: Vec<f64> = (0..8).rev().map(|i| 2.0 * std::f64::consts::LOG2_E / f64::from(2 * i + 1)).collect();
    let log2 = horner_wide(k, z, &artanh) * s + e;
    let log2 = k.let_("log2", log2);
    let infinity = k.constant_f64(f64::INFINITY);
    let log2 = bitselect::<F64x2, I64x2>(f64x2_lt(x, infinity), log2, x);
    let log2 = bitselect::<F64x2, I64x2>(f64x2_eq(x, k.constant_f64(0.0)), k.constant_f64(f64::NEG_INFINITY), log2);
    // 2ᵗ; beyond ±200 every float is ∞ or 0.
    let t = f64x2_pmin(f64x2_pmax(y * log2, k.constant_f64(-200.0)), k.constant_f64(200.0));
    let t = k.let_("t", t);
    let shifted = k.let_("shifted", t + magic);
    let r = (t - (shifted - magic)) * k.constant_f64(std::f64::consts::LN_2);
    let r = k.let_("wide_r", r);
    let factorials = [40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0];
    let value = horner_wide(k, r, &factorials.map(|f| 1.0 / f));
    let scale = i64x2_shl(shifted.cast::<I64x2>(), 52) + i64x2_splat(0x3ff0_0000_0000_0000_i64);
    value * scale.cast::<F64x2>()
}

fn horner_wide(k: &mut K, x: V<F64x2>, coefficients: &[f64]) -> E<F64x2> {
    let (first, rest) = coefficients.split_first().expect("a polynomial has a coefficient");
    rest.iter().fold(k.constant_f64(*first).get(), |sum, &c| sum * x + k.constant_f64(c))
}
