//! Real exports through the whole pipeline: results stay, and the shape of the optimised graph is what the lowering
//! counts on. The torchvision models are looked at where `models/` has put them; without them that test says so.

use ir::Graph;
use ir::ops::Op;
use passes::{CheckOptions, Level, Options, run, same_results};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

fn import(path: &Path) -> Graph {
    let mut graph = onnx::import_file(path, &onnx::ImportOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display())).graph;
    if let Some((name, _)) = graph.symbols.first() {
        let name = name.to_string();
        ir::bind::bind(&mut graph, &[(&name, 2)]).unwrap();
    }
    graph
}

fn optimise(graph: &mut Graph, level: Level) {
    run(graph, &Options { level, ..Options::default() }, &mut |_| {}).unwrap();
}

/// Nodes by operator.
fn census(graph: &Graph) -> BTreeMap<&'static str, usize> {
    let mut census = BTreeMap::new();
    for node in graph.order() {
        *census.entry(graph.node(node).op.name()).or_default() += 1;
    }
    census
}

fn text(census: &BTreeMap<&'static str, usize>) -> String {
    census.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

fn repository_models() -> Vec<PathBuf> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("models");
    ["digits/digits.dynamo.onnx", "digits/digits.legacy.onnx", "mlp/mlp.dynamo.onnx", "mlp/mlp.legacy.onnx"].map(|m| models.join(m)).into()
}

#[test]
fn small_models_keep_their_results() {
    for path in repository_models() {
        for level in [Level::O1, Level::O2, Level::O3] {
            let before = import(&path);
            let mut after = before.clone();
            optimise(&mut after, level);
            same_results(&before, &after, "all", &CheckOptions { rtol: 1e-5, ..CheckOptions::default() }).unwrap();
        }
    }
}

/// One small model per operator and corner: whatever can be imported and evaluated keeps its results.
#[test]
fn operator_cases_keep_their_results() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("models/cases");
    let mut paths: Vec<PathBuf> = [cases.clone(), cases.join("ops")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()))
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    paths.sort();
    let mut checked = 0;
    for path in paths {
        let Ok(imported) = onnx::import_file(&path, &onnx::ImportOptions::default()) else { continue };
        // Free dimensions stay free; the evaluation chooses sizes.
        let before = imported.graph;
        if ir::eval::eval(&before, &passes::random_inputs(&before, 0)).is_err() {
            continue;
        }
        let mut after = before.clone();
        let name = path.display();
        run(&mut after, &Options::default(), &mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}"));
        same_results(&before, &after, "all", &CheckOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}\n{before}\n{after}"));
        checked += 1;
    }
    println!("{checked} cases");
    assert!(checked > 100, "only {checked} cases could be evaluated");
}

#[test]
fn every_pass_keeps_the_results_of_digits() {
    for path in repository_models() {
        let mut graph = import(&path);
        run(&mut graph, &Options { check: Some(CheckOptions::default()), ..Options::default() }, &mut |_| {}).unwrap();
    }
}

#[test]
fn digits_and_mlp_are_fused() {
    for path in repository_models() {
        let mut graph = import(&path);
        optimise(&mut graph, Level::O2);
        let census = census(&graph);
        println!("{}: {}", path.display(), text(&census));
        if std::env::var_os("PRINT").is_some() {
            println!("{graph}");
        }
        assert_eq!(census.get("transpose"), None, "{}", path.display());
        assert_eq!(census.get("map"), None, "{}", path.display());
    }
}

#[test]
fn torchvision_models_are_fused() {
    let home = || std::env::home_dir().unwrap_or_default().join(".cache/wasm-torch");
    let folder = std::env::var_os("WASM_TORCH_CACHE").map_or_else(home, PathBuf::from).join("models");
    for model in ["mobilenet_v2", "resnet18", "squeezenet1_1"] {
        for exporter in ["dynamo", "legacy"] {
            let path = folder.join(format!("{model}.{exporter}.onnx"));
            if !path.exists() {
                // Past the harness, which swallows what a passing test prints.
                let _ = writeln!(std::io::stderr(), "SKIPPED: {} is not there; make it with models/torchvision/export.py", path.display());
                continue;
            }
            if std::env::var_os("EVALUATE").is_some() {
                // Minutes of naive evaluation: only on demand.
                let before = import(&path);
                let mut after = before.clone();
                optimise(&mut after, Level::O2);
                same_results(&before, &after, "all", &CheckOptions::default()).unwrap();
            }
            let started = std::time::Instant::now();
            let mut graph = import(&path);
            let imported = started.elapsed();
            let before = census(&graph);
            optimise(&mut graph, Level::O2);
            let after = census(&graph);
            println!(
                "{model}.{exporter}: {} → {}  (import {imported:?}, passes {:?})",
                text(&before),
                text(&after),
                started.elapsed() - imported
            );
            if std::env::var_os("PRINT").is_some() {
                println!("{graph}");
            }
            assert_eq!(after.get("transpose"), Some(&1), "{model}.{exporter}");
            assert_eq!(after.get("map"), None, "{model}.{exporter}");
            let first = graph.order()[0];
            assert!(matches!(graph.node(first).op, Op::Transpose(_)), "the transpose is the input's");
        }
    }
}
