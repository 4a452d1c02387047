//! A routine: an irregular operator whose code is plain Rust, in the crate `routines`.

/// A call of a routine on the node's inputs and outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Routine {
    /// A name of the crate's table.
    pub name: &'static str,
    pub ints: Vec<i64>,
    pub floats: Vec<f64>,
    /// The output is input 0; the routine gets the inputs from 1 on and only checks them.
    pub passes: bool,
}
