//! Sizes: integer expressions over named symbols in a normal form, so that equal sizes compare equal.
//!
//! A [`Dim`] is a polynomial with integer coefficients over *atoms*: symbols, and quotients, remainders, minima and
//! maxima of other dims. Bounds of the symbols live in a [`Symbols`] table, which belongs to the graph.

use indexmap::IndexMap;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};
use std::sync::Arc;

/// An integer expression over symbols.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Const(i64),
    /// Monomials (sorted products of atoms; the empty product is the constant term) with non-zero coefficients.
    /// Holds at least one atom: constants are always `Const`.
    Poly(Arc<BTreeMap<Vec<Atom>, i64>>),
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Symbol(Arc<str>),
    /// Floor division, remainder with the divisor's sign, minimum, maximum.
    Binary(DimFn, Dim, Dim),
}

/// Functions of dims beyond polynomials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DimFn {
    FloorDiv,
    Mod,
    Min,
    Max,
}

impl DimFn {
    const ALL: [(DimFn, &'static str); 4] = [(DimFn::FloorDiv, "floordiv"), (DimFn::Mod, "mod"), (DimFn::Min, "min"), (DimFn::Max, "max")];
    pub fn from_name(name: &str) -> Option<DimFn> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(f, _)| *f)
    }
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(f, _)| *f == self).map_or("", |(_, n)| n)
    }
    fn apply(self, a: i64, b: i64) -> Option<i64> {
        Some(match self {
            DimFn::FloorDiv => a.checked_div_euclid(b).filter(|_| b > 0)?,
            DimFn::Mod => a.checked_rem_euclid(b).filter(|_| b > 0)?,
            DimFn::Min => a.min(b),
            DimFn::Max => a.max(b),
        })
    }
}

/// Where the operations of a [`Dim`] can be done; see [`Dim::compute`].
pub trait Algebra {
    type Value;
    fn constant(&mut self, c: i64) -> Self::Value;
    fn symbol(&mut self, name: &str) -> Self::Value;
    fn add(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    fn multiply(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    fn binary(&mut self, f: DimFn, a: Self::Value, b: Self::Value) -> Self::Value;
}

/// Quotients of polynomials with more terms are not looked for.
const MOST_TERMS: usize = 32;

/// The inclusive range of values a symbol may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    pub min: i64,
    /// `None`: no bound is known yet.
    pub max: Option<i64>,
}

/// Symbols by name, in order of first appearance.
pub type Symbols = IndexMap<Arc<str>, Bound>;

impl Dim {
    pub fn symbol(name: &str) -> Dim {
        Dim::from_terms(BTreeMap::from([(vec![Atom::Symbol(name.into())], 1)]))
    }

    /// The value, if no symbol is involved.
    pub fn as_const(&self) -> Option<i64> {
        match self.0 {
            Repr::Const(c) => Some(c),
            Repr::Poly(_) => None,
        }
    }

    /// The symbol, if the size is exactly one.
    pub fn as_symbol(&self) -> Option<Arc<str>> {
        let Repr::Poly(terms) = &self.0 else { return None };
        match terms.iter().next() {
            Some((atoms, 1)) if terms.len() == 1 => match &atoms[..] {
                [Atom::Symbol(name)] => Some(name.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    pub fn is_const(&self) -> bool {
        self.as_const().is_some()
    }

    fn terms(&self) -> BTreeMap<Vec<Atom>, i64> {
        match &self.0 {
            Repr::Const(0) => BTreeMap::new(),
            Repr::Const(c) => BTreeMap::from([(vec![], *c)]),
            Repr::Poly(p) => (**p).clone(),
        }
    }

    fn from_terms(mut terms: BTreeMap<Vec<Atom>, i64>) -> Dim {
        terms.retain(|_, c| *c != 0);
        match terms.len() {
            0 => Dim(Repr::Const(0)),
            1 if terms.contains_key(&vec![]) => Dim(Repr::Const(terms[&vec![]])),
            _ => Dim(Repr::Poly(Arc::new(terms))),
        }
    }

    /// `self / divisor` when the quotient is known to be exact: `s*64 / 64`, `s*h*4 / (h*2)`, `(16*s+16) / (8*s+8)`.
    pub fn div_exact(&self, divisor: &Dim) -> Option<Dim> {
        if let (Some(a), Some(b)) = (self.as_const(), divisor.as_const()) {
            return (b != 0 && a % b == 0).then(|| (a / b).into());
        }
        if self == divisor {
            return Some(1.into());
        }
        // Long division by the divisor's leading monomial.
        let leading = |dim: &Dim| dim.terms().into_iter().max_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        let (product, coefficient) = leading(divisor)?;
        let (mut quotient, mut rest) = (Dim::from(0), self.clone());
        for _ in 0..MOST_TERMS {
            let Some((mut atoms, c)) = leading(&rest) else { return Some(quotient) };
            for atom in &product {
                atoms.remove(atoms.iter().position(|a| a == atom)?);
            }
            if c % coefficient != 0 {
                return None;
            }
            let term = Dim::from_terms(BTreeMap::from([(atoms, c / coefficient)]));
            rest = rest - divisor.clone() * term.clone();
            quotient = quotient + term;
        }
        None
    }

    /// The function applied to two sizes.
    pub fn binary(f: DimFn, a: Dim, b: Dim) -> Dim {
        if let (Some(x), Some(y)) = (a.as_const(), b.as_const())
            && let Some(value) = f.apply(x, y)
        {
            return value.into();
        }
        match f {
            DimFn::FloorDiv if let Some(q) = a.div_exact(&b) => q,
            DimFn::Mod if a.div_exact(&b).is_some() => 0.into(),
            DimFn::Min | DimFn::Max if a == b => a,
            _ => Dim::from_terms(BTreeMap::from([(vec![Atom::Binary(f, a, b)], 1)])),
        }
    }

    /// Quotient rounded towards negative infinity; the divisor is positive.
    pub fn floor_div(self, divisor: impl Into<Dim>) -> Dim {
        Dim::binary(DimFn::FloorDiv, self, divisor.into())
    }

    /// Quotient rounded towards positive infinity; the divisor is positive.
    pub fn ceil_div(self, divisor: impl Into<Dim>) -> Dim {
        let divisor = divisor.into();
        (self + divisor.clone() - 1).floor_div(divisor)
    }

    /// Remainder in 0..divisor; the divisor is positive.
    pub fn modulo(self, divisor: impl Into<Dim>) -> Dim {
        Dim::binary(DimFn::Mod, self, divisor.into())
    }

    pub fn min(self, other: impl Into<Dim>) -> Dim {
        Dim::binary(DimFn::Min, self, other.into())
    }

    pub fn max(self, other: impl Into<Dim>) -> Dim {
        Dim::binary(DimFn::Max, self, other.into())
    }

    /// Replaces symbols by what `value` gives for them; symbols it does not know stay.
    pub fn substitute(&self, value: &dyn Fn(&str) -> Option<Dim>) -> Dim {
        let Repr::Poly(terms) = &self.0 else { return self.clone() };
        terms.iter().fold(Dim::from(0), |sum, (atoms, c)| {
            sum + atoms.iter().fold(Dim::from(*c), |product, atom| {
                product
                    * match atom {
                        Atom::Symbol(name) => value(name).unwrap_or_else(|| Dim::symbol(name)),
                        Atom::Binary(f, a, b) => Dim::binary(*f, a.substitute(value), b.substitute(value)),
                    }
            })
        })
    }

    /// The expression computed in another algebra: as code, as data for a host.
    pub fn compute<A: Algebra>(&self, algebra: &mut A) -> A::Value {
        let Repr::Poly(terms) = &self.0 else { return algebra.constant(self.as_const().unwrap_or(0)) };
        let mut sum: Option<A::Value> = None;
        // The constant term, which sorts first, is added last.
        for (atoms, c) in terms.iter().rev() {
            let mut product: Option<A::Value> = (*c != 1 || atoms.is_empty()).then(|| algebra.constant(*c));
            for atom in atoms {
                let factor = match atom {
                    Atom::Symbol(name) => algebra.symbol(name),
                    Atom::Binary(f, a, b) => {
                        let (a, b) = (a.compute(algebra), b.compute(algebra));
                        algebra.binary(*f, a, b)
                    }
                };
                product = Some(match product {
                    Some(product) => algebra.multiply(product, factor),
                    None => factor,
                });
            }
            let product = product.unwrap_or_else(|| algebra.constant(1));
            sum = Some(match sum {
                Some(sum) => algebra.add(sum, product),
                None => product,
            });
        }
        sum.unwrap_or_else(|| algebra.constant(0))
    }

    /// Names of the symbols in this expression, each once, in order.
    pub fn symbols(&self) -> Vec<Arc<str>> {
        fn collect(dim: &Dim, into: &mut Vec<Arc<str>>) {
            let Repr::Poly(terms) = &dim.0 else { return };
            for atom in terms.keys().flatten() {
                match atom {
                    Atom::Symbol(name) if !into.contains(name) => into.push(name.clone()),
                    Atom::Symbol(_) => {}
                    Atom::Binary(_, a, b) => {
                        collect(a, into);
                        collect(b, into);
                    }
                }
            }
        }
        let mut names = vec![];
        collect(self, &mut names);
        names
    }

    /// Smallest and largest value over the symbols' bounds, by interval arithmetic (never too narrow).
    /// `None` for an end that is unbounded.
    pub fn range(&self, symbols: &Symbols) -> (Option<i64>, Option<i64>) {
        let Repr::Poly(terms) = &self.0 else { return (self.as_const(), self.as_const()) };
        let mut sum = (Some(0i64), Some(0i64));
        for (atoms, c) in terms.iter() {
            let mut product = (Some(*c), Some(*c));
            for atom in atoms {
                let range = match atom {
                    Atom::Symbol(name) => symbols.get(name).map_or((Some(0), None), |b| (Some(b.min), b.max)),
                    Atom::Binary(f, a, b) => binary_range(*f, a.range(symbols), b.range(symbols)),
                };
                product = multiply_ranges(product, range);
            }
            let add = |a: Option<i64>, b: Option<i64>| a.zip(b).and_then(|(a, b)| a.checked_add(b));
            sum = (add(sum.0, product.0), add(sum.1, product.1));
        }
        sum
    }
}

type Range = (Option<i64>, Option<i64>);

/// Corners of the product; an unbounded end with a possibly positive and negative other factor makes both ends unbounded.
fn multiply_ranges(a: Range, b: Range) -> Range {
    if let (Some(a0), Some(a1), Some(b0), Some(b1)) = (a.0, a.1, b.0, b.1) {
        let corners = [(a0, b0), (a0, b1), (a1, b0), (a1, b1)].map(|(x, y)| x.checked_mul(y));
        return (
            corners.into_iter().collect::<Option<Vec<_>>>().and_then(|c| c.into_iter().min()),
            corners.into_iter().collect::<Option<Vec<_>>>().and_then(|c| c.into_iter().max()),
        );
    }
    match (a.0, b.0) {
        (Some(x), Some(y)) if x >= 0 && y >= 0 => (x.checked_mul(y), None),
        _ => (None, None),
    }
}

fn binary_range(f: DimFn, a: Range, b: Range) -> Range {
    match f {
        DimFn::FloorDiv => match (b.0, b.1) {
            (Some(lo), hi) if lo > 0 => {
                let low = a.0.map(|x| if x >= 0 { hi.map_or(0, |h| x.div_euclid(h)) } else { x.div_euclid(lo) });
                let high = a.1.map(|x| if x >= 0 { x.div_euclid(lo) } else { hi.map_or(-1, |h| x.div_euclid(h)) });
                (low, high)
            }
            _ => (None, None),
        },
        DimFn::Mod => (Some(0), b.1.map(|x| x - 1)),
        DimFn::Min => (a.0.zip(b.0).map(|(x, y)| x.min(y)), a.1.into_iter().chain(b.1).min()),
        DimFn::Max => (a.0.into_iter().chain(b.0).max(), a.1.zip(b.1).map(|(x, y)| x.max(y))),
    }
}

impl From<i64> for Dim {
    fn from(c: i64) -> Dim {
        Dim(Repr::Const(c))
    }
}
impl From<i32> for Dim {
    fn from(c: i32) -> Dim {
        Dim(Repr::Const(c.into()))
    }
}
impl From<usize> for Dim {
    fn from(c: usize) -> Dim {
        Dim(Repr::Const(c as i64))
    }
}

impl<T: Into<Dim>> Add<T> for Dim {
    type Output = Dim;
    fn add(self, other: T) -> Dim {
        let mut terms = self.terms();
        for (atoms, c) in other.into().terms() {
            let sum = terms.entry(atoms).or_insert(0);
            *sum = sum.saturating_add(c);
        }
        Dim::from_terms(terms)
    }
}
impl<T: Into<Dim>> Sub<T> for Dim {
    type Output = Dim;
    fn sub(self, other: T) -> Dim {
        self + -other.into()
    }
}
impl Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        self * -1i64
    }
}
impl<T: Into<Dim>> Mul<T> for Dim {
    type Output = Dim;
    fn mul(self, other: T) -> Dim {
        let other = other.into().terms();
        let mut terms: BTreeMap<Vec<Atom>, i64> = BTreeMap::new();
        for (a, x) in self.terms() {
            for (b, y) in &other {
                let mut atoms = a.clone();
                atoms.extend(b.iter().cloned());
                atoms.sort();
                let sum = terms.entry(atoms).or_insert(0);
                *sum = sum.saturating_add(x.saturating_mul(*y));
            }
        }
        Dim::from_terms(terms)
    }
}
impl std::iter::Product for Dim {
    fn product<I: Iterator<Item = Dim>>(iter: I) -> Dim {
        iter.fold(1.into(), |a, b| a * b)
    }
}
impl<'a> std::iter::Product<&'a Dim> for Dim {
    fn product<I: Iterator<Item = &'a Dim>>(iter: I) -> Dim {
        iter.cloned().product()
    }
}
impl PartialEq<i64> for Dim {
    fn eq(&self, other: &i64) -> bool {
        self.as_const() == Some(*other)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let terms = match &self.0 {
            Repr::Const(c) => return write!(f, "{c}"),
            Repr::Poly(terms) => terms,
        };
        for (i, (atoms, c)) in terms.iter().rev().enumerate() {
            match (i, *c < 0) {
                (0, true) => write!(f, "-")?,
                (0, false) => {}
                (_, negative) => write!(f, "{}", if negative { "-" } else { "+" })?,
            }
            let mut factors: Vec<String> = atoms.iter().map(ToString::to_string).collect();
            if c.unsigned_abs() != 1 || atoms.is_empty() {
                factors.insert(0, c.unsigned_abs().to_string());
            }
            write!(f, "{}", factors.join("*"))?;
        }
        Ok(())
    }
}
impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Atom::Symbol(name) if is_word(name) => write!(f, "{name}"),
            Atom::Symbol(name) => write!(f, "{name:?}"),
            Atom::Binary(g, a, b) => write!(f, "{}({a},{b})", g.name()),
        }
    }
}
/// Names that need no quotes.
fn is_word(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Row-major product of sizes, when all are known.
pub fn const_dims(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(|d| d.as_const().and_then(|c| usize::try_from(c).ok())).collect()
}
