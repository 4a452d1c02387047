//! Conditions that rules name, from one table. A guard may bind an attribute that the replacement uses.

use super::matcher::{Bound, Match};
use crate::context::value_name;
use crate::fuse::Uses;
use ir::attr::AttrValue;
use ir::ops::Op;
use ir::ops::contract::conv::DataLayout;
use ir::ops::map::broadcast_dims;
use ir::{DType, Dim, Graph, TensorType, ValueId};

/// A guard as a rule writes it: `name(?x, ?y)`.
#[derive(Debug)]
pub struct Call {
    guard: &'static Guard,
    args: Vec<String>,
}

struct Guard {
    name: &'static str,
    arity: usize,
    check: fn(&mut Scope, &[&str]) -> Result<(), String>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a guard sees.
struct Scope<'a> {
    graph: &'a Graph,
    uses: &'a Uses,
    found: &'a mut Match,
}

const GUARDS: &[Guard] = &[
    // const(?x): ?x is a constant or a literal.
    Guard { name: "const", arity: 1, check: |s, a| s.require(s.is_const(a[0])?, a[0], "is not constant") },
    Guard { name: "not_const", arity: 1, check: |s, a| s.require(!s.is_const(a[0])?, a[0], "is constant: folding will do it") },
    Guard { name: "single_use", arity: 1, check: single_use },
    Guard { name: "float", arity: 1, check: |s, a| s.require(s.dtype(a[0])?.is_float(), a[0], "is not of a floating-point type") },
    // scalar(?x): one element, known at compile time.
    Guard { name: "scalar", arity: 1, check: |s, a| s.elements(a[0]).and_then(|e| s.require(e.len() == 1, a[0], "has several elements")) },
    Guard { name: "ordered", arity: 2, check: ordered },
    Guard { name: "powers_of_two", arity: 1, check: powers_of_two },
    Guard { name: "scaled_contraction", arity: 1, check: scaled_contraction },
    // one_covers(?a, ?b): one of them has the shape of both together, so that folding them makes nothing larger.
    Guard { name: "one_covers", arity: 2, check: one_covers },
    Guard { name: "identity_permutation", arity: 1, check: identity_permutation },
    Guard { name: "unit_steps", arity: 1, check: unit_steps },
    // composed(?first, ?second, ?both): both = first, then second.
    Guard { name: "composed", arity: 3, check: composed },
    // per_output_channel(?s, ?w, ?layout, ?shape): s scales the output channels; shape is what fits it to the weights.
    Guard { name: "per_output_channel", arity: 4, check: per_output_channel },
    // per_column(?s, ?w, ?transposed, ?shape): s scales the columns of the product.
    Guard { name: "per_column", arity: 4, check: per_column },
];

impl Call {
    pub fn check(&self, graph: &Graph, uses: &Uses, found: &mut Match) -> Result<(), String> {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        (self.guard.check)(&mut Scope { graph, uses, found }, &args)
    }
}

/// Reads `name(?x, ?y)`.
pub fn parse_guard(text: &str) -> Result<Call, String> {
    let (name, rest) = text.split_once('(').ok_or_else(|| format!("the guard `{text}` needs operands"))?;
    let args = rest.strip_suffix(')').ok_or_else(|| format!("the guard `{text}` lacks its closing parenthesis"))?;
    let args: Option<Vec<String>> = args.split(',').map(|a| a.trim().strip_prefix('?').map(Into::into)).collect();
    let args = args.ok_or_else(|| format!("the guard `{text}` takes variables"))?;
    let guard = GUARDS.iter().find(|g| g.name == name.trim()).ok_or_else(|| format!("there is no guard `{name}`"))?;
    if guard.arity != args.len() {
        return Err(format!("the guard `{name}` takes {} operands", guard.arity));
    }
    Ok(Call { guard, args })
}

impl Scope<'_> {
    fn var(&self, name: &str) -> Result<Bound, String> {
        self.found.var(name).copied().ok_or_else(|| format!("?{name} is not bound"))
    }
    fn value(&self, name: &str) -> Result<ValueId, String> {
        match self.var(name)? {
            Bound::Value(value) => Ok(value),
            Bound::Literal(..) => Err(format!("?{name} is a literal")),
        }
    }
    fn say(&self, name: &str) -> String {
        match self.var(name) {
            Ok(Bound::Value(value)) => format!("?{name} = {}", value_name(self.graph, value)),
            Ok(Bound::Literal(literal, _)) => format!("?{name} = {literal}"),
            Err(why) => why,
        }
    }
    fn require(&self, holds: bool, name: &str, why: &str) -> Result<(), String> {
        if holds { Ok(()) } else { Err(format!("{} {why}", self.say(name))) }
    }
    fn is_const(&self, name: &str) -> Result<bool, String> {
        Ok(match self.var(name)? {
            Bound::Value(value) => self.graph.constant(value).is_some(),
            Bound::Literal(..) => true,
        })
    }
    fn ty(&self, name: &str) -> Result<TensorType, String> {
        Ok(match self.var(name)? {
            Bound::Value(value) => self.graph.ty(value).clone(),
            Bound::Literal(_, dtype) => TensorType::new(dtype, Vec::<Dim>::new()),
        })
    }
    fn dtype(&self, name: &str) -> Result<DType, String> {
        Ok(self.ty(name)?.dtype)
    }
    /// The elements of a constant.
    fn elements(&self, name: &str) -> Result<Vec<f64>, String> {
        match self.var(name)? {
            Bound::Literal(literal, _) => Ok(vec![literal.to_f64()]),
            Bound::Value(value) => match self.graph.constant(value) {
                Some(tensor) => Ok(tensor.to_f64s()),
                None => Err(format!("{} is not constant", self.say(name))),
            },
        }
    }
    fn attr<T: AttrValue>(&self, name: &str) -> Result<T, String> {
        self.found.attr(name).and_then(T::from_attr).ok_or_else(|| format!("?{name} is not {}", T::EXPECTED))
    }
    fn bind<T: AttrValue>(&mut self, name: &str, value: &T) -> Result<(), String> {
        let bound = self.found.bind_attr(name, value.to_attr());
        if bound { Ok(()) } else { Err(format!("?{name} stands for two different attributes")) }
    }
}

fn single_use(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    let value = s.value(a[0])?;
    let why = s.uses.describe(value);
    s.require(s.uses.is_single(value), a[0], &why)
}

fn ordered(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    let (low, high) = (s.elements(a[0])?, s.elements(a[1])?);
    let holds = low.len() == 1 && high.len() == 1 && low[0] <= high[0];
    s.require(holds, a[0], "is not known to be at most the other bound")
}

/// Their reciprocals are exact.
fn powers_of_two(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    // Far from the ends of f32 and f64, so that neither the number nor its reciprocal is subnormal.
    const MANTISSA: u64 = (1 << 52) - 1;
    let exact = |x: &f64| x.to_bits() & MANTISSA == 0 && (1e-30..1e30).contains(&x.abs());
    let dtype = s.dtype(a[0])?;
    let holds = matches!(dtype, DType::F32 | DType::F64) && s.elements(a[0])?.iter().all(exact);
    s.require(holds, a[0], "is not a power of two everywhere")
}

/// The producer is a convolution or matrix product by constant weights without an epilogue, so that a scale can move on.
fn scaled_contraction(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    let value = s.value(a[0])?;
    let heavy = super::produced_by(s.graph, value, |op| matches!(op, Op::Conv(_) | Op::MatMul(_)));
    let holds = heavy.is_some_and(|n| s.graph.constant(n.inputs[1]).is_some() && n.op.def().epilogue().is_some_and(|e| e.is_identity()));
    let holds = holds && s.dtype(a[0])?.is_float();
    s.require(holds, a[0], "is no convolution or matrix product of floats by constant weights")?;
    single_use(s, a)
}

fn one_covers(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    let (x, y) = (s.ty(a[0])?, s.ty(a[1])?);
    let both = broadcast_dims(&[&x.shape, &y.shape]).map_err(|e| e.to_string())?;
    let elements: Dim = both.iter().product();
    s.require(elements == x.elements() || elements == y.elements(), a[0], "together with the other constant would be larger")
}

fn identity_permutation(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    let perm: Vec<i64> = s.attr(a[0])?;
    let moved = perm.iter().enumerate().any(|(i, p)| i as i64 != *p);
    if moved { Err(format!("the permutation {perm:?} moves something")) } else { Ok(()) }
}

fn unit_steps(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    let steps: Vec<i64> = s.attr(a[0])?;
    if steps.iter().all(|step| *step == 1) { Ok(()) } else { Err(format!("the steps are {steps:?}")) }
}

fn composed(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    let (first, second): (Vec<i64>, Vec<i64>) = (s.attr(a[0])?, s.attr(a[1])?);
    let both: Vec<i64> = second.iter().map(|d| first[*d as usize]).collect();
    s.bind(a[2], &both)
}

/// The one dimension of a shape that is larger than 1, counted from the end, with its size; `None` for scalars.
fn only_dim(ty: &TensorType) -> Result<Option<(usize, usize)>, String> {
    let shape = ty.const_shape().ok_or("its size is not known")?;
    let large: Vec<usize> = (0..shape.len()).filter(|d| shape[*d] != 1).collect();
    match large[..] {
        [] => Ok(None),
        [d] => Ok(Some((shape.len() - 1 - d, shape[d]))),
        _ => Err(format!("{ty} varies along several dimensions")),
    }
}

fn per_output_channel(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    let (scale, weights, layout) = (s.ty(a[0])?, s.ty(a[1])?, s.attr::<DataLayout>(a[2])?);
    let mut shape = vec![Dim::from(1i64); weights.rank()];
    if let Some((from_end, size)) = only_dim(&scale).map_err(|why| format!("{}: {why}", s.say(a[0])))? {
        let channel = weights.rank() - 1 - layout.channel(weights.rank());
        s.require(from_end == channel && weights.shape[0] == Dim::from(size), a[0], "does not vary along the output channels")?;
        shape[0] = size.into();
    }
    s.bind(a[3], &shape)
}

fn per_column(s: &mut Scope, a: &[&str]) -> Result<(), String> {
    let (scale, weights, transposed) = (s.ty(a[0])?, s.ty(a[1])?, s.attr::<bool>(a[2])?);
    let mut shape = vec![Dim::from(1i64); 2];
    if let Some((from_end, size)) = only_dim(&scale).map_err(|why| format!("{}: {why}", s.say(a[0])))? {
        let column = weights.rank() - if transposed { 2 } else { 1 };
        s.require(from_end == 0 && weights.shape[column] == Dim::from(size), a[0], "does not vary along the columns")?;
        shape[usize::from(!transposed)] = size.into();
    }
    s.bind(a[3], &shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_guards_are_refused() {
        assert!(parse_guard("const(?x)").is_ok());
        assert!(parse_guard("konst(?x)").unwrap_err().contains("no guard"));
        assert!(parse_guard("const(?x, ?y)").unwrap_err().contains("takes 1"));
        assert!(parse_guard("const").is_err());
    }
}
