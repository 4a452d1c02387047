//! The SIMD functions against double precision, over all magnitudes and special values, in wasmtime; and the interpreter
//! against wasmtime, bit by bit, on a part of that.

mod support;

use kernel::math::{erf, exp, expm1, gelu, gelu_tanh, log, log1p, sigmoid, softplus, tanh};
use kernel::math64::{cos, pow, sin};
use kernel::{E, F32x4, Interp, K, Kernel, V, load, verify};
use support::{Rng, Wasm, get_floats, put_floats, put_words};

const BLOCK: usize = 16384;
const X: usize = 64;
const Y: usize = X + 4 * BLOCK;
const OUT: usize = Y + 4 * BLOCK;
const PAGES: u32 = 4;

type Unary = fn(&mut K, V<F32x4>) -> E<F32x4>;

fn kernel_of(name: &str, write: impl FnOnce(&mut K, V<F32x4>, V<F32x4>) -> E<F32x4>) -> Kernel {
    let mut k = K::new(name);
    let (x, y, out, bytes) = (k.arena("x"), k.arena("y"), k.arena("out"), k.scalar("bytes"));
    k.for_("i", 0, bytes, 16, |k, i| {
        let a = k.let_("a", load::<F32x4>(x + i, 0));
        let b = k.let_("b", load::<F32x4>(y + i, 0));
        let value = write(k, a, b);
        k.store(out + i, 0, value);
    });
    let kernel = k.finish();
    verify(&kernel).expect("math writes valid kernels");
    kernel
}

struct Runner {
    wasm: Wasm,
    kernel: Kernel,
}

impl Runner {
    fn new(kernel: Kernel) -> Runner {
        Runner { wasm: Wasm::new(std::slice::from_ref(&kernel), PAGES), kernel }
    }

    fn run(&mut self, x: &[f32], y: &[f32]) -> Vec<f32> {
        fill(self.wasm.memory(), x, y);
        assert!(self.wasm.run(&self.kernel.name, 0, 0));
        get_floats(self.wasm.memory(), OUT, x.len())
    }

    /// Also interprets, and compares the bits.
    fn run_both(&mut self, x: &[f32], y: &[f32]) {
        let ours = self.run(x, y);
        let mut memory = vec![0; PAGES as usize * 65536];
        fill(&mut memory, x, y);
        Interp::new(&mut memory).run(&self.kernel, 0, 0).expect("the kernel runs");
        for ((x, a), b) in x.iter().zip(ours).zip(get_floats(&memory, OUT, x.len())) {
            assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{}({x:e}): {a:e} {b:e}", self.kernel.name);
        }
    }
}

fn fill(memory: &mut [u8], x: &[f32], y: &[f32]) {
    put_words(memory, 0, &[X as u32, Y as u32, OUT as u32, 4 * x.len() as u32]);
    put_floats(memory, X, x);
    put_floats(memory, Y, y);
}

const SPECIAL: [f32; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    88.722_84,
    -103.972_08,
    0.5,
];

/// All bit patterns at a stride, which covers every sign and exponent densely, then the special values.
fn sweep() -> impl Iterator<Item = Vec<f32>> {
    let stride = 1009;
    let blocks = (1u64 << 32) / (stride * BLOCK as u64);
    (0..blocks).map(move |block| {
        let start = block * BLOCK as u64 * stride;
        (0..BLOCK as u64).map(|i| f32::from_bits((start + i * stride) as u32)).collect()
    })
}

/// Distance of `value` from `exact` in units of the last place of a float of that size.
fn ulps(value: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if value.is_nan() || exact.is_nan() {
        return if value.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if value == rounded {
        return 0.0;
    }
    if value.is_infinite() || rounded.is_infinite() {
        // One of them overflowed: measure as if the range went on.
        let clamped = f64::from(value).clamp(-2f64.powi(128), 2f64.powi(128));
        return (clamped - exact).abs() / 2f64.powi(104);
    }
    let exponent = if exact == 0.0 { -126 } else { (exact.abs().log2().floor() as i32).max(-126) };
    (f64::from(value) - exact).abs() / 2f64.powi(exponent - 23)
}

/// Measures over the sweep; `error` turns (argument, value, exact) into what `bound` limits.
fn check(name: &str, write: Unary, exact: fn(f64) -> f64, bound: f64, error: fn(f32, f32, f64) -> f64) {
    let relaxed = kernel_of(&format!("{name} relaxed"), |k, a, _| {
        k.use_relaxed_madd();
        write(k, a)
    });
    let mut plain = Runner::new(kernel_of(name, |k, a, _| write(k, a)));
    check_bound(&mut plain, exact, bound, error);
    check_bound(&mut Runner::new(relaxed), exact, bound, error);
    let mut rng = Rng(7);
    let samples: Vec<f32> = (0..2048).map(|i| SPECIAL.get(i).copied().unwrap_or_else(|| 30.0 * rng.f32())).collect();
    plain.run_both(&samples, &samples);
}

fn check_bound(runner: &mut Runner, exact: fn(f64) -> f64, bound: f64, error: fn(f32, f32, f64) -> f64) {
    let mut worst = (0.0, 0.0, 0.0);
    for x in std::iter::once(SPECIAL.to_vec()).chain(sweep()) {
        for (&x, value) in x.iter().zip(runner.run(&x, &x)) {
            let error = error(x, value, exact(x.into()));
            if error > worst.0 || error.is_nan() {
                worst = (error, x, value);
            }
        }
    }
    let name = &runner.kernel.name;
    println!("{name}: {:.2} at {:e} (gives {:e})", worst.0, worst.1, worst.2);
    assert!(worst.0 <= bound, "{name}: error {:.3} at {:e}, which gives {:e}", worst.0, worst.1, worst.2);
}

fn in_ulps(_: f32, value: f32, exact: f64) -> f64 {
    ulps(value, exact)
}

/// As `in_ulps`, for results that may be flushed where they are denormal.
fn in_normal_ulps(_: f32, value: f32, exact: f64) -> f64 {
    if exact.abs() < f64::from(f32::MIN_POSITIVE) && value.abs() <= f32::MIN_POSITIVE { 0.0 } else { ulps(value, exact) }
}

/// Absolute error over max(1, |x|), in 1e-7; where the result is not finite, equality.
fn in_1e7(x: f32, value: f32, exact: f64) -> f64 {
    if !exact.is_finite() || !value.is_finite() {
        return ulps(value, exact);
    }
    (f64::from(value) - exact).abs() / f64::from(x.abs().max(1.0)) * 1e7
}

#[test]
fn exponentials() {
    check("exp", exp, f64::exp, 1.0, in_ulps);
    check("expm1", expm1, f64::exp_m1, 2.0, in_ulps);
}

#[test]
fn logarithms() {
    check("log", log, f64::ln, 1.0, in_ulps);
    check("log1p", log1p, f64::ln_1p, 3.0, in_ulps);
}

fn softplus_exact(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() }
}

#[test]
fn sigmoid_and_softplus() {
    check("sigmoid", sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 3.0, in_normal_ulps);
    check("softplus", softplus, softplus_exact, 3.0, in_normal_ulps);
}

#[test]
fn short_sigmoid() {
    fn short(k: &mut K, x: V<F32x4>) -> E<F32x4> {
        k.use_fast_math();
        sigmoid(k, x)
    }
    let error = |x: f32, value: f32, exact: f64| {
        if exact.is_nan() {
            return if value.is_nan() { 0.0 } else { f64::INFINITY };
        }
        let allowed = 2f64.powi(-21) * f64::from(x.abs()).clamp(1.0, 200.0) * exact + 2.0 * f64::from(f32::MIN_POSITIVE);
        (f64::from(value) - exact).abs() / allowed
    };
    check("short sigmoid", short, |x| 1.0 / (1.0 + (-x).exp()), 1.0, error);
}

#[test]
fn short_exponential() {
    fn short(k: &mut K, x: V<F32x4>) -> E<F32x4> {
        k.use_fast_math();
        exp(k, x)
    }
    let error = |x: f32, value: f32, exact: f64| {
        if exact.is_nan() {
            return if value.is_nan() { 0.0 } else { f64::INFINITY };
        }
        if exact >= 2f64.powf(127.49) && value == f32::INFINITY {
            return 0.0;
        }
        let allowed = 2f64.powi(-21) * f64::from(x.abs()).clamp(1.0, 200.0) * exact + f64::from(f32::MIN_POSITIVE);
        (f64::from(value) - exact).abs() / allowed
    };
    check("short exp", short, f64::exp, 1.0, error);
}

#[test]
fn tanh_and_erf() {
    check("tanh", tanh, f64::tanh, 5.0, in_ulps);
    check("erf", erf, libm::erf, 8.0, in_ulps);
}

/// What saturates does so exactly, or `gelu` would grow with −x.
#[test]
fn saturation_is_exact() {
    let large = [9.4, 10.0, 1e3, f32::INFINITY];
    let functions: [(&str, Unary); 2] = [("tanh", tanh), ("erf", erf)];
    for (name, write) in functions {
        let mut runner = Runner::new(kernel_of(name, |k, a, _| write(k, a)));
        assert_eq!(runner.run(&large, &large), [1.0; 4], "{name}");
        let negative = large.map(|x| -x);
        assert_eq!(runner.run(&negative, &negative), [-1.0; 4], "{name}");
    }
    let functions: [(&str, Unary); 2] = [("gelu", gelu), ("gelu_tanh", gelu_tanh)];
    for (name, write) in functions {
        let mut runner = Runner::new(kernel_of(name, |k, a, _| write(k, a)));
        let x = [-20.0, -1e3, 20.0, 1e3];
        assert_eq!(runner.run(&x, &x), [0.0, 0.0, 20.0, 1e3], "{name}");
    }
}

#[test]
fn gelu_forms() {
    let exact = |x: f64| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
    check("gelu", gelu, exact, 3.0, in_1e7);
    let exact = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh());
    check("gelu_tanh", gelu_tanh, exact, 3.0, in_1e7);
}

#[test]
fn sine_and_cosine() {
    fn error(x: f32, value: f32, exact: f64) -> f64 {
        if x.is_finite() && x.abs() > 1e8 {
            return if value.abs() <= 1.0 { 0.0 } else { f64::INFINITY };
        }
        if exact.is_nan() { ulps(value, exact) } else { (f64::from(value) - exact).abs() * 2f64.powi(23) }
    }
    check("sin", sin, f64::sin, 1.0, error);
    check("cos", cos, f64::cos, 1.0, error);
}

#[test]
fn pow_follows_c() {
    let mut runner = Runner::new(kernel_of("pow", pow));
    let mut special = SPECIAL.to_vec();
    special.extend([2.0, 3.0, -2.0, -3.0, 2.5, -0.5, 16_777_216.0, 16_777_215.0, -7.0, 0.333_333_34]);
    let pairs: Vec<(f32, f32)> = special.iter().flat_map(|&x| special.iter().map(move |&y| (x, y))).collect();
    let mut rng = Rng(11);
    let mut worst = (0.0, 0.0, 0.0, 0.0);
    let random: Vec<(f32, f32)> =
        (0..4_000_000).map(|_| (f32::from_bits(rng.u64() as u32), rng.f32() * 10f32.powi(rng.below(4) as i32 - 1))).collect();
    for block in std::iter::once(&pairs[..]).chain(random.chunks(BLOCK)) {
        let mut block = block.to_vec();
        block.resize(block.len().next_multiple_of(4), (1.0, 1.0));
        let (x, y): (Vec<f32>, Vec<f32>) = block.into_iter().unzip();
        for ((&x, &y), value) in x.iter().zip(&y).zip(runner.run(&x, &y)) {
            let error = ulps(value, libm::pow(x.into(), y.into()));
            if error > worst.0 || error.is_nan() {
                worst = (error, x, y, value);
            }
        }
    }
    println!("pow: {:.3} at {:?}", worst.0, worst);
    assert!(worst.0 <= 1.0, "pow({:e}, {:e}) = {:e}: {} ulp", worst.1, worst.2, worst.3, worst.0);
}
