//! Recurrences over time.

mod cells;
pub mod recurrent_op;
