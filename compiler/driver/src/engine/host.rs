//! What modules are compiled by and live in: engines, stores with their limits, compiled code kept on disk. It knows
//! nothing of a module's interface.
#![allow(unsafe_code, reason = "an engine takes compiled code on trust")]

use super::EngineError;
use crate::write::replace;
use sha2::{Digest, Sha256};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use wasmtime::{Config, Engine, Module, OptLevel, StoreLimits, StoreLimitsBuilder};

/// What a store holds besides its instance.
pub struct Host {
    limits: StoreLimits,
}

pub type Store = wasmtime::Store<Host>;

/// One engine for the process, or two: code of the second looks at every loop whether it is to stop, which costs a few per
/// cent.
pub fn engine(interruptible: bool) -> Result<&'static Engine, EngineError> {
    static ENGINES: [OnceLock<Result<Engine, String>>; 2] = [OnceLock::new(), OnceLock::new()];
    let engine = ENGINES[usize::from(interruptible)].get_or_init(|| {
        let mut config = Config::new();
        config.cranelift_opt_level(OptLevel::Speed).wasm_simd(true).wasm_relaxed_simd(true).wasm_threads(true).shared_memory(true);
        config.epoch_interruption(interruptible);
        Engine::new(&config).map_err(|error| format!("{error:#}"))
    });
    engine.as_ref().map_err(|error| EngineError::Compile(error.clone()))
}

/// A store whose own memories stay within a limit in bytes.
pub fn store(engine: &Engine, memory_limit: Option<u64>) -> Store {
    let limits = memory_limit
        .map_or(StoreLimitsBuilder::new(), |bytes| StoreLimitsBuilder::new().memory_size(usize::try_from(bytes).unwrap_or(usize::MAX)));
    let mut store = wasmtime::Store::new(engine, Host { limits: limits.build() });
    store.limiter(|host| &mut host.limits);
    store
}

/// Machine code of a module: compiled, or read from `cache`, a folder that only its owner may write to.
pub fn compile(engine: &Engine, code: &[u8], cache: Option<&Path>) -> Result<Module, EngineError> {
    let path = cache.map(|folder| cached(engine, code, folder));
    if let Some(module) = path.as_deref().and_then(|path| read(engine, path)) {
        return Ok(module);
    }
    let module = Module::new(engine, code).map_err(|error| EngineError::Compile(format!("{error:#}")))?;
    if let Some(path) = path {
        // The cache is a convenience: a full disk does not keep a module from running.
        let _ = module.serialize().map_err(std::io::Error::other).and_then(|machine_code| write(&path, &machine_code));
    }
    Ok(module)
}

/// The file for some code, named after all that decides its contents.
fn cached(engine: &Engine, code: &[u8], folder: &Path) -> PathBuf {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let name: String = Sha256::digest(code).iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(format!("{name}-{:016x}.cwasm", settings.finish()))
}

/// Files begin with the digest of the rest.
const DIGEST: usize = 32;

fn read(engine: &Engine, path: &Path) -> Option<Module> {
    let bytes = std::fs::read(path).ok()?;
    let (digest, machine_code) = bytes.split_at_checked(DIGEST)?;
    if Sha256::digest(machine_code)[..] != *digest {
        return None;
    }
    // SAFETY: the bytes are what `write` was given, which an engine of the same version and settings made; the folder is
    // the user's own, who could as well run any other program.
    unsafe { Module::deserialize(engine, machine_code) }.ok()
}

fn write(path: &Path, machine_code: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().expect("a file in a folder");
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    replace(path, &[&Sha256::digest(machine_code), machine_code], 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(false).unwrap();
        let code = b"\0asm\x01\0\0\0";
        let path = cached(engine, code, folder.path());
        assert!(read(engine, &path).is_none());
        compile(engine, code, Some(folder.path())).unwrap();
        assert!(read(engine, &path).is_some());
        assert_ne!(path, cached(super::engine(true).unwrap(), code, folder.path()), "other settings, other code");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(read(engine, &path).is_none());
        compile(engine, code, Some(folder.path())).unwrap();
        assert!(read(engine, &path).is_some(), "mended");
    }
}
