//! Less common functions of `f32`, composed of those in `kernel::math`; the inverse trigonometric ones use the
//! polynomials of Cephes (Moshier). Errors are a few ulp.

use kernel::math::{exp, expm1, log, log1p};
use kernel::math64::{cos, sin};
use kernel::*;
use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, LN_2, PI};

fn horner(k: &mut K, x: V<F32x4>, coefficients: &[f32]) -> E<F32x4> {
    let first = k.constant(coefficients[0]).get();
    coefficients[1..].iter().fold(first, |sum, c| sum * x + k.constant(*c))
}

/// The magnitude with the sign of `of`.
fn with_sign(k: &mut K, magnitude: E<F32x4>, of: V<F32x4>) -> E<F32x4> {
    let sign = k.constant(-0.0);
    magnitude | (of & sign)
}

pub fn tan(k: &mut K, x: E<F32x4>) -> E<F32x4> {
    let x = k.in_local("tan_x", x);
    let sin = sin(k, x);
    let sin = k.let_("sin", sin);
    sin / cos(k, x)
}

/// Of a variable in 0..=½: x + x³·p(x²).
fn asin_core(k: &mut K, x: V<F32x4>, z: V<F32x4>) -> E<F32x4> {
    const P: [f32; 5] = [4.216_32e-2, 2.418_131e-2, 4.547_002_6e-2, 7.495_300_3e-2, 1.666_675_2e-1];
    horner(k, z, &P) * z * x + x
}

pub fn asin(k: &mut K, x: E<F32x4>) -> E<F32x4> {
    let x = k.in_local("asin_x", x);
    let a = k.let_("a", f32x4_abs(x));
    let (half, one, quarter_turn, two) = (k.constant(0.5), k.constant(1.0), k.constant(FRAC_PI_2), k.constant(2.0));
    // asin a = π/2 − 2·asin √((1 − a)/2) above ½.
    let is_large = k.let_("is_large", f32x4_gt(a, half));
    let z = k.let_("z", bitselect::<F32x4, I32x4>(is_large, half * (one - a), a * a));
    let y = k.let_("y", bitselect::<F32x4, I32x4>(is_large, f32x4_sqrt(z), a));
    let core = asin_core(k, y, z);
    let core = k.let_("core", core);
    let value = bitselect::<F32x4, I32x4>(is_large, quarter_turn - two * core, core);
    with_sign(k, value, x)
}

pub fn acos(k: &mut K, x: E<F32x4>) -> E<F32x4> {
    let x = k.in_local("acos_x", x);
    let a = k.let_("a", f32x4_abs(x));
    let (half, one, two) = (k.constant(0.5), k.constant(1.0), k.constant(2.0));
    let is_large = k.let_("is_large", f32x4_gt(a, half));
    let z = k.let_("z", bitselect::<F32x4, I32x4>(is_large, half * (one - a), a * a));
    let y = k.let_("y", bitselect::<F32x4, I32x4>(is_large, f32x4_sqrt(z), x));
    let core = asin_core(k, y, z);
    let core = k.let_("core", core);
    let doubled = k.let_("doubled", two * core);
    let is_negative = f32x4_lt(x, k.constant(0.0));
    let large = bitselect::<F32x4, I32x4>(is_negative, k.constant(PI) - doubled, doubled);
    bitselect::<F32x4, I32x4>(is_large, large, k.constant(FRAC_PI_2) - core)
}

pub fn atan(k: &mut K, x: E<F32x4>) -> E<F32x4> {
    const P: [f32; 4] = [8.053_744_5e-2, -1.387_768_6e-1, 1.997_771_1e-1, -3.333_295e-1];
    let x = k.in_local("atan_x", x);
    let a = k.let_("a", f32x4_abs(x));
    let (zero, one) = (k.constant(0.0), k.constant(1.0));
    // Angles from 67.5° on by −1/a, from 22.5° on by (a − 1)/(a + 1).
    let (large, medium) = (k.constant(2.414_213_6), k.constant(0.414_213_57));
    let is_large = k.let_("is_large", f32x4_gt(a, large));
    let is_medium = k.let_("is_medium", f32x4_gt(a, medium));
    let numerator = bitselect::<F32x4, I32x4>(is_medium, a - one, a);
    let numerator = bitselect::<F32x4, I32x4>(is_large, k.constant(-1.0), numerator);
    let denominator = bitselect::<F32x4, I32x4>(is_medium, a + one, one);
    let denominator = bitselect::<F32x4, I32x4>(is_large, a, denominator);
    let y = k.let_("y", numerator / denominator);
    let base = bitselect::<F32x4, I32x4>(is_medium, k.constant(FRAC_PI_4), zero);
    let base = bitselect::<F32x4, I32x4>(is_large, k.constant(FRAC_PI_2), base);
    let z = k.let_("z", y * y);
    let value = horner(k, z, &P) * z * y + y + base;
    with_sign(k, value, x)
}

pub fn sinh(k: &mut K, x: E<F32x4>) -> E<F32x4> {
    let x = k.in_local("sinh_x", x);
    let a = k.let_("a", f32x4_abs(x));
    let (half, one) = (k.constant(0.5), k.constant(1.0));
    let t = expm1(k, a);
    let t = k.let_("t", t);
    // eᵃ overflows before sinh does: there, the square of e^(a/2).
    let root = exp(k, a * half);
    let root = k.let_("root", root);
    let value = bitselect::<F32x4, I32x4>(f32x4_gt(a, k.constant(20.0)), half * root * root, half * (t + t / (t + one)));
    with_sign(k, value, x)
}

pub fn cosh(k: &mut K, x: E<F32x4>) -> E<F32x4> {
    let half = k.constant(0.5);
    let root = exp(k, f32x4_abs(x) * half);
    let root = k.let_("root", root);
    half * root * root + half / (root * root)
}

pub fn asinh(k: &mut K, x: E<F32x4>) -> E<F32x4> {
    let x = k.in_local("asinh_x", x);
    let a = k.let_("a", f32x4_abs(x));
    let one = k.constant(1.0);
    let square = k.let_("square", a * a);
    let small = log1p(k, a + square / (f32x4_sqrt(square + one) + one));
    let small = k.let_("small", small);
    let large = log(k, a) + k.constant(LN_2);
    let value = bitselect::<F32x4, I32x4>(f32x4_gt(a, k.constant(1e9)), large, small);
    with_sign(k, value, x)
}

pub fn acosh(k: &mut K, x: E<F32x4>) -> E<F32x4> {
    let x = k.in_local("acosh_x", x);
    let one = k.constant(1.0);
    let t = k.let_("t", x - one);
    let two = k.constant(2.0);
    let small = log1p(k, t + f32x4_sqrt(t * (t + two)));
    let small = k.let_("small", small);
    let large = log(k, x) + k.constant(LN_2);
    let value = bitselect::<F32x4, I32x4>(f32x4_gt(x, k.constant(1e9)), large, small);
    bitselect::<F32x4, I32x4>(f32x4_lt(x, one), k.constant(f32::NAN), value)
}

pub fn atanh(k: &mut K, x: E<F32x4>) -> E<F32x4> {
    let x = k.in_local("atanh_x", x);
    let a = k.let_("a", f32x4_abs(x));
    let (one, half) = (k.constant(1.0), k.constant(0.5));
    let value = log1p(k, (a + a) / (one - a)) * half;
    with_sign(k, value, x)
}

/// The exact remainder with the dividend's sign, or with the divisor's.
pub fn fmod(k: &mut K, a: E<F32x4>, b: E<F32x4>, divisor_sign: bool) -> E<F32x4> {
    let (a, b) = (k.in_local("dividend", a), k.in_local("divisor", b));
    let parts = |v: V<F32x4>| [f64x2_promote_low_f32x4(v), f64x2_promote_low_f32x4(shuffle64::<F32x4>([1, 0], v, v))];
    let [low_a, high_a] = parts(a);
    let [low_b, high_b] = parts(b);
    let low = fmod_wide(k, low_a, low_b);
    let high = fmod_wide(k, high_a, high_b);
    let magnitude = shuffle64::<F32x4>([0, 2], f32x4_demote_f64x2_zero(low), f32x4_demote_f64x2_zero(high));
    let r = with_sign(k, magnitude, a);
    if !divisor_sign {
        return r;
    }
    let r = k.let_("r", r);
    let zero = k.constant(0.0);
    let signs_differ = f32x4_lt(r, zero) ^ f32x4_lt(b, zero);
    let adjust = andnot::<I32x4, I32x4>(signs_differ, f32x4_eq(r, zero));
    bitselect::<F32x4, I32x4>(adjust, r + b, r)
}

/// |a| mod |b| of floats as doubles: subtracts multiples whose factor has 27 bits, so that nothing is rounded.
fn fmod_wide(k: &mut K, a: E<F64x2>, b: E<F64x2>) -> V<F64x2> {
    let r = k.let_("r", f64x2_abs(a));
    let b = k.let_("b", f64x2_abs(b));
    let zero = k.constant_f64(0.0);
    let infinity = k.constant_f64(f64::INFINITY);
    let goes_on = f64x2_ge(r, b) & f64x2_gt(b, zero) & f64x2_lt(r, infinity);
    let goes_on = k.let_("goes_on", goes_on);
    k.while_(v128_any_true(goes_on.cast::<V128>()), |k| {
        let factor = (r / b).cast::<I64x2>() & i64x2_splat(-1i64 << 26);
        let factor = f64x2_trunc(factor.cast::<F64x2>());
        let next = k.let_("next", r - factor * b);
        // The quotient may have been rounded up to an integer.
        let next = bitselect::<F64x2, I64x2>(f64x2_lt(next, zero), next + b, next);
        k.set(r, bitselect::<F64x2, I64x2>(goes_on, next, r));
        k.set(goes_on, f64x2_ge(r, b) & f64x2_gt(b, zero) & f64x2_lt(r, infinity));
    });
    // NaN for ∞ mod b, a mod 0 and where an operand is NaN.
    let fits = f64x2_lt(r, infinity) & f64x2_gt(b, zero);
    let nan = k.constant_f64(f64::NAN);
    k.set(r, bitselect::<F64x2, I64x2>(fits, r, nan));
    r
}
