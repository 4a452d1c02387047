//! From kernel to wasm function body. The only file that names the encoder. It encodes what the kernel says: the
//! choices are loop shapes and the order of locals; anything cleverer belongs in the builder or the schedule.

use wasm_encoder::{
    CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType, Instruction, MemArg,
    MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

use crate::instr::{Features, Imm, Instr, LoadOp, StoreOp};
use crate::ir::{Const, Expr, Kernel, LocalId, ParamKind, Stmt, Ty, assigns};
use crate::table::for_each_instr;
use crate::verify::{VerifyError, verify};

/// What a kernel refers to in the module it becomes part of.
pub struct EmitCx<'a> {
    /// Index of the mutable `i32` global that holds the arena's base.
    pub arena_base_global: u32,
    /// The function index of a callee.
    pub resolve: &'a dyn Fn(&str) -> Option<u32>,
}

/// A function of type `(i32, i32) -> ()`.
#[derive(Clone, Debug)]
pub struct EmittedFunction {
    pub function: Function,
    pub features: Features,
}

impl EmittedFunction {
    /// Locals and code, without the size prefix.
    pub fn body(&self) -> Vec<u8> {
        self.function.clone().into_raw_body()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    #[error("kernel `{kernel}` calls `{func}`, which the module does not have")]
    UnknownCallee { kernel: String, func: String },
}

/// Verifies `kernel` and encodes it.
pub fn emit(kernel: &Kernel, cx: &EmitCx<'_>) -> Result<EmittedFunction, EmitError> {
    verify(kernel)?;
    let mut code = Vec::new();
    let mut emitter = Emitter { kernel, cx, map: LocalMap::new(kernel), code: &mut code };
    emitter.prologue();
    emitter.block(&kernel.body)?;
    let mut function = Function::new(emitter.map.declarations());
    for instruction in &code {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    Ok(EmittedFunction { function, features: kernel.features() })
}

/// A module of kernels alone, for tests and measurements: exports each kernel by name, the memory as `memory` and the
/// arena's base as the mutable global `arena_base`. Kernels that call routines cannot be in it.
pub fn emit_standalone_module(kernels: &[Kernel], memory_pages: u32) -> Result<Vec<u8>, EmitError> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32, ValType::I32], []);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: memory_pages.into(), maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut globals = GlobalSection::new();
    let arena_base = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(arena_base, &ConstExpr::i32_const(0));
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("arena_base", ExportKind::Global, 0);
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    let cx = EmitCx { arena_base_global: 0, resolve: &|_| None };
    for (index, kernel) in kernels.iter().enumerate() {
        functions.function(0);
        exports.export(&kernel.name, ExportKind::Func, index as u32);
        code.function(&emit(kernel, &cx)?.function);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&globals).section(&exports).section(&code);
    Ok(module.finish())
}

/// The two wasm parameters of every kernel.
const ARGS: u32 = 0;
const TASK: u32 = 1;

/// Which wasm local each IR local is: grouped by type, so that the declarations are short.
struct LocalMap {
    wasm: Vec<u32>,
    counts: Vec<(u32, ValType)>,
    /// `i32` locals for loop ends, declared last.
    extra: u32,
    next: u32,
}

impl LocalMap {
    fn new(kernel: &Kernel) -> LocalMap {
        let mut wasm = vec![TASK; kernel.locals.len()];
        let mut counts = Vec::new();
        let mut next = TASK + 1;
        for ty in [Ty::I32, Ty::I64, Ty::F32, Ty::F64, Ty::V128] {
            let first = next;
            for (slot, local) in wasm.iter_mut().zip(&kernel.locals).skip(1) {
                if local.ty == ty {
                    *slot = next;
                    next += 1;
                }
            }
            if next > first {
                counts.push((next - first, val_type(ty)));
            }
        }
        LocalMap { wasm, counts, extra: 0, next }
    }

    fn of(&self, id: LocalId) -> u32 {
        self.wasm[id.0 as usize]
    }

    fn fresh_i32(&mut self) -> u32 {
        self.extra += 1;
        self.next += 1;
        self.next - 1
    }

    fn declarations(&self) -> Vec<(u32, ValType)> {
        let mut counts = self.counts.clone();
        if self.extra > 0 {
            counts.push((self.extra, ValType::I32));
        }
        counts
    }
}

struct Emitter<'a> {
    kernel: &'a Kernel,
    cx: &'a EmitCx<'a>,
    map: LocalMap,
    code: &'a mut Vec<Instruction<'static>>,
}

/// A loop's end, ready to be compared with.
#[derive(Clone, Copy)]
enum End {
    Const(i32),
    Local(u32),
}

impl Emitter<'_> {
    /// Appends an instruction; a set followed by a get of the same local becomes a tee.
    fn push(&mut self, instruction: Instruction<'static>) {
        match (self.code.last_mut(), &instruction) {
            (Some(last), Instruction::LocalGet(get)) if matches!(&*last, Instruction::LocalSet(set) if set == get) => {
                *last = Instruction::LocalTee(*get);
            }
            _ => self.code.push(instruction),
        }
    }

    /// Reads the argument record into the parameters' locals.
    fn prologue(&mut self) {
        for (i, param) in self.kernel.params.iter().enumerate() {
            self.push(Instruction::LocalGet(ARGS));
            self.push(Instruction::I32Load(mem_arg(4 * i as u32, 4)));
            if param.kind == ParamKind::Arena {
                self.push(Instruction::GlobalGet(self.cx.arena_base_global));
                self.push(Instruction::I32Add);
            }
            self.push(Instruction::LocalSet(self.map.of(param.local)));
        }
    }

    fn block(&mut self, body: &[Stmt]) -> Result<(), EmitError> {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), EmitError> {
        match stmt {
            Stmt::Set(id, value) => {
                self.expr(value);
                self.push(Instruction::LocalSet(self.map.of(*id)));
            }
            Stmt::Store { op, addr, offset, value, lane } => {
                self.expr(addr);
                self.expr(value);
                self.push(encode_store(*op, mem_arg(*offset, op.bytes()), *lane));
            }
            Stmt::For { var, start, end, step, body } => self.for_loop(*var, start, end, *step, body)?,
            Stmt::While { cond, body } => {
                self.push(Instruction::Loop(wasm_encoder::BlockType::Empty));
                self.expr(cond);
                self.push(Instruction::If(wasm_encoder::BlockType::Empty));
                self.block(body)?;
                self.push(Instruction::Br(1));
                self.push(Instruction::End);
                self.push(Instruction::End);
            }
            Stmt::If { cond, then, otherwise } => {
                self.expr(cond);
                self.push(Instruction::If(wasm_encoder::BlockType::Empty));
                self.block(then)?;
                if !otherwise.is_empty() {
                    self.push(Instruction::Else);
                    self.block(otherwise)?;
                }
                self.push(Instruction::End);
            }
            Stmt::Copy { dst, src, len } => {
                self.exprs(&[dst, src, len]);
                self.push(Instruction::MemoryCopy { src_mem: 0, dst_mem: 0 });
            }
            Stmt::Fill { dst, byte, len } => {
                self.exprs(&[dst, byte, len]);
                self.push(Instruction::MemoryFill(0));
            }
            Stmt::Call { func, args } => {
                args.iter().for_each(|arg| self.expr(arg));
                let index = (self.cx.resolve)(func)
                    .ok_or_else(|| EmitError::UnknownCallee { kernel: self.kernel.name.clone(), func: func.clone() })?;
                self.push(Instruction::Call(index));
            }
            Stmt::Return => self.push(Instruction::Return),
            Stmt::Comment(_) => {}
        }
        Ok(())
    }

    /// `var = start; loop { body; var += step; br_if var < end }`, guarded by an `if` unless the bounds are constants;
    /// constant bounds with one pass need no loop, with none no code.
    fn for_loop(&mut self, var: LocalId, start: &Expr, end: &Expr, step: u32, body: &[Stmt]) -> Result<(), EmitError> {
        let var = self.map.of(var);
        let passes = match (start.as_i32(), end.as_i32()) {
            (Some(start), Some(end)) => Some((end as u32).saturating_sub(start as u32).div_ceil(step)),
            _ => None,
        };
        if passes == Some(0) {
            return Ok(());
        }
        let end = match end {
            _ if passes == Some(1) => End::Const(0),
            Expr::Const(Const::I32(end)) => End::Const(*end),
            Expr::Local(id) if !assigns(body, *id) && self.map.of(*id) != var => End::Local(self.map.of(*id)),
            end => {
                self.expr(end);
                let local = self.map.fresh_i32();
                self.push(Instruction::LocalSet(local));
                End::Local(local)
            }
        };
        self.expr(start);
        if passes == Some(1) {
            self.push(Instruction::LocalSet(var));
            return self.block(body);
        }
        if passes.is_none() {
            self.push(Instruction::LocalTee(var));
            self.end_test(end);
            self.push(Instruction::If(wasm_encoder::BlockType::Empty));
        } else {
            self.push(Instruction::LocalSet(var));
        }
        self.push(Instruction::Loop(wasm_encoder::BlockType::Empty));
        self.block(body)?;
        self.push(Instruction::LocalGet(var));
        self.push(Instruction::I32Const(step as i32));
        self.push(Instruction::I32Add);
        self.push(Instruction::LocalTee(var));
        self.end_test(end);
        self.push(Instruction::BrIf(0));
        self.push(Instruction::End);
        if passes.is_none() {
            self.push(Instruction::End);
        }
        Ok(())
    }

    /// Replaces the loop variable on the stack by whether another pass follows.
    fn end_test(&mut self, end: End) {
        self.push(match end {
            End::Const(end) => Instruction::I32Const(end),
            End::Local(end) => Instruction::LocalGet(end),
        });
        self.push(Instruction::I32LtU);
    }

    fn exprs(&mut self, exprs: &[&Expr]) {
        exprs.iter().for_each(|expr| self.expr(expr));
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Const(value) => self.push(match *value {
                Const::I32(v) => Instruction::I32Const(v),
                Const::I64(v) => Instruction::I64Const(v),
                Const::F32(bits) => Instruction::F32Const(f32::from_bits(bits).into()),
                Const::F64(bits) => Instruction::F64Const(f64::from_bits(bits).into()),
                Const::V128(bits) => Instruction::V128Const(bits as i128),
            }),
            Expr::Local(id) => self.push(Instruction::LocalGet(self.map.of(*id))),
            Expr::Op { instr, imm, args } => {
                args.iter().for_each(|arg| self.expr(arg));
                self.push(encode_op(*instr, *imm));
            }
            Expr::Select { cond, if_true, if_false } => {
                self.exprs(&[if_true, if_false, cond]);
                self.push(Instruction::Select);
            }
            Expr::Load(load) => {
                self.expr(&load.addr);
                let lane = load.lane.as_ref().map_or(0, |(lane, vector)| {
                    self.expr(vector);
                    *lane
                });
                self.push(encode_load(load.op, mem_arg(load.offset, load.op.bytes()), lane));
            }
        }
    }
}

fn val_type(ty: Ty) -> ValType {
    match ty {
        Ty::I32 => ValType::I32,
        Ty::I64 => ValType::I64,
        Ty::F32 => ValType::F32,
        Ty::F64 => ValType::F64,
        Ty::V128 => ValType::V128,
    }
}

/// The alignment is a hint: what is certain of elements of four bytes and more is four.
fn mem_arg(offset: u32, bytes: u32) -> MemArg {
    MemArg { offset: offset.into(), align: bytes.min(4).trailing_zeros(), target: MemArgTarget::Memory(0), ordering: None }
}

macro_rules! define_encodings {
    (
        ops { $($of:ident $ov:ident $ofeat:ident ($($oa:ident: $ot:ty),*) -> $or:ty $ob:block)* }
        trapping_ops { $($tf:ident $tv:ident $tfeat:ident ($($ta:ident: $tt:ty),*) -> $tr:ty $tb:block)* }
        lane_ops { $($lf:ident $lv:ident $lfeat:ident [$ln:literal] ($li:ident; $($la:ident: $lt:ty),*) -> $lr:ty $lb:block)* }
        relaxed_ops { $($rf:ident $rv:ident $rfeat:ident ($rr:ident; $($ra:ident: $rt:ty),*) -> $rres:ty $rb:block)* }
        loads { $($ldf:ident $ldv:ident $ldfeat:ident ($ldb:ident: [u8; $ldn:literal]) -> $ldr:ty $ldblock:block)* }
        lane_loads { $($llf:ident $llv:ident $llfeat:ident [$lll:literal] ($lli:ident, $llb:ident: [u8; $lln:literal]; $llvec:ident: $llt:ty) -> $llr:ty $llblock:block)* }
        stores { $($sf:ident $sv:ident $sfeat:ident ($sa:ident: $st:ty) -> [u8; $sn:literal] $sb:block)* }
        lane_stores { $($slf:ident $slv:ident $slfeat:ident [$sll:literal] ($sli:ident; $sla:ident: $slt:ty) -> [u8; $sln:literal] $slb:block)* }
    ) => {
        fn encode_op(instr: Instr, imm: Imm) -> Instruction<'static> {
            let (lane, lanes) = match imm {
                Imm::None => (0, [0; 16]),
                Imm::Lane(lane) => (lane, [0; 16]),
                Imm::Shuffle(lanes) => (0, lanes),
            };
            match instr {
                Instr::I8x16Shuffle => Instruction::I8x16Shuffle(lanes),
                $(Instr::$ov => Instruction::$ov,)*
                $(Instr::$tv => Instruction::$tv,)*
                $(Instr::$lv => Instruction::$lv(lane),)*
                $(Instr::$rv => Instruction::$rv,)*
            }
        }

        fn encode_load(op: LoadOp, memarg: MemArg, lane: u8) -> Instruction<'static> {
            match op {
                $(LoadOp::$ldv => Instruction::$ldv(memarg),)*
                $(LoadOp::$llv => Instruction::$llv { memarg, lane },)*
            }
        }

        fn encode_store(op: StoreOp, memarg: MemArg, lane: u8) -> Instruction<'static> {
            match op {
                $(StoreOp::$sv => Instruction::$sv(memarg),)*
                $(StoreOp::$slv => Instruction::$slv { memarg, lane },)*
            }
        }
    };
}

for_each_instr!(define_encodings);
