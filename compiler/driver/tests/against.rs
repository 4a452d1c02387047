//! `verify --against`: tract (with the feature) and recorded outputs. The default oracle is tested with the other commands.

mod common;

use common::{Room, model};
use wasm_torch::NamedTensor;
use wasm_torch::npz::{npz_bytes, read_npz};

/// A room with `model.wasm`, exported from a model of the repository, and the model's path.
fn exported(file: &str) -> (Room, String) {
    let room = Room::new();
    let path = model(file);
    room.ok(&["export", "-q", &path, "-o", "model.wasm"]);
    (room, path)
}

#[test]
fn recorded_outputs_are_an_oracle() {
    let (room, add) = exported("cases/ops/add_same_shape.onnx");
    let golden = model("cases/ops/add_same_shape.npz");
    let report = room.ok(&["verify", &add, "model.wasm", "-i", &golden, "--against", &golden, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((report["ok"].as_bool(), report["against"].as_str()), (Some(true), Some(golden.as_str())), "{report}");

    // The same outputs without marks, as `run --output` writes them; then with one element changed.
    room.ok(&["run", "model.wasm", "-i", &golden, "-o", "plain.npz", "-q"]);
    room.ok(&["verify", &add, "model.wasm", "-i", &golden, "--against", "plain.npz"]);
    let mut outputs = read_npz(&room.path("plain.npz")).unwrap();
    outputs[0].tensor.as_mut_slice::<f32>()[0] += 1.0;
    room.write("changed.npz", &npz_bytes(&outputs).unwrap());
    let answer = room.run(&["verify", &add, "model.wasm", "-i", &golden, "--against", "changed.npz"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stdout.contains("differs") && answer.stderr.contains("differs from changed.npz"), "{answer:?}");

    // Outputs that only one side has are differences.
    let other = NamedTensor::new("output:other", outputs[0].tensor.clone());
    room.write("other.npz", &npz_bytes(&[other]).unwrap());
    let answer = room.run(&["verify", &add, "model.wasm", "-i", &golden, "--against", "other.npz"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    for sentence in ["the module has no output of this name", "other.npz has no output of this name"] {
        assert!(answer.stdout.contains(sentence), "{sentence}: {answer:?}");
    }
}

#[test]
fn recorded_outputs_need_their_inputs() {
    let (room, add) = exported("cases/ops/add_same_shape.onnx");
    let golden = model("cases/ops/add_same_shape.npz");
    let text = room.refused(&["verify", &add, "model.wasm", "--against", &golden]);
    assert!(text.contains("recorded with, not to random ones") && text.contains("hint: give these: --input"), "{text}");
    let inputs: Vec<NamedTensor> = read_npz(golden.as_ref()).unwrap().into_iter().filter(|a| a.name.starts_with("input:")).collect();
    room.write("inputs.npz", &npz_bytes(&inputs).unwrap());
    let text = room.refused(&["verify", &add, "model.wasm", "-i", "inputs.npz", "--against", "inputs.npz"]);
    assert!(text.contains("inputs.npz holds none of the model's outputs (") && text.contains("hint: it holds input:"), "{text}");
    assert!(room.refused(&["verify", &add, "model.wasm", "--against", "none.npz"]).contains("cannot read none.npz"));
    assert!(room.refused(&["verify", &add, "model.wasm", "--against", "torch"]).contains("give eval, tract or an .npz file"));
}

#[cfg(not(feature = "tract"))]
#[test]
fn without_the_feature_tract_is_refused_with_the_command_that_builds_it() {
    let (room, relu) = exported("cases/ops/relu.onnx");
    let text = room.refused(&["verify", &relu, "model.wasm", "--against", "tract"]);
    assert!(text.contains("needs the feature `tract`"), "{text}");
    assert!(text.contains("hint: build it with: cargo install --path compiler/driver --features tract"), "{text}");
}

#[cfg(feature = "tract")]
mod tract {
    use super::*;

    #[test]
    fn tract_agrees_on_whole_models() {
        for file in ["digits/digits.legacy.onnx", "digits/digits.dynamo.onnx", "mlp/mlp.legacy.onnx", "mlp/mlp.external.onnx"] {
            let (room, path) = exported(file);
            let report = room.ok(&["verify", &path, "model.wasm", "--against", "tract", "--random", "2", "--json"]);
            let report: serde_json::Value = serde_json::from_str(&report).unwrap();
            assert_eq!((report["ok"].as_bool(), report["against"].as_str()), (Some(true), Some("tract")), "{file}: {report}");
            assert_eq!(report["samples"].as_array().map(Vec::len), Some(2), "{file}");
        }
    }

    #[test]
    fn tract_sees_a_difference() {
        let (room, _) = exported("cases/ops/relu.onnx");
        let answer = room.run(&["verify", &model("cases/ops/neg.onnx"), "model.wasm", "--against", "tract"]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.stdout.contains("differs") && answer.stderr.contains("differs from tract"), "{answer:?}");
    }

    #[test]
    fn what_tract_refuses_is_said_to_be_its_refusal() {
        let (room, _) = exported("cases/ops/relu.onnx");
        let text = room.refused(&["verify", &model("cases/three_unsupported.onnx"), "model.wasm", "--against", "tract"]);
        assert!(text.contains("it is tract that refuses this model: it has no operator"), "{text}");
        assert!(text.contains("FooBar") && text.contains("hint: compare with the model's definition: --against eval"), "{text}");
        room.write("broken.onnx", b"\x08\xff\xff");
        let text = room.refused(&["verify", "broken.onnx", "model.wasm", "--against", "tract"]);
        assert!(text.contains("it is tract that refuses this model, reading the file: "), "{text}");
        assert!(room.refused(&["verify", "none.onnx", "model.wasm", "--against", "tract"]).contains("cannot read none.onnx"));
    }
}
