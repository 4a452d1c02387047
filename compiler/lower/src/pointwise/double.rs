//! Elementary functions of doubles, two at a time: the few that models compute in double precision.

use kernel::*;

/// Adding it to a small number rounds that to an integer, which is then in the low bits.
const MAGIC: i64 = 0x4338_0000_0000_0000;

fn magic(k: &mut K) -> V<F64x2> {
    k.constant_f64(f64::from_bits(MAGIC as u64))
}

fn horner(k: &mut K, x: V<F64x2>, coefficients: impl Iterator<Item = f64>) -> E<F64x2> {
    coefficients.fold(k.constant_f64(0.0).get(), |sum, c| sum * x + k.constant_f64(c))
}

/// eˣ, at most 2 ulp.
pub fn exp(k: &mut K, x: E<F64x2>) -> E<F64x2> {
    // Beyond these every power is 0 or ∞; NaN passes.
    let (least, most) = (k.constant_f64(-746.0), k.constant_f64(710.0));
    let x = k.in_local("x", f64x2_pmax(f64x2_pmin(x, most), least));
    let magic = magic(k);
    let shifted = x * k.constant_f64(std::f64::consts::LOG2_E) + magic;
    let shifted = k.let_("shifted", shifted);
    let n = k.let_("n", shifted - magic);
    // ln 2 in two parts (fdlibm): n times the high one is exact.
    let (high, low) = (k.constant_f64(f64::from_bits(0x3fe6_2e42_fee0_0000)), k.constant_f64(f64::from_bits(0x3dea_39ef_3579_3c76)));
    let r = k.let_("r", x - n * high - n * low);
    let mut factorials = vec![1.0];
    (1..14).for_each(|i| factorials.push(factorials[i - 1] / i as f64));
    let value = horner(k, r, factorials.into_iter().rev());
    // 2ⁿ as two factors, so that denormal results are reached.
    let exponent = k.let_("exponent", shifted.cast::<I64x2>() - i64x2_splat(MAGIC));
    let half = k.let_("half", i64x2_shr_s(exponent, 1));
    let power = |n: E<I64x2>| i64x2_shl(n + i64x2_splat(1023), 52).cast::<F64x2>();
    value * power(half.get()) * power(exponent - half)
}

/// ln x, at most 2 ulp.
pub fn log(k: &mut K, x: E<F64x2>) -> E<F64x2> {
    let x = k.in_local("x", x);
    let (zero, one, infinity) = (k.constant_f64(0.0), k.constant_f64(1.0), k.constant_f64(f64::INFINITY));
    // Denormal numbers are made normal.
    let is_small = f64x2_lt(x, k.constant_f64(f64::MIN_POSITIVE));
    let is_small = k.let_("is_small", is_small);
    let scaled = bitselect::<F64x2, I64x2>(is_small, x * k.constant_f64(2f64.powi(54)), x);
    let bits = k.let_("bits", scaled.cast::<I64x2>());
    // x = 2ᵉ·m with √½ ≤ m < √2; ln m = 2·artanh((m − 1)/(m + 1)).
    let sqrt_half = i64x2_splat(std::f64::consts::FRAC_1_SQRT_2.to_bits() as i64);
    let exponent = k.let_("exponent", i64x2_shr_s(bits - sqrt_half, 52));
    let m = k.let_("m", (bits - i64x2_shl(exponent, 52)).cast::<F64x2>());
    let magic = magic(k);
    let e = (exponent + i64x2_splat(MAGIC)).cast::<F64x2>() - magic;
    let e = e - (is_small.cast::<F64x2>() & k.constant_f64(54.0));
    let e = k.let_("e", e);
    let s = k.let_("s", (m - one) / (m + one));
    let z = k.let_("z", s * s);
    let series = horner(k, z, (0..13).rev().map(|i| 2.0 / f64::from(2 * i + 1)));
    let (high, low) = (k.constant_f64(f64::from_bits(0x3fe6_2e42_fee0_0000)), k.constant_f64(f64::from_bits(0x3dea_39ef_3579_3c76)));
    let value = e * high + (series * s + e * low);
    let value = bitselect::<F64x2, I64x2>(f64x2_lt(x, infinity), value, x);
    let value = bitselect::<F64x2, I64x2>(f64x2_eq(x, zero), k.constant_f64(f64::NEG_INFINITY), value);
    bitselect::<F64x2, I64x2>(f64x2_lt(x, zero), k.constant_f64(f64::NAN), value)
}

/// The remainder of x / y: with the sign of x, or, when `floored`, of y. Exact unless y is denormal.
pub fn remainder(k: &mut K, x: E<F64x2>, y: E<F64x2>, floored: bool) -> E<F64x2> {
    let (x, y) = (k.in_local("dividend", x), k.in_local("divisor", y));
    let rest = k.let_("rest", f64x2_abs(x));
    let size = k.let_("size", f64x2_abs(y));
    let (zero, half, infinity) = (k.constant_f64(0.0), k.constant_f64(0.5), k.constant_f64(f64::INFINITY));
    let is_divisible = f64x2_gt(size, zero) & f64x2_lt(rest, infinity);
    let is_divisible = k.let_("is_divisible", is_divisible);
    let exponent_bits = i64x2_splat(0x7ff0_0000_0000_0000);
    // The divisor times the power of two that brings it just below the rest is subtracted, exactly.
    let open = |rest: V<F64x2>| f64x2_ge(rest, size) & is_divisible;
    k.while_(v128_any_true(open(rest).cast::<V128>()), |k| {
        let is_open = k.let_("is_open", open(rest));
        let fraction = andnot::<I64x2, I64x2>(size.cast::<I64x2>(), exponent_bits.clone());
        let aligned = (fraction | (rest.cast::<I64x2>() & exponent_bits.clone())).cast::<F64x2>();
        let aligned = k.let_("aligned", aligned);
        let part = bitselect::<F64x2, I64x2>(f64x2_gt(aligned, rest), aligned * half, aligned);
        k.set(rest, bitselect::<F64x2, I64x2>(is_open, rest - part, rest));
    });
    let sign = i64x2_splat(i64::MIN);
    let signed = (rest.cast::<I64x2>() | (x.cast::<I64x2>() & sign.clone())).cast::<F64x2>();
    let signed = k.let_("signed", signed);
    // x / ∞ leaves x; x / 0 and ∞ / y have no remainder.
    let result = bitselect::<F64x2, I64x2>(is_divisible, signed, k.constant_f64(f64::NAN));
    let result = k.let_("result", result);
    if !floored {
        return result.get();
    }
    let signs_differ = i64x2_shr_s((result.cast::<I64x2>() ^ y.cast::<I64x2>()) & sign, 63);
    let moves = f64x2_ne(result, zero) & signs_differ;
    bitselect::<F64x2, I64x2>(moves, result + y, result)
}
