//! `integer_layers`: where layers of models that arrive quantised become integer layers, and where they stay.

use ir::ops::Op;
use ir::text::parse_graph;
use ir::{DType, Graph, Tensor};
use passes::{Options, run};

/// A convolution between a `DequantizeLinear` and a `QuantizeLinear`, as the importer writes them.
fn network(weights: &str, scale: &str) -> String {
    format!(
        r#"
        %q: u8[1,4,6,6] = input
        %s: f32[] = {scale}
        %z: u8[] = const [120]
        %x0 = cast_f32(%q)
        %z0 = cast_f32(%z)
        %x1 = sub(%x0, %z0)
        %x = mul(%x1, %s)
        {weights}
        %b: f32[5,1,1] = const random(2)
        %y0 = conv(%x, %w; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw)
        %y1 = add(%y0, %b)
        %y2 = relu(%y1)
        %u: f32[] = const [0.75]
        %r0 = div(%y2, %u)
        %r1 = round(%r0)
        %v: f32[] = const [3.0]
        %r2 = add(%r1, %v)
        %r3 = map(%r2; body={{clamp(%0, 0.0, 255.0)}})
        %r = cast_u8(%r3)
        output "r" = %r
        "#
    )
}

const WEIGHTS: &str = r#"
        %p: i8[5,4,3,3] = const random(1)
        %t: f32[5,1,1,1] = const [0.01, 0.02, 0.03, 0.04, 0.05]
        %w0 = cast_f32(%p)
        %w = mul(%w0, %t)"#;

fn rewritten(text: &str) -> (Graph, Graph) {
    let before = parse_graph(text).unwrap();
    let mut after = before.clone();
    run(&mut after, &Options { only: Some(vec!["integer_layers".into()]), ..Options::default() }, &mut |_| {}).unwrap();
    (before, after)
}

fn product_types(graph: &Graph) -> Vec<DType> {
    let product = |id: &ir::NodeId| matches!(graph.node(*id).op, Op::Conv(_) | Op::MatMul(_));
    graph.order().iter().filter(|id| product(id)).map(|id| graph.ty(graph.node(*id).inputs[0]).dtype).collect()
}

#[test]
fn a_layer_between_grids_is_one_integer_layer() {
    let (before, after) = rewritten(&network(WEIGHTS, "const [0.5]"));
    assert_eq!(product_types(&after), [DType::U8]);
    assert_eq!(after.order().len(), 1, "{after}");
    for seed in 0..4 {
        let q = Tensor::random(DType::U8, &[1, 4, 6, 6], seed);
        let [b, a] = [&before, &after].map(|g| ir::eval::eval(g, std::slice::from_ref(&q)).unwrap().remove(0));
        let apart = b.as_slice::<u8>().iter().zip(a.as_slice::<u8>()).map(|(b, a)| b.abs_diff(*a)).max();
        assert!(apart <= Some(1), "{apart:?} steps apart");
    }
}

#[test]
fn what_is_not_known_or_does_not_fit_stays() {
    // A scale that is an input.
    let (_, after) = rewritten(&network(WEIGHTS, "input"));
    assert_eq!(product_types(&after), [DType::F32]);
    // Elements less their zero point that need nine bits.
    let wide = r#"
        %p: u8[5,4,3,3] = const random(1)
        %n: f32[] = const [200.0]
        %t: f32[] = const [0.01]
        %w0 = cast_f32(%p)
        %w1 = sub(%w0, %n)
        %w = mul(%w1, %t)"#;
    let (_, after) = rewritten(&network(wide, "const [0.5]"));
    assert_eq!(product_types(&after), [DType::F32]);
}

#[test]
fn operands_of_epilogues_are_read_as_elements() {
    let text = r#"
        %q: u8[1,4,6,6] = input
        %w: i8[4,4,1,1] = const random(1)
        %r = map(%q; body={mul(sub(cast_f32(%0), 3.0), 0.5)})
        %y = conv(%q, %w, %r; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nchw, epilogue={add(mul(cast_f32(%0), 0.25), %1)})
        output "y" = %y
        output "r" = %r
    "#;
    let before = parse_graph(text).unwrap();
    let mut after = before.clone();
    run(&mut after, &Options { only: Some(vec!["fuse_pointwise".into()]), ..Options::default() }, &mut |_| {}).unwrap();
    let conv = after.order().into_iter().find(|id| matches!(after.node(*id).op, Op::Conv(_))).unwrap();
    assert_eq!(after.node(conv).inputs[2], after.inputs[0], "{after}");
    let q = Tensor::random(DType::U8, &[1, 4, 6, 6], 5);
    let [b, a] = [&before, &after].map(|g| ir::eval::eval(g, std::slice::from_ref(&q)).unwrap().remove(0));
    assert_eq!(b.bytes(), a.bytes());
}
