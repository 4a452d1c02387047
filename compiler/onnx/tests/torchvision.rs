//! The torchvision models of the cache: import, verify, layer names; one network against its golden.

mod common;

use common::{cached_models, check_golden, models, onnx_files};
use expect_test::expect;
use onnx::{ImportOptions, Imported, import_file};
use std::path::Path;

fn import(path: &Path) -> Imported {
    import_file(path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_cached_model_imports_and_verifies() {
    let Some(folder) = cached_models("every_cached_model_imports_and_verifies") else { return };
    for file in onnx_files(&folder) {
        let model = import(&file);
        ir::verify::verify(&model.graph).unwrap_or_else(|e| panic!("{}: {e:?}", file.display()));
        assert!(model.warnings.is_empty(), "{}: {:?}", file.display(), model.warnings);
    }
}

#[test]
fn every_cached_model_equals_its_golden() {
    let Some(folder) = cached_models("every_cached_model_equals_its_golden") else { return };
    for path in onnx_files(&folder) {
        let golden = path.with_extension("npz");
        if !golden.exists() {
            println!("SKIPPED {}: there is no golden beside it", path.display());
            continue;
        }
        let start = std::time::Instant::now();
        check_golden(&import(&path).graph, &golden, 1e-4).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        println!("{} {:?}", path.display(), start.elapsed());
    }
}

/// The layers of a model in order, each once.
fn layers(path: &Path) -> Vec<String> {
    let graph = import(path).graph;
    let mut layers: Vec<String> = vec![];
    for node in graph.order() {
        let layer = graph.node(node).origin.join(" + ");
        if layers.last() != Some(&layer) {
            layers.push(layer);
        }
    }
    layers
}

#[test]
fn layers_of_digits() {
    expect![[r#"
        stem.0
        stem.1
        stem.2
        depthwise.0
        depthwise.1
        depthwise.2
        pointwise.0
        pointwise.1
        pointwise.2
        pool
        residual.conv
        residual.bn
        residual
        widen.0
        widen.1
        widen.2
        average
        Flatten
        hidden
        Relu
        classify"#]]
    .assert_eq(&layers(&models().join("digits/digits.legacy.onnx")).join("\n"));
    expect![[r#"
        stem.0 + stem.1
        stem.2
        depthwise.0 + depthwise.1
        depthwise.2
        pointwise.0 + pointwise.1
        pointwise.2
        pool
        residual.conv + residual.bn
        residual
        widen.0 + widen.1
        widen.2
        average
        view
        hidden
        relu_5
        classify"#]]
    .assert_eq(&layers(&models().join("digits/digits.dynamo.onnx")).join("\n"));
    expect![[r#"
        layers.0
        layers.1
        Softmax"#]]
    .assert_eq(&layers(&models().join("cases/local_function.onnx")).join("\n"));
}

#[test]
fn layers_of_mobilenet() {
    let Some(folder) = cached_models("layers_of_mobilenet") else { return };
    let first = |name: &str| layers(&folder.join(name)).into_iter().take(8).collect::<Vec<_>>().join("\n");
    expect![[r#"
        features.0.0
        features.0.2
        features.1.conv.0.0
        features.1.conv.0.2
        features.1.conv.1
        features.2.conv.0.0
        features.2.conv.0.2
        features.2.conv.1.0"#]]
    .assert_eq(&first("mobilenet_v2.legacy.onnx"));
    expect![[r#"
        features.0.0 + features.0.1
        features.0.2
        features.1.conv.0.0 + features.1.conv.0.1
        features.1.conv.0.2
        features.1.conv.1 + features.1.conv.2
        features.2.conv.0.0 + features.2.conv.0.1
        features.2.conv.0.2
        features.2.conv.1.0 + features.2.conv.1.1"#]]
    .assert_eq(&first("mobilenet_v2.dynamo.onnx"));
}
