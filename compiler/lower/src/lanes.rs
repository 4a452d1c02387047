//! Four elements of any type in registers: how they are loaded, stored and converted. Narrow integers travel widened to
//! 32 bits, 16-bit floats as `f32`, 64-bit types as two vectors, bools as masks. No arithmetic: that is `pointwise`.

use ir::DType;
use kernel::{
    Const, E, Expr, F32x4, F64x2, I8x16, I16x8, I32, I32x4, I64x2, K, V, V128, Vector, i8x16_narrow_i16x8_s, i8x16_narrow_i16x8_u,
    i8x16_shuffle, i16x8_extend_low_i8x16_s, i16x8_extend_low_i8x16_u, i16x8_narrow_i32x4_s, i32x4_extend_low_i16x8_s,
    i32x4_extend_low_i16x8_u, i32x4_ne, load_partial, load_splat8, load_splat16, load_splat32, load_splat64, v128_load8_lane,
    v128_load16_lane, v128_load16x4_s, v128_load16x4_u, v128_load32_lane, v128_load32_zero, v128_load64_lane, v128_load64_zero,
};

pub mod half;
pub mod narrow;

/// Four elements.
#[derive(Debug, Clone)]
pub enum Lanes {
    /// f32, f16, bf16, and the floats of a byte.
    F32(E<F32x4>),
    /// i8…i32, u8…u32: widened with their own sign.
    I32(E<I32x4>),
    /// bool: all ones or all zeros per lane.
    Mask(E<I32x4>),
    I64([E<I64x2>; 2]),
    F64([E<F64x2>; 2]),
}

/// How the elements of a vector lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    Contiguous,
    /// One element for all lanes.
    Splat,
    /// This many bytes from one element to the next.
    Strided(i64),
}

impl Pattern {
    /// The pattern of elements of `bytes` bytes that are `stride` bytes apart.
    pub fn of(stride: i64, bytes: usize) -> Pattern {
        match stride {
            0 => Pattern::Splat,
            s if s == bytes as i64 => Pattern::Contiguous,
            s => Pattern::Strided(s),
        }
    }
}

impl Lanes {
    /// The same value in locals, to be used more than once.
    pub fn bind(self, k: &mut K) -> Lanes {
        fn two<T: Vector>(k: &mut K, [a, b]: [E<T>; 2]) -> [E<T>; 2] {
            [k.in_local("low", a).get(), k.in_local("high", b).get()]
        }
        match self {
            Lanes::F32(x) => Lanes::F32(k.in_local("x", x).get()),
            Lanes::I32(x) => Lanes::I32(k.in_local("i", x).get()),
            Lanes::Mask(x) => Lanes::Mask(k.in_local("mask", x).get()),
            Lanes::I64(x) => Lanes::I64(two(k, x)),
            Lanes::F64(x) => Lanes::F64(two(k, x)),
        }
    }
}

/// Locals that hold four elements, to be assigned again and again.
#[derive(Debug, Clone)]
pub struct Slot(Lanes);

impl Slot {
    /// New locals with this value.
    pub fn new(k: &mut K, value: Lanes) -> Slot {
        fn one<T: Vector>(k: &mut K, x: E<T>) -> E<T> {
            k.let_("sum", x).get()
        }
        Slot(match value {
            Lanes::F32(x) => Lanes::F32(one(k, x)),
            Lanes::I32(x) => Lanes::I32(one(k, x)),
            Lanes::Mask(x) => Lanes::Mask(one(k, x)),
            Lanes::I64(x) => Lanes::I64(x.map(|x| one(k, x))),
            Lanes::F64(x) => Lanes::F64(x.map(|x| one(k, x))),
        })
    }

    pub fn get(&self) -> Lanes {
        self.0.clone()
    }

    /// Assigns; each half of a wide value depends on that half alone.
    pub fn set(&self, k: &mut K, value: Lanes) {
        fn one<T: Vector>(k: &mut K, to: &E<T>, value: E<T>) {
            if let Expr::Local(id) = to.expr() {
                k.set(V::<T>::from_local(*id), value);
            }
        }
        match (&self.0, value) {
            (Lanes::F32(to), Lanes::F32(x)) => one(k, to, x),
            (Lanes::I32(to), Lanes::I32(x)) | (Lanes::Mask(to), Lanes::Mask(x)) => one(k, to, x),
            (Lanes::I64(to), Lanes::I64(x)) => to.iter().zip(x).for_each(|(to, x)| one(k, to, x)),
            (Lanes::F64(to), Lanes::F64(x)) => to.iter().zip(x).for_each(|(to, x)| one(k, to, x)),
            (to, x) => panic!("{x:?} does not fit {to:?}"),
        }
    }
}

/// All bits zero.
pub fn zero<T: Vector>() -> E<T> {
    E::from_expr(Expr::Const(Const::V128(0)))
}

/// An address that may be written down several times: a local, perhaps plus a constant.
pub fn reusable(k: &mut K, addr: E<I32>) -> E<I32> {
    let cheap = match addr.expr() {
        Expr::Local(_) | Expr::Const(_) => true,
        Expr::Op { args, .. } => matches!(&args[..], [Expr::Local(_), Expr::Const(_)]),
        _ => false,
    };
    if cheap { addr } else { k.let_("at", addr).get() }
}

/// Loads `n` ≤ 4 elements; reads no other byte. The remaining lanes hold anything.
pub fn load(k: &mut K, dtype: DType, addr: impl Into<E<I32>>, offset: u32, pattern: Pattern, n: usize) -> Lanes {
    let addr = addr.into();
    match dtype {
        DType::F64 => Lanes::F64(pair(k, addr, offset, pattern, n).map(E::cast)),
        DType::I64 | DType::U64 => Lanes::I64(pair(k, addr, offset, pattern, n).map(E::cast)),
        DType::F32 => Lanes::F32(words(k, addr, offset, pattern, n).cast()),
        DType::I32 | DType::U32 => Lanes::I32(words(k, addr, offset, pattern, n)),
        DType::I16 => Lanes::I32(halves(k, addr, offset, pattern, n, true)),
        DType::U16 => Lanes::I32(halves(k, addr, offset, pattern, n, false)),
        DType::F16 => {
            let bits = halves(k, addr, offset, pattern, n, false);
            Lanes::F32(half::from_f16(k, bits))
        }
        DType::BF16 => Lanes::F32(half::from_bf16(halves(k, addr, offset, pattern, n, false))),
        DType::I8 | DType::I4 | DType::I2 => {
            Lanes::I32(i32x4_extend_low_i16x8_s(i16x8_extend_low_i8x16_s(bytes(k, addr, offset, pattern, n).cast())))
        }
        DType::U8 | DType::U4 | DType::U2 => Lanes::I32(widened_bytes(k, addr, offset, pattern, n)),
        DType::Bool => Lanes::Mask(i32x4_ne(widened_bytes(k, addr, offset, pattern, n), zero::<I32x4>())),
        DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ | DType::F4E2M1 | DType::F8E8M0 => {
            let codes = widened_bytes(k, addr, offset, pattern, n);
            Lanes::F32(narrow::decode(k, dtype, codes))
        }
    }
}

fn widened_bytes(k: &mut K, addr: E<I32>, offset: u32, pattern: Pattern, n: usize) -> E<I32x4> {
    i32x4_extend_low_i16x8_u(i16x8_extend_low_i8x16_u(bytes(k, addr, offset, pattern, n).cast()))
}

/// One lane load per element, into zeros.
fn lane_by_lane(
    k: &mut K,
    addr: E<I32>,
    stride: i64,
    lanes: std::ops::Range<usize>,
    load: impl Fn(E<I32>, u8, E<V128>) -> E<V128>,
) -> E<V128> {
    let addr = reusable(k, addr);
    let start = lanes.start;
    lanes.fold(zero(), |vector, i| load(addr.clone() + (stride * i as i64) as i32, (i - start) as u8, vector))
}

fn words(k: &mut K, addr: E<I32>, offset: u32, pattern: Pattern, n: usize) -> E<I32x4> {
    match pattern {
        Pattern::Contiguous => {
            let addr = if n == 3 { reusable(k, addr) } else { addr };
            load_partial(addr, offset, n)
        }
        Pattern::Splat => load_splat32(addr, offset),
        Pattern::Strided(s) => lane_by_lane(k, addr, s, 0..n, |a, i, v| v128_load32_lane(a, offset, i, v)).cast(),
    }
}

fn halves(k: &mut K, addr: E<I32>, offset: u32, pattern: Pattern, n: usize, signed: bool) -> E<I32x4> {
    let packed = match (pattern, n) {
        (Pattern::Contiguous, 4) => return if signed { v128_load16x4_s(addr, offset) } else { v128_load16x4_u(addr, offset) }.cast(),
        (Pattern::Contiguous, 2) => v128_load32_zero(addr, offset),
        (Pattern::Contiguous, 3) => {
            let addr = reusable(k, addr);
            v128_load16_lane(addr.clone(), offset + 4, 2, v128_load32_zero(addr, offset))
        }
        (Pattern::Contiguous, _) => v128_load16_lane(addr, offset, 0, zero()),
        (Pattern::Splat, _) => load_splat16(addr, offset),
        (Pattern::Strided(s), n) => lane_by_lane(k, addr, s, 0..n, |a, i, v| v128_load16_lane(a, offset, i, v)),
    };
    if signed { i32x4_extend_low_i16x8_s(packed.cast()) } else { i32x4_extend_low_i16x8_u(packed.cast()) }
}

fn bytes(k: &mut K, addr: E<I32>, offset: u32, pattern: Pattern, n: usize) -> E<V128> {
    match (pattern, n) {
        (Pattern::Contiguous, 4) => v128_load32_zero(addr, offset),
        (Pattern::Contiguous, 3) => {
            let addr = reusable(k, addr);
            v128_load8_lane(addr.clone(), offset + 2, 2, v128_load16_lane(addr, offset, 0, zero()))
        }
        (Pattern::Contiguous, 2) => v128_load16_lane(addr, offset, 0, zero()),
        (Pattern::Contiguous, _) => v128_load8_lane(addr, offset, 0, zero()),
        (Pattern::Splat, _) => load_splat8(addr, offset),
        (Pattern::Strided(s), n) => lane_by_lane(k, addr, s, 0..n, |a, i, v| v128_load8_lane(a, offset, i, v)),
    }
}

fn pair(k: &mut K, addr: E<I32>, offset: u32, pattern: Pattern, n: usize) -> [E<V128>; 2] {
    let addr = reusable(k, addr);
    let double = |offset: u32, n: usize| match n {
        0 => zero(),
        1 => v128_load64_zero(addr.clone(), offset),
        _ => kernel::load(addr.clone(), offset),
    };
    match pattern {
        Pattern::Contiguous => [double(offset, n.min(2)), double(offset + 16, n.saturating_sub(2))],
        Pattern::Splat => {
            let value = k.let_("wide", load_splat64::<V128>(addr, offset));
            [value.get(), value.get()]
        }
        Pattern::Strided(s) => {
            [0..n.min(2), 2..n.max(2)].map(|lanes| lane_by_lane(k, addr.clone(), s, lanes, |a, i, v| v128_load64_lane(a, offset, i, v)))
        }
    }
}

/// Eight integers of a byte, which must be in its range, side by side in the low half.
pub fn bytes_of(dtype: DType, low: E<I32x4>, high: E<I32x4>) -> E<V128> {
    let halves = i16x8_narrow_i32x4_s(low, high);
    let packed: E<I8x16> =
        if dtype == DType::U8 { i8x16_narrow_i16x8_u(halves, zero::<I16x8>()) } else { i8x16_narrow_i16x8_s(halves, zero::<I16x8>()) };
    packed.cast()
}

/// Up to four times four integers, saturated to a byte, side by side.
pub fn bytes_of_four(dtype: DType, four: &[V<I32x4>]) -> E<I8x16> {
    let one = |i: usize| four[i.min(four.len() - 1)];
    let (low, high) = (i16x8_narrow_i32x4_s(one(0), one(1)), i16x8_narrow_i32x4_s(one(2), one(3)));
    if dtype == DType::U8 { i8x16_narrow_i16x8_u(low, high) } else { i8x16_narrow_i16x8_s(low, high) }
}

/// Stores the first `n` ≤ 4 elements; writes no other byte. Narrow integers must be in range.
pub fn store(k: &mut K, dtype: DType, addr: impl Into<E<I32>>, offset: u32, pattern: Pattern, n: usize, value: Lanes) {
    let addr = addr.into();
    let addr = if n == 4 && pattern == Pattern::Contiguous && dtype.bytes() < 8 { addr } else { reusable(k, addr) };
    // Lanes of 32 bits; what a narrow type stores is the low part of each.
    let wide: E<I32x4> = match (value, dtype) {
        (Lanes::I64(v), _) => return store_pair(k, addr, offset, pattern, n, v.map(E::cast)),
        (Lanes::F64(v), _) => return store_pair(k, addr, offset, pattern, n, v.map(E::cast)),
        (Lanes::F32(v), DType::F16) => half::to_f16(k, v),
        (Lanes::F32(v), DType::BF16) => half::to_bf16(k, v),
        (Lanes::F32(v), dtype) if dtype.is_narrow_float() => narrow::encode(k, dtype, v),
        (Lanes::F32(v), _) => v.cast(),
        (Lanes::I32(v), _) => v,
        (Lanes::Mask(v), _) => v & k.constant_i32x4(1),
    };
    match (pattern, dtype.bytes()) {
        (Pattern::Contiguous, 4) => k.store_partial(addr, offset, wide, n),
        (Pattern::Contiguous, bytes) => {
            let packed = pack(wide, bytes);
            store_packed(k, addr, offset, packed, bytes, n);
        }
        (pattern, bytes) => {
            let (stride, n) = if let Pattern::Strided(s) = pattern { (s, n) } else { (0, 1) };
            let wide = k.in_local("value", wide);
            for i in 0..n {
                let addr = addr.clone() + (stride * i as i64) as i32;
                match bytes {
                    1 => k.store_lane::<1>(addr, offset, wide.get(), 4 * i as u8),
                    2 => k.store_lane::<2>(addr, offset, wide.get(), 2 * i as u8),
                    _ => k.store_lane::<4>(addr, offset, wide.get(), i as u8),
                }
            }
        }
    }
}

/// The low `bytes` bytes of each 32-bit lane, side by side.
fn pack(wide: E<I32x4>, bytes: usize) -> E<V128> {
    let lanes = std::array::from_fn(|i| if i < 4 * bytes { (i / bytes * 4 + i % bytes) as u8 } else { 0 });
    i8x16_shuffle(lanes, wide.cast::<V128>(), zero::<V128>())
}

fn store_packed(k: &mut K, addr: E<I32>, offset: u32, packed: E<V128>, bytes: usize, n: usize) {
    match (bytes, n) {
        (1, 1) => k.store_lane::<1>(addr, offset, packed, 0),
        (1, 2) | (2, 1) => k.store_lane::<2>(addr, offset, packed, 0),
        (1, 4) | (2, 2) => k.store_lane::<4>(addr, offset, packed, 0),
        (2, 4) => k.store_lane::<8>(addr, offset, packed, 0),
        (_, _) => {
            let packed = k.let_("packed", packed);
            store_packed(k, addr.clone(), offset, packed.get(), bytes, 2);
            let rest = offset + 2 * bytes as u32;
            if bytes == 1 { k.store_lane::<1>(addr, rest, packed.get(), 2) } else { k.store_lane::<2>(addr, rest, packed.get(), 2) }
        }
    }
}

fn store_pair(k: &mut K, addr: E<I32>, offset: u32, pattern: Pattern, n: usize, value: [E<V128>; 2]) {
    let (stride, n) = match pattern {
        Pattern::Contiguous => (8, n),
        Pattern::Splat => (0, 1),
        Pattern::Strided(s) => (s, n),
    };
    for (half, v) in value.into_iter().enumerate() {
        let left = n.saturating_sub(2 * half);
        let at = |i: usize| addr.clone() + (stride * (2 * half + i) as i64) as i32;
        match (pattern, left) {
            (_, 0) => {}
            (_, 1) => k.store_lane::<8>(at(0), offset, v, 0),
            (Pattern::Contiguous, _) => k.store(at(0), offset, v),
            _ => {
                let v: V<V128> = k.in_local("value", v);
                k.store_lane::<8>(at(0), offset, v.get(), 0);
                k.store_lane::<8>(at(1), offset, v.get(), 1);
            }
        }
    }
}
