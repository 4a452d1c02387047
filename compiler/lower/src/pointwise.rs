//! Pointwise expressions as SIMD code, four elements at a time. The meaning is that of `ir::ops::map::scalar`, except
//! that 16-bit floats are rounded once at the end instead of after every step. How values are loaded and stored is
//! `lanes`.

use crate::lanes::Lanes;
use ir::pointwise::{Fn, Literal, Operand, Step, Typing};
use ir::{DType, Element, Pointwise, for_dtype};
use kernel::{E, I64x2, K, i64x2_splat};

mod cast;
mod double;
mod float;
mod int;
mod mask;
mod requantise;
mod trig;
mod wide;

/// True when every step of the expression can be computed in kernels for these argument types; else what cannot.
pub fn supported(body: &Pointwise, types: &[DType]) -> Result<(), String> {
    let results = body.step_types(types)?;
    for step in &body.steps {
        let dtype = operand_type(step, types, &results);
        if !has(step.f, dtype) {
            return Err(format!("`{}` of {dtype}", step.f.name()));
        }
    }
    Ok(())
}

/// The value of the expression for one group of four elements. Precondition: [`supported`].
pub fn emit(k: &mut K, body: &Pointwise, types: &[DType], args: &[Lanes]) -> Lanes {
    emit_after(k, body, types, args, &Hoisted::default())
}

/// Steps of an expression whose values are in locals already.
#[derive(Debug, Clone, Default)]
pub struct Hoisted(Vec<Option<Lanes>>);

impl Hoisted {
    /// Of an expression of so many steps, none.
    pub fn none(steps: usize) -> Hoisted {
        Hoisted(vec![None; steps])
    }

    /// The same with the value of one more step.
    pub fn with(&self, step: usize, value: Lanes) -> Hoisted {
        let mut steps = self.0.clone();
        steps[step] = Some(value);
        Hoisted(steps)
    }
}

/// Computes the steps that need no other arguments than those given.
pub fn hoist(k: &mut K, body: &Pointwise, types: &[DType], args: &[Option<Lanes>]) -> Hoisted {
    let results = body.step_types(types).expect("checked by `supported`");
    let mut values: Vec<Option<Lanes>> = vec![];
    for (i, step) in body.steps.iter().enumerate() {
        let known = step.operands.iter().all(|o| match *o {
            Operand::Arg(a) => args[a].is_some(),
            Operand::Step(s) => values[s].is_some(),
            Operand::Literal(_) => true,
        });
        let value = known.then(|| apply_step(k, step, operand_type(step, types, &results), args, &values).bind(k));
        debug_assert_eq!(values.len(), i);
        values.push(value);
    }
    Hoisted(values)
}

pub use requantise::{magnitude, saturates};

/// [`emit_after`] of an expression that [`saturates`], without cutting the values to the range of their type.
pub fn emit_uncut(k: &mut K, body: &Pointwise, types: &[DType], args: &[Lanes], hoisted: &Hoisted) -> Lanes {
    let results = body.step_types(types).expect("checked by `supported`");
    let form = requantise::find(body, types, &results).expect("the expression saturates");
    let x = emit_operand(k, body, types, args, hoisted, form.of);
    requantise::emit_uncut(k, &form, x)
}

/// The value of an argument or a step.
fn emit_operand(k: &mut K, body: &Pointwise, types: &[DType], args: &[Lanes], hoisted: &Hoisted, of: Operand) -> Lanes {
    match of {
        Operand::Step(last) => emit_after(k, &Pointwise { steps: body.steps[..=last].to_vec() }, types, args, hoisted),
        Operand::Arg(i) => args[i].clone(),
        Operand::Literal(_) => panic!("literals are not computed"),
    }
}

/// [`emit`], with some steps computed before.
pub fn emit_after(k: &mut K, body: &Pointwise, types: &[DType], args: &[Lanes], hoisted: &Hoisted) -> Lanes {
    let results = body.step_types(types).expect("checked by `supported`");
    let given = |s: usize| hoisted.0.get(s).cloned().flatten();
    if let Some(form) = requantise::find(body, types, &results).filter(|_| given(body.steps.len() - 1).is_none()) {
        let x = emit_operand(k, body, types, args, hoisted, form.of);
        return requantise::emit(k, &form, x);
    }
    let needed = needed(body, |s| given(s).is_some());
    let uses = |operand: Operand| {
        let steps = body.steps.iter().zip(&needed).filter(|(_, needed)| **needed);
        steps.flat_map(|(s, _)| &s.operands).filter(|o| **o == operand).count()
    };
    let used = |i: usize| i == 0 && body.is_identity() || uses(Operand::Arg(i)) > 0;
    let args: Vec<Option<Lanes>> = (0..args.len())
        .map(|i| used(i).then(|| if uses(Operand::Arg(i)) > 1 { args[i].clone().bind(k) } else { args[i].clone() }))
        .collect();
    let mut values: Vec<Option<Lanes>> = vec![];
    for (i, step) in body.steps.iter().enumerate() {
        let value = match given(i) {
            Some(value) => Some(value),
            None if !needed[i] => None,
            None => {
                let value = apply_step(k, step, operand_type(step, types, &results), &args, &values);
                Some(if uses(Operand::Step(i)) > 1 { value.bind(k) } else { value })
            }
        };
        values.push(value);
    }
    values.pop().unwrap_or_else(|| args[0].clone()).expect("the result is needed")
}

/// Which steps must be computed for the last one, when some are given.
fn needed(body: &Pointwise, given: impl std::ops::Fn(usize) -> bool) -> Vec<bool> {
    let mut needed = vec![false; body.steps.len()];
    if let Some(last) = needed.last_mut() {
        *last = true;
    }
    for i in (0..body.steps.len()).rev() {
        needed[i] &= !given(i);
        if needed[i] {
            body.steps[i].operands.iter().for_each(|o| {
                if let Operand::Step(s) = o {
                    needed[*s] = true;
                }
            });
        }
    }
    needed
}

/// Every lane the literal, as an element of `dtype`.
pub fn splat(k: &mut K, dtype: DType, literal: Literal) -> Lanes {
    match dtype {
        DType::F64 => {
            let x = k.constant_f64(literal.to_f64()).get();
            Lanes::F64([x.clone(), x])
        }
        dtype if dtype.is_float() => {
            let rounded = for_dtype!(dtype, T => element::<T>(literal).to_f64());
            Lanes::F32(k.constant(rounded as f32).get())
        }
        _ => {
            let value = for_dtype!(dtype, T => element::<T>(literal).to_i64());
            match dtype {
                DType::I64 | DType::U64 => Lanes::I64([wide_splat(value), wide_splat(value)]),
                DType::Bool => Lanes::Mask(k.constant_i32x4(-i32::from(value != 0)).get()),
                _ => Lanes::I32(k.constant_i32x4(value as i32).get()),
            }
        }
    }
}

/// The literal as an element.
pub fn element<T: Element>(literal: Literal) -> T {
    match literal {
        Literal::Float(x) => T::from_f64(x),
        Literal::Int(i) => T::from_i64(i),
    }
}

fn wide_splat(value: i64) -> E<I64x2> {
    i64x2_splat(value)
}

/// One function of two operands of one type.
pub fn binary(k: &mut K, f: Fn, dtype: DType, a: Lanes, b: Lanes) -> Lanes {
    apply(k, f, dtype, vec![a, b], &[None, None])
}

/// `then` where the mask is set, else `otherwise`.
pub fn select(k: &mut K, test: E<kernel::I32x4>, then: Lanes, otherwise: Lanes) -> Lanes {
    mask::select(k, test, vec![then, otherwise])
}

/// The type of a step's values: that of the last operand that is no literal (the first one of select is its test).
fn operand_type(step: &Step, args: &[DType], results: &[DType]) -> DType {
    let known = step.operands.iter().rev().find_map(|o| match *o {
        Operand::Arg(i) => Some(args[i]),
        Operand::Step(i) => Some(results[i]),
        Operand::Literal(_) => None,
    });
    known.expect("checked by `step_types`")
}

fn apply_step(k: &mut K, step: &Step, dtype: DType, args: &[Option<Lanes>], values: &[Option<Lanes>]) -> Lanes {
    let mut literals = vec![];
    let operands = step.operands.iter().map(|o| {
        literals.push(match o {
            Operand::Literal(l) => Some(*l),
            _ => None,
        });
        match *o {
            Operand::Arg(i) => args[i].clone().expect("the argument is needed"),
            Operand::Step(i) => values[i].clone().expect("the step is needed"),
            Operand::Literal(l) => splat(k, dtype, l),
        }
    });
    let operands: Vec<Lanes> = operands.collect();
    apply(k, step.f, dtype, operands, &literals)
}

/// True for functions of one or a few instructions.
pub fn is_cheap(f: Fn) -> bool {
    matches!(f, Fn::Cast(_) | Fn::Bits(_) | Fn::Select | Fn::And | Fn::Or | Fn::Xor | Fn::Not)
        || f.typing() == Typing::Test
        || float::BASIC.contains(&f)
}

/// Whether the function exists in kernels for operands of a type.
fn has(f: Fn, dtype: DType) -> bool {
    if matches!(f, Fn::Cast(_) | Fn::Bits(_) | Fn::Select | Fn::Equal) || f.typing() == Typing::Test {
        return true;
    }
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => !matches!(f, Fn::And | Fn::Or | Fn::Xor | Fn::Not | Fn::Shl | Fn::Shr),
        DType::F64 => float::BASIC.contains(&f) || float::DOUBLE.contains(&f),
        dtype if dtype.is_narrow_float() => false,
        DType::Bool => mask::HAS.contains(&f),
        _ => int::HAS.contains(&f),
    }
}

/// One function; `dtype` is the type of its value operands, `literals` says which of them are literals.
fn apply(k: &mut K, f: Fn, dtype: DType, mut x: Vec<Lanes>, literals: &[Option<Literal>]) -> Lanes {
    if let Fn::Cast(to) = f {
        return cast::cast(k, dtype, to, x.remove(0));
    }
    if let Fn::Bits(to) = f {
        return cast::reinterpret(k, dtype, to, x.remove(0));
    }
    if f == Fn::Select {
        let Lanes::Mask(test) = x.remove(0) else { panic!("select needs a bool first operand") };
        return mask::select(k, test, x);
    }
    match &x[0] {
        Lanes::F32(_) => float::single(k, f, x, literals),
        Lanes::F64(_) => float::double(k, f, x, literals),
        Lanes::I32(_) => int::apply(k, f, dtype, x),
        Lanes::I64(_) => wide::apply(k, f, dtype == DType::U64, x),
        Lanes::Mask(_) => mask::apply(k, f, x),
    }
}
