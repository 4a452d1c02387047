//! Operators that combine any number of inputs, element by element.

use super::{Row, one};
use crate::error::Fault;
use crate::site::Site;
use ir::ValueId;
use ir::pointwise::Fn;

pub(super) const ROWS: &[Row] =
    &[one("Max", |s| combine(s, Fn::Max)), one("Mean", mean), one("Min", |s| combine(s, Fn::Min)), one("Sum", |s| combine(s, Fn::Add))];

fn combine(s: &mut Site, f: Fn) -> Result<ValueId, Fault> {
    let inputs = s.variadic()?;
    inputs[1..].iter().try_fold(inputs[0], |result, v| s.binary(f, result, *v))
}

fn mean(s: &mut Site) -> Result<ValueId, Fault> {
    let sum = combine(s, Fn::Add)?;
    s.binary(Fn::Div, sum, s.inputs.len() as f64)
}
