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
    refused_export(
        b"",
        &[],
        expect![[r#"
        error: bad.onnx is empty, not an ONNX model
          hint: the export or the download may have failed; make the file again
    "#]],
    );
    refused_export(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        &[],
        expect![[r#"
        error: bad.onnx is not an ONNX model: it is a PNG image
          hint: pass the model, not an image
    "#]],
    );
    let digits = model_bytes("digits/digits.legacy.onnx");
    refused_export(
        &digits[..digits.len() / 2],
        &[],
        expect![[r#"
        error: bad.onnx (30265 bytes) is a damaged or truncated ONNX model: failed to decode Protobuf message: ModelProto.graph: buffer underflow
          hint: compare its size with the original's; export or download it again
    "#]],
    );
}

#[test]
fn a_file_that_does_not_exist() {
    let room = Room::new();
    expect![[r#"
        error: cannot read none.onnx: No such file or directory (os error 2)
          hint: check the path
    "#]]
    .assert_eq(&room.refused(&["export", "none.onnx"]));
    expect![[r#"
        error: cannot read none.onnx: No such file or directory (os error 2)
        hint: check the path
    "#]]
    .assert_eq(&room.refused(&["inspect", "none.onnx"]));
    expect![[r#"
        error: cannot read none.wasm: No such file or directory (os error 2)
        hint: check the path
    "#]]
    .assert_eq(&room.refused(&["run", "none.wasm"]));
    assert!(room.files().is_empty());
}

#[test]
fn every_unsupported_operator_is_named_with_its_layer() {
    refused_export(
        &model_bytes("cases/three_unsupported.onnx"),
        &[],
        expect![[r#"
        error: 3 problems in the model:
        encoder.layer.0.foo (FooBar): the operator FooBar is not supported
          hint: replace the layer by supported operators, or export with another opset; `inspect` lists what is missing
        preprocess.decode (ImageDecoder): the operator ImageDecoder is not supported: every host decodes images itself; give the model pixels
          hint: replace the layer by supported operators, or export with another opset; `inspect` lists what is missing
        tokenizer.normalize (StringNormalizer): the operator StringNormalizer is not supported: tensors of strings do not exist in a module; prepare text before the model
          hint: replace the layer by supported operators, or export with another opset; `inspect` lists what is missing
    "#]],
    );
}

#[test]
fn every_mistake_in_a_model_is_named_with_its_layer() {
    refused_export(
        &model_bytes("cases/bad_rank.onnx"),
        &[],
        expect![[r#"
        error: 2 problems in the model:
        stem.conv (Conv): the input f32[3,8,8] and the weights f32[4,3,3,3] must have the same rank
          hint: check the shapes of this layer in PyTorch, and export the model again
        head (Gemm): matmul: inner sizes 8 and 16 of f32[1,8] and f32[10,16] differ
          hint: check the shapes of this layer in PyTorch, and export the model again
    "#]],
    );
}

#[test]
fn free_dimensions_are_asked_for() {
    refused_export(
        &model_bytes("cases/symbolic_batch.onnx"),
        &["--dim", "bacth=1"],
        expect![[r#"
        error: no input has a dimension named `bacth`
          hint: its symbolic dimensions are: batch
    "#]],
    );
    refused_export(
        &model_bytes("cases/symbolic_batch.onnx"),
        &["--dim", "batch=8..2"],
        expect![[r#"
        error: the range 8..2 of dimension `batch` is empty
          hint: the smaller size comes first
    "#]],
    );
    refused_export(
        &model_bytes("cases/symbolic_batch.onnx"),
        &["--dim", "batch=one"],
        expect![[r#"
        error: invalid value 'batch=one' for '--dim <NAME=N|LOW..HIGH>': `one` is not a size; give a whole number, e.g. `batch=1`, or bounds, e.g. `batch=1..512`

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn names_that_do_not_exist_get_a_suggestion() {
    let mlp = model_bytes("mlp/mlp.legacy.onnx");
    refused_export(
        &mlp,
        &["--passes", "constant_foldng"],
        expect![[r#"
        error: there is no pass `constant_foldng`, did you mean `constant_folding`?; passes are: integer_layers, constant_folding, eliminate_dead_code, share_common, integer_products, fuse_conv_bn_relu, fuse_linear_activation, fuse_attention_ops, fuse_pointwise, quantize_int8, nhwc_layout, compress_weights
    "#]],
    );
    refused_export(
        &mlp,
        &["--disable-pass", "nhwc"],
        expect![[r#"
        error: there is no pass `nhwc`, did you mean `nhwc_layout`?; passes are: integer_layers, constant_folding, eliminate_dead_code, share_common, integer_products, fuse_conv_bn_relu, fuse_linear_activation, fuse_attention_ops, fuse_pointwise, quantize_int8, nhwc_layout, compress_weights
    "#]],
    );
    refused_export(
        &mlp,
        &["--explain", "no_such_rule_at_all"],
        expect![[r#"
            error: there is no rule or pass `no_such_rule_at_all`; rules are: add_zero, subtract_zero, multiply_one, divide_one, power_one, negate_twice, divide_by_power_of_two, transpose_identity, transpose_twice, reshape_same, reshape_twice, expand_same, slice_all, pad_nothing, concat_one, clamp, clamp_from_above, clamp_relu, max_zero, scale_conv, divide_conv, scale_matmul, divide_matmul, scale_of_sum, quotient_of_sum, subtract_constant, sum_of_constants, product_of_constants, scaled_query, scaled_key, known_sizes, fold_constant, equal_cast, inline_scalar, dead_node, equal_node, equal_constant, absorb_map, merge_maps, hoist_map, channels_last, flatten_matmul, merge_projections, cached_keys, integer_layer, integer_product, compress_weights
        "#]],
    );
    refused_export(
        &mlp,
        &["--bind", "inputs=1"],
        expect![[r#"
        error: the model has no input named `inputs`
          hint: its inputs are: input
    "#]],
    );
    refused_export(
        &mlp,
        &["-O7"],
        expect![[r#"
        error: invalid value '7' for '-O <LEVEL>': there are the levels 0, 1, 2 and 3

        For more information, try '--help'.
    "#]],
    );
    let room = Room::new();
    expect![[r#"
        error: unrecognized subcommand 'exprot'

          tip: a similar subcommand exists: 'export'

        Usage: wasm-torch [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]]
    .assert_eq(&room.refused(&["exprot", "model.onnx"]));
    expect![[r#"
        error: there is no pass `fuse_point`, did you mean `fuse_pointwise`?; passes are: integer_layers, constant_folding, eliminate_dead_code, share_common, integer_products, fuse_conv_bn_relu, fuse_linear_activation, fuse_attention_ops, fuse_pointwise, quantize_int8, nhwc_layout, compress_weights
    "#]].assert_eq(&room.refused(&["dump", &model("mlp/mlp.legacy.onnx"), "--after", "fuse_point"]));
    expect![[r#"
        error: the pass `nhwc_layout` does not run with these options (none ran)
        hint: do not disable it, or raise the level: -O2
    "#]]
    .assert_eq(&room.refused(&["dump", &model("mlp/mlp.legacy.onnx"), "--after", "nhwc_layout", "-O1"]));
}

#[test]
fn outputs_that_cannot_be_written() {
    let room = Room::new();
    let mlp = model("mlp/mlp.legacy.onnx");
    std::fs::create_dir(room.path("folder")).unwrap();
    expect![[r#"
        error: cannot write no/such/folder/out.wasm: the folder no/such/folder does not exist
        hint: check the path
    "#]]
    .assert_eq(&room.refused(&["export", &mlp, "-o", "no/such/folder/out.wasm"]));
    expect![[r#"
        error: cannot write folder: is a directory
        hint: this is a folder; name a file
    "#]]
    .assert_eq(&room.refused(&["export", &mlp, "-o", "folder"]));
    // The text depends on who runs the test: root may write read-only folders, but nobody into /proc.
    if cfg!(target_os = "linux") {
        let message = room.refused(&["export", &mlp, "-o", "/proc/out.wasm"]);
        assert!(message.starts_with("error: cannot write /proc/out.wasm: "), "{message}");
    }
    room.write("model.onnx", &model_bytes("mlp/mlp.legacy.onnx"));
    expect![[r#"
        error: the output ./model.onnx is the model itself
        hint: name another file with -o
    "#]]
    .assert_eq(&room.refused(&["export", "model.onnx", "-o", "./model.onnx"]));
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
    refused(
        &["--input", "a=wrong_type.npy", "--input", "b=wrong_shape.npy"],
        expect![[r#"
        error: the input `a` has the wrong element type: expected f32[2, 3, 5], found f64[2, 3, 5]
        hint: convert it, e.g. array.astype(numpy.float32)
        the input `b` has the wrong shape: expected f32[2, 3, 5], found f32[2, 3]
    "#]],
    );
    refused(
        &["--input", "c=wrong_shape.npy"],
        expect![[r#"
        error: the model has no input `c`
        hint: its inputs are: a, b
        the input `a` is missing; expected f32[2, 3, 5]
        the input `b` is missing; expected f32[2, 3, 5]
    "#]],
    );
    refused(
        &["--input", "wrong_shape.npy"],
        expect![[r#"
        error: wrong_shape.npy: the model has several inputs (a, b); which one is this?
        hint: --input a=wrong_shape.npy
    "#]],
    );
    refused(
        &["--input", "a=none.npy"],
        expect![[r#"
        error: cannot read none.npy: No such file or directory (os error 2)
        hint: check the path
    "#]],
    );
    room.write("bad.npy", b"\x89PNG");
    refused(
        &["--input", "a=bad.npy"],
        expect![[r#"
        error: bad.npy: not a NumPy file
        hint: inputs are .npy or .npz files: numpy.save("x.npy", array)
    "#]],
    );
    room.write("cut.npy", &npy_bytes(&Tensor::zeros(DType::F32, &[9])).unwrap()[..140]);
    refused(
        &["--input", "a=cut.npy"],
        expect![[r#"
        error: cut.npy: the file is cut off: 36 bytes of elements are announced, 12 are there
    "#]],
    );
    room.write("other.npz", &model_bytes("digits/golden.npz"));
    refused(
        &["--input", "other.npz"],
        expect![[r#"
        error: other.npz holds none of the model's inputs (a, b)
        hint: it holds: images, labels, logits; keys are the inputs' names, with or without `input:` before them
    "#]],
    );
    refused(
        &["--input", "a=other.npz"],
        expect![[r#"
        error: other.npz has no array `a`
        hint: it holds: images, labels, logits
    "#]],
    );
}

#[test]
fn files_that_are_no_modules() {
    let room = with_module();
    let refused = |bytes: &[u8]| {
        room.write("bad.wasm", bytes);
        let message = room.refused(&["run", "bad.wasm"]);
        assert_eq!(room.refused(&["inspect", "bad.wasm"]), message);
        message
    };
    expect![[r#"
        error: bad.wasm: not a WebAssembly module: the file is empty
    "#]]
    .assert_eq(&refused(b""));
    expect![[r#"
        error: bad.wasm: not a WebAssembly module: this is a PNG image
    "#]]
    .assert_eq(&refused(b"\x89PNG\r\n"));
    expect![[r#"
        error: bad.wasm: a WebAssembly module without a wasm-torch manifest
        hint: make one with `wasm-torch export`
    "#]]
    .assert_eq(&refused(b"\0asm\x01\0\0\0"));
    let module = std::fs::read(room.path("add.wasm")).unwrap();
    let message = refused(&module[..module.len() / 2]);
    assert!(message.starts_with("error: bad.wasm: the module is cut off: section"), "{message}");
}

/// The run ends with an error that names the layer and the index.
#[test]
fn an_index_outside_the_table() {
    let room = Room::new();
    let gather = model("cases/ops/gather_axis0.onnx");
    room.ok(&["export", "-q", &gather, "-o", "gather.wasm"]);
    room.write("indices.npy", &npy_bytes(&Tensor::new(&[2, 2], &[0i64, 1, 8, 9])).unwrap());
    expect![[r#"
        error: the module stopped at step 0 (gather_axis0): An index tensor holds a value outside the indexed dimension. (index 9)
    "#]]
    .assert_eq(&room.refused(&["run", "gather.wasm", "--input", "indices.npy"]));
    expect![[r#"
        error: the model cannot be evaluated: layer gather_axis0: gather: index 9 is out of range for size 9
    "#]]
    .assert_eq(&room.refused(&["verify", &gather, "gather.wasm", "--input", "indices.npy"]));
}
