//! Puts two expressions together: renumbers operands, shares equal ones, drops unused ones.

use ir::ValueId;
use ir::pointwise::{Fn, Operand, Pointwise};

/// An expression and the tensors that its arguments stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    pub expression: Pointwise,
    pub args: Vec<ValueId>,
}

/// `outer` with the argument that reads `joint` computed by `inner`. The first `fixed` arguments of `inner` keep their
/// numbers; all others are listed once and dropped when unused.
pub fn compose(outer: &Body, joint: ValueId, inner: &Body, fixed: usize) -> Body {
    let mut args = inner.args.clone();
    let mut number = vec![];
    // No tensor has this number: it marks the place where `inner` goes.
    const JOINT: usize = usize::MAX / 2;
    for arg in &outer.args {
        number.push(if *arg == joint {
            JOINT
        } else {
            let known = args[fixed..].iter().position(|a| a == arg);
            known.map_or_else(
                || {
                    args.push(*arg);
                    args.len() - 1
                },
                |at| fixed + at,
            )
        });
    }
    let expression = if outer.expression.is_identity() {
        inner.expression.clone()
    } else {
        outer.expression.map_args(|i| number[i]).substitute(JOINT, &inner.expression)
    };
    drop_unused(Body { expression: ordered(expression), args }, fixed)
}

/// Sums and products name results before tensors before literals, so that equal epilogues become equal kernels.
fn ordered(mut expression: Pointwise) -> Pointwise {
    let rank = |o: &Operand| match *o {
        Operand::Step(i) => (0, i),
        Operand::Arg(i) => (1, i),
        Operand::Literal(_) => (2, 0),
    };
    for step in expression.steps.iter_mut().filter(|s| matches!(s.f, Fn::Add | Fn::Mul)) {
        step.operands.sort_by_key(rank);
    }
    expression
}

/// Removes arguments from `fixed` on that the expression does not read.
pub fn drop_unused(body: Body, fixed: usize) -> Body {
    let mut used = vec![false; body.args.len()];
    used[..fixed].fill(true);
    if body.expression.is_identity() {
        used[0] = true;
    }
    for operand in body.expression.steps.iter().flat_map(|s| &s.operands) {
        if let Operand::Arg(i) = operand {
            used[*i] = true;
        }
    }
    let at = |i: usize| used[..i].iter().filter(|u| **u).count();
    Body { expression: body.expression.map_args(at), args: body.args.iter().zip(&used).filter(|(_, u)| **u).map(|(a, _)| *a).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(f: Fn, args: &[u32]) -> Body {
        Body { expression: Pointwise::of(f), args: args.iter().map(|a| ValueId(*a)).collect() }
    }

    #[test]
    fn arguments_are_shared_and_renumbered() {
        let inner = body(Fn::Add, &[10, 11]);
        let outer = body(Fn::Mul, &[11, 20]);
        let both = compose(&outer, ValueId(20), &inner, 0);
        assert_eq!(both.expression.to_string(), "{mul(add(%0, %1), %1)}");
        assert_eq!(both.args, [ValueId(10), ValueId(11)]);
    }

    #[test]
    fn fixed_arguments_are_not_shared() {
        // %0 of an epilogue is the operator's own result, whatever value stands in the list.
        let inner = Body { expression: Pointwise::identity(), args: vec![ValueId(20)] };
        let outer = body(Fn::Add, &[20, 20]);
        let both = compose(&outer, ValueId(20), &inner, 1);
        assert_eq!(both.expression.to_string(), "{add(%0, %0)}");
        assert_eq!(both.args, [ValueId(20)]);
    }

    #[test]
    fn two_uses_of_one_operand_become_one_step() {
        let inner = body(Fn::Sigmoid, &[10]);
        let outer = body(Fn::Mul, &[10, 20]);
        let both = compose(&outer, ValueId(20), &inner, 0);
        assert_eq!(both.expression.to_string(), "{mul(sigmoid(%0), %0)}");
    }
}
