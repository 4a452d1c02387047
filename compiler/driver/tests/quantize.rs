//! Quantising exports of the digits model: what comes out, what is reported, and what is refused.

mod common;

use common::{Room, model};
use ir::{DType, Tensor};
use serde_json::Value;
use wasm_torch::npz::{self, Arrays};
use wasm_torch::{NamedTensor, npz::npz_bytes};

const DIGITS: &str = "digits/digits.dynamo.onnx";

/// A folder with `n` images under the input's name.
fn room(n: usize) -> Room {
    let room = Room::new();
    let Ok(Arrays::Many(arrays)) = npz::read(model("digits/golden.npz").as_ref()) else { panic!("the golden file") };
    let images = &arrays.iter().find(|a| a.name == "images").expect("images").tensor;
    let some = Tensor::new(&[n, 1, 28, 28], &images.as_slice::<f32>()[..n * 784]);
    write(&room, "data.npz", &[("input", some)]);
    room
}

fn write(room: &Room, file: &str, arrays: &[(&str, Tensor)]) {
    let arrays: Vec<NamedTensor> = arrays.iter().map(|(name, tensor)| NamedTensor::new(*name, tensor.clone())).collect();
    room.write(file, &npz_bytes(&arrays).expect("arrays"));
}

fn report(room: &Room) -> Value {
    serde_json::from_slice(&std::fs::read(room.path("report.json")).expect("a report")).expect("JSON")
}

fn export<'a>(digits: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["export", digits, "-o", "out.wasm", "--variants", "baseline"], args].concat()
}

#[test]
fn a_static_export_measures_itself_and_keeps_its_ranges() {
    let (room, digits) = (room(64), model(DIGITS));
    let args = ["--quantize", "int8-static", "--calibrate", "data.npz", "--ranges", "ranges.json", "--report", "report.json"];
    let shown = room.run(&export(&digits, &args));
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stderr.contains("integer layers, 0 stay f32"), "{}", shown.stderr);
    let quantize = report(&room)["quantize"].take();
    assert_eq!(quantize["held_back"], 16);
    // Four methods, and the best one with weights rounded to the nearest.
    assert_eq!(quantize["tried"].as_array().map(Vec::len), Some(5));
    assert!(quantize["agreement"].as_f64() >= Some(0.93) && quantize["snr_db"].as_f64() > Some(20.0), "{quantize}");
    let layers = quantize["layers"].as_array().expect("layers");
    assert!(layers.len() >= 7 && quantize["kept"].as_array().is_some_and(Vec::is_empty), "{quantize}");
    assert!(layers[..layers.len() - 1].iter().all(|l| l["snr_db"].as_f64() > Some(15.0)), "{quantize}");
    assert!(quantize["constants_after"].as_u64() < quantize["constants_before"].as_u64().map(|b| b / 2));
    // The ranges alone make the same module, but for what weights are rounded to.
    let first = std::fs::read(room.path("out.wasm")).expect("a module");
    let alone = export(&digits, &["--quantize", "int8-static", "--ranges", "ranges.json", "--report", "report.json"]);
    room.ok(&alone);
    let second = std::fs::read(room.path("out.wasm")).expect("a module");
    assert!(report(&room)["quantize"]["layers"].as_array().map(Vec::len) == Some(layers.len()));
    assert!(first.len().abs_diff(second.len()) * 50 < first.len(), "{} and {} bytes", first.len(), second.len());
    room.ok(&alone);
    assert!(second == std::fs::read(room.path("out.wasm")).expect("a module"), "the modules differ");
}

/// Products of bytes have constant sizes: a free one is refused, bound it works, samples of that size calibrate.
#[test]
fn free_sizes_have_to_be_bound() {
    let (room, network) = (Room::new(), model("cases/symbolic_batch.onnx"));
    let samples = |n: usize| Tensor::from_fn(DType::F32, &[n, 3, 8, 8], |i| (i % 29) as f64 / 7.0 - 2.0);
    write(&room, "four.npz", &[("input", samples(4))]);
    write(&room, "many.npz", &[("input", samples(16))]);
    let args = ["--quantize", "int8-static", "--calibrate", "four.npz", "--dim", "batch=1..4"];
    let message = room.refused(&export(&network, &args));
    assert!(message.contains("conv does not support the free size batch yet; bind it, e.g. --dim batch=1"), "{message}");
    assert!(!room.path("out.wasm").exists(), "nothing half-written");
    let args = ["--quantize", "int8-static", "--calibrate", "many.npz", "--dim", "batch=2", "--report", "report.json"];
    room.ok(&export(&network, &args));
    let quantize = report(&room)["quantize"].take();
    assert_eq!((&quantize["samples"], &quantize["held_back"]), (&8.into(), &1.into()), "{quantize}");
    assert!(quantize["snr_db"].as_f64() > Some(25.0), "{quantize}");
}

#[test]
fn dynamic_quantisation_needs_no_data() {
    let (room, mlp) = (Room::new(), model("mlp/mlp.dynamo.onnx"));
    room.ok(&["export", &mlp, "-o", "out.wasm", "--quantize", "int8-dynamic", "--report", "report.json"]);
    let quantize = report(&room)["quantize"].take();
    assert_eq!(quantize["layers"].as_array().map(Vec::len), Some(3), "{quantize}");
    let verified = room.run(&["verify", &mlp, "out.wasm", "--random", "3", "--rtol", "0.05"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}

#[test]
fn a_mix_reaches_its_target() {
    let (room, digits) = (room(24), model(DIGITS));
    let args = ["--quantize", "mixed", "--calibrate", "data.npz", "--calibration", "min-max", "--accuracy", "cosine"];
    room.ok(&export(&digits, &[&args[..], &["--target-accuracy", "0.9999", "--report", "report.json"]].concat()));
    let quantize = report(&room)["quantize"].take();
    assert!(quantize["cosine"].as_f64() >= Some(0.9999), "{quantize}");
    assert!(!quantize["layers"].as_array().expect("layers").is_empty(), "{quantize}");
}

/// Exports what must be refused; no module is left behind.
fn refused(room: &Room, args: &[&str]) -> String {
    let message = room.refused(&export(&model(DIGITS), args));
    assert!(!room.path("out.wasm").exists() && !room.path("ranges.json").exists(), "nothing half-written");
    message
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let room = room(8);
    let with = |file: &str| {
        let args = ["--quantize", "int8-static", "--calibrate", file, "--ranges", "ranges.json"];
        refused(&room, &args)
    };
    write(&room, "shape.npz", &[("input", Tensor::zeros(DType::F32, &[4, 1, 28, 27]))]);
    assert!(with("shape.npz").contains("the input `input` has the wrong shape: expected f32[1, 1, 28, 28], found f32[4, 1, 28, 27]"));
    write(&room, "dtype.npz", &[("input", Tensor::zeros(DType::U8, &[4, 1, 28, 28]))]);
    assert!(with("dtype.npz").contains("wrong element type"));
    write(&room, "empty.npz", &[("input", Tensor::zeros(DType::F32, &[0, 1, 28, 28]))]);
    assert!(with("empty.npz").contains("there is no calibration sample"));
    let mut nan = Tensor::zeros(DType::F32, &[2, 1, 28, 28]);
    nan.as_mut_slice::<f32>()[800] = f32::NAN;
    write(&room, "nan.npz", &[("input", nan)]);
    assert!(with("nan.npz").contains("the array `input` holds numbers that are NaN or infinite"));
    write(&room, "name.npz", &[("picture", Tensor::zeros(DType::F32, &[1])), ("label", Tensor::zeros(DType::F32, &[1]))]);
    assert!(
        with("name.npz").contains("has no array for the input `input`\n  hint: it holds: picture, label")
            || with("name.npz").contains("it holds: picture, label")
    );
    assert!(with("none.npz").contains("No such file"));
    std::fs::create_dir(room.path("folder")).expect("a folder");
    assert!(with("folder").contains("holds no calibration data"));
    room.write("folder/image.png", b"\x89PNG\r\n\x1a\nrest");
    assert!(with("folder").contains("the image cannot be decoded"));
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let room = room(8);
    assert!(refused(&room, &["--quantize", "int8-static"]).contains("static quantisation needs to know which numbers occur"));
    assert!(refused(&room, &["--calibrate", "data.npz"]).contains("--calibrate has an effect with --quantize only"));
    let calibrated = ["--quantize", "int8-static", "--calibrate", "data.npz"];
    let with = |args: &[&str]| refused(&room, &[&calibrated[..], args].concat());
    assert!(with(&["-O1"]).contains("quantisation is a pass of -O2"));
    assert!(with(&["--target-accuracy", "99"]).contains("an accuracy is a part of 1"));
    assert!(with(&["--target-size-mb", "0.001"]).contains("the target size 0.00 MB is not reached"));
    room.write("other.json", br#"{"version":1,"model":"m","samples":1,"method":"mse","tensors":{}}"#);
    let other = refused(&room, &["--quantize", "int8-static", "--ranges", "other.json"]);
    assert!(other.contains("tensors have no range there") && other.contains("the file belongs to another model"), "{other}");
}

#[test]
fn a_target_out_of_reach_names_the_best_and_the_layers() {
    let room = room(8);
    let args = ["--quantize", "int8-static", "--calibrate", "data.npz", "--accuracy", "cosine", "--target-accuracy", "1"];
    let message = refused(&room, &[&args[..], &["--calibration", "min-max"]].concat());
    assert!(message.contains("the target accuracy 1 is not reached: at best 0.9"), "{message}");
    assert!(message.contains("these layers hurt most: `") && message.contains("dB)"), "{message}");
}
