//! Damaged and forged modules: into the readers of the Rust host, and, as files, into the loader's (`tests/browser`).

use crate::mutate::damage;
use crate::rng::Rng;
use crate::{Target, Verdict};
use serde_json::Value;
use std::sync::OnceLock;
use std::time::Duration;
use wasm_torch::quantize::QuantizeOptions;
use wasm_torch::{ExportOptions, Instance, LoadOptions, ModelOptions, NamedTensor};

pub(crate) const MODULES: Target =
    Target { name: "modules", seconds: 20, megabytes: 2048, make: forged, check: read, shrink: crate::shrink::bytes, extension: "wasm" };

/// Models whose modules are damaged: with all variants, with weights, with free sizes, with states.
const BASES: &[(&str, &[&str], bool)] = &[
    ("cases/ops/relu.onnx", &[], true),
    ("cases/ops/conv_3x3_pad1.onnx", &[], true),
    ("cases/symbolic_pooling.onnx", &["1..6"], false),
    ("cases/flow/loop_while.onnx", &[], false),
    ("cases/ops/gather_axis1.onnx", &[], false),
];

fn bases() -> &'static [Vec<u8>] {
    static MODULES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MODULES.get_or_init(|| BASES.iter().map(|(model, free, all)| module(model, free, *all)).collect())
}

fn module(model: &str, free: &[&str], all: bool) -> Vec<u8> {
    let path = wasm_torch_tests::models().join(model);
    let symbols: Vec<String> = onnx::import_file(&path, &onnx::ImportOptions::default())
        .map(|imported| imported.graph.symbols.keys().map(ToString::to_string).collect())
        .unwrap_or_default();
    let bound = free.first().copied().unwrap_or("2");
    let options = ExportOptions {
        model: ModelOptions {
            dims: symbols.iter().map(|name| format!("{name}={bound}").parse().expect("a size")).collect(),
            ..ModelOptions::default()
        },
        quantize: QuantizeOptions::default(),
        variants: (!all).then(|| vec!["baseline".into()]),
        ..ExportOptions::default()
    };
    wasm_torch::compile(&path, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{}: {e}", path.display())).linked.wasm
}

/// A module that is damaged somewhere: in its manifest, in its sections, anywhere.
fn forged(seed: u64) -> Vec<u8> {
    let rng = &mut Rng::new(seed);
    let bases = bases();
    let base = &bases[rng.below(bases.len())];
    let Some(mut sections) = split(base) else { return base.clone() };
    match rng.below(10) {
        0 => return damage(base, rng),
        1 => {
            let mut bytes = base.clone();
            bytes.truncate(rng.below(base.len()));
            return bytes;
        }
        2 => shuffle(&mut sections, rng),
        3 => {
            if let Some((_, contents)) = rng.pick_mut(&mut sections) {
                *contents = damage(contents, rng);
            }
        }
        _ => {
            for _ in 0..1 + rng.below(3) {
                forge(&mut sections, rng);
            }
        }
    }
    join(&sections, rng)
}

type Section = (u8, Vec<u8>);

/// Sections of a module, by id.
fn split(module: &[u8]) -> Option<Vec<Section>> {
    let mut rest = module.get(8..)?;
    let mut sections = vec![];
    while let Some((id, after)) = rest.split_first() {
        let (size, after) = number(after)?;
        sections.push((*id, after.get(..size)?.to_vec()));
        rest = &after[size..];
    }
    Some(sections)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let last = bytes.iter().take(5).position(|b| b & 0x80 == 0)?;
    let value = bytes[..=last].iter().rev().fold(0u64, |n, b| n << 7 | u64::from(b & 0x7f));
    Some((value as usize, &bytes[last + 1..]))
}

fn leb(mut n: usize) -> Vec<u8> {
    let mut bytes = vec![];
    while n > 0x7f {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

/// The file again; sometimes a section says another size than it has.
fn join(sections: &[Section], rng: &mut Rng) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let wrong = if rng.one_in(12) { rng.below(sections.len()) } else { usize::MAX };
    for (i, (id, contents)) in sections.iter().enumerate() {
        let size = if i == wrong { rng.wild(contents.len() as i64) as u32 as usize } else { contents.len() };
        module.push(*id);
        module.extend(leb(size));
        module.extend(contents);
    }
    module
}

fn shuffle(sections: &mut Vec<Section>, rng: &mut Rng) {
    let n = sections.len();
    let (a, b) = (rng.below(n), rng.below(n));
    match rng.below(4) {
        0 => sections.swap(a, b),
        1 => {
            sections.remove(a);
        }
        2 => sections.insert(a, sections[b].clone()),
        _ => sections[a].0 = rng.below(14) as u8,
    }
}

/// Another manifest: fields changed, removed, of other types.
fn forge(sections: &mut [Section], rng: &mut Rng) {
    let name: Vec<u8> = [leb(abi::MANIFEST_SECTION.len()), abi::MANIFEST_SECTION.as_bytes().to_vec()].concat();
    let Some((_, contents)) = sections.iter_mut().find(|(id, contents)| *id == 0 && contents.starts_with(&name)) else { return };
    let Ok(mut json) = serde_json::from_slice::<Value>(&contents[name.len()..]) else { return };
    let total = count(&json);
    let mut at = rng.below(total);
    change(&mut json, &mut at, rng);
    let mut text = serde_json::to_vec(&json).unwrap_or_default();
    if rng.one_in(30) {
        text = damage(&text, rng);
    }
    *contents = [name, text].concat();
}

fn count(json: &Value) -> usize {
    1 + match json {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value of this number in reading order.
fn change(json: &mut Value, at: &mut usize, rng: &mut Rng) -> bool {
    if *at == 0 {
        *json = other(json, rng);
        return true;
    }
    *at -= 1;
    match json {
        Value::Array(list) => {
            let hit = list.iter_mut().position(|value| change(value, at, rng));
            if let Some(i) = hit {
                match rng.below(6) {
                    0 => {
                        list.remove(i);
                    }
                    1 => list.insert(i, list[i].clone()),
                    _ => {}
                }
            }
            hit.is_some()
        }
        Value::Object(map) => {
            let hit = map.iter_mut().find_map(|(key, value)| change(value, at, rng).then(|| key.clone()));
            if let (Some(key), true) = (&hit, rng.one_in(6)) {
                map.remove(key);
            }
            hit.is_some()
        }
        _ => false,
    }
}

fn other(json: &Value, rng: &mut Rng) -> Value {
    if rng.one_in(6) {
        let deep = (0..[2, 50, 200, 5000][rng.below(4)]).fold(Value::from(1), |inner, _| Value::Array(vec!["+".into(), inner, 1.into()]));
        let kinds = [Value::Null, Value::Bool(true), Value::from(-1.5), Value::from(""), Value::Array(vec![]), serde_json::json!({}), deep];
        return kinds[rng.below(kinds.len())].clone();
    }
    match json {
        Value::Number(n) => {
            let old = n.as_i64().unwrap_or(0);
            let near = [1, -1, old, 16, 65_536, -16].map(|by| old.wrapping_add(by));
            Value::from(if rng.one_in(2) { near[rng.below(near.len())] } else { rng.wild(old) })
        }
        Value::String(_) => {
            let texts = [
                "",
                "f32",
                "i64",
                "i4",
                "f8e4m3fn",
                "bool",
                "x",
                "relaxed",
                "threads",
                "baseline",
                "simd128",
                "../../x",
                "\0",
                "__proto__",
                "atomics",
            ];
            Value::from(texts[rng.below(texts.len())])
        }
        Value::Array(list) if list.len() < 50 && !list.is_empty() => Value::Array(vec![list[0].clone(); 1 + rng.below(9)]),
        other => other.clone(),
    }
}

/// Reads what can be read of the bytes; what loads, runs on zeros for a second.
fn read(input: &[u8]) -> Result<Verdict, String> {
    let _ = link::read_sizes(input);
    let Ok(manifest) = link::read_manifest(input) else { return Ok(Verdict::Refused) };
    let features: [&[&str]; 3] = [&[], &["simd128"], &["simd128", "bulk-memory", "relaxed-simd", "atomics", "sign-ext", "mutable-globals"]];
    for features in features {
        let _ = manifest.select_variant(features).map_err(|none| none.missing.len());
    }
    let Ok(image) = link::read_image(input) else { return Ok(Verdict::Refused) };
    for variant in &manifest.variants {
        let _ = image.variant(&variant.name);
    }
    let options = LoadOptions { memory_limit: Some(64 << 20), interruptible: true, ..LoadOptions::default() };
    let Ok(mut instance) = Instance::load_with(input, &options) else { return Ok(Verdict::Refused) };
    let stop = instance.stop_handle();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(2)).is_err() {
            stop.stop();
        }
    });
    let inputs: Option<Vec<NamedTensor>> = manifest.inputs.iter().map(zeros).collect();
    let result = inputs.map(|inputs| instance.forward(&inputs));
    let _ = instance.memory();
    let _ = done.send(());
    Ok(if matches!(result, Some(Ok(_))) { Verdict::Accepted } else { Verdict::Refused })
}

/// Zeros of what the manifest says an input is, unless that is too much.
fn zeros(port: &abi::manifest::Tensor) -> Option<NamedTensor> {
    let dtype = ir::DType::from_name(&port.dtype)?;
    let shape: Vec<usize> = port.shape.iter().map(|d| *d as usize).collect();
    let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n < 1 << 20)?;
    let bytes = vec![0u8; elements * dtype.bytes()];
    Some(NamedTensor::new(&port.name, ir::Tensor::from_bytes(dtype, &shape, &bytes)?))
}
