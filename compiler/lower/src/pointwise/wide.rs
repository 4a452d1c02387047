//! Integers of 64 bits, two vectors at a time. Division is done lane by lane; nothing traps.

use super::mask;
use crate::lanes::{Lanes, zero};
use ir::pointwise::Fn;
use kernel::*;

pub fn apply(k: &mut K, f: Fn, unsigned: bool, x: Vec<Lanes>) -> Lanes {
    let halves = |h: usize| -> Vec<E<I64x2>> {
        x.iter().map(|x| if let Lanes::I64(x) = x { x[h].clone() } else { panic!("i64 was expected, not {x:?}") }).collect()
    };
    let (low, high) = (halves(0), halves(1));
    if let Some(low) = test(f, unsigned, &low) {
        let high = test(f, unsigned, &high).expect("a test is one for both halves");
        return Lanes::Mask(mask::narrow([low, high]));
    }
    Lanes::I64([half(k, f, unsigned, low), half(k, f, unsigned, high)])
}

/// Moves unsigned values so that signed comparison orders them.
fn ordered(unsigned: bool, x: E<I64x2>) -> E<I64x2> {
    if unsigned { x ^ i64x2_splat(i64::MIN) } else { x }
}

fn test(f: Fn, unsigned: bool, x: &[E<I64x2>]) -> Option<E<I64x2>> {
    let a = || ordered(unsigned, x[0].clone());
    let b = || ordered(unsigned, x[1].clone());
    Some(match f {
        Fn::Equal => i64x2_eq(x[0].clone(), x[1].clone()),
        Fn::Less => i64x2_lt_s(a(), b()),
        Fn::LessEqual => i64x2_le_s(a(), b()),
        Fn::Greater => i64x2_gt_s(a(), b()),
        Fn::GreaterEqual => i64x2_ge_s(a(), b()),
        Fn::IsNan | Fn::IsInf => zero(),
        _ => return None,
    })
}

/// The larger (or smaller) one.
fn extremum(k: &mut K, unsigned: bool, larger: bool, a: E<I64x2>, b: E<I64x2>) -> E<I64x2> {
    let (a, b) = (k.in_local("a", a), k.in_local("b", b));
    let is_greater = i64x2_gt_s(ordered(unsigned, a.get()), ordered(unsigned, b.get()));
    if larger { bitselect::<I64x2, I64x2>(is_greater, a, b) } else { bitselect::<I64x2, I64x2>(is_greater, b, a) }
}

fn half(k: &mut K, f: Fn, unsigned: bool, x: Vec<E<I64x2>>) -> E<I64x2> {
    let a = x[0].clone();
    let b = || x[1].clone();
    match f {
        Fn::Add => a + b(),
        Fn::Sub => a - b(),
        Fn::Mul => a * b(),
        Fn::Div | Fn::Mod | Fn::Fmod => divide(k, f, unsigned, a, b()),
        Fn::Pow => power(k, unsigned, a, b()),
        Fn::Min => extremum(k, unsigned, false, a, b()),
        Fn::Max => extremum(k, unsigned, true, a, b()),
        Fn::Clamp => {
            let raised = extremum(k, unsigned, true, a, b());
            extremum(k, unsigned, false, raised, x[2].clone())
        }
        Fn::And => a & b(),
        Fn::Or => a | b(),
        Fn::Xor => a ^ b(),
        Fn::Not => a ^ i64x2_splat(-1),
        Fn::Shl | Fn::Shr => shift(k, f, unsigned, a, b()),
        Fn::Neg => i64x2_neg(a),
        Fn::Relu if !unsigned => extremum(k, false, true, a, zero()),
        Fn::Abs if !unsigned => i64x2_abs(a),
        Fn::Sign if unsigned => i64x2_ne(a, zero::<I64x2>()) & i64x2_splat(1),
        Fn::Sign => {
            let a = k.in_local("a", a);
            i64x2_shr_s(a, 63) | (i64x2_gt_s(a, zero::<I64x2>()) & i64x2_splat(1))
        }
        // Roundings of integers, and what changes nothing unsigned.
        _ => a,
    }
}

/// Quotient or remainder; 0 where the divisor is 0.
fn divide(k: &mut K, f: Fn, unsigned: bool, a: E<I64x2>, b: E<I64x2>) -> E<I64x2> {
    let (a, b) = (k.in_local("dividend", a), k.in_local("divisor", b));
    let (one, minus_one) = (i64x2_splat(1), i64x2_splat(-1));
    // Divisors that could trap are replaced by 1, and their quotients afterwards.
    let is_zero = k.let_("is_zero", i64x2_eq(b, zero::<I64x2>()));
    let is_minus_one = k.let_("is_minus_one", i64x2_eq(b, minus_one));
    let traps = if unsigned { is_zero.get() } else { is_zero | is_minus_one };
    let safe = k.let_("safe", bitselect::<I64x2, I64x2>(traps, one, b));
    let lane = |i: u8| {
        let (a, b) = (i64x2_extract_lane(i, a), i64x2_extract_lane(i, safe));
        if unsigned { i64_div_u(a, b) } else { i64_div_s(a, b) }
    };
    let quotient = i64x2_replace_lane(1, i64x2_splat(lane(0)), lane(1));
    let quotient = if unsigned { quotient } else { bitselect::<I64x2, I64x2>(is_minus_one, i64x2_neg(a), quotient) };
    if f == Fn::Div {
        return andnot::<I64x2, I64x2>(quotient, is_zero);
    }
    let r = k.let_("r", andnot::<I64x2, I64x2>(a - quotient * b, is_zero));
    if f == Fn::Fmod || unsigned {
        return r.get();
    }
    let signs_differ = i64x2_shr_s(r ^ b, 63) & i64x2_ne(r, zero::<I64x2>());
    r + (signs_differ & b)
}

/// Lane by lane, each by its own number of bits.
fn shift(k: &mut K, f: Fn, unsigned: bool, a: E<I64x2>, b: E<I64x2>) -> E<I64x2> {
    let (a, b) = (k.in_local("a", a), k.in_local("b", b));
    let lane = |i: u8| {
        let (a, b) = (i64x2_extract_lane(i, a), i64x2_extract_lane(i, b));
        match f {
            Fn::Shl => i64_shl(a, b),
            _ if unsigned => i64_shr_u(a, b),
            _ => i64_shr_s(a, b),
        }
    };
    let moved = i64x2_replace_lane(1, i64x2_splat(lane(0)), lane(1));
    let is_whole = i64x2_ge_s(b, i64x2_splat(64)) | i64x2_lt_s(b, zero::<I64x2>());
    let rest = if f == Fn::Shr && !unsigned { i64x2_shr_s(a, 63) } else { zero() };
    bitselect::<I64x2, I64x2>(is_whole, rest, moved)
}

/// By repeated squaring; a negative exponent rounds towards zero.
fn power(k: &mut K, unsigned: bool, a: E<I64x2>, b: E<I64x2>) -> E<I64x2> {
    let (a, b) = (k.in_local("a", a), k.in_local("b", b));
    let one = i64x2_splat(1);
    let base = k.let_("base", a);
    let exponent = k.let_("exponent", b);
    let result = k.let_("result", one.clone());
    if !unsigned {
        // 1 and −1 have negative powers, those of their inverses, which are themselves.
        let is_unit = i64x2_eq(i64x2_abs(a), one.clone());
        let is_negative = k.let_("is_negative", i64x2_lt_s(b, zero::<I64x2>()));
        let is_lost = andnot::<I64x2, I64x2>(is_negative, is_unit);
        k.set(result, andnot::<I64x2, I64x2>(one.clone(), is_lost));
        k.set(exponent, bitselect::<I64x2, I64x2>(is_negative, b & one.clone(), b));
    }
    k.while_(v128_any_true(exponent.cast::<V128>()), |k| {
        let is_odd = i64x2_ne(exponent & one.clone(), zero::<I64x2>());
        k.set(result, bitselect::<I64x2, I64x2>(is_odd, result * base, result));
        k.set(base, base * base);
        k.set(exponent, i64x2_shr_u(exponent, 1));
    });
    result.get()
}
