//! Operators on the bits of integers, and elements under another type.

use super::{Row, one, term};
use crate::error::{Fault, invalid};
use crate::site::Site;
use crate::tensor::dtype;
use ir::ValueId;
use ir::pointwise::Fn;

pub(super) const ROWS: &[Row] = &[
    one("BitCast", bit_cast),
    one("BitShift", shift),
    term("BitwiseAnd", "and(?a, ?b)"),
    term("BitwiseNot", "not(?a)"),
    term("BitwiseOr", "or(?a, ?b)"),
    term("BitwiseXor", "xor(?a, ?b)"),
];

fn bit_cast(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let Some(to) = s.attributes.int("to")? else { invalid!("the attribute `to` is missing") };
    let to = dtype(i32::try_from(to).unwrap_or(-1))?;
    if s.dtype(x) == to { Ok(x) } else { s.unary(Fn::Bits(to), x) }
}

fn shift(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, n) = (s.input(0)?, s.input(1)?);
    match s.attributes.string_or("direction", "")? {
        "LEFT" => s.binary(Fn::Shl, x, n),
        "RIGHT" => s.binary(Fn::Shr, x, n),
        other => invalid!("the direction `{other}` does not exist; expected `LEFT` or `RIGHT`"),
    }
}
