//! `cast(clamp(add(round(x), zero), low, high))` to an integer of a byte, in a few instructions: a float between −2²² and
//! 2²² that is added to 1.5 · 2²³ is rounded to nearest even, ties too, and stands in the low bits of the sum.

use crate::lanes::Lanes;
use ir::pointwise::{Fn, Literal, Operand, Step};
use ir::{DType, Pointwise};
use kernel::{K, f32x4_eq, f32x4_pmax, f32x4_pmin};

/// The end of an expression that quantises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requantise {
    /// What is rounded: an argument or a step.
    pub of: Operand,
    zero: i32,
    low: i32,
    high: i32,
    to: DType,
}

/// The quantisation at the end of an expression, if it has this form and nothing else reads its steps.
pub fn find(body: &Pointwise, types: &[DType], results: &[DType]) -> Option<Requantise> {
    let uses = |i: usize| body.steps.iter().flat_map(|s| &s.operands).filter(|o| **o == Operand::Step(i)).count();
    let step = |o: Operand| match o {
        Operand::Step(i) if uses(i) == 1 => Some(&body.steps[i]),
        _ => None,
    };
    let Step { f: Fn::Cast(to @ (DType::U8 | DType::I8)), operands } = body.steps.last()? else { return None };
    let Step { f: Fn::Clamp, operands } = step(operands[0])? else { return None };
    let [sum, Operand::Literal(low), Operand::Literal(high)] = operands[..] else { return None };
    let (low, high) = (integer(low)?, integer(high)?);
    let (round, zero) = match step(sum)? {
        Step { f: Fn::Round, .. } => (sum, 0),
        Step { f: Fn::Add, operands } => match operands[..] {
            [round, Operand::Literal(zero)] | [Operand::Literal(zero), round] => (round, integer(zero)?),
            _ => return None,
        },
        _ => return None,
    };
    let Step { f: Fn::Round, operands } = step(round)? else { return None };
    let is_single = match operands[0] {
        Operand::Arg(i) => types[i] == DType::F32,
        Operand::Step(i) => results[i] == DType::F32,
        Operand::Literal(_) => false,
    };
    let (least, most) = if *to == DType::U8 { (0, 255) } else { (-128, 127) };
    let fits = is_single && least <= low && low <= high && high <= most;
    fits.then_some(Requantise { of: operands[0], zero, low, high, to: *to })
}

/// A whole number that is small enough for everything here.
fn integer(literal: Literal) -> Option<i32> {
    let x = literal.to_f64();
    (x.fract() == 0.0 && x.abs() <= 65536.0).then_some(x as i32)
}

/// The quantised values, in range, as 32-bit lanes.
pub fn emit(k: &mut K, form: &Requantise, x: Lanes) -> Lanes {
    const MAGIC: f32 = 12_582_912.0;
    let Lanes::F32(x) = x else { panic!("floats are quantised, not {x:?}") };
    // NaN becomes 0: the lower bound, or by a mask.
    let is_bound = form.to == DType::U8 && form.low == 0;
    let x = if is_bound { x } else { k.in_local("x", x).get() };
    let (low, high) = (k.constant((form.low - form.zero) as f32), k.constant((form.high - form.zero) as f32));
    let (magic, offset) = (k.constant(MAGIC), k.constant_i32x4(MAGIC.to_bits() as i32 - form.zero));
    // Bounds are whole numbers, so that clamping before rounding is the same as after. The first operand stays where the
    // second one is NaN.
    let clamped = f32x4_pmin(high, f32x4_pmax(low, x.clone()));
    let rounded = (clamped + magic).cast::<kernel::I32x4>() - offset;
    Lanes::I32(if is_bound { rounded } else { rounded & f32x4_eq(x.clone(), x).cast::<kernel::I32x4>() })
}
