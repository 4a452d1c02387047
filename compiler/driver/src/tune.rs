//! Schedules by measurement: `export --tune` times the register tiles of a model's products on this machine, in Chromium
//! where there is one, else in Node, else in wasmtime; the fastest go to a file that `--schedule` reads. They are the fastest
//! of that engine: others may prefer others.

mod browser;

use crate::bench::profile;
use crate::error::read_file;
use crate::verify::random_inputs;
use crate::{Config, Error, ExportOptions, Instance, export};
use browser::Browser;
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
    /// Of relaxed variants, with as many vectors; without it the one that is predicted to be the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relaxed_tile: Option<(usize, usize)>,
    /// Measured with this tile, and with the one that the table of schedules predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_gflops: Option<f64>,
}

/// Smaller gains are noise.
const WORTH: f64 = 0.97;
const ROUNDS: usize = 15;

/// Reads a schedule, and checks its tiles.
pub fn read(path: &Path) -> Result<Vec<Choice>, Error> {
    let schedule: Schedule = serde_json::from_slice(&read_file(path)?)
        .map_err(|e| Error::Usage(format!("{}: {e}\nhint: `export --tune` writes such a file", path.display())))?;
    let refused = |tile: (usize, usize), why: &str| Error::Usage(format!("{}: there is no tile of {tile:?}{why}", path.display()));
    let choice = |p: &Product| {
        if let Some(tile) = std::iter::once(p.tile).chain(p.relaxed_tile).find(|tile| !TILES.contains(tile) && *tile != (6, 2)) {
            return Err(refused(tile, &format!("; tiles are {TILES:?}")));
        }
        if let Some(tile) = p.relaxed_tile.filter(|tile| tile.1 != p.tile.1) {
            return Err(refused(
                tile,
                &format!(" beside {:?}: all variants read the same weights, so their tiles are equally wide", p.tile),
            ));
        }
        Ok(Choice { rows: p.rows, columns: p.columns, depth: p.depth, tiles: Tiles { plain: p.tile, relaxed: p.relaxed_tile } })
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
    // Pages and scripts call every step in turn, so that branches are left to wasmtime.
    let branches = export::lower(&graph, &config)?.steps.iter().any(|step| step.branch.is_some());
    say("looking for an engine");
    let engine = if branches { Engine::Wasmtime } else { Engine::find() };
    // By size: milliseconds of each tile, the prediction first.
    let mut sizes: Vec<Measured> = vec![];
    for (at, tile) in std::iter::once(None).chain(TILES.iter().copied().map(Some)).enumerate() {
        say(&tile.map_or("timing the predicted tiles".into(), |(rows, vectors)| format!("timing tiles of {rows} x {}", 4 * vectors)));
        config.lower.tiles = tile.map(Tiles::same);
        add(&mut sizes, at, times(&graph, &config, &engine)?);
    }
    let fastest = |m: &Measured| TILES.iter().zip(&m.ms[1..]).min_by(|a, b| a.1.total_cmp(b.1)).map(|(tile, ms)| (*tile, *ms));
    let better = |m: &Measured| fastest(m).filter(|(_, ms)| *ms < m.ms[0] * WORTH).map(|(tile, _)| tile);
    // The least of many noisy times is too good to be true: only what wins again is kept.
    let choice = |m: &Measured| {
        let lower::Product { rows, columns, depth, .. } = m.product;
        Some(Choice { rows, columns, depth, tiles: Tiles { plain: better(m)?, relaxed: None } })
    };
    let chosen = sizes.iter().filter_map(choice).collect();
    config.lower.tiles = None;
    let mut second: Vec<Measured> = vec![];
    for (at, schedule) in [vec![], chosen].into_iter().enumerate() {
        say(if at == 0 { "timing the predicted tiles again" } else { "timing the chosen tiles again" });
        config.lower.schedule = schedule;
        add(&mut second, at, times(&graph, &config, &engine)?);
    }
    let products = sizes.iter().filter_map(|m| {
        let tile = better(m)?;
        let ms = &second.iter().find(|s| same(&s.product, &m.product))?.ms;
        let gflops = |ms: f64| Some((2.0 * m.macs as f64 / ms.max(1e-6) / 1e4).round() / 1e2);
        let lower::Product { rows, columns, depth, .. } = m.product;
        let row = Product { rows, columns, depth, tile, relaxed_tile: None, gflops: gflops(ms[1]), predicted_gflops: gflops(ms[0]) };
        (ms[1] < ms[0] * WORTH).then_some(row)
    });
    Ok(Schedule { products: products.collect(), engine: engine.name() })
}

/// Milliseconds of all products of one size, by candidate.
struct Measured {
    product: lower::Product,
    macs: u64,
    ms: Vec<f64>,
}

fn same(a: &lower::Product, b: &lower::Product) -> bool {
    (a.rows, a.columns, a.depth) == (b.rows, b.columns, b.depth)
}

/// Adds the times of candidate number `at`.
fn add(sizes: &mut Vec<Measured>, at: usize, (ms, macs, products): Times) {
    for product in products {
        let i = sizes.iter().position(|m| same(&m.product, &product)).unwrap_or(sizes.len());
        if i == sizes.len() {
            sizes.push(Measured { product, macs: 0, ms: vec![] });
        }
        let entry = &mut sizes[i];
        entry.macs += if at == 0 { macs[product.step] } else { 0 };
        entry.ms.resize(at + 1, 0.0);
        entry.ms[at] += ms[product.step];
    }
}

/// What times modules.
enum Engine {
    /// And its version.
    Chromium(Box<Browser>, String),
    /// Its version.
    Node(String),
    Wasmtime,
}

impl Engine {
    fn find() -> Engine {
        let version = |program: &Path| {
            let output = Command::new(program).arg("--version").output().ok().filter(|o| o.status.success())?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        let browser = browser::find().and_then(|program| Some((Browser::start(&program)?, program)));
        if let Some((browser, program)) = browser {
            return Engine::Chromium(Box::new(browser), version(&program).unwrap_or_else(|| "Chromium".into()));
        }
        version(Path::new("node")).map_or(Engine::Wasmtime, Engine::Node)
    }

    fn name(&self) -> String {
        match self {
            Engine::Chromium(_, version) => version.clone(),
            Engine::Node(version) => format!("Node {version}"),
            Engine::Wasmtime => "wasmtime".into(),
        }
    }
}

type Times = (Vec<f64>, Vec<u64>, Vec<lower::Product>);

/// Milliseconds and multiply-accumulates of every step, and which steps are products.
fn times(graph: &ir::Graph, config: &Config, engine: &Engine) -> Result<Times, Error> {
    let (plan, products) = lower::lower_with_products(graph, &config.lower).map_err(Error::Lower)?;
    let linked = link::link(&plan, &config.link)?;
    let macs = plan.steps.iter().map(|s| s.macs).collect();
    let ms = match engine {
        Engine::Chromium(browser, _) => browser.times(&linked.wasm, plan.steps.len(), ROUNDS)?,
        Engine::Node(_) => in_node(&linked.wasm, plan.steps.len())?,
        Engine::Wasmtime => {
            let mut instance = Instance::load(&linked.wasm)?;
            let inputs = random_inputs(instance.manifest(), 1);
            profile(&mut instance, &inputs, ROUNDS)?.into_iter().map(|step| step.ms).collect()
        }
    };
    Ok((ms, macs, products))
}

fn in_node(wasm: &[u8], steps: usize) -> Result<Vec<f64>, Error> {
    let folder = tempfile::tempdir().map_err(Error::Output)?;
    let path = folder.path().join("module.wasm");
    std::fs::write(&path, wasm).map_err(|e| Error::file("write", &path, e))?;
    let script = concat!(include_str!("tune/measure.mjs"), include_str!("tune/node.mjs"));
    let mut node = Command::new("node");
    node.args(["--no-liftoff", "--input-type=module", "-e", script]).arg(&path).args([steps.to_string(), ROUNDS.to_string()]);
    let output = node.output().map_err(Error::Output)?;
    if !output.status.success() {
        return Err(Error::Usage(format!("timing in Node failed: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
