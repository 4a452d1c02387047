//! Reads ONNX files into graphs: protobuf, tensors, layer names, and one table row per ONNX operator, which expands into core
//! operators. It optimises nothing.

mod attributes;
mod census;
mod control;
mod error;
mod flex_attention;
mod flow;
mod function;
mod import;
mod inputs;
mod load;
mod ops;
mod origin;
mod packed;
#[rustfmt::skip]
pub mod proto;
mod sequences;
mod site;
mod tensor;

pub use census::{Census, Declared, census_bytes, census_file};
pub use error::{ImportErrors, Kind, Problem};
pub use import::{Imported, import_bytes, import_file};
pub use inputs::{Binding, ImportOptions};
pub use ops::{supported_ops, why_absent};
pub use tensor::tensor_from_proto;
