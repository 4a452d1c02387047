//! Every committed model against its golden, by evaluating the imported graph.

mod common;

use common::{check_golden, models, onnx_files};
use expect_test::expect;
use onnx::{ImportOptions, import_file};
use std::path::PathBuf;

/// Cases that hold mistakes on purpose; `problems.rs` looks at them.
const MISTAKES: &[&str] = &["bad_rank", "three_unsupported"];
/// Operators that are not supported yet, by case.
const UNSUPPORTED: &[&str] = &[];
const TOLERANCE: f64 = 1e-5;

fn stem(path: &std::path::Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_case_equals_its_golden() {
    let mut files = onnx_files(&models().join("cases"));
    files.retain(|f| !MISTAKES.contains(&stem(f).as_str()));
    files.extend(onnx_files(&models().join("cases/ops")));
    files.extend(onnx_files(&models().join("cases/contrib")));
    files.extend(onnx_files(&models().join("cases/flow")));
    assert!(files.len() > 200, "only {} cases found", files.len());
    let (mut passed, mut unsupported, mut failed) = (0, vec![], vec![]);
    for file in &files {
        let name = stem(file);
        match import_file(file, &ImportOptions::default()) {
            Ok(model) => match check_golden(&model.graph, &file.with_extension("npz"), TOLERANCE) {
                Ok(()) => passed += 1,
                Err(e) => failed.push(format!("{name}: {e}")),
            },
            Err(e) if e.problems.iter().all(|p| p.kind == onnx::Kind::Unsupported) => {
                println!("unsupported: {name}: {e}");
                unsupported.push(name);
            }
            Err(e) => failed.push(format!("{name}: {e}")),
        }
    }
    println!("{passed} of {} cases pass, {} are unsupported", files.len(), unsupported.len());
    assert!(failed.is_empty(), "{} cases fail:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(unsupported, UNSUPPORTED);
}

#[test]
fn the_perceptron_equals_its_golden_in_every_form() {
    for form in ["dynamo", "legacy", "external"] {
        let folder = models().join("mlp");
        let model =
            import_file(folder.join(format!("mlp.{form}.onnx")), &ImportOptions::default()).unwrap_or_else(|e| panic!("{form}: {e}"));
        check_golden(&model.graph, &folder.join("golden.npz"), TOLERANCE).unwrap_or_else(|e| panic!("{form}: {e}"));
    }
}

#[test]
fn digits_equal_pytorch() {
    let folder = models().join("digits");
    let arrays = common::read_npz(&folder.join("golden.npz"));
    let array = |name: &str| &arrays.iter().find(|(n, _)| n == name).unwrap().1;
    let (images, logits) = (array("images").as_slice::<f32>(), array("logits").as_slice::<f32>());
    for form in ["dynamo", "legacy"] {
        let path: PathBuf = folder.join(format!("digits.{form}.onnx"));
        let model = import_file(&path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{form}: {e}"));
        ir::verify::verify(&model.graph).unwrap();
        for i in 0..256 {
            let image = ir::Tensor::new(&[1, 1, 28, 28], &images[i * 784..][..784]);
            let found = ir::eval::eval(&model.graph, &[image]).unwrap().remove(0);
            let expected = ir::Tensor::new(&[1, 10], &logits[i * 10..][..10]);
            assert!(common::difference(&found, &expected) < TOLERANCE, "{form}, image {i}: {found:?} {expected:?}");
        }
    }
}

/// Shapes that follow from a free dimension stay expressions of it.
#[test]
fn free_dimensions_stay_symbolic() {
    let outputs = |name: &str| {
        let graph = import_file(models().join("cases").join(name), &ImportOptions::default()).unwrap().graph;
        let types: Vec<String> = graph.outputs.iter().map(|o| format!("{}: {}", o.name, graph.ty(o.value))).collect();
        types.join(", ")
    };
    expect!["logits: f32[batch,5]"].assert_eq(&outputs("symbolic_batch.onnx"));
    expect!["output: f32[batch,15,8]"].assert_eq(&outputs("reshape_shape_ops_dynamic.onnx"));
}
