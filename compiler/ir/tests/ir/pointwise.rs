//! Pointwise expressions: composition, types, values at the edges.

use ir::ops::map::eval_pointwise;
use ir::pointwise::{Fn, Literal, Operand, Pointwise};
use ir::text::parse_pointwise;
use ir::{B8, DType, Tensor};

fn body(text: &str) -> Pointwise {
    parse_pointwise(text).unwrap()
}

fn unary(f: Fn, x: f32) -> f32 {
    eval_pointwise(&Pointwise::of(f), &[&Tensor::scalar(x)], &[]).unwrap().as_slice::<f32>()[0]
}

fn binary(f: Fn, x: f32, y: f32) -> f32 {
    eval_pointwise(&Pointwise::of(f), &[&Tensor::scalar(x), &Tensor::scalar(y)], &[]).unwrap().as_slice::<f32>()[0]
}

#[test]
fn substitution_composes() {
    for (outer, at, inner, result) in [
        ("{relu(%0)}", 0, "{add(%0, %1)}", "{relu(add(%0, %1))}"),
        ("{mul(%0, %1)}", 1, "{sigmoid(%1)}", "{mul(%0, sigmoid(%1))}"),
        ("{mul(%0, sigmoid(%0))}", 0, "{add(%0, 1.0)}", "{t0 = add(%0, 1.0); mul(t0, sigmoid(t0))}"),
        ("{%0}", 0, "{exp(%0)}", "{exp(%0)}"),
        ("{exp(%0)}", 0, "{%0}", "{exp(%0)}"),
        ("{add(%0, exp(%1))}", 0, "{exp(%1)}", "{t0 = exp(%1); add(t0, t0)}"),
        // Steps that nothing uses disappear; the result stays last although an equal step exists.
        ("{relu(%1)}", 0, "{exp(%0)}", "{relu(%1)}"),
        ("{exp(%0)}", 1, "{neg(exp(%0))}", "{exp(%0)}"),
    ] {
        assert_eq!(body(outer).substitute(at, &body(inner)).to_string(), result, "{outer} at {at} with {inner}");
    }
}

/// `(f ∘ g)(x) = f(g(x))` by value.
#[test]
fn substitution_keeps_the_value() {
    let x = Tensor::random(DType::F32, &[50], 1);
    let y = Tensor::random(DType::F32, &[50], 2);
    let inner = body("{t0 = mul(%0, %1); sub(tanh(t0), t0)}");
    let outer = body("{t0 = exp(%0); div(t0, add(t0, abs(%1)))}");
    let steps = eval_pointwise(&outer, &[&eval_pointwise(&inner, &[&x, &y], &[50]).unwrap(), &y], &[50]).unwrap();
    let whole = eval_pointwise(&outer.substitute(0, &inner), &[&x, &y], &[50]).unwrap();
    assert_eq!(steps, whole);
}

#[test]
fn arguments_and_singles() {
    assert_eq!(body("{add(%2, %0)}").args(), 3);
    assert_eq!(Pointwise::identity().args(), 1);
    assert_eq!(body("{add(%0, %1)}").as_single(), Some(Fn::Add));
    assert_eq!(body("{add(%1, %0)}").as_single(), None);
    assert_eq!(body("{add(%0, 1)}").as_single(), None);
    assert_eq!(body("{add(%0, %1)}").map_args(|i| i + 3), body("{add(%3, %4)}"));
    let mut twice = Pointwise::identity();
    let first = twice.push(Fn::Exp, vec![Operand::Arg(0)]);
    assert_eq!(twice.push(Fn::Exp, vec![Operand::Arg(0)]), first);
    assert_ne!(Literal::Float(1.0), Literal::Int(1));
    assert_ne!(Literal::Float(0.0), Literal::Float(-0.0));
}

#[test]
fn names_and_functions_correspond() {
    for f in Fn::ALL.iter().copied().chain(DType::ALL.iter().map(|d| Fn::Cast(*d))) {
        assert_eq!(Fn::from_name(&f.to_string()), Some(f));
        assert!(ir::Op::attr_names(f.name()).is_none(), "`{f}` is also an operator");
    }
}

#[test]
fn types_follow_the_operands() {
    use DType::{Bool, F32, F64, I64};
    let ty = |text: &str, args: &[DType]| body(text).result_type(args);
    assert_eq!(ty("{add(%0, 1)}", &[I64]), Ok(I64));
    assert_eq!(ty("{less(%0, 0.0)}", &[F32]), Ok(Bool));
    assert_eq!(ty("{select(less(%0, 0.0), %1, 2.0)}", &[F32, F64]), Ok(F64));
    assert_eq!(ty("{cast_f64(not(%0))}", &[Bool]), Ok(F64));
    assert_eq!(body("{mul(cast_f32(%0), %1)}").step_types(&[I64, F32]), Ok(vec![F32, F32]));
    for (text, args) in [
        ("{add(%0, %1)}", &[F32, F64][..]),
        ("{add(%0, %1)}", &[F32]),
        ("{select(%0, %0, %0)}", &[F32]),
        ("{sqrt(2.0)}", &[F32]),
        ("{add(less(%0, 1.0), %0)}", &[F32]),
    ] {
        ty(text, args).expect_err(text);
    }
}

#[test]
fn values_at_the_edges() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for f in [Fn::Relu, Fn::Sign, Fn::Abs, Fn::Sqrt, Fn::Exp, Fn::Sigmoid, Fn::Tanh, Fn::Erf, Fn::Floor, Fn::Round, Fn::Softplus] {
        assert!(unary(f, nan).is_nan(), "{f}(NaN)");
    }
    for f in [Fn::Min, Fn::Max, Fn::Add, Fn::Pow] {
        assert!(binary(f, nan, 2.0).is_nan() && binary(f, 2.0, nan).is_nan(), "{f} with NaN");
    }
    let clamp = |x: f32| eval_pointwise(&body("{clamp(%0, 0, 6)}"), &[&Tensor::scalar(x)], &[]).unwrap().get_f64(0);
    assert!(clamp(nan).is_nan());
    assert_eq!((clamp(-inf), clamp(inf), clamp(2.5)), (0.0, 6.0, 2.5));
    assert_eq!((unary(Fn::Relu, -inf), unary(Fn::Relu, inf), unary(Fn::Relu, -1.0)), (0.0, inf, 0.0));
    assert_eq!((unary(Fn::Sigmoid, -inf), unary(Fn::Sigmoid, inf), unary(Fn::Sigmoid, 0.0)), (0.0, 1.0, 0.5));
    assert_eq!((unary(Fn::Softplus, -inf), unary(Fn::Softplus, inf), unary(Fn::Softplus, 100.0)), (0.0, inf, 100.0));
    assert_eq!((unary(Fn::Round, 0.5), unary(Fn::Round, 1.5), unary(Fn::Round, -2.5)), (0.0, 2.0, -2.0));
    assert_eq!((unary(Fn::Log, 0.0), unary(Fn::Reciprocal, 0.0)), (-inf, inf));
    assert!(unary(Fn::Log, -1.0).is_nan() && unary(Fn::Sqrt, -1.0).is_nan());
    assert_eq!((unary(Fn::Erf, inf), unary(Fn::Tanh, -inf), unary(Fn::Sign, -3.0)), (1.0, -1.0, -1.0));
    assert_eq!((binary(Fn::Mod, -7.0, 3.0), binary(Fn::Fmod, -7.0, 3.0), binary(Fn::Mod, 7.0, -3.0)), (2.0, -1.0, -2.0));
    assert_eq!(binary(Fn::Pow, 2.0, -1.0), 0.5);
    let tests = |text: &str, x: f32| eval_pointwise(&body(text), &[&Tensor::scalar(x)], &[]).unwrap().as_slice::<B8>()[0].0 == 1;
    assert!(tests("{isnan(%0)}", nan) && !tests("{isnan(%0)}", inf) && tests("{isinf(%0)}", -inf));
    assert!(!tests("{equal(%0, %0)}", nan) && !tests("{less_equal(%0, 1.0)}", nan) && !tests("{greater_equal(%0, 1.0)}", nan));
}

#[test]
fn integers() {
    fn ints(f: Fn, x: &[i32], y: &[i32]) -> Vec<i32> {
        let (x, y) = (Tensor::new(&[x.len()], x), Tensor::new(&[y.len()], y));
        eval_pointwise(&Pointwise::of(f), &[&x, &y], &x.shape).unwrap().as_slice::<i32>().to_vec()
    }
    assert_eq!(ints(Fn::Div, &[7, -7, 7, i32::MIN], &[2, 2, 0, -1]), [3, -3, 0, i32::MIN]);
    assert_eq!(ints(Fn::Mod, &[7, -7, 7, 7], &[3, 3, -3, 0]), [1, 2, -2, 0]);
    assert_eq!(ints(Fn::Fmod, &[7, -7, 7], &[3, 3, -3]), [1, -1, 1]);
    assert_eq!(ints(Fn::Pow, &[2, -1, 3, 2], &[10, 3, -1, 40]), [1024, -1, 0, 0]);
    assert_eq!(ints(Fn::Add, &[i32::MAX], &[1]), [i32::MIN]);
}

#[test]
fn conversions() {
    use ir::Element;
    use ir::ops::map::scalar::cast;
    fn one<A: Element, B: Element>(x: A) -> B {
        cast(&Tensor::scalar(x), B::DTYPE).as_slice::<B>()[0]
    }
    assert_eq!(one::<f32, i32>(-1.9), -1);
    assert_eq!(one::<f32, i8>(300.0), 127);
    assert_eq!(one::<f32, u8>(-3.0), 0);
    assert_eq!(one::<f32, i64>(f32::NAN), 0);
    assert_eq!(one::<i32, i8>(300), 44);
    assert_eq!(one::<i32, u64>(-1), u64::MAX);
    assert_eq!(one::<u64, f32>(u64::MAX), 18_446_744_073_709_551_615.0);
    assert_eq!(one::<u64, f64>(1 << 63), 9_223_372_036_854_775_808.0);
    assert_eq!(one::<u64, u8>(u64::MAX), 255);
    assert_eq!(one::<i64, f32>((1 << 54) + (1 << 30) + 1), ((1i64 << 54) + (1 << 31)) as f32);
    assert_eq!(one::<f32, B8>(f32::NAN), B8(1));
    assert_eq!(one::<f32, B8>(-0.0), B8(0));
    assert_eq!(one::<B8, f32>(B8(1)), 1.0);
}
