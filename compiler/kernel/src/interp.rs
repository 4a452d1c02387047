//! The reference interpreter: runs a kernel on a byte slice, checking every access. Its arithmetic is that of the table
//! (`eval.rs`), never an engine's, which is why its agreement with emitted code means something. It is not fast code.

use std::ops::Range;

use crate::eval::{RelaxedSemantics, eval_load, eval_op, eval_store};
use crate::ir::{Expr, Kernel, Load, ParamKind, Stmt};
use crate::lanes::{Bits, Lanes};
use crate::verify::{VerifyError, verify};

/// A callee's implementation: name, argument bits and memory.
pub type CallHandler<'a> = dyn FnMut(&str, &[Bits], &mut [u8]) -> Result<(), String> + 'a;

/// Is told the task, whether it writes, and the bytes of every access of a kernel's body; says whether that may be.
pub type Watch<'a> = dyn Fn(u32, bool, Range<u32>) -> bool + 'a;

/// Memory and semantics to run kernels in.
pub struct Interp<'a> {
    pub memory: &'a mut [u8],
    /// Added to arena parameters.
    pub arena_base: u32,
    pub relaxed: RelaxedSemantics,
    /// When given, every access of a kernel's body must fall within one of these address ranges.
    pub allowed: Option<Vec<Range<u32>>>,
    /// Sees every access, such as to find tasks that meet.
    pub watch: Option<&'a Watch<'a>>,
    /// Runs callees; without it a call is an error.
    pub callees: Option<&'a mut CallHandler<'a>>,
}

/// What went wrong, and in which statement of which kernel.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel `{kernel}`, task {task}, at `{statement}`: {fault}")]
pub struct InterpError {
    pub kernel: String,
    pub task: u32,
    pub statement: String,
    pub fault: InterpFault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterpFault {
    #[error("{access} of {len} bytes at {addr:#x} is outside the memory of {memory:#x} bytes")]
    OutOfBounds { access: &'static str, addr: u64, len: u64, memory: u64 },
    #[error("{access} of {len} bytes at {addr:#x} is outside the allowed ranges")]
    NotAllowed { access: &'static str, addr: u64, len: u64 },
    #[error("{access} of {len} bytes at {addr:#x} was refused by the watch")]
    Refused { access: &'static str, addr: u64, len: u64 },
    #[error("`{0}` traps on its operands")]
    Trap(String),
    #[error("call of `{func}` failed: {message}")]
    Call { func: String, message: String },
    #[error("not a valid kernel: {0}")]
    Invalid(Box<VerifyError>),
}

/// How a statement ended.
enum Flow {
    Next,
    Return,
}

impl<'a> Interp<'a> {
    /// An interpreter with an arena at 0, default relaxed semantics and no address ranges.
    pub fn new(memory: &'a mut [u8]) -> Interp<'a> {
        Interp { memory, arena_base: 0, relaxed: RelaxedSemantics::default(), allowed: None, watch: None, callees: None }
    }

    /// Runs one task of `kernel`, whose argument record is at `args`.
    pub fn run(&mut self, kernel: &Kernel, args: u32, task: u32) -> Result<(), InterpError> {
        self.run_tasks(kernel, args, task..task + 1)
    }

    /// Runs several tasks of `kernel`, in order, with the same argument record.
    pub fn run_tasks(&mut self, kernel: &Kernel, args: u32, tasks: Range<u32>) -> Result<(), InterpError> {
        verify(kernel).map_err(|e| InterpError {
            kernel: kernel.name.clone(),
            task: tasks.start,
            statement: e.statement.clone(),
            fault: InterpFault::Invalid(Box::new(e)),
        })?;
        tasks.into_iter().try_for_each(|task| self.run_verified(kernel, args, task))
    }

    fn run_verified(&mut self, kernel: &Kernel, args: u32, task: u32) -> Result<(), InterpError> {
        let mut frame = Frame { kernel, task, locals: vec![0; kernel.locals.len()], interp: self };
        frame.locals[Kernel::TASK.0 as usize] = task.into_bits();
        for (i, param) in kernel.params.iter().enumerate() {
            let addr = u64::from(args) + 4 * i as u64;
            let word = frame.interp.in_memory("load", addr, 4).map_err(|fault| InterpError {
                kernel: kernel.name.clone(),
                task,
                statement: format!("parameter {}", param.name),
                fault,
            })?;
            let bytes: [u8; 4] = frame.interp.memory[word].try_into().expect("four bytes");
            let base = match param.kind {
                ParamKind::Arena => frame.interp.arena_base,
                ParamKind::Weights | ParamKind::Scalar => 0,
            };
            frame.locals[param.local.0 as usize] = u32::from_le_bytes(bytes).wrapping_add(base).into_bits();
        }
        frame.block(&kernel.body).map(|_| ())
    }

    fn in_memory(&self, access: &'static str, addr: u64, len: u64) -> Result<Range<usize>, InterpFault> {
        let memory = self.memory.len() as u64;
        if addr + len <= memory {
            Ok(addr as usize..(addr + len) as usize)
        } else {
            Err(InterpFault::OutOfBounds { access, addr, len, memory })
        }
    }

    /// The bytes `addr..addr + len`, if the kernel may access them.
    #[inline]
    fn checked(&self, task: u32, access: &'static str, addr: u64, len: u64) -> Result<Range<usize>, InterpFault> {
        let range = self.in_memory(access, addr, len)?;
        if let Some(allowed) = &self.allowed {
            let inside = |r: &Range<u32>| u64::from(r.start) <= addr && addr + len <= u64::from(r.end);
            if len > 0 && !allowed.iter().any(inside) {
                return Err(InterpFault::NotAllowed { access, addr, len });
            }
        }
        let reads = matches!(access, "load" | "copy from");
        if self.watch.is_some_and(|watch| !watch(task, !reads, addr as u32..(addr + len) as u32)) {
            return Err(InterpFault::Refused { access, addr, len });
        }
        Ok(range)
    }
}

struct Frame<'k, 'i, 'a> {
    kernel: &'k Kernel,
    task: u32,
    locals: Vec<Bits>,
    interp: &'i mut Interp<'a>,
}

impl Frame<'_, '_, '_> {
    fn block(&mut self, body: &[Stmt]) -> Result<Flow, InterpError> {
        for stmt in body {
            if let Flow::Return = self.stmt(stmt)? {
                return Ok(Flow::Return);
            }
        }
        Ok(Flow::Next)
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<Flow, InterpError> {
        match stmt {
            Stmt::For { var, start, end, step, body } => {
                let mut i = self.u32(start).map_err(|fault| self.error(stmt, fault))?;
                let end = self.u32(end).map_err(|fault| self.error(stmt, fault))?;
                while i < end {
                    self.locals[var.0 as usize] = i.into_bits();
                    if let Flow::Return = self.block(body)? {
                        return Ok(Flow::Return);
                    }
                    i = i.wrapping_add(*step);
                }
            }
            Stmt::While { cond, body } => {
                while self.u32(cond).map_err(|fault| self.error(stmt, fault))? != 0 {
                    if let Flow::Return = self.block(body)? {
                        return Ok(Flow::Return);
                    }
                }
            }
            Stmt::If { cond, then, otherwise } => {
                let holds = self.u32(cond).map_err(|fault| self.error(stmt, fault))? != 0;
                return self.block(if holds { then } else { otherwise });
            }
            Stmt::Return => return Ok(Flow::Return),
            _ => self.simple(stmt).map_err(|fault| self.error(stmt, fault))?,
        }
        Ok(Flow::Next)
    }

    /// Statements without control flow.
    fn simple(&mut self, stmt: &Stmt) -> Result<(), InterpFault> {
        match stmt {
            Stmt::Set(id, value) => self.locals[id.0 as usize] = self.expr(value)?,
            Stmt::Store { op, addr, offset, value, lane } => {
                let addr = u64::from(self.u32(addr)?) + u64::from(*offset);
                let value = self.expr(value)?;
                let range = self.interp.checked(self.task, "store", addr, op.bytes().into())?;
                eval_store(*op, value, *lane, &mut self.interp.memory[range]);
            }
            Stmt::Copy { dst, src, len } => {
                let (dst, src, len) = (self.u32(dst)?, self.u32(src)?, self.u32(len)?);
                let src = self.interp.checked(self.task, "copy from", src.into(), len.into())?;
                let dst = self.interp.checked(self.task, "copy to", dst.into(), len.into())?;
                self.interp.memory.copy_within(src, dst.start);
            }
            Stmt::Fill { dst, byte, len } => {
                let (dst, byte, len) = (self.u32(dst)?, self.u32(byte)?, self.u32(len)?);
                let range = self.interp.checked(self.task, "fill", dst.into(), len.into())?;
                self.interp.memory[range].fill(byte as u8);
            }
            Stmt::Call { func, args } => {
                let args = args.iter().map(|arg| self.expr(arg)).collect::<Result<Vec<_>, _>>()?;
                let failed = |message: String| InterpFault::Call { func: func.clone(), message };
                match &mut self.interp.callees {
                    Some(callees) => callees(func, &args, self.interp.memory).map_err(failed)?,
                    None => return Err(failed("there are no callees here".to_owned())),
                }
            }
            Stmt::For { .. } | Stmt::While { .. } | Stmt::If { .. } | Stmt::Return | Stmt::Comment(_) => {}
        }
        Ok(())
    }

    fn u32(&self, expr: &Expr) -> Result<u32, InterpFault> {
        self.expr(expr).map(u32::from_bits)
    }

    fn expr(&self, expr: &Expr) -> Result<Bits, InterpFault> {
        match expr {
            Expr::Const(value) => Ok(value.bits()),
            Expr::Local(id) => Ok(self.locals[id.0 as usize]),
            Expr::Op { instr, imm, args } => {
                let mut values = [0; 3];
                for (value, arg) in values.iter_mut().zip(args) {
                    *value = self.expr(arg)?;
                }
                eval_op(*instr, *imm, &values, &self.interp.relaxed).ok_or_else(|| InterpFault::Trap(instr.to_string()))
            }
            Expr::Select { cond, if_true, if_false } => {
                let (if_true, if_false) = (self.expr(if_true)?, self.expr(if_false)?);
                Ok(if self.u32(cond)? != 0 { if_true } else { if_false })
            }
            Expr::Load(load) => self.load(load),
        }
    }

    fn load(&self, load: &Load) -> Result<Bits, InterpFault> {
        let addr = u64::from(self.u32(&load.addr)?) + u64::from(load.offset);
        let (lane, vector) = match &load.lane {
            Some((lane, vector)) => (*lane, self.expr(vector)?),
            None => (0, 0),
        };
        let range = self.interp.checked(self.task, "load", addr, load.op.bytes().into())?;
        Ok(eval_load(load.op, &self.interp.memory[range], lane, vector))
    }

    fn error(&self, stmt: &Stmt, fault: InterpFault) -> InterpError {
        InterpError { kernel: self.kernel.name.clone(), task: self.task, statement: self.kernel.headline(stmt), fault }
    }
}
