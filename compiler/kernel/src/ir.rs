//! The kernel language: statements over expression trees, in memory addressed by plain `i32`. It has no tensors, no
//! SSA and no registers; what it means is `interp.rs`, what is well-formed is `verify.rs`.

use crate::instr::{Feature, Features, Imm, Instr, LoadOp, StoreOp};
use crate::lanes::{Bits, Lanes};

/// A wasm value type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ty {
    I32,
    I64,
    F32,
    F64,
    V128,
}

/// A constant; floats by their bits, so that equality and hashing are those of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Const {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
}

/// Index into [`Kernel::locals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(pub u32);

/// A tree that computes one value. Expressions have no side effects; loads and some operators may trap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    Const(Const),
    Local(LocalId),
    Op {
        instr: Instr,
        imm: Imm,
        args: Vec<Expr>,
    },
    /// `cond ? if_true : if_false`; both arms are evaluated.
    Select {
        cond: Box<Expr>,
        if_true: Box<Expr>,
        if_false: Box<Expr>,
    },
    Load(Box<Load>),
}

/// Reads `load.bytes()` bytes at `addr + offset` (the sum does not wrap).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    pub op: LoadOp,
    pub addr: Expr,
    pub offset: u32,
    /// For lane loads: the lane and the vector in which it is replaced.
    pub lane: Option<(u8, Expr)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    Set(LocalId, Expr),
    /// Writes at `addr + offset` (the sum does not wrap); `lane` is that of lane stores, else 0.
    Store {
        op: StoreOp,
        addr: Expr,
        offset: u32,
        value: Expr,
        lane: u8,
    },
    /// `var` takes `start, start + step, …` while below `end`, all compared unsigned; `end` is evaluated once, the
    /// body does not assign `var`, no sum wraps, and `var` has no defined value after the loop.
    For {
        var: LocalId,
        start: Expr,
        end: Expr,
        step: u32,
        body: Vec<Stmt>,
    },
    While {
        cond: Expr,
        body: Vec<Stmt>,
    },
    If {
        cond: Expr,
        then: Vec<Stmt>,
        otherwise: Vec<Stmt>,
    },
    /// `memory.copy`: the ranges may overlap.
    Copy {
        dst: Expr,
        src: Expr,
        len: Expr,
    },
    /// `memory.fill` with the low byte of `byte`.
    Fill {
        dst: Expr,
        byte: Expr,
        len: Expr,
    },
    /// Calls an external routine, which has no result.
    Call {
        func: String,
        args: Vec<Expr>,
    },
    Return,
    Comment(String),
}

/// How a parameter's word in the argument record becomes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// An offset in the arena: the module's arena base is added to it.
    Arena,
    /// An absolute address.
    Weights,
    /// A plain `i32`.
    Scalar,
}

/// A parameter: word `i` of the argument record, read into an `i32` local before the body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Param {
    pub name: String,
    pub kind: ParamKind,
    pub local: LocalId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    pub name: String,
    pub ty: Ty,
}

/// A function `(args: i32, task: i32) -> ()`. Parameter `i` is the word at `args + 4·i`; `task` is the number of the
/// row block that this call computes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    pub name: String,
    pub params: Vec<Param>,
    pub locals: Vec<Local>,
    pub body: Vec<Stmt>,
}

/// What two kernels must have in common to be the same code. Ordered containers and hash maps may use it as a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CodeKey(Kernel);

impl Kernel {
    /// The local that holds `task`; every kernel has it.
    pub const TASK: LocalId = LocalId(0);

    pub fn local(&self, id: LocalId) -> &Local {
        &self.locals[id.0 as usize]
    }

    /// This kernel without names and comments: equal keys have equal code.
    pub fn code_key(&self) -> CodeKey {
        let mut kernel = self.clone();
        kernel.name.clear();
        kernel.params.iter_mut().for_each(|p| p.name.clear());
        kernel.locals.iter_mut().for_each(|l| l.name.clear());
        strip_comments(&mut kernel.body);
        CodeKey(kernel)
    }

    /// Whether the two compute the same by the same code, whatever their names.
    pub fn same_code(&self, other: &Kernel) -> bool {
        self.code_key() == other.code_key()
    }

    /// What an engine must support to run this kernel.
    pub fn features(&self) -> Features {
        let mut features = Features::default();
        if self.locals.iter().any(|l| l.ty == Ty::V128) {
            features.insert(Feature::Simd128);
        }
        for_each_stmt(&self.body, &mut |stmt| match stmt {
            Stmt::Store { op, .. } => features.insert(op.feature()),
            Stmt::Copy { .. } | Stmt::Fill { .. } => features.insert(Feature::BulkMemory),
            _ => {}
        });
        for_each_expr(&self.body, &mut |expr| match expr {
            Expr::Const(Const::V128(_)) => features.insert(Feature::Simd128),
            Expr::Op { instr, .. } => features.insert(instr.feature()),
            Expr::Load(load) => features.insert(load.op.feature()),
            _ => {}
        });
        features
    }
}

impl Stmt {
    /// The expressions that this statement itself evaluates, in order.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            Stmt::Set(_, value) => vec![value],
            Stmt::Store { addr, value, .. } => vec![addr, value],
            Stmt::For { start, end, .. } => vec![start, end],
            Stmt::While { cond, .. } | Stmt::If { cond, .. } => vec![cond],
            Stmt::Copy { dst, src, len } => vec![dst, src, len],
            Stmt::Fill { dst, byte, len } => vec![dst, byte, len],
            Stmt::Call { args, .. } => args.iter().collect(),
            Stmt::Return | Stmt::Comment(_) => Vec::new(),
        }
    }

    /// The statement lists nested in this statement.
    pub fn blocks(&self) -> Vec<&[Stmt]> {
        match self {
            Stmt::For { body, .. } | Stmt::While { body, .. } => vec![body],
            Stmt::If { then, otherwise, .. } => vec![then, otherwise],
            _ => Vec::new(),
        }
    }
}

impl Expr {
    pub fn i32(value: i32) -> Expr {
        Expr::Const(Const::I32(value))
    }

    pub fn as_i32(&self) -> Option<i32> {
        match self {
            Expr::Const(Const::I32(value)) => Some(*value),
            _ => None,
        }
    }

    /// The direct operands, in evaluation order.
    pub fn operands(&self) -> Vec<&Expr> {
        match self {
            Expr::Const(_) | Expr::Local(_) => Vec::new(),
            Expr::Op { args, .. } => args.iter().collect(),
            Expr::Select { cond, if_true, if_false } => vec![if_true, if_false, cond],
            Expr::Load(load) => std::iter::once(&load.addr).chain(load.lane.as_ref().map(|(_, vector)| vector)).collect(),
        }
    }

    /// Calls `visit` with this expression and all below it.
    pub fn walk(&self, visit: &mut impl FnMut(&Expr)) {
        visit(self);
        for operand in self.operands() {
            operand.walk(visit);
        }
    }
}

impl Const {
    pub fn ty(self) -> Ty {
        match self {
            Const::I32(_) => Ty::I32,
            Const::I64(_) => Ty::I64,
            Const::F32(_) => Ty::F32,
            Const::F64(_) => Ty::F64,
            Const::V128(_) => Ty::V128,
        }
    }

    pub fn bits(self) -> Bits {
        match self {
            Const::I32(v) => v.into_bits(),
            Const::I64(v) => v.into_bits(),
            Const::F32(v) => v.into_bits(),
            Const::F64(v) => v.into_bits(),
            Const::V128(v) => v,
        }
    }

    pub fn from_bits(ty: Ty, bits: Bits) -> Const {
        match ty {
            Ty::I32 => Const::I32(i32::from_bits(bits)),
            Ty::I64 => Const::I64(i64::from_bits(bits)),
            Ty::F32 => Const::F32(u32::from_bits(bits)),
            Ty::F64 => Const::F64(u64::from_bits(bits)),
            Ty::V128 => Const::V128(bits),
        }
    }
}

/// Calls `visit` with every statement, outer before inner.
pub fn for_each_stmt(body: &[Stmt], visit: &mut impl FnMut(&Stmt)) {
    for stmt in body {
        visit(stmt);
        for block in stmt.blocks() {
            for_each_stmt(block, visit);
        }
    }
}

/// Calls `visit` with every expression and subexpression.
pub fn for_each_expr(body: &[Stmt], visit: &mut impl FnMut(&Expr)) {
    for_each_stmt(body, &mut |stmt| {
        for expr in stmt.exprs() {
            expr.walk(visit);
        }
    });
}

/// Whether `body` assigns `local`.
pub fn assigns(body: &[Stmt], local: LocalId) -> bool {
    let mut found = false;
    for_each_stmt(body, &mut |stmt| {
        found |= matches!(stmt, Stmt::Set(id, _) | Stmt::For { var: id, .. } if *id == local);
    });
    found
}

fn strip_comments(body: &mut Vec<Stmt>) {
    body.retain(|stmt| !matches!(stmt, Stmt::Comment(_)));
    for stmt in body {
        match stmt {
            Stmt::For { body, .. } | Stmt::While { body, .. } => strip_comments(body),
            Stmt::If { then, otherwise, .. } => {
                strip_comments(then);
                strip_comments(otherwise);
            }
            _ => {}
        }
    }
}
