//! The kernel verifier. It checks, in this order of appearance in the kernel:
//!
//! - the first local is the `i32` `task`; every parameter has a declared `i32` local of its own;
//! - every local named by a statement or expression is declared;
//! - every operator has as many operands as its row, each of the row's type; selects have arms of one type;
//! - immediates are of the row's kind; lane indices are below the lane count; shuffle indices are below 32;
//! - loads and stores: `i32` address, value of the row's type, lane operand where and only where the row wants one;
//! - statements: assigned values have the local's type; conditions, bounds, lengths and fill bytes are `i32`;
//! - loops: `step` is not 0, `var` is an `i32`, constant bounds are not negative, `end + step` does not wrap, and
//!   the body does not assign `var`;
//! - every local is set before it is used on every path; loop variables count as unset after their loop, and what is
//!   set only inside a loop that may run zero times counts as unset after it.
//!
//! It does not check addresses: that is the interpreter's `allowed` mode.

use crate::instr::{Imm, ImmKind};
use crate::ir::{Expr, Kernel, Load, LocalId, Stmt, Ty, assigns};

/// What is wrong, and in which statement of which kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel `{kernel}`, at `{statement}`: {fault}")]
pub struct VerifyError {
    pub kernel: String,
    pub statement: String,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("local {0} is not declared")]
    UndeclaredLocal(u32),
    #[error("parameter `{0}` needs an i32 local of its own")]
    BadParam(String),
    #[error("the first local must be the i32 `task`")]
    NoTask,
    #[error("`{what}` takes {expected} operands, found {found}")]
    OperandCount { what: String, expected: usize, found: usize },
    #[error("operand {index} of `{what}` must be {expected}, found {found}")]
    OperandType { what: String, index: usize, expected: Ty, found: Ty },
    #[error("`{what}` has the wrong kind of immediate: {imm:?}")]
    ImmediateKind { what: String, imm: Imm },
    #[error("`{what}` has no lane {lane}; it has {lanes}")]
    LaneRange { what: String, lane: u8, lanes: u8 },
    #[error("shuffle index {0} is not below 32")]
    ShuffleRange(u8),
    #[error("`{what}` must have a lane operand exactly if it is a lane access")]
    LaneOperand { what: String },
    #[error("local `{local}` is {expected}, the value is {found}")]
    SetType { local: String, expected: Ty, found: Ty },
    #[error("a loop step of 0 never ends")]
    ZeroStep,
    #[error("loop bounds compare unsigned: {0} is negative")]
    NegativeBound(i32),
    #[error("the loop variable would wrap around past the end {end} with step {step}")]
    LoopWraps { end: i32, step: u32 },
    #[error("the body assigns the loop variable `{0}`")]
    LoopVariableAssigned(String),
    #[error("local `{0}` may be used before it is set")]
    UseBeforeSet(String),
}

/// Checks `kernel` as the module header lists; the first fault found is returned.
pub fn verify(kernel: &Kernel) -> Result<(), VerifyError> {
    let mut verifier = Verifier { kernel, set: vec![false; kernel.locals.len()] };
    verifier.signature().map_err(|fault| VerifyError { kernel: kernel.name.clone(), statement: "parameters".to_owned(), fault })?;
    verifier.block(&kernel.body)
}

struct Verifier<'a> {
    kernel: &'a Kernel,
    /// Which locals are set on every path to here; all of them where no path leads.
    set: Vec<bool>,
}

impl Verifier<'_> {
    fn signature(&mut self) -> Result<(), Fault> {
        if self.kernel.locals.first().is_none_or(|task| task.ty != Ty::I32) {
            return Err(Fault::NoTask);
        }
        self.set[0] = true;
        for param in &self.kernel.params {
            let index = param.local.0 as usize;
            let fits = self.kernel.locals.get(index).is_some_and(|local| local.ty == Ty::I32);
            if !fits || self.set[index] {
                return Err(Fault::BadParam(param.name.clone()));
            }
            self.set[index] = true;
        }
        Ok(())
    }

    fn block(&mut self, body: &[Stmt]) -> Result<(), VerifyError> {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), VerifyError> {
        self.own_parts(stmt).map_err(|fault| VerifyError {
            kernel: self.kernel.name.clone(),
            statement: self.kernel.headline(stmt),
            fault,
        })?;
        match stmt {
            Stmt::Set(id, _) => self.set[id.0 as usize] = true,
            Stmt::For { var, start, end, body, .. } => {
                let runs = matches!((start.as_i32(), end.as_i32()), (Some(start), Some(end)) if start < end);
                let before = self.set.clone();
                self.loop_body(body, Some(*var))?;
                if !runs {
                    self.set = before.iter().zip(&self.set).map(|(a, b)| *a && *b).collect();
                }
                self.set[var.0 as usize] = false;
            }
            Stmt::While { body, .. } => {
                let before = self.set.clone();
                self.loop_body(body, None)?;
                self.set = before.iter().zip(&self.set).map(|(a, b)| *a && *b).collect();
                // The condition is evaluated again after each pass.
                self.own_parts(stmt).map_err(|fault| VerifyError {
                    kernel: self.kernel.name.clone(),
                    statement: self.kernel.headline(stmt),
                    fault,
                })?;
            }
            Stmt::If { then, otherwise, .. } => {
                let before = self.set.clone();
                self.block(then)?;
                let after_then = std::mem::replace(&mut self.set, before);
                self.block(otherwise)?;
                self.set = self.set.iter().zip(&after_then).map(|(a, b)| *a && *b).collect();
            }
            Stmt::Return => self.set.fill(true),
            Stmt::Store { .. } | Stmt::Copy { .. } | Stmt::Fill { .. } | Stmt::Call { .. } | Stmt::Comment(_) => {}
        }
        Ok(())
    }

    /// Checks a loop's body until what is set at its start is what every pass, first or later, finds set.
    fn loop_body(&mut self, body: &[Stmt], var: Option<LocalId>) -> Result<(), VerifyError> {
        loop {
            if let Some(var) = var {
                self.set[var.0 as usize] = true;
            }
            let start = self.set.clone();
            self.block(body)?;
            let mut next: Vec<bool> = start.iter().zip(&self.set).map(|(a, b)| *a && *b).collect();
            if let Some(var) = var {
                next[var.0 as usize] = true;
            }
            if next == start {
                return Ok(());
            }
            self.set = next;
        }
    }

    /// What a statement itself says, without the blocks in it.
    fn own_parts(&self, stmt: &Stmt) -> Result<(), Fault> {
        match stmt {
            Stmt::Set(id, value) => {
                let expected = self.declared(*id)?;
                let found = self.expr(value)?;
                if found != expected {
                    let local = self.kernel.local(*id).name.clone();
                    return Err(Fault::SetType { local, expected, found });
                }
                Ok(())
            }
            Stmt::Store { op, addr, value, lane, .. } => {
                self.operand(op, 0, addr, Ty::I32)?;
                self.operand(op, 1, value, op.value())?;
                check_lane(op, *lane, op.lanes().unwrap_or(1))
            }
            Stmt::For { var, start, end, step, body } => {
                if self.declared(*var)? != Ty::I32 {
                    let local = self.kernel.local(*var).name.clone();
                    return Err(Fault::SetType { local, expected: Ty::I32, found: self.declared(*var)? });
                }
                self.operand(&"for", 0, start, Ty::I32)?;
                self.operand(&"for", 1, end, Ty::I32)?;
                if *step == 0 {
                    return Err(Fault::ZeroStep);
                }
                for bound in [start.as_i32(), end.as_i32()].into_iter().flatten() {
                    if bound < 0 {
                        return Err(Fault::NegativeBound(bound));
                    }
                }
                if let Some(end) = end.as_i32()
                    && (end as u32).checked_add(*step).is_none()
                {
                    return Err(Fault::LoopWraps { end, step: *step });
                }
                if assigns(body, *var) {
                    return Err(Fault::LoopVariableAssigned(self.kernel.local(*var).name.clone()));
                }
                Ok(())
            }
            Stmt::While { cond, .. } => self.operand(&"while", 0, cond, Ty::I32),
            Stmt::If { cond, .. } => self.operand(&"if", 0, cond, Ty::I32),
            Stmt::Copy { dst, src, len } => self.all_i32("copy", &[dst, src, len]),
            Stmt::Fill { dst, byte, len } => self.all_i32("fill", &[dst, byte, len]),
            Stmt::Call { args, .. } => args.iter().try_for_each(|arg| self.expr(arg).map(|_| ())),
            Stmt::Return | Stmt::Comment(_) => Ok(()),
        }
    }

    fn all_i32(&self, what: &str, operands: &[&Expr]) -> Result<(), Fault> {
        operands.iter().enumerate().try_for_each(|(i, operand)| self.operand(&what, i, operand, Ty::I32))
    }

    fn operand(&self, what: &dyn ToString, index: usize, expr: &Expr, expected: Ty) -> Result<(), Fault> {
        let found = self.expr(expr)?;
        if found == expected { Ok(()) } else { Err(Fault::OperandType { what: what.to_string(), index, expected, found }) }
    }

    fn declared(&self, id: LocalId) -> Result<Ty, Fault> {
        self.kernel.locals.get(id.0 as usize).map(|local| local.ty).ok_or(Fault::UndeclaredLocal(id.0))
    }

    /// The type of `expr`, if it is well-formed and uses only locals that are set.
    fn expr(&self, expr: &Expr) -> Result<Ty, Fault> {
        match expr {
            Expr::Const(value) => Ok(value.ty()),
            Expr::Local(id) => {
                let ty = self.declared(*id)?;
                if self.set[id.0 as usize] { Ok(ty) } else { Err(Fault::UseBeforeSet(self.kernel.local(*id).name.clone())) }
            }
            Expr::Op { instr, imm, args } => {
                let signature = instr.signature();
                if args.len() != signature.params.len() {
                    return Err(Fault::OperandCount { what: instr.to_string(), expected: signature.params.len(), found: args.len() });
                }
                for (i, (arg, ty)) in args.iter().zip(signature.params).enumerate() {
                    self.operand(instr, i, arg, *ty)?;
                }
                match (instr.imm_kind(), imm) {
                    (ImmKind::None, Imm::None) => {}
                    (ImmKind::Lane(lanes), Imm::Lane(lane)) => check_lane(instr, *lane, lanes)?,
                    (ImmKind::Shuffle, Imm::Shuffle(indices)) => {
                        if let Some(index) = indices.iter().find(|&&index| index >= 32) {
                            return Err(Fault::ShuffleRange(*index));
                        }
                    }
                    _ => return Err(Fault::ImmediateKind { what: instr.to_string(), imm: *imm }),
                }
                Ok(signature.result)
            }
            Expr::Select { cond, if_true, if_false } => {
                let ty = self.expr(if_true)?;
                self.operand(&"select", 1, if_false, ty)?;
                self.operand(&"select", 2, cond, Ty::I32)?;
                Ok(ty)
            }
            Expr::Load(load) => self.load(load),
        }
    }

    fn load(&self, load: &Load) -> Result<Ty, Fault> {
        self.operand(&load.op, 0, &load.addr, Ty::I32)?;
        match (load.op.lanes(), &load.lane) {
            (None, None) => {}
            (Some(lanes), Some((lane, vector))) => {
                self.operand(&load.op, 1, vector, Ty::V128)?;
                check_lane(&load.op, *lane, lanes)?;
            }
            _ => return Err(Fault::LaneOperand { what: load.op.to_string() }),
        }
        Ok(load.op.result())
    }
}

fn check_lane(what: &dyn ToString, lane: u8, lanes: u8) -> Result<(), Fault> {
    if lane < lanes { Ok(()) } else { Err(Fault::LaneRange { what: what.to_string(), lane, lanes }) }
}
