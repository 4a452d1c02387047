//! Typed views of expressions and locals: marker types, [`E`], [`V`] and their operators. Types exist only here, while a
//! kernel is being written; the IR knows the five wasm types alone.

use std::marker::PhantomData;
use std::ops;

use crate::instr::{Imm, Instr, LoadOp, StoreOp};
use crate::ir::{Const, Expr, LocalId, Ty};

/// What a value is taken to be: one of the markers below.
pub trait Type: Copy + std::fmt::Debug + 'static {
    const TY: Ty;
    /// The load and store of the whole value.
    const LOAD: LoadOp;
    const STORE: StoreOp;
}

/// A type of 128 bits.
pub trait Vector: Type {
    const LANES: usize;
}

macro_rules! markers {
    ($($name:ident $ty:ident $load:ident $store:ident;)*) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;
        impl Type for $name {
            const TY: Ty = Ty::$ty;
            const LOAD: LoadOp = LoadOp::$load;
            const STORE: StoreOp = StoreOp::$store;
        }
    )*};
}

markers! {
    I32 I32 I32Load I32Store;
    I64 I64 I64Load I64Store;
    F32 F32 F32Load F32Store;
    F64 F64 F64Load F64Store;
    V128 V128 V128Load V128Store;
    I8x16 V128 V128Load V128Store;
    I16x8 V128 V128Load V128Store;
    I32x4 V128 V128Load V128Store;
    I64x2 V128 V128Load V128Store;
    F32x4 V128 V128Load V128Store;
    F64x2 V128 V128Load V128Store;
}

macro_rules! vectors {
    ($($name:ident $lanes:literal)*) => {$(
        impl Vector for $name {
            const LANES: usize = $lanes;
        }
    )*};
}

vectors! { V128 1 I8x16 16 I16x8 8 I32x4 4 I64x2 2 F32x4 4 F64x2 2 }

/// An expression of type `T`.
#[derive(Clone, Debug)]
pub struct E<T: Type> {
    expr: Expr,
    marker: PhantomData<T>,
}

/// A local variable of type `T`.
#[derive(Debug)]
pub struct V<T: Type> {
    id: LocalId,
    marker: PhantomData<T>,
}

impl<T: Type> Clone for V<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Type> Copy for V<T> {}

impl<T: Type> E<T> {
    /// Takes `expr`, whose type must be `T::TY`, as a `T`.
    pub fn from_expr(expr: Expr) -> E<T> {
        E { expr, marker: PhantomData }
    }

    pub fn into_expr(self) -> Expr {
        self.expr
    }

    pub fn expr(&self) -> &Expr {
        &self.expr
    }
}

impl<T: Vector> E<T> {
    /// The same 128 bits taken as other lanes; costs nothing.
    pub fn cast<U: Vector>(self) -> E<U> {
        E::from_expr(self.expr)
    }
}

impl<T: Type> V<T> {
    /// Takes the local `id`, whose type must be `T::TY`, as a `T`.
    pub fn from_local(id: LocalId) -> V<T> {
        V { id, marker: PhantomData }
    }

    pub fn local(self) -> LocalId {
        self.id
    }

    /// The value of the local, as an expression.
    pub fn get(self) -> E<T> {
        self.into()
    }
}

impl<T: Vector> V<T> {
    /// The same 128 bits taken as other lanes; costs nothing.
    pub fn cast<U: Vector>(self) -> V<U> {
        V::from_local(self.id)
    }
}

impl<T: Type> From<V<T>> for E<T> {
    fn from(v: V<T>) -> E<T> {
        E::from_expr(Expr::Local(v.id))
    }
}

impl<T: Type> From<&V<T>> for E<T> {
    fn from(v: &V<T>) -> E<T> {
        (*v).into()
    }
}

impl<T: Type> From<&E<T>> for E<T> {
    fn from(e: &E<T>) -> E<T> {
        e.clone()
    }
}

impl From<i32> for E<I32> {
    fn from(v: i32) -> E<I32> {
        E::from_expr(Expr::i32(v))
    }
}

impl From<u32> for E<I32> {
    fn from(v: u32) -> E<I32> {
        E::from_expr(Expr::i32(v as i32))
    }
}

/// Sizes and addresses of a 32-bit memory.
///
/// # Panics
/// When the value does not fit in 32 bits: the writer's arithmetic is wrong.
impl From<usize> for E<I32> {
    fn from(v: usize) -> E<I32> {
        u32::try_from(v).expect("a size or address fits in 32 bits").into()
    }
}

impl From<i64> for E<I64> {
    fn from(v: i64) -> E<I64> {
        E::from_expr(Expr::Const(Const::I64(v)))
    }
}

impl From<f32> for E<F32> {
    fn from(v: f32) -> E<F32> {
        E::from_expr(Expr::Const(Const::F32(v.to_bits())))
    }
}

impl From<f64> for E<F64> {
    fn from(v: f64) -> E<F64> {
        E::from_expr(Expr::Const(Const::F64(v.to_bits())))
    }
}

/// Which instruction an operator stands for.
pub trait Additive: Type {
    const ADD: Instr;
    const SUB: Instr;
}
pub trait Multiplicative: Type {
    const MUL: Instr;
}
pub trait Divisive: Type {
    const DIV: Instr;
    const NEG: Instr;
}
pub trait Bitwise: Type {
    const AND: Instr;
    const OR: Instr;
    const XOR: Instr;
}
pub trait Shift: Type {
    const SHL: Instr;
}

macro_rules! arithmetic {
    ($($trait:ident { $($t:ident: $($which:ident = $instr:ident),*;)* })*) => {$($(
        impl $trait for $t {
            $(const $which: Instr = Instr::$instr;)*
        }
    )*)*};
}

arithmetic! {
    Additive {
        I32: ADD = I32Add, SUB = I32Sub;
        I64: ADD = I64Add, SUB = I64Sub;
        F32: ADD = F32Add, SUB = F32Sub;
        F64: ADD = F64Add, SUB = F64Sub;
        I8x16: ADD = I8x16Add, SUB = I8x16Sub;
        I16x8: ADD = I16x8Add, SUB = I16x8Sub;
        I32x4: ADD = I32x4Add, SUB = I32x4Sub;
        I64x2: ADD = I64x2Add, SUB = I64x2Sub;
        F32x4: ADD = F32x4Add, SUB = F32x4Sub;
        F64x2: ADD = F64x2Add, SUB = F64x2Sub;
    }
    Multiplicative {
        I32: MUL = I32Mul;
        I64: MUL = I64Mul;
        F32: MUL = F32Mul;
        F64: MUL = F64Mul;
        I16x8: MUL = I16x8Mul;
        I32x4: MUL = I32x4Mul;
        I64x2: MUL = I64x2Mul;
        F32x4: MUL = F32x4Mul;
        F64x2: MUL = F64x2Mul;
    }
    Divisive {
        F32: DIV = F32Div, NEG = F32Neg;
        F64: DIV = F64Div, NEG = F64Neg;
        F32x4: DIV = F32x4Div, NEG = F32x4Neg;
        F64x2: DIV = F64x2Div, NEG = F64x2Neg;
    }
    Bitwise {
        I32: AND = I32And, OR = I32Or, XOR = I32Xor;
        I64: AND = I64And, OR = I64Or, XOR = I64Xor;
        V128: AND = V128And, OR = V128Or, XOR = V128Xor;
        I8x16: AND = V128And, OR = V128Or, XOR = V128Xor;
        I16x8: AND = V128And, OR = V128Or, XOR = V128Xor;
        I32x4: AND = V128And, OR = V128Or, XOR = V128Xor;
        I64x2: AND = V128And, OR = V128Or, XOR = V128Xor;
        F32x4: AND = V128And, OR = V128Or, XOR = V128Xor;
        F64x2: AND = V128And, OR = V128Or, XOR = V128Xor;
    }
    Shift {
        I32: SHL = I32Shl;
        I64: SHL = I64Shl;
    }
}

macro_rules! binary_operators {
    ($($op:ident $method:ident $trait:ident $which:ident;)*) => {$(
        impl<T: $trait, R: Into<E<T>>> ops::$op<R> for E<T> {
            type Output = E<T>;
            fn $method(self, rhs: R) -> E<T> {
                let args = vec![self.expr, rhs.into().expr];
                E::from_expr(Expr::op(T::$which, Imm::None, args))
            }
        }
        impl<T: $trait, R: Into<E<T>>> ops::$op<R> for V<T> {
            type Output = E<T>;
            fn $method(self, rhs: R) -> E<T> {
                ops::$op::$method(self.get(), rhs)
            }
        }
    )*};
}

binary_operators! {
    Add add Additive ADD;
    Sub sub Additive SUB;
    Mul mul Multiplicative MUL;
    Div div Divisive DIV;
    BitAnd bitand Bitwise AND;
    BitOr bitor Bitwise OR;
    BitXor bitxor Bitwise XOR;
    Shl shl Shift SHL;
}

macro_rules! literal_operators {
    ($($lit:ty, $t:ident: $($op:ident $method:ident),*;)*) => {$($(
        impl ops::$op<E<$t>> for $lit {
            type Output = E<$t>;
            fn $method(self, rhs: E<$t>) -> E<$t> {
                ops::$op::$method(E::<$t>::from(self), rhs)
            }
        }
        impl ops::$op<V<$t>> for $lit {
            type Output = E<$t>;
            fn $method(self, rhs: V<$t>) -> E<$t> {
                ops::$op::$method(E::<$t>::from(self), rhs)
            }
        }
    )*)*};
}

literal_operators! {
    i32, I32: Add add, Sub sub, Mul mul;
    i64, I64: Add add, Sub sub, Mul mul;
    f32, F32: Add add, Sub sub, Mul mul, Div div;
    f64, F64: Add add, Sub sub, Mul mul, Div div;
}

impl<T: Divisive> ops::Neg for E<T> {
    type Output = E<T>;
    fn neg(self) -> E<T> {
        E::from_expr(Expr::op(T::NEG, Imm::None, vec![self.expr]))
    }
}

impl<T: Divisive> ops::Neg for V<T> {
    type Output = E<T>;
    fn neg(self) -> E<T> {
        -self.get()
    }
}
