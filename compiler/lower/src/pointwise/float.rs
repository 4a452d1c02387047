//! Floats: arithmetic and rounding in both precisions, elementary functions of `f32`. Those without an instruction are
//! in `kernel::math`, `kernel::math64` and `trig`.

use super::{double, mask, trig};
use crate::lanes::Lanes;
use ir::pointwise::{Fn, Literal};
use kernel::*;

/// The functions that both precisions have, tests not counted.
pub const BASIC: &[Fn] = &[
    Fn::Add,
    Fn::Sub,
    Fn::Mul,
    Fn::Div,
    Fn::Min,
    Fn::Max,
    Fn::Clamp,
    Fn::Relu,
    Fn::Neg,
    Fn::Abs,
    Fn::Sign,
    Fn::Sqrt,
    Fn::Reciprocal,
    Fn::Floor,
    Fn::Ceil,
    Fn::Round,
    Fn::Trunc,
];

/// The functions of f64 beyond these.
pub const DOUBLE: &[Fn] = &[Fn::Exp, Fn::Log, Fn::Mod, Fn::Fmod];

macro_rules! basics {
    ($name:ident $v:ident $m:ident $constant:ident: $min:ident $max:ident $pmin:ident $pmax:ident $eq:ident $ne:ident $lt:ident $gt:ident
     $le:ident $ge:ident $abs:ident $sqrt:ident $floor:ident $ceil:ident $nearest:ident $trunc:ident) => {
        mod $name {
            use super::*;

            /// Functions and tests (as masks) of one vector.
            pub fn apply(k: &mut K, f: Fn, x: &[E<$v>], literals: &[bool]) -> E<$v> {
                let a = || x[0].clone();
                let b = || x[1].clone();
                match f {
                    Fn::Add => a() + b(),
                    Fn::Sub => a() - b(),
                    Fn::Mul => a() * b(),
                    Fn::Div => a() / b(),
                    // A literal bound is never NaN: the one-instruction form that keeps the data's NaN.
                    Fn::Min if literals[1] => $pmin(a(), b()),
                    Fn::Min if literals[0] => $pmin(b(), a()),
                    Fn::Min => $min(a(), b()),
                    Fn::Max if literals[1] => $pmax(a(), b()),
                    Fn::Max if literals[0] => $pmax(b(), a()),
                    Fn::Max => $max(a(), b()),
                    Fn::Clamp => {
                        let raised = apply(k, Fn::Max, &x[..2], &literals[..2]);
                        apply(k, Fn::Min, &[raised, x[2].clone()], &[false, literals[2]])
                    }
                    Fn::Relu => $pmax(a(), k.$constant(0.0)),
                    Fn::Neg => -a(),
                    Fn::Abs => $abs(a()),
                    Fn::Sign => {
                        let x = k.in_local("x", a());
                        let (zero, one, minus_one) = (k.$constant(0.0), k.$constant(1.0), k.$constant(-1.0));
                        let positive = $gt(x, zero).cast::<$v>() & one;
                        let negative = $lt(x, zero).cast::<$v>() & minus_one;
                        positive | negative | ($ne(x, x).cast::<$v>() & x)
                    }
                    Fn::Sqrt => $sqrt(a()),
                    Fn::Reciprocal => k.$constant(1.0) / a(),
                    Fn::Floor => $floor(a()),
                    Fn::Ceil => $ceil(a()),
                    Fn::Round => $nearest(a()),
                    Fn::Trunc => $trunc(a()),
                    f => panic!("no `{}` of {}", f.name(), stringify!($v)),
                }
            }

            pub fn test(k: &mut K, f: Fn, x: &[E<$v>]) -> Option<E<$m>> {
                let a = || x[0].clone();
                let b = || x[1].clone();
                Some(match f {
                    Fn::Equal => $eq(a(), b()),
                    Fn::Less => $lt(a(), b()),
                    Fn::LessEqual => $le(a(), b()),
                    Fn::Greater => $gt(a(), b()),
                    Fn::GreaterEqual => $ge(a(), b()),
                    Fn::IsNan => {
                        let x = k.in_local("x", a());
                        $ne(x, x)
                    }
                    Fn::IsInf => $eq($abs(a()), k.$constant(f64::INFINITY as _)),
                    _ => return None,
                })
            }
        }
    };
}

basics!(f32_basics F32x4 I32x4 constant: f32x4_min f32x4_max f32x4_pmin f32x4_pmax f32x4_eq f32x4_ne f32x4_lt f32x4_gt f32x4_le f32x4_ge
    f32x4_abs f32x4_sqrt f32x4_floor f32x4_ceil f32x4_nearest f32x4_trunc);
basics!(f64_basics F64x2 I64x2 constant_f64: f64x2_min f64x2_max f64x2_pmin f64x2_pmax f64x2_eq f64x2_ne f64x2_lt f64x2_gt f64x2_le f64x2_ge
    f64x2_abs f64x2_sqrt f64x2_floor f64x2_ceil f64x2_nearest f64x2_trunc);

/// Which operands are literal numbers.
fn numbers(literals: &[Option<Literal>]) -> Vec<bool> {
    literals.iter().map(|l| l.is_some_and(|l| !l.to_f64().is_nan())).collect()
}

pub fn single(k: &mut K, f: Fn, x: Vec<Lanes>, literals: &[Option<Literal>]) -> Lanes {
    let x: Vec<E<F32x4>> = x.into_iter().map(|x| if let Lanes::F32(x) = x { x } else { panic!("f32 was expected, not {x:?}") }).collect();
    if let Some(mask) = f32_basics::test(k, f, &x) {
        return Lanes::Mask(mask);
    }
    if BASIC.contains(&f) {
        return Lanes::F32(f32_basics::apply(k, f, &x, &numbers(literals)));
    }
    let a = x[0].clone();
    let b = || x[1].clone();
    Lanes::F32(match f {
        Fn::Pow => power(k, a, b(), literals[1]),
        Fn::Fmod => trig::fmod(k, a, b(), false),
        Fn::Mod => trig::fmod(k, a, b(), true),
        Fn::Exp => math::exp(k, a),
        Fn::Log => math::log(k, a),
        Fn::Sin => math64::sin(k, a),
        Fn::Cos => math64::cos(k, a),
        Fn::Tan => trig::tan(k, a),
        Fn::Asin => trig::asin(k, a),
        Fn::Acos => trig::acos(k, a),
        Fn::Atan => trig::atan(k, a),
        Fn::Sinh => trig::sinh(k, a),
        Fn::Cosh => trig::cosh(k, a),
        Fn::Tanh => math::tanh(k, a),
        Fn::Asinh => trig::asinh(k, a),
        Fn::Acosh => trig::acosh(k, a),
        Fn::Atanh => trig::atanh(k, a),
        Fn::Erf => math::erf(k, a),
        Fn::Sigmoid => math::sigmoid(k, a),
        Fn::Softplus => math::softplus(k, a),
        f => panic!("no `{}` of f32", f.name()),
    })
}

/// Small literal exponents without logarithms.
fn power(k: &mut K, x: E<F32x4>, y: E<F32x4>, literal: Option<Literal>) -> E<F32x4> {
    match literal.map(Literal::to_f64) {
        Some(1.0) => x,
        Some(2.0) => {
            let x = k.in_local("x", x);
            x * x
        }
        Some(3.0) => {
            let x = k.in_local("x", x);
            x * x * x
        }
        Some(-1.0) => k.constant(1.0) / x,
        _ => math64::pow(k, x, y),
    }
}

pub fn double(k: &mut K, f: Fn, x: Vec<Lanes>, literals: &[Option<Literal>]) -> Lanes {
    let halves = |h: usize| -> Vec<E<F64x2>> {
        x.iter().map(|x| if let Lanes::F64(x) = x { x[h].clone() } else { panic!("f64 was expected, not {x:?}") }).collect()
    };
    let (low, high) = (halves(0), halves(1));
    if let Some(low) = f64_basics::test(k, f, &low) {
        let high = f64_basics::test(k, f, &high).expect("a test is one for both halves");
        return Lanes::Mask(mask::narrow([low, high]));
    }
    if DOUBLE.contains(&f) {
        let mut one = |x: Vec<E<F64x2>>| {
            let a = x[0].clone();
            match f {
                Fn::Exp => double::exp(k, a),
                Fn::Log => double::log(k, a),
                _ => double::remainder(k, a, x[1].clone(), f == Fn::Mod),
            }
        };
        return Lanes::F64([one(low), one(high)]);
    }
    let literals = numbers(literals);
    Lanes::F64([f64_basics::apply(k, f, &low, &literals), f64_basics::apply(k, f, &high, &literals)])
}
