//! How much code there is, by room, and whether a file outgrew its limit. Lines are all lines, comments included.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// No code file is longer.
pub const LIMIT: usize = 600;

const EXTENSIONS: &[&str] = &["rs", "ts", "mts", "py", "mjs", "js"];

/// Folders that hold no code of ours.
const SKIPPED: &[&str] = &["target", "node_modules", "dist", "pkg", "__pycache__"];

/// Files that may be longer, and why. They are left out of the counts.
const EXEMPT: &[(&str, &str)] = &[
    ("compiler/onnx/src/proto.rs", "generated from the ONNX protobuf definition"),
    ("web/src/abi.generated.ts", "generated from runtime/abi"),
];

/// One code file: path from the root, lines.
struct CodeFile {
    path: String,
    lines: usize,
}

/// Prints the table; fails if a file is over the limit.
pub fn run(all: bool) -> Result<()> {
    let mut files = Vec::new();
    collect(&crate::root(), &crate::root(), &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));

    let mut rooms: BTreeMap<String, Vec<&CodeFile>> = BTreeMap::new();
    for file in &files {
        rooms.entry(room(&file.path)).or_default().push(file);
    }
    println!("{:<20} {:>6} {:>7}  longest file", "room", "files", "lines");
    for (room, files) in &rooms {
        let lines: usize = files.iter().map(|file| file.lines).sum();
        let longest = files.iter().max_by_key(|file| file.lines).expect("a room has a file");
        println!("{room:<20} {:>6} {lines:>7}  {} {}", files.len(), longest.lines, longest.path);
        if all {
            files.iter().for_each(|file| println!("{:<28}{:>6}  {}", "", file.lines, file.path));
        }
    }
    println!("{:<20} {:>6} {:>7}", "together", files.len(), files.iter().map(|file| file.lines).sum::<usize>());
    for (path, reason) in EXEMPT {
        println!("not counted: {path} ({reason})");
    }
    for flavour in &crate::runtime::FLAVOURS {
        let bytes = fs::metadata(crate::root().join(flavour.wasm)).map_or(0, |file| file.len());
        println!("{}: {bytes} of {} bytes", flavour.wasm, flavour.budget_bytes);
    }

    let over: Vec<String> = too_long(&files).map(|file| format!("  {} {}", file.lines, file.path)).collect();
    if !over.is_empty() {
        bail!("over {LIMIT} lines:\n{}\nhint: split the file; tables and generated files are listed in EXEMPT", over.join("\n"));
    }
    Ok(())
}

fn too_long(files: &[CodeFile]) -> impl Iterator<Item = &CodeFile> {
    files.iter().filter(|file| file.lines > LIMIT)
}

/// The crate or package that a file belongs to: `compiler/ir`, `runtime/abi`, `web`, `models`, ….
fn room(path: &str) -> String {
    let mut parts = path.split('/');
    let first = parts.next().unwrap_or_default();
    match (first, parts.next()) {
        ("compiler" | "runtime", Some(second)) => format!("{first}/{second}"),
        _ => first.to_string(),
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<CodeFile>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
            collect(root, &entry.path(), files)?;
        }
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let path = entry.path().strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        if kind.is_file() && EXTENSIONS.contains(&extension) && !EXEMPT.iter().any(|(exempt, _)| *exempt == path) {
            let text = fs::read(entry.path()).with_context(|| format!("cannot read {path}"))?;
            let lines = text.iter().filter(|byte| **byte == b'\n').count();
            files.push(CodeFile { path, lines });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        let file = |lines| CodeFile { path: format!("{lines}.rs"), lines };
        let files = [file(LIMIT), file(LIMIT + 1)];
        assert_eq!(too_long(&files).map(|file| file.lines).collect::<Vec<_>>(), [LIMIT + 1]);
    }

    #[test]
    fn rooms_are_crates() {
        assert_eq!(room("compiler/ir/src/lib.rs"), "compiler/ir");
        assert_eq!(room("web/src/index.ts"), "web");
    }

    #[test]
    fn exempt_files_exist() {
        for (path, _) in EXEMPT {
            assert!(crate::root().join(path).is_file(), "{path} is exempt and does not exist");
        }
    }
}
