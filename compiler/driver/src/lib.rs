//! The driver: options → config → pipeline → report, a host that runs modules, and what the command line offers. It
//! compiles nothing itself; every step belongs to one of the other crates.

pub mod bench;
pub mod beside;
pub mod cli;
pub mod compare;
pub mod dump;
pub mod engine;
mod error;
pub mod export;
pub mod inspect;
pub mod npz;
pub mod options;
pub mod oracle;
pub mod quantize;
pub mod report;
pub mod serve;
#[cfg(feature = "tract")]
pub mod tract;
pub mod tune;
pub mod types;
pub mod verify;
mod write;

pub use engine::{Instance, LoadOptions, NamedTensor, StopHandle};
pub use error::Error;
pub use export::{Compiled, Source, Stage, compile, export};
pub use options::{Config, ExportOptions, ModelOptions};
pub use report::ExportReport;
pub use write::write_atomically;

/// Name and version, as manifests and `--version` show it.
pub const PRODUCER: &str = concat!("wasm-torch ", env!("CARGO_PKG_VERSION"));
