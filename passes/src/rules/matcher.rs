//! Finds a pattern in a graph. It changes nothing and knows no rules.

use super::Inner;
use crate::context::value_name;
use crate::fuse::Uses;
use ir::attr::Attr;
use ir::ops::Op;
use ir::pointwise::{Fn, Literal, Operand, Pointwise};
use ir::text::{Term, TermAttr};
use ir::{DType, Graph, NodeId, ValueId};

/// What a variable stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    Value(ValueId),
    /// A literal inside an expression, with the type of the operands beside it.
    Literal(Literal, DType),
}

/// What the variables of a pattern stand for.
#[derive(Debug, Clone, Default)]
pub struct Match {
    pub vars: Vec<(String, Bound)>,
    pub attrs: Vec<(String, Attr)>,
    /// Every matched node.
    pub nodes: Vec<NodeId>,
}

impl Match {
    pub fn var(&self, name: &str) -> Option<&Bound> {
        self.vars.iter().find(|(n, _)| n == name).map(|(_, b)| b)
    }
    pub fn attr(&self, name: &str) -> Option<&Attr> {
        self.attrs.iter().find(|(n, _)| n == name).map(|(_, a)| a)
    }
    /// Binds an attribute, or compares with what is bound.
    pub fn bind_attr(&mut self, name: &str, attr: Attr) -> bool {
        match self.attr(name) {
            Some(known) => *known == attr,
            None => {
                self.attrs.push((name.into(), attr));
                true
            }
        }
    }
}

/// The name that a pattern's call would have to have: of the function for a `map` of one step, else of the operator.
pub fn operator_name(graph: &Graph, node: NodeId) -> String {
    match &graph.node(node).op {
        Op::Map(map) if let [step] = &map.body.steps[..] => match step.f {
            Fn::Cast(to) => format!("cast_{to}"),
            Fn::Bits(to) => format!("bits_{to}"),
            f => f.name().into(),
        },
        op => op.name().into(),
    }
}

pub struct Matcher<'a> {
    pub graph: &'a Graph,
    pub uses: &'a Uses,
    pub inner: Inner,
}

type Found = Result<Vec<Match>, String>;

impl Matcher<'_> {
    /// All ways to match the pattern with its root at a value; never an empty list.
    pub fn find(&self, pattern: &Term, root: ValueId) -> Found {
        self.term(pattern, Bound::Value(root), Match::default(), true)
    }

    fn term(&self, term: &Term, operand: Bound, mut found: Match, root: bool) -> Found {
        match term {
            Term::Var(name) => match found.var(name) {
                Some(known) if *known != operand => Err(format!("?{name} stands for two different operands")),
                Some(_) => Ok(vec![found]),
                None => {
                    found.vars.push((name.clone(), operand));
                    Ok(vec![found])
                }
            },
            Term::Literal(literal) => self.literal(*literal, operand).map(|()| vec![found]),
            Term::Call { op, args, attrs } => self.call(op, args, attrs, operand, found, root),
        }
    }

    fn literal(&self, expected: Literal, operand: Bound) -> Result<(), String> {
        match operand {
            Bound::Literal(literal, _) if close(literal.to_f64(), expected.to_f64()) => Ok(()),
            Bound::Literal(literal, _) => Err(format!("found {literal} instead of {expected}")),
            Bound::Value(value) => {
                let Some(tensor) = self.graph.constant(value) else {
                    return Err(format!("{} is not the constant {expected}", value_name(self.graph, value)));
                };
                let all = !tensor.is_empty() && (0..tensor.len()).all(|i| close(tensor.get_f64(i), expected.to_f64()));
                if all { Ok(()) } else { Err(format!("the constant {} is not {expected} everywhere", value_name(self.graph, value))) }
            }
        }
    }

    fn call(&self, op: &str, args: &[Term], attrs: &[(String, TermAttr)], operand: Bound, mut found: Match, root: bool) -> Found {
        let Bound::Value(value) = operand else { return Err(format!("found a literal instead of {op}")) };
        let here = || value_name(self.graph, value);
        let Some(id) = self.graph.producer(value) else { return Err(format!("{} is not computed by {op}", here())) };
        if operator_name(self.graph, id) != op {
            return Err(format!("{} is not {op}", here()));
        }
        if !root && self.inner == Inner::Single && !self.uses.is_single(value) {
            return Err(format!("the result of {} {}", here(), self.uses.describe(value)));
        }
        let node = self.graph.node(id);
        match_attrs(&node.op, attrs, &mut found).map_err(|why| format!("{}: {why}", here()))?;
        found.nodes.push(id);
        let operands = self.operands(id);
        if operands.len() != args.len() {
            return Err(format!("{} has {} operands instead of {}", here(), operands.len(), args.len()));
        }
        let commutes = Fn::from_name(op).is_some_and(Fn::commutes);
        let straight = self.all(args, &operands, found.clone());
        if !commutes {
            return straight;
        }
        let swapped = self.all(args, &[operands[1], operands[0]], found);
        match (straight, swapped) {
            (Ok(mut a), Ok(b)) => {
                a.extend(b);
                Ok(a)
            }
            (Ok(a), Err(_)) => Ok(a),
            (Err(_), Ok(b)) => Ok(b),
            // The order that was written tells more about what was expected.
            (Err(a), Err(_)) => Err(a),
        }
    }

    /// All ways to match operands one after the other.
    fn all(&self, args: &[Term], operands: &[Bound], found: Match) -> Found {
        let mut candidates = vec![found];
        for (arg, operand) in args.iter().zip(operands) {
            let mut next = vec![];
            let mut why = String::new();
            for candidate in candidates {
                match self.term(arg, *operand, candidate, false) {
                    Ok(matches) => next.extend(matches),
                    Err(reason) => why = reason,
                }
            }
            if next.is_empty() {
                return Err(why);
            }
            candidates = next;
        }
        Ok(candidates)
    }

    /// The operands as a pattern sees them: of the one step of a `map`, or the operator's own inputs.
    fn operands(&self, id: NodeId) -> Vec<Bound> {
        let node = self.graph.node(id);
        let Op::Map(map) = &node.op else {
            return node.inputs[..node.op.own_inputs(node.inputs.len())].iter().map(|v| Bound::Value(*v)).collect();
        };
        let [step] = &map.body.steps[..] else { return node.inputs.iter().map(|v| Bound::Value(*v)).collect() };
        // A literal has the type of the last tensor beside it; the first operand of `select` is its test.
        let beside = step.operands.iter().rev().find_map(|o| if let Operand::Arg(i) = o { Some(*i) } else { None }).unwrap_or(0);
        let dtype = self.graph.ty(node.inputs[beside]).dtype;
        let bound = |o: &Operand| match *o {
            Operand::Literal(literal) => Bound::Literal(literal, dtype),
            Operand::Arg(i) | Operand::Step(i) => Bound::Value(node.inputs[i]),
        };
        step.operands.iter().map(bound).collect()
    }
}

/// Equal up to what `f32` rounds. Whole numbers must be equal: they are identities, and those are exact.
fn close(found: f64, expected: f64) -> bool {
    const ROUNDING: f64 = 1e-6;
    found == expected || (expected.fract() != 0.0 && (found - expected).abs() <= ROUNDING * expected.abs())
}

/// The attribute of an operator, its default included.
fn attr_of(op: &Op, name: &str) -> Attr {
    let given = op.attrs().into_iter().find(|(n, _)| *n == name).map(|(_, a)| a);
    // Only flags, padding values and epilogues have defaults.
    given.unwrap_or_else(|| match name {
        "epilogue" => Attr::Pointwise(Pointwise::identity()),
        "pad_value" => Attr::Int(0),
        _ => Attr::Bool(false),
    })
}

fn match_attrs(op: &Op, expected: &[(String, TermAttr)], found: &mut Match) -> Result<(), String> {
    if matches!(op, Op::Map(_)) {
        return Ok(());
    }
    for (name, expected) in expected {
        let attr = attr_of(op, name);
        let fits = match expected {
            TermAttr::Value(value) => *value == attr,
            TermAttr::Bind(variable) => found.bind_attr(variable, attr.clone()),
        };
        if !fits {
            return Err(format!("the attribute {name} is {attr}"));
        }
    }
    match op.attrs().into_iter().find(|(name, _)| !expected.iter().any(|(n, _)| n == name)) {
        Some((name, attr)) => Err(format!("the attribute {name} is {attr}")),
        None => Ok(()),
    }
}
