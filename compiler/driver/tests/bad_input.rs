//! Bad input: each kind gives a clear error, exit code 2 and no output file, whole or partial.

mod common;

use common::{Room, model, model_bytes};
use expect_test::{Expect, expect};
use ir::{DType, Tensor};
use wasm_torch::npz::npy_bytes;

/// Exports what is in `bad.onnx` and compares the message.
fn refused_export(bytes: &[u8], args: &[&str], expected: Expect) {
    let room = Room::new();
    room.write("bad.onnx", bytes);
    let message = room.refused(&[&["export", "bad.onnx", "-o", "out.wasm"], args].concat());
    expected.assert_eq(&message);
    assert_eq!(room.files(), ["bad.onnx"], "nothing is left behind");
}

#[test]
fn files_that_are_no_models() {
    refused_export(b"", &[], expect![[r#"
        error: bad.onnx is empty, not an ONNX model
          hint: the export or the download may have failed; make the file again
    "#]]);
    refused_export(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &[], expect![[r#"
        error: bad.onnx is not an ONNX model: it is a PNG image
          hint: pass the model, not an image
    "#]]);
    let digits = model_bytes("digits/digits.legacy.onnx");
    refused_export(&digits[..digits.len() / 2], &[], expect![""]);
}

#[test]
fn a_file_that_does_not_exist() {
    let room = Room::new();
    expect![""].assert_eq(&room.refused(&["export", "none.onnx"]));
    expect![""].assert_eq(&room.refused(&["inspect", "none.onnx"]));
    expect![""].assert_eq(&room.refused(&["run", "none.wasm"]));
    assert!(room.files().is_empty());
}

#[test]
fn every_unsupported_operator_is_named_with_its_layer() {
    refused_export(&model_bytes("cases/three_unsupported.onnx"), &[], expect![""]);
}

#[test]
fn every_mistake_in_a_model_is_named_with_its_layer() {
    refused_export(&model_bytes("cases/bad_rank.onnx"), &[], expect![""]);
}

#[test]
fn free_dimensions_are_asked_for() {
    refused_export(&model_bytes("cases/symbolic_batch.onnx"), &[], expect![""]);
    refused_export(&model_bytes("cases/symbolic_batch.onnx"), &["--dim", "bacth=1"], expect![""]);
    refused_export(&model_bytes("cases/symbolic_batch.onnx"), &["--dim", "batch=1..8"], expect![""]);
    refused_export(&model_bytes("cases/symbolic_batch.onnx"), &["--dim", "batch=one"], expect![""]);
}

#[test]
fn names_that_do_not_exist_get_a_suggestion() {
    let mlp = model_bytes("mlp/mlp.legacy.onnx");
    refused_export(&mlp, &["--passes", "constant_foldng"], expect![""]);
    refused_export(&mlp, &["--disable-pass", "nhwc"], expect![""]);
    refused_export(&mlp, &["--explain", "no_such_rule_at_all"], expect![""]);
    refused_export(&mlp, &["--bind", "inputs=1"], expect![""]);
    refused_export(&mlp, &["-O7"], expect![""]);
    let room = Room::new();
    expect![""].assert_eq(&room.refused(&["exprot", "model.onnx"]));
    expect![""].assert_eq(&room.refused(&["dump", &model("mlp/mlp.legacy.onnx"), "--after", "fuse_point"]));
    expect![""].assert_eq(&room.refused(&["dump", &model("mlp/mlp.legacy.onnx"), "--after", "nhwc_layout", "-O1"]));
}

#[test]
fn outputs_that_cannot_be_written() {
    let room = Room::new();
    let mlp = model("mlp/mlp.legacy.onnx");
    std::fs::create_dir(room.path("folder")).unwrap();
    expect![""].assert_eq(&room.refused(&["export", &mlp, "-o", "no/such/folder/out.wasm"]));
    expect![""].assert_eq(&room.refused(&["export", &mlp, "-o", "folder"]));
    // The text depends on who runs the test: root may write read-only folders, but nobody into /proc.
    if cfg!(target_os = "linux") {
        let message = room.refused(&["export", &mlp, "-o", "/proc/out.wasm"]);
        assert!(message.starts_with("error: cannot write /proc/out.wasm: "), "{message}");
    }
    room.write("model.onnx", &model_bytes("mlp/mlp.legacy.onnx"));
    expect![""].assert_eq(&room.refused(&["export", "model.onnx", "-o", "./model.onnx"]));
    assert_eq!(std::fs::read(room.path("model.onnx")).unwrap(), model_bytes("mlp/mlp.legacy.onnx"), "the model is whole");
    assert_eq!(room.files(), ["folder", "model.onnx"]);
}

#[test]
fn an_existing_module_survives_a_failed_export() {
    let room = Room::new();
    room.write("out.wasm", b"precious");
    room.refused(&["export", &model("cases/three_unsupported.onnx"), "-o", "out.wasm"]);
    assert_eq!(std::fs::read(room.path("out.wasm")).unwrap(), b"precious");
}

/// A room with `add.wasm`, which adds two tensors.
fn with_module() -> Room {
    let room = Room::new();
    room.ok(&["export", "-q", &model("cases/ops/add_same_shape.onnx"), "-o", "add.wasm"]);
    room
}

#[test]
fn tensors_that_do_not_fit() {
    let room = with_module();
    let save = |name: &str, dtype: DType, shape: &[usize]| room.write(name, &npy_bytes(&Tensor::zeros(dtype, shape)).unwrap());
    save("wrong_type.npy", DType::F64, &[2, 3, 5]);
    save("wrong_shape.npy", DType::F32, &[2, 3]);
    let refused = |args: &[&str], expected: Expect| expected.assert_eq(&room.refused(&[&["run", "add.wasm"], args].concat()));
    refused(&["--input", "a=wrong_type.npy", "--input", "b=wrong_shape.npy"], expect![""]);
    refused(&["--input", "c=wrong_shape.npy"], expect![""]);
    refused(&["--input", "wrong_shape.npy"], expect![""]);
    refused(&["--input", "a=none.npy"], expect![""]);
    room.write("bad.npy", b"\x89PNG");
    refused(&["--input", "a=bad.npy"], expect![""]);
    room.write("cut.npy", &npy_bytes(&Tensor::zeros(DType::F32, &[9])).unwrap()[..140]);
    refused(&["--input", "a=cut.npy"], expect![""]);
    refused(&["--input", &model("digits/golden.npz")].map(|s| s.replace(&model(""), "")).each_ref().map(String::as_str), expect![""]);
    assert_eq!(room.files(), ["add.wasm", "bad.npy", "cut.npy", "wrong_shape.npy", "wrong_type.npy"]);
}

#[test]
fn files_that_are_no_modules() {
    let room = with_module();
    let refused = |bytes: &[u8], expected: Expect| {
        room.write("bad.wasm", bytes);
        expected.assert_eq(&room.refused(&["run", "bad.wasm"]));
        let inspected = room.refused(&["inspect", "bad.wasm"]);
        expected.assert_eq(&inspected);
    };
    refused(b"", expect![""]);
    refused(b"\x89PNG\r\n", expect![""]);
    refused(b"\0asm\x01\0\0\0", expect![""]);
    let module = std::fs::read(room.path("add.wasm")).unwrap();
    refused(&module[..module.len() / 2], expect![""]);
}
