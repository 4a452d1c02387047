//! Lowers a graph to a plan: chooses layouts and schedules, writes kernels, packs weights, places buffers. It reads no
//! model files and writes no wasm; how a kernel becomes bytes is `kernel`'s business, how a plan becomes a file `link`'s.

mod alias;
mod control;
pub mod cx;
mod driver;
pub mod extent;
mod free;
pub mod lanes;
pub mod layout;
pub mod memory;
mod once;
pub mod plan;
pub mod pointwise;
pub mod print;
pub mod schedule;
mod share;
mod slots;
mod state;
pub mod view;
mod write;

pub use cx::{Options, Product};
pub use driver::{lower, lower_like, lower_with_products};
pub use plan::Plan;
pub use share::share;

/// Why a graph cannot be lowered. Each names the layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    #[error("{layer}: the size {dim} is free; bind it, e.g. --dim {symbol}=1")]
    FreeSize { layer: String, dim: String, symbol: String },
    #[error("{layer}: {operator} does not support the free size {dim} yet; bind it, e.g. --dim {symbol}=1")]
    FreeOperator { layer: String, operator: String, dim: String, symbol: String },
    #[error("the state {output}={input}: {what}")]
    State { output: String, input: String, what: String },
    #[error("{layer}: {what} is not supported")]
    Unsupported { layer: String, what: String },
    #[error(
        "the model needs {bytes} bytes of {what}; a 32-bit memory holds at most {limit}\nhint: bind dimensions to smaller sizes with --dim, or store weights in fewer bits with --quantize int8-dynamic"
    )]
    TooLarge { what: &'static str, bytes: u64, limit: u64 },
    #[error("compiler bug in {layer}: {what}")]
    Bug { layer: String, what: String },
}
