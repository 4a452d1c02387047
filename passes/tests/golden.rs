//! `golden/*.txt`: a pass, a graph, and the graph after it. `BLESS=1` rewrites the second half; read the diff.
//! Every example is also evaluated before and after.

use ir::text::parse_graph;
use passes::{CheckOptions, Options, run, same_results};
use std::path::{Path, PathBuf};

const MARK: &str = "---- after\n";

#[test]
fn passes_rewrite_as_written() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = vec![];
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let (given, expected) = text.split_once(MARK).unwrap_or((&text, ""));
        let found = after(given, &path);
        if found != expected && bless {
            std::fs::write(&path, format!("{given}{MARK}{found}")).unwrap();
        } else if found != expected {
            wrong.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "not as written (BLESS=1 rewrites):\n{}", wrong.join("\n"));
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "the examples are missing");
    files
}

/// The graph after the passes in the first line, `// pass: a, b`.
fn after(given: &str, path: &Path) -> String {
    let first = given.lines().next().unwrap_or_default();
    let names = first.strip_prefix("// pass: ").unwrap_or_else(|| panic!("{}: the first line names the pass", path.display()));
    let before = parse_graph(given).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    ir::verify::verify(&before).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
    let mut graph = before.clone();
    let options = match names {
        "all" => Options::default(),
        _ => Options { only: Some(names.split(", ").map(Into::into).collect()), ..Options::default() },
    };
    run(&mut graph, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    same_results(&before, &graph, "all", &CheckOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    graph.to_string()
}
