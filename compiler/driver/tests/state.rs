//! State between runs: a stateful module against the plain one that is given its own outputs; saved, restored and cleared by
//! the library and from the command line.

mod common;

use common::{Room, model};
use ir::{DType, Tensor};
use std::path::Path;
use wasm_torch::npz::{npz_bytes, read_npz};
use wasm_torch::{ExportOptions, Instance, NamedTensor};

const PAIRS: [&str; 3] = ["h2=h", "c2=c", "tail2=tail"];

fn compiled(states: &[&str]) -> Instance {
    let states = states.iter().map(|pair| pair.parse().unwrap()).collect();
    let options = ExportOptions { states, variants: Some(vec!["baseline".into()]), ..ExportOptions::default() };
    let compiled = wasm_torch::compile(Path::new(&model("cases/flow/state.onnx")), &options, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"));
    Instance::load(&compiled.linked.wasm).unwrap()
}

fn chunk(i: u64) -> NamedTensor {
    NamedTensor::new("x", Tensor::random(DType::F32, &[1, 2, 4], 7 + i))
}

fn zeros(plain: &Instance) -> Vec<NamedTensor> {
    let state = |name: &str| {
        let port = plain.manifest().inputs.iter().find(|p| p.name == name).unwrap();
        NamedTensor::new(name, Tensor::zeros(DType::F32, &port.shape.iter().map(|d| *d as usize).collect::<Vec<_>>()))
    };
    ["h", "c", "tail"].map(state).to_vec()
}

/// One run of the plain model: its output, and the states it leaves.
fn step(plain: &mut Instance, i: u64, states: &[NamedTensor]) -> (Tensor, Vec<NamedTensor>) {
    let outputs = plain.forward(&[&[chunk(i)], states].concat()).unwrap();
    let of = |name: &str| outputs.iter().find(|o| o.name == name).unwrap().tensor.clone();
    (of("y"), ["h", "c", "tail"].map(|name| NamedTensor::new(name, of(&format!("{name}2")))).to_vec())
}

#[test]
fn a_run_goes_on_from_where_the_last_one_ended() {
    let (mut plain, mut module) = (compiled(&[]), compiled(&PAIRS));
    let names = |ports: &[abi::manifest::Tensor]| ports.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&module.manifest().inputs), names(&module.manifest().outputs)), (vec!["x".to_string()], vec!["y".to_string()]));
    let mut states = zeros(&plain);
    assert_eq!(module.save_state(), states, "zeros at first");
    let mut seen = vec![];
    for i in 0..6 {
        let (expected, next) = step(&mut plain, i, &states);
        let found = module.forward(&[chunk(i)]).unwrap();
        assert_eq!(found[0].tensor, expected, "run {i}");
        assert_eq!(module.save_state(), next, "after run {i}");
        seen.push(expected);
        states = next;
    }
    assert_ne!(seen[0], module.forward(&[chunk(0)]).unwrap()[0].tensor, "the state matters");
    module.restore_state(&states).unwrap();
    let after = module.forward(&[chunk(6)]).unwrap()[0].tensor.clone();
    assert_eq!(after, step(&mut plain, 6, &states).0);
    module.reset_state();
    for (i, expected) in seen.iter().enumerate() {
        assert_eq!(module.forward(&[chunk(i as u64)]).unwrap()[0].tensor, *expected, "run {i} after a reset");
    }
}

#[test]
fn states_that_do_not_fit_are_named_and_nothing_is_written() {
    let mut module = compiled(&PAIRS);
    module.forward(&[chunk(0)]).unwrap();
    let before = module.save_state();
    let mut wrong = before.clone();
    wrong[0].name = "hidden".into();
    wrong[1].tensor = Tensor::zeros(DType::F32, &[1, 1, 6]);
    let error = module.restore_state(&wrong).unwrap_err().to_string();
    for sentence in
        ["no state `hidden`", "the state `h` is missing", "the state `c` is f32[1, 1, 5], found f32[1, 1, 6]", "its states are: h, c, tail"]
    {
        assert!(error.contains(sentence), "{error}");
    }
    assert_eq!(module.save_state(), before);
}

#[test]
fn the_command_line_saves_and_restores() {
    let room = Room::new();
    let path = model("cases/flow/state.onnx");
    let states = PAIRS.map(|pair| ["--state", pair]).concat();
    room.ok(&[&["export", "-q", "--variants", "baseline", &path, "-o", "m.wasm"], &states[..]].concat());
    room.write("x.npz", &npz_bytes(&[chunk(0)]).unwrap());
    let y = |args: &[&str]| {
        room.ok(&[&["run", "m.wasm", "-i", "x.npz", "-o", "y.npz", "-q"], args].concat());
        read_npz(&room.path("y.npz")).unwrap()[0].tensor.clone()
    };
    let first = y(&["--state-out", "s.npz"]);
    let second = y(&["--state-in", "s.npz", "--state-out", "s.npz"]);
    let mut module = compiled(&PAIRS);
    let mut forward = || module.forward(&[chunk(0)]).unwrap()[0].tensor.clone();
    assert_eq!((first, second), (forward(), forward()));
    assert_eq!(read_npz(&room.path("s.npz")).unwrap(), module.save_state());
    assert!(room.ok(&["inspect", "m.wasm"]).contains("tail = tail2"));
    room.ok(&["verify", &path, "m.wasm"]);

    let answer = room.run(&["export", &path, "-o", "n.wasm", "--state", "h3=h", "--state", "y=x"]);
    assert_ne!(answer.code, 0);
    for sentence in ["the state h3=h: the model has no output `h3`", "the state y=x: the output is f32[2,1,1,5], the input f32[1,2,4]"] {
        assert!(answer.stderr.contains(sentence), "{}", answer.stderr);
    }
    room.write("z.npz", &npz_bytes(&[NamedTensor::new("h", Tensor::zeros(DType::F32, &[2]))]).unwrap());
    assert!(room.refused(&["run", "m.wasm", "-i", "x.npz", "--state-in", "z.npz"]).contains("the state `h` is f32[1, 1, 5], found f32[2]"));
}

/// A state that grows, and an input of its size: every door finds inputs that fit.
#[test]
fn the_command_line_knows_states_that_grow() {
    let room = Room::new();
    let path = model("cases/flow/growing.onnx");
    let dims = ["--dim", "n=1..3", "--dim", "past=0..9", "--state", "present=history"];
    room.ok(&[&["export", "-q", "--variants", "baseline", &path, "-o", "m.wasm"], &dims[..]].concat());
    assert!(room.ok(&["inspect", "m.wasm"]).contains("past=0..9"));
    // More samples than there is room for: the state begins again.
    let report = room.ok(&["verify", &path, "m.wasm", "--random", "7", "--seed", "1", "--json", "--dim", "n=1..3", "--dim", "past=0..9"]);
    assert_eq!(report.matches("\"ok\": true").count() + report.matches("\"ok\":true").count(), 1 + 7 + 2 * 7, "{report}");
    room.ok(&["bench", "m.wasm", "--repeat", "5", "--profile", "--json"]);
    let run = |n: usize, past: usize, states: &[&str]| {
        let tensor = |name: &str, shape: &[usize]| NamedTensor::new(name, Tensor::random(DType::F32, shape, 5));
        let inputs = [tensor("new", &[1, n, 2]), tensor("weights", &[1, past, 1])];
        room.write("x.npz", &npz_bytes(&inputs).unwrap());
        room.run(&[&["run", "m.wasm", "-i", "x.npz", "-o", "y.npz", "-q"], states].concat())
    };
    let right = |n: usize, past: usize, states: &[&str]| {
        let answer = run(n, past, states);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
    };
    right(2, 0, &["--state-out", "s.npz"]);
    assert_eq!(read_npz(&room.path("s.npz")).unwrap()[0].tensor.shape, [1, 2, 2]);
    right(3, 2, &["--state-in", "s.npz", "--state-out", "s.npz"]);
    assert_eq!(read_npz(&room.path("s.npz")).unwrap()[0].tensor.shape, [1, 5, 2]);
    let wrong = run(1, 4, &["--state-in", "s.npz"]);
    assert!(wrong.code != 0 && wrong.stderr.contains("`past` is 5 in the state `history`"), "{}", wrong.stderr);
}
