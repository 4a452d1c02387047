//! Whole graphs: the verifier sees each broken property, evaluation binds and checks, compaction keeps the meaning.

use expect_test::{Expect, expect};
use ir::bind::BindError;
use ir::eval::{EvalError, eval, eval_with};
use ir::graph::{Compacted, bind};
use ir::text::parse_graph;
use ir::verify::{VerifyError, verify};
use ir::{Bound, DType, Def, Dim, Graph, NodeId, Tensor, TensorType, ValueId};

const TEXT: &str = r#"
graph "g"
symbol n: 1..8
%x: f32[n,4] = input
%b: f32[4] = const [1, 2, 3, 4]
%h = add(%x, %b) @ "first"
%w: f32[4,2] = const splat(0.5)
%c: f32[2] = const [10, -10]
%y = matmul(%h, %w, %c; epilogue={relu(add(%0, %1))}) @ "second"
%s = sizes(; dims=[n,2]) @ "third"
output "y" = %y
output "s" = %s
"#;
const X: ValueId = ValueId(0);
const B: ValueId = ValueId(1);
const H: ValueId = ValueId(2);
const Y: ValueId = ValueId(5);
const S: ValueId = ValueId(6);
const FIRST: NodeId = NodeId(0);
const SECOND: NodeId = NodeId(1);
const THIRD: NodeId = NodeId(2);

fn graph() -> Graph {
    let graph = parse_graph(TEXT).unwrap();
    verify(&graph).unwrap();
    graph
}

/// What the verifier says after `damage`.
fn broken(damage: impl Fn(&mut Graph), expected: Expect) -> Vec<VerifyError> {
    let mut graph = graph();
    damage(&mut graph);
    let errors = verify(&graph).expect_err("the verifier sees nothing");
    expected.assert_eq(&errors.iter().map(|e| format!("{e}\n")).collect::<String>());
    errors
}

#[test]
fn missing_and_removed_values() {
    broken(
        |g| g.node_mut(SECOND).inputs[0] = ValueId(99),
        expect![[r#"
        matmul of second uses ValueId(99), which does not exist
    "#]],
    );
    broken(
        |g| g.outputs[0].value = ValueId(99),
        expect![[r#"
        the output `y` uses ValueId(99), which does not exist
    "#]],
    );
    broken(
        |g| g.inputs.push(ValueId(99)),
        expect![[r#"
        the list of inputs uses ValueId(99), which does not exist
    "#]],
    );
    broken(
        |g| g.node_mut(FIRST).outputs[0] = ValueId(99),
        expect![[r#"
        the definition of ValueId(2) (`h`) does not match the place that should define it
        map of first uses ValueId(99), which does not exist
    "#]],
    );
    broken(
        |g| g.remove_node(FIRST),
        expect![[r#"
        matmul of second uses ValueId(2), whose producer NodeId(0) was removed or never existed
    "#]],
    );
    broken(
        |g| g.remove_node(THIRD),
        expect![[r#"
        the output `s` uses ValueId(6), whose producer NodeId(2) was removed or never existed
    "#]],
    );
}

#[test]
fn wrong_definitions() {
    broken(
        |g| g.value_mut(H).def = Def::Node(SECOND, 0),
        expect![[r#"
            the definition of ValueId(2) (`h`) does not match the place that should define it
            matmul of second needs its own result
        "#]],
    );
    broken(
        |g| g.value_mut(X).def = Def::Input(1),
        expect![[r#"
            the definition of ValueId(0) (`x`) does not match the place that should define it
        "#]],
    );
    broken(
        |g| g.inputs[0] = B,
        expect![[r#"
        the definition of ValueId(1) (`b`) does not match the place that should define it
        the definition of ValueId(0) (`x`) does not match the place that should define it
    "#]],
    );
    broken(
        |g| {
            g.add_input("x", TensorType::new(DType::F32, [1i64]));
        },
        expect![[r#"
            the input name `x` is given twice
        "#]],
    );
    broken(
        |g| g.outputs[1].name = "y".into(),
        expect![[r#"
        the output name `y` is given twice
    "#]],
    );
}

#[test]
fn cycles() {
    broken(
        |g| g.node_mut(FIRST).inputs[0] = H,
        expect![[r#"
        map of first needs its own result
    "#]],
    );
    broken(
        |g| {
            // Two nodes that need each other.
            let z = g.add(ir::ops::map::Map::of(ir::pointwise::Fn::Relu), &[H], &["z".into()], "z").unwrap();
            g.node_mut(FIRST).inputs[0] = z;
        },
        expect![[r#"
            map of first needs its own result
        "#]],
    );
}

#[test]
fn wrong_types() {
    broken(
        |g| g.value_mut(Y).ty.dtype = DType::F64,
        expect![[r#"
        matmul of second: result 0 is recorded as f64[n,2] and inferred as f32[n,2]
    "#]],
    );
    broken(
        |g| g.value_mut(H).ty.shape[0] = 3.into(),
        expect![[r#"
        map of first: result 0 is recorded as f32[3,4] and inferred as f32[n,4]
        matmul of second: result 0 is recorded as f32[n,2] and inferred as f32[3,2]
    "#]],
    );
    broken(
        |g| g.value_mut(X).ty.dtype = DType::I32,
        expect![[r#"
        map of first: add: operand types i32 and f32 differ
    "#]],
    );
    broken(
        |g| g.value_mut(B).ty.shape = vec![1.into(), 4.into()],
        expect![[r#"
        the constant `b` is recorded as f32[1,4] and holds f32[4]
    "#]],
    );
    broken(
        |g| g.node_mut(SECOND).inputs.push(H),
        expect![[r#"
        matmul of second: 2 operands for the epilogue, which uses 1
    "#]],
    );
    broken(
        |g| {
            g.node_mut(SECOND).inputs.pop();
        },
        expect![[r#"
            matmul of second: 0 operands for the epilogue, which uses 1
        "#]],
    );
    broken(
        |g| {
            g.node_mut(FIRST).inputs.clear();
        },
        expect![[r#"
            map of first: `map` takes 1 inputs, found 0
        "#]],
    );
    broken(
        |g| g.node_mut(FIRST).outputs.push(H),
        expect![[r#"
        the definition of ValueId(2) (`h`) does not match the place that should define it
        map of first has 2 results, its operator defines 1
    "#]],
    );
}

#[test]
fn wrong_symbols_and_sizes() {
    broken(
        |g| g.symbols.clear(),
        expect![[r#"
        `x` mentions the undeclared symbol `n`
        `h` mentions the undeclared symbol `n`
        `y` mentions the undeclared symbol `n`
        `s` mentions the undeclared symbol `n`
        sizes of third mentions the undeclared symbol `n`
    "#]],
    );
    broken(
        |g| g.symbols[0] = Bound { min: 3, max: Some(2) },
        expect![[r#"
        the bounds of the symbol `n` are empty
    "#]],
    );
    broken(
        |g| g.value_mut(X).ty.shape[0] = (-1).into(),
        expect![[r#"
            `x` has a negative size: f32[-1,4]
            map of first: the result f32[-1,4] would have a negative size
        "#]],
    );
    broken(
        |g| g.value_mut(S).sizes = Some(vec![Dim::symbol("k")]),
        expect![[r#"
        `s` mentions the undeclared symbol `k`
        `s`: known sizes [k] do not fit i64[2]
    "#]],
    );
    broken(
        |g| g.value_mut(B).sizes = Some(vec![1.into(); 4]),
        expect![[r#"
        `b`: known sizes [1, 1, 1, 1] do not fit f32[4]
    "#]],
    );
    broken(
        |g| g.node_mut(FIRST).origin.clear(),
        expect![[r#"
        map (node 0) has no origin
    "#]],
    );
}

#[test]
fn evaluation() {
    let x = Tensor::new(&[2, 4], &[0f32, 0., 0., 0., 1., 1., 1., 30.]);
    let mut seen = vec![];
    let outputs = eval_with(&graph(), std::slice::from_ref(&x), &mut |node, tensors| seen.push((node, tensors[0].len()))).unwrap();
    assert_eq!(outputs[0], Tensor::new(&[2, 2], &[15f32, 0., 31.5, 11.5]));
    assert_eq!(outputs[1], Tensor::new(&[2], &[2i64, 2]));
    assert_eq!(seen, [(FIRST, 8), (SECOND, 4), (THIRD, 2)]);
    // An input and a constant as outputs, one value twice.
    let mut graph = graph();
    for (name, value) in [("x", X), ("b", B), ("again", Y)] {
        graph.add_output(name, value);
    }
    let more = eval(&graph, std::slice::from_ref(&x)).unwrap();
    assert_eq!((&more[2], more[3].len(), &more[4]), (&x, 4, &outputs[0]));
}

#[test]
fn evaluation_names_what_does_not_fit() {
    let f = |shape: &[usize]| Tensor::zeros(DType::F32, shape);
    let error = |text: &str, inputs: &[Tensor]| eval(&parse_graph(text).unwrap(), inputs).unwrap_err();
    assert_eq!(error(TEXT, &[]), EvalError::InputCount { expected: 1, found: 0 });
    expect!["input `x` holds f32, found i32"].assert_eq(&error(TEXT, &[Tensor::zeros(DType::I32, &[2, 4])]).to_string());
    expect!["input `x` is f32[n,4], found shape [2, 5]"].assert_eq(&error(TEXT, &[f(&[2, 5])]).to_string());
    expect!["input `x` is f32[n,4], found shape [4]"].assert_eq(&error(TEXT, &[f(&[4])]).to_string());
    expect!["n = 9 is outside its bounds 1..8"].assert_eq(&error(TEXT, &[f(&[9, 4])]).to_string());
    let two = "symbol n: 1..9\n%x: f32[n] = input\n%y: f32[n] = input\n%z = add(%x, %y)\noutput \"z\" = %z";
    expect!["`n` is 2 in one input and 3 in `y`"].assert_eq(&error(two, &[f(&[2]), f(&[3])]).to_string());
    let derived = "symbol n: 1..9\n%x: f32[2*n] = input\noutput \"x\" = %x";
    expect!["the shapes of the inputs do not determine `n`"].assert_eq(&error(derived, &[f(&[4])]).to_string());
    let picks = "%x: f32[2] = input\n%i: i64[1] = const [2]\n%y = gather(%x, %i; axis=0) @ \"embed\"\noutput \"y\" = %y";
    expect!["layer embed: gather: index 2 is out of range for size 2"].assert_eq(&error(picks, &[f(&[2])]).to_string());
}

/// A derived size is checked once a plain one has given the symbol its value.
#[test]
fn derived_sizes_are_checked() {
    let text = "symbol n: 1..9\n%x: f32[n] = input\n%y: f32[2*n+1] = input\noutput \"y\" = %y";
    let graph = parse_graph(text).unwrap();
    let f = |n: usize| Tensor::zeros(DType::F32, &[n]);
    eval(&graph, &[f(3), f(7)]).unwrap();
    assert!(matches!(eval(&graph, &[f(3), f(6)]), Err(EvalError::InputShape { .. })));
}

#[test]
fn binding() {
    let mut bound = graph();
    bind(&mut bound, &[("n", 3)]).unwrap();
    verify(&bound).unwrap();
    assert!(bound.symbols.is_empty());
    assert_eq!(bound.value(S).sizes, Some(vec![3.into(), 2.into()]));
    expect![[r#"
        graph "g"
        %0 "x": f32[3,4] = input
        %1 "b": f32[4] = const [1.0, 2.0, 3.0, 4.0]
        %2 "h": f32[3,4] = add(%0, %1) @ "first"
        %3 "w": f32[4,2] = const [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
        %4 "c": f32[2] = const [10.0, -10.0]
        %5 "y": f32[3,2] = matmul(%2, %3, %4; epilogue={relu(add(%0, %1))}) @ "second"
        %6 "s": i64[2] = sizes(; dims=[3,2]) @ "third"
        output "y" = %5
        output "s" = %6
    "#]]
    .assert_eq(&bound.to_string());
    let mut graph = graph();
    let before = graph.to_string();
    expect!["there is no free dimension `batch`; the model has: n"].assert_eq(&bind(&mut graph, &[("batch", 3)]).unwrap_err().to_string());
    expect!["n = 9 is outside its bounds 1..8"].assert_eq(&bind(&mut graph, &[("n", 9)]).unwrap_err().to_string());
    assert!(matches!(bind(&mut graph, &[("n", 2), ("n", 3)]), Err(BindError::Conflict { .. })));
    assert_eq!(graph.to_string(), before, "a failed binding changes nothing");
    let mut conv = parse_graph(
        r#"
symbol h: 1..
%x: f32[1,1,h,8] = input
%w: f32[1,1,3,3] = const splat(1)
%y = conv(%x, %w; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nchw) @ "conv1"
%z = slice(%y; starts=[0,0,h-4,0], counts=[1,1,1,6], steps=[1,1,1,1]) @ "last"
output "z" = %z
"#,
    )
    .unwrap();
    expect!["layer conv1: conv: the kernel of f32[1,1,3,3] does not fit into f32[1,1,1,8]"]
        .assert_eq(&bind(&mut conv, &[("h", 1)]).unwrap_err().to_string());
    expect!["layer last: slice: 1 elements from -1 in steps of 1 do not lie in dimension 2 of f32[1,1,1,6]"]
        .assert_eq(&bind(&mut conv, &[("h", 3)]).unwrap_err().to_string());
    bind(&mut conv, &[("h", 4)]).unwrap();
}

#[test]
fn compaction_keeps_the_meaning() {
    let mut compact = graph();
    let relu = || ir::ops::map::Map::of(ir::pointwise::Fn::Relu);
    let dead = compact.add(relu(), &[H], &["dead".into()], "dead").unwrap();
    compact.add(relu(), &[dead], &["dead".into()], "dead").unwrap();
    compact.add_const("unused", Tensor::scalar(1f32));
    let removed = compact.add_node(relu(), &[dead], &["dead".into()], "dead").unwrap();
    compact.remove_node(removed);
    verify(&compact).unwrap();
    let text = compact.to_string();
    assert_eq!(compact.compact(), Compacted { nodes: 2, values: 4 });
    verify(&compact).unwrap();
    assert_eq!(compact.to_string(), text);
    assert_eq!(compact.compact(), Compacted { nodes: 0, values: 0 });
    let x = Tensor::random(DType::F32, &[3, 4], 5);
    assert_eq!(eval(&compact, std::slice::from_ref(&x)), eval(&graph(), &[x]));
}
