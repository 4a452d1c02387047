//! The text form: what prints parses to the same text, and mistakes are named with their place.

use expect_test::{Expect, expect};
use ir::attr::Attr;
use ir::dim::Dim;
use ir::text::{Term, TermAttr, instantiate, parse_dim, parse_graph, parse_graph_with, parse_pointwise, parse_term, parse_type};
use ir::verify::verify;
use ir::{Graph, Tensor, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// Parses, prints, parses and prints again.
fn check(text: &str, expected: Expect) {
    let graph = parse_graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&graph).unwrap();
    let printed = graph.to_string();
    expected.assert_eq(&printed);
    let constants: HashMap<u64, Arc<Tensor>> =
        graph.value_ids().filter_map(|v| graph.constant(v)).map(|t| (t.content_hash(), t.clone())).collect();
    let again = parse_graph_with(&printed, &|hash| constants.get(&hash).cloned()).unwrap_or_else(|e| panic!("{e}\n{printed}"));
    assert_eq!(again.to_string(), printed);
    verify(&again).unwrap();
    for (a, b) in graph.order().into_iter().zip(again.order()) {
        assert_eq!(graph.node(a).op, again.node(b).op);
    }
}

fn error(text: &str, expected: Expect) {
    expected.assert_eq(&parse_graph(text).expect_err(text).to_string());
}

#[test]
fn a_network_round_trips() {
    check(
        r#"
graph "net"
symbol batch: 1..64
symbol "past length": 0..
%x: f32[batch,3,8,8] = input
%mask "mask": bool[batch,"past length"+1] = input
%w: f32[4,3,3,3] = const random(7)
%b: f32[4,1,1] = const [0.5, 0, -1, 1e-30]
%half: f32[4,8,8] = const splat(0.5)
// The epilogue adds the bias.
%y = conv(%x, %w, %b; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw, epilogue={relu(add(%0, %1))}) @ "layer1.conv", "layer1.bn"
%z = map(%y, %half; body={t0 = add(%0, 1.5); mul(t0, sigmoid(mul(t0, %1)))})
%r = reshape(%z; shape=[batch*4,64]) @ "flatten"
%t = transpose(%r; perm=[1,0])
%n = normalize(%t; axes=[0], epsilon=1e-5, center=true)
%p = pad(%n; before=[0,0], after=[0,3], value=-inf)
%s = sizes(; dims=[batch,floordiv(batch+1,2),min("past length",7)])
%m = cast_f32(%mask)
output "logits" = %p
output "sizes" = %s
output "mask" = %m
output "half" = %half
"#,
        expect![[r#"
            graph "net"
            symbol batch: 1..64
            symbol "past length": 0..
            %0 "x": f32[batch,3,8,8] = input
            %1 "mask": bool[batch,"past length"+1] = input
            %2 "w": f32[4,3,3,3] = const #fda67a7a2e50d0c0
            %3 "b": f32[4,1,1] = const [0.5, 0.0, -1.0, 1e-30]
            %4 "y": f32[batch,4,8,8] = conv(%0, %2, %3; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw, epilogue={relu(add(%0, %1))}) @ "layer1.conv", "layer1.bn"
            %5 "half": f32[4,8,8] = const splat(0.5)
            %6 "z": f32[batch,4,8,8] = map(%4, %5; body={t0 = add(%0, 1.5); mul(t0, sigmoid(mul(t0, %1)))}) @ "z"
            %7 "r": f32[4*batch,64] = reshape(%6; shape=[4*batch,64]) @ "flatten"
            %8 "t": f32[64,4*batch] = transpose(%7; perm=[1,0]) @ "t"
            %9 "n": f32[64,4*batch] = normalize(%8; axes=[0], epsilon=1e-5, center=true) @ "n"
            %10 "p": f32[64,4*batch+3] = pad(%9; before=[0,0], after=[0,3], value=-inf) @ "p"
            %11 "s": i64[3] = sizes(; dims=[batch,floordiv(batch+1,2),min("past length",7)]) @ "s"
            %12 "m": f32[batch,"past length"+1] = cast_f32(%1) @ "m"
            output "logits" = %10
            output "sizes" = %11
            output "mask" = %12
            output "half" = %5
        "#]],
    );
}

#[test]
fn constants_keep_every_bit() {
    check(
        r#"
%a: f32[3] = const [0.1, NaN, -inf]
%b: f64[2] = const [0.1, -0.0]
%c: u64[2] = const [18446744073709551615, 0]
%d: i64[1] = const [-9223372036854775808]
%e: bool[2] = const [true, false]
%f: f16[1] = const [0.33325195]
%g: bf16[] = const [0.33398438]
%h: i8[0] = const []
%i: u8[3,4] = const splat(255)
output "a" = %a
output "b" = %b
output "c" = %c
output "d" = %d
output "e" = %e
output "f" = %f
output "g" = %g
output "h" = %h
output "i" = %i
"#,
        expect![[r#"
            graph ""
            %0 "a": f32[3] = const [0.1, NaN, -inf]
            %1 "b": f64[2] = const [0.1, -0.0]
            %2 "c": u64[2] = const [18446744073709551615, 0]
            %3 "d": i64[1] = const [-9223372036854775808]
            %4 "e": bool[2] = const [true, false]
            %5 "f": f16[1] = const [0.33325195]
            %6 "g": bf16[] = const [0.33398438]
            %7 "h": i8[0] = const []
            %8 "i": u8[3,4] = const splat(255)
            output "a" = %0
            output "b" = %1
            output "c" = %2
            output "d" = %3
            output "e" = %4
            output "f" = %5
            output "g" = %6
            output "h" = %7
            output "i" = %8
        "#]],
    );
}

#[test]
fn mistakes_are_named() {
    error("%0: f32[2] = input\n%1 = relu(%2)", expect!["line 2, column 11: %2 is not defined before"]);
    error("%0: f32[n] = input", expect!["line 1, column 5: the symbol `n` is not declared (`symbol n: 1..64`)"]);
    error("%0: f32[2] = input\n%1 = rleu(%0)", expect!["line 2, column 6: there is no operator or function `rleu`"]);
    error("%0: f32[2] = input\n%1: f32[3] = relu(%0)", expect!["line 2, column 1: the type of %1 is f32[2], the text says f32[3]"]);
    error("%0: f32[2] = input\n%1 = add(%0)", expect!["line 2, column 6: the expression uses 2 operands, found 1"]);
    error("%0: f32[2] = input\n%1 = concat(%0; axes=1)", expect!["line 2, column 6: concat: unknown attribute `axes`; known are: axis"]);
    error("%0: f32[2] = input\n%1 = concat(%0)", expect!["line 2, column 6: concat: attribute `axis` is missing (an integer)"]);
    error("%0: f32[2] = input\n%0 = relu(%0)", expect!["line 2, column 1: %0 is defined twice"]);
    error("%0: f32[2] = const [1]", expect!["line 1, column 20: f32[2] has 2 elements, found 1"]);
    error("%0: i8[1] = const [128]", expect!["line 1, column 19: `128` is not an element of i8"]);
    error("%0: f32[20] = const #12", expect!["line 1, column 21: the elements of the constant #12 are not in the text"]);
    error("graph \"x", expect!["line 1, column 7: a string without its closing quote"]);
    error("%0: f32[2 = input", expect!["line 1, column 11: expected `]`, found `=`"]);
    error("%0: f33[2] = input", expect!["line 1, column 5: there is no element type `f33`"]);
    error("%0: f32[2] = input ! ", expect!["line 1, column 20: unexpected character '!'"]);
}

#[test]
fn expressions_round_trip() {
    for text in [
        "{%0}",
        "{relu(%0)}",
        "{t0 = add(%0, 1.5); mul(t0, sigmoid(t0))}",
        "{select(less(%0, 0.0), mul(%1, -1), cast_f32(%2))}",
        "{clamp(%0, -inf, 6.0)}",
        "{t0 = exp(%1); t1 = add(t0, t0); mul(neg(%0), mul(t1, t1))}",
    ] {
        let body = parse_pointwise(text).unwrap();
        assert_eq!(body.to_string(), text);
        assert_eq!(parse_pointwise(&body.to_string()).unwrap(), body);
    }
    for text in ["{}", "{%1}", "{1.0}", "{add(%0)}", "{t0}", "{relu(%0)", "{frobnicate(%0)}", "{t0 = relu(%0); t0 = exp(t0); t0}"] {
        parse_pointwise(text).expect_err(text);
    }
}

#[test]
fn sizes_and_types_round_trip() {
    for text in ["7", "-7", "n", "2*n-3", "n*n+floordiv(n+1,2)", "mod(n,2)", "max(m,n)-1", "\"a b\"*2", "-9223372036854775808"] {
        let dim = parse_dim(text).unwrap();
        assert_eq!(parse_dim(&dim.to_string()).unwrap(), dim, "{text}");
    }
    assert_eq!(parse_dim("2*(n+1)-n").unwrap(), Dim::symbol("n") + 2);
    assert_eq!(parse_type("f32[n,2]").unwrap().to_string(), "f32[n,2]");
}

#[test]
fn terms_parse_and_print() {
    for text in
        ["mul(?x, sigmoid(?x))", "add(?x, -1.5)", "reshape(relu(?x); shape=?s)", "conv(?x, ?w; group=1, strides=?s, data=nhwc)", "?x", "2"]
    {
        assert_eq!(parse_term(text).unwrap().to_string(), text);
    }
    assert_eq!(parse_term("cast(?x; to=f16)").unwrap().to_string(), "cast_f16(?x)");
    assert_eq!(
        parse_term("reshape(?x; shape=?s)").unwrap(),
        Term::Call { op: "reshape".into(), args: vec![Term::Var("x".into())], attrs: vec![("shape".into(), TermAttr::Bind("s".into()))] }
    );
    for text in ["frob(?x)", "add(?x)", "reshape(?x; sahpe=?s)", "relu(?x", "relu(?x) 3", "relu(x)"] {
        parse_term(text).expect_err(text);
    }
}

#[test]
fn terms_become_nodes() {
    let mut graph = parse_graph("symbol n: 1..9\n%x: f32[n,4] = input").unwrap();
    let x = ValueId(0);
    let term = parse_term("reshape(cast(mul(add(?x, 1), sigmoid(?x)); to=?t); shape=?s)").unwrap();
    let attrs = |name: &str| match name {
        "s" => Some(Attr::Dims(vec![Dim::symbol("n") * 4])),
        "t" => Some(Attr::Name("f64".into())),
        _ => None,
    };
    let y = instantiate(&mut graph, &term, &|v| (v == "x").then_some(x), &attrs, &["layer".into()], "y").unwrap();
    graph.add_output("y", y);
    verify(&graph).unwrap();
    expect![[r#"
        graph ""
        symbol n: 1..9
        %0 "x": f32[n,4] = input
        %1 "y": f32[n,4] = map(%0; body={add(%0, 1)}) @ "layer"
        %2 "y": f32[n,4] = sigmoid(%0) @ "layer"
        %3 "y": f32[n,4] = mul(%1, %2) @ "layer"
        %4 "y": f64[n,4] = cast_f64(%3) @ "layer"
        %5 "y": f64[4*n] = reshape(%4; shape=[4*n]) @ "layer"
        output "y" = %5
    "#]]
    .assert_eq(&graph.to_string());
    let build = |text: &str| {
        let mut graph: Graph = graph.clone();
        instantiate(&mut graph, &parse_term(text).unwrap(), &|v| (v == "x").then_some(x), &|_| None, &[], "").unwrap_err().to_string()
    };
    expect!["the variable ?y is not bound"].assert_eq(&build("relu(?y)"));
    expect!["the attribute ?s is not bound"].assert_eq(&build("reshape(?x; shape=?s)"));
    expect!["the literal 2.0 stands where a tensor is needed"].assert_eq(&build("matmul(?x, 2.0)"));
    expect!["`map` takes 1 inputs, found 0"].assert_eq(&build("sqrt(2.0)"));
}

/// Random expressions print, parse and print again to the same text, and mean the same.
#[test]
fn random_expressions_round_trip() {
    let mut rng = crate::instances::Rng(11);
    for _ in 0..300 {
        let (op, inputs) = crate::instances::instance("map", &mut rng);
        let ir::Op::Map(map) = &op else { unreachable!() };
        let printed = map.body.to_string();
        let again = parse_pointwise(&printed).unwrap_or_else(|e| panic!("{printed}: {e}"));
        assert_eq!(again.to_string(), printed);
        assert_eq!(again.args(), map.body.args());
        let operands: Vec<&Tensor> = inputs.iter().collect();
        let (a, b) = (op.eval(&operands), ir::Op::from(ir::ops::map::Map { body: again }).eval(&operands));
        // By bits: NaN equals NaN.
        assert_eq!(a.map(|t| t[0].bytes().to_vec()), b.map(|t| t[0].bytes().to_vec()), "{printed}");
    }
}
