//! Operators that sum products: matrix products and convolutions.

pub mod conv;
pub mod matmul;
