//! Random command lines and options as JSON: parsed, resolved, and used for an export that leaves a module or nothing.

use crate::rng::Rng;
use crate::{Target, Verdict};
use clap::{Args, FromArgMatches};
use wasm_torch::ExportOptions;

pub(crate) const OPTIONS: Target =
    Target { name: "options", seconds: 60, megabytes: 2048, make: arguments, check: export, shrink: fewer, extension: "json" };

/// Flags of `export` with values that fit, and some that do not.
const FLAGS: &[(&str, &[&str])] = &[
    ("-O", &["0", "1", "2", "3", "4", "-1", "", "O2"]),
    (
        "--dim",
        &[
            "batch=1",
            "batch=0",
            "batch=-1",
            "batch=1..4",
            "batch=4..1",
            "batch=",
            "=1",
            "x=y=3",
            "batch=99999999999999999999",
            "seq=1..512",
            "n=1..1099511627776",
        ],
    ),
    ("--bind", &["x=1", "input=1,2,3", "input=nan", "input=missing.npy", "input", "images=1e400", "x=1,2,x"]),
    ("--passes", &["constant_folding", "", ",", "nothing", "constant_folding,nhwc_layout", "dead_code"]),
    ("--disable-pass", &["constant_folding", "nothing", "nhwc_layout,fuse"]),
    ("--explain", &["constant_folding", "fold_constant", "nothing", ""]),
    ("--check-passes", &[]),
    ("--memory-budget-mb", &["0", "1", "4294967295", "-1", "x"]),
    ("--schedule", &["missing.json", "/", ""]),
    ("--state", &["y=x", "x=x", "logits=images", "=", "a=b=c"]),
    ("--pool-mb", &["0", "1", "64", "4095", "4096", "4294967295"]),
    (
        "--variants",
        &[
            "all",
            "baseline",
            "relaxed",
            "threads",
            "baseline,relaxed",
            "relaxed+threads,threads",
            "nothing",
            "",
            "all,baseline",
            "baseline,baseline",
        ],
    ),
    ("--external-weights", &["1", "0", "1024", "1025", "x"]),
    ("--precompress", &[]),
    ("--types", &[]),
    ("--debug-names", &[]),
    ("--quantize", &["int8", "int8-dynamic", "dynamic", "nothing", ""]),
    ("--weights", &["f16", "i8", "int8", "bf16", "nothing"]),
    ("--calibrate", &["missing", "/dev/null", ".", ""]),
    ("--ranges", &["missing.json", "/dev/null", "."]),
    ("--target-agreement", &["0.5", "2", "nan", "-1"]),
    ("--seed", &["0", "-1"]),
];

const MODELS: &[&str] =
    &["cases/ops/relu.onnx", "cases/symbolic_batch.onnx", "cases/ops/gemm.onnx", "cases/bad_rank.onnx", "mlp/mlp.legacy.onnx"];

/// A JSON list: the model, then arguments; or the model and an object of options.
fn arguments(seed: u64) -> Vec<u8> {
    let rng = &mut Rng::new(seed);
    let mut list = vec![serde_json::Value::from(MODELS[rng.below(MODELS.len())])];
    if rng.one_in(3) {
        let mut map = serde_json::Map::new();
        for _ in 0..rng.below(4) {
            let (flag, values) = FLAGS[rng.below(FLAGS.len())];
            let key = if flag == "-O" { "level".into() } else { flag.trim_start_matches('-').replace('-', "_") };
            let key = match key.as_str() {
                "dim" => "dims".into(),
                "disable_pass" => "disable_passes".into(),
                "state" => "states".into(),
                _ => key,
            };
            let text = values.get(rng.below(values.len())).copied().unwrap_or_default();
            let value = match rng.below(6) {
                0 => serde_json::Value::from(rng.wild(1)),
                1 => serde_json::Value::from(text),
                2 => serde_json::Value::Bool(true),
                3 => serde_json::Value::Null,
                4 => serde_json::Value::from(format!("O{text}")),
                _ => serde_json::Value::from(vec![text]),
            };
            map.insert(key, value);
        }
        list.push(serde_json::Value::Object(map));
    } else {
        for _ in 0..rng.below(5) {
            let (flag, values) = FLAGS[rng.below(FLAGS.len())];
            if let Some(value) = rng.pick(values) {
                list.push(format!("{flag}={value}").into());
            } else {
                list.push(flag.into());
            }
        }
    }
    serde_json::to_vec(&list).unwrap_or_default()
}

fn fewer(input: &[u8]) -> Vec<Vec<u8>> {
    let Ok(list) = serde_json::from_slice::<Vec<serde_json::Value>>(input) else { return vec![] };
    let without = |i: usize| {
        let mut list = list.clone();
        list.remove(i);
        serde_json::to_vec(&list).unwrap_or_default()
    };
    (1..list.len()).map(without).collect()
}

fn export(input: &[u8]) -> Result<Verdict, String> {
    let Ok(list) = serde_json::from_slice::<Vec<serde_json::Value>>(input) else { return Ok(Verdict::Refused) };
    let Some((serde_json::Value::String(model), rest)) = list.split_first() else { return Ok(Verdict::Refused) };
    let options = match rest {
        [object @ serde_json::Value::Object(_)] => serde_json::from_value::<ExportOptions>(object.clone()).ok(),
        arguments => {
            let words = arguments
                .iter()
                .filter_map(serde_json::Value::as_str)
                .map(|w| if let Some(level) = w.strip_prefix("-O=") { format!("-O{level}") } else { w.to_string() });
            let command = ExportOptions::augment_args(clap::Command::new("export"));
            let matches = command.try_get_matches_from(std::iter::once("export".to_string()).chain(words));
            matches.ok().and_then(|matches| ExportOptions::from_arg_matches(&matches).ok())
        }
    };
    let Some(options) = options else { return Ok(Verdict::Refused) };
    crate::importer::exported(&wasm_torch_tests::models().join(model), &options)
}
