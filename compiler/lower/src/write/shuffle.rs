//! Writes [`ir::algorithm::Shuffle`], and plain copies between views.

use crate::LowerError;
use crate::cx::{Cx, NodeCx};
use crate::view::View;
use std::sync::Arc;

pub fn write(_cx: &mut Cx, nx: &NodeCx, _nest: &ir::algorithm::Shuffle) -> Result<(), LowerError> {
    Err(LowerError::Unsupported { layer: nx.name.clone(), what: "shuffle".into() })
}

/// Copies all elements of `from` to `to`, which has the same shape and type; either may have gaps.
pub fn copy(_cx: &mut Cx, _from: &View, _to: &View, _origin: &[Arc<str>]) -> Result<(), LowerError> {
    Err(LowerError::Unsupported { layer: String::new(), what: "copy".into() })
}
