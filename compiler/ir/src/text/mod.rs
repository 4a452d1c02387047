//! The text form of graphs, expressions and terms: printing, parsing and building from templates. It checks syntax, names
//! and types as it builds; everything else is the verifier's.
//!
//! ```text
//! graph "net"
//! symbol batch: 1..64
//! %0 "x": f32[batch,3,8,8] = input
//! %1 "w": f32[4,3,3,3] = const random(7)
//! %2 "b": f32[4,1,1] = const [0.5, 0.0, -1.0, 2.0]
//! %3 "y": f32[batch,4,8,8] = conv(%0, %1, %2; strides=[1,1], …, epilogue={relu(add(%0, %1))}) @ "layer1.conv", "layer1.bn"
//! output "y" = %3
//! ```
//!
//! Values are numbered as they are printed: inputs, then each node after the constants that it is the first to use. A
//! parsed graph prints to the same text. What the text leaves out: nodes that no output needs, known sizes of inputs
//! (those of constants and nodes are inferred again), NaN payloads, and the elements of constants that print as
//! `const #hash`, which [`parse_graph_with`] asks its caller for. A node without `@` gets its value's name as origin.

mod lex;
mod parse;
mod print;
mod term;

pub use parse::{parse_dim, parse_graph, parse_graph_with, parse_pointwise, parse_type};
pub use term::{Term, TermAttr, instantiate, parse_term};

/// A place in a text that cannot be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TextError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    pub message: String,
}
