//! Hostile model files: into the importer, and what it takes through the whole compiler.

use crate::mutate::{damage, mutate, noise, smaller};
use crate::rng::Rng;
use crate::{Target, Verdict, corpus};
use link::LinkError;
use onnx::{Binding, ImportOptions};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use wasm_torch::export::Source;
use wasm_torch::{Error, ExportOptions, ModelOptions};

pub(crate) const IMPORTER: Target =
    Target { name: "importer", seconds: 10, megabytes: 1024, make: hostile, check: import, shrink: smaller, extension: "onnx" };

pub(crate) const MODELS: Target =
    Target { name: "models", seconds: 40, megabytes: 2048, make: changed, check: compile, shrink: smaller, extension: "onnx" };

/// Anything from a changed model to noise.
fn hostile(seed: u64) -> Vec<u8> {
    let rng = &mut Rng::new(seed);
    let models = corpus::models();
    let (Some(model), Some(other)) = (rng.pick(models), rng.pick(models)) else { return noise(rng) };
    match rng.below(20) {
        0 => noise(rng),
        1..=3 => damage(&model.bytes, rng),
        4 => damage(&mutate(&model.bytes, &other.bytes, rng), rng),
        _ => mutate(&model.bytes, &other.bytes, rng),
    }
}

/// A model of some kilobytes with changes that keep its form.
fn changed(seed: u64) -> Vec<u8> {
    let rng = &mut Rng::new(seed);
    let models = corpus::models();
    let small = |rng: &mut Rng| (0..8).find_map(|_| rng.pick(models).filter(|m| m.bytes.len() < 100_000));
    let (Some(model), Some(other)) = (small(rng), small(rng)) else { return noise(rng) };
    mutate(&model.bytes, &other.bytes, rng)
}

/// Imports the model in the ways that options offer. What is taken must be a valid graph.
fn import(input: &[u8]) -> Result<Verdict, String> {
    let folder = surroundings();
    // The file may be no model, but is described nevertheless.
    let _ = onnx::census_bytes(input.to_vec());
    let plain = ImportOptions { base_dir: Some(folder.to_path_buf()), ..ImportOptions::default() };
    let mut accepted = check(onnx::import_bytes(input.to_vec(), &plain))?;
    let batch = ImportOptions { batch: Some(2), ..plain.clone() };
    accepted |= check(onnx::import_bytes(input.to_vec(), &batch))?;
    if let Ok(imported) = onnx::import_bytes(input.to_vec(), &plain) {
        let symbols = || imported.graph.symbols.keys().map(ToString::to_string);
        let sizes = [1, 3, 1 << 40].map(|size| symbols().map(|name| (name, size)).collect::<Vec<_>>());
        for dims in sizes.into_iter().filter(|dims| !dims.is_empty()) {
            accepted |= check(onnx::import_bytes(input.to_vec(), &ImportOptions { dims, ..plain.clone() }))?;
        }
        let free = symbols().map(|name| (name, ir::Bound { min: 1, max: Some(5) })).collect();
        accepted |= check(onnx::import_bytes(input.to_vec(), &ImportOptions { free, ..plain.clone() }))?;
        if let Some(first) = imported.graph.inputs.first() {
            let bind_inputs = vec![(imported.graph.value(*first).name.clone(), Binding::Numbers(vec![2.0]))];
            // A bound input may be as large as the limit for that: only of small ones is this a test.
            let small = imported.graph.ty(*first).shape.iter().all(|d| d.as_const().is_none_or(|d| d < 64));
            if small {
                accepted |= check(onnx::import_bytes(input.to_vec(), &ImportOptions { bind_inputs, ..plain }))?;
            }
        }
    }
    Ok(if accepted { Verdict::Accepted } else { Verdict::Refused })
}

fn check(result: Result<onnx::Imported, onnx::ImportErrors>) -> Result<bool, String> {
    match result {
        Ok(imported) => match ir::verify::verify(&imported.graph) {
            Ok(()) => Ok(true),
            Err(errors) => Err(format!("invalid graph: {errors:?}\n{}", imported.graph)),
        },
        Err(errors) if errors.to_string().trim().is_empty() => Err("an error without words".into()),
        Err(_) => Ok(false),
    }
}

/// Through the whole compiler, at a level that follows from the bytes. Errors are the model's; those of the compiler are wrong.
fn compile(input: &[u8]) -> Result<Verdict, String> {
    let mut level = input.iter().map(|b| u64::from(*b)).sum::<u64>() % 4;
    let Ok(imported) = onnx::import_bytes(input.to_vec(), &ImportOptions { batch: Some(1), ..ImportOptions::default() }) else {
        return Ok(Verdict::Refused);
    };
    // Naive evaluation of folded constants and large kernels take their time.
    if imported.graph.order().len() > 400 {
        level = 1;
    }
    let dim = |name: &std::sync::Arc<str>| wasm_torch::options::DimOption {
        name: name.to_string(),
        size: 3,
        least: (level % 2 == 0).then_some(1),
    };
    let options = ExportOptions {
        level: ["0", "1", "2", "3"][level as usize].parse().ok(),
        model: ModelOptions { dims: imported.graph.symbols.keys().map(dim).collect(), ..ModelOptions::default() },
        variants: Some(vec!["baseline".into()]),
        ..ExportOptions::default()
    };
    exported(Source::Bytes(input), &options)
}

/// Errors that blame the compiler.
pub(crate) fn is_bug(error: &Error) -> bool {
    let text = error.to_string();
    use LinkError::{Emit, Invalid, Plan, Runtime, Variants};
    let link = matches!(error, Error::Link(Plan(_) | Variants(_) | Emit(_) | Runtime(_) | Invalid(_)));
    link || matches!(error, Error::InvalidGraph(_)) || text.contains("bug of the compiler") || text.contains("compiler bug")
}

/// A folder with files, links and folders that external data may name.
fn surroundings() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, model) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let model = folder.path().join("model");
        std::fs::create_dir_all(model.join("sub")).expect("folders");
        for file in [folder.path().join("data.bin"), model.join("data.bin"), model.join("sub/data.bin")] {
            std::fs::write(file, [1u8; 256]).expect("a file");
        }
        #[cfg(unix)]
        {
            for (to, link) in [("../data.bin", "link"), ("loop", "loop"), ("nowhere", "dangling")] {
                std::os::unix::fs::symlink(to, model.join(link)).expect("a link");
            }
            let _ = std::process::Command::new("mkfifo").arg(model.join("fifo")).status();
        }
        (folder, model)
    });
    model
}

/// Exports into an empty folder: a readable module, or an error that is the model's and leaves no file.
pub fn exported<'a>(source: impl Into<Source<'a>>, options: &ExportOptions) -> Result<Verdict, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let output = folder.path().join("model.wasm");
    let result = wasm_torch::export(source, &output, options, &mut |_| {});
    let files = std::fs::read_dir(folder.path()).map_err(|e| e.to_string())?.count();
    match result {
        Ok(_) => {
            let module = std::fs::read(&output).map_err(|e| e.to_string())?;
            link::read_image(&module).map_err(|e| format!("unreadable module: {e}"))?;
            Ok(Verdict::Accepted)
        }
        Err(_) if files > 0 => Err(format!("{files} files are left after an error")),
        Err(error) if is_bug(&error) => Err(format!("compiler bug: {error}")),
        Err(_) => Ok(Verdict::Refused),
    }
}
