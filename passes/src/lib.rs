//! How a graph is improved: one ordered table of passes, local rewrites as rules in the graph's own notation, and the
//! runner that verifies after every pass. It reads no clock and no file, and knows nothing about kernels.
//!
//! Levels: `O0` runs nothing; `O1` folding, dead code, sharing; `O2` adds every algebraically exact fusion and the
//! channels-last layout; `O3` has the passes of `O2`: what changes rounding on purpose happens in the lowering.

mod attention;
mod check;
mod compress;
mod context;
mod control;
mod dead;
mod error;
mod fold;
mod fuse;
mod layout;
mod pipeline;
pub mod quantize;
pub mod rules;
mod run;
mod share;

pub use check::{CheckOptions, random_inputs, same_results};
pub use compress::WeightType;
pub use context::{Context, Note};
pub use error::PassError;
pub use pipeline::{Level, PIPELINE, Pass, names, pass_named};
pub use run::{Event, Options, PassReport, Report, run};
