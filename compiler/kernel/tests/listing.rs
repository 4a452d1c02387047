//! The printed form of kernels, which also shows what the builder simplifies.

use expect_test::{Expect, expect};
use kernel::{E, F32x4, I32, K, Kernel, f32x4_splat, i32_div_u, i32_lt_u, load, load_partial, load_splat32, max_nan, select};

fn check(kernel: &Kernel, expected: Expect) {
    kernel::verify(kernel).unwrap();
    expected.assert_eq(&kernel.to_string());
}

#[test]
fn a_register_tile() {
    let mut k = K::new("contract_f32_m2n4_relu");
    let (a, y, b) = (k.arena("a"), k.arena("y"), k.weights("b"));
    let depth = k.scalar("depth");
    let zero = k.constant(0.0);
    let acc = [k.let_("acc", f32x4_splat(0.0)), k.let_("acc", f32x4_splat(1.5))];
    k.comment("one panel");
    k.for_("d", 0, depth * 4, 4, |k, d| {
        let row = k.let_("row", load::<F32x4>(b + d * 4, 0));
        for (i, acc) in acc.iter().enumerate() {
            k.set(*acc, *acc + load_splat32::<F32x4>(a + d, 64 * i as u32) * row);
        }
    });
    for (i, acc) in acc.into_iter().enumerate() {
        k.store_partial(y + (i * 12), 4, max_nan(acc, zero), 3);
    }
    check(
        &k.finish(),
        expect![[r#"
            kernel contract_f32_m2n4_relu(arena a, arena y, weights b, scalar depth) {
              v128 const, acc, acc.1, row, partial, partial.1
              const = v128(0)
              acc = v128(0)
              acc.1 = f32x4.splat(1.5)
              // one panel
              for d in 0..depth << 2 step 4 {
                row = v128.load[b + (d << 2)]
                acc = acc + v128.load32_splat[a + d] * row
                acc.1 = acc.1 + v128.load32_splat[a + d + 64] * row
              }
              partial = f32x4.pmax(acc, const)
              v128.store64_lane[y + 4] lane 0 = partial
              v128.store32_lane[y + 12] lane 2 = partial
              partial.1 = f32x4.pmax(acc.1, const)
              v128.store64_lane[y + 16] lane 0 = partial.1
              v128.store32_lane[y + 24] lane 2 = partial.1
            }
        "#]],
    );
}

#[test]
fn control_flow() {
    let mut k = K::new("control");
    let x = k.arena("x");
    let n = k.let_("n", k.task() + 1);
    k.while_(i32_lt_u(n, 10), |k| k.set(n, n * 2));
    k.if_else(
        n - 3,
        |k| {
            k.fill(x, 0, n);
            k.return_();
        },
        |k| k.copy(x, x + 64, 16),
    );
    k.for_tiles("tile", 10, 4, |k, start, width| {
        k.store_partial(x + start * 4, 0, load_partial::<F32x4>(x, 128, width), width);
    });
    k.call("sort", [x.get().into_expr(), E::<I32>::from(7).into_expr()]);
    check(
        &k.finish(),
        expect![[r#"
            kernel control(arena x) {
              n = task + 1
              while i32.lt_u(n, 10) {
                n = n << 1
              }
              if n - 3 {
                fill x <- 0, n bytes
                return
              } else {
                copy x <- x + 64, 16 bytes
              }
              for tile in 0..8 step 4 {
                v128.store[x + (tile << 2)] = v128.load[x + 128]
              }
              v128.store64_lane[x + 32] lane 0 = v128.load64_zero[x + 128]
              call sort(x, 7)
            }
        "#]],
    );
}

/// Constants move outwards, into offsets, and disappear; what cannot move stays.
#[test]
fn simplifications() {
    let mut k = K::new("simplify");
    let x = k.arena("x");
    let i = k.scalar("i");
    k.store(x + (i + 3) * 64 - 8, 4, load::<F32x4>(64 + (x + i * 1), 16));
    k.store(x + (i - 2) * 16, 32, load::<F32x4>(x + i * 0, 0));
    k.store(x + (i - 2) * 16, 16, i * 4 * 3 + (i << 2) * 2);
    k.store(x, 0, i32_div_u(i, 8) + kernel::i32_rem_u(i, 8));
    k.store(x, 0, select(i, E::<I32>::from(3) * 5 - 1, i - (x - 4)));
    check(
        &k.finish(),
        expect![[r#"
            kernel simplify(arena x, scalar i) {
              v128.store[x + (i << 6) + 188] = v128.load[x + i + 80]
              v128.store[x + (i << 4)] = v128.load[x]
              i32.store[x + (i << 4) - 32 + 16] = i * 12 + (i << 3)
              i32.store[x] = (i >> 3) + (i & 7)
              i32.store[x] = select(i ? 14 : i - x + 4)
            }
        "#]],
    );
}

#[test]
fn equal_code_under_other_names() {
    let write = |name: &str, var: &str, factor: f32| {
        let mut k = K::new(name);
        let x = k.arena(var);
        k.comment(name);
        k.store(x, 0, load::<F32x4>(x, 0) * f32x4_splat(factor));
        k.finish()
    };
    let a = write("a", "x", 0.0);
    assert!(a.same_code(&write("b", "y", 0.0)));
    assert!(!a.same_code(&write("b", "y", -0.0)));
    assert_ne!(a, write("b", "y", 0.0));
}
