//! Tensors as a routine sees them: an element type, a shape and bytes. Elements are read and written as bits, as `i64`, as
//! `f64`, or as keys that sort like the elements, so that most routines exist once and not once per type.

/// Element type: class and size, `class << 4 | log2(bytes)`, so that sizes need no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DType(pub u8);

impl DType {
    pub const F16: DType = DType(0x01);
    pub const F32: DType = DType(0x02);
    pub const F64: DType = DType(0x03);
    pub const BF16: DType = DType(0x11);
    pub const BOOL: DType = DType(0x40);
    /// Of 1, 2, 4 or 8 bytes.
    pub const fn signed(bytes: usize) -> DType {
        DType(0x20 | bytes.trailing_zeros() as u8)
    }
    pub const fn unsigned(bytes: usize) -> DType {
        DType(0x30 | bytes.trailing_zeros() as u8)
    }
    const fn log2(self) -> u8 {
        self.0 & 3
    }
    pub const fn bytes(self) -> usize {
        1 << self.log2()
    }
    const fn class(self) -> u8 {
        self.0 >> 4
    }
    pub const fn is_float(self) -> bool {
        self.class() < 2
    }
    const fn is_signed(self) -> bool {
        self.class() == 2
    }
}

/// A tensor to read. Reading outside of it gives 0.
#[derive(Clone, Copy)]
pub struct Tensor<'m> {
    pub dtype: DType,
    pub shape: &'m [u32],
    pub bytes: &'m [u8],
}

/// A tensor to write. Writing outside of it does nothing.
pub struct TensorMut<'m> {
    pub dtype: DType,
    pub shape: &'m [u32],
    pub bytes: &'m mut [u8],
}

/// A cut of a shape at an axis: elements before, along and after it.
#[derive(Clone, Copy)]
pub struct Cut {
    pub outer: usize,
    pub n: usize,
    pub inner: usize,
}

impl Cut {
    pub fn at(&self, outer: usize, i: usize, inner: usize) -> usize {
        (outer * self.n + i) * self.inner + inner
    }
}

pub fn dim(shape: &[u32], d: usize) -> usize {
    shape.get(d).map_or(1, |s| *s as usize)
}

#[inline(never)]
pub fn product(shape: &[u32]) -> usize {
    shape.iter().fold(1, |n, d| n * *d as usize)
}

#[inline(never)]
pub fn cut(shape: &[u32], axis: usize) -> Cut {
    let before = shape.get(..axis).unwrap_or(shape);
    let after = shape.get(axis + 1..).unwrap_or(&[]);
    Cut { outer: product(before), n: dim(shape, axis), inner: product(after) }
}

fn load<const N: usize>(bytes: &[u8], i: usize) -> [u8; N] {
    bytes.get(i * N..i * N + N).and_then(|b| b.try_into().ok()).unwrap_or([0; N])
}

fn store<const N: usize>(bytes: &mut [u8], i: usize, value: [u8; N]) {
    if let Some(to) = bytes.get_mut(i * N..i * N + N)
        && let Ok(to) = <&mut [u8; N]>::try_from(to)
    {
        *to = value;
    }
}

impl<'m> Tensor<'m> {
    /// No tensor.
    pub const EMPTY: Tensor<'static> = Tensor { dtype: DType(0x02), shape: &[], bytes: &[] };

    pub fn len(&self) -> usize {
        self.bytes.len() >> self.dtype.log2()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
    pub fn dim(&self, d: usize) -> usize {
        dim(self.shape, d)
    }

    /// The bits of element `i`.
    #[inline(never)]
    pub fn bits(&self, i: usize) -> u64 {
        match self.dtype.log2() {
            0 => u64::from(self.bytes.get(i).copied().unwrap_or(0)),
            1 => u64::from(u16::from_le_bytes(load(self.bytes, i))),
            2 => u64::from(u32::from_le_bytes(load(self.bytes, i))),
            _ => u64::from_le_bytes(load(self.bytes, i)),
        }
    }

    /// Element `i` of an integer tensor, modulo 2^64; a float truncates.
    #[inline(never)]
    pub fn int(&self, i: usize) -> i64 {
        if self.dtype.is_float() {
            return self.float(i) as i64;
        }
        let shift = 64 - 8 * self.dtype.bytes() as u32;
        let bits = (self.bits(i) as i64) << shift;
        if self.dtype.is_signed() { bits >> shift } else { (bits as u64 >> shift) as i64 }
    }

    #[inline(never)]
    pub fn float(&self, i: usize) -> f64 {
        to_float(self.dtype, self.bits(i))
    }

    /// An integer that sorts as element `i` does. −0 equals 0; every NaN is the same and above all numbers.
    #[inline(never)]
    pub fn key(&self, i: usize) -> i64 {
        if self.dtype.is_float() {
            let x = self.float(i);
            if x.is_nan() {
                return i64::MAX;
            }
            let bits = if x == 0.0 { 0 } else { x.to_bits() as i64 };
            return if bits < 0 { !bits ^ i64::MIN } else { bits };
        }
        if self.dtype == DType::unsigned(8) { self.int(i) ^ i64::MIN } else { self.int(i) }
    }

    /// An index that may count from the end, as a position in 0..n.
    #[inline(never)]
    pub fn index(&self, i: usize, n: usize) -> Option<usize> {
        let raw = self.int(i);
        let at = if raw < 0 { raw.wrapping_add(n as i64) } else { raw };
        if at >= 0 && at < n as i64 { Some(at as usize) } else { None }
    }
}

impl<'m> TensorMut<'m> {
    pub fn as_ref(&self) -> Tensor<'_> {
        Tensor { dtype: self.dtype, shape: self.shape, bytes: self.bytes }
    }
    pub fn len(&self) -> usize {
        self.bytes.len() >> self.dtype.log2()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn dim(&self, d: usize) -> usize {
        dim(self.shape, d)
    }

    #[inline(never)]
    pub fn set_bits(&mut self, i: usize, bits: u64) {
        match self.dtype.log2() {
            0 => store(self.bytes, i, [bits as u8]),
            1 => store(self.bytes, i, (bits as u16).to_le_bytes()),
            2 => store(self.bytes, i, (bits as u32).to_le_bytes()),
            _ => store(self.bytes, i, bits.to_le_bytes()),
        }
    }

    /// Stores an integer, modulo 2^n; in a float tensor as the nearest float.
    #[inline(never)]
    pub fn set_int(&mut self, i: usize, value: i64) {
        if self.dtype.is_float() {
            return self.set_float(i, value as f64);
        }
        self.set_bits(i, value as u64);
    }

    /// Stores a number: rounded to the nearest float, or truncated to an integer.
    #[inline(never)]
    pub fn set_float(&mut self, i: usize, value: f64) {
        let bits = from_float(self.dtype, value);
        self.set_bits(i, bits);
    }

    /// Copies `n` elements of a tensor of the same element size.
    #[inline(never)]
    pub fn copy(&mut self, to: usize, from: &Tensor, at: usize, n: usize) {
        let size = self.dtype.bytes();
        let target = self.bytes.get_mut(to * size..(to + n) * size);
        let source = from.bytes.get(at * size..(at + n) * size);
        if let (Some(target), Some(source)) = (target, source)
            && target.len() == source.len()
        {
            target.copy_from_slice(source);
        }
    }

    /// Sets all elements to 0.
    pub fn clear(&mut self) {
        self.bytes.fill(0);
    }
}

/// How values at one place combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    Replace,
    Add,
    Mul,
    Min,
    Max,
}

impl Combine {
    /// 0…4 in the order of the variants.
    pub fn from_int(i: i64) -> Combine {
        match i {
            1 => Combine::Add,
            2 => Combine::Mul,
            3 => Combine::Min,
            4 => Combine::Max,
            _ => Combine::Replace,
        }
    }

    /// Bits of the combination of two elements. A float result is rounded once; NaN propagates.
    #[inline(never)]
    pub fn apply(self, dtype: DType, a: u64, b: u64) -> u64 {
        if dtype.is_float() {
            let (x, y) = (to_float(dtype, a), to_float(dtype, b));
            let pick = |first: bool| if x.is_nan() || (first && !y.is_nan()) { a } else { b };
            return match self {
                Combine::Replace => b,
                Combine::Add => from_float(dtype, x + y),
                Combine::Mul => from_float(dtype, x * y),
                Combine::Min => pick(x <= y),
                Combine::Max => pick(x >= y),
            };
        }
        let key = |bits: u64| {
            let shift = 64 - 8 * dtype.bytes() as u32;
            let top = (bits << shift) as i64;
            if dtype.is_signed() { top } else { top ^ i64::MIN }
        };
        match self {
            Combine::Replace => b,
            Combine::Add if dtype == DType::BOOL => a | b,
            Combine::Mul if dtype == DType::BOOL => a & b,
            Combine::Add => a.wrapping_add(b),
            Combine::Mul => a.wrapping_mul(b),
            Combine::Min => {
                if key(a) <= key(b) {
                    a
                } else {
                    b
                }
            }
            Combine::Max => {
                if key(a) >= key(b) {
                    a
                } else {
                    b
                }
            }
        }
    }

    /// Bits of the neutral element; `Replace` has none and gives 0.
    #[inline(never)]
    pub fn neutral(self, dtype: DType) -> u64 {
        let (low, high) = if dtype.is_float() {
            (from_float(dtype, f64::NEG_INFINITY), from_float(dtype, f64::INFINITY))
        } else {
            let ones = u64::MAX >> (64 - 8 * dtype.bytes() as u32);
            if dtype.is_signed() {
                ((ones >> 1) + 1, ones >> 1)
            } else if dtype == DType::BOOL {
                (0, 1)
            } else {
                (0, ones)
            }
        };
        match self {
            Combine::Replace | Combine::Add => 0,
            Combine::Mul => from_float(dtype, 1.0),
            Combine::Min => high,
            Combine::Max => low,
        }
    }
}

fn to_float(dtype: DType, bits: u64) -> f64 {
    match dtype.0 {
        0x01 => half_to_float(bits as u16),
        0x02 => f64::from(f32::from_bits(bits as u32)),
        0x03 => f64::from_bits(bits),
        0x11 => f64::from(f32::from_bits((bits as u32) << 16)),
        _ => {
            let shift = 64 - 8 * dtype.bytes() as u32;
            if dtype.is_signed() { ((bits << shift) as i64 >> shift) as f64 } else { bits as f64 }
        }
    }
}

fn from_float(dtype: DType, x: f64) -> u64 {
    match dtype.0 {
        0x01 => u64::from(float_to_half(x)),
        0x02 => u64::from((x as f32).to_bits()),
        0x03 => x.to_bits(),
        0x11 => u64::from(float_to_bf16(x)),
        0x40 => u64::from(x != 0.0),
        _ if dtype.is_signed() => x as i64 as u64,
        _ => x as u64,
    }
}

fn half_to_float(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => mantissa * two_to(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        e => (1024.0 + mantissa) * two_to(e - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// 2^e for exponents of normal numbers.
fn two_to(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

/// Rounds to nearest, ties to even.
fn float_to_half(x: f64) -> u16 {
    let sign = (x.to_bits() >> 48) as u16 & 0x8000;
    let a = x.abs();
    if a.is_nan() {
        return sign | 0x7e00;
    }
    if a >= 65520.0 {
        return sign | 0x7c00;
    }
    // Adding a power of two whose unit in the last place is the half's rounds as the half does.
    let exponent = ((a.to_bits() >> 52) as i32 - 1023).max(-14);
    let unit = two_to(exponent - 10);
    let magic = unit * 4503599627370496.0;
    let units = ((a + magic) - magic) * two_to(10 - exponent);
    // A carry out of the mantissa goes into the exponent, as it should.
    let base = if exponent == -14 { 0 } else { ((exponent + 14) as u16) << 10 };
    sign | (base + units as u16)
}

/// Rounds to nearest, ties to even; through `f32`, rounded to odd so that nothing is rounded twice.
fn float_to_bf16(x: f64) -> u16 {
    if x.is_nan() {
        return 0x7fc0;
    }
    let near = x as f32;
    let mut bits = near.to_bits();
    let back = f64::from(near);
    if back != x && near.is_finite() && bits & 1 == 0 {
        // Truncate towards zero, then set the sticky bit.
        if back.abs() > x.abs() {
            bits = bits.wrapping_sub(1);
        }
        bits |= 1;
    }
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (rounded >> 16) as u16
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn halves_round_trip() {
        for bits in 0..=u16::MAX {
            let x = half_to_float(bits);
            if !x.is_nan() {
                assert_eq!(float_to_half(x), bits, "{bits:x}");
            }
        }
        assert_eq!(float_to_half(1.0 + two_to(-11)), 0x3c00, "a tie goes to even");
        assert_eq!(float_to_half(1.0 + 3.0 * two_to(-11)), 0x3c02);
        assert_eq!(float_to_half(1e9), 0x7c00);
        assert_eq!(float_to_bf16(1.0 + two_to(-8)), 0x3f80, "a tie goes to even");
        assert_eq!(float_to_bf16(1.0 + two_to(-8) + two_to(-40)), 0x3f81);
    }

    #[test]
    fn keys_sort_as_the_elements() {
        let values = [f32::NEG_INFINITY, -2.0, -1.0, 0.0, 1e-40, 3.0, f32::INFINITY, f32::NAN];
        let mut bytes = std::vec::Vec::new();
        values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        let t = Tensor { dtype: DType::F32, shape: &[8], bytes: &bytes };
        assert!((1..8).all(|i| t.key(i - 1) < t.key(i)));
        let bytes = [u64::MAX.to_le_bytes(), 1u64.to_le_bytes()].concat();
        let t = Tensor { dtype: DType::unsigned(8), shape: &[2], bytes: &bytes };
        assert!(t.key(0) > t.key(1));
    }

    #[test]
    fn combinations() {
        let i8s = DType::signed(1);
        assert_eq!(Combine::Min.apply(i8s, 0x80, 1), 0x80);
        assert_eq!(Combine::Max.apply(i8s, 0x80, 1), 1);
        assert_eq!(Combine::Max.neutral(i8s), 0x80);
        assert_eq!(Combine::Min.neutral(DType::signed(8)), i64::MAX as u64);
        let f = |x: f32| u64::from(x.to_bits());
        assert_eq!(Combine::Add.apply(DType::F32, f(1.5), f(2.0)), f(3.5));
        assert!(f32::from_bits(Combine::Max.apply(DType::F32, f(1.0), f(f32::NAN)) as u32).is_nan());
        assert!(f32::from_bits(Combine::Min.apply(DType::F32, f(f32::NAN), f(1.0)) as u32).is_nan());
    }
}
