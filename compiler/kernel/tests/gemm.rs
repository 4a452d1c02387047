//! One realistic kernel, a blocked matrix product with bias and ReLU: interpreter and wasmtime give the same bits, both
//! give the right numbers, and every access stays within the tensors.

mod support;

use kernel::{E, F32x4, Interp, InterpFault, K, Kernel, V, load, load_partial, load_splat32, max_nan, verify};
use support::{Rng, Wasm, get_floats, put_floats, put_words};

const M: usize = 10;
const N: usize = 22;
const K_DEPTH: usize = 37;
const MR: usize = 4;
const NR: usize = 8;

/// `y[M, N] = relu(a[M, K] · b + bias)`, with b packed in panels `[N / NR][K][NR]` (the last one zero-padded) and
/// the bias padded likewise. One task is one block of MR rows; the last block is exact.
fn relu_gemm() -> Kernel {
    let mut k = K::new("contract_f32_m4n8_relu");
    let (a, y) = (k.arena("a"), k.arena("y"));
    let (b, bias) = (k.weights("b"), k.weights("bias"));
    let task = k.task();
    let full_blocks = (M / MR) as i32;
    k.if_else(kernel::i32_lt_u(task, full_blocks), |k| row_block(k, a, b, bias, y, MR), |k| row_block(k, a, b, bias, y, M % MR));
    k.finish()
}

fn row_block(k: &mut K, a: V<kernel::I32>, b: V<kernel::I32>, bias: V<kernel::I32>, y: V<kernel::I32>, rows: usize) {
    let zero = k.constant(0.0);
    let task = k.task();
    let a_block = k.let_("a_block", a + task * (MR * K_DEPTH * 4));
    let y_block = k.let_("y_block", y + task * (MR * N * 4));
    k.for_tiles("n", N, NR, |k, n, width| {
        let n = k.let_("n0", n);
        let vectors = width.div_ceil(4);
        let acc: Vec<Vec<V<F32x4>>> =
            (0..rows).map(|_| (0..vectors).map(|j| k.let_("acc", load::<F32x4>(bias + n * 4, 16 * j as u32))).collect()).collect();
        let panel = k.let_("panel", b + n * (K_DEPTH * 4));
        k.for_("depth", 0, 4 * K_DEPTH, 4, |k, depth| {
            let row: Vec<V<F32x4>> = (0..vectors).map(|j| k.let_("b", load::<F32x4>(panel + depth * NR, 16 * j as u32))).collect();
            for (i, acc) in acc.iter().enumerate() {
                let x = k.let_("x", load_splat32::<F32x4>(a_block + depth, (4 * i * K_DEPTH) as u32));
                for (acc, b) in acc.iter().zip(&row) {
                    k.set(*acc, *acc + x * *b);
                }
            }
        });
        for (i, acc) in acc.iter().enumerate() {
            for (j, acc) in acc.iter().enumerate() {
                let lanes = (width - 4 * j).min(4);
                k.store_partial(y_block + n * 4, (4 * (i * N + 4 * j)) as u32, max_nan(*acc, zero), lanes);
            }
        }
    });
}

const ARGS: usize = 16;
const A: usize = 4096;
const Y: usize = 8192;
const B: usize = 16384;
const BIAS: usize = 32768;
const ARENA: usize = 1024;
const N_PADDED: usize = N.next_multiple_of(NR);

fn memory() -> Vec<u8> {
    let mut memory = vec![0; 65536];
    let mut rng = Rng(42);
    put_words(&mut memory, ARGS, &[A as u32 - ARENA as u32, Y as u32 - ARENA as u32, B as u32, BIAS as u32]);
    put_floats(&mut memory, A, &(0..M * K_DEPTH).map(|_| rng.f32()).collect::<Vec<_>>());
    put_floats(&mut memory, B, &(0..N_PADDED * K_DEPTH).map(|_| rng.f32()).collect::<Vec<_>>());
    put_floats(&mut memory, BIAS, &(0..N_PADDED).map(|_| rng.f32()).collect::<Vec<_>>());
    memory
}

fn expected(memory: &[u8]) -> Vec<f32> {
    let (a, b) = (get_floats(memory, A, M * K_DEPTH), get_floats(memory, B, N_PADDED * K_DEPTH));
    let bias = get_floats(memory, BIAS, N_PADDED);
    let element = |i: usize, j: usize| {
        let packed = |d: usize| b[j / NR * NR * K_DEPTH + d * NR + j % NR];
        (0..K_DEPTH).fold(bias[j], |sum, d| sum + a[i * K_DEPTH + d] * packed(d)).max(0.0)
    };
    (0..M * N).map(|at| element(at / N, at % N)).collect()
}

fn allowed() -> Vec<std::ops::Range<u32>> {
    [(A, M * K_DEPTH), (Y, M * N), (B, N_PADDED * K_DEPTH), (BIAS, N_PADDED)]
        .map(|(start, floats)| start as u32..(start + 4 * floats) as u32)
        .to_vec()
}

#[test]
fn interpreter_and_engine_agree() {
    let kernel = relu_gemm();
    verify(&kernel).unwrap();
    let mut ours = memory();
    let want = expected(&ours);
    let mut wasm = Wasm::new(std::slice::from_ref(&kernel), 1);
    wasm.memory().copy_from_slice(&ours);
    wasm.set_arena_base(ARENA as u32);
    for task in 0..M.div_ceil(MR) as u32 {
        let mut interp = Interp::new(&mut ours);
        interp.arena_base = ARENA as u32;
        interp.allowed = Some(allowed());
        interp.run(&kernel, ARGS as u32, task).unwrap();
        assert!(wasm.run(&kernel.name, ARGS as u32, task));
    }
    assert!(ours == wasm.memory(), "memory differs");
    assert_eq!(get_floats(&ours, Y, M * N), want);
}

/// The checking mode notices one lane too many, and says where.
#[test]
fn accesses_outside_are_found() {
    let mut k = K::new("reads_too_far");
    let x = k.arena("x");
    let sum = k.let_("sum", load_partial::<F32x4>(x, 0, 3));
    k.store(x, 0, E::from(sum));
    let kernel = k.finish();
    let mut memory = vec![0; 256];
    put_words(&mut memory, 0, &[64]);
    let mut interp = Interp::new(&mut memory);
    interp.allowed = Some(vec![0..16, 64..76]);
    let error = interp.run(&kernel, 0, 0).unwrap_err();
    assert_eq!(error.fault, InterpFault::NotAllowed { access: "store", addr: 64, len: 16 });
    assert_eq!(error.statement, "v128.store[x] = sum");
    let mut interp = Interp::new(&mut memory[..70]);
    assert!(matches!(interp.run(&kernel, 0, 0).unwrap_err().fault, InterpFault::OutOfBounds { .. }));
}

/// A million multiply-adds interpret well within a second.
#[test]
fn the_interpreter_is_fast_enough() {
    let kernel = relu_gemm();
    let mut memory = memory();
    let start = std::time::Instant::now();
    let runs = 1_000_000 / (MR * N * K_DEPTH);
    for _ in 0..runs {
        let mut interp = Interp::new(&mut memory);
        interp.arena_base = ARENA as u32;
        interp.run(&kernel, ARGS as u32, 0).unwrap();
    }
    let elapsed = start.elapsed();
    assert!(elapsed.as_secs_f64() < 1.0, "{runs} runs took {elapsed:?}");
    println!("{elapsed:?}");
}
