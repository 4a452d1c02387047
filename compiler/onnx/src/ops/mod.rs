//! The table of ONNX operators: one row per operator (and per change of meaning), grouped by family. A row is graph text
//! or a function that builds core operators. No optimisation: passes simplify what rows write plainly.

mod absent;
pub(crate) mod attention;
mod bits;
mod contrib;
mod contrib_quant;
mod conv;
mod crop;
mod declared;
mod dropout;
mod einsum;
mod elementwise;
mod linear_attention;
mod loss;
mod matmul;
mod movement;
mod norm;
mod pad;
mod pool;
mod quant;
mod recurrent;
mod reduce;
mod resize;
mod rotary;
mod routine;
mod shape;
mod signal;
mod tfidf;
mod training;
mod variadic;

pub use absent::why_absent;

use crate::error::{Fault, Kind, invalid, unsupported};
use crate::site::Site;
use ir::ValueId;
use std::collections::HashMap;
use std::sync::OnceLock;

/// How an operator becomes core operators.
#[derive(Clone, Copy)]
pub(crate) enum Expansion {
    /// Graph text over `?a`, `?b`, … the inputs in order. `$name` is a float attribute with its default.
    Term(&'static str, &'static [(&'static str, f64)]),
    One(fn(&mut Site) -> Result<ValueId, Fault>),
    Many(fn(&mut Site) -> Result<Vec<ValueId>, Fault>),
}

/// One operator, from one version of its operator set on.
pub(crate) struct Row {
    domain: &'static str,
    name: &'static str,
    since: i64,
    expansion: Expansion,
}

const fn term(name: &'static str, text: &'static str) -> Row {
    Row { domain: "", name, since: 1, expansion: Expansion::Term(text, &[]) }
}
const fn term_with(name: &'static str, text: &'static str, attributes: &'static [(&'static str, f64)]) -> Row {
    Row { domain: "", name, since: 1, expansion: Expansion::Term(text, attributes) }
}
const fn one(name: &'static str, f: fn(&mut Site) -> Result<ValueId, Fault>) -> Row {
    Row { domain: "", name, since: 1, expansion: Expansion::One(f) }
}
const fn many(name: &'static str, f: fn(&mut Site) -> Result<Vec<ValueId>, Fault>) -> Row {
    Row { domain: "", name, since: 1, expansion: Expansion::Many(f) }
}
impl Row {
    /// The meaning from this version on; the row without it is for the versions before.
    const fn since(mut self, version: i64) -> Row {
        self.since = version;
        self
    }
    /// An operator of another domain than the default one.
    const fn of(mut self, domain: &'static str) -> Row {
        self.domain = domain;
        self
    }
}

const FAMILIES: &[&[Row]] = &[
    bits::ROWS,
    attention::ROWS,
    rotary::ROWS,
    quant::ROWS,
    signal::ROWS,
    training::ROWS,
    contrib::ROWS,
    contrib_quant::ROWS,
    tfidf::ROWS,
    conv::ROWS,
    linear_attention::ROWS,
    einsum::ROWS,
    crop::ROWS,
    dropout::ROWS,
    elementwise::ROWS,
    loss::ROWS,
    matmul::ROWS,
    movement::ROWS,
    norm::ROWS,
    pad::ROWS,
    pool::ROWS,
    recurrent::ROWS,
    reduce::ROWS,
    resize::ROWS,
    routine::ROWS,
    shape::ROWS,
    variadic::ROWS,
];

/// Operators that can be imported, as (domain, name), sorted; the default domain is `""`.
pub fn supported_ops() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut names: Vec<_> = FAMILIES.iter().flat_map(|rows| rows.iter()).map(|row| (row.domain, row.name)).collect();
    names.extend(crate::control::OPERATORS);
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}

/// The row of an operator at a version: the latest one that is not newer, else the oldest.
fn row(domain: &str, name: &str, version: i64) -> Option<&'static Row> {
    static BY_NAME: OnceLock<HashMap<&str, Vec<&Row>>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        let mut by_name: HashMap<&str, Vec<&Row>> = HashMap::new();
        FAMILIES.iter().flat_map(|rows| rows.iter()).for_each(|row| by_name.entry(row.name).or_default().push(row));
        by_name
    });
    let rows = by_name.get(name).into_iter().flatten().copied().filter(|row| row.domain == domain);
    rows.max_by_key(|row| if row.since <= version { row.since } else { -row.since })
}

/// How an operator expands at a version of its operator set.
pub(crate) fn find(domain: &str, name: &str, version: i64) -> Option<Expansion> {
    row(domain, name, version).map(|row| row.expansion)
}

/// The fault of an operator without a row.
pub(crate) fn unknown(domain: &str, name: &str) -> Fault {
    let why = why_absent(domain, name).map_or(String::new(), |why| format!(": {why}"));
    match domain {
        "" => Fault::unsupported(format!("the operator {name} is not supported{why}"))
            .hint("replace the layer by supported operators, or export with another opset; `inspect` lists what is missing"),
        domain => Fault::unsupported(format!("the operator {name} of the domain `{domain}` is not supported{why}"))
            .hint("export with standard ONNX operators only"),
    }
}

/// Builds the nodes of a row: the values of its outputs, in order.
pub(crate) fn expand(expansion: Expansion, site: &mut Site) -> Result<Vec<ValueId>, Fault> {
    match expand_row(expansion, site) {
        // An unsupported form, or a shape that is an input: there may be another way.
        Err(fault) if fault.kind == Kind::Unsupported => declared::fallback(expansion, site, &fault).unwrap_or(Err(fault)),
        result => result,
    }
}

fn expand_row(expansion: Expansion, site: &mut Site) -> Result<Vec<ValueId>, Fault> {
    match expansion {
        Expansion::One(f) => f(site).map(|v| vec![v]),
        Expansion::Many(f) => f(site),
        Expansion::Term(text, attributes) => {
            let mut text = text.to_string();
            for (name, default) in attributes {
                let value = site.attributes.float_or(name, *default)?;
                if !value.is_finite() {
                    unsupported!("attribute `{name}` is {value}");
                }
                text = text.replace(&format!("${name}"), &format!("{value:?}"));
            }
            let mut inputs = site.variadic()?;
            if site.version < 7 && inputs.len() > 1 && site.attributes.has("axis") {
                inputs[1] = along_axis(site, inputs[0], inputs[1])?;
            }
            let result = site.term(&text, &inputs)?;
            if site.op_type == "Equal" {
                elementwise::decide_equal(site, &inputs, result);
            }
            Ok(vec![result])
        }
    }
}

/// Before operator set 7 the dimensions of `b` lay on those of `a` from the attribute `axis` on.
fn along_axis(site: &mut Site, a: ValueId, b: ValueId) -> Result<ValueId, Fault> {
    let rank = site.rank(a);
    let axis = site.axis_attribute(0, rank)?;
    let mut shape = site.shape(b);
    if axis + shape.len() > rank {
        invalid!("{} does not lie on {} from dimension {axis} on", site.ty(b), site.ty(a));
    }
    shape.resize(rank - axis, 1i64.into());
    site.reshape(b, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_parse_and_name_their_attributes() {
        for row in FAMILIES.iter().flat_map(|rows| rows.iter()) {
            if let Expansion::Term(text, attributes) = row.expansion {
                let mut text = text.to_string();
                for (name, default) in attributes {
                    assert!(text.contains(&format!("${name}")), "{}: ${name} does not occur", row.name);
                    text = text.replace(&format!("${name}"), &format!("{default:?}"));
                }
                ir::text::parse_term(&text).unwrap_or_else(|e| panic!("{}: {e}", row.name));
            }
        }
    }

    #[test]
    fn versions_choose_rows() {
        for (version, since) in [(1, 1), (12, 1), (13, 13), (23, 13)] {
            assert_eq!(row("", "Softmax", version).map(|row| row.since), Some(since), "version {version}");
        }
        assert!(find("", "Nothing", 13).is_none() && find("com.example", "Relu", 13).is_none());
    }
}
