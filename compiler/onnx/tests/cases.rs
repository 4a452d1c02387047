//! Every committed model against its golden, by evaluating the imported graph.

mod common;

use common::{check_golden, models, onnx_files};
use expect_test::expect;
use onnx::{ImportOptions, import_file, supported_ops};
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

#[test]
fn the_operators_are_listed() {
    let names: Vec<String> =
        supported_ops().map(|(domain, name)| if domain.is_empty() { name.into() } else { format!("{domain}::{name}") }).collect();
    assert!(supported_ops().is_sorted_by(|a, b| a < b));
    expect![[r#"
        Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh
        Atan Atanh Attention AveragePool BatchNormalization Bernoulli BitCast BitShift BitwiseAnd BitwiseNot
        BitwiseOr BitwiseXor BlackmanWindow Cast CastLike CausalConvWithState Ceil Celu CenterCropPad Clip
        Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos
        Cosh CumProd CumSum DFT DeformConv DepthToSpace DequantizeLinear Det Div Dropout
        DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor
        GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
        GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If InstanceNormalization
        IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual LinearAttention Log
        LogSoftmax Loop LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool MaxUnpool
        Mean MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Multinomial Neg NegativeLogLikelihoodLoss
        NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement OptionalHasElement Or PRelu Pad
        Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike
        Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
        ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round STFT
        Scan Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert
        SequenceLength SequenceMap Shape Shrink Sigmoid Sign SimplifiedLayerNormalization Sin Sinh Size
        Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze
        Sub Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer ThresholdedRelu Tile
        TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor ai.onnx.preview::FlexAttention ai.onnx.preview.training::Adagrad
        ai.onnx.preview.training::Adam ai.onnx.preview.training::Momentum com.microsoft::BiasGelu com.microsoft::DequantizeLinear com.microsoft::DynamicQuantizeMatMul com.microsoft::EmbedLayerNormalization com.microsoft::FastGelu com.microsoft::FusedConv com.microsoft::FusedGemm com.microsoft::FusedMatMul
        com.microsoft::Gelu com.microsoft::MatMulIntegerToFloat com.microsoft::MatMulNBits com.microsoft::QGemm com.microsoft::QLinearAdd com.microsoft::QLinearAveragePool com.microsoft::QLinearConcat com.microsoft::QLinearGlobalAveragePool com.microsoft::QLinearLeakyRelu com.microsoft::QLinearMul
        com.microsoft::QLinearReduceMean com.microsoft::QLinearSigmoid com.microsoft::QLinearSoftmax com.microsoft::QuantizeLinear com.microsoft::QuickGelu com.microsoft::SimplifiedLayerNormalization com.microsoft::SkipLayerNormalization com.microsoft::SkipSimplifiedLayerNormalization"#]]
    .assert_eq(&names.chunks(10).map(|row| row.join(" ")).collect::<Vec<_>>().join("\n"));
}
