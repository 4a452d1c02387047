//! Views instead of copies: attention's heads are never moved, and readers that need dense tensors still get them.

mod common;

use common::{Rng, check, execute_plan};
use ir::DType;
use ir::text::parse_graph;

/// The projections of one product, split into heads by slices, reshapes and transposes; then the output projection.
const ATTENTION: &str = r#"
    %x: f32[1,8,16] = input
    %w: f32[16,48] = const random(1)
    %b: f32[48] = const random(2)
    %y = matmul(%x, %w, %b; epilogue={add(%0, %1)})
    %q0 = slice(%y; starts=[0,0,0], counts=[1,8,16], steps=[1,1,1])
    %k0 = slice(%y; starts=[0,0,16], counts=[1,8,16], steps=[1,1,1])
    %v0 = slice(%y; starts=[0,0,32], counts=[1,8,16], steps=[1,1,1])
    %q1 = reshape(%q0; shape=[1,8,2,8])
    %k1 = reshape(%k0; shape=[1,8,2,8])
    %v1 = reshape(%v0; shape=[1,8,2,8])
    %q = transpose(%q1; perm=[0,2,1,3])
    %k2 = transpose(%k1; perm=[0,2,1,3])
    %k3 = reshape(%k2; shape=[2,8,8])
    %k4 = transpose(%k3; perm=[0,2,1])
    %k = reshape(%k4; shape=[1,2,8,8])
    %v = transpose(%v1; perm=[0,2,1,3])
    %s = matmul(%q, %k; epilogue={mul(%0, 0.3)})
    %p = softmax(%s; axis=3)
    %o = matmul(%p, %v)
    %t = transpose(%o; perm=[0,2,1,3])
    %r = reshape(%t; shape=[1,8,16])
    %w2: f32[16,16] = const random(3)
    %z = matmul(%r, %w2)
    output "z" = %z
"#;

#[test]
fn heads_are_not_moved() {
    let graph = parse_graph(ATTENTION).unwrap();
    let plan = lower::lower(&graph, &lower::Options::default()).unwrap();
    let names: Vec<&str> = plan.steps.iter().map(|s| plan.kernels[s.kernel.0].name.as_str()).collect();
    // The keys and the values are packed for their products; nothing else is copied.
    let copies = names.iter().filter(|n| n.starts_with("copy")).count();
    assert_eq!((copies, names.len()), (2, 7), "{names:?}");
    check(&graph, &[Rng(1).tensor(DType::F32, &[1, 8, 16])], 2e-5);
}

/// Readers of a transposed slice that take it as it lies, and readers that do not.
const READERS: &[&str] = &[
    "exp(%t)",
    "add(%t, %t)",
    "softmax(%t; axis=1)",
    "softmax(%t; axis=2)",
    "reduce(%t; kind=sum, axes=[2], keepdims=false)",
    "concat(%t, %t; axis=1)",
    "matmul(%t, %t; transpose_b=true)",
    "reshape(%t; shape=[40])",
    "reshape(%t; shape=[2,5,2,2])",
    "transpose(%t; perm=[2,1,0])",
    "slice(%t; starts=[1,0,1], counts=[1,5,2], steps=[1,1,2])",
    "gather(%t, %i; axis=1)",
    "pad(%t; before=[0,1,0], after=[1,0,2], value=0.5)",
];

#[test]
fn every_reader_of_a_view() {
    let mut rng = Rng(2);
    for (source, shape) in [
        ("slice(%x; starts=[0,0,1], counts=[5,2,4], steps=[1,1,1])", [1, 0, 2]),
        ("slice(%x; starts=[0,1,0], counts=[4,2,5], steps=[1,2,1])", [1, 2, 0]),
    ] {
        for reader in READERS {
            let perm = shape.map(|d| d.to_string()).join(",");
            let text = format!(
                "%x: f32[5,4,5] = input  %e = exp(%x)  %i: i64[3] = const [4, 0, 2]  %s = {}
                 %t = transpose(%s; perm=[{perm}])  %y = {reader}  %z = exp(%y)  output \"z\" = %z",
                source.replace("%x", "%e")
            );
            let graph = parse_graph(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            check(&graph, &[rng.tensor(DType::F32, &[5, 4, 5])], 2e-5);
        }
    }
}

#[test]
fn outputs_are_dense() {
    let text = r#"
        %x: f32[4,6] = input
        %e = exp(%x)
        %t = transpose(%e; perm=[1,0])
        %s = slice(%e; starts=[0,2], counts=[4,3], steps=[1,1])
        %y = add(%s, %s)
        output "t" = %t
        output "s" = %s
        output "y" = %y
    "#;
    let graph = parse_graph(text).unwrap();
    let x = Rng(3).tensor(DType::F32, &[4, 6]);
    check(&graph, std::slice::from_ref(&x), 1e-5);
    let plan = lower::lower(&graph, &lower::Options::default()).unwrap();
    assert_eq!(execute_plan(&plan, &[x]).unwrap().len(), 3);
}
