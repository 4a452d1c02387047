//! Local rewrites as data: a pattern and a replacement in the graph's own notation, guards by name, and for every rule
//! a graph where it fires and one where it must not. What does not fit this notation is a pass.
//!
//! A pattern's call matches a node with that operator, or a `map` whose expression is that one function. `?x` matches any
//! operand; the same name matches the same value. A literal matches itself and a constant filled with it. Functions that
//! commute match in both orders. Attributes that a pattern does not name must have their defaults.

mod attention;
mod guards;
mod matcher;
mod scale;
mod simplify;

use crate::context::{Context, node_name, union_origin};
use crate::fuse::Uses;
use guards::parse_guard;
use ir::ops::Op;
use ir::text::{Term, instantiate, parse_term};
use ir::{Graph, NodeId, OpError, Tensor, ValueId};
use matcher::{Bound, Match, Matcher, operator_name};
use std::sync::{Arc, OnceLock};

/// May nodes inside a match have other users? Then they stay, and their work is done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// No: every matched node but the root has one use.
    Single,
    /// Yes: what they cost is saved elsewhere, or they cost nothing.
    Shared,
}

/// One rewrite.
#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    /// The passes that apply it.
    pub passes: &'static [&'static str],
    pub pattern: &'static str,
    pub replacement: &'static str,
    pub guards: &'static [&'static str],
    pub inner: Inner,
    /// A graph where it fires.
    pub fires: &'static str,
    /// A graph that looks alike, where it must not.
    pub not: &'static str,
}

/// Declares a rule: `rule!("name" in ["pass"]: "pattern" => "replacement", if ["guard(?x)"], Inner, fires "…", not "…")`.
macro_rules! rule {
    ($name:literal in [$($pass:literal),*]: $pattern:literal => $replacement:literal, if [$($guard:literal),*], $inner:ident,
     fires $fires:literal, not $not:literal) => {
        $crate::rules::Rule {
            name: $name, passes: &[$($pass),*], pattern: $pattern, replacement: $replacement, guards: &[$($guard),*],
            inner: $crate::rules::Inner::$inner, fires: $fires, not: $not,
        }
    };
}
pub(crate) use rule;

/// Every rule; within a pass they are tried in this order.
pub const RULES: &[&[Rule]] = &[simplify::RULES, scale::RULES, attention::RULES];

/// Rewrites that are code, but count and explain themselves like rules.
const CODED: &[&str] = &[
    "known_sizes",
    "fold_constant",
    "equal_cast",
    "inline_scalar",
    "dead_node",
    "equal_node",
    "equal_constant",
    "absorb_map",
    "merge_maps",
    "hoist_map",
    "channels_last",
    "flatten_matmul",
    "merge_projections",
    "cached_keys",
    "integer_layer",
    "integer_product",
    "compress_weights",
];

/// Everything that can be explained.
pub fn names() -> Vec<&'static str> {
    RULES.iter().copied().flatten().map(|r| r.name).chain(CODED.iter().copied()).collect()
}

/// A rule with its texts parsed.
struct Ready {
    rule: &'static Rule,
    pattern: Term,
    replacement: Term,
    guards: Vec<guards::Call>,
}

fn ready() -> &'static [Ready] {
    static READY: OnceLock<Vec<Ready>> = OnceLock::new();
    READY.get_or_init(|| {
        let term = |rule: &Rule, text: &str| parse_term(text).unwrap_or_else(|e| panic!("rule {}: {text}: {e}", rule.name));
        RULES
            .iter()
            .copied()
            .flatten()
            .map(|rule| Ready {
                rule,
                pattern: term(rule, rule.pattern),
                replacement: term(rule, rule.replacement),
                guards: rule.guards.iter().map(|g| parse_guard(g).unwrap_or_else(|e| panic!("rule {}: {e}", rule.name))).collect(),
            })
            .collect()
    })
}

/// Applies the rules of one pass until none fires.
pub fn apply(graph: &mut Graph, context: &mut Context, pass: &str) -> Result<(), OpError> {
    apply_where(graph, context, &|rule| rule.passes.contains(&pass))
}

/// Rules make graphs smaller or move constants towards constants, so that they end; a rule that undoes another is a bug.
const MAX_SWEEPS: usize = 100;

/// Applies the rules that `chosen` names until none fires.
pub fn apply_where(graph: &mut Graph, context: &mut Context, chosen: &dyn Fn(&Rule) -> bool) -> Result<(), OpError> {
    let rules: Vec<&Ready> = ready().iter().filter(|r| chosen(r.rule)).collect();
    for _ in 0..MAX_SWEEPS {
        let before = context.changes();
        let mut uses = Uses::of(graph);
        for node in graph.order() {
            // A rule that fired earlier in this sweep may have taken this node away.
            if uses.is_dead(graph.node(node).outputs[0]) {
                continue;
            }
            for ready in &rules {
                if fire(graph, &uses, context, ready, node)? {
                    uses = Uses::of(graph);
                    break;
                }
            }
        }
        if context.changes() == before {
            return Ok(());
        }
    }
    Err(OpError(format!("rules still fire after {MAX_SWEEPS} sweeps")))
}

/// Tries one rule with its root at one node.
fn fire(graph: &mut Graph, uses: &Uses, context: &mut Context, ready: &Ready, root: NodeId) -> Result<bool, OpError> {
    let Ready { rule, pattern, replacement, guards } = ready;
    let Term::Call { op, .. } = pattern else { return Ok(false) };
    if operator_name(graph, root) != *op {
        return Ok(false);
    }
    let result = graph.node(root).outputs[0];
    let matcher = Matcher { graph, uses, inner: rule.inner };
    let found = matcher.find(pattern, result).and_then(|candidates| first_allowed(graph, uses, guards, candidates));
    let mut found = match found {
        Ok(found) => found,
        Err(why) => {
            context.missed(rule.name, || node_name(graph, root), || why);
            return Ok(false);
        }
    };
    if let Term::Var(name) = replacement
        && let Some(Bound::Value(value)) = found.var(name)
        && graph.ty(*value) != graph.ty(result)
    {
        let (from, to) = (graph.ty(*value).clone(), graph.ty(result).clone());
        context.missed(rule.name, || node_name(graph, root), || format!("the operand is {from}, the result {to}"));
        return Ok(false);
    }
    found.nodes.sort();
    found.nodes.dedup();
    let at = node_name(graph, root);
    let origin = union_origin(graph, found.nodes.iter().copied());
    let name = graph.value(result).name.clone();
    let replacement = &with_literals(replacement, &found);
    found.materialize(graph);
    let vars = |name: &str| match found.var(name) {
        Some(Bound::Value(value)) => Some(*value),
        _ => None,
    };
    let new = instantiate(graph, replacement, &vars, &|name| found.attr(name).cloned(), &origin, &name)?;
    if graph.ty(new) != graph.ty(result) {
        let (from, to) = (graph.ty(result).clone(), graph.ty(new).clone());
        context.missed(rule.name, || at, || format!("the replacement would be {to} instead of {from}"));
        return Ok(false);
    }
    context.fired(rule.name, || at);
    graph.replace_uses(result, new);
    Ok(true)
}

/// The first candidate that all guards accept; else what the last guard said that refused.
fn first_allowed(graph: &Graph, uses: &Uses, guards: &[guards::Call], candidates: Vec<Match>) -> Result<Match, String> {
    let mut why = String::new();
    'candidates: for mut candidate in candidates {
        for guard in guards {
            if let Err(reason) = guard.check(graph, uses, &mut candidate) {
                why = reason;
                continue 'candidates;
            }
        }
        return Ok(candidate);
    }
    Err(why)
}

/// Literals that variables stand for are written into the functions that take them, where a tensor is beside them.
fn with_literals(term: &Term, found: &Match) -> Term {
    let Term::Call { op, args, attrs } = term else { return term.clone() };
    let mut new: Vec<Term> = args.iter().map(|a| with_literals(a, found)).collect();
    if ir::pointwise::Fn::from_name(op).is_some() {
        for arg in &mut new {
            if let Term::Var(name) = arg
                && let Some(Bound::Literal(literal, _)) = found.var(name)
            {
                *arg = Term::Literal(*literal);
            }
        }
        if new.iter().all(|a| matches!(a, Term::Literal(_))) {
            new.clone_from(args);
        }
    }
    Term::Call { op: op.clone(), args: new, attrs: attrs.clone() }
}

impl Match {
    /// Other literals that variables stand for become constants.
    fn materialize(&mut self, graph: &mut Graph) {
        for (name, bound) in &mut self.vars {
            if let Bound::Literal(literal, dtype) = *bound {
                let tensor = Tensor::from_fn(dtype, &[], |_| literal.to_f64());
                *bound = Bound::Value(graph.add_const(name, Arc::new(tensor)));
            }
        }
    }
}

/// The producer of a value, if it is this kind of operator.
pub(crate) fn produced_by(graph: &Graph, value: ValueId, is: impl Fn(&Op) -> bool) -> Option<&ir::Node> {
    graph.producer(value).map(|n| graph.node(n)).filter(|n| is(&n.op))
}
