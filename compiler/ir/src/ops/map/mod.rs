//! `map{expression}(x, …)`: an expression over corresponding elements of tensors that broadcast to one shape.

use crate::algorithm::{Access, Affine, Algorithm, Map as MapNest};
use crate::attrs;
use crate::dim::Dim;
use crate::dtype::{Class, DType};
use crate::graph::TensorType;
use crate::op_error;
use crate::ops::{Arity, OpDef, OpError};
use crate::pointwise::{Fn, Literal, Operand, Pointwise};
use crate::tensor::{Tensor, broadcast_shapes};

pub mod scalar;
pub use scalar::{Arith, eval_pointwise};

attrs! {
    /// Inputs broadcast by numpy's rules; `%n` in the expression is the n-th input.
    pub struct Map {
        pub body: Pointwise,
    }
}

impl Map {
    /// A single function of as many inputs as it takes.
    pub fn of(f: Fn) -> Map {
        Map { body: Pointwise::of(f) }
    }
}

/// Numpy broadcasting of symbolic shapes.
pub fn broadcast_dims(shapes: &[&[Dim]]) -> Result<Vec<Dim>, OpError> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![Dim::from(1i64); rank];
    for shape in shapes {
        for (o, d) in out[rank - shape.len()..].iter_mut().zip(*shape) {
            if *o == 1 {
                *o = d.clone();
            } else if *d != 1 && d != o {
                let shapes: Vec<String> = shapes.iter().map(|s| format!("{s:?}")).collect();
                op_error!("shapes {} do not broadcast", shapes.join(" and "));
            }
        }
    }
    Ok(out)
}

impl OpDef for Map {
    fn arity(&self) -> Arity {
        Arity::AtLeast(1)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        if self.body.args() > inputs.len() {
            op_error!("the expression uses {} operands, found {}", self.body.args(), inputs.len());
        }
        let shapes: Vec<&[Dim]> = inputs.iter().map(|t| &t.shape[..]).collect();
        let types: Vec<_> = inputs.iter().map(|t| t.dtype).collect();
        let dtype = self.body.result_type(&types).map_err(OpError)?;
        Ok(vec![TensorType { dtype, shape: broadcast_dims(&shapes)? }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|t| &t.shape[..]).collect();
        let Some(shape) = broadcast_shapes(&shapes) else { op_error!("shapes {shapes:?} do not broadcast") };
        Ok(vec![eval_pointwise(&self.body, inputs, &shape)?])
    }

    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let out: Vec<Affine> = (0..output.rank()).map(Affine::axis).collect();
        Algorithm::Map(MapNest {
            axes: output.shape.clone(),
            body: self.body.clone(),
            operands: inputs.iter().enumerate().map(|(i, t)| Access::broadcast(i, &t.shape, &out)).collect(),
        })
    }

    /// Integer arithmetic on sizes that the exporters put before a reshape.
    fn sizes(&self, known: &[Option<&[Dim]>], types: &[&TensorType]) -> Option<Vec<Dim>> {
        let shapes: Vec<&[Dim]> = types.iter().map(|t| &t.shape[..]).collect();
        let shape = broadcast_dims(&shapes).ok()?;
        let elements = shape.iter().product::<Dim>().as_const()?;
        let dtypes: Vec<_> = types.iter().map(|t| t.dtype).collect();
        if shape.len() > 1 || self.body.result_type(&dtypes).ok()?.is_float() {
            return None;
        }
        let steps = self.body.step_types(&dtypes).ok()?;
        (0..elements as usize).map(|i| element_size(&self.body, &steps, known, i)).collect()
    }
}

/// One element of a pointwise expression over sizes; with the types of its steps.
fn element_size(body: &Pointwise, types: &[DType], known: &[Option<&[Dim]>], i: usize) -> Option<Dim> {
    let mut results: Vec<Option<Dim>> = vec![];
    let read = |o: &Operand, results: &[Option<Dim>]| match *o {
        Operand::Arg(a) => {
            let elements = known.get(a).copied().flatten()?;
            elements.get(if elements.len() == 1 { 0 } else { i }).cloned()
        }
        Operand::Step(s) => results[s].clone(),
        Operand::Literal(Literal::Int(c)) => Some(c.into()),
        Operand::Literal(Literal::Float(_)) => None,
    };
    if body.is_identity() {
        return read(&Operand::Arg(0), &results);
    }
    for (step, dtype) in body.steps.iter().zip(types) {
        let x: Vec<Option<Dim>> = step.operands.iter().map(|o| read(o, &results)).collect();
        let truth = |b: bool| Some(Dim::from(i64::from(b)));
        let result = match (step.f, &x[..]) {
            (Fn::Select, [c, a, b]) => match c.as_ref().and_then(Dim::as_const) {
                Some(0) => b.clone(),
                Some(_) => a.clone(),
                None => None,
            },
            (f, [Some(a)]) => match f {
                Fn::Neg => Some(-a.clone()),
                Fn::Cast(to) if to.is_int() => Some(a.clone()),
                Fn::Not if *dtype == DType::Bool => a.as_const().and_then(|a| truth(a == 0)),
                Fn::Not if dtype.class() == Class::Signed => a.as_const().map(|a| (!a).into()),
                Fn::Abs => a.as_const().map(|a| a.abs().into()),
                _ => None,
            },
            (f, [Some(a), Some(b)]) => match f {
                Fn::Add => Some(a.clone() + b.clone()),
                Fn::Sub => Some(a.clone() - b.clone()),
                Fn::Mul => Some(a.clone() * b.clone()),
                // Sizes are not negative, so that rounding towards zero is rounding down.
                Fn::Div => match (a.as_const(), b.as_const()) {
                    (Some(_), Some(0)) => None,
                    (Some(a), Some(b)) => Some((a / b).into()),
                    (None, Some(b)) if b < 1 => None,
                    _ => Some(a.clone().floor_div(b.clone())),
                },
                Fn::Mod => b.as_const().filter(|b| *b > 0).map(|b| a.clone().modulo(b)),
                Fn::Min => Some(a.clone().min(b.clone())),
                Fn::Max => Some(a.clone().max(b.clone())),
                Fn::Equal if a == b => truth(true),
                Fn::Equal | Fn::Less | Fn::LessEqual | Fn::Greater | Fn::GreaterEqual => {
                    let (a, b) = (a.as_const()?, b.as_const()?);
                    truth(match f {
                        Fn::Equal => a == b,
                        Fn::Less => a < b,
                        Fn::LessEqual => a <= b,
                        Fn::Greater => a > b,
                        _ => a >= b,
                    })
                }
                _ => None,
            },
            _ => None,
        };
        results.push(result);
    }
    results.pop().flatten()
}
