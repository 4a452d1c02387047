//! Elementary functions on four floats at a time, as expressions to be inlined into the loops that need them. No lookup
//! tables, no calls, no scalar code; constants are hoisted to function entry by [`K::constant`].
//!
//! Errors are bounds that `tests/math.rs` checks over all magnitudes, with and without [`K::use_relaxed_madd`]; "ulp"
//! counts units in the last place of the exact result, denormals included unless a function says otherwise. NaN in, NaN
//! out. Coefficients of `exp`, `log`, `sin`, `cos` are those of Cephes (Moshier); `tanh` and `erf` use the odd rational
//! minimax forms of Eigen, those of `tanh` adjusted in their last places to the evaluation order here.
#![allow(clippy::excessive_precision, reason = "coefficients and split constants are given in full")]

use crate::builder::K;
use crate::ops::*;
use crate::typed::{E, F32x4, I32x4, V};

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; the high one has so few bits that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_359_375;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// 1.5·2²³: adding it leaves the nearest integer in the low bits of the sum.
const ROUND_MAGIC: f32 = 12_582_912.0;

/// eˣ, at most 1 ulp; overflow gives ∞, underflow goes through the denormals to 0. After [`K::use_fast_math`] a shorter one
/// with an error of at most 2⁻²¹·max(1, |x|) of the result, 0 below 2⁻¹²⁶·⁵ and ∞ from 2¹²⁷·⁵ on.
pub fn exp(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    if k.fast_math() {
        return exp2_of_product(k, x, LOG2_E, [-127.0, 128.0]);
    }
    let Reduced { n_bits, r } = reduce_exp(k, x, -104.0, 89.0);
    let q = exp_tail(k, r);
    let one = k.constant(1.0);
    let value = k.let_("exp_r", q + one);
    // 2ⁿ may be out of range where the result is not: scale by 2^⌊n/2⌋, then by the rest. The bits of the rounding
    // constant above the integer are shifted out.
    let bias = k.constant_i32x4(0x3f80_0000);
    let half = k.let_("half_n", i32x4_shr_s(n_bits, 1));
    let low = i32x4_shl(half, 23) + bias;
    let high = i32x4_shl(n_bits - half, 23) + bias;
    value * low.cast::<F32x4>() * high.cast::<F32x4>()
}

/// eˣ − 1, at most 2 ulp.
pub fn expm1(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    let Reduced { n_bits, r } = reduce_exp(k, x, -18.0, 89.0);
    let tail = exp_tail(k, r);
    // 2·((2ⁿ⁻¹ − ½) + 2ⁿ⁻¹·(eʳ − 1)): half of the result, since 2¹²⁸ is no float.
    let half = k.constant(0.5);
    let scale = i32x4_shl(n_bits, 23) + k.constant_i32x4(0x3f00_0000);
    let scale = k.let_("scale", scale.cast::<F32x4>());
    let result = scale - half + scale * tail;
    k.constant(2.0) * result
}

/// An exponential's argument as `n·ln 2 + r`; the low bits of `n_bits` are n.
struct Reduced {
    n_bits: V<I32x4>,
    r: V<F32x4>,
}

fn reduce_exp(k: &mut K, x: impl Into<E<F32x4>>, low: f32, high: f32) -> Reduced {
    let (low, high) = (k.constant(low), k.constant(high));
    let x = k.let_("exp_x", min_nan(max_nan(x, low), high));
    let (log2_e, magic) = (k.constant(LOG2_E), k.constant(ROUND_MAGIC));
    let shifted = k.let_("exp_n", x * log2_e + magic);
    let n = k.let_("n", shifted - magic);
    let (ln2_high, ln2_low) = (k.constant(LN2_HIGH), k.constant(LN2_LOW));
    let r = k.let_("exp_r", x - n * ln2_high - n * ln2_low);
    Reduced { n_bits: shifted.cast(), r }
}

/// eʳ − 1 for |r| ≤ ½·ln 2.
fn exp_tail(k: &mut K, r: V<F32x4>) -> E<F32x4> {
    const P: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1];
    horner(k, r, &P) * (r * r) + r
}

/// ln x, at most 1 ulp; −∞ at ±0, NaN below.
pub fn log(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_87e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    let x = k.in_local("log_x", x);
    // Denormals: scale by 2²³ and take the exponent back.
    let min_normal = k.constant(f32::MIN_POSITIVE);
    let is_small = k.let_("is_small", f32x4_lt(x, min_normal));
    let scaled = x * k.constant(8_388_608.0);
    let bits = k.let_("log_bits", bitselect::<F32x4, I32x4>(is_small, scaled, x).cast::<I32x4>());
    // x = 2ᵉ·(1 + m) with √½ ≤ 1 + m < √2.
    let sqrt_half = k.constant_i32x4(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let exponent = k.let_("exponent", i32x4_shr_s(bits - sqrt_half, 23));
    let one = k.constant(1.0);
    let m = k.let_("m", (bits - i32x4_shl(exponent, 23)).cast::<F32x4>() - one);
    let twenty_three = k.constant_i32x4(23);
    let e = k.let_("e", f32x4_convert_i32x4_s(exponent - (is_small & twenty_three)));
    let z = k.let_("z", m * m);
    let tail = horner(k, m, &P) * (z * m) + e * k.constant(LN2_LOW) - z * k.constant(0.5);
    let value = m + tail + e * k.constant(LN2_HIGH);
    let value = k.let_("log", value);
    // ∞ and NaN come back as they are; 0 gives −∞ and what is below gives NaN.
    let (zero, infinity) = (k.constant(0.0), k.constant(f32::INFINITY));
    let value = bitselect::<F32x4, I32x4>(f32x4_lt(x, infinity), value, x);
    let at_zero = bitselect::<F32x4, I32x4>(f32x4_eq(x, zero), k.constant(f32::NEG_INFINITY), k.constant(f32::NAN));
    bitselect::<F32x4, I32x4>(f32x4_le(x, zero), at_zero, value)
}

/// ln(1 + x), at most 3 ulp.
pub fn log1p(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    let x = k.in_local("log1p_x", x);
    let one = k.constant(1.0);
    let u = k.let_("u", x + one);
    let log_u = log(k, u);
    let log_u = k.let_("log_u", log_u);
    // ln u · x/(u − 1) undoes the rounding of u; where u rounds to 1 the result is x, where it is ∞ there is no error.
    let corrected = log_u * (x / (u - one));
    let is_finite = f32x4_lt(u, k.constant(f32::INFINITY)) & f32x4_gt(u, k.constant(0.0));
    let value = bitselect::<F32x4, I32x4>(is_finite, corrected, log_u);
    bitselect::<F32x4, I32x4>(f32x4_eq(u, one), x, value)
}

/// 1/(1 + e⁻ˣ), at most 3 ulp of normal results; denormal results are 0. After [`K::use_fast_math`] a shorter exponential
/// with an error of at most 2⁻²¹·max(1, |x|) of the result, down to 2⁻¹²⁶.
pub fn sigmoid(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    let one = k.constant(1.0);
    if k.fast_math() {
        let e = exp2_of_product(k, x, -LOG2_E, [-126.0, 126.0]);
        return one / (e + one);
    }
    // The argument is bounded so that e⁻ˣ is a normal number: one scaling is enough.
    let x = k.in_local("sigmoid_x", x);
    let Reduced { n_bits, r } = reduce_exp(k, -x, -87.0, 87.34);
    let q = exp_tail(k, r);
    let e = (q + one) * power_of_two(k, n_bits);
    let is_tiny = f32x4_lt(x, k.constant(-87.336_544));
    andnot::<F32x4, I32x4>(one / (e + one), is_tiny)
}

/// 2^(x·factor) for products within the bounds (others as at the bound), relative error 8e-8 plus the product's rounding.
/// From −126.5 on down it is 0, from 127.5 on ∞.
fn exp2_of_product(k: &mut K, x: impl Into<E<F32x4>>, factor: f32, [low, high]: [f32; 2]) -> E<F32x4> {
    const P: [f32; 6] = [1.327_647_1e-3, 9.675_541e-3, 5.550_713e-2, 2.402_212e-1, 6.931_469_4e-1, 1.000_000_1];
    let (factor, magic) = (k.constant(factor), k.constant(ROUND_MAGIC));
    let (low, high) = (k.constant(low), k.constant(high));
    let t = k.let_("t", min_nan(max_nan(x.into() * factor, low), high));
    let shifted = k.let_("exp_n", t + magic);
    let r = k.let_("exp_r", t - (shifted - magic));
    let power = horner(k, r, &P);
    power * power_of_two(k, shifted.cast())
}

/// 2ⁿ for the n in the low bits, −126 to 127. To be multiplied with, so that NaN stays NaN.
fn power_of_two(k: &mut K, n_bits: V<I32x4>) -> E<F32x4> {
    (i32x4_shl(n_bits, 23) + k.constant_i32x4(0x3f80_0000)).cast()
}

/// tanh x, at most 5 ulp; exactly ±1 from |x| = 9.4 on.
pub fn tanh(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    const P: [f32; 7] = [-2.760_497_3e-16, 2.000_271_7e-13, -8.604_731e-11, 5.122_293e-8, 1.485_722_3e-5, 6.372_619_5e-4, 4.893_524e-3];
    const Q: [f32; 4] = [1.198_257_9e-6, 1.185_347_14e-4, 2.268_434_5e-3, 4.893_524_6e-3];
    // At the bound the ratio exceeds 1, so that the result saturates.
    odd_rational(k, x, 9.4, &P, &Q)
}

/// erf x, at most 8 ulp; exactly ±1 from |x| = 4.1 on.
pub fn erf(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    const P: [f32; 7] =
        [-2.726_142_3e-10, 2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_5e-4, -2.954_599_8e-3, -1.609_603_3e-2];
    const Q: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    odd_rational(k, x, 4.1, &P, &Q)
}

/// x·P(x²)/Q(x²) with x clamped to ±bound and the result to ±1.
fn odd_rational(k: &mut K, x: impl Into<E<F32x4>>, bound: f32, p: &[f32], q: &[f32]) -> E<F32x4> {
    let (low, high) = (k.constant(-bound), k.constant(bound));
    let x = k.let_("x", min_nan(max_nan(x, low), high));
    let square = k.let_("square", x * x);
    let ratio = horner(k, square, p) / horner(k, square, q);
    let (minus_one, one) = (k.constant(-1.0), k.constant(1.0));
    min_nan(max_nan(x * ratio, minus_one), one)
}

/// GELU, ½·x·(1 + erf(x/√2)): absolute error at most 3·10⁻⁷·max(1, |x|).
pub fn gelu(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    let x = k.in_local("gelu_x", x);
    let scaled = x * k.constant(std::f32::consts::FRAC_1_SQRT_2);
    let erf = erf(k, scaled);
    let half_x = x * k.constant(0.5);
    half_x.clone() * erf + half_x
}

/// GELU's tanh form, ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))): absolute error as [`gelu`].
pub fn gelu_tanh(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    let x = k.in_local("gelu_x", x);
    let cubic = k.constant(0.044_715) * (x * x) + k.constant(1.0);
    let inner = x * k.constant(0.797_884_6) * cubic;
    let tanh = tanh(k, inner);
    let half_x = x * k.constant(0.5);
    half_x.clone() * tanh + half_x
}

/// ln(1 + eˣ), at most 3 ulp of normal results.
pub fn softplus(k: &mut K, x: impl Into<E<F32x4>>) -> E<F32x4> {
    let x = k.in_local("softplus_x", x);
    let e = exp(k, -f32x4_abs(x));
    let tail = log1p(k, e);
    max_nan(x, k.constant(0.0)) + tail
}

/// Polynomial in `x`, highest coefficient first.
pub(crate) fn horner(k: &mut K, x: V<F32x4>, coefficients: &[f32]) -> E<F32x4> {
    let (first, rest) = coefficients.split_first().expect("a polynomial has a coefficient");
    let mut sum = k.constant(*first).get();
    for &coefficient in rest {
        let coefficient = k.constant(coefficient);
        sum = k.mul_add(sum, x, coefficient);
    }
    sum
}
