//! Graphs with free sizes: one plan, interpreted at several values of its symbols, against `eval`.

mod common;
#[path = "common/free_graphs.rs"]
mod free_graphs;

use common::{Rng, execute_plan, same};
use ir::text::parse_graph;
use ir::{Graph, Tensor};

/// Random inputs for these values of the symbols.
fn inputs(graph: &Graph, values: &[(&str, i64)], rng: &mut Rng) -> Vec<Tensor> {
    let value = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, v)| ir::Dim::from(*v));
    let tensor = |id: &ir::ValueId| {
        let ty = graph.ty(*id);
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.substitute(&value).as_const().expect("all symbols") as usize).collect();
        rng.tensor(ty.dtype, &shape)
    };
    graph.inputs.iter().map(tensor).collect()
}

fn check(text: &str, values: &[&[(&str, i64)]]) {
    check_within(text, values, 2e-6);
}

fn check_within(text: &str, values: &[&[(&str, i64)]], tolerance: f64) {
    let graph = parse_graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let plan = lower::lower(&graph, &lower::Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{graph}"));
    let mut rng = Rng(7);
    for values in values {
        let inputs = inputs(&graph, values, &mut rng);
        let expected = ir::eval::eval(&graph, &inputs).unwrap_or_else(|e| panic!("{e}\n{graph}"));
        let found = execute_plan(&plan, &inputs).unwrap_or_else(|e| panic!("{values:?}: {e}\n{graph}\n{plan}"));
        for (found, expected) in found.iter().zip(&expected) {
            same(found, expected, tolerance).unwrap_or_else(|e| panic!("{values:?}: {e}\n{graph}\n{plan}"));
        }
    }
}

const LENGTHS: &[&[(&str, i64)]] = &[&[("s", 1)], &[("s", 3)], &[("s", 4)], &[("s", 17)], &[("s", 50)]];

#[test]
fn maps() {
    check(
        r#"
graph "map"
symbol s: 1..50
%x: f32[1,s,6] = input
%y: f32[1,6,s] = input
%w: f32[6] = const random(3)
%a = mul(%x, %w)
%t = transpose(%y; perm=[0,2,1])
%b = add(%a, %t)
%c = relu(%y)
output "b" = %b
output "c" = %c
"#,
        LENGTHS,
    );
}

#[test]
fn reductions() {
    check(
        r#"
graph "reduce"
symbol s: 1..50
%x: f32[2,s,9] = input
%n = normalize(%x; axes=[2], epsilon=1e-5, center=true)
%a = softmax(%x; axis=1)
%t = transpose(%x; perm=[0,2,1])
%b = softmax(%t; axis=2)
%m = reduce(%x; kind=max, axes=[1], keepdims=false)
%z = reduce(%t; kind=sum, axes=[0,2], keepdims=true)
output "n" = %n
output "a" = %a
output "b" = %b
output "m" = %m
output "z" = %z
"#,
        LENGTHS,
    );
}

#[test]
fn products_with_rows_columns_and_depth_that_are_free() {
    check(
        r#"
graph "attention"
symbol b: 1..3
symbol s: 1..40
%x: f32[b,s,24] = input
%mask: f32[b,1,1,s] = input
%wq: f32[24,24] = const random(1)
%wk: f32[24,24] = const random(2)
%wv: f32[24,24] = const random(3)
%bias: f32[24] = const random(4)
%q = matmul(%x, %wq, %bias; transpose_b=false, epilogue={add(%0, %1)})
%k = matmul(%x, %wk; transpose_b=false)
%v = matmul(%x, %wv; transpose_b=false)
%q4 = reshape(%q; shape=[b,s,3,8])
%k4 = reshape(%k; shape=[b,s,3,8])
%v4 = reshape(%v; shape=[b,s,3,8])
%qt = transpose(%q4; perm=[0,2,1,3])
%kt = transpose(%k4; perm=[0,2,3,1])
%vt = transpose(%v4; perm=[0,2,1,3])
%scores = matmul(%qt, %kt, %mask; transpose_b=false, epilogue={add(mul(%0, 0.35), %1)})
%p = softmax(%scores; axis=3)
%o = matmul(%p, %vt; transpose_b=false)
%ot = transpose(%o; perm=[0,2,1,3])
%y = reshape(%ot; shape=[b,s,24])
%r = add(%y, %x)
%flat = reshape(%r; shape=[b*s,24])
output "r" = %r
output "flat" = %flat
"#,
        &[&[("b", 1), ("s", 1)], &[("b", 2), ("s", 5)], &[("b", 3), ("s", 40)], &[("b", 1), ("s", 32)], &[("b", 3), ("s", 7)]],
    );
}

#[test]
fn rows_of_a_free_batch() {
    check(
        r#"
graph "mlp"
symbol n: 1..20
%x: f32[n,10] = input
%w: f32[10,21] = const random(1)
%b: f32[21] = const random(2)
%y = matmul(%x, %w, %b; transpose_b=false, epilogue={relu(add(%0, %1))})
%z = reshape(%y; shape=[n,3,7])
%t = transpose(%z; perm=[1,0,2])
%s = softmax(%z; axis=2)
output "t" = %t
output "s" = %s
"#,
        &[&[("n", 1)], &[("n", 2)], &[("n", 13)], &[("n", 20)]],
    );
}

#[test]
fn parts_that_start_at_free_positions() {
    check(
        r#"
graph "parts"
symbol s: 1..50
%x: f32[2,s,5] = input
%ids: i64[1,s] = input
%table: f32[60,5] = const random(1)
%c = concat(%x, %x; axis=1)
%tail = slice(%c; starts=[0,s,0], counts=[2,s,5], steps=[1,1,1])
%known = slice(%table; starts=[0,0], counts=[s,5], steps=[1,1])
%sum = add(%tail, %known)
%e = gather(%table, %ids; axis=0)
%n = sizes(; dims=[s,2*s+1,floordiv(s,3),7])
%wide = expand(%e; shape=[4,s,5])
output "c" = %c
output "sum" = %sum
output "e" = %e
output "n" = %n
output "wide" = %wide
"#,
        LENGTHS,
    );
}

#[test]
fn convolutions_and_pools_over_free_images() {
    check(
        r#"
graph "image"
symbol h: 6..21
symbol w: 6..21
%x: f32[1,h,w,3] = input
%k: f32[5,3,3,3] = const random(1)
%b: f32[5] = const random(2)
%d: f32[4,5,3,3] = const random(3)
%p: f32[2,4,1,1] = const random(4)
%c = conv(%x, %k, %b; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nhwc, epilogue={relu(add(%0, %1))})
%half = conv(%c, %d; strides=[2,2], pads=[0,1,1,0], dilations=[1,1], group=1, data=nhwc)
%one = conv(%half, %p; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc)
%dw: f32[5,1,3,3] = const random(5)
%deep = conv(%c, %dw, %b; strides=[2,1], pads=[1,1,1,1], dilations=[1,1], group=5, data=nhwc, epilogue={relu(add(%0, %1))})
%max = pool(%c; kind=max, kernel=[3,3], strides=[2,2], pads=[1,1,1,1], dilations=[1,1], data=nhwc)
%sum = pool(%c; kind=sum, kernel=[2,3], strides=[1,2], pads=[0,1,0,1], dilations=[1,1], data=nhwc)
%nchw = transpose(%one; perm=[0,3,1,2])
%mean = reduce(%c; kind=sum, axes=[1,2], keepdims=false)
output "c" = %c
output "half" = %half
output "nchw" = %nchw
output "mean" = %mean
output "max" = %max
output "deep" = %deep
output "sum" = %sum
"#,
        &[&[("h", 6), ("w", 6)], &[("h", 7), ("w", 21)], &[("h", 16), ("w", 9)], &[("h", 21), ("w", 20)]],
    );
}

#[test]
fn random_graphs() {
    let mut rng = Rng(11);
    for _ in 0..25 {
        let text = free_graphs::random(&mut |n| rng.range(0, n - 1));
        let values: Vec<[(&str, i64); 2]> = free_graphs::SIZES.iter().map(|(b, s)| [("b", *b), ("s", *s)]).collect();
        // Differences of close numbers magnify what was rounded before.
        check_within(&text, &values.iter().map(|v| &v[..]).collect::<Vec<_>>(), 2e-4);
    }
}

#[test]
fn recurrences_of_free_length() {
    check(
        r#"
graph "lstm"
symbol s: 1..50
%x: f32[s,1,24] = input
%r: f32[2,12,3] = const random(2)
%h: f32[2,1,3] = const random(3)
%c: f32[2,1,3] = const random(4)
%y, %hn, %cn = recurrent(%x, %r, %h, %c; cell=lstm, direction=bidirectional, f={sigmoid(%0)}, g={tanh(%0)}, h={tanh(%0)}, input_forget=false, linear_before_reset=false, peepholes=false, lengths=false)
output "y" = %y
output "hn" = %hn
output "cn" = %cn
"#,
        LENGTHS,
    );
}

#[test]
fn routines() {
    check(
        r#"
graph "routines"
symbol s: 1..50
%x: f32[2,7,s] = input
%i: i64[2,7,s] = input
%c = gather_elements(%x, %i; axis=1)
%y = add(%c, %x)
output "c" = %c
output "y" = %y
"#,
        LENGTHS,
    );
}

#[test]
fn sizes_without_bounds_are_all_named() {
    let graph = parse_graph("graph \"g\"\nsymbol s: 1..\n%x: f32[s] = input\n%y = relu(%x)\noutput \"y\" = %y\n").unwrap();
    let errors = lower::lower(&graph, &lower::Options::default()).unwrap_err();
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(text[0], "input `x`: the size s is free; bind it, e.g. --dim s=1");
    assert_eq!(text.len(), 2);
}

/// One token, or a few, attends to keys and values that are read where they lie.
#[test]
fn products_of_few_rows() {
    for rows in [1, 3] {
        check(
            &r#"
graph "cache"
symbol s: 0..40
%q: f32[1,3,ROWS,8] = input
%k: f32[1,3,s,8] = input
%v: f32[1,3,s,12] = input
%mask: f32[1,1,1,s] = input
%scores = matmul(%q, %k, %mask; transpose_b=true, epilogue={add(mul(%0, 0.35), %1)})
%p = softmax(%scores; axis=3)
%o = matmul(%p, %v; transpose_b=false)
%odd: f32[2,6,s] = input
%w: f32[2,ROWS,6] = input
%packed = matmul(%w, %odd; transpose_b=false)
output "scores" = %scores
output "o" = %o
output "packed" = %packed
"#
            .replace("ROWS", &rows.to_string()),
            &[&[("s", 1)], &[("s", 4)], &[("s", 17)], &[("s", 39)], &[("s", 40)]],
        );
    }
}

#[test]
fn sizes_that_data_decides() {
    let text = r#"
graph "found"
symbol n: 0..24
symbol m: 0..24
%x: f32[6,4] = input
%least: f32[] = input
%above = greater(%x, %least)
%numbers = cast_i64(%above)
%count = reduce(%numbers; kind=sum, axes=[0,1], keepdims=false)
%measured = measure(%count; size=[n])
%at = nonzero(%above; count=[n])
%pairs = transpose(%at; perm=[1,0])
%list = gather_nd(%x, %pairs; batch=0)
%twice = concat(%list, %list; axis=0)
%sorted = softmax(%list; axis=0)
%one: i64[] = const [1]
%many = greater(%count, %one)
%few = if(%many, %list; then={graph "t" symbol n: 0..24 %l: f32[n] = input %y = neg(%l) output "y" = %y},
    otherwise={graph "e" symbol n: 0..24 %l: f32[n] = input %z: f32[2] = const [7, 8] output "z" = %z}, sizes=[m])
%r = relu(%few)
output "pairs" = %pairs
output "twice" = %twice
output "sorted" = %sorted
output "r" = %r
output "few" = %few
"#;
    let graph = parse_graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let plan = lower::lower(&graph, &lower::Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{graph}"));
    let x = Rng(3).tensor(ir::DType::F32, &[6, 4]);
    let mut counts = vec![];
    for least in [0.0f32, 1e9, -1e9, 0.5, 1.5] {
        let inputs = [x.clone(), Tensor::scalar(least)];
        let expected = ir::eval::eval(&graph, &inputs).unwrap_or_else(|e| panic!("{e}\n{graph}"));
        let found = execute_plan(&plan, &inputs).unwrap_or_else(|e| panic!("{least}: {e}\n{graph}\n{plan}"));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.shape, expected.shape);
            same(found, expected, 2e-6).unwrap_or_else(|e| panic!("{least}: {e}\n{graph}\n{plan}"));
        }
        counts.push(found[0].shape[0]);
    }
    assert!(counts[0] > 1 && counts[1] == 0 && counts[2] == 24, "{counts:?}");
}
