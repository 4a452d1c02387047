//! Integers of up to 32 bits, widened to 32 with their own sign. Nothing traps: division goes through doubles, which
//! hold every quotient exactly.

use super::mask;
use crate::lanes::{Lanes, zero};
use ir::DType;
use ir::pointwise::Fn;
use kernel::*;

/// The functions of integers of any size, tests not counted.
pub const HAS: &[Fn] = &[
    Fn::Add,
    Fn::Sub,
    Fn::Mul,
    Fn::Div,
    Fn::Mod,
    Fn::Fmod,
    Fn::Pow,
    Fn::Min,
    Fn::Max,
    Fn::And,
    Fn::Or,
    Fn::Xor,
    Fn::Not,
    Fn::Shl,
    Fn::Shr,
    Fn::Clamp,
    Fn::Relu,
    Fn::Neg,
    Fn::Abs,
    Fn::Sign,
    Fn::Floor,
    Fn::Ceil,
    Fn::Round,
    Fn::Trunc,
];

/// Wraps to the range of a narrow type.
pub fn wrap(k: &mut K, dtype: DType, x: E<I32x4>) -> E<I32x4> {
    match dtype {
        DType::I8 => i32x4_shr_s(i32x4_shl(x, 24), 24),
        DType::I16 => i32x4_shr_s(i32x4_shl(x, 16), 16),
        DType::U8 => x & k.constant_i32x4(0xff),
        DType::U16 => x & k.constant_i32x4(0xffff),
        DType::I4 => i32x4_shr_s(i32x4_shl(x, 28), 28),
        DType::I2 => i32x4_shr_s(i32x4_shl(x, 30), 30),
        DType::U4 => x & k.constant_i32x4(0xf),
        DType::U2 => x & k.constant_i32x4(0x3),
        _ => x,
    }
}

pub fn apply(k: &mut K, f: Fn, dtype: DType, x: Vec<Lanes>) -> Lanes {
    let x: Vec<E<I32x4>> =
        x.into_iter().map(|x| if let Lanes::I32(x) = x { x } else { panic!("integers were expected, not {x:?}") }).collect();
    let a = x[0].clone();
    let b = || x[1].clone();
    let unsigned = dtype == DType::U32;
    if let Some(test) = test(f, unsigned, &x) {
        return Lanes::Mask(test);
    }
    let min = |a: E<I32x4>, b: E<I32x4>| if unsigned { i32x4_min_u(a, b) } else { i32x4_min_s(a, b) };
    let max = |a: E<I32x4>, b: E<I32x4>| if unsigned { i32x4_max_u(a, b) } else { i32x4_max_s(a, b) };
    Lanes::I32(match f {
        Fn::Add => wrap(k, dtype, a + b()),
        Fn::Sub => wrap(k, dtype, a - b()),
        Fn::Mul => wrap(k, dtype, a * b()),
        Fn::Neg => wrap(k, dtype, i32x4_neg(a)),
        Fn::Not => {
            let x = mask::not(a);
            wrap(k, dtype, x)
        }
        Fn::Pow => {
            let x = power(k, dtype, a, b());
            wrap(k, dtype, x)
        }
        Fn::Div | Fn::Mod | Fn::Fmod => {
            let x = divide(k, f, unsigned, a, b());
            wrap(k, dtype, x)
        }
        Fn::Min => min(a, b()),
        Fn::Max => max(a, b()),
        Fn::Clamp => min(max(a, b()), x[2].clone()),
        Fn::And => a & b(),
        Fn::Or => a | b(),
        Fn::Xor => a ^ b(),
        Fn::Shl | Fn::Shr => {
            let x = shift(k, f, dtype, a, b());
            wrap(k, dtype, x)
        }
        Fn::Relu if unsigned => a,
        Fn::Relu => i32x4_max_s(a, zero::<I32x4>()),
        Fn::Abs if unsigned => a,
        Fn::Abs => wrap(k, dtype, i32x4_abs(a)),
        Fn::Sign => {
            let x = k.in_local("x", a);
            let one = k.constant_i32x4(1);
            if unsigned { i32x4_ne(x, zero::<I32x4>()) & one } else { i32x4_shr_s(x, 31) | (i32x4_gt_s(x, zero::<I32x4>()) & one) }
        }
        // Roundings of integers.
        _ => a,
    })
}

fn test(f: Fn, unsigned: bool, x: &[E<I32x4>]) -> Option<E<I32x4>> {
    let a = || x[0].clone();
    let b = || x[1].clone();
    Some(match (f, unsigned) {
        (Fn::Equal, _) => i32x4_eq(a(), b()),
        (Fn::Less, false) => i32x4_lt_s(a(), b()),
        (Fn::Less, true) => i32x4_lt_u(a(), b()),
        (Fn::LessEqual, false) => i32x4_le_s(a(), b()),
        (Fn::LessEqual, true) => i32x4_le_u(a(), b()),
        (Fn::Greater, false) => i32x4_gt_s(a(), b()),
        (Fn::Greater, true) => i32x4_gt_u(a(), b()),
        (Fn::GreaterEqual, false) => i32x4_ge_s(a(), b()),
        (Fn::GreaterEqual, true) => i32x4_ge_u(a(), b()),
        (Fn::IsNan | Fn::IsInf, _) => zero(),
        _ => return None,
    })
}

/// Quotient or remainder; 0 where the divisor is 0.
fn divide(k: &mut K, f: Fn, unsigned: bool, a: E<I32x4>, b: E<I32x4>) -> E<I32x4> {
    let (a, b) = (k.in_local("dividend", a), k.in_local("divisor", b));
    let high = |v: V<I32x4>| shuffle64::<I32x4>([1, 0], v, v);
    let quotient = if unsigned {
        let low = f64x2_convert_low_i32x4_u(a) / f64x2_convert_low_i32x4_u(b);
        let high = f64x2_convert_low_i32x4_u(high(a)) / f64x2_convert_low_i32x4_u(high(b));
        shuffle64::<I32x4>([0, 2], i32x4_trunc_sat_f64x2_u_zero(low), i32x4_trunc_sat_f64x2_u_zero(high))
    } else {
        let low = f64x2_convert_low_i32x4_s(a) / f64x2_convert_low_i32x4_s(b);
        let high = f64x2_convert_low_i32x4_s(high(a)) / f64x2_convert_low_i32x4_s(high(b));
        let quotient = shuffle64::<I32x4>([0, 2], i32x4_trunc_sat_f64x2_s_zero(low), i32x4_trunc_sat_f64x2_s_zero(high));
        // The one quotient that overflows, MIN / −1, wraps.
        let minus_one = k.constant_i32x4(-1);
        bitselect::<I32x4, I32x4>(i32x4_eq(b, minus_one), i32x4_neg(a), quotient)
    };
    let is_zero = k.let_("is_zero", i32x4_eq(b, zero::<I32x4>()));
    if f == Fn::Div {
        return andnot::<I32x4, I32x4>(quotient, is_zero);
    }
    let r = a - quotient * b;
    let r = k.let_("r", andnot::<I32x4, I32x4>(r, is_zero));
    if f == Fn::Fmod || unsigned {
        return r.get();
    }
    let signs_differ = i32x4_shr_s(r ^ b, 31) & i32x4_ne(r, zero::<I32x4>());
    r + (signs_differ & b)
}

/// Lane by lane, each by its own number of bits.
fn shift(k: &mut K, f: Fn, dtype: DType, a: E<I32x4>, b: E<I32x4>) -> E<I32x4> {
    let (a, b) = (k.in_local("a", a), k.in_local("b", b));
    let signed = dtype.class() == ir::dtype::Class::Signed;
    let lane = |i: u8| {
        let (a, b) = (i32x4_extract_lane(i, a), i32x4_extract_lane(i, b));
        match f {
            Fn::Shl => i32_shl(a, b),
            _ if signed => i32_shr_s(a, b),
            _ => i32_shr_u(a, b),
        }
    };
    let moved = (1..4).fold(i32x4_splat(lane(0)), |v, i| i32x4_replace_lane(i, v, lane(i)));
    let is_whole = i32x4_ge_u(b, k.constant_i32x4(if dtype.bits() < 8 { 64 } else { dtype.bits() as i32 }.min(32)));
    let rest = if f == Fn::Shr && signed { i32x4_shr_s(a, 31) } else { zero::<I32x4>() };
    bitselect::<I32x4, I32x4>(is_whole, rest, moved)
}

/// By repeated squaring; a negative exponent rounds towards zero.
fn power(k: &mut K, dtype: DType, a: E<I32x4>, b: E<I32x4>) -> E<I32x4> {
    let (a, b) = (k.in_local("a", a), k.in_local("b", b));
    let one = k.constant_i32x4(1);
    let base = k.let_("base", a);
    let exponent = k.let_("exponent", b);
    let result = k.let_("result", one);
    if dtype != DType::U32 {
        // 1 and −1 have negative powers, those of their inverses, which are themselves.
        let is_unit = i32x4_eq(i32x4_abs(a), one);
        let is_negative = k.let_("is_negative", i32x4_lt_s(b, zero::<I32x4>()));
        let is_lost = andnot::<I32x4, I32x4>(is_negative, is_unit);
        k.set(result, andnot::<I32x4, I32x4>(one, is_lost));
        k.set(exponent, bitselect::<I32x4, I32x4>(is_negative, b & one, b));
    }
    k.while_(v128_any_true(exponent.cast::<V128>()), |k| {
        let is_odd = i32x4_ne(exponent & one, zero::<I32x4>());
        k.set(result, bitselect::<I32x4, I32x4>(is_odd, result * base, result));
        k.set(base, base * base);
        k.set(exponent, i32x4_shr_u(exponent, 1));
    });
    result.get()
}
