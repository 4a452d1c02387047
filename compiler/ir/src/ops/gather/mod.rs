//! Operators whose indices are data.

pub mod gather_op;
