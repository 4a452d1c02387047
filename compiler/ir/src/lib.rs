//! What a model is: graph, types, sizes, operators with their meaning, and algorithms. It knows no file formats, no
//! passes, no kernels.

pub mod algorithm;
pub mod attr;
pub mod bind;
pub mod dim;
pub mod dtype;
pub mod eval;
pub mod graph;
pub mod narrow;
pub mod ops;
pub mod pointwise;
pub mod tensor;
pub mod text;
pub mod verify;

pub use algorithm::Algorithm;
pub use dim::{Bound, Dim, Symbols};
pub use dtype::{B8, DType, Element};
pub use graph::{Def, Graph, Node, NodeId, Output, TensorType, Value, ValueId};
pub use ops::{Op, OpError};
pub use pointwise::Pointwise;
pub use tensor::Tensor;
