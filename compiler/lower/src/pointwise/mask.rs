//! Bools as masks: logic, comparison and selection.

use crate::lanes::{Lanes, zero};
use ir::pointwise::Fn;
use kernel::{
    E, I32x4, I64x2, K, V128, andnot, bitselect, i32x4_eq, i64x2_extend_high_i32x4_s, i64x2_extend_low_i32x4_s, shuffle32, v128_not,
};

/// The functions of bools.
pub const HAS: &[Fn] = &[Fn::And, Fn::Or, Fn::Xor, Fn::Not, Fn::Add, Fn::Mul, Fn::Min, Fn::Max];

pub fn not(mask: E<I32x4>) -> E<I32x4> {
    v128_not(mask.cast::<V128>()).cast()
}

pub fn apply(_k: &mut K, f: Fn, x: Vec<Lanes>) -> Lanes {
    let mut x = x.into_iter().map(|x| match x {
        Lanes::Mask(x) => x,
        other => panic!("a mask was expected, not {other:?}"),
    });
    let a = x.next().expect("an operand");
    let mut b = || x.next().expect("two operands");
    Lanes::Mask(match f {
        Fn::And | Fn::Mul | Fn::Min => a & b(),
        Fn::Or | Fn::Add | Fn::Max => a | b(),
        Fn::Xor => a ^ b(),
        Fn::Not => not(a),
        Fn::Equal => i32x4_eq(a, b()),
        Fn::Less => andnot::<I32x4, I32x4>(b(), a),
        Fn::Greater => andnot::<I32x4, I32x4>(a, b()),
        Fn::LessEqual => not(andnot::<I32x4, I32x4>(a, b())),
        Fn::GreaterEqual => not(andnot::<I32x4, I32x4>(b(), a)),
        Fn::IsNan | Fn::IsInf => zero(),
        f => panic!("no `{}` of bools", f.name()),
    })
}

/// A mask of four lanes as two masks of two wide lanes.
pub fn widen(k: &mut K, mask: E<I32x4>) -> [E<I64x2>; 2] {
    let mask = k.in_local("mask", mask);
    [i64x2_extend_low_i32x4_s(mask), i64x2_extend_high_i32x4_s(mask)]
}

/// The reverse of [`widen`].
pub fn narrow([low, high]: [E<I64x2>; 2]) -> E<I32x4> {
    shuffle32::<I32x4>([0, 2, 4, 6], low.cast(), high.cast())
}

/// `x[0]` where the mask is set, else `x[1]`.
pub fn select(k: &mut K, test: E<I32x4>, mut x: Vec<Lanes>) -> Lanes {
    let (otherwise, then) = (x.pop().expect("two values"), x.pop().expect("two values"));
    match (then, otherwise) {
        (Lanes::F32(a), Lanes::F32(b)) => Lanes::F32(bitselect(test, a, b)),
        (Lanes::I32(a), Lanes::I32(b)) => Lanes::I32(bitselect(test, a, b)),
        (Lanes::Mask(a), Lanes::Mask(b)) => Lanes::Mask(bitselect(test, a, b)),
        (Lanes::I64([a, c]), Lanes::I64([b, d])) => {
            let [low, high] = widen(k, test);
            Lanes::I64([bitselect(low, a, b), bitselect(high, c, d)])
        }
        (Lanes::F64([a, c]), Lanes::F64([b, d])) => {
            let [low, high] = widen(k, test);
            Lanes::F64([bitselect(low, a, b), bitselect(high, c, d)])
        }
        (a, b) => panic!("values of one type were expected, not {a:?} and {b:?}"),
    }
}
