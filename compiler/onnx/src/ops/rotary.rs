//! Rotary position embeddings: pairs of elements turned by an angle that grows with the position.

use super::attention::{join_heads, split_heads};
use super::{Row, one};
use crate::error::{Fault, invalid};
use crate::site::Site;
use ir::ops::gather::gather_op::Gather;
use ir::{Dim, ValueId};

pub(super) const ROWS: &[Row] = &[one("RotaryEmbedding", rotary)];

/// `x: [B, H, S, D]` (or heads packed into the last dimension); tables of cosines and sines by position, or per sample.
fn rotary(s: &mut Site) -> Result<ValueId, Fault> {
    let (mut x, cos, sin) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let heads = s.attributes.int_or("num_heads", 0)?;
    let is_flat = s.rank(x) == 3;
    if is_flat {
        x = split_heads(s, x, heads)?;
    }
    let shape = s.shape(x);
    if shape.len() != 4 {
        invalid!("the input must have 3 or 4 dimensions, found {}", s.ty(x));
    }
    let width = shape[3].as_const().ok_or_else(|| Fault::run_time("width of the heads"))?;
    let turned = match s.attributes.int_or("rotary_embedding_dim", 0)? {
        0 => width,
        n if n % 2 == 0 && (2..=width).contains(&n) => n,
        n => invalid!("rotary_embedding_dim is {n}, but the heads have {width} elements"),
    };
    // [B, S, half] → [B, 1, S, half]
    let table = |s: &mut Site, table: ValueId| -> Result<ValueId, Fault> {
        let chosen = match s.optional(3) {
            Some(positions) => s.add(Gather { axis: 0 }, &[table, positions])?,
            None => table,
        };
        let mut shape = s.shape(chosen);
        if shape.len() != 3 {
            invalid!("the tables must give [batch, sequence, {}] elements, found {}", turned / 2, s.ty(chosen));
        }
        shape.insert(1, 1i64.into());
        let chosen = s.reshape(chosen, shape)?;
        s.slice(chosen, 3, 0i64.into(), (turned / 2).into(), 1)
    };
    let (cos, sin) = (table(s, cos)?, table(s, sin)?);
    let head = s.slice(x, 3, 0i64.into(), turned.into(), 1)?;
    let interleaved = s.attributes.flag("interleaved")?;
    let half: Dim = (turned / 2).into();
    let (first, second) = if interleaved {
        (s.slice(head, 3, 0i64.into(), half.clone(), 2)?, s.slice(head, 3, 1i64.into(), half.clone(), 2)?)
    } else {
        (s.slice(head, 3, 0i64.into(), half.clone(), 1)?, s.slice(head, 3, half.clone(), half.clone(), 1)?)
    };
    let real = s.term("sub(mul(?a, ?b), mul(?c, ?d))", &[first, cos, second, sin])?;
    let imaginary = s.term("add(mul(?a, ?b), mul(?c, ?d))", &[first, sin, second, cos])?;
    let mut result = if interleaved {
        let mut pairs = s.shape(real);
        let joined = s.shape(head);
        pairs.push(1i64.into());
        let (real, imaginary) = (s.reshape(real, pairs.clone())?, s.reshape(imaginary, pairs)?);
        let pairs = s.concat(&[real, imaginary], 4)?;
        s.reshape(pairs, joined)?
    } else {
        s.concat(&[real, imaginary], 3)?
    };
    if turned < width {
        let rest = s.slice(x, 3, turned.into(), (width - turned).into(), 1)?;
        result = s.concat(&[result, rest], 3)?;
    }
    if is_flat { join_heads(s, result) } else { Ok(result) }
}
