//! Builds the runtime in its flavours and records what they were built from. The linker only ever embeds the checked-in
//! bytes.
//!
//! Two routes give the same bytes: rustup's toolchain with its wasm32 target, and, where that target cannot be had,
//! Debian's `rustc-web` packages unpacked (not installed) into a cache folder, with `core` built from source.

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The runtime as a file: what it is built with and how large it may be. Most of it are routines, of which a module gets those
/// that it calls; `link` tests what the rest takes.
pub struct Flavour {
    pub wasm: &'static str,
    /// Name of its hash in the lock.
    lock: &'static str,
    cargo: &'static [&'static str],
    pub budget_bytes: usize,
}

pub const FLAVOURS: [Flavour; 2] = [
    Flavour { wasm: "runtime/runtime.wasm", lock: "bytes", cargo: &[], budget_bytes: 64 * 1024 },
    Flavour {
        wasm: "runtime/runtime_threads.wasm",
        lock: "bytes_threads",
        cargo: &["--features", "threads", "--config", "target.wasm32-unknown-unknown.rustflags=['-Ctarget-feature=+atomics,+bulk-memory']"],
        budget_bytes: 66 * 1024,
    },
];

const LOCK: &str = "runtime/runtime.lock";
const MODULE: &str = "runtime/module";
const TARGET: &str = "wasm32-unknown-unknown";

/// Everything that decides the bytes besides the compiler; folders stand for every file below them.
const SOURCES: &[&str] = &[
    "runtime/module/.cargo/config.toml",
    "runtime/module/Cargo.lock",
    "runtime/module/Cargo.toml",
    "runtime/module/src",
    "runtime/routines/Cargo.toml",
    "runtime/routines/src",
    "runtime/abi/src/lib.rs",
];

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Route {
    /// rustup's wasm32 target, added if need be; else Debian's packages
    Auto,
    Rustup,
    Debian,
}

/// Builds, and writes the binaries and their lock; with `check`, only compares.
pub fn run(route: Route, check: bool) -> Result<()> {
    let compiler = Compiler::find(route)?;
    let built = FLAVOURS.iter().map(|flavour| build(&compiler, flavour)).collect::<Result<Vec<_>>>()?;
    for (flavour, wasm) in FLAVOURS.iter().zip(&built) {
        let budget = flavour.budget_bytes;
        ensure!(wasm.len() <= budget, "{} has {} bytes, the budget is {budget}", flavour.wasm, wasm.len());
    }
    let lock = Lock {
        sources: source_hash()?,
        compiler: compiler.version()?,
        bytes: built.iter().map(|wasm| hex(&Sha256::digest(wasm))).collect(),
    };
    if check {
        let (found, recorded) = checked_in()?;
        for (flavour, (found, built)) in FLAVOURS.iter().zip(found.iter().zip(&built)) {
            ensure!(found == built, "{} is not what {} makes of its sources\nhint: run `cargo xtask runtime`", flavour.wasm, lock.compiler);
        }
        ensure!(recorded.sources == lock.sources, "{LOCK} is stale\nhint: run `cargo xtask runtime`");
    }
    for (flavour, wasm) in FLAVOURS.iter().zip(&built) {
        if !check {
            fs::write(crate::root().join(flavour.wasm), wasm)?;
        }
        let done = if check { "up to date" } else { "written   " };
        println!("{done}  {} ({} bytes, {})", flavour.wasm, wasm.len(), lock.compiler);
    }
    if !check {
        fs::write(crate::root().join(LOCK), lock.print())?;
    }
    Ok(())
}

/// The binaries and their lock as they are in the repository.
fn checked_in() -> Result<(Vec<Vec<u8>>, Lock)> {
    let read = |flavour: &Flavour| fs::read(crate::root().join(flavour.wasm)).with_context(|| format!("cannot read {}", flavour.wasm));
    let lock = fs::read_to_string(crate::root().join(LOCK)).with_context(|| format!("cannot read {LOCK}"))?;
    Ok((FLAVOURS.iter().map(read).collect::<Result<_>>()?, Lock::parse(&lock)?))
}

/// What the checked-in binaries were built from.
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    sources: String,
    compiler: String,
    /// One per flavour.
    bytes: Vec<String>,
}

impl Lock {
    fn print(&self) -> String {
        let Lock { sources, compiler, bytes } = self;
        let bytes: String = FLAVOURS.iter().zip(bytes).map(|(flavour, bytes)| format!("{} {bytes}\n", flavour.lock)).collect();
        format!("# Written by `cargo xtask runtime`.\nsources {sources}\ncompiler {compiler}\n{bytes}")
    }

    fn parse(text: &str) -> Result<Lock> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map(str::to_string).with_context(|| format!("{LOCK} has no line `{name}`"))
        };
        let bytes = FLAVOURS.iter().map(|flavour| field(flavour.lock)).collect::<Result<_>>()?;
        Ok(Lock { sources: field("sources")?, compiler: field("compiler")?, bytes })
    }
}

enum Compiler {
    Rustup,
    /// Root folder of the unpacked packages.
    Debian(PathBuf),
}

impl Compiler {
    fn find(route: Route) -> Result<Compiler> {
        if route != Route::Debian {
            if rustup_target_is_there() || (add_rustup_target() && rustup_target_is_there()) {
                return Ok(Compiler::Rustup);
            }
            ensure!(route == Route::Auto, "rustup has no target {TARGET}\nhint: rustup target add {TARGET}");
        }
        Ok(Compiler::Debian(unpack_debian()?))
    }

    fn rustc(&self) -> Command {
        let mut command = match self {
            Compiler::Rustup => Command::new("rustc"),
            Compiler::Debian(root) => Command::new(root.join("usr/bin/rustc")),
        };
        if let Compiler::Debian(root) = self {
            command.env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
        }
        command.current_dir(crate::root().join(MODULE));
        command
    }

    /// `rustc 1.95.0 (59807616e 2026-04-14)`.
    fn version(&self) -> Result<String> {
        Ok(output(self.rustc().arg("--version"))?.trim().to_string())
    }
}

fn build(compiler: &Compiler, flavour: &Flavour) -> Result<Vec<u8>> {
    let target_dir = crate::root().join("target/runtime");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(crate::root().join(MODULE)).env("CARGO_TARGET_DIR", &target_dir);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    cargo.args(["build", "--quiet", "--locked", "--release", "--target", TARGET]).args(flavour.cargo);
    if let Compiler::Debian(root) = compiler {
        let linker = rustup_sysroot()?.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
        cargo
            .args(["-Zbuild-std=core", "-Zbuild-std-features=compiler-builtins-mem"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", root.join("usr/bin/rustc"))
            .env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"))
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    output(&mut cargo)?;
    let path = target_dir.join(TARGET).join("release/runtime.wasm");
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn rustup_sysroot() -> Result<PathBuf> {
    Ok(PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim()))
}

fn rustup_target_is_there() -> bool {
    let libraries = output(Compiler::Rustup.rustc().args(["--print", "target-libdir", "--target", TARGET]));
    libraries.is_ok_and(|path| Path::new(path.trim()).is_dir())
}

fn add_rustup_target() -> bool {
    eprintln!("rustup has no target {TARGET}; trying to add it");
    output(Command::new("rustup").args(["target", "add", TARGET])).is_ok()
}

/// Downloads and unpacks Debian's compiler once; later calls find it in the cache.
fn unpack_debian() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache"))).context("no home folder for a cache")?;
    let folder = cache.join("wasm-torch/rustc-web");
    let root = folder.join("root");
    if root.join("usr/bin/rustc").is_file() {
        return Ok(root);
    }
    eprintln!("unpacking Debian's rustc-web into {} (about 140 MB to download)", folder.display());
    let debs = folder.join("debs");
    fs::create_dir_all(&debs)?;
    output(Command::new("apt-get").arg("download").args(debian_packages()?).current_dir(&debs))?;
    // Unpacked beside its final place, so that an interrupted run leaves no half of a compiler there.
    let partial = folder.join("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    for deb in sorted_files(&debs)? {
        output(Command::new("dpkg").arg("-x").args([&deb, &partial]))?;
    }
    fs::rename(&partial, &root)?;
    fs::remove_dir_all(&debs)?;
    Ok(root)
}

/// The compiler, its sources and the libraries that it loads, whose package names carry versions.
fn debian_packages() -> Result<Vec<String>> {
    let mut packages: Vec<String> = ["rustc-web", "rust-web-src", "libstd-rust-web-dev"].map(String::from).to_vec();
    let mut next = 0;
    while next < packages.len() {
        let depends = output(Command::new("apt-cache").args(["depends", &packages[next]]))
            .context("Debian's rustc-web is the second way to a wasm32 compiler, and it is not there")?;
        for name in depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")) {
            let ours = name.starts_with("libstd-rust-web") || name.starts_with("libllvm");
            if ours && !packages.iter().any(|known| known == name) {
                packages.push(name.to_string());
            }
        }
        next += 1;
    }
    Ok(packages)
}

/// SHA-256 over the paths and contents of [`SOURCES`].
fn source_hash() -> Result<String> {
    let mut hash = Sha256::new();
    for source in SOURCES {
        let path = crate::root().join(source);
        for file in if path.is_dir() { sorted_files(&path)? } else { vec![path] } {
            let name = file.strip_prefix(crate::root())?.to_string_lossy().replace('\\', "/");
            let bytes = fs::read(&file).with_context(|| format!("cannot read {name}"))?;
            hash.update(format!("{name} {}\n", bytes.len()));
            hash.update(bytes);
        }
    }
    Ok(hex(&hash.finalize()))
}

/// Files directly in a folder, by name.
fn sorted_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Standard output of a command that must succeed.
fn output(command: &mut Command) -> Result<String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned();
    let done = command.output().with_context(|| format!("cannot run {name}"))?;
    if !done.status.success() {
        bail!("{name} failed:\n{}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn binaries_belong_to_their_sources() {
        let (built, lock) = checked_in().expect("the runtime is checked in");
        assert_eq!(lock.sources, source_hash().expect("sources"), "the runtime is stale: run `cargo xtask runtime`");
        for ((flavour, wasm), bytes) in FLAVOURS.iter().zip(&built).zip(&lock.bytes) {
            assert_eq!(*bytes, hex(&Sha256::digest(wasm)), "{} is not the file {LOCK} speaks of", flavour.wasm);
        }
    }

    #[test]
    fn binaries_are_within_their_budgets() {
        let (built, _) = checked_in().expect("the runtime is checked in");
        for (flavour, wasm) in FLAVOURS.iter().zip(&built) {
            assert!(wasm.len() <= flavour.budget_bytes, "{}: {} bytes", flavour.wasm, wasm.len());
        }
    }

    #[test]
    fn binaries_are_what_their_compiler_makes() {
        let (built, lock) = checked_in().expect("the runtime is checked in");
        let here = Compiler::Rustup.version().unwrap_or_default();
        if here != lock.compiler || !rustup_target_is_there() {
            // Written past the test harness, which swallows what a passing test prints.
            let text = format!("\nSKIPPED: the runtime was not rebuilt: needs {} with {TARGET}, found {here:?}\n\n", lock.compiler);
            std::io::stderr().write_all(text.as_bytes()).expect("stderr");
            return;
        }
        for (flavour, wasm) in FLAVOURS.iter().zip(&built) {
            assert!(build(&Compiler::Rustup, flavour).expect("a build") == *wasm, "{} differs from a rebuild", flavour.wasm);
        }
    }

    #[test]
    fn lock_round_trips() {
        let lock = Lock { sources: "ab".into(), compiler: "rustc 1.0.0 (x)".into(), bytes: vec!["cd".into(), "ef".into()] };
        assert_eq!(Lock::parse(&lock.print()).expect("parses"), lock);
        assert!(Lock::parse("sources x").is_err());
    }
}
