//! The kernel builder: [`K`] collects parameters, locals and statements, with loops as closures. It simplifies as it
//! goes (`fold.rs`) but schedules nothing: a register tile is the caller's `Vec<Vec<V<F32x4>>>`.

use std::collections::BTreeMap;

use crate::fold::split_address;
use crate::instr::StoreOp;
use crate::ir::{Const, Expr, Kernel, Local, LocalId, Param, ParamKind, Stmt, Ty};
use crate::ops::{f32x4_relaxed_madd, f32x4_splat, f64x2_splat, i32x4_splat};
use crate::typed::{E, F32x4, F64x2, I32, I32x4, Type, V, Vector};

/// A kernel under construction.
///
/// Precondition of everything built: address arithmetic never wraps around 2³². Constant parts of addresses move into
/// the offsets of loads and stores, where the sum does not wrap; a pointer biased below zero is an error.
#[derive(Debug)]
pub struct K {
    name: String,
    params: Vec<Param>,
    locals: Vec<Local>,
    name_counts: BTreeMap<String, u32>,
    constants: BTreeMap<Const, LocalId>,
    entry: Vec<Stmt>,
    relaxed_madd: bool,
    fast_math: bool,
    /// The statement lists being written, innermost last; the first is the body.
    blocks: Vec<Vec<Stmt>>,
}

impl K {
    pub fn new(name: impl Into<String>) -> K {
        let mut k = K {
            name: name.into(),
            params: Vec::new(),
            locals: Vec::new(),
            name_counts: BTreeMap::new(),
            constants: BTreeMap::new(),
            entry: Vec::new(),
            relaxed_madd: false,
            fast_math: false,
            blocks: vec![Vec::new()],
        };
        k.new_local("task", Ty::I32);
        k
    }

    /// The next parameter: the address of something in the arena.
    pub fn arena(&mut self, name: &str) -> V<I32> {
        self.param(name, ParamKind::Arena)
    }

    /// The next parameter: an absolute address, as of weights.
    pub fn weights(&mut self, name: &str) -> V<I32> {
        self.param(name, ParamKind::Weights)
    }

    /// The next parameter: a plain `i32`.
    pub fn scalar(&mut self, name: &str) -> V<I32> {
        self.param(name, ParamKind::Scalar)
    }

    /// The next parameter, of any kind.
    pub fn param(&mut self, name: &str, kind: ParamKind) -> V<I32> {
        let local = self.new_local(name, Ty::I32);
        self.params.push(Param { name: name.to_owned(), kind, local });
        V::from_local(local)
    }

    /// The number of the row block to compute.
    pub fn task(&self) -> V<I32> {
        V::from_local(Kernel::TASK)
    }

    /// A new local, to be set before it is used.
    pub fn local<T: Type>(&mut self, name: &str) -> V<T> {
        V::from_local(self.new_local(name, T::TY))
    }

    /// A new local with the value of `value`.
    pub fn let_<T: Type>(&mut self, name: &str, value: impl Into<E<T>>) -> V<T> {
        let local = self.local(name);
        self.set(local, value);
        local
    }

    /// A local that holds `value` in every lane from function entry on; one local per value.
    pub fn constant(&mut self, value: f32) -> V<F32x4> {
        let key = Const::F32(value.to_bits());
        self.hoisted(key, || f32x4_splat(value).into_expr())
    }

    /// A local that holds the integer `value` in every lane from function entry on; one local per value.
    pub fn constant_i32x4(&mut self, value: i32) -> V<I32x4> {
        self.hoisted(Const::I32(value), || i32x4_splat(value).into_expr())
    }

    /// A local that holds the double `value` in both lanes from function entry on; one local per value.
    pub fn constant_f64(&mut self, value: f64) -> V<F64x2> {
        self.hoisted(Const::F64(value.to_bits()), || f64x2_splat(value).into_expr())
    }

    /// A new local that is set at function entry, before the body; `value` may use parameters and `task` only.
    pub fn at_entry<T: Type>(&mut self, name: &str, value: impl Into<E<T>>) -> V<T> {
        let local: V<T> = self.local(name);
        self.entry.push(Stmt::Set(local.local(), value.into().into_expr()));
        local
    }

    /// Lets [`K::mul_add`] use relaxed SIMD in the rest of the kernel.
    pub fn use_relaxed_madd(&mut self) {
        self.relaxed_madd = true;
    }

    /// Lets functions that say so use shorter approximations in the rest of the kernel.
    pub fn use_fast_math(&mut self) {
        self.fast_math = true;
    }

    pub(crate) fn fast_math(&self) -> bool {
        self.fast_math
    }

    /// `a·b + c`, rounded twice, or as the engine likes after [`K::use_relaxed_madd`].
    pub fn mul_add(&self, a: impl Into<E<F32x4>>, b: impl Into<E<F32x4>>, c: impl Into<E<F32x4>>) -> E<F32x4> {
        if self.relaxed_madd { f32x4_relaxed_madd(a, b, c) } else { a.into() * b + c }
    }

    fn hoisted<T: Vector>(&mut self, key: Const, expr: impl FnOnce() -> Expr) -> V<T> {
        let local = match self.constants.get(&key) {
            Some(&local) => local,
            None => {
                let local = self.new_local("const", T::TY);
                self.entry.push(Stmt::Set(local, expr()));
                self.constants.insert(key, local);
                local
            }
        };
        V::from_local(local)
    }

    pub fn set<T: Type>(&mut self, local: V<T>, value: impl Into<E<T>>) {
        self.push(Stmt::Set(local.local(), value.into().into_expr()));
    }

    /// `for name in (start..end).step_by(step)`; bounds compare unsigned and the variable must not be assigned or
    /// used after the loop.
    pub fn for_(&mut self, name: &str, start: impl Into<E<I32>>, end: impl Into<E<I32>>, step: u32, body: impl FnOnce(&mut K, V<I32>)) {
        let var = self.local(name);
        let (start, end) = (start.into().into_expr(), end.into().into_expr());
        let body = self.block(|k| body(k, var));
        self.push(Stmt::For { var: var.local(), start, end, step, body });
    }

    /// Covers `0..total` by tiles of `tile`: the body is written once for all full tiles (in a loop, or with a constant
    /// start if there is one) and once for the exact remainder. It gets the start and the width of its tile.
    pub fn for_tiles(&mut self, name: &str, total: usize, tile: usize, mut body: impl FnMut(&mut K, E<I32>, usize)) {
        let full = total / tile * tile;
        if full == tile {
            body(self, 0.into(), tile);
        } else if full > 0 {
            self.for_(name, 0, full, tile as u32, |k, start| body(k, start.into(), tile));
        }
        if full < total {
            body(self, full.into(), total - full);
        }
    }

    pub fn while_(&mut self, cond: impl Into<E<I32>>, body: impl FnOnce(&mut K)) {
        let body = self.block(body);
        self.push(Stmt::While { cond: cond.into().into_expr(), body });
    }

    pub fn if_(&mut self, cond: impl Into<E<I32>>, then: impl FnOnce(&mut K)) {
        let then = self.block(then);
        self.push(Stmt::If { cond: cond.into().into_expr(), then, otherwise: Vec::new() });
    }

    pub fn if_else(&mut self, cond: impl Into<E<I32>>, then: impl FnOnce(&mut K), otherwise: impl FnOnce(&mut K)) {
        let then = self.block(then);
        let otherwise = self.block(otherwise);
        self.push(Stmt::If { cond: cond.into().into_expr(), then, otherwise });
    }

    /// Stores the whole value at `addr + offset`.
    pub fn store<T: Type>(&mut self, addr: impl Into<E<I32>>, offset: u32, value: impl Into<E<T>>) {
        self.store_with(T::STORE, addr, offset, value, 0);
    }

    /// Stores the low 8 bits of an `i32`.
    pub fn store8(&mut self, addr: impl Into<E<I32>>, offset: u32, value: impl Into<E<I32>>) {
        self.store_with(StoreOp::I32Store8, addr, offset, value, 0);
    }

    /// Stores the low 16 bits of an `i32`.
    pub fn store16(&mut self, addr: impl Into<E<I32>>, offset: u32, value: impl Into<E<I32>>) {
        self.store_with(StoreOp::I32Store16, addr, offset, value, 0);
    }

    /// Stores lane `lane` of `BYTES` bytes.
    ///
    /// # Panics
    /// Unless `BYTES` is 1, 2, 4 or 8.
    pub fn store_lane<const BYTES: usize>(&mut self, addr: impl Into<E<I32>>, offset: u32, value: E<impl Vector>, lane: u8) {
        let op = match BYTES {
            1 => StoreOp::V128Store8Lane,
            2 => StoreOp::V128Store16Lane,
            4 => StoreOp::V128Store32Lane,
            8 => StoreOp::V128Store64Lane,
            _ => panic!("no lane has {BYTES} bytes"),
        };
        self.store_with(op, addr, offset, value, lane);
    }

    /// Stores the first `n_lanes` 32-bit lanes and not a byte more.
    ///
    /// # Panics
    /// Unless `1 <= n_lanes <= 4`.
    pub fn store_partial<T: Vector>(&mut self, addr: impl Into<E<I32>>, offset: u32, value: impl Into<E<T>>, n_lanes: usize) {
        let (addr, value) = (addr.into(), value.into());
        match n_lanes {
            1 => self.store_lane::<4>(addr, offset, value, 0),
            2 => self.store_lane::<8>(addr, offset, value, 0),
            3 => {
                let value = self.in_local("partial", value);
                self.store_lane::<8>(addr.clone(), offset, value.get(), 0);
                self.store_lane::<4>(addr, offset + 8, value.get(), 2);
            }
            4 => self.store(addr, offset, value),
            _ => panic!("a vector of 32-bit lanes has 1 to 4 of them, not {n_lanes}"),
        }
    }

    fn store_with<T: Type>(&mut self, op: StoreOp, addr: impl Into<E<I32>>, offset: u32, value: impl Into<E<T>>, lane: u8) {
        let (addr, offset) = split_address(addr.into().into_expr(), offset);
        self.push(Stmt::Store { op, addr, offset, value: value.into().into_expr(), lane });
    }

    /// Copies `len` bytes; the ranges may overlap.
    pub fn copy(&mut self, dst: impl Into<E<I32>>, src: impl Into<E<I32>>, len: impl Into<E<I32>>) {
        let (dst, src, len) = (dst.into().into_expr(), src.into().into_expr(), len.into().into_expr());
        self.push(Stmt::Copy { dst, src, len });
    }

    /// Sets `len` bytes to the low byte of `byte`.
    pub fn fill(&mut self, dst: impl Into<E<I32>>, byte: impl Into<E<I32>>, len: impl Into<E<I32>>) {
        let (dst, byte, len) = (dst.into().into_expr(), byte.into().into_expr(), len.into().into_expr());
        self.push(Stmt::Fill { dst, byte, len });
    }

    /// Calls an external routine.
    pub fn call(&mut self, func: impl Into<String>, args: impl IntoIterator<Item = Expr>) {
        self.push(Stmt::Call { func: func.into(), args: args.into_iter().collect() });
    }

    pub fn return_(&mut self) {
        self.push(Stmt::Return);
    }

    pub fn comment(&mut self, text: impl Into<String>) {
        self.push(Stmt::Comment(text.into()));
    }

    /// `value` as a local: itself if it is one, else a new one. Use it where an expression is used more than once.
    pub fn in_local<T: Type>(&mut self, name: &str, value: impl Into<E<T>>) -> V<T> {
        let value = value.into();
        match value.expr() {
            Expr::Local(id) => V::from_local(*id),
            _ => self.let_(name, value),
        }
    }

    /// Appends any statement.
    pub fn push(&mut self, stmt: Stmt) {
        self.blocks.last_mut().expect("the body is open until `finish`").push(stmt);
    }

    pub fn finish(mut self) -> Kernel {
        let mut body = self.entry;
        body.append(&mut self.blocks[0]);
        Kernel { name: self.name, params: self.params, locals: self.locals, body }
    }

    fn block(&mut self, write: impl FnOnce(&mut K)) -> Vec<Stmt> {
        self.blocks.push(Vec::new());
        write(self);
        self.blocks.pop().expect("pushed above")
    }

    fn new_local(&mut self, name: &str, ty: Ty) -> LocalId {
        let count = self.name_counts.entry(name.to_owned()).or_insert(0);
        let unique = if *count == 0 { name.to_owned() } else { format!("{name}.{count}") };
        *count += 1;
        self.locals.push(Local { name: unique, ty });
        LocalId(self.locals.len() as u32 - 1)
    }
}
