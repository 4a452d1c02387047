//! Typed constructors of expressions: one per row of the instruction table, and the few that are generic in the vector
//! type. Statements are `builder.rs`.

use crate::instr::{Imm, Instr, LoadOp};
use crate::ir::{Expr, Load};
use crate::lanes::*;
use crate::table::for_each_instr;
use crate::typed::{E, F32x4, I8x16, I32, Type, V128, Vector};

macro_rules! define_constructors {
    (
        ops { $($of:ident $ov:ident $ofeat:ident ($($oa:ident: $ot:ty),*) -> $or:ty $ob:block)* }
        trapping_ops { $($tf:ident $tv:ident $tfeat:ident ($($ta:ident: $tt:ty),*) -> $tr:ty $tb:block)* }
        lane_ops { $($lf:ident $lv:ident $lfeat:ident [$ln:literal] ($li:ident; $($la:ident: $lt:ty),*) -> $lr:ty $lb:block)* }
        relaxed_ops { $($rf:ident $rv:ident $rfeat:ident ($rr:ident; $($ra:ident: $rt:ty),*) -> $rres:ty $rb:block)* }
        loads { $($ldf:ident $ldv:ident $ldfeat:ident ($ldb:ident: [u8; $ldn:literal]) -> $ldr:ty $ldblock:block)* }
        lane_loads { $($llf:ident $llv:ident $llfeat:ident [$lll:literal] ($lli:ident, $llb:ident: [u8; $lln:literal]; $llvec:ident: $llt:ty) -> $llr:ty $llblock:block)* }
        stores { $($stores:tt)* }
        lane_stores { $($lane_stores:tt)* }
    ) => {
        $(define_constructors!(@op $of $ov Imm::None, () ($($oa: $ot),*) -> $or);)*
        $(define_constructors!(@op $tf $tv Imm::None, () ($($ta: $tt),*) -> $tr);)*
        $(define_constructors!(@op $lf $lv Imm::Lane(lane), (lane: u8,) ($($la: $lt),*) -> $lr);)*
        $(define_constructors!(@op $rf $rv Imm::None, () ($($ra: $rt),*) -> $rres);)*
        $(
            pub fn $ldf(addr: impl Into<E<I32>>, offset: u32) -> E<<$ldr as Lanes>::Marker> {
                load_with(LoadOp::$ldv, addr, offset)
            }
        )*
        $(
            pub fn $llf<T: Vector>(addr: impl Into<E<I32>>, offset: u32, lane: u8, vector: impl Into<E<T>>) -> E<T> {
                let lane = Some((lane, vector.into().into_expr()));
                E::from_expr(Expr::load(Load { op: LoadOp::$llv, addr: addr.into().into_expr(), offset, lane }))
            }
        )*
    };
    (@op $f:ident $v:ident $imm:expr, ($($lane:ident: $lane_ty:ty,)?) ($($a:ident: $t:ty),*) -> $r:ty) => {
        pub fn $f($($lane: $lane_ty,)? $($a: impl Into<E<<$t as Lanes>::Marker>>),*) -> E<<$r as Lanes>::Marker> {
            E::from_expr(Expr::op(Instr::$v, $imm, vec![$($a.into().into_expr()),*]))
        }
    };
}

for_each_instr!(define_constructors);

/// `T::TY`'s whole load at `addr + offset`.
pub fn load<T: Type>(addr: impl Into<E<I32>>, offset: u32) -> E<T> {
    load_with(T::LOAD, addr, offset)
}

/// One 8-bit value in every lane.
pub fn load_splat8<T: Vector>(addr: impl Into<E<I32>>, offset: u32) -> E<T> {
    load_with(LoadOp::V128Load8Splat, addr, offset)
}

/// One 16-bit value in every lane.
pub fn load_splat16<T: Vector>(addr: impl Into<E<I32>>, offset: u32) -> E<T> {
    load_with(LoadOp::V128Load16Splat, addr, offset)
}

/// One 32-bit value in every lane.
pub fn load_splat32<T: Vector>(addr: impl Into<E<I32>>, offset: u32) -> E<T> {
    load_with(LoadOp::V128Load32Splat, addr, offset)
}

/// One 64-bit value in every lane.
pub fn load_splat64<T: Vector>(addr: impl Into<E<I32>>, offset: u32) -> E<T> {
    load_with(LoadOp::V128Load64Splat, addr, offset)
}

/// The first `n_lanes` 32-bit lanes from memory, zeros in the others; reads not a byte more.
///
/// # Panics
/// Unless `1 <= n_lanes <= 4`.
pub fn load_partial<T: Vector>(addr: impl Into<E<I32>>, offset: u32, n_lanes: usize) -> E<T> {
    let addr = addr.into();
    match n_lanes {
        1 => load_with(LoadOp::V128Load32Zero, addr, offset),
        2 => load_with(LoadOp::V128Load64Zero, addr, offset),
        3 => {
            let low: E<T> = load_with(LoadOp::V128Load64Zero, addr.clone(), offset);
            v128_load32_lane(addr, offset + 8, 2, low)
        }
        4 => load(addr, offset),
        _ => panic!("a vector of 32-bit lanes has 1 to 4 of them, not {n_lanes}"),
    }
}

/// Bytes of `a` (indices 0..16) and `b` (16..32), as any vector type.
pub fn i8x16_shuffle<T: Vector>(lanes: [u8; 16], a: impl Into<E<T>>, b: impl Into<E<T>>) -> E<T> {
    let args = vec![a.into().into_expr(), b.into().into_expr()];
    E::from_expr(Expr::op(Instr::I8x16Shuffle, Imm::Shuffle(lanes), args))
}

/// 32-bit lanes of `a` (indices 0..4) and `b` (4..8), as any vector type.
pub fn shuffle32<T: Vector>(lanes: [u8; 4], a: impl Into<E<T>>, b: impl Into<E<T>>) -> E<T> {
    i8x16_shuffle(std::array::from_fn(|i| 4 * lanes[i / 4] + (i % 4) as u8), a, b)
}

/// 64-bit lanes of `a` (indices 0, 1) and `b` (2, 3), as any vector type.
pub fn shuffle64<T: Vector>(lanes: [u8; 2], a: impl Into<E<T>>, b: impl Into<E<T>>) -> E<T> {
    i8x16_shuffle(std::array::from_fn(|i| 8 * lanes[i / 8] + (i % 8) as u8), a, b)
}

/// `cond ? if_true : if_false`, for any type; both arms are evaluated.
pub fn select<T: Type>(cond: impl Into<E<I32>>, if_true: impl Into<E<T>>, if_false: impl Into<E<T>>) -> E<T> {
    E::from_expr(Expr::Select {
        cond: Box::new(cond.into().into_expr()),
        if_true: Box::new(if_true.into().into_expr()),
        if_false: Box::new(if_false.into().into_expr()),
    })
}

/// Bits of `if_set` where the mask has ones, of `if_clear` elsewhere.
pub fn bitselect<T: Vector, M: Vector>(mask: impl Into<E<M>>, if_set: impl Into<E<T>>, if_clear: impl Into<E<T>>) -> E<T> {
    v128_bitselect(if_set.into().cast::<V128>(), if_clear.into().cast(), mask.into().cast()).cast()
}

/// `a & !b`.
pub fn andnot<T: Vector, U: Vector>(a: impl Into<E<T>>, b: impl Into<E<U>>) -> E<T> {
    v128_andnot(a.into().cast::<V128>(), b.into().cast()).cast()
}

/// `max(data, bound)` lane by lane, NaN where `data` is NaN, and `data` where the two compare equal (so `-0.0` stays
/// below a bound of `0.0`). A NaN in `bound` alone is dropped. One instruction on every engine, unlike `f32x4.max`.
pub fn max_nan(data: impl Into<E<F32x4>>, bound: impl Into<E<F32x4>>) -> E<F32x4> {
    f32x4_pmax(data, bound)
}

/// `min(data, bound)` lane by lane, NaN where `data` is NaN; see [`max_nan`].
pub fn min_nan(data: impl Into<E<F32x4>>, bound: impl Into<E<F32x4>>) -> E<F32x4> {
    f32x4_pmin(data, bound)
}

/// A vector constant of four floats.
pub fn f32x4_const(lanes: [f32; 4]) -> E<F32x4> {
    vector_const(lanes.into_bits())
}

/// A vector constant of four integers.
pub fn i32x4_const(lanes: [i32; 4]) -> E<crate::typed::I32x4> {
    vector_const(lanes.into_bits())
}

/// A vector constant of eight integers.
pub fn i16x8_const(lanes: [i16; 8]) -> E<crate::typed::I16x8> {
    vector_const(lanes.into_bits())
}

/// A vector constant of sixteen bytes.
pub fn i8x16_const(lanes: [i8; 16]) -> E<I8x16> {
    vector_const(lanes.into_bits())
}

fn vector_const<T: Vector>(bits: Bits) -> E<T> {
    E::from_expr(Expr::Const(crate::ir::Const::V128(bits)))
}

fn load_with<T: Type>(op: LoadOp, addr: impl Into<E<I32>>, offset: u32) -> E<T> {
    E::from_expr(Expr::load(Load { op, addr: addr.into().into_expr(), offset, lane: None }))
}
