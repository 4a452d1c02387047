//! Operators that move elements or rename shapes without computing.

pub mod concat;
pub mod expand;
pub mod pad;
pub mod reshape;
pub mod sizes;
pub mod slice;
pub mod transpose;
