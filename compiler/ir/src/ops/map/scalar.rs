//! Meaning of the scalar functions: one naive evaluation per element type. Floats of less than 64 bits compute
//! transcendental functions in `f64` and round once; `libm` makes them the same on every machine.

use crate::dtype::{B8, DType, Element};
use crate::narrow::{F4E2M1, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, I2, I4, U2, U4};
use crate::ops::OpError;
use crate::pointwise::{Fn, Literal, Operand, Pointwise};
use crate::tensor::Tensor;
use crate::{for_dtype, op_error};
use half::{bf16, f16};

/// Arithmetic of an element type, as `eval` uses it.
pub trait Arith: Element {
    /// Accumulator of sums of products: `f64` for floats, wrapping `i64` for integers.
    type Acc: Copy;
    const ACC_ZERO: Self::Acc;
    fn mul_acc(acc: Self::Acc, a: Self, b: Self) -> Self::Acc;
    fn from_acc(acc: Self::Acc) -> Self;
    /// A function of operands of one type, result of the same type. Tests are elsewhere.
    fn apply(f: Fn, x: &[Self]) -> Self;
    fn less(a: Self, b: Self) -> bool;
    fn is_nan(self) -> bool;
    fn is_inf(self) -> bool;
}

/// Functions of `f64` operands.
pub fn float(f: Fn, x: &[f64]) -> f64 {
    let a = x[0];
    match f {
        Fn::Add => a + x[1],
        Fn::Sub => a - x[1],
        Fn::Mul => a * x[1],
        Fn::Div => a / x[1],
        Fn::Mod => {
            let r = libm::fmod(a, x[1]);
            if r != 0.0 && (r < 0.0) != (x[1] < 0.0) { r + x[1] } else { r }
        }
        Fn::Fmod => libm::fmod(a, x[1]),
        Fn::Pow => libm::pow(a, x[1]),
        Fn::Min => {
            if a.is_nan() || x[1].is_nan() {
                f64::NAN
            } else {
                a.min(x[1])
            }
        }
        Fn::Max => {
            if a.is_nan() || x[1].is_nan() {
                f64::NAN
            } else {
                a.max(x[1])
            }
        }
        Fn::Clamp => float(Fn::Min, &[float(Fn::Max, &x[..2]), x[2]]),
        Fn::Relu => {
            if a < 0.0 {
                0.0
            } else {
                a
            }
        }
        Fn::Neg => -a,
        Fn::Abs => a.abs(),
        Fn::Sign => {
            if a.is_nan() {
                a
            } else if a == 0.0 {
                0.0
            } else {
                a.signum()
            }
        }
        Fn::Sqrt => libm::sqrt(a),
        Fn::Reciprocal => 1.0 / a,
        Fn::Exp => libm::exp(a),
        Fn::Log => libm::log(a),
        Fn::Sin => libm::sin(a),
        Fn::Cos => libm::cos(a),
        Fn::Tan => libm::tan(a),
        Fn::Asin => libm::asin(a),
        Fn::Acos => libm::acos(a),
        Fn::Atan => libm::atan(a),
        Fn::Sinh => libm::sinh(a),
        Fn::Cosh => libm::cosh(a),
        Fn::Tanh => libm::tanh(a),
        Fn::Asinh => libm::asinh(a),
        Fn::Acosh => libm::acosh(a),
        Fn::Atanh => libm::atanh(a),
        Fn::Erf => libm::erf(a),
        Fn::Sigmoid => 1.0 / (1.0 + libm::exp(-a)),
        Fn::Softplus => {
            if a > 0.0 {
                a + libm::log1p(libm::exp(-a))
            } else {
                libm::log1p(libm::exp(a))
            }
        }
        Fn::Floor => libm::floor(a),
        Fn::Ceil => libm::ceil(a),
        Fn::Round => libm::rint(a),
        Fn::Trunc => libm::trunc(a),
        // Logic on floats does not type-check; tests and selection are handled by their own evaluators.
        _ => f64::NAN,
    }
}

macro_rules! float_arith {
    ($($t:ty),*) => {$(
        impl Arith for $t {
            type Acc = f64;
            const ACC_ZERO: f64 = 0.0;
            fn mul_acc(acc: f64, a: Self, b: Self) -> f64 {
                acc + Element::to_f64(a) * Element::to_f64(b)
            }
            fn from_acc(acc: f64) -> Self {
                <$t as Element>::from_f64(acc)
            }
            fn apply(f: Fn, x: &[Self]) -> Self {
                let mut wide = [0.0; 3];
                for (w, x) in wide.iter_mut().zip(x) {
                    *w = Element::to_f64(*x);
                }
                <$t as Element>::from_f64(float(f, &wide[..x.len()]))
            }
            fn less(a: Self, b: Self) -> bool {
                a < b
            }
            fn is_nan(self) -> bool {
                Element::to_f64(self).is_nan()
            }
            fn is_inf(self) -> bool {
                Element::to_f64(self).is_infinite()
            }
        }
    )*};
}
float_arith!(f32, f64, f16, bf16, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F4E2M1, F8E8M0);

macro_rules! int_arith {
    ($($t:ty),*) => {$(
        impl Arith for $t {
            type Acc = i64;
            const ACC_ZERO: i64 = 0;
            fn mul_acc(acc: i64, a: Self, b: Self) -> i64 {
                acc.wrapping_add((a as i64).wrapping_mul(b as i64))
            }
            fn from_acc(acc: i64) -> Self {
                acc as $t
            }
            #[allow(unused_comparisons)]
            fn apply(f: Fn, x: &[Self]) -> Self {
                let a = x[0];
                match f {
                    Fn::Add => a.wrapping_add(x[1]),
                    Fn::Sub => a.wrapping_sub(x[1]),
                    Fn::Mul => a.wrapping_mul(x[1]),
                    Fn::Div => if x[1] == 0 { 0 } else { a.wrapping_div(x[1]) },
                    Fn::Mod => if x[1] == 0 { 0 } else {
                        let r = a.wrapping_rem(x[1]);
                        if r != 0 && (r < 0) != (x[1] < 0) { r.wrapping_add(x[1]) } else { r }
                    },
                    Fn::Fmod => if x[1] == 0 { 0 } else { a.wrapping_rem(x[1]) },
                    Fn::Pow => int_pow(a as i64, x[1] as i128) as $t,
                    Fn::Min => a.min(x[1]),
                    Fn::Max => a.max(x[1]),
                    Fn::Clamp => a.max(x[1]).min(x[2]),
                    Fn::Relu => a.max(0),
                    Fn::Neg => (0 as $t).wrapping_sub(a),
                    Fn::Abs => if a < 0 { (0 as $t).wrapping_sub(a) } else { a },
                    Fn::Sign => if a < 0 { (0 as $t).wrapping_sub(1) } else { (a > 0) as $t },
                    Fn::And => a & x[1],
                    Fn::Or => a | x[1],
                    Fn::Xor => a ^ x[1],
                    Fn::Not => !a,
                    Fn::Shl => shift_amount(x[1] as i128, <$t>::BITS).map_or(0, |n| a << n),
                    Fn::Shr => shift_amount(x[1] as i128, <$t>::BITS).map_or(if a < 0 { (0 as $t).wrapping_sub(1) } else { 0 }, |n| a >> n),
                    Fn::Floor | Fn::Ceil | Fn::Round | Fn::Trunc => a,
                    f => {
                        let mut wide = [0.0; 3];
                        for (w, x) in wide.iter_mut().zip(x) {
                            *w = *x as f64;
                        }
                        float(f, &wide[..x.len()]) as $t
                    }
                }
            }
            fn less(a: Self, b: Self) -> bool {
                a < b
            }
            fn is_nan(self) -> bool {
                false
            }
            fn is_inf(self) -> bool {
                false
            }
        }
    )*};
}
int_arith!(i8, i16, i32, i64, u8, u16, u32, u64);

/// Integers of less than a byte compute in 64 bits and wrap.
macro_rules! narrow_int_arith {
    ($($t:ty),*) => {$(
        impl Arith for $t {
            type Acc = i64;
            const ACC_ZERO: i64 = 0;
            fn mul_acc(acc: i64, a: Self, b: Self) -> i64 {
                acc.wrapping_add(a.to_i64().wrapping_mul(b.to_i64()))
            }
            fn from_acc(acc: i64) -> Self {
                Self::from_i64(acc)
            }
            fn apply(f: Fn, x: &[Self]) -> Self {
                let mut wide = [0; 3];
                for (w, x) in wide.iter_mut().zip(x) {
                    *w = x.to_i64();
                }
                Self::from_i64(<i64 as Arith>::apply(f, &wide[..x.len()]))
            }
            fn less(a: Self, b: Self) -> bool {
                a < b
            }
            fn is_nan(self) -> bool {
                false
            }
            fn is_inf(self) -> bool {
                false
            }
        }
    )*};
}
narrow_int_arith!(I4, U4, I2, U2);

/// A shift by less than all bits.
fn shift_amount(n: i128, bits: u32) -> Option<u32> {
    u32::try_from(n).ok().filter(|n| *n < bits)
}

/// Power modulo 2^64; a negative exponent rounds towards zero.
fn int_pow(base: i64, exponent: i128) -> i64 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 if exponent % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    }
    let (mut power, mut square, mut rest) = (1i64, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            power = power.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        rest >>= 1;
    }
    power
}

impl Arith for B8 {
    type Acc = i64;
    const ACC_ZERO: i64 = 0;
    fn mul_acc(acc: i64, a: B8, b: B8) -> i64 {
        acc + i64::from(a.0 & b.0)
    }
    fn from_acc(acc: i64) -> B8 {
        B8(u8::from(acc != 0))
    }
    fn apply(f: Fn, x: &[B8]) -> B8 {
        let a = x[0].0;
        B8(match f {
            Fn::And | Fn::Mul | Fn::Min => a & x[1].0,
            Fn::Or | Fn::Add | Fn::Max => a | x[1].0,
            Fn::Xor => a ^ x[1].0,
            Fn::Not => 1 - a,
            _ => a,
        })
    }
    fn less(a: B8, b: B8) -> bool {
        a.0 < b.0
    }
    fn is_nan(self) -> bool {
        false
    }
    fn is_inf(self) -> bool {
        false
    }
}

/// Evaluates an expression over operands that broadcast to `shape`.
pub fn eval_pointwise(body: &Pointwise, args: &[&Tensor], shape: &[usize]) -> Result<Tensor, OpError> {
    let args: Vec<Tensor> = args.iter().map(|t| broadcast_to(t, shape)).collect();
    let types: Vec<DType> = args.iter().map(|t| t.dtype).collect();
    body.step_types(&types).map_err(OpError)?;
    let mut results: Vec<Tensor> = vec![];
    for step in &body.steps {
        // The type of the values: that of the last operand that is no literal (the first one of select is the test).
        let dtype = step.operands.iter().rev().find_map(|o| match *o {
            Operand::Arg(i) => Some(args[i].dtype),
            Operand::Step(i) => Some(results[i].dtype),
            Operand::Literal(_) => None,
        });
        let Some(dtype) = dtype else { op_error!("{}: all operands are literals", step.f.name()) };
        let operands: Vec<Tensor> = step
            .operands
            .iter()
            .map(|o| match *o {
                Operand::Arg(i) => args[i].clone(),
                Operand::Step(i) => results[i].clone(),
                Operand::Literal(l) => splat(l, dtype, shape),
            })
            .collect();
        results.push(eval_step(step.f, &operands, dtype));
    }
    Ok(results.pop().unwrap_or_else(|| args[0].clone()))
}

/// A tensor of equal elements.
pub fn splat(literal: Literal, dtype: DType, shape: &[usize]) -> Tensor {
    let mut t = Tensor::zeros(dtype, shape);
    for_dtype!(dtype, T => {
        let x = match literal {
            Literal::Float(x) => T::from_f64(x),
            Literal::Int(i) => T::from_i64(i),
        };
        t.as_mut_slice::<T>().fill(x);
    });
    t
}

/// One function over tensors of one shape; `dtype` is the type of the value operands.
fn eval_step(f: Fn, x: &[Tensor], dtype: DType) -> Tensor {
    let shape = &x[0].shape;
    let mut tests = Tensor::zeros(DType::Bool, shape);
    for_dtype!(dtype, T => {
        let column = |i: usize| x[i].as_slice::<T>();
        let mut test = |holds: &dyn std::ops::Fn(usize) -> bool| {
            tests.as_mut_slice::<B8>().iter_mut().enumerate().for_each(|(i, t)| *t = B8(u8::from(holds(i))));
            tests.clone()
        };
        match f {
            Fn::Equal => test(&|i| column(0)[i] == column(1)[i]),
            Fn::Less => test(&|i| T::less(column(0)[i], column(1)[i])),
            Fn::Greater => test(&|i| T::less(column(1)[i], column(0)[i])),
            Fn::LessEqual => test(&|i| column(0)[i] == column(1)[i] || T::less(column(0)[i], column(1)[i])),
            Fn::GreaterEqual => test(&|i| column(0)[i] == column(1)[i] || T::less(column(1)[i], column(0)[i])),
            Fn::IsNan => test(&|i| Arith::is_nan(column(0)[i])),
            Fn::IsInf => test(&|i| column(0)[i].is_inf()),
            Fn::Select => {
                let mut out = Tensor::zeros(dtype, shape);
                let c = x[0].as_slice::<B8>();
                for (i, o) in out.as_mut_slice::<T>().iter_mut().enumerate() {
                    *o = if c[i].0 != 0 { column(1)[i] } else { column(2)[i] };
                }
                out
            }
            Fn::Cast(to) => cast(&x[0], to),
            Fn::Bits(to) => bits(&x[0], to),
            _ => {
                let mut out = Tensor::zeros(dtype, shape);
                let columns: Vec<&[T]> = x.iter().map(|t| t.as_slice()).collect();
                let mut operands = vec![T::from_f64(0.0); x.len()];
                for (i, to) in out.as_mut_slice::<T>().iter_mut().enumerate() {
                    for (operand, column) in operands.iter_mut().zip(&columns) {
                        *operand = column[i];
                    }
                    *to = T::apply(f, &operands);
                }
                out
            }
        }
    })
}

/// Element type conversion, see [`Fn::Cast`].
pub fn cast(x: &Tensor, to: DType) -> Tensor {
    let mut out = Tensor::zeros(to, &x.shape);
    let exact = x.dtype.is_int() || x.dtype == DType::Bool;
    for_dtype!(x.dtype, S => for_dtype!(to, D => {
        for (o, s) in out.as_mut_slice::<D>().iter_mut().zip(x.as_slice::<S>()) {
            *o = if exact { D::from_i128(s.to_i128()) } else { D::from_f64(Element::to_f64(*s)) };
        }
    }));
    out
}

/// The same bits as elements of another type, see [`Fn::Bits`]. A `bool` is true when any bit is set.
fn bits(x: &Tensor, to: DType) -> Tensor {
    let mut out = Tensor::from_bytes(to, &x.shape, x.bytes()).expect("`step_types` has compared the sizes");
    let spare = 8 * to.bytes() - to.bits();
    for byte in out.bytes_mut().iter_mut().filter(|_| spare > 0 || to == DType::Bool) {
        *byte = match to {
            DType::Bool => u8::from(*byte != 0),
            DType::I4 | DType::I2 => ((*byte << spare) as i8 >> spare) as u8,
            _ => *byte << spare >> spare,
        };
    }
    out
}

/// Numpy broadcasting of one tensor to a shape it fits.
pub fn broadcast_to(t: &Tensor, shape: &[usize]) -> Tensor {
    if t.shape == shape {
        return t.clone();
    }
    let strides = crate::tensor::strides(&t.shape);
    let skip = shape.len() - t.rank();
    t.gather_elements(shape, |index| {
        Some(index[skip..].iter().zip(&t.shape).zip(&strides).map(|((i, d), s)| if *d == 1 { 0 } else { i * s }).sum())
    })
}
