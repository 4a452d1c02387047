//! Loops and other statements: interpreter and wasmtime agree on memory, and on what it should be.

mod support;

use kernel::{E, EmitCx, EmitError, F32x4, I32, Interp, InterpFault, K, Kernel, RelaxedSemantics, V, emit, i32_lt_u, load, load_partial};
use support::{Wasm, get_floats, put_floats, put_words};

const OUT: u32 = 256;

/// Runs tasks 0..n in both, compares memory, returns the words at `OUT`.
fn run(kernel: &Kernel, params: &[u32], tasks: u32, words: usize) -> Vec<u32> {
    let mut memory = vec![0; 65536];
    put_words(&mut memory, 0, params);
    put_floats(&mut memory, 1024, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let mut wasm = Wasm::new(std::slice::from_ref(kernel), 1);
    wasm.memory().copy_from_slice(&memory);
    for task in 0..tasks {
        Interp::new(&mut memory).run(kernel, 0, task).unwrap();
        assert!(wasm.run(&kernel.name, 0, task));
    }
    assert!(memory == wasm.memory(), "{kernel}");
    get_floats(&memory, OUT as usize, words).into_iter().map(f32::to_bits).collect()
}

/// Appends `value` to the list at `OUT`.
fn append(k: &mut K, at: V<I32>, value: impl Into<E<I32>>) {
    k.store(at, 0, value);
    k.set(at, at + 4);
}

#[test]
fn bounds_of_every_kind() {
    for (start, end, step) in [(0, 5, 1), (0, 5, 2), (0, 1, 1), (3, 4, 7), (4, 4, 1), (5, 4, 1), (0, 0, 3), (2, 9, 3)] {
        let expected: Vec<u32> = (start..end).step_by(step as usize).collect();
        for constant in [[true, true], [true, false], [false, true], [false, false]] {
            let mut k = K::new("bounds");
            let (a, b) = (k.scalar("start"), k.scalar("end"));
            let at = k.let_("at", OUT);
            let first: E<I32> = if constant[0] { start.into() } else { a.into() };
            let last: E<I32> = if constant[1] { end.into() } else { b + 0 };
            k.for_("i", first, last, step, |k, i| append(k, at, i));
            append(&mut k, at, 1000);
            let got = run(&k.finish(), &[start, end], 1, expected.len() + 1);
            assert_eq!(got, [&expected[..], &[1000]].concat(), "{start}..{end} step {step}, constant {constant:?}");
        }
    }
}

/// The end is evaluated once, whether or not the body changes what it is made of.
#[test]
fn the_end_is_fixed_at_entry() {
    for via_sum in [false, true] {
        let mut k = K::new("fixed_end");
        let n = k.scalar("n");
        let at = k.let_("at", OUT);
        let end: E<I32> = if via_sum { n + 1 } else { n.into() };
        k.for_("i", 0, end, 1, |k, i| {
            k.set(n, n - 1);
            append(k, at, i);
        });
        append(&mut k, at, n);
        let expected: &[u32] = if via_sum { &[0, 1, 2, 3, 4, u32::MAX] } else { &[0, 1, 2, 3, 0] };
        assert_eq!(run(&k.finish(), &[4], 1, expected.len()), expected);
    }
}

#[test]
fn pointers_as_loop_variables() {
    let mut k = K::new("pointer");
    let x = k.weights("x");
    let sum = k.let_("sum", kernel::f32x4_splat(0.0));
    k.for_("p", x, x + 32, 16, |k, p| k.set(sum, sum + load::<F32x4>(p, 0)));
    k.store(OUT, 0, sum);
    let got = run(&k.finish(), &[1024], 1, 4);
    assert_eq!(got.into_iter().map(f32::from_bits).collect::<Vec<_>>(), [6.0, 8.0, 10.0, 12.0]);
}

#[test]
fn while_if_and_return() {
    let mut k = K::new("collatz");
    let n = k.let_("n", k.task() + 1);
    let steps = k.let_("steps", 0);
    let out = k.let_("out", k.task() * 4 + OUT);
    k.if_(i32_lt_u(n, 2), |k| {
        k.store(out, 0, 77);
        k.return_();
    });
    k.while_(kernel::i32_ne(n, 1), |k| {
        k.if_else(n & 1, |k| k.set(n, n * 3 + 1), |k| k.set(n, kernel::i32_shr_u(n, 1)));
        k.set(steps, steps + 1);
    });
    k.store(out, 0, steps);
    assert_eq!(run(&k.finish(), &[], 7, 7), [77, 1, 7, 2, 5, 8, 16]);
}

#[test]
fn return_leaves_nested_loops() {
    let mut k = K::new("leave");
    let at = k.let_("at", OUT);
    k.for_("i", 0, 4, 1, |k, i| {
        k.for_("j", 0, 4, 1, |k, j| {
            append(k, at, i * 10 + j);
            k.if_(kernel::i32_eq(i * 4 + j, 5), |k| k.return_());
        });
    });
    assert_eq!(run(&k.finish(), &[], 1, 7), [0, 1, 2, 3, 10, 11, 0]);
}

#[test]
fn partial_vectors_touch_nothing_else() {
    for lanes in 1..=4 {
        let mut k = K::new("partial");
        let x = k.weights("x");
        k.store(OUT, 0, kernel::f32x4_splat(9.0));
        k.store(OUT, 16, load_partial::<F32x4>(x, 0, lanes));
        k.store_partial(OUT, 0, load_partial::<F32x4>(x, 0, lanes), lanes);
        let got: Vec<f32> = run(&k.finish(), &[1024], 1, 8).into_iter().map(f32::from_bits).collect();
        let lane = |i: usize, other: f32| if i < lanes { i as f32 + 1.0 } else { other };
        let expected: Vec<f32> = (0..8).map(|i| if i < 4 { lane(i, 9.0) } else { lane(i - 4, 0.0) }).collect();
        assert_eq!(got, expected);
    }
}

#[test]
fn copies_may_overlap() {
    let mut k = K::new("copy");
    k.copy(OUT, 1024, 16);
    k.copy(OUT + 4, OUT, 16);
    k.fill(OUT + 20, 0x1_02, 4);
    let got = run(&k.finish(), &[], 1, 6);
    let float = |v: f32| v.to_bits();
    assert_eq!(got, [float(1.0), float(1.0), float(2.0), float(3.0), float(4.0), 0x0202_0202]);
}

#[test]
fn tiles_cover_everything_once() {
    for (total, tile) in [(0, 4), (3, 4), (4, 4), (7, 4), (8, 4), (11, 4), (12, 5)] {
        let mut k = K::new("tiles");
        let mut widths = Vec::new();
        k.for_tiles("t", total, tile, |k, start, width| {
            widths.push(width);
            for i in 0..width {
                let cell = start.clone() * 4 + OUT;
                k.store(cell.clone(), 4 * i as u32, kernel::i32_load(cell, 4 * i as u32) + 1);
            }
        });
        assert!(widths.len() <= 2, "each width is written once");
        let got = run(&k.finish(), &[], 1, total + 1);
        assert_eq!(got, [vec![1; total], vec![0]].concat());
    }
}

#[test]
fn callees_are_resolved_by_name() {
    let mut k = K::new("calls");
    k.call("double_it", [k.task().get().into_expr()]);
    let kernel = k.finish();
    let unresolved = EmitCx { arena_base_global: 0, resolve: &|_| None };
    let error = emit(&kernel, &unresolved).unwrap_err();
    assert_eq!(error, EmitError::UnknownCallee { kernel: "calls".to_owned(), func: "double_it".to_owned() });
    let resolved = EmitCx { arena_base_global: 0, resolve: &|name| (name == "double_it").then_some(7) };
    assert!(emit(&kernel, &resolved).unwrap().body().ends_with(&[0x10, 7, 0x0b]), "call 7; end");

    let mut memory = vec![0; 64];
    let error = Interp::new(&mut memory).run(&kernel, 0, 3).unwrap_err();
    assert!(matches!(error.fault, InterpFault::Call { .. }));
    let mut seen = Vec::new();
    let mut callees = |name: &str, args: &[u128], _: &mut [u8]| {
        seen.push((name.to_owned(), args.to_vec()));
        Ok(())
    };
    Interp { callees: Some(&mut callees), ..Interp::new(&mut memory) }.run(&kernel, 0, 3).unwrap();
    assert_eq!(seen, [("double_it".to_owned(), vec![3])]);
}

#[test]
fn traps_and_features() {
    let mut k = K::new("trap");
    k.store(OUT, 0, kernel::i32_div_s(1, k.task()));
    let kernel = k.finish();
    assert_eq!(kernel.features(), kernel::Features::default());
    let mut memory = vec![0; 1024];
    let error = Interp::new(&mut memory).run(&kernel, 0, 0).unwrap_err();
    assert_eq!(error.to_string(), "kernel `trap`, task 0, at `i32.store[0 + 256] = i32.div_s(1, task)`: `i32.div_s` traps on its operands");

    let mut k = K::new("relaxed");
    k.use_relaxed_madd();
    let x = k.constant(3.0);
    k.store(OUT, 0, k.mul_add(x, x, x));
    let kernel = k.finish();
    assert!(kernel.features().relaxed_simd && kernel.features().simd128 && !kernel.features().bulk_memory);
    for fused in [true, false] {
        let relaxed = RelaxedSemantics { fused, ..RelaxedSemantics::default() };
        Interp { relaxed, ..Interp::new(&mut memory) }.run(&kernel, 0, 0).unwrap();
        assert_eq!(get_floats(&memory, OUT as usize, 4), [12.0; 4]);
    }
}
