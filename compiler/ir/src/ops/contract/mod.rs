//! Operators that sum products: matrix products and convolutions.

use crate::dtype::DType;
use crate::ops::map::scalar::cast;
use crate::tensor::Tensor;

pub mod conv;
pub mod matmul;

/// The type of sums of products. Operands have one type, which is also that of the sums; but two integers of 8 bits, of
/// either sign, have exact sums of `i32`.
pub fn sum_type(a: DType, b: DType) -> Option<DType> {
    let is_byte = |t: DType| matches!(t, DType::I8 | DType::U8);
    match (a, b) {
        (a, b) if is_byte(a) && is_byte(b) => Some(DType::I32),
        (a, b) => (a == b).then_some(a),
    }
}

/// Both operands in the type of their sums.
fn widened(a: &Tensor, b: &Tensor) -> [Tensor; 2] {
    let sum = sum_type(a.dtype, b.dtype).expect("checked by infer");
    [a, b].map(|t| if t.dtype == sum { t.clone() } else { cast(t, sum) })
}
