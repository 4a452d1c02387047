//! Every row of the instruction table, in wasmtime and in the interpreter, on edge values and random ones.

mod support;

use kernel::{Const, Expr, Imm, ImmKind, Instr, Interp, K, Kernel, Load, LoadOp, RelaxedDot, RelaxedSemantics, Stmt, StoreOp, Ty};
use support::{Rng, Wasm};

const CASES: u32 = 160;
/// Bytes of one case: three operands of 16 bytes.
const CASE_BYTES: u32 = 48;
const INPUT: u32 = 64;
const OUTPUT: u32 = INPUT + CASES * CASE_BYTES;
const MEMORY: usize = 65536;

#[test]
fn operators_agree() {
    let mut kernels = Vec::new();
    let mut instrs = Vec::new();
    for &instr in Instr::ALL {
        for imm in immediates(instr) {
            let name = format!("{}_{}", instr.constructor(), kernels.len());
            kernels.push(operator_kernel(&name, instr, imm));
            instrs.push(instr);
        }
    }
    let mut wasm = Wasm::new(&kernels, 1);
    for (kernel, instr) in kernels.iter().zip(instrs) {
        let semantics = if instr.is_relaxed() { relaxed_choices() } else { vec![RelaxedSemantics::default()] };
        let failures: Vec<Option<String>> =
            semantics.iter().map(|&relaxed| first_difference(&mut wasm, kernel, instr.constructor(), relaxed)).collect();
        assert!(failures.iter().any(Option::is_none), "{instr}: {}", failures[0].clone().unwrap_or_default());
    }
}

#[test]
fn loads_agree() {
    let mut kernels = Vec::new();
    for &op in LoadOp::ALL {
        for lane in 0..op.lanes().unwrap_or(1) {
            let mut k = K::new(format!("{}_{lane}", op.constructor()));
            let (case, out) = (case_address(&mut k), output_address(&mut k));
            let vector = Expr::Load(Box::new(Load { op: LoadOp::V128Load, addr: case.clone(), offset: 16, lane: None }));
            let lane = op.lanes().map(|_| (lane, vector));
            let value = Expr::load(Load { op, addr: case, offset: 3, lane });
            k.push(Stmt::Store { op: whole_store(op.result()), addr: out, offset: 0, value, lane: 0 });
            kernels.push(k.finish());
        }
    }
    agree_exactly(&kernels);
}

#[test]
fn stores_agree() {
    let mut kernels = Vec::new();
    for &op in StoreOp::ALL {
        for lane in 0..op.lanes().unwrap_or(1) {
            let mut k = K::new(format!("{}_{lane}", op.constructor()));
            let (case, out) = (case_address(&mut k), output_address(&mut k));
            let value = Expr::load(Load { op: whole_load(op.value()), addr: case, offset: 0, lane: None });
            k.push(Stmt::Store { op, addr: out, offset: 5, value, lane });
            kernels.push(k.finish());
        }
    }
    agree_exactly(&kernels);
}

#[test]
fn names_are_those_of_the_text_format() {
    for (instr, name) in [
        (Instr::I32DivU, "i32.div_u"),
        (Instr::F32x4PMax, "f32x4.pmax"),
        (Instr::I32x4RelaxedDotI8x16I7x16AddS, "i32x4.relaxed_dot_i8x16_i7x16_add_s"),
    ] {
        assert_eq!(instr.to_string(), name);
    }
    assert_eq!(LoadOp::V128Load32Splat.to_string(), "v128.load32_splat");
    assert_eq!(StoreOp::I32Store8.to_string(), "i32.store8");
}

fn agree_exactly(kernels: &[Kernel]) {
    let mut wasm = Wasm::new(kernels, 1);
    for kernel in kernels {
        let difference = first_difference(&mut wasm, kernel, "", RelaxedSemantics::default());
        assert_eq!(difference, None, "{}", kernel.name);
    }
}

/// Runs all cases in both; `family` says by its prefix whether NaNs of any payload are equal.
fn first_difference(wasm: &mut Wasm, kernel: &Kernel, family: &str, relaxed: RelaxedSemantics) -> Option<String> {
    let mut memory = vec![0; MEMORY];
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    for case in 0..3 * CASES as usize {
        let at = INPUT as usize + 16 * case;
        memory[at..at + 16].copy_from_slice(&operand(&mut rng));
    }
    wasm.memory().copy_from_slice(&memory);
    for case in 0..CASES {
        let returned = wasm.run(&kernel.name, 0, case);
        let mut interp = Interp::new(&mut memory);
        interp.relaxed = relaxed;
        let result = interp.run(kernel, 0, case);
        if returned != result.is_ok() {
            return Some(format!("case {case}: returned {returned} in wasmtime, {result:?} in the interpreter"));
        }
        let at = (OUTPUT + 32 * case) as usize;
        let input = &memory[(INPUT + CASE_BYTES * case) as usize..][..CASE_BYTES as usize];
        let (ours, theirs) = (&memory[at..at + 32], &wasm.memory()[at..at + 32]);
        if canonical(family, ours) != canonical(family, theirs) {
            return Some(format!("case {case}: operands {input:x?}, interpreter {ours:x?}, wasmtime {theirs:x?}"));
        }
    }
    None
}

/// The bytes with every NaN of a float result replaced by one.
fn canonical(family: &str, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if family.starts_with("f32") {
        for lane in bytes.chunks_exact_mut(4) {
            if f32::from_le_bytes([lane[0], lane[1], lane[2], lane[3]]).is_nan() {
                lane.copy_from_slice(&f32::NAN.to_le_bytes());
            }
        }
    } else if family.starts_with("f64") {
        for lane in bytes.chunks_exact_mut(8) {
            if f64::from_le_bytes(lane.try_into().expect("eight bytes")).is_nan() {
                lane.copy_from_slice(&f64::NAN.to_le_bytes());
            }
        }
    }
    bytes
}

/// Sixteen bytes whose lanes, in one of the interpretations, are edge values or random.
fn operand(rng: &mut Rng) -> [u8; 16] {
    let mut bytes = [0; 16];
    let kind = rng.below(6);
    let same = rng.below(8) == 0;
    let mut f32s = [0f32; 4];
    let mut f64s = [0f64; 2];
    let edges = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 0.49999997, 1e-40, -1e-45, 3.0e9, -3.0e9, 2147483648.0, 4294967296.0];
    let more = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 9.3e18, -9.3e18, 1e20, 255.0, -129.0, 8388608.5, 1.0 / 3.0];
    let pick = |rng: &mut Rng| {
        let i = rng.below(edges.len() + more.len() + 8);
        edges.iter().chain(&more).nth(i).copied().unwrap_or_else(|| f64::from(rng.f32()) * 1000.0)
    };
    match kind {
        0 | 1 => {
            f32s = f32s.map(|_| pick(rng) as f32);
            bytes = std::array::from_fn(|i| f32s[i / 4].to_le_bytes()[i % 4]);
        }
        2 => {
            f64s = f64s.map(|_| pick(rng));
            bytes = std::array::from_fn(|i| f64s[i / 8].to_le_bytes()[i % 8]);
        }
        3 => {
            let edges = [0u8, 1, 0x7f, 0x80, 0xff, 0xfe, 0x40];
            bytes = bytes.map(|_| edges[rng.below(edges.len())]);
        }
        4 => {
            let edges = [0u32, 1, u32::MAX, i32::MAX as u32, i32::MIN as u32, 31, 32, 33, 0x7fff, 0x8000, 0xffff];
            let words: [u32; 4] = std::array::from_fn(|_| edges[rng.below(edges.len())]);
            bytes = std::array::from_fn(|i| words[i / 4].to_le_bytes()[i % 4]);
        }
        _ => {
            let words = [rng.u64(), rng.u64()];
            bytes = std::array::from_fn(|i| words[i / 8].to_le_bytes()[i % 8]);
        }
    }
    if same {
        bytes = std::array::from_fn(|i| bytes[i % 4]);
    }
    bytes
}

fn relaxed_choices() -> Vec<RelaxedSemantics> {
    let mut choices = Vec::new();
    for fused in [true, false] {
        for dot in [RelaxedDot::Unsigned, RelaxedDot::Signed, RelaxedDot::Saturating] {
            for laneselect_by_top_bit in [false, true] {
                choices.push(RelaxedSemantics { fused, dot, laneselect_by_top_bit });
            }
        }
    }
    choices
}

fn immediates(instr: Instr) -> Vec<Imm> {
    match instr.imm_kind() {
        ImmKind::None => vec![Imm::None],
        ImmKind::Lane(lanes) => (0..lanes).map(Imm::Lane).collect(),
        ImmKind::Shuffle => vec![
            Imm::Shuffle([0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 31, 15]),
            Imm::Shuffle(std::array::from_fn(|i| (i as u8 * 7 + 3) % 32)),
        ],
    }
}

/// Loads the operands of case `task`, applies the instruction, stores the result.
fn operator_kernel(name: &str, instr: Instr, imm: Imm) -> Kernel {
    let mut k = K::new(name);
    let (case, out) = (case_address(&mut k), output_address(&mut k));
    let signature = instr.signature();
    let args = signature.params.iter().enumerate().map(|(i, &ty)| {
        let load = Load { op: whole_load(ty), addr: case.clone(), offset: 16 * i as u32, lane: None };
        Expr::Load(Box::new(load))
    });
    let value = Expr::Op { instr, imm, args: args.collect() };
    k.push(Stmt::Store { op: whole_store(signature.result), addr: out, offset: 0, value, lane: 0 });
    k.finish()
}

fn case_address(k: &mut K) -> Expr {
    (k.task() * CASE_BYTES as i32 + INPUT as i32).into_expr()
}

fn output_address(k: &mut K) -> Expr {
    (k.task() * 32 + OUTPUT as i32).into_expr()
}

fn whole_load(ty: Ty) -> LoadOp {
    match ty {
        Ty::I32 => LoadOp::I32Load,
        Ty::I64 => LoadOp::I64Load,
        Ty::F32 => LoadOp::F32Load,
        Ty::F64 => LoadOp::F64Load,
        Ty::V128 => LoadOp::V128Load,
    }
}

fn whole_store(ty: Ty) -> StoreOp {
    match ty {
        Ty::I32 => StoreOp::I32Store,
        Ty::I64 => StoreOp::I64Store,
        Ty::F32 => StoreOp::F32Store,
        Ty::F64 => StoreOp::F64Store,
        Ty::V128 => StoreOp::V128Store,
    }
}

/// Constants of every type reach memory with their exact bits.
#[test]
fn constants_agree() {
    let constants = [
        Const::I32(i32::MIN),
        Const::I64(-2),
        Const::F32(0x7fc0_1234),
        Const::F64((-0.0f64).to_bits()),
        Const::V128(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
    ];
    let kernels = constants.map(|value| {
        let mut k = K::new(format!("const_{}", value.ty()));
        let out = output_address(&mut k);
        let value_expr = Expr::Const(value);
        k.push(Stmt::Store { op: whole_store(value.ty()), addr: out, offset: 0, value: value_expr, lane: 0 });
        k.finish()
    });
    agree_exactly(&kernels);
}
