//! Operators on hostile tensors: indices out of range, extreme sizes and counts, NaN and infinities, bytes that are no bool. Whatever
//! they hold, no access may leave the operands' buffers, and a refusal names the layer.

use crate::compiler::equal;
use crate::interpreter::execute_plan;
use crate::rng::Rng;
use crate::{Target, Verdict, corpus, instances, routine, zones};
use ir::{DType, Graph, Op, Tensor, TensorType};
use wasm_torch::engine::EngineError;
use wasm_torch::export::{lower, run_passes};
use wasm_torch::{ExportOptions, Instance, NamedTensor};

pub(crate) const HOSTILE: Target =
    Target { name: "hostile", seconds: 60, megabytes: 3072, make: described, check, shrink: |_| vec![], extension: "txt" };

pub(crate) const TENSORS: Target =
    Target { name: "tensors", seconds: 60, megabytes: 3072, make: model, check: check_model, shrink: |_| vec![], extension: "onnx" };

/// Bytes around every buffer.
const ZONE: u32 = 192;
/// Lists of inputs for each graph.
const RUNS: usize = 6;

/// Operators that take numbers as positions, counts or sizes: they come more often.
const INDEXED: &[&str] = &[
    "gather",
    "gather_elements",
    "gather_nd",
    "scatter_elements",
    "scatter_nd",
    "tensor_scatter",
    "dynamic_slice",
    "dynamic_pad",
    "check_sizes",
    "check_axes",
    "reduce_axes",
    "cumulate",
    "top_k",
    "compress",
    "reverse_sequence",
    "non_max_suppression",
    "max_unpool",
    "max_roi_pool",
    "roi_align",
    "grid_sample",
    "deform_conv",
    "recurrent",
    "col2im",
    "multinomial",
];

fn described(seed: u64) -> Vec<u8> {
    let rng = &mut Rng::new(seed);
    let names: Vec<&str> = Op::NAMES.iter().copied().filter(|name| !["if", "loop", "measure"].contains(name)).collect();
    let name = if rng.one_in(12) {
        "loop"
    } else if rng.one_in(3) {
        names[rng.below(names.len())]
    } else {
        INDEXED[rng.below(INDEXED.len())]
    };
    format!("{name} {seed}").into_bytes()
}

/// A graph of one operator whose operands are inputs, and tensors that fit.
fn graph(name: &str, seed: u64) -> Option<(Graph, Vec<Tensor>)> {
    let rng = &mut instances::Rng(seed);
    if name == "loop" {
        return Some(counted(rng.flag()));
    }
    let (op, inputs) = if routines::find(name).is_some() { routine::instance(name, rng)? } else { instances::instance(name, rng) };
    let types: Vec<TensorType> = inputs.iter().map(TensorType::of).collect();
    op.infer(&types.iter().collect::<Vec<_>>()).ok()?;
    let mut graph = Graph::new("hostile");
    let ids: Vec<_> = types.into_iter().enumerate().map(|(i, ty)| graph.add_input(&format!("x{i}"), ty)).collect();
    let node = graph.add_node(op, &ids, &["layer".into()], "y").ok()?;
    for (i, value) in graph.node(node).outputs.clone().into_iter().enumerate() {
        graph.add_output(&format!("y{i}"), value);
    }
    Some((graph, inputs))
}

/// A loop whose count is an input; one that stacks has room for five.
fn counted(stacks: bool) -> (Graph, Vec<Tensor>) {
    let stacked = if stacks { r#"output "s" = %y"# } else { "" };
    let (room, names) = if stacks { ("5", "%r, %s") } else { ("", "%r") };
    let output = if stacks { r#"output "s" = %s"# } else { "" };
    let text = format!(
        r#"%n: i64[] = input %c: bool[] = input %x: f32[9] = input
        {names} = loop(%n, %c, %x; carried=1, capacity=[{room}], body={{graph "b" %i: i64[] = input %x: f32[9] = input
            %h: i64[] = const [100] %t = cast_f32(%i) %l = less(%i, %h) %a = add(%x, %t) %y = tanh(%a)
            output "k" = %l output "y" = %y {stacked}}})
        output "r" = %r {output}"#
    );
    let graph = ir::text::parse_graph(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    (graph, vec![Tensor::scalar(5i64), Tensor::scalar(ir::B8(1)), Tensor::random(DType::F32, &[9], 1)])
}

/// Elements replaced by extreme ones.
fn poison(tensor: &Tensor, rng: &mut Rng) -> Tensor {
    let mut tensor = tensor.clone();
    let (dtype, size, n) = (tensor.dtype, tensor.dtype.bytes(), tensor.len());
    let share = [1, 1, 3, n.max(1)][rng.below(4)];
    for i in 0..n {
        if !rng.one_in(share) {
            continue;
        }
        let bytes: u64 = match dtype {
            DType::F32 => u64::from(rng.wild_float().to_bits()),
            DType::F64 => f64::from(rng.wild_float()).to_bits(),
            DType::Bool if rng.one_in(2) => rng.bits(),
            DType::Bool => rng.bits() & 1,
            dtype if dtype.is_float() => rng.bits(),
            _ => rng.wild(n as i64) as u64,
        };
        tensor.bytes_mut()[i * size..][..size].copy_from_slice(&bytes.to_le_bytes()[..size]);
    }
    tensor
}

fn check(input: &[u8]) -> Result<Verdict, String> {
    let text = String::from_utf8_lossy(input);
    let Some((name, seed)) = text.split_once(' ').and_then(|(name, seed)| Some((name, seed.trim().parse::<u64>().ok()?))) else {
        return Ok(Verdict::Refused);
    };
    if name != "loop" && !Op::NAMES.contains(&name) {
        return Ok(Verdict::Refused);
    }
    let Some((graph, inputs)) = graph(name, seed) else { return Ok(Verdict::Refused) };
    let Ok(plan) = lower::lower(&graph, &lower::Options::default()) else { return Ok(Verdict::Refused) };
    let rng = &mut Rng::new(seed ^ 1);
    let lists: Vec<Vec<Tensor>> =
        (0..RUNS).map(|_| inputs.iter().map(|t| if rng.one_in(4) { t.clone() } else { poison(t, rng) }).collect()).collect();
    contained(&graph, plan, &lists).map_err(|e| format!("{name}: {e}\n{graph}"))
}

/// Runs a plan on tensors of any contents: no address outside of its buffers, no trap.
pub fn contained(graph: &Graph, mut plan: lower::Plan, lists: &[Vec<Tensor>]) -> Result<Verdict, String> {
    let mut interpreted = vec![];
    for list in lists {
        match execute_plan(&plan, list) {
            Ok(outputs) => interpreted.push(Some(outputs)),
            // A routine's status, which a module reports with the layer's name.
            Err(error) if error.contains("failed: ") && !error.contains("panic") => interpreted.push(None),
            Err(error) => return Err(format!("the interpreter stops: {error}")),
        }
    }
    zones::spread(&mut plan, ZONE);
    let linked = link::link(&plan, &link::LinkInfo::default()).map_err(|e| format!("linking: {e}"))?;
    let mut instance = Instance::load(&linked.wasm).map_err(|e| format!("loading: {e}"))?;
    let named = |list: &Vec<Tensor>| {
        let names = graph.inputs.iter().map(|id| graph.value(*id).name.clone());
        names.zip(list).map(|(name, tensor)| NamedTensor::new(name, tensor.clone())).collect::<Vec<_>>()
    };
    let outcomes = zones::run(&plan, &mut instance, &lists.iter().map(named).collect::<Vec<_>>())?;
    for (r, (outcome, interpreted)) in outcomes.iter().zip(&interpreted).enumerate() {
        match (outcome, interpreted) {
            (Ok(found), Some(expected)) => {
                for (o, (found, expected)) in found.iter().zip(expected).enumerate() {
                    equal(found, expected).map_err(|e| format!("interpreter and module, run {r}, output {o}: {e}"))?;
                }
            }
            (Err(EngineError::Status { layers, .. }), None) if !layers.is_empty() => {}
            (Ok(_), None) => return Err(format!("run {r}: the interpreter refuses what the module computes")),
            (Err(error), _) => return Err(format!("run {r}: the module stops: {error}")),
        }
    }
    Ok(if interpreted.iter().all(Option::is_none) { Verdict::Refused } else { Verdict::Accepted })
}

/// A model as it is.
fn model(seed: u64) -> Vec<u8> {
    let rng = &mut Rng::new(seed);
    let models = corpus::models();
    (0..8).find_map(|_| rng.pick(models).filter(|m| m.bytes.len() < 20_000)).map(|m| m.bytes.clone()).unwrap_or_default()
}

/// Multiply-accumulates beyond which the interpreter takes too long.
const WORK: u64 = 2_000_000;

/// A model on random and on hostile tensors, at O2.
pub fn check_model(input: &[u8]) -> Result<Verdict, String> {
    let options = ExportOptions::default();
    let mut config = options.resolve().map_err(|e| e.to_string())?;
    let Ok(imported) = onnx::import_bytes(input.to_vec(), &config.import) else { return Ok(Verdict::Refused) };
    config.import.dims = imported.graph.symbols.keys().map(|name| (name.to_string(), 3)).collect();
    let Ok(imported) = onnx::import_bytes(input.to_vec(), &config.import) else { return Ok(Verdict::Refused) };
    let mut graph = imported.graph;
    run_passes(&mut graph, &config, &mut |_| {}).map_err(|e| format!("passes: {e}"))?;
    let Ok(plan) = lower(&graph, &config) else { return Ok(Verdict::Refused) };
    if plan.steps.iter().map(|s| s.macs).sum::<u64>() > WORK || plan.arena_bytes > 1 << 20 {
        return Ok(Verdict::Refused);
    }
    let rng = &mut Rng::new(input.len() as u64);
    let benign = |rng: &mut Rng| -> Option<Vec<Tensor>> {
        graph.inputs.iter().map(|id| graph.ty(*id)).map(|ty| Some(Tensor::random(ty.dtype, &ty.const_shape()?, rng.bits()))).collect()
    };
    let Some(first) = benign(rng) else { return Ok(Verdict::Refused) };
    let hostile = (0..3).map(|_| first.iter().map(|t| if rng.one_in(4) { t.clone() } else { poison(t, rng) }).collect());
    let lists: Vec<Vec<Tensor>> = std::iter::once(first.clone()).chain(hostile.collect::<Vec<_>>()).collect();
    contained(&graph, plan, &lists).map_err(|e| format!("{e}\n{graph}"))
}
