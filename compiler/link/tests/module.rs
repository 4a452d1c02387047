//! The file itself: layout, order, contents, reproducibility. The code in it is run elsewhere.

mod common;

use common::{linked, plan};
use expect_test::expect;
use link::{LinkInfo, link, read_manifest, read_sizes};
use wasmparser::{Parser, Payload};

#[test]
fn same_plan_same_bytes() {
    let named = LinkInfo { debug_names: true, ..LinkInfo::default() };
    for info in [LinkInfo::default(), named] {
        let first = link(&plan(), &info).expect("links").wasm;
        assert_eq!(first, link(&plan(), &info).expect("links").wasm);
    }
}

#[test]
fn memory_is_laid_out_without_overlap() {
    let plan = plan();
    let memory = linked(&plan).manifest.memory;
    assert_eq!(memory.weights_base % 128, 0, "the largest alignment of a weight");
    assert_eq!(memory.arena_base % 64, 0);
    assert_eq!(memory.weights_bytes, 384 + 256, "w, 3 odd bytes, b on the next multiple of 128");
    assert!(memory.weights_base > 16 * 1024, "above the runtime's stack");
    assert!(memory.arena_base >= memory.weights_base + memory.weights_bytes);
    assert!(memory.heap_base >= memory.arena_base + plan.arena_bytes);
    assert!(memory.initial_pages * 65536 >= memory.heap_base);
    let declared = memory.maximum_pages * 65536 - memory.heap_base;
    assert!((64 << 20..(64 << 20) + 65536).contains(&declared), "64 MiB of pool: {declared}");
}

/// Manifest, code, data: a streaming host can compile while the weights arrive. Nothing unused, no import.
#[test]
fn sections_come_in_streaming_order() {
    let mut lines = String::new();
    for payload in Parser::new(0).parse_all(&linked(&plan()).wasm) {
        let line = match payload.expect("a valid module") {
            Payload::CustomSection(section) => format!("custom {}", section.name()),
            Payload::TypeSection(section) => format!("{} types", section.count()),
            Payload::FunctionSection(section) => format!("{} functions", section.count()),
            Payload::TableSection(section) => format!("{} table", section.count()),
            Payload::MemorySection(section) => format!("{} memory", section.count()),
            Payload::GlobalSection(section) => format!("{} global", section.count()),
            Payload::ExportSection(section) => {
                let names: Vec<&str> = section.into_iter().map(|export| export.expect("an export").name).collect();
                format!("exports {}", names.join(" "))
            }
            Payload::ElementSection(section) => format!("{} element segment", section.count()),
            Payload::CodeSectionStart { .. } => "code".into(),
            Payload::DataSection(section) => format!("{} data segments", section.count()),
            Payload::ImportSection(section) => format!("{} imports", section.count()),
            _ => continue,
        };
        lines.push_str(&line);
        lines.push('\n');
    }
    expect![[r#"
        custom wasm-torch.manifest
        7 types
        custom wasm-torch.import
        17 functions
        1 table
        1 memory
        2 global
        exports memory alloc free init pool_limit pool_reserve pool_stats run run_tasks status stop_flag arena_base
        1 element segment
        code
        2 data segments
    "#]]
    .assert_eq(&lines);
}

#[test]
fn unused_kernels_are_dropped() {
    let linked = linked(&plan());
    let sizes = &linked.sizes.kernels;
    assert_eq!(sizes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["scale_relu_f32", "double_f32"]);
    assert!(sizes[0].1 > 40 && sizes[1].1 > 20, "{sizes:?}");
    let without = {
        let mut plan = plan();
        plan.kernels.remove(0);
        plan.steps.iter_mut().for_each(|step| step.kernel.0 -= 1);
        common::linked(&plan)
    };
    assert_eq!(without.wasm, linked.wasm);
}

#[test]
fn sizes_add_up() {
    let sizes = linked(&plan()).sizes;
    assert_eq!(sizes.total, sizes.code + sizes.data + sizes.weights + sizes.manifest + sizes.names);
    assert_eq!(sizes.weights, 384 + 32 * 4, "the zeros at the end of b are not stored");
    assert_eq!(sizes.names, 0);
    assert!(sizes.code < 3500, "runtime and two kernels: {}", sizes.code);
}

#[test]
fn sizes_are_read_back() {
    for debug_names in [false, true] {
        let linked = link(&plan(), &LinkInfo { debug_names, ..LinkInfo::default() }).expect("links");
        assert_eq!(read_sizes(&linked.wasm).expect("reads"), linked.sizes);
    }
}

#[test]
fn names_are_kept_when_asked_for() {
    let named = link(&plan(), &LinkInfo { debug_names: true, ..LinkInfo::default() }).expect("links");
    assert!(named.sizes.names > 0);
    assert!(named.wasm.windows(14).any(|window| window == b"scale_relu_f32"));
    assert_eq!(named.sizes.code, linked(&plan()).sizes.code);
}

#[test]
fn manifest_is_read_back() {
    let info = LinkInfo { options: vec![("level".into(), "2".into())], ..LinkInfo::default() };
    let linked = link(&plan(), &info).expect("links");
    let manifest = read_manifest(&linked.wasm).expect("reads");
    assert_eq!(manifest, linked.manifest);
    assert_eq!(manifest.options, info.options);
    assert_eq!(manifest.features, ["simd128", "bulk-memory", "mutable-globals"]);
    assert_eq!(manifest.weights_sha256.len(), 1);
    assert_eq!((manifest.steps[0].weight_bytes, manifest.steps[1].weight_bytes), (512, 0));
    assert_eq!(manifest.outputs[0].offset, 512);
    let kernels = &linked.sizes.kernels;
    assert_eq!([manifest.steps[0].code_bytes, manifest.steps[1].code_bytes], [kernels[0].1, kernels[1].1]);
}

#[test]
fn weights_are_hashed_by_the_mebibyte() {
    let mut plan = plan();
    let mut bytes = vec![0; (2 << 20) + 5];
    bytes[1 << 20] = 1;
    plan.weights[0].bytes = bytes.into();
    let manifest = linked(&plan).manifest;
    expect![[r#"
        30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58
        632ecdf1b59f25cce137d37c5c80584fd39f096a3f9847da4cc44ff9d2342cb8
        f9e49b0ad8a1282d9db1baaa399f780846fb55e299476aeca70b811d5d878113"#]]
    .assert_eq(&manifest.weights_sha256.join("\n"));
}
