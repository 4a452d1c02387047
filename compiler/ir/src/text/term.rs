//! Terms: operator trees with variables, as rules and expansions are written, e.g. `mul(?x, sigmoid(?x))`; and building
//! the nodes of one. Matching a term against a graph is the passes' business.

use super::TextError;
use super::lex::{Cursor, Token};
use super::parse::{attr, literal, operator};
use crate::attr::Attr;
use crate::graph::{Graph, ValueId};
use crate::op_error;
use crate::ops::map::Map;
use crate::ops::{Op, OpError};
use crate::pointwise::{Fn, Literal, Operand, Pointwise, Step};
use std::fmt;
use std::sync::Arc;

/// An operator tree with variables.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// `?x`, without the question mark.
    Var(String),
    Literal(Literal),
    /// A core operator or a scalar function (a `map` with that single function; `cast(…; to=f32)` is `cast_f32(…)`).
    Call {
        op: String,
        args: Vec<Term>,
        attrs: Vec<(String, TermAttr)>,
    },
}

/// An attribute in a term.
#[derive(Debug, Clone, PartialEq)]
pub enum TermAttr {
    /// `?a`, without the question mark.
    Bind(String),
    Value(Attr),
}

/// Reads a term such as `reshape(add(?x, 1.0); shape=?s)`. Names of operators, functions and attributes are checked.
pub fn parse_term(text: &str) -> Result<Term, TextError> {
    let mut cursor = Cursor::new(text)?;
    let term = term(&mut cursor)?;
    cursor.end()?;
    Ok(term)
}

fn term(c: &mut Cursor) -> Result<Term, TextError> {
    let place = c.place();
    match c.peek().clone() {
        Token::Var(name) => {
            c.next();
            Ok(Term::Var(name))
        }
        Token::Word(name) if *c.peek_second() == Token::Punct('(') => {
            c.next();
            let function = Fn::from_name(&name);
            let known = if name == "cast" { Some(&["to"][..]) } else { Op::attr_names(&name) };
            if function.is_none() && known.is_none() {
                return Err(c.error_at(place, format!("there is no operator or function `{name}`")));
            }
            let (args, attrs) = arguments(c, known.unwrap_or(&[]), &name)?;
            if let Some(f) = function.filter(|f| f.arity() != args.len()) {
                return Err(c.error_at(place, format!("{name} takes {} operands, found {}", f.arity(), args.len())));
            }
            Ok(match &attrs[..] {
                [(_, TermAttr::Value(Attr::Name(to)))] if name == "cast" => Term::Call { op: format!("cast_{to}"), args, attrs: vec![] },
                _ => Term::Call { op: name, args, attrs },
            })
        }
        _ => literal(c).map(Term::Literal).map_err(|_| c.expected("a variable such as `?x`, a number or a call")),
    }
}

type Arguments = (Vec<Term>, Vec<(String, TermAttr)>);

/// `(term, …; name=value, …)`
fn arguments(c: &mut Cursor, known: &[&str], op: &str) -> Result<Arguments, TextError> {
    c.expect('(')?;
    let mut args = vec![];
    while !matches!(c.peek(), Token::Punct(')' | ';')) {
        args.push(term(c)?);
        if !c.take(',') {
            break;
        }
    }
    if !c.take(';') {
        c.expect(')')?;
        return Ok((args, vec![]));
    }
    let attrs = c.list(')', |c| {
        let place = c.place();
        let name = c.word("an attribute's name")?;
        if !known.contains(&&name[..]) {
            return Err(c.error_at(place, format!("`{op}` has no attribute `{name}`; known are: {}", known.join(", "))));
        }
        c.expect('=')?;
        let value = match c.peek().clone() {
            Token::Var(name) => {
                c.next();
                TermAttr::Bind(name)
            }
            _ => TermAttr::Value(attr(c)?),
        };
        Ok((name, value))
    })?;
    Ok((args, attrs))
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Term::Var(name) => write!(f, "?{name}"),
            Term::Literal(literal) => write!(f, "{literal}"),
            Term::Call { op, args, attrs } => {
                let args: Vec<String> = args.iter().map(ToString::to_string).collect();
                write!(f, "{op}({}", args.join(", "))?;
                for (i, (name, value)) in attrs.iter().enumerate() {
                    write!(f, "{}{name}={value}", if i == 0 { "; " } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for TermAttr {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            TermAttr::Bind(name) => write!(f, "?{name}"),
            TermAttr::Value(value) => write!(f, "{value}"),
        }
    }
}

/// Builds the nodes of a term and returns the value of its root. Literals inside scalar functions become literals of the
/// expression. Nodes carry `origin`, values `name`.
pub fn instantiate(
    graph: &mut Graph,
    term: &Term,
    vars: &dyn std::ops::Fn(&str) -> Option<ValueId>,
    attrs: &dyn std::ops::Fn(&str) -> Option<Attr>,
    origin: &[Arc<str>],
    name: &str,
) -> Result<ValueId, OpError> {
    let (op, args, call_attrs) = match term {
        Term::Var(var) => return vars(var).ok_or_else(|| OpError(format!("the variable ?{var} is not bound"))),
        Term::Literal(literal) => op_error!("the literal {literal} stands where a tensor is needed"),
        Term::Call { op, args, attrs } => (op, args, attrs),
    };
    let mut values: Vec<(String, Attr)> = vec![];
    for (attr, value) in call_attrs {
        let value = match value {
            TermAttr::Value(value) => value.clone(),
            TermAttr::Bind(bound) => attrs(bound).ok_or_else(|| OpError(format!("the attribute ?{bound} is not bound")))?,
        };
        values.push((attr.clone(), value));
    }
    let function = match &values[..] {
        [(_, Attr::Name(to))] if op == "cast" => Fn::from_name(&format!("cast_{to}")),
        _ => Fn::from_name(op),
    };
    let mut inputs = vec![];
    let mut operands = vec![];
    for arg in args {
        if let (Term::Literal(literal), Some(_)) = (arg, function) {
            operands.push(Operand::Literal(*literal));
        } else {
            operands.push(Operand::Arg(inputs.len()));
            inputs.push(instantiate(graph, arg, vars, attrs, origin, name)?);
        }
    }
    let op: Op = match function {
        Some(f) => Map { body: Pointwise { steps: vec![Step { f, operands }] } }.into(),
        None => operator(op, &values).map_err(OpError)?,
    };
    graph.add(op, &inputs, origin, name)
}
