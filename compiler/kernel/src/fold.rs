//! Simplification while expressions are built: constants folded, address constants moved into load and store offsets,
//! multiplications by powers of two made shifts. Only `i32` arithmetic, only what one node and its operands show; the
//! baseline tiers of engines do none of it. It relies on addresses never wrapping around 2³² (see [`crate::K`]).

use crate::eval::{RelaxedSemantics, eval_op};
use crate::instr::{Imm, Instr};
use crate::ir::{Const, Expr, Load, Ty};

impl Expr {
    /// The operator applied to `args`, simplified.
    pub fn op(instr: Instr, imm: Imm, mut args: Vec<Expr>) -> Expr {
        if let Some(folded) = fold_constants(instr, imm, &args) {
            return folded;
        }
        if args.len() == 2 {
            let b = args.pop().expect("two operands");
            let a = args.pop().expect("two operands");
            return match instr {
                Instr::I32Add => add(a, b),
                Instr::I32Sub => match b.as_i32() {
                    Some(b) => add(a, Expr::i32(b.wrapping_neg())),
                    None => sub(a, b),
                },
                Instr::I32Mul => mul(a, b),
                Instr::I32Shl => match b.as_i32() {
                    Some(b) => mul_const(a, 1i32.wrapping_shl(b as u32)),
                    None => binary(instr, a, b),
                },
                Instr::I32ShrU | Instr::I32ShrS | Instr::I32Or | Instr::I32Xor if b.as_i32() == Some(0) => a,
                Instr::I32DivU if b.as_i32() == Some(1) => a,
                Instr::I32DivU if power_of_two(&b).is_some() => binary(Instr::I32ShrU, a, Expr::i32(power_of_two(&b).unwrap_or(0))),
                Instr::I32RemU if power_of_two(&b).is_some() => {
                    let mask = b.as_i32().unwrap_or(0).wrapping_sub(1);
                    Expr::op(Instr::I32And, Imm::None, vec![a, Expr::i32(mask)])
                }
                Instr::I32And if b.as_i32() == Some(-1) => a,
                Instr::I32And if b.as_i32() == Some(0) && !may_trap(&a) => b,
                _ => Expr::Op { instr, imm, args: vec![a, b] },
            };
        }
        Expr::Op { instr, imm, args }
    }

    /// The load, with a constant part of its address moved into its offset.
    pub fn load(mut load: Load) -> Expr {
        (load.addr, load.offset) = split_address(load.addr, load.offset);
        Expr::Load(Box::new(load))
    }
}

/// Moves a constant part of `addr` into `offset` where the sum is a valid offset.
pub fn split_address(addr: Expr, offset: u32) -> (Expr, u32) {
    let (base, constant) = split_constant(addr);
    let total = i64::from(offset) + i64::from(constant);
    match u32::try_from(total) {
        // An offset beyond 2³¹ is a negative address constant in disguise: leave it where it wraps.
        Ok(total) if total <= i32::MAX as u32 => (base, total),
        _ => (add(base, Expr::i32(constant)), offset),
    }
}

/// `expr` as `base + constant`; a lone constant is `0 + constant`.
fn split_constant(expr: Expr) -> (Expr, i32) {
    match expr {
        Expr::Const(Const::I32(value)) => (Expr::i32(0), value),
        Expr::Op { instr: Instr::I32Add, imm, mut args } => match args[1].as_i32() {
            Some(value) => (args.swap_remove(0), value),
            None => (Expr::Op { instr: Instr::I32Add, imm, args }, 0),
        },
        other => (other, 0),
    }
}

/// A sum whose constant part, if any, is the outermost right operand.
fn add(a: Expr, b: Expr) -> Expr {
    let (a, constant_a) = split_constant(a);
    let (b, constant_b) = split_constant(b);
    let base = match (a.as_i32(), b.as_i32()) {
        (Some(0), _) => b,
        (_, Some(0)) => a,
        _ => binary(Instr::I32Add, a, b),
    };
    with_constant(base, constant_a.wrapping_add(constant_b))
}

/// A difference with the same shape of constants; the subtrahend is not constant.
fn sub(a: Expr, b: Expr) -> Expr {
    let (a, constant_a) = split_constant(a);
    let (b, constant_b) = split_constant(b);
    with_constant(binary(Instr::I32Sub, a, b), constant_a.wrapping_sub(constant_b))
}

fn with_constant(base: Expr, constant: i32) -> Expr {
    match (base.as_i32(), constant) {
        (Some(base), constant) => Expr::i32(base.wrapping_add(constant)),
        (None, 0) => base,
        (None, constant) => binary(Instr::I32Add, base, Expr::i32(constant)),
    }
}

fn mul(a: Expr, b: Expr) -> Expr {
    match (a.as_i32(), b.as_i32()) {
        (_, Some(k)) => mul_const(a, k),
        (Some(k), _) => mul_const(b, k),
        _ => binary(Instr::I32Mul, a, b),
    }
}

/// `a·k`, distributed over a constant part of `a`.
fn mul_const(a: Expr, k: i32) -> Expr {
    if k == 0 && !may_trap(&a) {
        return Expr::i32(0);
    }
    let (base, constant) = split_constant(a);
    let constant = constant.wrapping_mul(k);
    let scaled = match base {
        base if k == 1 || base.as_i32() == Some(0) => base,
        Expr::Op { instr: Instr::I32Shl, args, .. } if args[1].as_i32().is_some() => {
            let [base, shift] = <[Expr; 2]>::try_from(args).expect("a shift has two operands");
            let factor = 1i32.wrapping_shl(shift.as_i32().unwrap_or(0) as u32);
            scale(base, factor.wrapping_mul(k))
        }
        Expr::Op { instr: Instr::I32Mul, args, .. } if args[1].as_i32().is_some() => {
            let [base, factor] = <[Expr; 2]>::try_from(args).expect("a product has two operands");
            scale(base, factor.as_i32().unwrap_or(0).wrapping_mul(k))
        }
        base => scale(base, k),
    };
    with_constant(scaled, constant)
}

fn scale(base: Expr, k: i32) -> Expr {
    match power_of_two(&Expr::i32(k)) {
        Some(0) => base,
        Some(shift) => binary(Instr::I32Shl, base, Expr::i32(shift)),
        None => binary(Instr::I32Mul, base, Expr::i32(k)),
    }
}

fn power_of_two(expr: &Expr) -> Option<i32> {
    let value = expr.as_i32()? as u32;
    value.is_power_of_two().then(|| value.trailing_zeros() as i32)
}

fn fold_constants(instr: Instr, imm: Imm, args: &[Expr]) -> Option<Expr> {
    let signature = instr.signature();
    let foldable = signature.result == Ty::I32 && signature.params.iter().all(|&ty| ty == Ty::I32);
    // The zero vector is the one vector constant that is cheaper than its splat.
    let zero_splat = matches!(
        (instr, args),
        (Instr::F32x4Splat, [Expr::Const(Const::F32(0))])
            | (Instr::I32x4Splat | Instr::I16x8Splat | Instr::I8x16Splat, [Expr::Const(Const::I32(0))])
    );
    if zero_splat {
        return Some(Expr::Const(Const::V128(0)));
    }
    if !foldable || args.len() > 3 {
        return None;
    }
    let mut bits = [0; 3];
    for (bits, arg) in bits.iter_mut().zip(args) {
        *bits = arg.as_i32().map(|value| Const::I32(value).bits())?;
    }
    let value = eval_op(instr, imm, &bits, &RelaxedSemantics::default())?;
    Some(Expr::Const(Const::from_bits(Ty::I32, value)))
}

fn binary(instr: Instr, a: Expr, b: Expr) -> Expr {
    Expr::Op { instr, imm: Imm::None, args: vec![a, b] }
}

fn may_trap(expr: &Expr) -> bool {
    let mut traps = false;
    expr.walk(&mut |e| match e {
        Expr::Load(_) => traps = true,
        Expr::Op { instr, .. } => traps |= instr.may_trap(),
        _ => {}
    });
    traps
}
