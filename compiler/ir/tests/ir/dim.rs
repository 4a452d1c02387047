//! Sizes: equal expressions are equal, and what is known about them is true.

use crate::instances::Rng;
use ir::dim::DimFn;
use ir::text::parse_dim;
use ir::{Bound, Dim, Symbols};

fn dim(text: &str) -> Dim {
    parse_dim(text).unwrap()
}

#[test]
fn equal_sizes_are_equal() {
    for (a, b) in [
        ("(n+1)*(n-1)", "n*n-1"),
        ("n*m-m*n", "0"),
        ("2*(n+3)-6", "2*n"),
        ("floordiv(4*n,2)", "2*n"),
        ("floordiv(n*m,n)", "m"),
        ("mod(6*n,3)", "0"),
        ("min(n,n)", "n"),
        ("floordiv(7,2)", "3"),
        ("floordiv(-7,2)", "-4"),
        ("mod(-7,2)", "1"),
        ("floordiv(n+1,2)*2", "2*floordiv(1+n,2)"),
        ("max(3,5)", "5"),
    ] {
        assert_eq!(dim(a), dim(b), "{a} and {b}");
    }
    assert_ne!(dim("floordiv(n,2)*2"), dim("n"));
    assert_ne!(dim("n"), dim("m"));
}

#[test]
fn exact_quotients() {
    for (a, b, quotient) in [
        ("64*s", "64", Some("s")),
        ("4*s*h", "2*h", Some("2*s")),
        ("6", "4", None),
        ("s+1", "2", None),
        ("2*s+4", "2", Some("s+2")),
        ("s*h+h", "h", Some("s+1")),
        ("s", "h", None),
        ("s+1", "s+1", Some("1")),
        ("16*s+16", "8*s+8", Some("2")),
        ("s*s+h*s+s+h", "s+h", Some("s+1")),
        ("s*s+1", "s+1", None),
        ("0", "s", Some("0")),
    ] {
        assert_eq!(dim(a).div_exact(&dim(b)), quotient.map(dim), "{a} / {b}");
    }
    assert_eq!(dim("n+5").ceil_div(2), dim("floordiv(n+6,2)"));
}

#[test]
fn substitution_and_symbols() {
    let d = dim("n*m+floordiv(n+1,2)-3");
    assert_eq!(d.symbols().iter().map(ToString::to_string).collect::<Vec<_>>(), ["m", "n"]);
    assert_eq!(d.substitute(&|s| (s == "n").then(|| 5.into())), dim("5*m"));
    assert_eq!(d.substitute(&|s| (s == "n").then(|| dim("2*k"))), dim("2*k*m+floordiv(2*k+1,2)-3"));
    assert_eq!(dim("n").as_symbol().as_deref(), Some("n"));
    assert!(dim("2*n").as_symbol().is_none() && dim("n+1").as_symbol().is_none() && dim("3").as_symbol().is_none());
}

#[test]
fn printing() {
    for (text, printed) in [
        ("1+n", "n+1"),
        ("-n", "-n"),
        ("3-2*n", "-2*n+3"),
        ("n*3*m", "3*m*n"),
        ("min(n,m+1)-1", "min(n,m+1)-1"),
        ("\"a.b\"+1", "\"a.b\"+1"),
        ("n-n", "0"),
    ] {
        assert_eq!(dim(text).to_string(), printed);
    }
}

/// Random expressions: printing round trips, evaluation agrees with the printed form, ranges hold every value.
#[test]
fn random_expressions() {
    let mut rng = Rng(7);
    for _ in 0..2000 {
        let d = random(&mut rng, 3);
        assert_eq!(dim(&d.to_string()), d, "{d}");
        let mut symbols = Symbols::new();
        let mut values = vec![];
        for name in ["n", "m"] {
            let (a, b) = (rng.range(-2, 6), rng.range(0, 5));
            symbols.insert(name.into(), Bound { min: a, max: (rng.range(0, 3) > 0).then_some(a + b) });
            values.push((name, rng.range(a, a + b)));
        }
        let value = d.substitute(&|s| values.iter().find(|(n, _)| *n == s).map(|(_, v)| Dim::from(*v)));
        // Division by a size that is not positive has no value.
        let Some(value) = value.as_const() else { continue };
        let (low, high) = d.range(&symbols);
        assert!(
            low.is_none_or(|l| l <= value) && high.is_none_or(|h| value <= h),
            "{d} = {value} outside {low:?}..{high:?} with {values:?} {symbols:?}"
        );
    }
}

fn random(rng: &mut Rng, depth: i64) -> Dim {
    match rng.range(0, if depth == 0 { 2 } else { 9 }) {
        0 => Dim::from(rng.range(-3, 9)),
        1 => Dim::symbol("n"),
        2 => Dim::symbol("m"),
        3 | 4 => random(rng, depth - 1) + random(rng, depth - 1),
        5 => random(rng, depth - 1) - random(rng, depth - 1),
        6 => random(rng, depth - 1) * random(rng, depth - 1),
        7 => Dim::binary(rng.pick(&[DimFn::FloorDiv, DimFn::Mod]), random(rng, depth - 1), rng.range(1, 5).into()),
        8 => Dim::binary(rng.pick(&[DimFn::FloorDiv, DimFn::Mod]), random(rng, depth - 1), random(rng, depth - 1)),
        _ => Dim::binary(rng.pick(&[DimFn::Min, DimFn::Max]), random(rng, depth - 1), random(rng, depth - 1)),
    }
}
