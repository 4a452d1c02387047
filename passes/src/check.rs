//! `--check-passes`: evaluates the graph before and after a pass on random inputs and names the first layer whose result
//! differs. It trusts `eval` and nothing else.

use crate::context::value_name;
use crate::error::PassError;
use ir::eval::eval;
use ir::{Graph, Tensor, TensorType, ValueId};
use std::collections::HashMap;

/// How to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOptions {
    pub seed: u64,
    /// Allowed difference, relative to the largest magnitude of the tensor.
    pub rtol: f64,
    /// Allowed difference in any case.
    pub atol: f64,
}

impl Default for CheckOptions {
    fn default() -> CheckOptions {
        CheckOptions { seed: 0, rtol: 1e-5, atol: 1e-6 }
    }
}

/// Free dimensions are evaluated at this size, or the nearest that their bounds allow.
const FREE_SIZE: i64 = 3;

/// Fails with the first difference between two graphs of the same inputs.
pub fn same_results(before: &Graph, after: &Graph, pass: &'static str, options: &CheckOptions) -> Result<(), PassError> {
    let inputs = random_inputs(before, options.seed);
    let failed = |when: &'static str| move |e: ir::eval::EvalError| PassError::Eval { pass, when, error: e.to_string() };
    let (mut old, mut new) = (before.clone(), after.clone());
    let outputs = old.outputs.len();
    let layers = observe_common(&mut old, &mut new);
    let (expected, found) = (eval(&old, &inputs).map_err(failed("before"))?, eval(&new, &inputs).map_err(failed("after"))?);
    // Layers first, in the order of computation: the outputs differ because of them. A layer that differs while no
    // output does is no error: the pass changed what the value of this name means.
    let differences: Vec<_> = (0..expected.len()).map(|i| difference(&expected[i], &found[i], options)).collect();
    let Some(output) = differences[..outputs].iter().position(Option::is_some) else { return Ok(()) };
    let first = differences[outputs..].iter().position(Option::is_some);
    let (error, allowed) = differences[output].unwrap_or_default();
    let mut what = format!("output `{}`", after.outputs[output].name);
    if let Some(layer) = first {
        what = format!("{what} (first different layer: {})", value_name(&new, layers[layer]));
    }
    Err(PassError::Check { pass, what, error, allowed })
}

/// Random tensors for the inputs of a graph.
pub fn random_inputs(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let size = |name: &str| graph.symbols.get(name).map(|bound| ir::Dim::from(FREE_SIZE.max(bound.min).min(bound.max.unwrap_or(i64::MAX))));
    let tensor = |(i, id): (usize, &ValueId)| {
        let ty = graph.ty(*id);
        let shape = ty.shape.iter().map(|d| d.substitute(&size));
        let shape = TensorType::new(ty.dtype, shape).const_shape().unwrap_or_default();
        Tensor::random(ty.dtype, &shape, seed.wrapping_add(i as u64))
    };
    graph.inputs.iter().enumerate().map(tensor).collect()
}

/// Makes values that both graphs name alike, once each, into further outputs. Returns their ids in the second graph.
fn observe_common(old: &mut Graph, new: &mut Graph) -> Vec<ValueId> {
    let by_name = |graph: &Graph| {
        let mut named: HashMap<String, Option<ValueId>> = HashMap::new();
        for node in graph.order() {
            let value = graph.node(node).outputs[0];
            named.entry(graph.value(value).name.clone()).and_modify(|v| *v = None).or_insert(Some(value));
        }
        named
    };
    let (olds, mut common) = (by_name(old), vec![]);
    let news = by_name(new);
    for node in new.order() {
        let value = new.node(node).outputs[0];
        let name = new.value(value).name.clone();
        if let (Some(Some(before)), Some(Some(_))) = (olds.get(&name), news.get(&name))
            && old.ty(*before) == new.ty(value)
        {
            common.push(value);
            old.add_output(&name, *before);
        }
    }
    for value in &common {
        let name = new.value(*value).name.clone();
        new.add_output(&name, *value);
    }
    common
}

/// The largest difference and what is allowed, when it is more than that.
fn difference(expected: &Tensor, found: &Tensor, options: &CheckOptions) -> Option<(f64, f64)> {
    if expected.shape != found.shape || expected.dtype != found.dtype {
        return Some((f64::INFINITY, 0.0));
    }
    let (a, b) = (expected.to_f64s(), found.to_f64s());
    let largest = a.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
    let allowed = options.atol + options.rtol * largest;
    // Equal infinities and two NaNs are no difference.
    let one = |(x, y): (&f64, &f64)| if x == y || (x.is_nan() && y.is_nan()) { 0.0 } else { (x - y).abs() };
    let worst = a.iter().zip(&b).map(one).fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
    (worst > allowed).then_some((worst, allowed))
}
