//! The table of ONNX operators: one row per operator (and per change of meaning), grouped by family. A row is graph text
//! or a function that builds core operators. No optimisation: passes simplify what rows write plainly.

mod conv;
mod elementwise;
mod matmul;
mod movement;
mod norm;
mod pad;
mod pool;
mod reduce;
mod resize;
mod shape;
mod variadic;

use crate::error::{Fault, unsupported};
use crate::site::Site;
use ir::ValueId;

/// How an operator becomes core operators.
#[derive(Clone, Copy)]
pub(crate) enum Expansion {
    /// Graph text over `?a`, `?b`, … the inputs in order. `$name` is a float attribute with its default.
    Term(&'static str, &'static [(&'static str, f64)]),
    One(fn(&mut Site) -> Result<ValueId, Fault>),
    Many(fn(&mut Site) -> Result<Vec<ValueId>, Fault>),
}

/// One operator of the default domain, from one version of the operator set on.
pub(crate) struct Row {
    name: &'static str,
    since: i64,
    expansion: Expansion,
}

const fn term(name: &'static str, text: &'static str) -> Row {
    Row { name, since: 1, expansion: Expansion::Term(text, &[]) }
}
const fn term_with(name: &'static str, text: &'static str, attributes: &'static [(&'static str, f64)]) -> Row {
    Row { name, since: 1, expansion: Expansion::Term(text, attributes) }
}
const fn one(name: &'static str, f: fn(&mut Site) -> Result<ValueId, Fault>) -> Row {
    Row { name, since: 1, expansion: Expansion::One(f) }
}
const fn many(name: &'static str, f: fn(&mut Site) -> Result<Vec<ValueId>, Fault>) -> Row {
    Row { name, since: 1, expansion: Expansion::Many(f) }
}
impl Row {
    /// The meaning from this version on; the row without it is for the versions before.
    const fn since(mut self, version: i64) -> Row {
        self.since = version;
        self
    }
}

const FAMILIES: &[&[Row]] = &[
    conv::ROWS,
    elementwise::ROWS,
    matmul::ROWS,
    movement::ROWS,
    norm::ROWS,
    pad::ROWS,
    pool::ROWS,
    reduce::ROWS,
    resize::ROWS,
    shape::ROWS,
    variadic::ROWS,
];

/// Operators that can be imported, as (domain, name), sorted; the default domain is `""`.
pub fn supported_ops() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut names: Vec<&'static str> = FAMILIES.iter().flat_map(|rows| rows.iter()).map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| ("", name))
}

/// The row of an operator of the default domain at a version: the latest one that is not newer, else the oldest.
fn row(name: &str, version: i64) -> Option<&'static Row> {
    let rows = FAMILIES.iter().flat_map(|rows| rows.iter()).filter(|row| row.name == name);
    rows.max_by_key(|row| if row.since <= version { row.since } else { -row.since })
}

/// How an operator expands at a version of its operator set.
pub(crate) fn find(domain: &str, name: &str, version: i64) -> Option<Expansion> {
    row(name, version).filter(|_| domain.is_empty()).map(|row| row.expansion)
}

/// The fault of an operator without a row.
pub(crate) fn unknown(domain: &str, name: &str) -> Fault {
    match domain {
        "" => Fault::unsupported(format!("the operator {name} is not supported"))
            .hint("replace the layer by supported operators, or export with another opset; `inspect` lists what is missing"),
        domain => Fault::unsupported(format!("the operator {name} of the domain `{domain}` is not supported"))
            .hint("export with standard ONNX operators only"),
    }
}

/// Builds the nodes of a row: the values of its outputs, in order.
pub(crate) fn expand(expansion: Expansion, site: &mut Site) -> Result<Vec<ValueId>, Fault> {
    match expansion {
        Expansion::One(f) => f(site).map(|v| vec![v]),
        Expansion::Many(f) => f(site),
        Expansion::Term(text, attributes) => {
            if site.version < 7 && site.inputs.len() > 1 && site.attributes.has("axis") {
                unsupported!("broadcasting along an axis, as before operator set 7, is not supported");
            }
            let mut text = text.to_string();
            for (name, default) in attributes {
                let value = site.attributes.float_or(name, *default)?;
                if !value.is_finite() {
                    unsupported!("attribute `{name}` is {value}");
                }
                text = text.replace(&format!("${name}"), &format!("{value:?}"));
            }
            let inputs = site.variadic()?;
            let result = site.term(&text, &inputs)?;
            if site.op_type == "Equal" {
                elementwise::decide_equal(site, &inputs, result);
            }
            Ok(vec![result])
        }
    }
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
            assert_eq!(row("Softmax", version).map(|row| row.since), Some(since), "version {version}");
        }
        assert!(find("", "Nothing", 13).is_none() && find("com.example", "Relu", 13).is_none());
    }
}
