//! The variants of a file: where they lie, what they import and export, which one a host takes.

mod common;

use abi::manifest::{Manifest, Part, Place, Variant};
use common::{linked, plan};
use link::{DataSegment, Kind, LinkError, LinkInfo, difference, link, link_variants, read_image, read_manifest, read_sizes};
use lower::plan::Plan;
use serde_json::Value;
use std::collections::BTreeMap;
use wasmparser::{Parser, Payload, TypeRef, WasmFeatures};

fn info(variants: &[Kind]) -> LinkInfo {
    LinkInfo { variants: variants.to_vec(), ..LinkInfo::default() }
}

/// A plan whose relaxed kernels are other ones.
fn relaxed(plan: &Plan) -> Plan {
    let mut relaxed = plan.clone();
    relaxed.kernels[1] = common::scale_relu_relaxed();
    relaxed
}

#[test]
fn four_variants_lie_between_manifest_and_code() {
    let file = link_variants(&plan(), &relaxed(&plan()), &info(&Kind::ALL)).expect("links").wasm;
    let mut order = vec![];
    for payload in Parser::new(0).parse_all(&file) {
        match payload.expect("a valid module") {
            Payload::CustomSection(section) => order.push(section.name().to_string()),
            Payload::TypeSection(_) => order.push("types".into()),
            Payload::CodeSectionStart { .. } => order.push("code".into()),
            Payload::DataSection(_) => order.push("data".into()),
            Payload::ImportSection(_) => panic!("the file itself imports nothing"),
            _ => {}
        }
    }
    let sections = [Kind::Relaxed, Kind::Threads, Kind::RelaxedThreads].map(Kind::section);
    assert_eq!(order[0], abi::MANIFEST_SECTION);
    assert_eq!(order[1..4], sections);
    assert_eq!(order[4..], ["types", abi::IMPORT_SECTION, "code", "data"]);
    assert_eq!(file, link_variants(&plan(), &relaxed(&plan()), &info(&Kind::ALL)).expect("links").wasm, "the same bytes every time");
}

/// What a host that streams makes of a file: by the manifest's parts alone, code by variant and bytes by address.
fn by_parts(file: &[u8]) -> (BTreeMap<String, Vec<u8>>, Vec<DataSegment<'_>>) {
    let manifest = read_image(file).expect("reads").manifest;
    let follows: usize = manifest.parts.iter().map(|Part(bytes, _)| *bytes as usize).sum();
    let (mut code, mut data) = (BTreeMap::<String, Vec<u8>>::new(), vec![]);
    let mut rest = &file[file.len() - follows..];
    for Part(bytes, place) in manifest.parts {
        let (piece, behind) = rest.split_at(bytes as usize);
        rest = behind;
        match place {
            Place::Memory(address) => data.push(DataSegment { address, bytes: piece }),
            Place::Code(name) => code.entry(name).or_default().extend(piece),
            Place::Nowhere => {}
        }
    }
    (code, data)
}

#[test]
fn parts_are_the_code_of_each_variant_and_the_data() {
    for kinds in [&Kind::ALL[..], &[Kind::Relaxed], &[Kind::Threads]] {
        let file = link_variants(&plan(), &relaxed(&plan()), &info(kinds)).expect("links").wasm;
        let image = read_image(&file).expect("reads");
        let (mut code, data) = by_parts(&file);
        assert_eq!(data, image.data);
        let own = code.remove(&image.manifest.variant).expect("the file's own code");
        let own = [b"\0asm\x01\0\0\0", &own[..]].concat();
        let mut features = WasmFeatures::default();
        features.insert(WasmFeatures::RELAXED_SIMD | WasmFeatures::THREADS);
        wasmparser::Validator::new_with_features(features).validate_all(&own).expect("a valid module");
        let imports = Parser::new(0).parse_all(&own).filter(|payload| matches!(payload, Ok(Payload::ImportSection(_)))).count();
        assert_eq!(imports, 1, "{}: the memory comes from outside", image.manifest.variant);
        for (name, packed) in code {
            let found = miniz_oxide::inflate::decompress_to_vec_zlib(&packed).expect("zlib");
            assert_eq!(found, image.variant(&name).expect("is there").into_owned(), "{name}");
        }
    }
}

#[test]
fn variants_import_their_memory_and_export_what_the_file_does() {
    let linked = link_variants(&plan(), &relaxed(&plan()), &info(&Kind::ALL)).expect("links");
    let image = read_image(&linked.wasm).expect("reads");
    let memory = &image.manifest.memory;
    for variant in &image.manifest.variants {
        let threads = variant.name.contains("threads");
        let code = image.variant(&variant.name).expect("is there");
        assert_eq!(code.len(), variant.bytes as usize);
        let mut exports = vec![];
        assert!(variant.features.iter().any(|f| f == "deflate"));
        for payload in Parser::new(0).parse_all(&code) {
            match payload.expect("a valid module") {
                Payload::ImportSection(section) => {
                    let imports: Vec<_> = section.into_imports().map(|import| import.expect("an import")).collect();
                    let [import] = &imports[..] else { panic!("{} imports", imports.len()) };
                    let TypeRef::Memory(ty) = import.ty else { panic!("not a memory") };
                    assert_eq!((import.module, import.name), ("env", "memory"));
                    assert_eq!((ty.initial, ty.maximum), (memory.initial_pages.into(), Some(memory.maximum_pages.into())));
                    assert_eq!(ty.shared, threads);
                }
                Payload::ExportSection(section) => exports.extend(section.into_iter().map(|e| e.expect("an export").name.to_string())),
                Payload::DataSection(_) | Payload::StartSection { .. } | Payload::MemorySection(_) => panic!("data, start or memory"),
                _ => {}
            }
        }
        let mut expected: Vec<&str> = abi::EXPORTS.iter().map(|f| f.name).chain([abi::MEMORY, abi::ARENA_BASE]).collect();
        expected.extend(abi::THREAD_EXPORTS.iter().filter(|_| threads).map(|f| f.name));
        exports.sort_unstable();
        expected.sort_unstable();
        assert_eq!(exports, expected, "{}", variant.name);
        assert_eq!(variant.features.iter().any(|f| f == "relaxed-simd"), variant.name.contains("relaxed"));
        assert_eq!(variant.features.iter().any(|f| f == "atomics"), threads);
    }
}

/// The data is the file's: its own code up to it is a module.
#[test]
fn the_prefix_is_the_own_code() {
    for own in Kind::ALL {
        let file = link_variants(&plan(), &relaxed(&plan()), &info(&[own])).expect("links").wasm;
        let image = read_image(&file).expect("reads");
        assert_eq!((image.manifest.variant.as_str(), image.manifest.variants.len()), (own.name(), 0));
        let code = image.variant(own.name()).expect("is there");
        assert!(file.starts_with(&code));
        assert_eq!(image.data.iter().map(|segment| segment.address).max(), Some(image.manifest.memory.weights_base));
        wasmparser::validate(&code).expect("a module");
    }
}

#[test]
fn a_list_of_one_makes_a_plain_module() {
    assert_eq!(link(&plan(), &info(&[Kind::Baseline])).expect("links").wasm, linked(&plan()).wasm);
    assert!(matches!(link(&plan(), &info(&[])), Err(LinkError::NoVariant)));
    let twice = link(&plan(), &info(&[Kind::Threads, Kind::Baseline, Kind::Threads])).expect("links");
    assert_eq!(twice.manifest.variants.len(), 1, "in the file's order, each once");
}

#[test]
fn sizes_of_variants_are_read_back() {
    let linked = link_variants(&plan(), &relaxed(&plan()), &info(&Kind::ALL)).expect("links");
    let sizes = &linked.sizes;
    let variants: usize = sizes.variants.iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(sizes.total, sizes.code + sizes.data + sizes.weights + sizes.manifest + sizes.names + variants);
    assert_eq!(read_sizes(&linked.wasm).expect("reads").variants, sizes.variants);
}

/// Kernels that are one in one plan may be two in the other: the numbers are common all the same.
#[test]
fn kernels_are_numbered_alike() {
    let mut plan = plan();
    plan.steps.push(plan.steps[1].clone());
    let mut other = plan.clone();
    other.kernels.push(common::double_relaxed());
    other.steps[2].kernel = lower::plan::KernelId(3);
    assert_eq!(difference(&plan, &other), None);
    let file = link_variants(&plan, &other, &info(&Kind::ALL)).expect("links").wasm;
    let image = read_image(&file).expect("reads");
    for name in ["baseline", "relaxed", "threads", "relaxed+threads"] {
        let code = image.variant(name).expect("is there");
        let tables = Parser::new(0).parse_all(&code).filter_map(|payload| match payload.expect("valid") {
            Payload::TableSection(section) => Some(section.into_iter().next().expect("a table").expect("valid").ty.initial),
            _ => None,
        });
        assert_eq!(tables.collect::<Vec<_>>(), [3], "{name}");
    }
}

#[test]
fn plans_that_differ_are_refused() {
    let mut other = plan();
    other.steps[0].tasks = 2;
    let error = link_variants(&plan(), &other, &info(&Kind::ALL)).expect_err("refused").to_string();
    assert!(error.contains("step 0 (fc) differs"), "{error}");
    let mut other = plan();
    std::sync::Arc::make_mut(&mut other.weights[0].bytes)[0] ^= 1;
    assert_eq!(difference(&plan(), &other).as_deref(), Some("the weight w differs"));
}

#[test]
fn a_damaged_variant_is_not_found() {
    let mut file = link(&plan(), &info(&Kind::ALL)).expect("links").wasm;
    let name = b"wasm-torch.variant.threads";
    let matches: Vec<usize> = file.windows(name.len()).enumerate().filter(|(_, w)| w == name).map(|(at, _)| at).collect();
    // The first is in the manifest.
    file[matches[1]] = b'X';
    let image = read_image(&file).expect("the rest reads");
    assert!(image.variant("threads").is_none());
    assert!(image.variant("relaxed").is_some() && image.variant("nonsense").is_none());
    // Contents that do not expand, or to more than they say.
    let relaxed = b"wasm-torch.variant.relaxed";
    let at = file.windows(relaxed.len()).enumerate().filter(|(_, w)| w == relaxed).nth(2).map_or(0, |(at, _)| at + relaxed.len());
    let mut broken = file.clone();
    broken[at + 40] ^= 0xff;
    assert!(read_image(&broken).expect("reads").variant("relaxed").is_none());
    let mut longer = read_image(&file).expect("reads");
    longer.manifest.variants.iter_mut().for_each(|variant| variant.bytes -= 1);
    assert!(longer.variant("relaxed").is_none());
    assert!(read_image(&file[..file.len() - 1]).is_err(), "cut off");
}

#[test]
fn external_weights_are_the_segment_that_is_missing() {
    let mut plan = plan();
    plan.weights[0].bytes = (0..3 << 20).map(|i| (i % 251) as u8 + 1).collect::<Vec<u8>>().into();
    let whole = link(&plan, &LinkInfo::default()).expect("links");
    let external = Some(link::External { stem: "net".into(), chunk_mb: 1 });
    let apart = link(&plan, &LinkInfo { external_weights: external, ..LinkInfo::default() }).expect("links");
    let joined: Vec<u8> = apart.chunks.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let image = read_image(&whole.wasm).expect("reads");
    assert_eq!(image.data.last().expect("weights").bytes, joined);
    assert_eq!(apart.chunks.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>()[..3], [1 << 20; 3]);
    let listed = apart.manifest.external_weights.as_ref().expect("listed");
    assert_eq!(listed.chunks.len(), apart.chunks.len());
    assert!(listed.chunks[0].file.starts_with("net.weights.0.") && listed.chunks[0].file.contains(&listed.chunks[0].sha256[..12]));
    assert_eq!(apart.manifest.weights_sha256, whole.manifest.weights_sha256);
    assert_eq!(read_manifest(&apart.wasm).expect("reads"), apart.manifest);
    assert!(apart.wasm.len() < 100_000 && apart.sizes.weights == 0);
}

/// The same table as the loader's.
#[test]
fn hosts_choose_by_features() {
    let cases: Value = serde_json::from_str(include_str!("../../../tests/variants.json")).expect("JSON");
    let strings = |v: &Value| -> Vec<String> { serde_json::from_value(v.clone()).expect("strings") };
    let cases = cases["cases"].as_array().expect("cases");
    assert!(cases.len() >= 10);
    for case in cases {
        let mut manifest: Manifest = linked(&plan()).manifest;
        manifest.variant = case["own"]["name"].as_str().expect("a name").into();
        manifest.features = strings(&case["own"]["features"]);
        let variant = |v: &Value| {
            let (name, features) = (v["name"].as_str().expect("a name").to_string(), strings(&v["features"]));
            Variant { section: format!("{}{name}", abi::VARIANT_SECTION), name, features, bytes: 1 }
        };
        manifest.variants = case["variants"].as_array().expect("variants").iter().map(variant).collect();
        let available = strings(&case["available"]);
        let available: Vec<&str> = available.iter().map(String::as_str).collect();
        let picked = manifest.select_variant(&available);
        assert_eq!(picked.as_ref().ok().copied(), case["pick"].as_str(), "{}", case["name"]);
        if let Err(none) = picked {
            assert!(!none.missing.is_empty());
        }
    }
}
