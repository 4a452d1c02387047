//! Pointwise expressions as SIMD code, four elements at a time.

use crate::lanes::Lanes;
use ir::{DType, Pointwise};
use kernel::K;

/// True when every step of the expression can be computed in kernels for these argument types; else what cannot.
pub fn supported(_body: &Pointwise, _types: &[DType]) -> Result<(), String> { todo!() }

/// The value of the expression for one group of four elements. Precondition: [`supported`].
pub fn emit(_k: &mut K, _body: &Pointwise, _types: &[DType], _args: &[Lanes]) -> Lanes { todo!() }
