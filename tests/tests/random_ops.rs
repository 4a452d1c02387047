//! Random valid instances of every core operator, of all element types it takes: what `eval` says is what the kernel
//! interpreter and the linked module in wasmtime compute. Many instances make one module, so that linking costs little.

#[path = "random_ops/compare.rs"]
mod compare;
#[allow(dead_code, reason = "shared with the tests of `ir`")]
#[path = "../../compiler/ir/tests/ir/instances.rs"]
mod instances;
#[path = "../../compiler/lower/tests/common/mod.rs"]
mod interpreter;
#[path = "random_ops/routine.rs"]
mod routine;
#[path = "random_ops/values.rs"]
mod values;

use compare::{Batch, Instance};
use instances::Rng;
use ir::{DType, Graph, Op, Tensor, TensorType};
use lower::LowerError;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Instances of each operator that are compared, and have elements; more of maps, which are many functions.
fn instances(name: &str) -> usize {
    if name == "map" { 2500 } else { 220 }
}

/// How many element types must be among them. Fewer than all where the operator is only for floats, or computes.
fn least_types(name: &str) -> usize {
    match name {
        "recurrent" | "sizes" | "non_max_suppression" => 1,
        "softmax" | "normalize" | "max_roi_pool" | "grid_sample" | "roi_align" | "deform_conv" | "det" => 4,
        "random_uniform" | "random_normal" | "bernoulli" | "multinomial" => 4,
        "reduce_axes" | "cumulate" | "top_k" | "unique" | "nonzero" | "max_pool_indices" | "col2im" | "resize" => 13,
        "matmul" | "conv" | "pool" | "reduce" => 17,
        _ => 20,
    }
}

/// Nodes of one module.
const BATCH: usize = 55;

/// What was done with one operator.
#[derive(Default)]
struct Row {
    compared: usize,
    empty: usize,
    dtypes: BTreeMap<DType, usize>,
    /// Reason → how many.
    refused: BTreeMap<String, usize>,
}

/// A random instance, its types inferred and its meaning computed; `None` where the operator does not fit the inputs.
fn candidate(name: &str, rng: &mut Rng) -> Option<Instance> {
    let (op, inputs) = if routines::find(name).is_some() {
        routine::instance(name, rng)?
    } else {
        let (op, inputs) = instances::instance(name, rng);
        values::vary(&op, inputs, rng)
    };
    let types: Vec<TensorType> = inputs.iter().map(TensorType::of).collect();
    op.infer(&types.iter().collect::<Vec<_>>()).ok()?;
    let expected = op.eval(&inputs.iter().collect::<Vec<_>>()).ok()?;
    let constants = inputs.iter().enumerate().map(|(i, _)| i > 0 && rng.range(0, 3) == 0).collect();
    Some(Instance { op, inputs, constants, expected })
}

/// Why the lowering refuses the operator alone; any other error is a failure of the test.
fn refusal(instance: &Instance) -> Result<(), String> {
    let mut graph = Graph::new("one");
    instance.add_to(&mut graph, 0);
    match lower::lower(&graph, &lower::Options::default()) {
        Ok(_) => Ok(()),
        Err(errors) => match &errors[..] {
            [LowerError::Unsupported { what, .. }] => Err(what.clone()),
            other => Err(format!("WRONG {other:?}\n{graph}")),
        },
    }
}

fn check(name: &str, wrong: &mut Vec<String>) -> Row {
    let mut rng = Rng(name.bytes().fold(7, |h, b| h.wrapping_mul(31) + u64::from(b)));
    let mut row = Row::default();
    let mut batch = Batch::default();
    let mut tried = 0;
    while row.compared - row.empty < instances(name) {
        tried += 1;
        if tried > 40 * instances(name) {
            break;
        }
        let Some(instance) = candidate(name, &mut rng) else { continue };
        if let Err(reason) = refusal(&instance) {
            if reason.starts_with("WRONG") {
                wrong.push(reason);
            } else {
                *row.refused.entry(reason).or_default() += 1;
            }
            continue;
        }
        row.compared += 1;
        row.empty += usize::from(instance.expected.iter().all(Tensor::is_empty));
        *row.dtypes.entry(instance.dtype()).or_default() += 1;
        batch.push(instance);
        if batch.len() == BATCH {
            std::mem::take(&mut batch).compare(name, wrong);
        }
    }
    batch.compare(name, wrong);
    row
}

fn table(names: impl Iterator<Item = &'static str>) {
    let (mut text, mut wrong) = (String::from("operator: compared (empty), refused; element types\n"), vec![]);
    let mut few = vec![];
    for name in names {
        let row = check(name, &mut wrong);
        let dtypes: Vec<String> = row.dtypes.iter().map(|(dtype, n)| format!("{dtype}:{n}")).collect();
        let refused: usize = row.refused.values().sum();
        writeln!(text, "{name}: {} ({}), {refused}; {}", row.compared, row.empty, dtypes.join(" ")).unwrap();
        if row.compared - row.empty < instances(name) || row.dtypes.len() < least_types(name) {
            few.push(name);
        }
        // `f` of type: by function.
        let mut reasons: BTreeMap<&str, String> = BTreeMap::new();
        for (reason, n) in &row.refused {
            let (what, dtype) = reason.rsplit_once(" of ").unwrap_or((reason, "all"));
            write!(reasons.entry(what).or_default(), " {dtype}:{n}").unwrap();
        }
        for (what, dtypes) in reasons {
            writeln!(text, "    refused {what}:{dtypes}").unwrap();
        }
    }
    println!("{text}");
    assert!(few.is_empty(), "too few instances or element types: {few:?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Operators that hold graphs: their own tests cover them.
const CONTROL: [&str; 3] = ["if", "loop", "measure"];

/// Operators that are loop nests or views.
#[test]
fn nests() {
    table(Op::NAMES.iter().copied().filter(|name| routines::find(name).is_none() && !CONTROL.contains(name)));
}

/// Operators that are routines.
#[test]
fn routines_too() {
    table(Op::NAMES.iter().copied().filter(|name| routines::find(name).is_some()));
}
