//! `make demo`: exports the trained digits model, runs it in wasmtime on 256 real images and says how well it does.

use anyhow::{Context, Result, ensure};
use wasm_torch::bench::Times;
use wasm_torch::compare::Tolerance;
use wasm_torch::{ExportOptions, Instance, npz};
use wasm_torch_tests::{Tensor, evaluate_with, models};

const SIDE: usize = 28;
/// How the training data was normalised: (pixel − MEAN) / DEVIATION.
const MEAN: f64 = 0.1307;
const DEVIATION: f64 = 0.3081;

fn main() -> Result<()> {
    let folder = models().join("digits");
    let compiled = wasm_torch::compile(&folder.join("digits.dynamo.onnx"), &ExportOptions::default(), &mut |_| {})?;
    let arrays = npz::read_npz(&folder.join("golden.npz"))?;
    let mut instance = Instance::load(&compiled.linked.wasm)?;
    let mut times = vec![];
    let found = evaluate_with(&mut instance, &arrays, Tolerance::default(), &mut |ms| times.push(ms))?;
    let times = Times::of(&times);
    let memory = instance.memory()?;
    let sizes = &compiled.report.sizes;
    let (n, correct, agreeing) = (found.labels.len(), found.correct(), found.agreeing());

    println!("models/digits/digits.dynamo.onnx, a small convolutional network trained on MNIST with PyTorch");
    println!("  export        {:.0} ms, {} steps", compiled.report.stages.total_ms, compiled.report.steps.len());
    println!("  module        {} bytes: {} weights, {} code, imports nothing", sizes.total, sizes.weights, sizes.code);
    println!("  accuracy      {correct} of {n} images, {:.1} %", 100.0 * correct as f64 / n as f64);
    println!("  PyTorch       {agreeing} of {n} predictions are equal, largest relative difference {:.1e}", found.differences[0].max_rel);
    println!("  peak memory   {} KiB, of which the arena has {}", memory.total / 1024, memory.arena.div_ceil(1024));
    println!(
        "  time          {:.3} ms per image in wasmtime (median; p90 {:.3}, first {:.3})",
        times.median_ms, times.p90_ms, times.first_ms
    );

    let images = &arrays.iter().find(|a| a.name == "images").context("no images")?.tensor;
    // The first digit with a loop in it shows best.
    let shown = found.labels.iter().position(|l| *l == 8).unwrap_or(0);
    println!("\n{}", drawing(images, shown));
    println!("  the model says {}, the label says {}", found.predictions[shown], found.labels[shown]);
    ensure!(agreeing == n, "only {agreeing} of {n} predictions equal PyTorch's");
    Ok(())
}

/// One image as text, two characters per pixel, without the empty rows around it.
fn drawing(images: &Tensor, index: usize) -> String {
    const SHADES: &[u8] = b" .:-=+*#%@";
    let pixel = |y: usize, x: usize| {
        let value = images.get_f64((index * SIDE + y) * SIDE + x) * DEVIATION + MEAN;
        let shade = (value.clamp(0.0, 1.0) * (SHADES.len() - 1) as f64).round() as usize;
        SHADES[shade] as char
    };
    let rows = (0..SIDE).map(|y| (0..SIDE).flat_map(|x| [pixel(y, x); 2]).collect::<String>());
    let rows: Vec<String> = rows.map(|row| row.trim_end().to_string()).filter(|row| !row.is_empty()).collect();
    rows.join("\n")
}
