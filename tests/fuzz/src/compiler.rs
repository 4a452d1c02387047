//! Random graphs through passes, lowering and linking: the meaning, the interpreter under its address check and the module
//! in wasmtime agree.

use crate::grow::{Grown, Shape, Trust, grow};
use crate::interpreter::execute_plan;
use crate::rng::Rng;
use crate::{Target, Verdict};
use ir::{Graph, Tensor, TensorType};
use lower::Plan;
use std::collections::BTreeMap;
use wasm_torch::engine::EngineError;
use wasm_torch::export::{lower, run_passes};
use wasm_torch::{Config, Error, ExportOptions, Instance, LoadOptions, NamedTensor};

pub(crate) const COMPILER: Target =
    Target { name: "compiler", seconds: 60, megabytes: 3072, make: described, check, shrink: simpler, extension: "txt" };

/// What an input says: numbers by name, as text.
type Description = BTreeMap<String, u64>;

fn described(seed: u64) -> Vec<u8> {
    let rng = &mut Rng::new(seed);
    let flag = |rng: &mut Rng, n| u64::from(rng.one_in(n));
    let all = [
        ("seed", seed),
        ("nodes", 1 + rng.below(14) as u64),
        ("level", rng.below(4) as u64),
        ("flow", flag(rng, 3)),
        ("free", flag(rng, 3)),
        ("quantised", flag(rng, 3)),
        ("variants", flag(rng, 6)),
        ("tile", flag(rng, 6)),
        ("without", if rng.one_in(4) { 1 + rng.below(passes::PIPELINE.len()) as u64 } else { 0 }),
    ];
    text(&all.into_iter().map(|(name, n)| (name.to_string(), n)).collect())
}

fn text(description: &Description) -> Vec<u8> {
    description.iter().map(|(name, n)| format!("{name} {n:03}\n")).collect::<String>().into_bytes()
}

fn parse(input: &[u8]) -> Option<Description> {
    let line = |line: &str| line.split_once(' ').and_then(|(name, n)| Some((name.to_string(), n.parse().ok()?)));
    std::str::from_utf8(input).ok()?.lines().map(line).collect()
}

/// Fewer nodes, fewer kinds of them, plainer options.
fn simpler(input: &[u8]) -> Vec<Vec<u8>> {
    let Some(description) = parse(input) else { return vec![] };
    let mut simpler = vec![];
    for (name, n) in description.iter().filter(|(name, _)| *name != "seed") {
        for less in [0, n / 2, n.saturating_sub(1)].into_iter().filter(|less| less < n) {
            simpler.push(text(&description.clone().into_iter().chain([(name.clone(), less)]).collect()));
        }
    }
    simpler
}

fn check(input: &[u8]) -> Result<Verdict, String> {
    let Some(d) = parse(input) else { return Ok(Verdict::Refused) };
    let get = |name: &str| d.get(name).copied().unwrap_or(0);
    let shape = Shape { nodes: get("nodes") as usize, flow: get("flow") > 0, free: get("free") > 0, quantised: get("quantised") > 0 };
    let grown = grow(get("seed"), shape);
    if std::env::var_os("RUST_BACKTRACE").is_some() {
        eprintln!("{}", grown.graph);
    }
    let without = (get("without") as usize).checked_sub(1).and_then(|i| passes::PIPELINE.get(i));
    let options = ExportOptions {
        level: get("level").to_string().parse().ok(),
        disable_passes: without.map(|pass| pass.name.to_string()).into_iter().collect(),
        ..ExportOptions::default()
    };
    let mut config = options.resolve().map_err(|e| e.to_string())?;
    if get("tile") > 0 {
        config.lower.macs_per_task = 64;
    }
    agree(&grown, &config, get("level") == 3, get("variants") > 0).map_err(|e| format!("{e}\n{}", grown.graph))
}

fn agree(grown: &Grown, config: &Config, loose: bool, variants: bool) -> Result<Verdict, String> {
    let Grown { graph, inputs, trust } = grown;
    if let Err(errors) = ir::verify::verify(graph) {
        return Err(format!("the generator is wrong: {errors:?}"));
    }
    // Division by a run-time zero and the like.
    let Ok(expected) = ir::eval::eval(graph, inputs) else { return Ok(Verdict::Refused) };
    let mut improved: Graph = graph.clone();
    run_passes(&mut improved, config, &mut |_| {}).map_err(|e| format!("passes: {e}"))?;
    if std::env::var_os("RUST_BACKTRACE").is_some() {
        eprintln!("{improved}");
    }
    let plan = match lower(&improved, config) {
        Ok(plan) => plan,
        Err(error) if crate::importer::is_bug(&error) => return Err(format!("lowering: {error}")),
        Err(_) => return Ok(Verdict::Refused),
    };
    lower::memory::check(&plan).map_err(|e| format!("memory plan: {e}"))?;
    let interpreted = execute_plan(&plan, inputs).map_err(|e| format!("the interpreter stops: {e}"))?;
    for (o, ((found, expected), trust)) in interpreted.iter().zip(&expected).zip(trust).enumerate() {
        near(found, expected, *trust, loose).map_err(|e| format!("meaning and interpreter, output {o}: {e}"))?;
    }
    let kinds: &[&str] = if variants { &["baseline", "relaxed", "threads"] } else { &["baseline"] };
    let module = linked(&plan, &improved, config, variants)?;
    for kind in kinds {
        let options = LoadOptions { variant: Some(kind.to_string()), threads: (*kind == "threads").then_some(2), ..LoadOptions::default() };
        let mut instance = match Instance::load_with(&module, &options) {
            Ok(instance) => instance,
            // An engine that reads relaxed products in another way.
            Err(EngineError::Variant { .. }) => continue,
            Err(error) => return Err(format!("the {kind} module does not load: {error}")),
        };
        let named = graph.inputs.iter().zip(inputs).map(|(id, tensor)| NamedTensor::new(&graph.value(*id).name, tensor.clone()));
        let named: Vec<NamedTensor> = named.collect();
        // What another run leaves behind, also one that fails, changes nothing.
        let other = named.iter().map(|n| NamedTensor::new(&n.name, Tensor::zeros(n.tensor.dtype, &n.tensor.shape)));
        let _ = instance.forward(&other.collect::<Vec<_>>());
        let found = instance.forward(&named).map_err(|e| format!("the {kind} module stops: {e}"))?;
        for (o, (found, same)) in found.iter().zip(&interpreted).enumerate() {
            let result = if *kind == "relaxed" { near(&found.tensor, same, trust[o], true) } else { equal(&found.tensor, same) };
            result.map_err(|e| format!("interpreter and {kind} module, output {o}: {e}"))?;
        }
    }
    Ok(Verdict::Accepted)
}

fn linked(plan: &Plan, graph: &Graph, config: &Config, variants: bool) -> Result<Vec<u8>, String> {
    let wrong = |e: link::LinkError| format!("linking: {e}");
    if !variants {
        let info = link::LinkInfo { variants: vec![link::Kind::Baseline], ..config.link.clone() };
        return Ok(link::link(plan, &info).map_err(wrong)?.wasm);
    }
    let relaxed = lower::Options { relaxed: true, ..config.lower.clone() };
    let relaxed = lower(graph, &Config { lower: relaxed, ..config.clone() }).map_err(|e: Error| format!("lowering, relaxed: {e}"))?;
    let relaxed = if link::difference(plan, &relaxed).is_some() { plan } else { &relaxed };
    Ok(link::link_optimised(plan, relaxed, &config.link, &mut |_, code| Ok(code)).map_err(wrong)?.wasm)
}

/// To the bit, but for those of a NaN.
pub(crate) fn equal(found: &Tensor, expected: &Tensor) -> Result<(), String> {
    typed(found, expected)?;
    let size = found.dtype.bytes();
    let wrong = (0..found.len()).find(|i| {
        let range = i * size..(i + 1) * size;
        let nan = found.dtype.is_float() && found.get_f64(*i).is_nan() && expected.get_f64(*i).is_nan();
        !nan && found.bytes()[range.clone()] != expected.bytes()[range]
    });
    wrong.map_or(Ok(()), |i| Err(format!("element {i} is {} instead of {}", found.get_f64(i), expected.get_f64(i))))
}

fn typed(found: &Tensor, expected: &Tensor) -> Result<(), String> {
    let (found, expected) = (TensorType::of(found), TensorType::of(expected));
    if found == expected { Ok(()) } else { Err(format!("{found} instead of {expected}")) }
}

/// As near as the value's history allows.
fn near(found: &Tensor, expected: &Tensor, trust: Trust, loose: bool) -> Result<(), String> {
    typed(found, expected)?;
    let values = expected.to_f64s();
    if trust == Trust::Unclear || values.iter().any(|x| !x.is_finite()) {
        return Ok(());
    }
    if trust == Trust::Exact {
        return equal(found, expected);
    }
    let precision = match expected.dtype {
        ir::DType::F64 | ir::DType::F32 => 2e-3,
        ir::DType::F16 => 2e-2,
        ir::DType::BF16 => 1e-1,
        _ => return Ok(()),
    };
    let scale = values.iter().fold(1.0f64, |m, x| m.max(x.abs())) * precision * if loose { 10.0 } else { 1.0 };
    let wrong = values.iter().enumerate().find(|(i, e)| {
        let far = (found.get_f64(*i) - **e).abs();
        far.is_nan() || far > scale
    });
    wrong.map_or(Ok(()), |(i, e)| Err(format!("element {i} is {} instead of {e}", found.get_f64(i))))
}
