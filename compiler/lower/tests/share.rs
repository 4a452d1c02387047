//! Kernels that differ in sizes only become one: the same results by the same records in all variants.

mod common;

use common::{Rng, execute_plan};
use ir::{DType, Tensor};
use lower::plan::Arg;
use lower::{Options, lower, lower_like, share};

/// Three layers that differ in sizes, one in its epilogue, and one that is all of a kind.
const TEXT: &str = "graph \"net\"
%x: f32[1,12,12,24] = input
%w1: f32[40,24,1,1] = const random(1)
%b1: f32[40] = const random(2)
%y1 = conv(%x, %w1, %b1; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc, epilogue={add(%0, %1)})
%w2: f32[32,40,1,1] = const random(3)
%b2: f32[32] = const random(4)
%y2 = conv(%y1, %w2, %b2; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc, epilogue={add(%0, %1)})
%w3: f32[48,32,1,1] = const random(5)
%b3: f32[48] = const random(6)
%y3 = conv(%y2, %w3, %b3; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc, epilogue={add(%0, %1)})
%w4: f32[48,48,1,1] = const random(7)
%y4 = conv(%y3, %w4; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nhwc)
%r = relu(%y4)
%h = relu(%y1)
output \"y\" = %r
output \"h\" = %h
";

#[test]
fn kernels_that_differ_in_sizes_only_become_one() {
    let graph = ir::text::parse_graph(TEXT).unwrap_or_else(|e| panic!("{e}"));
    ir::verify::verify(&graph).unwrap();
    let plan = lower(&graph, &Options::default()).unwrap();
    let relaxed = lower_like(&graph, &Options { relaxed: true, ..Options::default() }, &plan).unwrap();
    let x = Rng(7).tensor(DType::F32, &[1, 12, 12, 24]);
    let run =
        |plan: &lower::Plan| -> Vec<Tensor> { execute_plan(plan, std::slice::from_ref(&x)).unwrap_or_else(|e| panic!("{e}\n{plan}")) };
    let before = [plan.clone(), relaxed.clone()];
    let mut shared = before.clone();
    share(&mut shared);
    for (before, shared) in before.iter().zip(&shared) {
        assert_eq!(run(shared), run(before), "{shared}");
        let contracts = |plan: &lower::Plan| plan.kernels.iter().filter(|k| k.name.starts_with("contract")).count();
        assert_eq!((contracts(before), contracts(shared)), (4, 2), "{shared}");
        // The layers of one kernel.
        let first = shared.steps.iter().find(|s| s.macs > 0).unwrap();
        let scalars = |args: &[Arg]| args.iter().filter(|arg| matches!(arg, Arg::Scalar(_))).count();
        assert_eq!(shared.steps.iter().filter(|s| s.kernel == first.kernel).count(), 3);
        assert!(shared.steps.iter().filter(|s| s.kernel == first.kernel).all(|s| scalars(&s.args) == scalars(&first.args)));
        assert!(shared.steps.iter().all(|s| s.kernel.0 < shared.kernels.len() && s.args.len() == shared.kernels[s.kernel.0].params.len()));
    }
    let records = |plan: &lower::Plan| plan.steps.iter().map(|s| s.args.clone()).collect::<Vec<_>>();
    assert_eq!(records(&shared[0]), records(&shared[1]));
}

#[test]
fn sizes_of_innermost_loops_are_code() {
    use kernel::K;
    // Two lengths of rows share; two distances between elements do not.
    let kernel = |rows: i32, row: i32, element: u32| {
        let mut k = K::new("scale_f32");
        let x = k.arena("x");
        k.for_("r", 0, rows, 1, |k, r| {
            let at = k.let_("at", x + r * row);
            k.for_("i", at, at + row, 4, |k, i| {
                let value = kernel::load::<kernel::F32>(i, element);
                k.store(i, 0, value);
            });
        });
        k.finish()
    };
    let sizes = [kernel(3, 64, 4), kernel(5, 48, 4), kernel(3, 64, 8)].map(|k| k.sizes());
    assert_eq!(sizes[0].code, sizes[1].code);
    assert_ne!(sizes[0].code, sizes[2].code);
    // The end of the rows, a row as a factor (a shift before) and as a summand; two starts.
    assert_eq!(sizes[0].values, [0, 3, 64, 64]);
    assert_eq!(sizes[1].values, [0, 5, 48, 48]);
}
