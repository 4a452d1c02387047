//! Optimisers: one step for each of several tensors.

use super::{Row, many};
use crate::error::{Fault, invalid};
use crate::site::Site;
use ir::ValueId;

pub(super) const DOMAIN: &str = "ai.onnx.preview.training";

pub(super) const ROWS: &[Row] =
    &[many("Adagrad", adagrad).of(DOMAIN), many("Adam", adam).of(DOMAIN), many("Momentum", momentum).of(DOMAIN)];

/// Rate and count, then the inputs after them in `N` groups: tensors, gradients, states.
fn groups<const N: usize>(s: &Site) -> Result<(ValueId, ValueId, Vec<[ValueId; N]>), Fault> {
    let (rate, count) = (s.input(0)?, s.input(1)?);
    let rest = s.inputs.len() - 2;
    if rest == 0 || !rest.is_multiple_of(N) {
        invalid!("{rest} tensors do not divide into {N} groups");
    }
    let n = rest / N;
    let member = |i: usize| -> Result<[ValueId; N], Fault> {
        let values = (0..N).map(|g| s.input(2 + g * n + i)).collect::<Result<Vec<_>, _>>()?;
        Ok(values.try_into().expect("one per group"))
    };
    Ok((rate, count, (0..n).map(member).collect::<Result<_, _>>()?))
}

/// Outputs in groups: all tensors, then all first states, and so on.
fn grouped<const N: usize>(results: Vec<[ValueId; N]>) -> Vec<ValueId> {
    (0..N).flat_map(|g| results.iter().map(move |r| r[g])).collect()
}

fn adagrad(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let a = &s.attributes;
    let (decay, epsilon, norm) = (a.float_or("decay_factor", 0.0)?, a.float_or("epsilon", 1e-6)?, a.float_or("norm_coefficient", 0.0)?);
    let (rate, count, tensors) = groups::<3>(s)?;
    let count = s.cast(count, s.dtype(rate))?;
    let rate = s.term(&format!("div(?a, add(mul(?b, {decay:?}), 1.0))"), &[rate, count])?;
    let mut results = vec![];
    for [x, gradient, history] in tensors {
        let g = s.term(&format!("add(mul(?a, {norm:?}), ?b)"), &[x, gradient])?;
        let history = s.term("add(?a, mul(?b, ?b))", &[history, g])?;
        let x = s.term(&format!("sub(?a, div(mul(?b, ?c), add(sqrt(?d), {epsilon:?})))"), &[x, rate, g, history])?;
        results.push([x, history]);
    }
    Ok(grouped(results))
}

fn adam(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let a = &s.attributes;
    let (alpha, beta, epsilon) = (a.float_or("alpha", 0.9)?, a.float_or("beta", 0.999)?, a.float_or("epsilon", 1e-6)?);
    let (norm, norm_post) = (a.float_or("norm_coefficient", 0.0)?, a.float_or("norm_coefficient_post", 0.0)?);
    let (rate, count, tensors) = groups::<4>(s)?;
    let count = s.cast(count, s.dtype(rate))?;
    // αᵗ as exp(t · ln α): a literal cannot be the base of a power of a tensor.
    let (log_alpha, log_beta) = (alpha.ln(), beta.ln());
    let text = format!("div(mul(?a, sqrt(sub(1.0, exp(mul(?b, {log_beta:?}))))), sub(1.0, exp(mul(?b, {log_alpha:?}))))");
    let adjusted = s.term(&text, &[rate, count])?;
    let rate = s.term("select(greater(?a, 0.0), ?b, ?c)", &[count, adjusted, rate])?;
    let mut results = vec![];
    for [x, gradient, average, squares] in tensors {
        let g = s.term(&format!("add(mul(?a, {norm:?}), ?b)"), &[x, gradient])?;
        let average = s.term(&format!("add(mul(?a, {alpha:?}), mul(?b, {:?}))", 1.0 - alpha), &[average, g])?;
        let squares = s.term(&format!("add(mul(?a, {beta:?}), mul(mul(?b, ?b), {:?}))", 1.0 - beta), &[squares, g])?;
        let text = format!("mul(sub(?a, div(mul(?b, ?c), add(sqrt(?d), {epsilon:?}))), {:?})", 1.0 - norm_post);
        let x = s.term(&text, &[x, rate, average, squares])?;
        results.push([x, average, squares]);
    }
    Ok(grouped(results))
}

fn momentum(s: &mut Site) -> Result<Vec<ValueId>, Fault> {
    let a = &s.attributes;
    let (alpha, beta, norm) = (a.float_or("alpha", 0.0)?, a.float_or("beta", 0.0)?, a.float_or("norm_coefficient", 0.0)?);
    let nesterov = match a.string_or("mode", "standard")? {
        "standard" => false,
        "nesterov" => true,
        other => invalid!("the mode `{other}` does not exist; expected `standard` or `nesterov`"),
    };
    let (rate, count, tensors) = groups::<3>(s)?;
    let count = s.cast(count, s.dtype(rate))?;
    let beta = s.term(&format!("select(greater(?a, 0.0), {beta:?}, add(mul(?a, 0.0), 1.0))"), &[count])?;
    let mut results = vec![];
    for [x, gradient, velocity] in tensors {
        let g = s.term(&format!("add(mul(?a, {norm:?}), ?b)"), &[x, gradient])?;
        let velocity = s.term(&format!("add(mul(?a, {alpha:?}), mul(?b, ?c))"), &[velocity, beta, g])?;
        let x = match nesterov {
            true => s.term(&format!("sub(?a, mul(?b, add(?c, mul(?d, {alpha:?}))))"), &[x, rate, g, velocity])?,
            false => s.term("sub(?a, mul(?b, ?c))", &[x, rate, velocity])?,
        };
        results.push([x, velocity]);
    }
    Ok(grouped(results))
}
