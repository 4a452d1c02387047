//! Builds the expressions of quantised layers: from elements of grids to real numbers, through what the layer computes,
//! and back to elements.

use super::grid::Grid;
use ir::pointwise::{Fn, Literal, Operand, Pointwise};
use ir::{DType, ValueId};

/// An expression under construction and the tensors that its arguments stand for.
#[derive(Debug, Default)]
pub struct Builder {
    pub expression: Pointwise,
    pub args: Vec<ValueId>,
    /// The first arguments are given and stand for no tensor of `args`.
    fixed: usize,
}

impl Builder {
    /// `fixed` arguments are the operator's own result, or nothing.
    pub fn new(fixed: usize) -> Builder {
        Builder { fixed, ..Builder::default() }
    }

    pub fn arg(&mut self, value: ValueId) -> Operand {
        let at = self.args.iter().position(|a| *a == value).unwrap_or_else(|| {
            self.args.push(value);
            self.args.len() - 1
        });
        Operand::Arg(self.fixed + at)
    }

    pub fn push(&mut self, f: Fn, operands: impl Into<Vec<Operand>>) -> Operand {
        self.expression.push(f, operands.into())
    }

    pub fn number(x: f32) -> Operand {
        Operand::Literal(Literal::Float(x.into()))
    }

    pub fn scaled(&mut self, x: Operand, by: f32) -> Operand {
        if by == 1.0 { x } else { self.push(Fn::Mul, [x, Self::number(by)]) }
    }

    /// The real numbers of `elements`, times a factor.
    pub fn real(&mut self, elements: Operand, grid: Grid, factor: f32) -> Operand {
        let mut x = self.push(Fn::Cast(DType::F32), [elements]);
        if grid.zero != 0 {
            x = self.push(Fn::Sub, [x, Self::number(grid.zero.into())]);
        }
        self.scaled(x, grid.scale * factor)
    }

    /// Elements of a grid from numbers in its steps, not below or above two elements.
    pub fn elements(&mut self, steps: Operand, zero: u8, low: u8, high: u8) -> Operand {
        let mut x = self.push(Fn::Round, [steps]);
        if zero != 0 {
            x = self.push(Fn::Add, [x, Self::number(zero.into())]);
        }
        let x = self.push(Fn::Clamp, [x, Self::number(low.into()), Self::number(high.into())]);
        self.push(Fn::Cast(DType::U8), [x])
    }

    /// Appends `body` on other operands: `%i` becomes `operands[i]`, literals are multiplied by `factor`.
    pub fn append(&mut self, body: &Pointwise, operands: &[Operand], factor: f32) -> Operand {
        let mut results: Vec<Operand> = vec![];
        for step in &body.steps {
            let moved = step.operands.iter().map(|o| match *o {
                Operand::Arg(i) => operands[i],
                Operand::Step(i) => results[i],
                Operand::Literal(literal) if factor != 1.0 => Self::number((literal.to_f64() * f64::from(factor)) as f32),
                literal => literal,
            });
            let moved: Vec<Operand> = moved.collect();
            results.push(self.push(step.f, moved));
        }
        results.last().copied().unwrap_or(operands[0])
    }

    /// The finished expression; `result` is its value.
    pub fn finish(mut self, result: Operand) -> (Pointwise, Vec<ValueId>) {
        // Appending in order leaves the result last, unless an equal step was there before.
        if let Operand::Step(at) = result {
            self.expression.steps.truncate(at + 1);
        }
        (self.expression, self.args)
    }
}

/// True when an expression of factor · x, … is factor · (the expression of x, …), for every positive factor.
pub fn is_homogeneous(body: &Pointwise) -> bool {
    let fits = |f: Fn| matches!(f, Fn::Add | Fn::Sub | Fn::Neg | Fn::Abs | Fn::Relu | Fn::Min | Fn::Max | Fn::Clamp);
    body.steps.iter().all(|s| fits(s.f))
}

/// Takes a last step away that only cuts off: the rest, and the bounds.
pub fn without_bounds(body: &Pointwise) -> (Pointwise, f32, f32) {
    let whole = (body.clone(), f32::NEG_INFINITY, f32::INFINITY);
    let Some((last, rest)) = body.steps.split_last() else { return whole };
    let number = |o: &Operand| match o {
        Operand::Literal(literal) => Some(literal.to_f64() as f32),
        _ => None,
    };
    let (low, high) = match (last.f, &last.operands[..]) {
        (Fn::Relu, _) => (0.0, f32::INFINITY),
        (Fn::Clamp, [_, low, high]) => match (number(low), number(high)) {
            (Some(low), Some(high)) => (low, high),
            _ => return whole,
        },
        (Fn::Max, [_, bound]) => match number(bound) {
            Some(low) => (low, f32::INFINITY),
            None => return whole,
        },
        (Fn::Min, [_, bound]) => match number(bound) {
            Some(high) => (f32::NEG_INFINITY, high),
            None => return whole,
        },
        _ => return whole,
    };
    // The rest must end in what is cut off.
    let ends = match last.operands[0] {
        Operand::Arg(0) => rest.is_empty(),
        Operand::Step(i) => i + 1 == rest.len(),
        _ => false,
    };
    if ends { (Pointwise { steps: rest.to_vec() }, low, high) } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_taken_off_the_end() {
        let mut body = Pointwise::of(Fn::Add);
        body.push(Fn::Clamp, vec![Operand::Step(0), Builder::number(0.0), Builder::number(6.0)]);
        assert_eq!(without_bounds(&body), (Pointwise::of(Fn::Add), 0.0, 6.0));
        assert_eq!(without_bounds(&Pointwise::of(Fn::Relu)), (Pointwise::identity(), 0.0, f32::INFINITY));
        assert_eq!(without_bounds(&Pointwise::of(Fn::Add)).1, f32::NEG_INFINITY);
    }

    #[test]
    fn grids_and_back() {
        let mut builder = Builder::new(1);
        let x = builder.real(Operand::Arg(0), Grid { scale: 0.5, zero: 3 }, 2.0);
        let y = builder.elements(x, 0, 0, 255);
        let (expression, args) = builder.finish(y);
        assert_eq!(expression.to_string(), "{cast_u8(clamp(round(sub(cast_f32(%0), 3.0)), 0.0, 255.0))}");
        assert!(args.is_empty());
    }
}
