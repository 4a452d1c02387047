//! The edges of what a model may be given, in modules: empty tensors, sizes of zero, NaN and infinities, indices out of range.
//! Each gives what `eval` gives, or an error that names the layer, after which the module still runs.

use ir::{DType, Tensor};
use wasm_torch::compare::{Tolerance, compare};
use wasm_torch::export::{lower, run_passes};
use wasm_torch::{ExportOptions, Instance, NamedTensor};

struct Case {
    graph: ir::Graph,
    modules: Vec<(&'static str, Instance)>,
}

/// A graph's modules at two levels: as it is, and after the passes.
fn case(text: &str) -> Case {
    let graph = ir::text::parse_graph(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let module = |level: &'static str| {
        let options = ExportOptions {
            level: Some(level[1..].parse().expect("a level")),
            variants: Some(vec!["baseline".into()]),
            ..ExportOptions::default()
        };
        let config = options.resolve().expect("options");
        let mut graph = graph.clone();
        run_passes(&mut graph, &config, &mut |_| {}).expect("passes");
        let plan = lower(&graph, &config).unwrap_or_else(|e| panic!("{e}\n{graph}"));
        (level, Instance::load(&link::link(&plan, &config.link).expect("links").wasm).expect("loads"))
    };
    Case { modules: vec![module("O0"), module("O2")], graph }
}

impl Case {
    fn named(&self, inputs: &[Tensor]) -> Vec<NamedTensor> {
        self.graph.inputs.iter().zip(inputs).map(|(id, t)| NamedTensor::new(&self.graph.value(*id).name, t.clone())).collect()
    }

    /// Every module gives what `eval` gives.
    fn agrees(&mut self, inputs: &[Tensor]) {
        let expected = ir::eval::eval(&self.graph, inputs).unwrap_or_else(|e| panic!("{e}\n{}", self.graph));
        let named = self.named(inputs);
        for (level, module) in &mut self.modules {
            let found = module.forward(&named).unwrap_or_else(|e| panic!("{level}: {e}\n{}", self.graph));
            for (found, expected) in found.iter().zip(&expected) {
                let difference = compare(&found.name, expected, &found.tensor, Tolerance { rtol: 1e-5, atol: 1e-6 });
                assert!(
                    difference.ok,
                    "{level}: {difference:?}\nexpected {:?}\nfound {:?}\n{}",
                    expected.to_f64s(),
                    found.tensor.to_f64s(),
                    self.graph
                );
            }
        }
    }

    /// Every module refuses with a sentence that holds `text`.
    fn refuses(&mut self, inputs: &[Tensor], text: &str) {
        let named = self.named(inputs);
        for (level, module) in &mut self.modules {
            let error = module.forward(&named).expect_err(level).to_string();
            assert!(error.contains(text), "{level}: {error}");
        }
    }
}

fn f32s(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape, values)
}

#[test]
fn dimensions_of_size_zero() {
    let x = Tensor::random(DType::F32, &[3, 0], 1);
    let w = Tensor::random(DType::F32, &[0, 4], 2);
    // A product over nothing is zero, and so is its epilogue's operand.
    case("graph \"g\" %x: f32[3,0] = input %w: f32[0,4] = input %y = matmul(%x, %w; transpose_b=false, epilogue={add(%0, 1.0)}) output \"y\" = %y")
        .agrees(&[x.clone(), w]);
    for kind in ["sum", "prod", "max", "min"] {
        case(&format!("graph \"g\" %x: f32[3,0] = input %y = reduce(%x; kind={kind}, axes=[1], keepdims=false) output \"y\" = %y"))
            .agrees(std::slice::from_ref(&x));
    }
    case("graph \"g\" %x: f32[3,0] = input %z: f32[3,2] = input %y = concat(%x, %z, %x; axis=1) %r = relu(%x) output \"y\" = %y output \"r\" = %r")
        .agrees(&[x.clone(), Tensor::random(DType::F32, &[3, 2], 3)]);
    case("graph \"g\" %x: f32[3,0] = input %y = softmax(%x; axis=1) %t = transpose(%x; perm=[1,0]) output \"y\" = %y output \"t\" = %t")
        .agrees(&[x]);
    let table = Tensor::random(DType::F32, &[5, 2], 4);
    case("graph \"g\" %x: f32[5,2] = input %i: i64[0] = input %y = gather(%x, %i; axis=0) output \"y\" = %y")
        .agrees(&[table, Tensor::zeros(DType::I64, &[0])]);
}

#[test]
fn free_sizes_may_be_zero() {
    let mut attention = case(
        "graph \"g\" symbol p: 0..20 symbol s: 1..4
         %k: f32[2,p,8] = input %n: f32[2,s,8] = input
         %a = concat(%k, %n; axis=1)
         %m = matmul(%n, %a; transpose_b=true, epilogue={mul(%0, 0.25)})
         %w = softmax(%m; axis=2)
         %y = matmul(%w, %a; transpose_b=false)
         %r = reduce(%k; kind=sum, axes=[1], keepdims=false)
         %t = transpose(%k; perm=[1,0,2])
         output \"y\" = %y output \"r\" = %r output \"t\" = %t",
    );
    for (past, new) in [(0, 1), (0, 4), (20, 3), (1, 1), (0, 2)] {
        attention.agrees(&[Tensor::random(DType::F32, &[2, past, 8], 5), Tensor::random(DType::F32, &[2, new, 8], 6)]);
    }
    let error = attention.named(&[Tensor::zeros(DType::F32, &[2, 21, 8]), Tensor::zeros(DType::F32, &[2, 1, 8])]);
    let error = attention.modules[0].1.forward(&error).expect_err("too long").to_string();
    assert!(error.contains("has the size 21 in dimension 1; `p` is 0 to 20"), "{error}");
}

#[test]
fn nan_and_infinities_pass_through() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let x = f32s(&[4, 5], &[1.0, nan, -2.0, 0.0, 3.0, inf, 1.0, -inf, 2.0, 0.5, nan, nan, nan, nan, nan, -0.0, 5.0, -1.0, 1e30, -1e30]);
    let y = f32s(&[4, 5], &[nan, 1.0, nan, -1.0, 2.0, 1.0, nan, 3.0, -inf, inf, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, -0.0, 1.0, 1e30, 1e38]);
    for body in [
        "relu(%0)",
        "max(%0, %1)",
        "min(%0, %1)",
        "clamp(%0, -1.0, 1.0)",
        "add(%0, %1)",
        "mul(%0, %1)",
        "div(%0, %1)",
        "exp(%0)",
        "tanh(%0)",
        "sigmoid(%0)",
        "sqrt(%0)",
        "select(less(%0, %1), %0, %1)",
        "select(isnan(%0), 0.0, %0)",
        "abs(%0)",
        "floor(%0)",
        "erf(%0)",
    ] {
        // An expression that reads one operand has one.
        let two = body.contains("%1");
        let (input, operand) = if two { ("%b: f32[4,5] = input ", ", %b") } else { ("", "") };
        let text = format!("graph \"g\" %a: f32[4,5] = input {input}%y = map(%a{operand}; body={{{body}}}) output \"y\" = %y");
        let inputs = [&[x.clone()][..], if two { std::slice::from_ref(&y) } else { &[] }].concat();
        case(&text).agrees(&inputs);
    }
    for kind in ["sum", "prod", "max", "min"] {
        for axis in [0, 1] {
            case(&format!("graph \"g\" %x: f32[4,5] = input %y = reduce(%x; kind={kind}, axes=[{axis}], keepdims=true) output \"y\" = %y"))
                .agrees(std::slice::from_ref(&x));
        }
    }
    case("graph \"g\" %x: f32[4,5] = input %y = softmax(%x; axis=1) output \"y\" = %y").agrees(&[f32s(&[4, 5], &x_without_infinities())]);
    case("graph \"g\" %x: f32[4,5] = input %w: f32[5,4] = input %y = matmul(%x, %w; transpose_b=false, epilogue={relu(%0)}) output \"y\" = %y")
        .agrees(&[f32s(&[4, 5], &x_without_infinities()), Tensor::random(DType::F32, &[5, 4], 7)]);
}

/// Rows with a NaN and rows without.
fn x_without_infinities() -> Vec<f32> {
    (0..20).map(|i| if i % 7 == 3 { f32::NAN } else { i as f32 - 9.5 }).collect()
}

#[test]
fn indices_out_of_range_name_the_layer() {
    let table = Tensor::random(DType::F32, &[5, 3], 8);
    let at = |values: &[i64]| Tensor::new(&[values.len()], values);
    let mut gather =
        case("graph \"g\" %x: f32[5,3] = input %i: i64[4] = input %y = gather(%x, %i; axis=0) @ \"model.embed\" output \"y\" = %y");
    gather.agrees(&[table.clone(), at(&[0, 4, -5, -1])]);
    for wrong in [[0, 5, 0, 0], [-6, 0, 0, 0], [0, 0, 0, i64::MAX], [i64::MIN, 0, 0, 0], [1 << 32, 0, 0, 0]] {
        gather.refuses(&[table.clone(), at(&wrong)], "(model.embed): An index tensor holds a value outside the indexed dimension.");
    }
    gather.agrees(&[table.clone(), at(&[3, 3, 2, 1])]);
    let mut elements = case(
        "graph \"g\" %x: f32[5,3] = input %i: i64[2,3] = input %y = gather_elements(%x, %i; axis=0) @ \"model.pick\" output \"y\" = %y",
    );
    elements.refuses(&[table.clone(), Tensor::new(&[2, 3], &[0i64, 1, 2, 3, 4, 5])], "(model.pick): An index tensor");
    elements.agrees(&[table, Tensor::new(&[2, 3], &[0i64, 1, 2, 3, 4, -1])]);
}

#[test]
fn indices_into_free_sizes_are_checked_at_their_size() {
    let mut gather = case(
        "graph \"g\" symbol s: 1..9 %x: f32[s,3] = input %i: i64[2] = input %y = gather(%x, %i; axis=0) @ \"model.embed\" output \"y\" = %y",
    );
    let inputs = |size: usize, last: i64| [Tensor::random(DType::F32, &[size, 3], 9), Tensor::new(&[2], &[0, last])];
    gather.agrees(&inputs(9, 8));
    // Inside of the bound, outside of the tensor.
    gather.refuses(&inputs(4, 4), "(model.embed): An index tensor");
    gather.agrees(&inputs(4, -4));
    gather.refuses(&inputs(4, -5), "(model.embed): An index tensor");
}
