//! `cast(clamp(add(round(x), zero), low, high))` to an integer of a byte, in a few instructions: a float between −2²² and
//! 2²² that is added to 1.5 · 2²³ is rounded to nearest even, ties too, and stands in the low bits of the sum.

use crate::lanes::Lanes;
use ir::pointwise::{Fn, Literal, Operand, Step};
use ir::{DType, Pointwise, Tensor};
use kernel::{K, f32x4_eq, f32x4_pmax, f32x4_pmin};
use std::sync::Arc;

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

impl Requantise {
    /// Whether all values of the type can come out.
    fn spans(&self) -> bool {
        (self.low, self.high) == if self.to == DType::U8 { (0, 255) } else { (-128, 127) }
    }
}

/// A bound of the magnitudes of an operand's elements.
pub fn magnitude(constant: &Option<Arc<Tensor>>, dtype: DType) -> f64 {
    match (constant, dtype) {
        (Some(tensor), _) => {
            tensor.to_f64s().iter().fold(0.0, |most: f64, x| if x.is_finite() { most.max(x.abs()) } else { f64::INFINITY })
        }
        (None, DType::U8 | DType::I8) => 255.0,
        _ => f64::INFINITY,
    }
}

/// Whether an expression quantises numbers of less than 2²¹ to all values of their type: then a saturating conversion is
/// all that bounds them. `magnitudes` bounds those of the arguments.
pub fn saturates(body: &Pointwise, types: &[DType], magnitudes: &[f64]) -> bool {
    let Ok(results) = body.step_types(types) else { return false };
    let Some(form) = find(body, types, &results).filter(Requantise::spans) else { return false };
    let mut known: Vec<f64> = vec![];
    let of = |o: &Operand, known: &[f64]| match *o {
        Operand::Arg(i) => magnitudes[i],
        Operand::Step(i) => known[i],
        Operand::Literal(literal) => literal.to_f64().abs(),
    };
    for step in &body.steps {
        let x: Vec<f64> = step.operands.iter().map(|o| of(o, &known)).collect();
        known.push(match step.f {
            Fn::Add | Fn::Sub => x[0] + x[1],
            Fn::Mul => x[0] * x[1],
            Fn::Relu | Fn::Neg | Fn::Abs | Fn::Round | Fn::Cast(DType::F32 | DType::I32) => x[0],
            Fn::Min | Fn::Max | Fn::Clamp => x.into_iter().fold(0.0, f64::max),
            _ => f64::INFINITY,
        });
    }
    of(&form.of, &known) + f64::from(form.zero).abs() < f64::from(1 << 21)
}

/// A whole number that is small enough for everything here.
fn integer(literal: Literal) -> Option<i32> {
    let x = literal.to_f64();
    (x.fract() == 0.0 && x.abs() <= 65536.0).then_some(x as i32)
}

/// 1.5 · 2²³
const MAGIC: f32 = 12_582_912.0;

/// The quantised values as 32-bit lanes, not yet in the range of their type. Precondition: [`saturates`].
pub fn emit_uncut(k: &mut K, form: &Requantise, x: Lanes) -> Lanes {
    let Lanes::F32(x) = x else { panic!("floats are quantised, not {x:?}") };
    let (magic, offset) = (k.constant(MAGIC), k.constant_i32x4(MAGIC.to_bits() as i32 - form.zero));
    Lanes::I32((x + magic).cast::<kernel::I32x4>() - offset)
}

/// The quantised values, in range, as 32-bit lanes.
pub fn emit(k: &mut K, form: &Requantise, x: Lanes) -> Lanes {
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
