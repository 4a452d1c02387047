//! Element types of less than 16 bits: integers of 4 and 2 bits, and floats of 8 and 4. They are storage: one byte per
//! element, converted on every use. Packing several into a byte is the file formats' business.

use crate::dtype::{DType, Element};

macro_rules! integers {
    ($($(#[$doc:meta])* $name:ident $bits:literal $word:ty);* $(;)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(transparent)]
        pub struct $name($word);

        impl $name {
            /// The low bits of a byte.
            pub fn from_bits(bits: u8) -> $name {
                const SHIFT: u32 = 8 - $bits;
                $name(((bits << SHIFT) as $word) >> SHIFT)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
        /// Everything converts modulo 2ⁿ.
        impl Element for $name {
            const DTYPE: DType = DType::$name;
            fn to_f64(self) -> f64 { f64::from(self.0) }
            fn from_f64(x: f64) -> $name { $name::from_bits(x as i64 as u8) }
            fn to_i64(self) -> i64 { i64::from(self.0) }
            fn from_i64(x: i64) -> $name { $name::from_bits(x as u8) }
            fn to_i128(self) -> i128 { i128::from(self.0) }
            fn from_i128(x: i128) -> $name { $name::from_bits(x as u8) }
        }
    )*};
}

integers! {
    /// −8 to 7, sign-extended to a byte.
    I4 4 i8;
    /// 0 to 15.
    U4 4 u8;
    /// −2 to 1, sign-extended to a byte.
    I2 2 i8;
    /// 0 to 3.
    U2 2 u8;
}

/// What the codes at the upper end of a float type stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Top {
    /// The largest exponent holds the infinities and NaN.
    Ieee,
    /// All ones is NaN; there are no infinities.
    OneNan,
    /// The code of −0 is NaN; there are no infinities.
    NoNegativeZero,
    /// Numbers only.
    Finite,
}

/// How a narrow float type spends its bits; the sign bit comes first.
#[derive(Debug, Clone, Copy)]
struct Format {
    exponent: u32,
    mantissa: u32,
    bias: i32,
    top: Top,
}

impl Format {
    const fn sign(self) -> u8 {
        1 << (self.exponent + self.mantissa)
    }
    /// The code of the largest finite number.
    const fn largest(self) -> u8 {
        match self.top {
            Top::Ieee => self.sign() - 1 - (1 << self.mantissa),
            Top::OneNan => self.sign() - 2,
            Top::NoNegativeZero | Top::Finite => self.sign() - 1,
        }
    }
    fn nan(self) -> u8 {
        match self.top {
            Top::NoNegativeZero => self.sign(),
            Top::Finite => 0,
            Top::Ieee | Top::OneNan => self.sign() - 1,
        }
    }

    fn decode(self, code: u8) -> f64 {
        let size = code & (self.sign() - 1);
        if size > self.largest() || (self.top == Top::NoNegativeZero && code == self.sign()) {
            let is_infinite = self.top == Top::Ieee && size == self.largest() + 1;
            return match (is_infinite, code & self.sign() != 0) {
                (true, false) => f64::INFINITY,
                (true, true) => f64::NEG_INFINITY,
                (false, _) => f64::NAN,
            };
        }
        let fraction = i32::from(size & ((1 << self.mantissa) - 1));
        let exponent = i32::from(size >> self.mantissa);
        let hidden = if exponent > 0 { 1 << self.mantissa } else { 0 };
        let value = libm::ldexp(f64::from(hidden + fraction), exponent.max(1) - self.bias - self.mantissa as i32);
        if code & self.sign() != 0 { -value } else { value }
    }

    /// To nearest, ties to even; what is too large (infinities too) becomes the largest number.
    fn encode(self, x: f64) -> u8 {
        if x.is_nan() {
            return self.nan();
        }
        let sign = if x.is_sign_negative() { self.sign() } else { 0 };
        let size = if x == 0.0 {
            0
        } else if x.abs() >= self.decode(self.largest()) {
            self.largest()
        } else {
            // |x| = fraction · 2^exponent with a fraction in 1..2
            let exponent = (libm::frexp(x.abs()).1 - 1).max(1 - self.bias);
            let units = libm::rint(libm::ldexp(x.abs(), self.mantissa as i32 - exponent)) as i32;
            (((exponent + self.bias - 1) << self.mantissa) + units).min(i32::from(self.largest())) as u8
        };
        if size == 0 && self.top == Top::NoNegativeZero { 0 } else { sign | size }
    }
}

macro_rules! floats {
    ($($(#[$doc:meta])* $name:ident $decode:expr, $encode:expr);* $(;)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(transparent)]
        pub struct $name(u8);

        impl $name {
            pub fn from_bits(bits: u8) -> $name {
                $name(bits)
            }
        }
        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool {
                self.to_f64() == other.to_f64()
            }
        }
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &$name) -> Option<std::cmp::Ordering> {
                self.to_f64().partial_cmp(&other.to_f64())
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                self.to_f64().fmt(f)
            }
        }
        impl Element for $name {
            const DTYPE: DType = DType::$name;
            fn to_f64(self) -> f64 { ($decode)(self.0) }
            fn from_f64(x: f64) -> $name { $name(($encode)(x)) }
            fn to_i64(self) -> i64 { self.to_f64() as i64 }
            fn from_i64(x: i64) -> $name { $name::from_f64(x as f64) }
            fn to_i128(self) -> i128 { self.to_f64() as i128 }
            fn from_i128(x: i128) -> $name { $name::from_f64(x as f64) }
        }
    )*};
}

const E4M3FN: Format = Format { exponent: 4, mantissa: 3, bias: 7, top: Top::OneNan };
const E4M3FNUZ: Format = Format { exponent: 4, mantissa: 3, bias: 8, top: Top::NoNegativeZero };
const E5M2: Format = Format { exponent: 5, mantissa: 2, bias: 15, top: Top::Ieee };
const E5M2FNUZ: Format = Format { exponent: 5, mantissa: 2, bias: 16, top: Top::NoNegativeZero };
const E2M1: Format = Format { exponent: 2, mantissa: 1, bias: 1, top: Top::Finite };

floats! {
    /// Up to 448, one NaN of each sign.
    F8E4M3FN |code| E4M3FN.decode(code), |x| E4M3FN.encode(x);
    /// Up to 240, NaN in the place of −0.
    F8E4M3FNUZ |code| E4M3FNUZ.decode(code), |x| E4M3FNUZ.encode(x);
    /// Up to 57344; infinities are read, but never written.
    F8E5M2 |code| E5M2.decode(code), |x| E5M2.encode(x);
    /// Up to 57344, NaN in the place of −0.
    F8E5M2FNUZ |code| E5M2FNUZ.decode(code), |x| E5M2FNUZ.encode(x);
    /// ±{0, 0.5, 1, 1.5, 2, 3, 4, 6}; NaN is written as 0.
    F4E2M1 |code| E2M1.decode(code & 15), |x| E2M1.encode(x);
    /// Powers of two from 2⁻¹²⁷ to 2¹²⁷; rounds up, negative numbers become NaN.
    F8E8M0 power_of_two, nearest_power_above;
}

fn power_of_two(code: u8) -> f64 {
    if code == u8::MAX { f64::NAN } else { libm::ldexp(1.0, i32::from(code) - 127) }
}

fn nearest_power_above(x: f64) -> u8 {
    if x.is_nan() || x < 0.0 {
        return u8::MAX;
    }
    if x.is_infinite() {
        return 254;
    }
    let (fraction, exponent) = libm::frexp(x);
    // The fraction is in 0.5..1, and exactly 0.5 for powers of two.
    let exponent = if x == 0.0 {
        -127
    } else if fraction == 0.5 {
        exponent - 1
    } else {
        exponent
    };
    (exponent.clamp(-127, 127) + 127) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_a_float_type_survives() {
        macro_rules! check {
            ($($name:ident $codes:expr),*) => {$(
                for code in $codes {
                    let x = $name::from_bits(code).to_f64();
                    if x.is_finite() {
                        assert_eq!($name::from_f64(x).0, code, "{} {code:#x} = {x}", stringify!($name));
                    }
                }
            )*};
        }
        check!(F8E4M3FN 0..=255, F8E4M3FNUZ 0..=255, F8E5M2 0..=255, F8E5M2FNUZ 0..=255, F4E2M1 0..=15, F8E8M0 0..=255);
    }

    #[test]
    fn floats_round_to_even_and_saturate() {
        let e4m3 = |x: f64| F8E4M3FN::from_f64(x).to_f64();
        assert_eq!([e4m3(1e6), e4m3(f64::NEG_INFINITY), e4m3(0.478), e4m3(17.0), e4m3(19.0)], [448.0, -448.0, 0.46875, 16.0, 20.0]);
        assert!(e4m3(f64::NAN).is_nan() && F8E5M2::from_bits(0x7c).to_f64().is_infinite());
        assert_eq!([0.25, -3.5, 9.0].map(|x| F4E2M1::from_f64(x).to_f64()), [0.0, -4.0, 6.0]);
        assert_eq!([0.124, 1.1, 2.0].map(|x| F8E8M0::from_f64(x).to_f64()), [0.125, 2.0, 2.0]);
    }

    #[test]
    fn integers_wrap() {
        assert_eq!([I4::from_i64(8), I4::from_i64(-9)].map(I4::to_i64), [-8, 7]);
        assert_eq!([U2::from_f64(-1.0), U2::from_f64(5.0)].map(U2::to_i64), [3, 1]);
    }
}
