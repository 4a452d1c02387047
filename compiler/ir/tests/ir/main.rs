//! Tests of the crate's public face, in one binary. What is checked stands at the head of each module.

mod algorithms;
mod control;
mod dim;
mod graph;
mod instances;
mod pointwise;
mod text;
