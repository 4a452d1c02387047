//! Elements of less than a byte as ONNX files hold them: several per byte, the first one in the lowest bits. In graphs each
//! takes a byte.

use ir::narrow::{I2, I4};
use ir::{DType, Element, Tensor};

/// Bytes that a tensor's elements take in a file; more than any file has where the product would overflow.
pub(crate) fn stored_bytes(dtype: DType, elements: usize) -> usize {
    elements.saturating_mul(dtype.bits()).div_ceil(8)
}

/// The tensor with these bytes of a file; `None` when their number does not fit.
pub(crate) fn from_stored(dtype: DType, shape: &[usize], stored: &[u8]) -> Option<Tensor> {
    let bits = dtype.bits();
    if bits >= 8 {
        return Tensor::from_bytes(dtype, shape, stored);
    }
    let elements = shape.iter().product();
    if stored.len() != stored_bytes(dtype, elements) {
        return None;
    }
    let (per_byte, mask) = (8 / bits, (1u8 << bits) - 1);
    let codes = (0..elements).map(|i| (stored[i / per_byte] >> (bits * (i % per_byte))) & mask);
    let bytes: Vec<u8> = match dtype {
        DType::I4 => codes.map(|c| I4::from_bits(c).to_i64() as u8).collect(),
        DType::I2 => codes.map(|c| I2::from_bits(c).to_i64() as u8).collect(),
        _ => codes.collect(),
    };
    Tensor::from_bytes(dtype, shape, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_is_in_the_lowest_bits() {
        let elements = |dtype, n, bytes: &[u8]| from_stored(dtype, &[n], bytes).map(|t| t.to_i64s());
        assert_eq!(elements(DType::I4, 3, &[0x8f, 0x07]), Some(vec![-1, -8, 7]));
        assert_eq!(elements(DType::U2, 5, &[0b1110_0100, 0b01]), Some(vec![0, 1, 2, 3, 1]));
        assert_eq!(elements(DType::U4, 3, &[0]), None);
    }
}
