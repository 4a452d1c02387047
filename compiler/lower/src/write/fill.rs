//! Fills the margin (halo) of a buffer with the padding value, before its producer writes the interior.

use crate::LowerError;
use crate::cx::Cx;
use crate::layout::Halo;
use crate::view::View;
use std::sync::Arc;

/// Adds a step that fills everything of `whole` that is outside `interior`.
pub fn halo(_cx: &mut Cx, _whole: &View, _interior: &View, _halo: &Halo, _origin: &[Arc<str>]) -> Result<(), LowerError> {
    Err(LowerError::Unsupported { layer: String::new(), what: "halo".into() })
}
