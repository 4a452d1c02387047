//! The readable listing of a kernel: infix arithmetic, indented blocks, locals by name. Write-only: no parser reads it.

use std::fmt::{self, Display, Formatter};

use crate::instr::{Imm, Instr};
use crate::ir::{Const, Expr, Kernel, LocalId, ParamKind, Stmt, Ty};

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}(", self.name)?;
        for (i, param) in self.params.iter().enumerate() {
            let kind = match param.kind {
                ParamKind::Arena => "arena",
                ParamKind::Weights => "weights",
                ParamKind::Scalar => "scalar",
            };
            write!(f, "{}{kind} {}", if i == 0 { "" } else { ", " }, self.name_of(param.local))?;
        }
        writeln!(f, ") {{")?;
        self.write_declarations(f)?;
        for stmt in &self.body {
            write!(f, "{}", Listing { kernel: self, stmt, depth: 1 })?;
        }
        writeln!(f, "}}")
    }
}

impl Display for Ty {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
            Ty::V128 => "v128",
        })
    }
}

impl Display for Const {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Const::I32(v) => write!(f, "{v}"),
            Const::I64(v) => write!(f, "{v}i64"),
            Const::F32(bits) => write!(f, "{:?}", f32::from_bits(*bits)),
            Const::F64(bits) => write!(f, "{:?}f64", f64::from_bits(*bits)),
            Const::V128(0) => write!(f, "v128(0)"),
            Const::V128(bits) => write!(f, "v128({bits:#x})"),
        }
    }
}

impl Kernel {
    /// One statement as text, without the blocks it contains.
    pub(crate) fn headline(&self, stmt: &Stmt) -> String {
        let text = Listing { kernel: self, stmt, depth: 0 }.to_string();
        let line = text.lines().next().unwrap_or_default();
        line.trim_end_matches(" {").to_owned()
    }

    fn name_of(&self, id: LocalId) -> &str {
        self.locals.get(id.0 as usize).map_or("?", |local| local.name.as_str())
    }

    /// Types of the locals that are neither parameters nor `i32`.
    fn write_declarations(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for ty in [Ty::I64, Ty::F32, Ty::F64, Ty::V128] {
            let names: Vec<&str> = self.locals.iter().filter(|l| l.ty == ty).map(|l| l.name.as_str()).collect();
            if !names.is_empty() {
                writeln!(f, "  {ty} {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// A statement in its kernel, at an indentation.
struct Listing<'a> {
    kernel: &'a Kernel,
    stmt: &'a Stmt,
    depth: usize,
}

impl Listing<'_> {
    fn term<'a>(&'a self, expr: &'a Expr) -> Term<'a> {
        Term { kernel: self.kernel, expr, parent: 0 }
    }

    fn block(&self, f: &mut Formatter<'_>, body: &[Stmt]) -> fmt::Result {
        for stmt in body {
            write!(f, "{}", Listing { kernel: self.kernel, stmt, depth: self.depth + 1 })?;
        }
        Ok(())
    }
}

impl Display for Listing<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let pad = "  ".repeat(self.depth);
        match self.stmt {
            Stmt::Set(id, value) => writeln!(f, "{pad}{} = {}", self.kernel.name_of(*id), self.term(value)),
            Stmt::Store { op, addr, offset, value, lane } => {
                let lane = op.lanes().map(|_| format!(" lane {lane}")).unwrap_or_default();
                let place = Place { kernel: self.kernel, addr, offset: *offset };
                writeln!(f, "{pad}{op}[{place}]{lane} = {}", self.term(value))
            }
            Stmt::For { var, start, end, step, body } => {
                let name = self.kernel.name_of(*var);
                write!(f, "{pad}for {name} in {}..{}", self.term(start), self.term(end))?;
                if *step != 1 {
                    write!(f, " step {step}")?;
                }
                writeln!(f, " {{")?;
                self.block(f, body)?;
                writeln!(f, "{pad}}}")
            }
            Stmt::While { cond, body } => {
                writeln!(f, "{pad}while {} {{", self.term(cond))?;
                self.block(f, body)?;
                writeln!(f, "{pad}}}")
            }
            Stmt::If { cond, then, otherwise } => {
                writeln!(f, "{pad}if {} {{", self.term(cond))?;
                self.block(f, then)?;
                if !otherwise.is_empty() {
                    writeln!(f, "{pad}}} else {{")?;
                    self.block(f, otherwise)?;
                }
                writeln!(f, "{pad}}}")
            }
            Stmt::Copy { dst, src, len } => {
                writeln!(f, "{pad}copy {} <- {}, {} bytes", self.term(dst), self.term(src), self.term(len))
            }
            Stmt::Fill { dst, byte, len } => {
                writeln!(f, "{pad}fill {} <- {}, {} bytes", self.term(dst), self.term(byte), self.term(len))
            }
            Stmt::Call { func, args } => {
                let args: Vec<String> = args.iter().map(|arg| self.term(arg).to_string()).collect();
                writeln!(f, "{pad}call {func}({})", args.join(", "))
            }
            Stmt::Return => writeln!(f, "{pad}return"),
            Stmt::Comment(text) => text.lines().try_for_each(|line| writeln!(f, "{pad}// {line}")),
        }
    }
}

/// An expression in its kernel, below an operator of precedence `parent` (0: none).
struct Term<'a> {
    kernel: &'a Kernel,
    expr: &'a Expr,
    parent: u8,
}

/// An address with its constant offset.
struct Place<'a> {
    kernel: &'a Kernel,
    addr: &'a Expr,
    offset: u32,
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Term { kernel: self.kernel, expr: self.addr, parent: 0 })?;
        if self.offset != 0 {
            write!(f, " + {}", self.offset)?;
        }
        Ok(())
    }
}

impl Display for Term<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let term = |expr, parent| Term { kernel: self.kernel, expr, parent };
        match self.expr {
            Expr::Const(value) => write!(f, "{value}"),
            Expr::Local(id) => f.write_str(self.kernel.name_of(*id)),
            Expr::Op { instr: Instr::I32Add, args, .. }
                if let [a, Expr::Const(Const::I32(b))] = &args[..]
                    && *b < 0 =>
            {
                let text = format!("{} - {}", term(a, 5), b.unsigned_abs());
                if self.parent > 5 { write!(f, "({text})") } else { f.write_str(&text) }
            }
            Expr::Op { instr, args, .. } if args.len() == 2 && infix(*instr).is_some() => {
                let (symbol, precedence) = infix(*instr).unwrap_or(("?", 0));
                let (a, b) = (term(&args[0], precedence), term(&args[1], precedence + 1));
                if precedence < self.parent { write!(f, "({a} {symbol} {b})") } else { write!(f, "{a} {symbol} {b}") }
            }
            Expr::Op { instr, imm, args } => {
                write!(f, "{instr}")?;
                match imm {
                    Imm::None => {}
                    Imm::Lane(lane) => write!(f, "[{lane}]")?,
                    Imm::Shuffle(lanes) => write!(f, "{lanes:?}")?,
                }
                write!(f, "(")?;
                for (i, arg) in args.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "" } else { ", " }, term(arg, 0))?;
                }
                write!(f, ")")
            }
            Expr::Select { cond, if_true, if_false } => {
                write!(f, "select({} ? {} : {})", term(cond, 0), term(if_true, 0), term(if_false, 0))
            }
            Expr::Load(load) => {
                let place = Place { kernel: self.kernel, addr: &load.addr, offset: load.offset };
                write!(f, "{}[{place}]", load.op)?;
                match &load.lane {
                    Some((lane, vector)) => write!(f, " lane {lane} of {}", term(vector, 9)),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Symbol and precedence of operators that print infix; signedness and lanes follow from the operands' types, so only
/// operators whose symbol says everything are here.
fn infix(instr: Instr) -> Option<(&'static str, u8)> {
    use Instr::*;
    Some(match instr {
        I32Add | I64Add | F32Add | F64Add | F32x4Add | F64x2Add => ("+", 5),
        I32Sub | I64Sub | F32Sub | F64Sub | F32x4Sub | F64x2Sub => ("-", 5),
        I32Mul | I64Mul | F32Mul | F64Mul | F32x4Mul | F64x2Mul => ("*", 6),
        F32Div | F64Div | F32x4Div | F64x2Div => ("/", 6),
        I32Shl | I64Shl => ("<<", 4),
        I32ShrU | I64ShrU => (">>", 4),
        I32And | I64And | V128And => ("&", 3),
        I32Xor | I64Xor | V128Xor => ("^", 2),
        I32Or | I64Or | V128Or => ("|", 1),
        _ => return None,
    })
}
