//! Bad input: every problem is named, nothing panics.

mod common;

use common::{models, onnx_files};
use expect_test::{Expect, expect};
use onnx::proto::attribute_proto::AttributeType;
use onnx::proto::tensor_proto::{DataLocation, DataType};
use onnx::proto::tensor_shape_proto::{Dimension, dimension};
use onnx::proto::*;
use onnx::{Binding, ImportOptions, Kind, import_bytes, import_file};
use prost::Message;

fn error_of(file: &str) -> String {
    import_file(models().join(file), &ImportOptions::default()).expect_err(file).to_string()
}

fn check_bytes(bytes: &[u8], expected: Expect) {
    let error = import_bytes(bytes.to_vec(), &ImportOptions::default()).expect_err("bad bytes");
    assert!(error.problems.iter().all(|p| p.kind == Kind::NotOnnx));
    expected.assert_eq(&error.to_string());
}

#[test]
fn all_unsupported_operators_are_named_with_their_layers() {
    expect![[r#"
        3 problems in the model:
        encoder.layer.0.foo (FooBar): the operator FooBar is not supported
          hint: replace the layer by supported operators, or export with another opset; `inspect` lists what is missing
        preprocess.decode (ImageDecoder): the operator ImageDecoder is not supported: every host decodes images itself; give the model pixels
          hint: replace the layer by supported operators, or export with another opset; `inspect` lists what is missing
        tokenizer.normalize (StringNormalizer): the operator StringNormalizer is not supported: tensors of strings do not exist in a module; prepare text before the model
          hint: replace the layer by supported operators, or export with another opset; `inspect` lists what is missing"#]]
    .assert_eq(&error_of("cases/three_unsupported.onnx"));
}

#[test]
fn both_mistakes_are_reported() {
    expect![[r#"
        2 problems in the model:
        stem.conv (Conv): the input f32[3,8,8] and the weights f32[4,3,3,3] must have the same rank
          hint: check the shapes of this layer in PyTorch, and export the model again
        head (Gemm): matmul: inner sizes 8 and 16 of f32[1,8] and f32[10,16] differ
          hint: check the shapes of this layer in PyTorch, and export the model again"#]]
    .assert_eq(&error_of("cases/bad_rank.onnx"));
}

#[test]
fn what_is_not_a_model_is_named() {
    check_bytes(
        b"",
        expect![[r#"
        the input is empty, not an ONNX model
          hint: the export or the download may have failed; make the file again"#]],
    );
    check_bytes(
        b"\x89PNG\r\n\x1a\n....",
        expect![[r#"
        the input is not an ONNX model: it is a PNG image
          hint: pass the model, not an image"#]],
    );
    check_bytes(
        b"PK\x03\x04archive/data.pkl",
        expect![[r#"
        the input is not an ONNX model: it is a zip archive; PyTorch checkpoints (.pt, .pth) look like this
          hint: export it first: torch.onnx.export(model, (example,), "model.onnx")"#]],
    );
    check_bytes(
        b"\0asm\x01\0\0\0",
        expect![[r#"
        the input is not an ONNX model: it is a WebAssembly module; it may have been exported already
          hint: pass the .onnx file it was made from"#]],
    );
    check_bytes(
        b"\x10\0\0\0\0\0\0\0{\"w\":{}}",
        expect![[r#"
        the input is not an ONNX model: it is a safetensors file: weights without a model
          hint: export it first: torch.onnx.export(model, (example,), "model.onnx")"#]],
    );
    check_bytes(
        b"<!DOCTYPE html>",
        expect![[r#"
        the input is not an ONNX model: it is an HTML page
          hint: the download may have returned an error page; fetch the file again"#]],
    );
    check_bytes(
        b"hello world",
        expect![[r#"
        the input (11 bytes) is not an ONNX model: failed to decode Protobuf message: unexpected end group tag
          hint: export it first: torch.onnx.export(model, (example,), "model.onnx")"#]],
    );
    check_bytes(
        &[0x08, 0x08],
        expect![[r#"
        the input (2 bytes) holds no graph
          hint: it is not an ONNX model, or only the beginning of one; export or download it again"#]],
    );
    let digits = std::fs::read(models().join("digits/digits.legacy.onnx")).unwrap();
    check_bytes(
        &digits[..1000],
        expect![[r#"
        the input (1000 bytes) is a damaged or truncated ONNX model: failed to decode Protobuf message: ModelProto.graph: buffer underflow
          hint: compare its size with the original's; export or download it again"#]],
    );
}

#[test]
fn unreadable_paths_are_named() {
    let error = import_file("no/such/model.onnx", &ImportOptions::default()).unwrap_err();
    assert_eq!(error.problems[0].kind, Kind::Unreadable);
    assert!(error.to_string().contains("cannot read no/such/model.onnx"), "{error}");
    let error = import_file(models(), &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("is a directory, not an ONNX file"), "{error}");
}

#[test]
fn truncations_are_errors() {
    for file in ["digits/digits.legacy.onnx", "digits/digits.dynamo.onnx", "cases/local_function.onnx"] {
        let bytes = std::fs::read(models().join(file)).unwrap();
        for i in 0..300 {
            let length = bytes.len() * i / 300;
            assert!(import_bytes(bytes[..length].to_vec(), &ImportOptions::default()).is_err(), "{file} cut to {length} bytes");
        }
    }
}

#[test]
fn outputs_that_are_not_given_matter_only_when_used() {
    let abs = node("Abs", "/abs/Abs", &["x"], &["y", "sign"], vec![]);
    let relu = |input| node("Relu", "/act/Relu", &[input], &["z"], vec![]);
    assert!(import(&model(vec![abs.clone(), relu("y")], image(), vec![]), &ImportOptions::default()).is_ok());
    check(
        &model(vec![abs, relu("sign")], image(), vec![]),
        expect![[r#"
        act (Relu): output 2 of Abs is not supported
          hint: export in evaluation mode (model.eval()), or do not use this output"#]],
    );
}

/// A small deterministic generator (xorshift64*): tests must not depend on a clock.
struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

/// Mutates bytes of every small model; whatever imports must verify. Weights are long, so that most of the hits go to the
/// first and last bytes, where the structure is.
#[test]
fn mutations_do_not_panic() {
    let mut files = onnx_files(&models().join("cases/ops"));
    files.extend(onnx_files(&models().join("cases")));
    files.push(models().join("digits/digits.legacy.onnx"));
    files.push(models().join("digits/digits.dynamo.onnx"));
    let mut random = Random(7);
    let (mut imported, mut refused) = (0, 0);
    for file in &files {
        let original = std::fs::read(file).unwrap();
        for _ in 0..60 {
            let mut bytes = original.clone();
            for _ in 0..=random.below(4) {
                let n = bytes.len();
                let at = match random.below(3) {
                    0 => random.below(n),
                    1 => random.below(n.min(600)),
                    _ => n - 1 - random.below(n.min(600)),
                };
                bytes[at] = match random.below(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => bytes[at] ^ (1 << random.below(8)),
                    _ => random.below(256) as u8,
                };
            }
            match import_bytes(bytes, &ImportOptions::default()) {
                Ok(model) => {
                    imported += 1;
                    if let Err(e) = ir::verify::verify(&model.graph) {
                        panic!("{}: {e:?}", file.display());
                    }
                }
                Err(_) => refused += 1,
            }
        }
    }
    println!("{imported} mutations imported, {refused} refused");
    assert!(imported > 100 && refused > 100);
}

// Models made by hand.

fn dim(size: i64) -> Dimension {
    Dimension { denotation: None, value: Some(dimension::Value::DimValue(size)) }
}

fn tensor_info(name: &str, elem: DataType, dims: Vec<Dimension>) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: Some(elem as i32), shape: Some(TensorShapeProto { dim: dims }) };
    let ty = TypeProto { denotation: None, value: Some(type_proto::Value::TensorType(tensor)) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
}

fn node(op_type: &str, name: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    NodeProto {
        op_type: Some(op_type.into()),
        name: Some(name.into()),
        input: names(inputs),
        output: names(outputs),
        attribute,
        ..Default::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(AttributeType::Ints as i32), ints: values.to_vec(), ..Default::default() }
}

fn model(nodes: Vec<NodeProto>, input: ValueInfoProto, initializers: Vec<TensorProto>) -> ModelProto {
    let output = nodes.last().unwrap().output[0].clone();
    let graph = GraphProto {
        node: nodes,
        input: vec![input],
        initializer: initializers,
        output: vec![ValueInfoProto { name: Some(output), ..Default::default() }],
        ..Default::default()
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: Some("ai.onnx".into()), version: Some(17) }],
        graph: Some(graph),
        ..Default::default()
    }
}

fn import(model: &ModelProto, options: &ImportOptions) -> Result<onnx::Imported, String> {
    import_bytes(model.encode_to_vec(), options).map_err(|e| e.to_string())
}

fn check(model: &ModelProto, expected: Expect) {
    expected.assert_eq(&import(model, &ImportOptions::default()).expect_err("a bad model"));
}

fn image() -> ValueInfoProto {
    tensor_info("x", DataType::Float, vec![dim(1), dim(2), dim(8), dim(8)])
}

#[test]
fn extreme_attributes_are_errors() {
    for (attribute, values) in [
        ("strides", vec![i64::MAX, 1]),
        ("strides", vec![0, 1]),
        ("dilations", vec![i64::MAX, i64::MAX]),
        ("pads", vec![i64::MAX; 4]),
        ("pads", vec![-1; 4]),
        ("kernel_shape", vec![i64::MAX, i64::MAX]),
        ("kernel_shape", vec![0, 0]),
        ("kernel_shape", vec![]),
    ] {
        let mut attributes = vec![ints(attribute, &values)];
        if attribute != "kernel_shape" {
            attributes.push(ints("kernel_shape", &[2, 2]));
        }
        for op in ["MaxPool", "AveragePool"] {
            let model = model(vec![node(op, "/pool/Pool", &["x"], &["y"], attributes.clone())], image(), vec![]);
            assert!(import(&model, &ImportOptions::default()).is_err(), "{op} {attribute} {values:?}");
        }
    }
}

#[test]
fn functions_that_call_themselves_are_errors() {
    let call = NodeProto { domain: Some("f".into()), ..node("Again", "again", &["x"], &["y"], vec![]) };
    let mut model = model(vec![call.clone()], image(), vec![]);
    let twice = NodeProto { output: vec!["z".into()], ..call.clone() };
    model.functions.push(FunctionProto {
        name: Some("Again".into()),
        domain: Some("f".into()),
        input: vec!["x".into()],
        output: vec!["y".into()],
        node: vec![twice, call],
        ..Default::default()
    });
    let error = import(&model, &ImportOptions::default()).unwrap_err();
    assert!(error.contains("must not call themselves") || error.contains("expand to more than"), "{}", &error[..error.len().min(500)]);
}

#[test]
fn external_data_stays_below_the_model() {
    let at = |location: &str| {
        let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
        let weight = TensorProto {
            name: Some("w".into()),
            dims: vec![8],
            data_type: Some(DataType::Float as i32),
            data_location: Some(DataLocation::External as i32),
            external_data: vec![entry("location", location), entry("offset", "16")],
            ..Default::default()
        };
        let model = model(vec![node("Add", "/add/Add", &["x", "w"], &["y"], vec![])], image(), vec![weight]);
        let options = ImportOptions { base_dir: Some(models().join("mlp")), ..Default::default() };
        import(&model, &options).map(|_| ())
    };
    assert_eq!(at("mlp.external.onnx.data"), Ok(()));
    for (location, says) in [
        ("../digits/golden.npz", "must lie below the model's directory"),
        ("/etc/passwd", "must lie below the model's directory"),
        ("a/../../x", "must lie below the model's directory"),
        ("", "must lie below the model's directory"),
        ("missing.data", "cannot read external data"),
    ] {
        let error = at(location).expect_err(location);
        assert!(error.contains(says), "{location}: {error}");
    }
}

#[test]
fn unknown_domains_and_types_are_named() {
    let foreign = NodeProto { domain: Some("com.example".into()), ..node("Thing", "/block/Thing", &["x"], &["y"], vec![]) };
    check(
        &model(vec![foreign], image(), vec![]),
        expect![[r#"
        block (com.example::Thing): the operator Thing of the domain `com.example` is not supported
          hint: export with standard ONNX operators only"#]],
    );
    let strings = tensor_info("x", DataType::String, vec![dim(1)]);
    let relu = node("Relu", "/act/Relu", &["x"], &["y"], vec![]);
    check(
        &model(vec![relu.clone()], strings, vec![]),
        expect![[r#"
            input `x`: elements of type string are not supported
              hint: known are: f32, f64, f16, bf16, i8, i16, i32, i64, u8, u16, u32, u64, bool, i4, u4, i2, u2, f8e4m3fn, f8e4m3fnuz, f8e5m2, f8e5m2fnuz, f4e2m1, f8e8m0"#]],
    );
    let gap = node("Relu", "/act/Relu", &["nowhere"], &["y"], vec![]);
    check(
        &model(vec![gap], image(), vec![]),
        expect![[r#"
        act (Relu): its input `nowhere` is computed by no earlier node
          hint: the file may be damaged; export it again"#]],
    );
}

#[test]
fn options_are_checked_against_the_model() {
    let path = models().join("cases/symbolic_batch.onnx");
    let with = |options: ImportOptions| import_file(&path, &options).map_err(|e| e.to_string());
    let free = with(ImportOptions::default()).unwrap();
    assert_eq!(free.graph.symbols.keys().map(ToString::to_string).collect::<Vec<_>>(), ["batch"]);
    let bound = with(ImportOptions { dims: vec![("batch".into(), 5)], ..Default::default() }).unwrap();
    assert!(bound.graph.symbols.is_empty());
    assert_eq!(bound.graph.ty(bound.graph.inputs[0]).shape[0], ir::Dim::from(5i64));
    let wrong = ImportOptions {
        dims: vec![("bach".into(), 2), ("batch".into(), 0)],
        bind_inputs: vec![("nothing".into(), Binding::Numbers(vec![1.0]))],
        ..Default::default()
    };
    expect![[r#"
        3 problems in the model:
        no input has a dimension named `bach`
          hint: its symbolic dimensions are: batch
        dimension `batch` cannot have the size 0
          hint: sizes are at least 1
        the model has no input named `nothing`
          hint: its inputs are: input"#]]
    .assert_eq(&with(wrong).unwrap_err());
}

#[test]
fn inputs_become_constants() {
    let relu = node("Relu", "/act/Relu", &["x"], &["y"], vec![]);
    let bind = |binding| ImportOptions { bind_inputs: vec![("x".into(), binding)], ..Default::default() };
    let bound = import(&model(vec![relu.clone()], image(), vec![]), &bind(Binding::Numbers(vec![0.5]))).unwrap();
    assert!(bound.graph.inputs.is_empty());
    let output = ir::eval::eval(&bound.graph, &[]).unwrap().remove(0);
    assert!(output.as_slice::<f32>().iter().all(|x| *x == 0.5) && output.len() == 128);
    assert!(import(&model(vec![relu], image(), vec![]), &bind(Binding::Numbers(vec![0.5, 1.0]))).is_err());
}

#[test]
fn sparse_tensors_become_dense() {
    let ints = |dims: &[i64], data: &[i64]| TensorProto {
        dims: dims.to_vec(),
        data_type: Some(DataType::Int64 as i32),
        int64_data: data.to_vec(),
        ..Default::default()
    };
    let values = TensorProto {
        name: Some("w".into()),
        dims: vec![2],
        data_type: Some(DataType::Float as i32),
        float_data: vec![1.5, -2.0],
        ..Default::default()
    };
    let with = |indices: TensorProto| {
        let mut model = model(vec![node("Identity", "", &["w"], &["y"], vec![])], image(), vec![]);
        let sparse = SparseTensorProto { values: Some(values.clone()), indices: Some(indices), dims: vec![2, 3] };
        model.graph.as_mut().unwrap().sparse_initializer.push(sparse);
        let graph = import(&model, &ImportOptions::default())?.graph;
        let image = ir::Tensor::zeros(ir::DType::F32, &[1, 2, 8, 8]);
        Ok::<_, String>(ir::eval::eval(&graph, &[image]).unwrap().remove(0).as_slice::<f32>().to_vec())
    };
    let dense = vec![0.0, 1.5, 0.0, 0.0, 0.0, -2.0];
    assert_eq!(with(ints(&[2], &[1, 5])), Ok(dense.clone()));
    assert_eq!(with(ints(&[2, 2], &[0, 1, 1, 2])), Ok(dense));
    assert!(with(ints(&[2], &[1, 6])).unwrap_err().contains("lies outside"));
    assert!(with(ints(&[2, 2], &[0, 1, 2, 2])).unwrap_err().contains("lies outside"));
    assert!(with(ints(&[3], &[0, 1, 2])).unwrap_err().contains("do not fit"));
}
