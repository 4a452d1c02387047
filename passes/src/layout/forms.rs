//! Permuted forms of values, made on demand and kept.

use ir::ops::shuffle::{reshape::Reshape, transpose::Transpose};
use ir::{Dim, Graph, OpError, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// Dimension d of the original is dimension `perm[d]` of the permuted value.
pub type Perm = Vec<usize>;

pub fn identity(rank: usize) -> Perm {
    (0..rank).collect()
}

/// The original is `[N, C, spatial…]`, the permuted value `[N, spatial…, C]`.
pub fn channels_last(rank: usize) -> Perm {
    (0..rank)
        .map(|d| {
            if d == 0 {
                0
            } else if d == 1 {
                rank - 1
            } else {
                d - 1
            }
        })
        .collect()
}

/// The shape of the permuted value, given the original's.
pub fn permuted<T: Clone>(of_original: &[T], perm: &[usize]) -> Vec<T> {
    let mut out = of_original.to_vec();
    perm.iter().zip(of_original).for_each(|(p, x)| out[*p] = x.clone());
    out
}

/// What is known about the values of a graph.
#[derive(Default)]
pub struct Forms {
    /// How a value is computed now, if not as itself.
    computed: HashMap<ValueId, (ValueId, Perm)>,
    /// Other forms that were made of it.
    made: HashMap<(ValueId, Perm), ValueId>,
}

impl Forms {
    /// The value and the permutation under which it is computed.
    pub fn of(&self, graph: &Graph, value: ValueId) -> (ValueId, Perm) {
        self.computed.get(&value).cloned().unwrap_or_else(|| (value, identity(graph.ty(value).rank())))
    }

    pub fn is_moved(&self, value: ValueId) -> bool {
        self.computed.contains_key(&value)
    }

    /// `value` is computed as `form` from now on.
    pub fn set(&mut self, value: ValueId, form: ValueId, perm: Perm) {
        self.computed.insert(value, (form, perm));
    }

    /// True when this form exists or costs no transposition of elements.
    pub fn is_free(&self, graph: &Graph, value: ValueId, perm: &[usize]) -> bool {
        let (form, current) = self.of(graph, value);
        current == perm
            || graph.constant(form).is_some()
            || self.made.contains_key(&(value, perm.to_vec()))
            || only_ones_move(&graph.ty(form).shape, &between(&current, perm))
    }

    /// The value in its own order of dimensions.
    pub fn original(&mut self, graph: &mut Graph, value: ValueId, origin: &[Arc<str>]) -> Result<ValueId, OpError> {
        self.get(graph, value, &identity(graph.ty(value).rank()), origin)
    }

    /// The value under a permutation; made by a transpose or reshape if need be, on behalf of the layers `origin`.
    pub fn get(&mut self, graph: &mut Graph, value: ValueId, perm: &[usize], origin: &[Arc<str>]) -> Result<ValueId, OpError> {
        let (form, current) = self.of(graph, value);
        if current == perm {
            return Ok(form);
        }
        let key = (value, perm.to_vec());
        if let Some(made) = self.made.get(&key) {
            return Ok(*made);
        }
        let layers = match graph.producer(form) {
            Some(node) if !graph.node(node).origin.is_empty() => graph.node(node).origin.clone(),
            _ => origin.to_vec(),
        };
        let name = graph.value(value).name.clone();
        let made = transpose(graph, form, &between(&current, perm), &layers, &name)?;
        self.made.insert(key, made);
        Ok(made)
    }

    /// An operand that broadcasts to an original of `rank` dimensions, fitted to the form of it under `perm`.
    pub fn broadcast(&mut self, graph: &mut Graph, value: ValueId, perm: &[usize], origin: &[Arc<str>]) -> Result<ValueId, OpError> {
        let rank = graph.ty(value).rank();
        if rank == perm.len() {
            return self.get(graph, value, perm, origin);
        }
        let plain = self.original(graph, value, origin)?;
        if *perm == identity(perm.len()) {
            return Ok(plain);
        }
        let mut full = vec![Dim::from(1i64); perm.len() - rank];
        full.extend(graph.ty(plain).shape.iter().cloned());
        let to = between(&identity(perm.len()), perm);
        let name = graph.value(value).name.clone();
        if only_ones_move(&full, &to) {
            // Leading ones say nothing: `[1, 1, 1, C]` is `[C]`.
            let shape: Vec<Dim> = permuted(&full, perm).into_iter().skip_while(|d| *d == 1).collect();
            return reshape(graph, plain, shape, origin, &name);
        }
        let full = reshape(graph, plain, full, origin, &name)?;
        transpose(graph, full, &to, origin, &name)
    }
}

/// The transposition that makes the form under `to` of the form under `from`.
fn between(from: &[usize], to: &[usize]) -> Perm {
    permuted(from, to)
}

/// The dimensions larger than 1 keep their order.
pub fn only_ones_move(shape: &[Dim], transposition: &[usize]) -> bool {
    let large: Vec<usize> = transposition.iter().copied().filter(|d| shape[*d] != 1).collect();
    large.is_sorted()
}

/// A transpose, or a reshape if no element moves, or nothing.
pub fn transpose(graph: &mut Graph, value: ValueId, by: &[usize], origin: &[Arc<str>], name: &str) -> Result<ValueId, OpError> {
    let shape = &graph.ty(value).shape;
    if only_ones_move(shape, by) {
        let shape = by.iter().map(|d| shape[*d].clone()).collect();
        return reshape(graph, value, shape, origin, name);
    }
    graph.add(Transpose { perm: by.iter().map(|d| *d as i64).collect() }, &[value], origin, name)
}

pub fn reshape(graph: &mut Graph, value: ValueId, shape: Vec<Dim>, origin: &[Arc<str>], name: &str) -> Result<ValueId, OpError> {
    if graph.ty(value).shape == shape {
        return Ok(value);
    }
    graph.add(Reshape { shape }, &[value], origin, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_last_and_back() {
        let perm = channels_last(4);
        assert_eq!(permuted(&["n", "c", "h", "w"], &perm), ["n", "h", "w", "c"]);
        // As a `transpose` attribute: output dimension d is input dimension by[d].
        assert_eq!(between(&identity(4), &perm), [0, 2, 3, 1]);
        assert_eq!(between(&perm, &identity(4)), [0, 3, 1, 2]);
        assert_eq!(between(&perm, &perm), identity(4));
    }

    #[test]
    fn moving_ones_is_free() {
        let shape = |s: &[i64]| s.iter().map(|d| Dim::from(*d)).collect::<Vec<_>>();
        assert!(only_ones_move(&shape(&[1, 28, 28, 1]), &[0, 3, 1, 2]));
        assert!(!only_ones_move(&shape(&[1, 28, 28, 2]), &[0, 3, 1, 2]));
    }
}
