//! Writes [`ir::algorithm::Reduce`].

use crate::LowerError;
use crate::cx::{Cx, NodeCx};

pub fn write(_cx: &mut Cx, nx: &NodeCx, _nest: &ir::algorithm::Reduce) -> Result<(), LowerError> {
    Err(LowerError::Unsupported { layer: nx.name.clone(), what: "reduce".into() })
}
