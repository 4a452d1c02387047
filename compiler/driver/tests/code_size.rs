//! Budgets of generated code: a network with the layers of MobileNetV2 at 224² (Sandler et al. 2018, table 2), with random weights.

use link::{Kind, LinkInfo, link_variants, read_image};
use lower::plan::Method;
use std::fmt::Write;

/// Bytes of one variant's code, as it is and as Brotli makes it.
const MOST: (usize, usize) = (60_000, 14_000);

/// The graph as the passes leave it: channels last, biases and clamps within the convolutions.
fn mobilenet_v2() -> ir::Graph {
    let mut text = "graph \"mobilenet_v2\"\n%x: f32[1,3,224,224] = input\n%v0 = transpose(%x; perm=[0,2,3,1])\n".to_string();
    let mut number = 0;
    let mut conv = |from: &str, [inputs, outputs, kernel, stride]: [usize; 4], ends: &str| {
        number += 1;
        let group = if inputs == outputs && kernel == 3 { inputs } else { 1 };
        let pad = kernel / 2;
        let extra = ends.strip_prefix("add ").map_or(String::new(), |residual| format!(", {residual}"));
        let epilogue = match ends {
            "clamp" => "clamp(add(%0, %1), 0.0, 6.0)",
            "" => "add(%0, %1)",
            _ => "add(add(%0, %1), %2)",
        };
        writeln!(
            text,
            "%w{number}: f32[{outputs},{},{kernel},{kernel}] = const random({number})\n%b{number}: f32[{outputs}] = const random({number})
             %v{number} = conv({from}, %w{number}, %b{number}{extra}; strides=[{stride},{stride}], pads=[{pad},{pad},{pad},{pad}], \
             dilations=[1,1], group={group}, data=nhwc, epilogue={{{epilogue}}})",
            inputs / group
        )
        .unwrap();
        format!("%v{number}")
    };
    let mut at = conv("%v0", [3, 32, 3, 2], "clamp");
    let mut channels = 32;
    // Expansion, channels, repetitions, stride.
    for [expansion, outputs, repetitions, stride] in
        [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
    {
        for i in 0..repetitions {
            let (hidden, stride) = (channels * expansion, if i == 0 { stride } else { 1 });
            let wide = if expansion == 1 { at.clone() } else { conv(&at, [channels, hidden, 1, 1], "clamp") };
            let deep = conv(&wide, [hidden, hidden, 3, stride], "clamp");
            let residual = if i > 0 { format!("add {at}") } else { String::new() };
            at = conv(&deep, [hidden, outputs, 1, 1], &residual);
            channels = outputs;
        }
    }
    at = conv(&at, [channels, 1280, 1, 1], "clamp");
    text += &format!(
        "%m = reduce({at}; kind=sum, axes=[1,2], keepdims=false, epilogue={{mul(%0, 0.02040816)}})\n%wf: f32[1280,1000] = const random(98)\n%bf: f32[1000] = const random(99)
         %y = matmul(%m, %wf, %bf; epilogue={{add(%0, %1)}})\noutput \"y\" = %y"
    );
    let graph = ir::text::parse_graph(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    ir::verify::verify(&graph).unwrap();
    graph
}

/// A module without its custom sections: the manifest is no code.
fn code(module: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (module[..8].to_vec(), 8);
    while at < module.len() {
        let start = at;
        let (id, mut size, mut shift) = (module[at], 0usize, 0);
        loop {
            at += 1;
            size |= usize::from(module[at] & 0x7f) << shift;
            shift += 7;
            if module[at] < 0x80 {
                break;
            }
        }
        at += 1 + size;
        if id != 0 {
            out.extend(&module[start..at]);
        }
    }
    out
}

#[test]
fn code_of_a_mobile_network_stays_small() {
    let graph = mobilenet_v2();
    let plan = lower::lower(&graph, &lower::Options::default()).unwrap();
    let relaxed = lower::lower_like(&graph, &lower::Options { relaxed: true, ..lower::Options::default() }, &plan).unwrap();
    assert_eq!(link::difference(&plan, &relaxed), None);
    let count = |method| plan.layers.iter().filter(|layer| layer.method == method).count();
    assert_eq!((count(Method::Direct), count(Method::Depthwise), plan.layers.len()), (36, 17, 53));
    let variants = Kind::ALL.to_vec();
    let linked = link_variants(&plan, &relaxed, &LinkInfo { variants: variants.clone(), ..LinkInfo::default() }).unwrap();
    let image = read_image(&linked.wasm).unwrap();
    for kind in variants {
        let code = code(&image.variant(kind.name()).unwrap());
        let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, ..Default::default() };
        let mut compressed = vec![];
        brotli::BrotliCompress(&mut &code[..], &mut compressed, &params).unwrap();
        println!("{}: {} bytes, {} with Brotli", kind.name(), code.len(), compressed.len());
        assert!(code.len() <= MOST.0 && compressed.len() <= MOST.1, "{}: {}, {}", kind.name(), code.len(), compressed.len());
    }
}
