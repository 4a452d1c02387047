//! Pointwise expressions: every function of every element type, and maps of many shapes, against `eval`.

mod common;

use common::{Rng, check, execute_plan};
use ir::ops::map::Map;
use ir::pointwise::{Fn, Literal, Operand, Step, Typing};
use ir::{DType, Graph, Pointwise, Tensor, TensorType};

/// Values at which functions of a type are interesting: special ones, then random ones of many magnitudes.
fn values(rng: &mut Rng, dtype: DType, n: usize) -> Tensor {
    let special =
        [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40, 1e30, 7.0, -7.0, 100.0, 2.5, 3.5];
    let mut t = Tensor::from_fn(dtype, &[n], |i| match special.get(i / 2) {
        Some(x) if dtype.is_float() => *x,
        _ if dtype.is_float() => rng.float() * 10f64.powi(rng.range(0, 4) as i32 - 2),
        _ => 0.0,
    });
    if !dtype.is_float() {
        let size = dtype.bytes();
        for i in 0..n {
            let bits = match rng.range(0, 4) {
                0 => rng.next() % 5,
                1 => (rng.next() % 5).wrapping_neg(),
                2 => 1 << (8 * size - 1),
                3 => rng.next() % 100,
                _ => rng.next(),
            };
            // Elements of less than a byte are stored sign- or zero-extended.
            let bits = match dtype {
                DType::Bool => bits & 1,
                DType::I4 | DType::I2 => ((bits as i64) << (64 - dtype.bits()) >> (64 - dtype.bits())) as u64,
                dtype if dtype.bits() < 8 => bits & ((1 << dtype.bits()) - 1),
                _ => bits,
            };
            t.bytes_mut()[i * size..][..size].copy_from_slice(&bits.to_le_bytes()[..size]);
        }
    }
    t
}

fn graph(body: Pointwise, types: &[TensorType]) -> Graph {
    let mut g = Graph::new("map");
    let inputs: Vec<_> = types.iter().enumerate().map(|(i, t)| g.add_input(&format!("x{i}"), t.clone())).collect();
    let y = g.add(Map { body }, &inputs, &["layer".into()], "y").unwrap();
    g.add_output("y", y);
    g
}

/// How far a function of `f32` may be from the correctly rounded result: (ulp, absolute).
fn tolerance(f: Fn) -> (f64, f64) {
    match f {
        Fn::Sin | Fn::Cos => (4.0, 2e-7),
        Fn::Tan => (16.0, 1e-6),
        Fn::Tanh | Fn::Erf | Fn::Sigmoid | Fn::Softplus | Fn::Sinh | Fn::Cosh | Fn::Asinh | Fn::Acosh | Fn::Atanh => (10.0, 1e-38),
        Fn::Exp | Fn::Log | Fn::Pow | Fn::Asin | Fn::Acos | Fn::Atan => (5.0, 1e-38),
        _ => (0.0, 0.0),
    }
}

#[test]
fn every_function_of_every_type() {
    let mut rng = Rng(1);
    let mut unsupported = vec![];
    for &dtype in DType::ALL {
        let casts = DType::ALL.iter().map(|to| Fn::Cast(*to));
        let casts = casts.chain(DType::ALL.iter().map(|to| Fn::Bits(*to)));
        for f in Fn::ALL.iter().copied().chain(casts) {
            let mut types = vec![dtype; f.arity()];
            if f.typing() == Typing::Select {
                types[0] = DType::Bool;
            }
            let body = Pointwise::of(f);
            if lower::pointwise::supported(&body, &types).is_err() {
                unsupported.push(format!("{}({dtype})", f.name()));
                continue;
            }
            for n in [64, 67, 1, 2, 3] {
                let mut inputs: Vec<Tensor> = types.iter().map(|t| values(&mut rng, *t, n)).collect();
                // Shift the special values against each other.
                if let Some(second) = inputs.get_mut(1) {
                    let bytes = second.bytes().to_vec();
                    let rotate = 3 * second.dtype.bytes() % bytes.len().max(1);
                    second.bytes_mut().copy_from_slice(&[&bytes[rotate..], &bytes[..rotate]].concat());
                }
                compare(f, dtype, &body, &inputs);
            }
        }
    }
    let of = |t: &str| unsupported.iter().filter(|u| u.ends_with(&format!("({t})")) && !u.starts_with("bits")).count();
    // Of floats only logical functions and shifts are missing, which mean nothing there; of f64 all that have no
    // instruction; of integers and bools what is meant for floats.
    assert_eq!(["f32", "f16", "bf16", "f64"].map(of), [6, 6, 6, 22], "{unsupported:?}");
    assert_eq!(["i8", "u32", "i64", "bool"].map(of), [19, 19, 19, 35], "{unsupported:?}");
}

fn compare(f: Fn, dtype: DType, body: &Pointwise, inputs: &[Tensor]) {
    let types: Vec<TensorType> = inputs.iter().map(TensorType::of).collect();
    let g = graph(body.clone(), &types);
    let expected = &ir::eval::eval(&g, inputs).unwrap()[0];
    let plan = lower::lower(&g, &Default::default()).unwrap();
    let found = &execute_plan(&plan, inputs).unwrap()[0];
    let (ulps, absolute) = tolerance(f);
    // Sixteen-bit results are those of f32, rounded.
    let eps = match found.dtype {
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        _ => ulps * 2f64.powi(-23),
    };
    for i in 0..found.len() {
        let (y, e) = (found.get_f64(i), expected.get_f64(i));
        let args: Vec<f64> = inputs.iter().map(|t| t.get_f64(i)).collect();
        let exact = found.bytes()[i * found.dtype.bytes()..][..found.dtype.bytes()]
            == expected.bytes()[i * found.dtype.bytes()..][..found.dtype.bytes()];
        let close = (y.is_nan() && e.is_nan()) || y == e && found.dtype.is_float() || (y - e).abs() <= eps * e.abs() + absolute;
        // Beyond 10⁸ the reduction of trigonometric arguments is no longer exact.
        let close = close || matches!(f, Fn::Sin | Fn::Cos | Fn::Tan) && args[0].abs() > 1e8;
        let close = close && found.dtype.is_float();
        // Floats of 16 bits and less lose the bits of a NaN.
        let close = close || matches!(f, Fn::Bits(_)) && dtype.bytes() < 4 && args[0].is_nan();
        assert!(exact || close, "{}({args:?}) of {dtype}: {y} instead of {e}", f.name());
    }
}

/// A random expression over `n` arguments of one type.
fn expression(rng: &mut Rng, n: usize, f: &[Fn]) -> Pointwise {
    let mut body = Pointwise::identity();
    let steps = rng.range(1, 5);
    for s in 0..steps {
        let f = f[rng.range(0, f.len() - 1)];
        let mut operands: Vec<Operand> = (0..f.arity())
            .map(|_| match rng.range(0, 5) {
                0 | 1 => Operand::Arg(rng.range(0, n - 1)),
                2 => Operand::Literal(Literal::Float(rng.float() * 3.0)),
                _ if s > 0 => Operand::Step(rng.range(0, s - 1)),
                _ => Operand::Arg(0),
            })
            .collect();
        operands[0] = if s > 0 { Operand::Step(s - 1) } else { Operand::Arg(0) };
        body.steps.push(Step { f, operands });
    }
    body
}

#[test]
fn shapes_and_broadcasts() {
    let mut rng = Rng(2);
    let functions = [Fn::Add, Fn::Mul, Fn::Sub, Fn::Max, Fn::Relu, Fn::Clamp, Fn::Sigmoid, Fn::Neg];
    for case in 0..250 {
        let dtype = [DType::F32, DType::F32, DType::I32, DType::I64, DType::U8, DType::F16, DType::F64][rng.range(0, 6)];
        let functions = if dtype == DType::F32 { &functions[..] } else { &[Fn::Add, Fn::Mul, Fn::Sub, Fn::Neg][..] };
        let rank = rng.range(0, 4);
        let shape: Vec<usize> = (0..rank).map(|_| if rng.chance(4) { 0 } else { rng.range(1, 9) }).collect();
        let n = rng.range(1, 3);
        let inputs: Vec<Tensor> = (0..n)
            .map(|i| {
                let skip = if i == 0 { 0 } else { rng.range(0, rank) };
                let shape: Vec<usize> = shape[skip..].iter().map(|d| if i > 0 && rng.chance(30) { 1 } else { *d }).collect();
                rng.tensor(dtype, &shape)
            })
            .collect();
        let body = expression(&mut rng, n, functions);
        let types: Vec<TensorType> = inputs.iter().map(TensorType::of).collect();
        let tolerance = if dtype == DType::F16 { 2e-2 } else { 1e-5 };
        println!("case {case}: {body} of {types:?}");
        check(&graph(body, &types), &inputs, tolerance);
    }
}

#[test]
fn several_tasks() {
    let mut rng = Rng(3);
    for shape in [vec![20000], vec![3, 7001], vec![130, 129], vec![40, 3, 300], vec![9000, 3], vec![2, 5, 4000], vec![24577]] {
        let last = *shape.last().unwrap();
        let inputs = [rng.tensor(DType::F32, &shape), rng.tensor(DType::F32, &[last])];
        let types: Vec<TensorType> = inputs.iter().map(TensorType::of).collect();
        let g = graph(Pointwise::of(Fn::Add), &types);
        let plan = lower::lower(&g, &Default::default()).unwrap();
        assert!(plan.steps[0].tasks > 1);
        check(&g, &inputs, 0.0);
    }
}

#[test]
fn in_place() {
    let mut rng = Rng(4);
    for n in [1, 5, 64, 130, 1400] {
        let x = rng.tensor(DType::F32, &[3, n]);
        let mut g = Graph::new("chain");
        let input = g.add_input("x", TensorType::of(&x));
        let a = g.add(Map::of(Fn::Exp), &[input], &[], "a").unwrap();
        let b = g.add(Map::of(Fn::Neg), &[a], &[], "b").unwrap();
        let c = g.add(Map::of(Fn::Mul), &[b, b], &[], "c").unwrap();
        let d = g.add(Map::of(Fn::Cast(DType::I32)), &[c], &[], "d").unwrap();
        g.add_output("d", d);
        check(&g, &[x], 0.0);
        // What overwrites an input is no constant, however large: it runs every time.
        let plan = lower::lower(&g, &Default::default()).unwrap();
        assert!(plan.steps.iter().all(|step| step.branch.is_none()), "{plan}");
    }
}

#[test]
fn functions_that_are_missing_are_named() {
    let t = TensorType::new(DType::F64, [4usize]);
    let g = graph(Pointwise::of(Fn::Sin), &[t]);
    let errors = lower::lower(&g, &Default::default()).unwrap_err();
    assert_eq!(errors[0].to_string(), "layer: `sin` of f64 is not supported");
}
