//! Schedules by measurement: `export --tune` times the register tiles of a model's products on this machine, in Node where
//! there is one, else in wasmtime; the fastest go to a file that `--schedule` reads. They are the fastest of that engine: a
//! browser of another age than Node may prefer others.

use crate::bench::profile;
use crate::error::read_file;
use crate::verify::random_inputs;
use crate::{Config, Error, ExportOptions, Instance, export};
use lower::schedule::{Choice, TILES, Tiles};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// Tiles of products, as a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Where the times come from.
    #[serde(default)]
    pub engine: String,
    pub products: Vec<Product>,
}

/// The tile of all products of one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Product {
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    /// Rows, and vectors of four columns.
    pub tile: (usize, usize),
    /// Measured with this tile, and with the one that the table of schedules predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_gflops: Option<f64>,
}

/// Smaller gains are noise.
const WORTH: f64 = 0.97;
const ROUNDS: usize = 7;

/// Reads a schedule, and checks its tiles.
pub fn read(path: &Path) -> Result<Vec<Choice>, Error> {
    let schedule: Schedule = serde_json::from_slice(&read_file(path)?)
        .map_err(|e| Error::Usage(format!("{}: {e}\nhint: `export --tune` writes such a file", path.display())))?;
    let choice = |p: &Product| match TILES.contains(&p.tile) || p.tile == (6, 2) {
        true => Ok(Choice { rows: p.rows, columns: p.columns, depth: p.depth, tiles: Tiles::same(p.tile) }),
        false => Err(Error::Usage(format!("{}: there is no tile of {:?}; tiles are {TILES:?}", path.display(), p.tile))),
    };
    schedule.products.iter().map(choice).collect()
}

/// Measures every tile for every size of product in a model, in the baseline variant; the schedule holds those that beat the
/// prediction.
pub fn tune(model: &Path, options: &ExportOptions, say: &mut dyn FnMut(&str)) -> Result<Schedule, Error> {
    let mut config = options.resolve()?;
    config.link.variants = vec![link::Kind::Baseline];
    config.link.external_weights = None;
    config.lower.schedule.clear();
    say("importing the model");
    let mut graph = export::import(model, &config.import)?.graph;
    let free: Vec<&str> = graph.symbols.keys().map(AsRef::as_ref).collect();
    if !free.is_empty() {
        let sentence = format!("tuning needs sizes, and {} may vary\nhint: fix them with --dim NAME=N", free.join(", "));
        return Err(Error::Usage(sentence));
    }
    let prepared = crate::quantize::prepare(&graph, &options.quantize, &config, &mut |what| say(&what))?;
    config.passes.quantize = prepared.map(|p| p.settings);
    export::run_passes(&mut graph, &config, &mut |_| {})?;
    let node = Command::new("node").arg("--version").output().ok().filter(|o| o.status.success());
    // The script calls every step in turn, so that branches are left to wasmtime.
    let branches = export::lower(&graph, &config)?.steps.iter().any(|step| step.branch.is_some());
    let node = node.filter(|_| !branches);
    let engine = node.as_ref().map_or("wasmtime".into(), |o| format!("Node {}", String::from_utf8_lossy(&o.stdout).trim()));
    // By size: milliseconds of each tile, the prediction first.
    let mut sizes: Vec<(lower::Product, u64, Vec<f64>)> = vec![];
    for (at, tile) in std::iter::once(None).chain(TILES.iter().copied().map(Some)).enumerate() {
        say(&tile.map_or("timing the predicted tiles".into(), |(rows, vectors)| format!("timing tiles of {rows} x {}", 4 * vectors)));
        config.lower.tiles = tile.map(Tiles::same);
        let (ms, macs, products) = times(&graph, &config, node.is_some())?;
        for product in products {
            let same = |p: &lower::Product| (p.rows, p.columns, p.depth) == (product.rows, product.columns, product.depth);
            let entry = match sizes.iter().position(|(p, ..)| same(p)) {
                Some(i) => &mut sizes[i],
                None => {
                    sizes.push((product, 0, vec![]));
                    sizes.last_mut().expect("just added")
                }
            };
            entry.1 += if at == 0 { macs[product.step] } else { 0 };
            entry.2.resize(at + 1, 0.0);
            entry.2[at] += ms[product.step];
        }
    }
    let best = sizes.into_iter().filter_map(|(product, macs, ms)| {
        let (tile, fastest) = TILES.iter().zip(&ms[1..]).min_by(|a, b| a.1.total_cmp(b.1))?;
        let gflops = |ms: f64| Some((2.0 * macs as f64 / ms.max(1e-6) / 1e4).round() / 1e2);
        let lower::Product { rows, columns, depth, .. } = product;
        let row = Product { rows, columns, depth, tile: *tile, gflops: gflops(*fastest), predicted_gflops: gflops(ms[0]) };
        (*fastest < ms[0] * WORTH).then_some(row)
    });
    Ok(Schedule { engine, products: best.collect() })
}

type Times = (Vec<f64>, Vec<u64>, Vec<lower::Product>);

/// Milliseconds and multiply-accumulates of every step, and which steps are products.
fn times(graph: &ir::Graph, config: &Config, in_node: bool) -> Result<Times, Error> {
    let (plan, products) = lower::lower_with_products(graph, &config.lower).map_err(Error::Lower)?;
    let linked = link::link(&plan, &config.link)?;
    let macs = plan.steps.iter().map(|s| s.macs).collect();
    if in_node {
        let path = std::env::temp_dir().join(format!("wasm-torch-tune-{}.wasm", std::process::id()));
        std::fs::write(&path, &linked.wasm).map_err(|e| Error::file("write", &path, e))?;
        let script = include_str!("tune.mjs");
        let (steps, rounds) = (plan.steps.len().to_string(), ROUNDS.to_string());
        let output =
            Command::new("node").args(["--no-liftoff", "--input-type=module", "-e", script]).arg(&path).args([steps, rounds]).output();
        let _ = std::fs::remove_file(&path);
        let output = output.map_err(Error::Output)?;
        if !output.status.success() {
            return Err(Error::Usage(format!("timing in Node failed: {}", String::from_utf8_lossy(&output.stderr).trim())));
        }
        return Ok((serde_json::from_slice(&output.stdout)?, macs, products));
    }
    let mut instance = Instance::load(&linked.wasm)?;
    let inputs = random_inputs(instance.manifest(), 1);
    let ms = profile(&mut instance, &inputs, ROUNDS)?.into_iter().map(|step| step.ms).collect();
    Ok((ms, macs, products))
}
