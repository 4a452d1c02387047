//! Kernels that differ in sizes only: the constants outside of their innermost loops can become parameters.

use crate::instr::{Imm, Instr};
use crate::ir::{CodeKey, Const, Expr, Kernel, Local, LocalId, Param, ParamKind, Stmt, Ty};

/// What kernels that differ in sizes only have in common, and their sizes.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// The code with all sizes taken for equal.
    pub code: CodeKey,
    /// Constants (of floats their bits) and memory offsets outside of the innermost loops, in the order of the code.
    pub values: Vec<i32>,
}

impl Kernel {
    /// The sizes of this kernel. Those within innermost loops count as code: there an instruction would have to add them.
    pub fn sizes(&self) -> Sizes {
        let mut kernel = self.clone();
        let mut values = vec![];
        let mut take = |value| {
            values.push(value);
            Some(Expr::i32(0))
        };
        replace(&mut kernel.body, true, &mut take);
        Sizes { code: kernel.code_key(), values }
    }

    /// This kernel with `count` further parameters; size `i` is parameter `sizes[i]` of those, or stays as it is.
    pub fn with_sizes(&self, sizes: &[Option<usize>], count: usize) -> Kernel {
        let mut kernel = self.clone();
        let first = kernel.locals.len();
        for i in 0..count {
            let (name, local) = (format!("size{i}"), LocalId((first + i) as u32));
            kernel.locals.push(Local { name: name.clone(), ty: Ty::I32 });
            kernel.params.push(Param { name, kind: ParamKind::Scalar, local });
        }
        let mut sizes = sizes.iter();
        let mut give = |_| sizes.next().copied().flatten().map(|i| Expr::Local(LocalId((first + i) as u32)));
        replace(&mut kernel.body, true, &mut give);
        kernel
    }
}

/// What a size becomes; `None`: it stays.
type Give<'a> = dyn FnMut(i32) -> Option<Expr> + 'a;

/// Visits the sizes of a list of statements that is `open`: no innermost loop.
fn replace(body: &mut [Stmt], open: bool, give: &mut Give) {
    for stmt in body {
        match stmt {
            Stmt::For { start, end, body, .. } => {
                let inner = open && has_loop(body);
                expr(start, open, give);
                expr(end, open, give);
                replace(body, inner, give);
            }
            Stmt::While { cond, body } => {
                let inner = open && has_loop(body);
                expr(cond, inner, give);
                replace(body, inner, give);
            }
            Stmt::If { cond, then, otherwise } => {
                expr(cond, open, give);
                replace(then, open, give);
                replace(otherwise, open, give);
            }
            Stmt::Set(_, value) => expr(value, open, give),
            Stmt::Store { addr, offset, value, .. } => {
                address(addr, offset, open, give);
                expr(value, open, give);
            }
            Stmt::Copy { dst, src: other, len } | Stmt::Fill { dst, byte: other, len } => {
                [dst, other, len].into_iter().for_each(|e| expr(e, open, give));
            }
            Stmt::Call { args, .. } => args.iter_mut().for_each(|e| expr(e, open, give)),
            Stmt::Return | Stmt::Comment(_) => {}
        }
    }
}

fn has_loop(body: &[Stmt]) -> bool {
    body.iter().any(|stmt| matches!(stmt, Stmt::For { .. } | Stmt::While { .. }) || stmt.blocks().into_iter().any(has_loop))
}

fn expr(e: &mut Expr, open: bool, give: &mut Give) {
    if !open {
        return;
    }
    match e {
        Expr::Const(Const::I32(value)) => {
            if let Some(other) = give(*value) {
                *e = other;
            }
        }
        Expr::Const(Const::F32(bits)) => {
            if let Some(other) = give(*bits as i32) {
                *e = Expr::Op { instr: Instr::F32ReinterpretI32, imm: Imm::None, args: vec![other] };
            }
        }
        Expr::Const(_) | Expr::Local(_) => {}
        // A factor, whether or not it is a power of two.
        Expr::Op { instr, args, .. } if *instr == Instr::I32Shl && args[1].as_i32().is_some() => {
            expr(&mut args[0], open, give);
            let factor = 1i32.wrapping_shl(args[1].as_i32().unwrap_or(0) as u32);
            if let Some(other) = give(factor) {
                *instr = Instr::I32Mul;
                args[1] = other;
            }
        }
        Expr::Op { args, .. } => args.iter_mut().for_each(|e| expr(e, open, give)),
        Expr::Select { cond, if_true, if_false } => [if_true, if_false, cond].into_iter().for_each(|e| expr(e, open, give)),
        Expr::Load(load) => {
            address(&mut load.addr, &mut load.offset, open, give);
            if let Some((_, vector)) = &mut load.lane {
                expr(vector, open, give);
            }
        }
    }
}

fn address(addr: &mut Expr, offset: &mut u32, open: bool, give: &mut Give) {
    if !open {
        return;
    }
    expr(addr, open, give);
    if let Some(other) = give(*offset as i32) {
        let base = std::mem::replace(addr, Expr::i32(0));
        *addr = Expr::Op { instr: Instr::I32Add, imm: Imm::None, args: vec![base, other] };
        *offset = 0;
    }
}
