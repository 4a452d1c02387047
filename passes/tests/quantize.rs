//! Quantisation: what a small network becomes, that its results stay near, and what is left alone.

use expect_test::expect;
use ir::ops::Op;
use ir::text::parse_graph;
use ir::{DType, Graph, Tensor};
use passes::quantize::{Applied, ChannelStatistics, Observed, Plan, Scheme, Settings, apply, observed};
use std::collections::{BTreeMap, BTreeSet};

/// Every kind of edge: a residual sum, a depthwise layer, pooling, joined channels, a mean, a classifier.
const NETWORK: &str = r#"
    %x: f32[1,3,8,8] = input
    %w0: f32[8,3,3,3] = const random(1)
    %b0: f32[8,1,1] = const random(2)
    %a = conv(%x, %w0, %b0; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw, epilogue={clamp(add(%0, %1), 0.0, 6.0)})
    %w1: f32[8,1,3,3] = const random(3)
    %b = conv(%a, %w1; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=8, data=nchw, epilogue={relu(%0)})
    %w2: f32[8,8,1,1] = const random(4)
    %c = conv(%b, %w2, %a; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nchw, epilogue={add(%0, %1)})
    %p = pool(%c; kind=max, kernel=[2,2], strides=[2,2], pads=[0,0,0,0], dilations=[1,1], data=nchw)
    %q = pool(%a; kind=sum, kernel=[2,2], strides=[2,2], pads=[0,0,0,0], dilations=[1,1], data=nchw, epilogue={mul(%0, 0.25)})
    %j = concat(%p, %q; axis=1)
    %w3: f32[6,16,3,3] = const random(5)
    %d = conv(%j, %w3; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw, epilogue={mul(%0, sigmoid(%0))})
    %m = reduce(%d; kind=sum, axes=[2,3], keepdims=false, epilogue={mul(%0, 0.0625)})
    %w4: f32[6,5] = const random(6)
    %y = matmul(%m, %w4)
    output "y" = %y
"#;

/// What calibration would find, on a few random inputs.
fn ranges(graph: &Graph, inputs: &[Tensor]) -> BTreeMap<String, Observed> {
    let mut probed = graph.clone();
    let points = observed(graph);
    probed.outputs.clear();
    points.iter().for_each(|p| probed.add_output(&p.name, p.value));
    let mut found: BTreeMap<String, Observed> = BTreeMap::new();
    for input in inputs {
        for (point, tensor) in points.iter().zip(ir::eval::eval(&probed, std::slice::from_ref(input)).unwrap()) {
            let seen = found.entry(point.name.clone()).or_default();
            let n = tensor.shape[point.axis];
            let inner: usize = tensor.shape[point.axis + 1..].iter().product();
            let channels = seen.channels.get_or_insert_with(|| ChannelStatistics {
                low: vec![f32::INFINITY; n],
                high: vec![f32::NEG_INFINITY; n],
                mean: vec![0.0; n],
                square: vec![0.0; n],
            });
            let count = (tensor.len() / n * inputs.len()) as f32;
            for (i, x) in tensor.as_slice::<f32>().iter().enumerate() {
                let c = i / inner % n;
                (seen.low, seen.high) = (seen.low.min(*x), seen.high.max(*x));
                (channels.low[c], channels.high[c]) = (channels.low[c].min(*x), channels.high[c].max(*x));
                channels.mean[c] += x / count;
                channels.square[c] += x * x / count;
            }
        }
    }
    found
}

fn settings(ranges: BTreeMap<String, Observed>) -> Settings {
    Settings { scheme: Scheme::Static, ranges, feedback: BTreeMap::new(), keep: BTreeSet::new() }
}

fn quantised(graph: &Graph, settings: &Settings) -> (Graph, Applied) {
    let mut quantised = graph.clone();
    let applied = apply(&mut quantised, settings).unwrap();
    ir::verify::verify(&quantised).unwrap();
    (quantised, applied)
}

/// Energy of the f32 results over that of the difference, in decibels.
fn decibels(before: &Graph, after: &Graph, inputs: &[Tensor]) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for input in inputs {
        let run = |graph: &Graph| ir::eval::eval(graph, std::slice::from_ref(input)).unwrap()[0].to_f64s();
        for (e, f) in run(before).into_iter().zip(run(after)) {
            signal += e * e;
            noise += (e - f) * (e - f);
        }
    }
    10.0 * (signal / noise).log10()
}

fn inputs(shape: &[usize]) -> Vec<Tensor> {
    (10..14).map(|seed| Tensor::random(DType::F32, shape, seed)).collect()
}

#[test]
fn a_network_stays_in_8_bits_between_its_ends() {
    let graph = parse_graph(NETWORK).unwrap();
    let inputs = inputs(&[1, 3, 8, 8]);
    let ranges = ranges(&graph, &inputs);
    let (after, applied) = quantised(&graph, &settings(ranges.clone()));
    assert_eq!((applied.layers.len(), applied.kept.len()), (5, 0));
    for id in after.order() {
        let node = after.node(id);
        if matches!(node.op, Op::Conv(_) | Op::MatMul(_)) {
            let types = [0, 1].map(|i| after.ty(node.inputs[i]).dtype);
            assert_eq!(types, [DType::U8, DType::I8]);
        }
        let result = after.ty(node.outputs[0]);
        let is_output = after.outputs[0].value == node.outputs[0];
        assert!(result.dtype != DType::F32 || is_output, "{} is {result}", node.op.name());
    }
    let near = decibels(&graph, &after, &inputs);
    assert!(near > 30.0, "{near:.1} dB");
    // Without statistics of channels: one scale per tensor, no correction of biases.
    let plain = ranges.into_iter().map(|(name, seen)| (name, Observed { channels: None, ..seen })).collect();
    let rough = decibels(&graph, &quantised(&graph, &settings(plain)).0, &inputs);
    assert!(rough > 25.0 && rough < near, "{rough:.1} dB, {near:.1} dB with channels");
}

#[test]
fn a_layer_becomes_sums_and_one_rounding() {
    let graph = parse_graph(
        r#"
        %x: f32[1,2,4,4] = input
        %w: f32[2,2,3,3] = const random(1)
        %b: f32[2,1,1] = const random(2)
        %h = conv(%x, %w, %b; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw, epilogue={clamp(add(%0, %1), 0.0, 6.0)})
        %y = conv(%h, %w, %h; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw, epilogue={relu(add(%0, %1))})
        output "y" = %y
        "#,
    )
    .unwrap();
    let seen = |low: f32, high: f32| Observed { low, high, channels: None };
    let ranges = BTreeMap::from([("x".to_string(), seen(-1.0, 1.0)), ("h".to_string(), seen(0.0, 4.0))]);
    let (mut after, _) = quantised(&graph, &settings(ranges));
    after.compact();
    expect![[r#"
        graph ""
        %0 "x": f32[1,2,4,4] = input
        %1 "x": u8[1,2,4,4] = map(%0; body={cast_u8(clamp(add(round(mul(%0, 127.49999237060547)), 127.0), 0.0, 255.0))}) @ "h"
        %2 "w": i8[2,2,3,3] = const #47878418807a066a
        %3 "h.bias": i32[2,1,1] = const [-47157, 48745]
        %4 "h.scale": f32[2,1,1] = const [0.0037086827, 0.0039192745]
        %5 "h": u8[1,2,4,4] = conv(%1, %2, %3, %4; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw, pad_value=127, epilogue={cast_u8(clamp(round(mul(cast_f32(add(%0, %1)), %2)), 0.0, 255.0))}) @ "h"
        %6 "w": i8[2,2,3,3] = const #47878418807a066a
        %7 "y.bias": i32[2,1,1] = const [0, 0]
        %8 "y.scale": f32[2,1,1] = const [0.000116350835, 0.00012295764]
        %9 "y": f32[1,2,4,4] = conv(%5, %6, %7, %8, %5; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw, epilogue={relu(add(mul(cast_f32(add(%0, %1)), %2), mul(cast_f32(%3), 0.01568627543747425)))}) @ "y"
        output "y" = %9
    "#]].assert_eq(&after.to_string());
}

#[test]
fn what_the_settings_keep_stays() {
    let graph = parse_graph(NETWORK).unwrap();
    let inputs = inputs(&[1, 3, 8, 8]);
    let mut settings = settings(ranges(&graph, &inputs));
    settings.keep = ["c".to_string(), "y".to_string()].into();
    let (after, applied) = quantised(&graph, &settings);
    let kept: Vec<_> = applied.kept.iter().map(|(name, _, why)| (name.as_str(), why.text())).collect();
    assert_eq!(kept, [("c", "it is sensitive"), ("y", "it is sensitive")]);
    assert_eq!(applied.layers.len(), 3);
    assert!(decibels(&graph, &after, &inputs) > 30.0);
}

#[test]
fn a_tensor_without_a_range_is_named() {
    let mut graph = parse_graph(NETWORK).unwrap();
    let error = apply(&mut graph, &settings(BTreeMap::new())).unwrap_err().to_string();
    assert!(error.starts_with("there is no range for the tensor `"), "{error}");
}

#[test]
fn products_of_two_computed_matrices_stay() {
    let text = "%a: f32[4,8] = input  %b: f32[8,4] = input  %y = matmul(%a, %b)  output \"y\" = %y";
    let graph = parse_graph(text).unwrap();
    assert!(observed(&graph).is_empty());
    let (after, applied) = quantised(&graph, &settings(BTreeMap::new()));
    assert_eq!(after.to_string(), graph.to_string());
    assert_eq!(applied.kept[0].2.text(), "both operands are computed, none are weights");
}

#[test]
fn rows_are_quantised_when_they_are_known() {
    let text = r#"
        %x: f32[2,5,16] = input
        %w: f32[16,12] = const random(1)
        %b: f32[12] = const random(2)
        %h = matmul(%x, %w, %b; epilogue={relu(add(%0, %1))})
        %v: f32[7,12] = const random(3)
        %y = matmul(%h, %v; transpose_b=true)
        output "y" = %y
    "#;
    let graph = parse_graph(text).unwrap();
    let inputs = inputs(&[2, 5, 16]);
    let (after, applied) =
        quantised(&graph, &Settings { scheme: Scheme::Dynamic, ranges: BTreeMap::new(), feedback: BTreeMap::new(), keep: BTreeSet::new() });
    assert_eq!(applied.layers.len(), 2);
    let near = decibels(&graph, &after, &inputs);
    assert!(near > 35.0, "{near:.1} dB");
    // A row of zeros stays one.
    let zeros = Tensor::zeros(DType::F32, &[2, 5, 16]);
    let [before, found] = [&graph, &after].map(|g| ir::eval::eval(g, std::slice::from_ref(&zeros)).unwrap()[0].to_f64s());
    assert!(before.iter().zip(&found).all(|(b, f)| (b - f).abs() < 0.05 && f.is_finite()), "{before:?} {found:?}");
}

#[test]
fn weights_are_stored_in_fewer_bits() {
    let text = "%x: f32[2,64] = input  %w: f32[64,80] = const random(1)  %y = matmul(%x, %w)  output \"y\" = %y";
    let graph = parse_graph(text).unwrap();
    let inputs = inputs(&[2, 64]);
    // Blocks of 32 along the columns, each with a scale of two bytes.
    let cases = [
        // Rounded constants: the lowering stores them.
        (passes::WeightType::F16, 64 * 80 * 4, 60.0),
        (passes::WeightType::Int8, 64 * 80 + 80 * 4, 40.0),
        (passes::WeightType::Int4, 64 * 80 / 2 + 2 * 80 * 2, 20.0),
    ];
    for (weights, bytes, least) in cases {
        let mut after = graph.clone();
        let options = passes::Options { weights: Some(weights), ..passes::Options::default() };
        passes::run(&mut after, &options, &mut |_| {}).unwrap();
        let constants = after.value_ids().filter_map(|v| after.constant(v).cloned());
        assert_eq!(constants.map(|c| c.bytes().len()).sum::<usize>(), bytes);
        let near = decibels(&graph, &after, &inputs);
        assert!(near > least, "{weights:?}: {near:.1} dB");
    }
}

/// Weights that are whole numbers times scales, as a folded `DequantizeLinear` with blocks of 16 along the depth leaves them.
#[test]
fn weights_on_a_grid_are_stored_as_whole_numbers() {
    let network = |zero: f64, to: &str| {
        format!(
            r#"
            %x: f32[2,64] = input
            %q: {to}[4,16,80] = const random(1)
            %t: f32[4,1,80] = const random(2)
            %s = abs(%t)
            %n = map(%q; body={{sub(cast_f32(%0), {zero:?})}})
            %b = mul(%n, %s)
            %w = reshape(%b; shape=[64,80])
            %y = matmul(%x, %w)
            output "y" = %y
            "#
        )
    };
    // Numbers from −8 to 7; from −3 to 12, with offsets; a signed type.
    for (zero, to, offsets) in [(8.0, "u8", 0), (3.0, "u8", 4 * 80), (0.0, "i8", 0)] {
        let graph = parse_graph(&network(zero, to)).unwrap();
        let mut after = graph.clone();
        passes::run(&mut after, &passes::Options::default(), &mut |_| {}).unwrap();
        let bytes: usize = after.value_ids().filter_map(|v| after.constant(v)).map(|c| c.bytes().len()).sum();
        assert_eq!(bytes, 64 * 80 / 2 + 4 * 80 * 4 + offsets, "{to}, zero {zero}: {after}");
        for x in inputs(&[2, 64]) {
            let [before, found] = [&graph, &after].map(|g| ir::eval::eval(g, std::slice::from_ref(&x)).unwrap().remove(0));
            assert_eq!(before.bytes(), found.bytes(), "nothing is lost");
        }
    }
}

#[test]
fn rows_of_tables_are_expanded_when_they_are_looked_up() {
    let text = "%i: i64[5] = input  %w: f32[128,64] = const random(1)  %y = gather(%w, %i; axis=0)  output \"y\" = %y";
    let graph = parse_graph(text).unwrap();
    let rows = Tensor::new(&[5], &[3i64, 127, 0, 64, 3]);
    for weights in [passes::WeightType::F16, passes::WeightType::Int8, passes::WeightType::Int4] {
        let mut after = graph.clone();
        passes::run(&mut after, &passes::Options { weights: Some(weights), ..passes::Options::default() }, &mut |_| {}).unwrap();
        let largest = after.order().iter().map(|n| after.ty(after.node(*n).outputs[0]).elements().as_const()).max();
        assert_eq!(largest, Some(Some(5 * 64)), "{weights:?}: {after}");
        let near = decibels(&graph, &after, std::slice::from_ref(&rows));
        assert!(near > 20.0, "{weights:?}: {near:.1} dB");
    }
}

/// Two layers without margins around a sum, whose channels lie far from zero.
#[test]
fn channels_have_middles_where_biases_can_take_them() {
    let graph = parse_graph(
        r#"
        %x: f32[1,4,5,5] = input
        %w0: f32[6,4,1,1] = const random(1)
        %b0: f32[6,1,1] = const [90.0, -70.0, 50.0, -1.0, 2.0, 0.0]
        %a = conv(%x, %w0, %b0; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nchw, epilogue={add(%0, %1)})
        %w1: f32[6,6,1,1] = const random(2)
        %b1: f32[6,1,1] = const [-40.0, 30.0, 0.0, 60.0, 1.0, 9.0]
        %b = conv(%a, %w1, %b1, %a; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nchw, epilogue={add(add(%0, %1), %2)})
        %w2: f32[3,6,1,1] = const random(3)
        %c = conv(%b, %w2; strides=[1,1], pads=[0,0,0,0], dilations=[1,1], group=1, data=nchw, epilogue={mul(%0, 0.01)})
        %d = map(%a; body={sigmoid(mul(%0, 0.05))})
        %w3: f32[3,6,3,3] = const random(4)
        %e = conv(%d, %w3, %c; strides=[1,1], pads=[1,1,1,1], dilations=[1,1], group=1, data=nchw, epilogue={add(%0, %1)})
        output "y" = %e
        "#,
    )
    .unwrap();
    let inputs = inputs(&[1, 4, 5, 5]);
    let ranges = ranges(&graph, &inputs);
    let (after, applied) = quantised(&graph, &settings(ranges.clone()));
    let stored = |name: &str| &applied.tensors.iter().find(|t| t.0 == name).unwrap().2;
    assert!(stored("x").middle.is_some() && stored("a").middle.is_some() && stored("b").middle.is_some());
    assert!(stored("d").middle.is_none(), "its reader has margins of zeros");
    let near = decibels(&graph, &after, &inputs);
    let plain = ranges.into_iter().map(|(name, seen)| (name, Observed { channels: None, ..seen })).collect();
    let rough = decibels(&graph, &quantised(&graph, &settings(plain)).0, &inputs);
    assert!(near > rough + 2.0, "{near:.1} dB, {rough:.1} dB with one grid for all channels");
    // What subtracts a middle or adds one is a bias: the sum's expression is that of a layer with zero points.
    let sum = after.order().into_iter().map(|id| after.node(id)).find(|n| after.value(n.outputs[0]).name == "b").unwrap();
    let epilogue = sum.op.def().epilogue().unwrap().to_string();
    expect!["{cast_u8(clamp(add(round(add(mul(cast_f32(add(%0, %1)), %2), mul(sub(cast_f32(%3), 128.0), %4))), 128.0), 0.0, 255.0))}"]
        .assert_eq(&epilogue);
}

/// A depthwise layer that stays f32 reads real numbers, and rounds for its reader.
#[test]
fn a_layer_that_stays_rounds_its_results() {
    let graph = parse_graph(NETWORK).unwrap();
    let inputs = inputs(&[1, 3, 8, 8]);
    let ranges = ranges(&graph, &inputs);
    let plan = Plan::of(&graph, &BTreeSet::new());
    let depthwise: Vec<_> = plan.depthwise(&graph).map(|id| graph.node(id).outputs[0]).collect();
    assert_eq!(depthwise.iter().map(|v| graph.value(*v).name.as_str()).collect::<Vec<_>>(), ["b"]);
    let spared = Settings { keep: BTreeSet::from(["b".to_string()]), ..settings(ranges) };
    let (after, applied) = quantised(&graph, &spared);
    assert_eq!((applied.layers.len(), applied.kept.len()), (4, 1));
    let node = after.order().into_iter().map(|id| after.node(id)).find(|n| after.value(n.outputs[0]).name == "b").unwrap();
    let types = [node.inputs[0], node.inputs[1], node.outputs[0]].map(|v| after.ty(v).dtype);
    assert_eq!(types, [DType::F32, DType::F32, DType::U8]);
    let near = decibels(&graph, &after, &inputs);
    assert!(near > 40.0, "{near:.1} dB");
}
