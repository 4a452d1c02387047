//! Load, as commands: models of any size, the peak of memory of an export, and how memory stands after many inferences.
//!
//! ```sh
//! cargo run -p wasm-torch-tests --bin load -- synthesize big.onnx --mb 600
//! cargo run -p wasm-torch-tests --bin load -- export big.onnx big.wasm
//! cargo run -p wasm-torch-tests --bin load -- inferences digits.wasm --count 1000000
//! ```

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::time::Instant;
use wasm_torch::{ExportOptions, Instance, LoadOptions, NamedTensor, engine};
use wasm_torch_tests::Tensor;
use wasm_torch_tests::synthetic::{Stack, Weights};

#[derive(Parser)]
enum Command {
    /// Write a model of linear layers
    Synthesize {
        output: PathBuf,
        /// MiB of weights
        #[arg(long, default_value_t = 600)]
        mb: usize,
        /// Put the weights into a file of external data
        #[arg(long)]
        external: bool,
        /// The same, all zeros that take no place on the disk
        #[arg(long)]
        sparse: bool,
    },
    #[command(flatten)]
    Measure(Measure),
}

#[derive(Subcommand)]
enum Measure {
    /// Export as the command line does; prints the peak of memory beside the size of the weights
    Export {
        model: PathBuf,
        output: PathBuf,
        #[arg(long)]
        external_weights: bool,
    },
    /// Run a module many times in one instance; fails if memory grows
    Inferences {
        module: PathBuf,
        #[arg(long, default_value_t = 1_000_000)]
        count: u64,
        #[arg(long, default_value_t = 1)]
        threads: u32,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Synthesize { output, mb, external, sparse } => {
            let weights = if sparse {
                Weights::Hole
            } else if external {
                Weights::Beside
            } else {
                Weights::Inside
            };
            Stack::of_size(mb, weights).write(&output).context("cannot write the model")
        }
        Command::Measure(Measure::Export { model, output, external_weights }) => export(&model, &output, external_weights),
        Command::Measure(Measure::Inferences { module, count, threads }) => inferences(&module, count, threads),
    }
}

fn export(model: &Path, output: &Path, external: bool) -> Result<()> {
    let options = ExportOptions { external_weights: external.then_some(16), ..ExportOptions::default() };
    let before = resident("VmHWM")?;
    let report = wasm_torch::export(model, output, &options, &mut |_| {})?;
    let (peak, weights) = (resident("VmHWM")?, report.memory.weights_bytes);
    println!("weights {weights} bytes, peak {peak} bytes, before {before} bytes, ratio {:.2}", (peak - before) as f64 / weights as f64);
    Ok(())
}

fn inferences(path: &Path, count: u64, threads: u32) -> Result<()> {
    let file = std::fs::read(path)?;
    let mut instance = Instance::load_with(&file, &LoadOptions { threads: Some(threads), ..LoadOptions::default() })?;
    let random = |port: &abi::manifest::Tensor| NamedTensor::new(&port.name, Tensor::random(engine::dtype(port), &engine::shape(port), 1));
    let inputs: Vec<NamedTensor> = instance.manifest().inputs.iter().map(random).collect();
    let expected = instance.forward(&inputs)?;
    // What the allocator keeps settles within the first calls.
    (0..count.min(1000)).try_for_each(|_| instance.forward(&inputs).map(drop))?;
    let (start, before, memory) = (Instant::now(), resident("VmRSS")?, instance.memory()?);
    for call in 0..count {
        let found = instance.forward(&inputs)?;
        ensure!(call % 1000 != 0 || found == expected, "call {call} has another result");
    }
    let (seconds, after, found) = (start.elapsed().as_secs_f64(), resident("VmRSS")?, instance.memory()?);
    println!(
        "{count} calls with variant {} in {seconds:.1} s; resident memory {before} bytes before, {after} after; WebAssembly memory {} before, {} after",
        instance.variant(),
        memory.total,
        found.total
    );
    ensure!(found == memory, "the module's memory grew: {memory:?} to {found:?}");
    ensure!(after < before + (1 << 20), "the process grew by {} bytes", after - before);
    Ok(())
}

/// A line of `/proc/self/status` in bytes; 0 where there is none.
fn resident(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map_or(Ok(0), |line| Ok(1024 * line.trim().trim_end_matches(" kB").parse::<u64>()?))
}
