//! Concatenations whose operands are computed in place: by every kind of writer, for every reader, and with nothing copied.

mod common;

use common::{Rng, check, check_with, execute_plan, same};
use ir::text::parse_graph;
use ir::{DType, Graph, Tensor};

fn parse(text: &str) -> Graph {
    let graph = parse_graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    ir::verify::verify(&graph).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    graph
}

fn copies(graph: &Graph, options: &lower::Options) -> usize {
    let plan = lower::lower(graph, options).unwrap();
    plan.steps.iter().filter(|step| plan.kernels[step.kernel.0].name.starts_with("copy")).count()
}

/// Results `f32[1,6,5,12]` of two inputs of that shape.
const WRITERS: &[&str] = &[
    "exp(%X)",
    "add(%X, %X)",
    "softmax(%X; axis=3)",
    "normalize(%X; axes=[1], epsilon=1e-5, center=true)",
    "conv(%X, %w1; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc, epilogue={relu(%0)})",
    "conv(%X, %w3; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nhwc)",
    "conv(%X, %wd; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=12, data=nhwc)",
    "matmul(%X, %m; epilogue={tanh(%0)})",
    "pool(%X; kind=max, kernel=[3,3], strides=[1,1], pads=[1,1,1,1], dilations=[1,1], data=nhwc)",
    "pad(%X; before=[0,0,0,0], after=[0,0,0,0], value=0.0)",
    "gather(%X, %i; axis=1)",
    "concat(%X, %X; axis=0)",
];

/// Readers of one of the operands.
const READERS: &[&str] = &[
    "exp(%a)",
    "softmax(%a; axis=2)",
    "reduce(%a; kind=sum, axes=[3], keepdims=false)",
    "matmul(%a, %m)",
    "conv(%a, %w1; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc)",
    "conv(%a, %w3; strides=[2,2], pads=[1,1,1,1], dilations=[1,1], group=1, data=nhwc)",
    "pool(%a; kind=max, kernel=[2,2], strides=[2,2], pads=[0,0,0,0], dilations=[1,1], data=nhwc)",
    "reshape(%a; shape=[360])",
    "transpose(%a; perm=[0,3,1,2])",
    "gather(%a, %i; axis=3)",
    "relu(%z)",
];

const WEIGHTS: &str = "%x: f32[1,6,5,12] = input  %y: f32[1,6,5,12] = input  %i: i64[6] = const [4, 0, 2, 5, 1, 1]
    %w1: f32[12,12,1,1] = const random(1)  %w3: f32[12,12,3,3] = const random(2)  %wd: f32[12,1,3,3] = const random(3)
    %m: f32[12,12] = const random(4)\n";

#[test]
fn every_writer_and_reader() {
    let mut rng = Rng(1);
    for (n, writer) in WRITERS.iter().enumerate() {
        for (r, reader) in READERS.iter().enumerate() {
            let other = WRITERS[(n + r) % (WRITERS.len() - 1)];
            let axis = if writer.starts_with("concat") { 0 } else { [3, 1, 0, 2][(n + r) % 4] };
            let (a, b) = (writer.replace("%X", "%e"), other.replace("%X", "%f"));
            let text = format!(
                "{WEIGHTS} %e = exp(%x)  %f = exp(%y)  %a = {a}  %b = {b}  %z = concat(%a, %e, %b; axis={axis})  %q = {reader}
                 %r = neg(%z)  output \"q\" = %q  output \"r\" = %r  output \"z\" = %z"
            );
            let graph = parse(&if writer.starts_with("concat") { text.replace("[360]", "[720]") } else { text });
            let inputs = [rng.tensor(DType::F32, &[1, 6, 5, 12]), rng.tensor(DType::F32, &[1, 6, 5, 12])];
            check(&graph, &inputs, 5e-5);
            let options = lower::Options { winograd: true, relaxed: true, ..lower::Options::default() };
            check_with(&graph, &inputs, 2e-4, &options);
        }
    }
}

#[test]
fn branches_are_not_copied() {
    // Squeeze and two expansions; an operand with a margin for a padded reader of the whole.
    let text = "%x: f32[1,8,8,16] = input  %s: f32[8,16,1,1] = const random(1)  %e1: f32[24,8,1,1] = const random(2)
        %e3: f32[12,8,3,3] = const random(3)  %o: f32[8,36,3,3] = const random(4)
        %a = conv(%x, %s; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc, epilogue={relu(%0)})
        %b = conv(%a, %e1; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc, epilogue={relu(%0)})
        %c = conv(%a, %e3; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nhwc, epilogue={relu(%0)})
        %z = concat(%b, %c; axis=3)
        %y = conv(%z, %o; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nhwc)  output \"y\" = %y";
    let graph = parse(text);
    check(&graph, &[Rng(2).tensor(DType::F32, &[1, 8, 8, 16])], 2e-5);
    assert_eq!(copies(&graph, &lower::Options::default()), 0);
}

/// A block whose layers read everything before them.
fn dense_block(layers: usize) -> Graph {
    let mut text = "%x: f32[1,5,5,16] = input  %f0 = exp(%x)\n".to_string();
    for layer in 1..=layers {
        let operands: Vec<String> = (0..layer).map(|i| format!("%f{i}")).collect();
        let channels = 16 + 8 * (layer - 1);
        let all = if layer == 1 { "%f0".into() } else { format!("concat({}; axis=3)", operands.join(", ")) };
        text += &format!(
            "%w{layer}: f32[8,{channels},1,1] = const random({layer})  
             %c{layer} = {all}  %n{layer} = relu(%c{layer})
             %f{layer} = conv(%n{layer}, %w{layer}; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc)\n"
        )
        .replace("%c1 = %f0 ", "")
        .replace("%n1 = relu(%c1)", "%n1 = relu(%f0)");
    }
    let operands: Vec<String> = (0..=layers).map(|i| format!("%f{i}")).collect();
    parse(&format!("{text} %z = concat({}; axis=3)  %y = tanh(%z)  output \"y\" = %y", operands.join(", ")))
}

#[test]
fn dense_blocks_are_not_copied() {
    let graph = dense_block(5);
    check(&graph, &[Rng(3).tensor(DType::F32, &[1, 5, 5, 16])], 2e-5);
    assert_eq!(copies(&graph, &lower::Options::default()), 0);
}

#[test]
fn what_waits_for_its_neighbours_takes_no_more_memory() {
    // Between the two operands, something needs much more memory than the rest.
    let text = "%x: f32[1,64,64] = input  %a = exp(%x)  %t = concat(%a, %a, %a, %a; axis=1)  %u = tanh(%t)  %v = relu(%u)
        %b = reduce(%v; kind=max, axes=[1], keepdims=true)  %w: f32[64,64] = const random(1)
        %c = expand(%b; shape=[1,64,64])  %d = matmul(%c, %w)  %z = concat(%a, %d; axis=2)  output \"z\" = %z";
    let graph = parse(text);
    check(&graph, &[Rng(4).tensor(DType::F32, &[1, 64, 64])], 2e-5);
    let plan = lower::lower(&graph, &lower::Options::default()).unwrap();
    // The input is one of them; four times its size twice, for a map in place or not.
    assert!(plan.arena_bytes <= 10 * 64 * 64 * 4, "{}", plan.arena_bytes);
}

#[test]
fn free_sizes() {
    let text = r#"
graph "free"
symbol s: 1..20
%x: f32[1,s,12] = input
%w: f32[12,20] = const random(1)
%a = matmul(%x, %w; epilogue={relu(%0)})
%b = tanh(%x)
%n = normalize(%x; axes=[2], epsilon=1e-5, center=true)
%z = concat(%a, %b, %n; axis=2)
%p = softmax(%a; axis=2)
%q = exp(%z)
%r = concat(%b, %b, %n; axis=1)
output "p" = %p
output "q" = %q
output "r" = %r
"#;
    let graph = parse(text);
    let plan = lower::lower(&graph, &lower::Options::default()).unwrap();
    let mut rng = Rng(5);
    for s in [1, 3, 4, 17, 20] {
        let inputs: [Tensor; 1] = [rng.tensor(DType::F32, &[1, s, 12])];
        let expected = ir::eval::eval(&graph, &inputs).unwrap();
        let found = execute_plan(&plan, &inputs).unwrap_or_else(|e| panic!("{s}: {e}\n{plan}"));
        for (found, expected) in found.iter().zip(&expected) {
            same(found, expected, 2e-6).unwrap_or_else(|e| panic!("{s}: {e}\n{plan}"));
        }
    }
}
