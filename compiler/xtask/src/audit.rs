//! What the repository promises about foreign and unsafe code, checked from its files alone: lock files name no registry but
//! the public ones, and `unsafe` stands only where it may, each time with its reason. Licences and advisories are `make audit`'s.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

const CARGO_LOCKS: &[&str] = &["Cargo.lock", "runtime/module/Cargo.lock"];
const NPM_LOCKS: &[&str] = &["web/package-lock.json", "tests/browser/package-lock.json", "tests/bench/package-lock.json"];

/// Where crates come from.
const CRATES: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// Files that may hold `unsafe`, how many pieces of it, and what for.
const UNSAFE: &[(&str, usize, &str)] = &[
    ("runtime/module/src/exports.rs", 1, "routines read the module's memory"),
    ("runtime/module/src/lib.rs", 9, "the runtime's records, and the memory of the pools"),
    ("runtime/routines/src/frame.rs", 8, "tensors of a routine, by address; run under Miri"),
    ("compiler/driver/src/engine/host.rs", 1, "compiled code from a cache of the user's own"),
    ("compiler/driver/src/engine/memory.rs", 3, "memory that threads share"),
    ("python/src/instance.rs", 2, "arrays by address"),
];

/// Prints what was checked; fails with every problem.
pub fn run() -> Result<()> {
    let mut problems = vec![];
    let crates = cargo_locks(&mut problems)?;
    let packages = npm_locks(&mut problems)?;
    let blocks = unsafe_code(&mut problems)?;
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    println!("{crates} crates and {packages} npm packages, all with hashes, from the public registries alone");
    println!("{blocks} pieces of unsafe code in {} files, each with its reason", UNSAFE.len());
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(crate::root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// Number of crates.
fn cargo_locks(problems: &mut Vec<String>) -> Result<usize> {
    let mut crates = 0;
    for path in CARGO_LOCKS {
        let text = read(path)?;
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        let foreign = text.lines().filter(|line| line.starts_with("source = ") && *line != CRATES);
        problems.extend(
            foreign.map(|line| format!("{path}: {line}: only crates.io\nhint: resolve against crates.io and commit that lock file")),
        );
        if count("checksum = ") != count("source = ") {
            problems.push(format!("{path}: a crate has no checksum"));
        }
        crates += count("source = ");
    }
    Ok(crates)
}

/// Number of packages.
fn npm_locks(problems: &mut Vec<String>) -> Result<usize> {
    let mut packages = 0;
    for path in NPM_LOCKS {
        let text = read(path)?;
        let lines = |start: &'static str| text.lines().enumerate().filter(move |(_, line)| line.trim_start().starts_with(start));
        let hint = "hint: npm install with the folder's .npmrc (omit-lockfile-registry-resolved)";
        problems.extend(lines("\"resolved\"").map(|(at, _)| format!("{path}:{}: names a registry\n{hint}", at + 1)));
        let (hashes, entries) = (lines("\"integrity\": \"sha512-").count(), lines("\"node_modules/").count());
        if hashes != entries {
            problems.push(format!("{path}: {entries} packages, {hashes} hashes"));
        }
        packages += entries;
    }
    Ok(packages)
}

/// Number of pieces of unsafe code.
fn unsafe_code(problems: &mut Vec<String>) -> Result<usize> {
    let mut files = vec![];
    for room in ["compiler", "passes", "runtime", "python/src", "tests"] {
        rust_files(&crate::root().join(room), &mut files)?;
    }
    let mut found = 0;
    for path in files {
        let text = read(&path)?;
        let lines: Vec<&str> = text.lines().collect();
        let places: Vec<usize> = (0..lines.len()).filter(|at| is_unsafe(lines[*at])).collect();
        let allowed = UNSAFE.iter().find(|(file, ..)| *file == path).map_or(0, |(_, count, _)| *count);
        if places.len() != allowed {
            problems.push(format!(
                "{path}: {} pieces of unsafe code, {allowed} expected\nhint: the list is UNSAFE in compiler/xtask/src/audit.rs",
                places.len()
            ));
        }
        let bare = places.iter().filter(|at| !has_reason(&lines, **at));
        problems.extend(bare.map(|at| format!("{path}:{}: unsafe without a reason\nhint: `// SAFETY: …` above it", at + 1)));
        found += places.len();
    }
    Ok(found)
}

/// Blocks, functions and implementations; not attributes, nor foreign functions, which say `safe` themselves.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["unsafe {", "unsafe fn ", "unsafe impl"].iter().any(|form| code.contains(form))
}

/// Above it, in the comment that stands there or in the statement that it belongs to.
fn has_reason(lines: &[&str], at: usize) -> bool {
    let mut above = lines[..at].iter().rev().take(6).take_while(|line| !line.trim().is_empty());
    above.any(|line| line.contains("// SAFETY:") || line.contains("/// # Safety"))
}

/// Paths from the root of every Rust file below `folder`, sorted.
fn rust_files(folder: &Path, into: &mut Vec<String>) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        // This file spells out what it looks for.
        if ["target", "node_modules", "audit.rs"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        if path.is_dir() {
            rust_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path.strip_prefix(crate::root())?.display().to_string());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_keeps_its_promises() {
        run().unwrap();
    }

    #[test]
    fn unsafe_code_is_found_and_needs_a_reason() {
        assert!(is_unsafe("    let x = unsafe { *p };") && is_unsafe("pub unsafe fn f() {"));
        assert!(!is_unsafe("#[unsafe(no_mangle)]") && !is_unsafe("// unsafe { }") && !is_unsafe("unsafe extern \"C\" {"));
        assert!(has_reason(&["// SAFETY: it is ours.", "let x =", "unsafe { *p }"], 2));
        assert!(!has_reason(&["// SAFETY: of another.", "", "unsafe { *p }"], 2));
    }
}
