//! What of a file is loaded: one of its variants, and the weights that are not in it.

use super::{EngineError, LoadOptions};
use abi::manifest::{self, Manifest};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::OnceLock;

/// What wasmtime can do on every processor that it compiles for.
const FEATURES: &[&str] =
    &["simd128", "bulk-memory", "multivalue", "mutable-globals", "nontrapping-fptoint", "reference-types", "sign-ext", "relaxed-simd"];
/// What `link` reads: compressed sections.
const DEFLATE: &str = "deflate";
/// Where its relaxed dot products read the second operand as unsigned.
const UNSIGNED_DOT: &str = "relaxed-dot-unsigned";
/// And with threads.
const ATOMICS: &str = "atomics";

/// The variant that the options ask for, or the best one for them.
pub fn choose(manifest: &Manifest, options: &LoadOptions, threads: u32) -> Result<String, EngineError> {
    let names: Vec<&str> =
        std::iter::once(&manifest.variant).chain(manifest.variants.iter().map(|v| &v.name)).map(String::as_str).collect();
    if let Some(name) = &options.variant {
        if !names.contains(&name.as_str()) {
            return Err(EngineError::Variant { what: format!("no variant `{name}`"), names: names.join(", ") });
        }
        if threads > 1 && !name.contains("threads") {
            return Err(EngineError::Variant { what: format!("no threads in its variant `{name}`"), names: names.join(", ") });
        }
        let needs = manifest.variants.iter().find(|v| v.name == *name).map_or(&manifest.features, |v| &v.features);
        if needs.iter().any(|feature| feature == UNSIGNED_DOT) && !has_unsigned_dot() {
            return Err(EngineError::Variant {
                what: format!("no variant `{name}` that this engine computes exactly"),
                names: names.join(", "),
            });
        }
        return Ok(name.clone());
    }
    let mut features = FEATURES.to_vec();
    features.push(DEFLATE);
    if has_unsigned_dot() {
        features.push(UNSIGNED_DOT);
    }
    // A file of one kind runs as what it is; else one thread needs no shared memory.
    if threads > 1 || names.iter().all(|name| name.contains("threads")) {
        features.push(ATOMICS);
    }
    match manifest.select_variant(&features) {
        Ok(name) if threads > 1 && !name.contains("threads") => {
            Err(EngineError::Variant { what: "no variant with threads".into(), names: names.join(", ") })
        }
        Ok(name) => Ok(name.to_string()),
        Err(none) => Err(EngineError::Variant { what: format!("no variant without {}", none.missing.join(", ")), names: names.join(", ") }),
    }
}

/// (func (export "dot") (param $a i32) (param $b i32) (result i32) the first lane of
/// i32x4.relaxed_dot_i8x16_i7x16_add_s of $a and $b in every byte and 0)
#[rustfmt::skip]
const DOT: &[u8] = &[
    0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3, 100, 111, 116, 0, 0, 10, 22, 1, 20, 0, 32, 0, 253,
    15, 32, 1, 253, 15, 65, 0, 253, 17, 253, 147, 2, 253, 27, 0, 11,
];

/// Whether relaxed dot products are exact with an unsigned second operand.
fn has_unsigned_dot() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let found = || -> Option<bool> {
            let engine = super::host::engine(false).ok()?;
            let module = wasmtime::Module::new(engine, DOT).ok()?;
            let mut store = wasmtime::Store::new(engine, ());
            let instance = wasmtime::Instance::new(&mut store, &module, &[]).ok()?;
            let dot = instance.get_typed_func::<(i32, i32), i32>(&mut store, "dot").ok()?;
            let exact = [(1, 1), (127, 255), (-127, 255)].map(|(a, b)| dot.call(&mut store, (a, b)).ok() == Some(4 * a * b));
            Some(exact.iter().all(|exact| *exact))
        };
        found().unwrap_or(false)
    })
}

/// The chunks of weights that are not in the module, in order, each compared with its hash.
pub fn external_weights(manifest: &Manifest, folder: Option<&Path>) -> Result<Vec<Vec<u8>>, EngineError> {
    let Some(external) = &manifest.external_weights else { return Ok(vec![]) };
    let missing = |file: &str, why: String| EngineError::ExternalWeights { file: file.to_string(), why };
    let mut total = 0u64;
    let chunk = |chunk: &manifest::Chunk| {
        // A name that is not a plain file name could lead anywhere.
        if Path::new(&chunk.file).file_name().is_none_or(|name| name != chunk.file.as_str()) {
            return Err(missing(&chunk.file, "that is no file name".into()));
        }
        let folder = folder.ok_or_else(|| missing(&chunk.file, "the module was loaded from bytes, not from its folder".into()))?;
        let bytes = std::fs::read(folder.join(&chunk.file)).map_err(|error| missing(&chunk.file, error.to_string()))?;
        total += bytes.len() as u64;
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if bytes.len() != chunk.bytes as usize || hash != chunk.sha256 || total > u64::from(manifest.memory.weights_bytes) {
            return Err(missing(&chunk.file, "its contents are not what the module was exported with".into()));
        }
        Ok(bytes)
    };
    external.chunks.iter().map(chunk).collect()
}
