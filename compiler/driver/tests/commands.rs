//! The commands on real models: export, run, inspect, verify, bench and dump, as a user calls them.

mod common;

use common::{Room, model};
use serde_json::Value;
use wasm_torch::NamedTensor;
use wasm_torch::compare::{Tolerance, compare};
use wasm_torch::npz::{npy_bytes, npz_bytes, parse_npz, read_npz};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A room with the exported digits model and one image in `image.npy`.
fn digits() -> (Room, Vec<NamedTensor>) {
    let room = Room::new();
    room.ok(&["export", "-q", &model("digits/digits.legacy.onnx"), "-o", "digits.wasm"]);
    let arrays = read_npz(model("digits/golden.npz").as_ref()).unwrap();
    let first = ir::Tensor::new(&[1, 1, 28, 28], &arrays[0].tensor.as_slice::<f32>()[..784]);
    room.write("image.npy", &npy_bytes(&first).unwrap());
    (room, arrays)
}

#[test]
fn export_writes_a_module_and_a_report() {
    let room = Room::new();
    let digits = model("digits/digits.dynamo.onnx");
    let answer = room.run(&["export", &digits, "--report", "report.json", "-O", "2"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""), "{}", answer.stderr);
    for word in ["digits.dynamo.wasm", "size", "graph", "memory", "time"] {
        assert!(answer.stderr.contains(word), "{word}: {}", answer.stderr);
    }
    assert_eq!(room.files(), ["digits.dynamo.wasm", "report.json"]);
    let report = json(&std::fs::read_to_string(room.path("report.json")).unwrap());
    let size = std::fs::metadata(room.path("digits.dynamo.wasm")).unwrap().len();
    assert_eq!(report["sizes"]["total"], size);
    assert_eq!(report["options"]["level"], "O2");
    assert!(report["memory"]["arena_ratio"].as_f64().unwrap() <= 1.15, "{}", report["memory"]);
    assert!(report["nodes_after"].as_u64().unwrap() < report["nodes_before"].as_u64().unwrap());
    assert!(report["passes"].as_array().unwrap().iter().any(|p| p["name"] == "nhwc_layout"));
    let macs: u64 = report["steps"].as_array().unwrap().iter().map(|s| s["macs"].as_u64().unwrap()).sum();
    assert_eq!(report["macs"], macs);
    let layers = report["layers"].as_array().unwrap();
    let is_known = |l: &serde_json::Value| l["method"] == "direct" || l["method"] == "depthwise";
    assert!(!layers.is_empty() && layers.iter().all(|l| is_known(l) && l["weight_bytes"].as_u64() > Some(0)), "{layers:?}");
    // The same with the report on stdout, and quietly.
    let answer = room.run(&["export", &digits, "--json", "-q"]);
    assert_eq!((json(&answer.stdout)["sizes"]["total"].clone(), answer.stderr.as_str()), (size.into(), ""));
}

#[test]
fn levels_and_passes_shape_the_module() {
    let room = Room::new();
    let digits = model("digits/digits.legacy.onnx");
    let passes = |args: &[&str]| -> Vec<String> {
        let report = json(&room.ok(&[&["export", "-q", "--json", &digits, "-o", "out.wasm"], args].concat()));
        report["passes"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_string()).collect()
    };
    assert!(passes(&["-O0"]).is_empty());
    let all = passes(&["-O3"]);
    assert!(all.contains(&"nhwc_layout".to_string()) && all.contains(&"fuse_conv_bn_relu".to_string()));
    let some = passes(&["--disable-pass", "nhwc_layout,share_common"]);
    assert!(!some.contains(&"nhwc_layout".to_string()) && !some.contains(&"share_common".to_string()));
    assert_eq!(passes(&["--passes", "eliminate_dead_code", "-O0"]).first().map(String::as_str), Some("eliminate_dead_code"));
    assert!(!passes(&["--check-passes"]).is_empty());
    // Fewer bits are meant to differ.
    assert!(passes(&["--check-passes", "--quantize", "int8-dynamic"]).contains(&"quantize_int8".to_string()));
    assert!(json(&room.ok(&["inspect", "out.wasm", "--json"]))["options"].to_string().contains("level"));
}

#[test]
fn run_shows_outputs_or_writes_them() {
    let (room, arrays) = digits();
    let table = room.ok(&["run", "digits.wasm", "--input", "image.npy"]);
    let label = arrays[1].tensor.to_i64s()[0];
    let (head, row) = table.split_once('\n').unwrap();
    assert!(head.contains("largest elements"), "{table}");
    assert!(row.contains("f32[1,10]") && row.contains(&format!("[{label}] ")), "{table}");

    room.ok(&["run", "digits.wasm", "-i", "input=image.npy", "-o", "out.npz", "-q"]);
    let found = parse_npz(&std::fs::read(room.path("out.npz")).unwrap()).unwrap();
    let expected = ir::Tensor::new(&[1, 10], &arrays[2].tensor.as_slice::<f32>()[..10]);
    let difference = compare("logits", &expected, &found[0].tensor, Tolerance::default());
    assert!(difference.ok && found[0].name == "logits", "{difference:?}");

    let report = json(&room.ok(&["run", "digits.wasm", "-i", "image.npy", "--json", "--profile", "--repeat", "3"]));
    assert_eq!(report["outputs"][0]["top"][0][0], label);
    assert_eq!(report["times"]["runs"], 3);
    let shares: f64 = report["profile"].as_array().unwrap().iter().map(|s| s["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    assert!(report["memory"]["total"].as_u64().unwrap() > report["memory"]["arena"].as_u64().unwrap());
    assert!(room.ok(&["run", "digits.wasm", "-i", "image.npy", "--profile"]).contains("GFLOP/s"));
}

#[test]
fn inputs_come_from_archives_with_and_without_marks() {
    let room = Room::new();
    room.ok(&["export", "-q", &model("cases/ops/add_same_shape.onnx"), "-o", "add.wasm"]);
    let golden = model("cases/ops/add_same_shape.npz");
    let marked = room.ok(&["run", "add.wasm", "--input", &golden]);
    let plain: Vec<NamedTensor> = read_npz(golden.as_ref())
        .unwrap()
        .into_iter()
        .filter_map(|a| Some(NamedTensor::new(a.name.strip_prefix("input:")?, a.tensor)))
        .collect();
    assert_eq!(plain.len(), 2);
    room.write("plain.npz", &npz_bytes(&plain).unwrap());
    assert_eq!(room.ok(&["run", "add.wasm", "--input", "plain.npz"]), marked);
    // Files named like the inputs need no names.
    for input in &plain {
        room.write(&format!("{}.npy", input.name), &npy_bytes(&input.tensor).unwrap());
    }
    let files: Vec<String> = plain.iter().flat_map(|i| ["--input".to_string(), format!("{}.npy", i.name)]).collect();
    let args: Vec<&str> = ["run", "add.wasm"].into_iter().chain(files.iter().map(String::as_str)).collect();
    assert_eq!(room.ok(&args), marked);
}

#[test]
fn verify_compares_with_the_definition() {
    let (room, _) = digits();
    let digits = model("digits/digits.legacy.onnx");
    assert!(room.ok(&["verify", &digits, "digits.wasm"]).contains("equal"));
    assert!(room.ok(&["verify", &digits, "digits.wasm", "--input", "image.npy"]).contains("1/1"));
    let report = json(&room.ok(&["verify", &digits, "digits.wasm", "--random", "3", "--seed", "7", "--json"]));
    assert_eq!((report["ok"].clone(), report["samples"].as_array().unwrap().len()), (true.into(), 3));

    // The other model differs: exit code 1, and which output.
    room.ok(&["export", "-q", &model("cases/ops/relu.onnx"), "-o", "relu.wasm"]);
    let answer = room.run(&["verify", &model("cases/ops/relu.onnx"), "relu.wasm", "--rtol", "0", "--atol", "0"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let answer = room.run(&["verify", &model("cases/ops/neg.onnx"), "relu.wasm"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stdout.contains("differs"), "{answer:?}");
}

#[test]
fn inspect_describes_a_module_whose_memory_cannot_be() {
    let room = Room::new();
    let forged = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/inputs/modules/memory_without_pages.wasm");
    assert!(room.ok(&["inspect", forged]).contains("64.0 KiB (0 bytes may be asked for by pools at most)"));
}

#[test]
fn inspect_describes_models_and_modules() {
    let (room, _) = digits();
    let text = room.ok(&["inspect", &model("digits/digits.legacy.onnx")]);
    for word in ["opset", "parameters", "BatchNormalization", "f32[1,1,28,28]", "can be exported"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = room.ok(&["inspect", &model("cases/three_unsupported.onnx")]);
    for word in ["FooBar", "ImageDecoder", "StringNormalizer", "cannot be exported: 3 problems"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let model_info = json(&room.ok(&["inspect", &model("cases/symbolic_batch.onnx"), "--json"]));
    assert_eq!((model_info["free_dims"][0].clone(), model_info["macs"].clone()), ("batch".into(), Value::Null));
    let bound = json(&room.ok(&["inspect", &model("cases/symbolic_batch.onnx"), "--json", "--dim", "batch=2"]));
    assert!(bound["macs"].as_u64().unwrap() > 0);
    let text = room.ok(&["inspect", "digits.wasm"]);
    for word in ["features", "simd128", "peak memory", "arena", "weights", "layers"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let info = json(&room.ok(&["inspect", "digits.wasm", "--json"]));
    assert_eq!(info["sizes"]["total"], std::fs::metadata(room.path("digits.wasm")).unwrap().len());
}

#[test]
fn bench_times_a_module() {
    let (room, _) = digits();
    let report = json(&room.ok(&["bench", "digits.wasm", "--repeat", "5", "--warmup", "1", "--profile", "--json"]));
    assert_eq!(report["times"]["runs"], 5);
    assert!(report["times"]["p90_ms"].as_f64() >= report["times"]["median_ms"].as_f64());
    assert!(room.ok(&["bench", "digits.wasm", "--repeat", "2"]).contains("median"));
}

#[test]
fn dump_prints_every_stage() {
    let room = Room::new();
    let mlp = model("mlp/mlp.legacy.onnx");
    assert!(room.ok(&["dump", &mlp, "--graph"]).contains("matmul("));
    let after = room.ok(&["dump", &mlp, "--after", "fuse_linear_activation"]);
    assert!(ir::text::parse_graph(&room.ok(&["dump", &model("cases/ops/relu.onnx"), "--graph"])).is_ok());
    assert!(after.contains("epilogue"), "{after}");
    assert!(room.ok(&["dump", &mlp, "--plan"]).starts_with("plan `"));
    assert!(room.ok(&["dump", &mlp, "--kernels"]).contains("kernel"));
    let wat = room.ok(&["dump", &mlp, "--wat"]);
    assert!(wat.starts_with("(module") && wat.lines().all(|line| line.len() < 4000));
    assert!(room.files().is_empty());
}

#[test]
fn measured_schedules_shape_the_kernels() {
    let room = Room::new();
    let mlp = model("mlp/mlp.legacy.onnx");
    let kernels = |args: &[&str]| -> Vec<String> {
        let report = json(&room.ok(&[&["export", "-q", "--json", &mlp, "-o", "out.wasm"], args].concat()));
        report["kernels"].as_array().unwrap().iter().map(|k| k["name"].as_str().unwrap().to_string()).collect()
    };
    let uses = |names: &[String], tile: &str| names.iter().any(|n| n.starts_with("contract_") && n.contains(tile));
    assert!(!uses(&kernels(&[]), "_m1n4_"));
    // The first layer: 50 to 120 elements of 4 rows.
    let first = serde_json::json!({"rows": 4, "columns": 120, "depth": 50, "tile": [1, 1]});
    room.write("schedule.json", serde_json::json!({ "products": [first] }).to_string().as_bytes());
    assert!(uses(&kernels(&["--schedule", "schedule.json"]), "_m1n4_"));
    room.ok(&["verify", &mlp, "out.wasm", "--random", "2"]);
    // Measuring writes such a file, whatever it finds.
    room.ok(&["export", "-q", &mlp, "-o", "tuned.wasm", "--tune"]);
    let tuned = json(&std::fs::read_to_string(room.path("tuned.schedule.json")).unwrap());
    assert!(tuned["products"].is_array() && !tuned["engine"].as_str().unwrap().is_empty(), "{tuned}");
    room.ok(&["verify", &mlp, "tuned.wasm", "--random", "2"]);
    room.write("bad.json", br#"{"products": [{"rows": 4, "columns": 4, "depth": 4, "tile": [7, 7]}]}"#);
    assert!(room.refused(&["export", &mlp, "--schedule", "bad.json"]).contains("there is no tile of (7, 7)"));
    assert!(room.refused(&["export", &mlp, "--schedule", "bad.json", "--tune"]).contains("cannot be used with"));
}
