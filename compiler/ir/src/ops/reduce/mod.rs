//! Operators that combine groups of elements.

pub mod normalize;
pub mod reduce_op;
pub mod softmax;
