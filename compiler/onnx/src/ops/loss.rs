//! Losses over classes: the target's class is picked by comparing positions, so that nothing is looked up.

use super::reduce::mean_over;
use super::{Row, many, one};
use crate::error::{Fault, invalid};
use crate::site::Site;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::ops::reduce::softmax::Softmax;
use ir::pointwise::{Fn, Pointwise};
use ir::{DType, ValueId};

pub(super) const ROWS: &[Row] = &[one("NegativeLogLikelihoodLoss", likelihood), many("SoftmaxCrossEntropyLoss", cross_entropy)];

fn likelihood(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    picked(s, x)
}

/// The second output is the logarithm of the probabilities.
fn cross_entropy(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let x = s.input(0)?;
    let log = s.add(Softmax { axis: 1, log: true, epilogue: Pointwise::identity() }, &[x])?;
    Ok(vec![picked(s, log)?, log])
}

/// `−x[n, target[n, …], …] · weight[target[n, …]]`, reduced. `x` is `[N, C, …]`, the target `[N, …]`, the weight `[C]`; a target
/// that is `ignore_index` counts for nothing, also in the mean, whose divisor is the sum of the weights.
fn picked(s: &mut Site, x: ValueId) -> Result<ValueId, Fault> {
    let target = s.input(1)?;
    let (shape, mut at) = (s.shape(x), s.shape(target));
    let expected = shape.iter().enumerate().filter(|(d, _)| *d != 1).map(|(_, size)| size);
    if shape.len() < 2 || !at.iter().eq(expected) {
        invalid!("scores [N, C, …] and classes [N, …] are needed, found {} and {}", s.ty(x), s.ty(target));
    }
    let Some(classes) = shape[1].as_const() else { return Err(Fault::run_time("number of classes")) };
    at.insert(1, 1i64.into());
    let target = s.cast(target, DType::I64)?;
    let target = s.reshape(target, at)?;
    let positions = s.positions(DType::I64, shape.len(), 1, classes)?;
    let mut hit = s.binary(Fn::Equal, target, positions)?;
    let ignored = s.attributes.int("ignore_index")?;
    if let Some(ignored) = ignored.filter(|i| (0..classes).contains(i)) {
        let other = s.binary(Fn::Equal, target, ignored)?;
        hit = s.term("and(?a, not(?b))", &[hit, other])?;
    }
    let pick = |s: &mut Site, from: ValueId| {
        let chosen = s.map(Fn::Select, [hit.into(), from.into(), 0.0.into()])?;
        s.reduce(ReduceKind::Sum, chosen, &[1], false)
    };
    let value = pick(s, x)?;
    let mut loss = s.unary(Fn::Neg, value)?;
    let mut weights = None;
    if let Some(weight) = s.optional(2) {
        let weight = s.per_channel(weight, shape.len())?;
        let weight = pick(s, weight)?;
        loss = s.binary(Fn::Mul, loss, weight)?;
        weights = Some(weight);
    } else if ignored.is_some() {
        let one = s.cast(hit, s.dtype(x))?;
        weights = Some(s.reduce(ReduceKind::Sum, one, &[1], false)?);
    }
    let all: Vec<usize> = (0..s.rank(loss)).collect();
    match (s.attributes.string_or("reduction", "mean")?, weights) {
        ("none", _) => Ok(loss),
        ("sum", _) => s.reduce(ReduceKind::Sum, loss, &all, false),
        ("mean", None) => mean_over(s, loss, &all, false),
        ("mean", Some(weights)) => {
            let sum = s.reduce(ReduceKind::Sum, loss, &all, false)?;
            let total = s.reduce(ReduceKind::Sum, weights, &all, false)?;
            s.binary(Fn::Div, sum, total)
        }
        (other, _) => invalid!("the reduction `{other}` does not exist; expected `none`, `sum` or `mean`"),
    }
}
