//! Branches and loops: text, types, meaning, binding.

use expect_test::{Expect, expect};
use ir::eval::eval;
use ir::graph::bind;
use ir::text::parse_graph;
use ir::verify::verify;
use ir::{Graph, Tensor};

/// x is doubled until its sum exceeds a limit; every other iteration negates it. The sums are kept.
const NESTED: &str = r#"graph "nested"
%0 "trips": i64[] = input
%1 "x": f32[3] = input
%2 "limit": f32[] = input
%3 "go": bool[] = const [true]
%4 "y": f32[3] = loop(%0, %3, %1, %2; carried=1, capacity=[], body={graph "body"
  %0 "i": i64[] = input
  %1 "x": f32[3] = input
  %2 "limit": f32[] = input
  %3 "two": i64[] = const [2]
  %4 "rest": i64[] = mod(%0, %3) @ "rest"
  %5 "one": i64[] = const [1]
  %6 "odd": bool[] = equal(%4, %5) @ "odd"
  %7 "next": f32[3] = if(%6, %1; then={graph "then"
    %0 "x": f32[3] = input
    %1 "n": f32[3] = map(%0; body={mul(%0, -2.0)}) @ "negate"
    output "n" = %1
  }, otherwise={graph "else"
    %0 "x": f32[3] = input
    %1 "d": f32[3] = add(%0, %0) @ "double"
    output "d" = %1
  }) @ "choose"
  %8 "total": f32[] = reduce(%7; kind=sum, axes=[0]) @ "total"
  %9 "keep": bool[] = less(%8, %2) @ "keep"
  output "keep" = %9
  output "x" = %7
}) @ "grow"
output "y" = %4
"#;

fn nested(trips: i64, limit: f32) -> Vec<f32> {
    let graph = parse_graph(NESTED).unwrap();
    verify(&graph).unwrap();
    let inputs = [Tensor::scalar(trips), Tensor::new(&[3], &[1f32, 2.0, -1.0]), Tensor::scalar(limit)];
    eval(&graph, &inputs).unwrap()[0].as_slice::<f32>().to_vec()
}

#[test]
fn nested_graphs_print_as_they_are_read() {
    let graph = parse_graph(NESTED).unwrap();
    assert_eq!(graph.to_string(), NESTED);
}

#[test]
fn a_loop_ends_by_count_by_condition_or_at_once() {
    assert_eq!(nested(0, 1e9), [1.0, 2.0, -1.0]);
    assert_eq!(nested(-3, 1e9), [1.0, 2.0, -1.0]);
    assert_eq!(nested(2, 1e9), [-4.0, -8.0, 4.0]);
    assert_eq!(nested(100, 7.0), [16.0, 32.0, -16.0], "sums are 4, −8, −16, 32");
}

/// The squares of the iteration numbers.
const STACKED: &str = r#"symbol n: 0..8
%x: f32[n] = input
%n: i64[1] = sizes(; dims=[n])
%trips: i64[] = reshape(%n; shape=[])
%go: bool[] = const [true]
%y = loop(%trips, %go, %go; carried=0, capacity=[n], body={graph "body"
  %i: i64[] = input
  %go: bool[] = input
  %s = mul(%i, %i)
  output "keep" = %go
  output "square" = %s
})
output "y" = %y
"#;

#[test]
fn stacked_results_have_one_element_per_iteration() {
    let graph = parse_graph(STACKED).unwrap();
    verify(&graph).unwrap();
    let squares = |n: usize| eval(&graph, &[Tensor::zeros(ir::DType::F32, &[n])]).unwrap()[0].to_i64s();
    assert_eq!((squares(4), squares(0)), (vec![0, 1, 4, 9], vec![]));
}

#[test]
fn binding_reaches_into_bodies() {
    let text = r#"symbol n: 1..8
        %c: bool[] = input
        %x: f32[n] = input
        %y = if(%c, %x;
            then={graph "then" symbol n: 1..8 %x: f32[n] = input %y = relu(%x) output "y" = %y},
            otherwise={graph "else" symbol n: 1..8 %x: f32[n] = input %y = expand(%x; shape=[n]) output "y" = %y})
        output "y" = %y"#;
    let mut graph = parse_graph(text).unwrap();
    verify(&graph).unwrap();
    bind(&mut graph, &[("n", 4)]).unwrap();
    verify(&graph).unwrap();
    assert!(!graph.to_string().contains("[n]") && !graph.to_string().contains("symbol"), "{graph}");
}

fn problem(text: &str, expected: Expect) {
    let found = match parse_graph(text) {
        Err(error) => error.message,
        Ok(graph) => verify(&graph).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    };
    expected.assert_eq(&found);
}

#[test]
fn bodies_that_do_not_fit_are_named() {
    let branches = |then: &str, otherwise: &str| {
        format!(
            "%c: bool[] = input %x: f32[2] = input %y = if(%c, %x; then={{graph \"t\" {then}}}, otherwise={{graph \"e\" {otherwise}}}) output \"y\" = %y"
        )
    };
    let relu = "%x: f32[2] = input %y = relu(%x) output \"y\" = %y";
    problem(
        &branches(relu, "%x: f32[2] = input %y = reshape(%x; shape=[2,1]) output \"y\" = %y"),
        expect!["result 0 of `if` is f32[2] or f32[2,1]"],
    );
    problem(&branches(relu, "%x: f32[3] = input output \"y\" = %x"), expect!["input 0 of `otherwise` is f32[3], found f32[2]"]);
    problem(
        "%n: i64[] = input %c: bool[] = input %x: f32[2] = input
         %y = loop(%n, %c, %x; carried=1, capacity=[], body={graph \"b\" %i: i64[] = input %x: f32[2] = input
            %k: bool[] = const [true] %z = concat(%x, %x; axis=0) output \"keep\" = %k output \"x\" = %z})
         output \"y\" = %y",
        expect!["carried value 0 of `loop` is f32[2] at first and f32[4] after an iteration"],
    );
}

#[test]
fn what_is_wrong_within_a_body_is_reported() {
    let mut graph: Graph = parse_graph(NESTED).unwrap();
    let node = graph.order()[0];
    let body = graph.node_mut(node).op.subgraphs_mut().remove(0).graph_mut();
    let first = body.order()[0];
    body.node_mut(first).origin.clear();
    let errors = verify(&graph).unwrap_err();
    assert_eq!(errors[0].to_string(), "in a graph within loop of grow: map (node 0) has no origin");
}
