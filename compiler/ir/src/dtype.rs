//! Element types. One table gives names, sizes and classes; it knows no file format. The types of less than 16 bits are in
//! `narrow`; they take one byte per element here.

use half::{bf16, f16};

macro_rules! dtypes {
    ($($variant:ident $name:literal $bytes:literal $class:ident),* $(,)?) => {
        /// Type of a tensor's elements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DType { $($variant),* }
        impl DType {
            /// Every element type.
            pub const ALL: &'static [DType] = &[$(DType::$variant),*];
            /// Short lower-case name, e.g. `f32`.
            pub const fn name(self) -> &'static str { match self { $(DType::$variant => $name),* } }
            /// Bytes per element.
            pub const fn bytes(self) -> usize { match self { $(DType::$variant => $bytes),* } }
            pub const fn class(self) -> Class { match self { $(DType::$variant => Class::$class),* } }
            /// The type with this short name.
            pub fn from_name(name: &str) -> Option<DType> { match name { $($name => Some(DType::$variant),)* _ => None } }
        }
    };
}

/// Families of element types that share arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    Float,
    Signed,
    Unsigned,
    Bool,
}

dtypes! {
    F32 "f32" 4 Float,
    F64 "f64" 8 Float,
    F16 "f16" 2 Float,
    BF16 "bf16" 2 Float,
    I8 "i8" 1 Signed,
    I16 "i16" 2 Signed,
    I32 "i32" 4 Signed,
    I64 "i64" 8 Signed,
    U8 "u8" 1 Unsigned,
    U16 "u16" 2 Unsigned,
    U32 "u32" 4 Unsigned,
    U64 "u64" 8 Unsigned,
    Bool "bool" 1 Bool,
    I4 "i4" 1 Signed,
    U4 "u4" 1 Unsigned,
    I2 "i2" 1 Signed,
    U2 "u2" 1 Unsigned,
    F8E4M3FN "f8e4m3fn" 1 Float,
    F8E4M3FNUZ "f8e4m3fnuz" 1 Float,
    F8E5M2 "f8e5m2" 1 Float,
    F8E5M2FNUZ "f8e5m2fnuz" 1 Float,
    F4E2M1 "f4e2m1" 1 Float,
    F8E8M0 "f8e8m0" 1 Float,
}

impl DType {
    pub fn is_float(self) -> bool {
        self.class() == Class::Float
    }
    /// Bits that an element's value takes; less than its bytes hold for the narrowest types.
    pub fn bits(self) -> usize {
        match self {
            DType::I4 | DType::U4 | DType::F4E2M1 => 4,
            DType::I2 | DType::U2 => 2,
            dtype => 8 * dtype.bytes(),
        }
    }
    /// A float of one byte or less: stored and converted, never computed with.
    pub fn is_narrow_float(self) -> bool {
        self.is_float() && self.bytes() == 1
    }
    /// Signed or unsigned integer; not bool.
    pub fn is_int(self) -> bool {
        matches!(self.class(), Class::Signed | Class::Unsigned)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that stores elements of one [`DType`]. `bool` is stored as one byte, 0 or 1.
pub trait Element: bytemuck::Pod + PartialEq + std::fmt::Debug {
    const DTYPE: DType;
    fn to_f64(self) -> f64;
    fn from_f64(x: f64) -> Self;
    /// Modulo 2^64 for large `u64`.
    fn to_i64(self) -> i64;
    fn from_i64(x: i64) -> Self;
    /// Exact for integers.
    fn to_i128(self) -> i128;
    /// Modulo 2^n for integers, rounded once for floats.
    fn from_i128(x: i128) -> Self;
}

macro_rules! elements {
    ($($t:ty, $d:ident);* $(;)?) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            fn to_f64(self) -> f64 { self as f64 }
            fn from_f64(x: f64) -> Self { x as $t }
            fn to_i64(self) -> i64 { self as i64 }
            fn from_i64(x: i64) -> Self { x as $t }
            fn to_i128(self) -> i128 { self as i128 }
            fn from_i128(x: i128) -> Self { x as $t }
        }
    )*};
}
elements!(f32, F32; f64, F64; i8, I8; i16, I16; i32, I32; i64, I64; u8, U8; u16, U16; u32, U32; u64, U64);

macro_rules! half_elements {
    ($($t:ty, $d:ident);*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            fn to_f64(self) -> f64 { <$t>::to_f64(self) }
            fn from_f64(x: f64) -> Self { <$t>::from_f64(x) }
            fn to_i64(self) -> i64 { <$t>::to_f64(self) as i64 }
            fn from_i64(x: i64) -> Self { <$t>::from_f64(x as f64) }
            fn to_i128(self) -> i128 { <$t>::to_f64(self) as i128 }
            fn from_i128(x: i128) -> Self { <$t>::from_f64(x as f64) }
        }
    )*};
}
half_elements!(f16, F16; bf16, BF16);

/// One byte, 0 or 1: how `bool` tensors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct B8(pub u8);

impl Element for B8 {
    const DTYPE: DType = DType::Bool;
    fn to_f64(self) -> f64 {
        f64::from(self.0)
    }
    fn from_f64(x: f64) -> Self {
        B8(u8::from(x != 0.0))
    }
    fn to_i64(self) -> i64 {
        i64::from(self.0)
    }
    fn from_i64(x: i64) -> Self {
        B8(u8::from(x != 0))
    }
    fn to_i128(self) -> i128 {
        i128::from(self.0)
    }
    fn from_i128(x: i128) -> Self {
        B8(u8::from(x != 0))
    }
}

/// Calls `$body` with the type alias `$T` bound to the element type of `$dtype`.
#[macro_export]
macro_rules! for_dtype {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::F16 => {
                type $T = half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::DType::U16 => {
                type $T = u16;
                $body
            }
            $crate::DType::U32 => {
                type $T = u32;
                $body
            }
            $crate::DType::U64 => {
                type $T = u64;
                $body
            }
            $crate::DType::Bool => {
                type $T = $crate::B8;
                $body
            }
            $crate::DType::I4 => {
                type $T = $crate::narrow::I4;
                $body
            }
            $crate::DType::U4 => {
                type $T = $crate::narrow::U4;
                $body
            }
            $crate::DType::I2 => {
                type $T = $crate::narrow::I2;
                $body
            }
            $crate::DType::U2 => {
                type $T = $crate::narrow::U2;
                $body
            }
            $crate::DType::F8E4M3FN => {
                type $T = $crate::narrow::F8E4M3FN;
                $body
            }
            $crate::DType::F8E4M3FNUZ => {
                type $T = $crate::narrow::F8E4M3FNUZ;
                $body
            }
            $crate::DType::F8E5M2 => {
                type $T = $crate::narrow::F8E5M2;
                $body
            }
            $crate::DType::F8E5M2FNUZ => {
                type $T = $crate::narrow::F8E5M2FNUZ;
                $body
            }
            $crate::DType::F4E2M1 => {
                type $T = $crate::narrow::F4E2M1;
                $body
            }
            $crate::DType::F8E8M0 => {
                type $T = $crate::narrow::F8E8M0;
                $body
            }
        }
    };
}

/// The smallest value of a type: −∞ for floats, the minimum for integers.
pub fn lowest<T: Element>() -> T {
    match T::DTYPE.class() {
        Class::Float => T::from_f64(f64::NEG_INFINITY),
        Class::Signed => T::from_i64(i64::MIN >> (64 - T::DTYPE.bits())),
        Class::Unsigned | Class::Bool => T::from_i64(0),
    }
}

/// The largest value of a type: +∞ for floats, the maximum for integers.
pub fn highest<T: Element>() -> T {
    match T::DTYPE.class() {
        Class::Float => T::from_f64(f64::INFINITY),
        Class::Signed => T::from_i64(i64::MAX >> (64 - T::DTYPE.bits())),
        Class::Unsigned => T::from_i64(-1),
        Class::Bool => T::from_i64(1),
    }
}
