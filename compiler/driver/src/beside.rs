//! What an export writes beside the module: compressed copies, weights in chunks, types. And the one foreign program it
//! may run, `wasm-opt`. It decides nothing about the module itself.

use crate::{Error, ExportOptions, types, write_atomically};
use flate2::GzBuilder;
use link::{Kind, Linked};
use serde::Serialize;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file beside the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Name without the folder.
    pub file: String,
    pub bytes: usize,
}

/// Writes everything but the module.
pub fn write(linked: &Linked, output: &Path, options: &ExportOptions) -> Result<Vec<Written>, Error> {
    let mut written = vec![];
    let mut put = |path: PathBuf, bytes: &[u8]| {
        write_atomically(&path, bytes)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        written.push(Written { file, bytes: bytes.len() });
        Ok::<(), Error>(())
    };
    for (name, bytes) in &linked.chunks {
        put(output.with_file_name(name), bytes)?;
        if options.precompress {
            let (brotli, gzip) = compressed(bytes);
            put(output.with_file_name(format!("{name}.br")), &brotli)?;
            put(output.with_file_name(format!("{name}.gz")), &gzip)?;
        }
    }
    if options.precompress {
        let (brotli, gzip) = compressed(&linked.wasm);
        put(with_suffix(output, "br"), &brotli)?;
        put(with_suffix(output, "gz"), &gzip)?;
    }
    if options.types {
        put(output.with_extension("d.ts"), types::declarations(&linked.manifest).as_bytes())?;
    }
    Ok(written)
}

/// `model.wasm` and `br` give `model.wasm.br`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// From this size on Brotli's highest quality takes minutes for hardly anything: weights are noise.
const LARGE: usize = 4 << 20;

/// The bytes as Brotli and gzip make them. The same on every machine: neither writes a time or a name.
fn compressed(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let memory = "writing to memory";
    let quality = if bytes.len() > LARGE { 9 } else { 11 };
    let params = brotli::enc::BrotliEncoderParams { quality, lgwin: 24, size_hint: bytes.len(), ..Default::default() };
    let mut brotli = vec![];
    brotli::BrotliCompress(&mut &bytes[..], &mut brotli, &params).expect(memory);
    let mut gzip = GzBuilder::new().write(vec![], flate2::Compression::best());
    gzip.write_all(bytes).expect(memory);
    (brotli, gzip.finish().expect(memory))
}

/// What `wasm-opt` did to the code of all variants together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WasmOpt {
    /// Its name and version.
    pub program: String,
    pub bytes_before: usize,
    pub bytes_after: usize,
}

/// Binaryen's optimiser, if it is on the PATH and knows relaxed SIMD.
pub struct Optimiser {
    path: PathBuf,
    pub report: WasmOpt,
}

impl Optimiser {
    /// The first `wasm-opt` on the PATH, or a warning.
    pub fn find() -> Result<Optimiser, String> {
        let hint = "the code is left as it is";
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let name = format!("wasm-opt{}", std::env::consts::EXE_SUFFIX);
        let path = std::env::split_paths(&folders).map(|folder| folder.join(&name)).find(|path| path.is_file());
        let path = path.ok_or_else(|| format!("there is no wasm-opt on the PATH; {hint}"))?;
        let output =
            |args: &[&str]| Command::new(&path).args(args).output().map_err(|error| format!("wasm-opt cannot be run: {error}; {hint}"));
        if !String::from_utf8_lossy(&output(&["--help"])?.stdout).contains("relaxed-simd") {
            return Err(format!("{} knows no relaxed SIMD; {hint}", path.display()));
        }
        let program = String::from_utf8_lossy(&output(&["--version"])?.stdout).trim().to_string();
        Ok(Optimiser { path, report: WasmOpt { program, bytes_before: 0, bytes_after: 0 } })
    }

    /// Optimises a module without data; one that `wasm-opt` does not make smaller stays as it is.
    pub fn optimise(&mut self, kind: Kind, code: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut args = vec!["-O3", "--enable-simd", "--enable-bulk-memory", "--enable-sign-ext", "--enable-nontrapping-float-to-int"];
        args.extend(["--enable-mutable-globals", "--enable-multivalue", "--enable-reference-types"]);
        args.extend(kind.relaxed().then_some("--enable-relaxed-simd"));
        args.extend(kind.threads().then_some("--enable-threads"));
        let better = run(&self.path, &args, &code)?;
        let chosen = if better.len() < code.len() { better } else { code.clone() };
        self.report.bytes_before += code.len();
        self.report.bytes_after += chosen.len();
        Ok(chosen)
    }
}

/// A module through `wasm-opt`, by way of files: it reads no pipe.
fn run(program: &Path, args: &[&str], code: &[u8]) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("wasm-opt cannot be run: {error}");
    let folder = tempfile::tempdir().map_err(failed)?;
    let (input, output) = (folder.path().join("in.wasm"), folder.path().join("out.wasm"));
    std::fs::write(&input, code).map_err(failed)?;
    let args = [input.as_os_str(), OsStr::new("-o"), output.as_os_str()].into_iter().chain(args.iter().map(OsStr::new));
    let done = Command::new(program).args(args).stdin(Stdio::null()).output().map_err(failed)?;
    if !done.status.success() {
        return Err(format!("wasm-opt failed: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    std::fs::read(&output).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn compressed_copies_hold_the_same_bytes() {
        let bytes: Vec<u8> = (0..100_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let (brotli, gzip) = compressed(&bytes);
        assert!(brotli.len() < bytes.len() / 2 && gzip.len() < bytes.len() / 2);
        let mut back = vec![];
        brotli::BrotliDecompress(&mut &brotli[..], &mut back).unwrap();
        assert_eq!(back, bytes);
        let mut back = vec![];
        flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut back).unwrap();
        assert_eq!(back, bytes);
        assert_eq!(compressed(&bytes), (brotli, gzip), "the same every time");
    }

    #[test]
    fn suffixes_are_added() {
        assert_eq!(with_suffix(Path::new("a/model.wasm"), "br"), Path::new("a/model.wasm.br"));
    }
}
