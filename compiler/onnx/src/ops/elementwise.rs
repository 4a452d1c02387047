//! Operators that compute each element from the corresponding elements of their inputs.

use super::{Row, one, term, term_with};
use crate::error::{Fault, invalid, unsupported};
use crate::site::{Arg, Site};
use crate::tensor::dtype;
use ir::pointwise::Fn;
use ir::{DType, Dim, ValueId};

pub(super) const ROWS: &[Row] = &[
    term("Abs", "abs(?a)"),
    term("Acos", "acos(?a)"),
    term("Acosh", "acosh(?a)"),
    term("Add", "add(?a, ?b)"),
    term("And", "and(?a, ?b)"),
    term("Asin", "asin(?a)"),
    term("Asinh", "asinh(?a)"),
    term("Atan", "atan(?a)"),
    term("Atanh", "atanh(?a)"),
    one("Cast", cast),
    one("CastLike", cast_like),
    term("Ceil", "ceil(?a)"),
    term_with("Celu", "add(max(?a, 0.0), min(mul(sub(exp(div(?a, $alpha)), 1.0), $alpha), 0.0))", &[("alpha", 1.0)]),
    one("Clip", clip),
    term("Cos", "cos(?a)"),
    term("Cosh", "cosh(?a)"),
    term("Div", "div(?a, ?b)"),
    term_with("Elu", "select(less(?a, 0.0), mul(sub(exp(?a), 1.0), $alpha), ?a)", &[("alpha", 1.0)]),
    term("Equal", "equal(?a, ?b)"),
    term("Erf", "erf(?a)"),
    term("Exp", "exp(?a)"),
    term("Floor", "floor(?a)"),
    one("Gelu", gelu),
    term("Greater", "greater(?a, ?b)"),
    term("GreaterOrEqual", "greater_equal(?a, ?b)"),
    term_with("HardSigmoid", "clamp(add(mul(?a, $alpha), $beta), 0.0, 1.0)", &[("alpha", 0.2), ("beta", 0.5)]),
    term("HardSwish", "mul(?a, clamp(add(mul(?a, 0.16666666666666666), 0.5), 0.0, 1.0))"),
    one("Identity", identity),
    one("IsInf", is_inf),
    term("IsNaN", "isnan(?a)"),
    term_with("LeakyRelu", "select(less(?a, 0.0), mul(?a, $alpha), ?a)", &[("alpha", 0.01)]),
    term("Less", "less(?a, ?b)"),
    term("LessOrEqual", "less_equal(?a, ?b)"),
    term("Log", "log(?a)"),
    term("Mish", "mul(?a, tanh(softplus(?a)))"),
    one("Mod", modulo),
    term("Mul", "mul(?a, ?b)"),
    term("Neg", "neg(?a)"),
    term("Not", "not(?a)"),
    term("Or", "or(?a, ?b)"),
    one("PRelu", prelu_channels),
    term("PRelu", "select(less(?a, 0.0), mul(?a, ?b), ?a)").since(7),
    one("Pow", pow),
    term("Reciprocal", "reciprocal(?a)"),
    term("Relu", "relu(?a)"),
    term("Round", "round(?a)"),
    term_with(
        "Selu",
        "mul(select(less(?a, 0.0), mul(sub(exp(?a), 1.0), $alpha), ?a), $gamma)",
        &[("alpha", 1.6732631921768188), ("gamma", 1.0507010221481323)],
    ),
    term_with(
        "Shrink",
        "select(greater(neg(?a), $lambd), add(?a, $bias), select(greater(?a, $lambd), sub(?a, $bias), 0.0))",
        &[("lambd", 0.5), ("bias", 0.0)],
    ),
    term("Sigmoid", "sigmoid(?a)"),
    term("Sign", "sign(?a)"),
    term("Sin", "sin(?a)"),
    term("Sinh", "sinh(?a)"),
    term("Softplus", "softplus(?a)"),
    term("Softsign", "div(?a, add(abs(?a), 1.0))"),
    term("Sqrt", "sqrt(?a)"),
    term("Sub", "sub(?a, ?b)"),
    term_with("SwiGLU", "mul(mul(?a, sigmoid(mul(?a, $alpha))), ?b)", &[("alpha", 1.0)]),
    term_with("Swish", "mul(?a, sigmoid(mul(?a, $alpha)))", &[("alpha", 1.0)]),
    term("Tan", "tan(?a)"),
    term("Tanh", "tanh(?a)"),
    term_with("ThresholdedRelu", "select(greater(?a, $alpha), ?a, 0.0)", &[("alpha", 1.0)]),
    term("Where", "select(?a, ?b, ?c)"),
    term("Xor", "xor(?a, ?b)"),
];

fn identity(s: &mut Site) -> Result<ValueId, Fault> {
    s.input(0)
}

fn cast(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let Some(to) = s.attributes.int("to")? else { invalid!("the attribute `to` is missing") };
    cast_to(s, x, dtype(i32::try_from(to).unwrap_or(-1))?)
}

/// Without `saturate`, what is too large for a float of 8 bits becomes infinite, or NaN where there is no infinity.
pub(super) fn cast_to(s: &mut Site, x: ValueId, to: DType) -> Result<ValueId, Fault> {
    let from = s.dtype(x);
    if to == DType::F8E8M0 && from != to && s.attributes.string_or("round_mode", "up").is_ok_and(|mode| mode != "up") {
        unsupported!("rounding to f8e8m0 other than up is not supported");
    }
    // What no longer rounds to the largest number, and the code that stands for it; some keep their sign.
    let (is_too_large, code_of, keeps_sign) = match to {
        DType::F8E4M3FN => ("greater(abs(?a), 464.0)", 0x7f, true),
        DType::F8E4M3FNUZ => ("greater_equal(abs(?a), 248.0)", 0x80, false),
        DType::F8E5M2 => ("greater_equal(abs(?a), 61440.0)", 0x7c, true),
        DType::F8E5M2FNUZ => ("greater_equal(abs(?a), 61440.0)", 0x80, false),
        _ => return s.cast(x, to),
    };
    if s.attributes.int_or("saturate", 1)? != 0 || !from.is_float() || from.is_narrow_float() {
        return s.cast(x, to);
    }
    let is_too_large = s.term(is_too_large, &[x])?;
    let code = s.cast(x, to)?;
    let code = s.unary(Fn::Bits(DType::U8), code)?;
    let special: Arg = match keeps_sign {
        true => s.term(&format!("or(and(?a, 128), {code_of})"), &[code])?.into(),
        false => Arg::Int(code_of),
    };
    let code = s.map(Fn::Select, [is_too_large.into(), special, code.into()])?;
    s.unary(Fn::Bits(to), code)
}

fn cast_like(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, like) = (s.input(0)?, s.input(1)?);
    cast_to(s, x, s.dtype(like))
}

/// Limits are attributes before operator set 11, inputs after; either may be missing.
fn clip(s: &mut Site) -> Result<ValueId, Fault> {
    let mut x = s.input(0)?;
    let limits = [("min", Fn::Max, 1), ("max", Fn::Min, 2)];
    let mut known = vec![];
    for (name, f, i) in limits {
        let value = match (s.attributes.float(name)?, s.optional(i)) {
            (Some(limit), _) => Some(Ok(limit)),
            (None, Some(v)) => Some(s.scalar(v).ok_or(v)),
            (None, None) => None,
        };
        known.push((f, value));
    }
    if let [(_, Some(Ok(low))), (_, Some(Ok(high)))] = known[..] {
        return s.map(Fn::Clamp, [x.into(), low.into(), high.into()]);
    }
    for (f, value) in known {
        match value {
            Some(Ok(limit)) => x = s.binary(f, x, limit)?,
            Some(Err(v)) => x = s.binary(f, x, v)?,
            None => {}
        }
    }
    Ok(x)
}

/// Before operator set 7 a slope with several elements has one per channel.
fn prelu_channels(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, mut slope) = (s.input(0)?, s.input(1)?);
    if s.rank(slope) == 1 && s.shape(slope)[0] != 1 && s.rank(x) > 1 {
        slope = s.per_channel(slope, s.rank(x))?;
    }
    s.term("select(less(?a, 0.0), mul(?a, ?b), ?a)", &[x, slope])
}

pub(super) fn gelu(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    match s.attributes.string_or("approximate", "none")? {
        "none" => s.term("mul(mul(?a, add(erf(mul(?a, 0.7071067811865476)), 1.0)), 0.5)", &[x]),
        "tanh" => gelu_tanh(s, x),
        other => invalid!("the approximation `{other}` does not exist; expected `none` or `tanh`"),
    }
}

pub(super) fn gelu_tanh(s: &mut Site, x: ValueId) -> Result<ValueId, Fault> {
    s.term("mul(mul(?a, add(tanh(mul(add(?a, mul(mul(mul(?a, ?a), ?a), 0.044715)), 0.7978845608028654)), 1.0)), 0.5)", &[x])
}

fn is_inf(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    match (s.attributes.int_or("detect_negative", 1)? != 0, s.attributes.int_or("detect_positive", 1)? != 0) {
        (true, true) => s.term("isinf(?a)", &[x]),
        (true, false) => s.term("and(isinf(?a), less(?a, 0.0))", &[x]),
        (false, true) => s.term("and(isinf(?a), greater(?a, 0.0))", &[x]),
        (false, false) => s.term("and(isinf(?a), not(isinf(?a)))", &[x]),
    }
}

fn modulo(s: &mut Site) -> Result<ValueId, Fault> {
    let (a, b) = (s.input(0)?, s.input(1)?);
    let f = if s.attributes.flag("fmod")? { Fn::Fmod } else { Fn::Mod };
    s.binary(f, a, b)
}

/// The exponent may have another type; the result has the base's.
fn pow(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, y) = (s.input(0)?, s.input(1)?);
    let (base, exponent) = (s.dtype(x), s.dtype(y));
    if base == exponent {
        return s.binary(Fn::Pow, x, y);
    }
    if exponent.is_float() && !base.is_float() {
        let wide = s.cast(x, exponent)?;
        let result = s.binary(Fn::Pow, wide, y)?;
        return s.cast(result, base);
    }
    if !base.is_float() && !base.is_int() {
        unsupported!("powers of {base} elements are not supported");
    }
    let y = s.cast(y, base)?;
    s.binary(Fn::Pow, x, y)
}

/// Comparing sizes: symbols that cannot be equal are not equal. Exporters ask whether a size is −1.
pub(super) fn decide_equal(s: &mut Site, inputs: &[ValueId], result: ValueId) {
    let known = |v: &ValueId| s.graph.value(*v).sizes.clone();
    if s.graph.value(result).sizes.is_some() || s.rank(result) > 1 {
        return;
    }
    let (Some(a), Some(b)) = (known(&inputs[0]), known(&inputs[1])) else { return };
    let truth = (0..a.len().max(b.len())).map(|i| {
        let (a, b) = (a.get(if a.len() == 1 { 0 } else { i })?, b.get(if b.len() == 1 { 0 } else { i })?);
        let (low, high) = (a.clone() - b.clone()).range(&s.graph.symbols);
        match a == b {
            true => Some(Dim::from(1i64)),
            false => (low.is_some_and(|l| l > 0) || high.is_some_and(|h| h < 0)).then(|| Dim::from(0i64)),
        }
    });
    let truth: Option<Vec<Dim>> = truth.collect();
    s.graph.value_mut(result).sizes = truth;
}
