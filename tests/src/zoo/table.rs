//! The zoo's results as a Markdown page.

use super::{Row, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What the page says besides the rows.
#[derive(Debug)]
pub struct Heading<'a> {
    pub level: String,
    pub rtol: f64,
    pub versions: &'a BTreeMap<String, String>,
    /// Results at another level, by NAME.EXPORTER.
    pub beside: Option<Beside<'a>>,
}

/// Results that stand beside others.
#[derive(Debug)]
pub struct Beside<'a> {
    pub level: String,
    pub rtol: f64,
    pub rows: &'a BTreeMap<String, Row>,
}

impl Beside<'_> {
    fn of(&self, row: &Row) -> Option<&Row> {
        self.rows.get(&format!("{}.{}", row.name, row.exporter)).filter(|row| row.status != Status::NotExported)
    }
}

/// The whole page: what was run, totals, the table, what does not pass and why.
pub fn markdown(rows: &[Row], heading: &Heading) -> String {
    let mut text = String::from("# The zoo\n\n");
    let versions: Vec<String> = heading.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let names: BTreeSet<&str> = rows.iter().map(|r| r.name.as_str()).collect();
    let operators: BTreeSet<&str> = rows.iter().flat_map(|r| r.operators.iter().map(String::as_str)).collect();
    let of = |status| rows.iter().filter(|r| r.status == status).count();
    let (pass, exported) = (of(Status::Pass), rows.len() - of(Status::NotExported));
    let _ = writeln!(
        text,
        "Written by `make zoo`; {}, {}.\n\n{} architectures, {exported} ONNX files (PyTorch's two exporters; `given`: somebody else's), {} operators. **{pass} of \
         {exported} agree with onnxruntime** at -{}: the largest relative error of float outputs is at most {:e} (relative to the largest \
         magnitude of the output), integer outputs are equal. Module: baseline code and weights. Export time and run time are those of one \
         run on a busy machine.\n",
        versions.join(", "),
        wasm_torch::PRODUCER,
        names.len(),
        operators.len(),
        heading.level,
        heading.rtol,
    );
    let beside: Vec<&Row> = heading.beside.iter().flat_map(|beside| rows.iter().filter_map(|row| beside.of(row))).collect();
    if let Some(Beside { level, rtol, .. }) = &heading.beside {
        let pass = beside.iter().filter(|row| row.status == Status::Pass).count();
        let worst = beside.iter().filter(|row| row.status == Status::Pass).fold(0f64, |most, row| most.max(row.max_rel));
        let _ = writeln!(
            text,
            "At -{level}, which may round otherwise, **{pass} of {}** agree within {rtol:e}; the largest error is {worst:.1e}.\n",
            beside.len()
        );
    }
    let other = heading.beside.as_ref().map_or(String::new(), |beside| format!(" at -{} |", beside.level));
    let _ = writeln!(
        text,
        "| architecture | family | exporter | opset | nodes | operators | free dims | module | arena | max rel. error |{other} export | run | |"
    );
    let _ = writeln!(text, "|---|---|---|---|---|---|---|---|---|---|{}---|---|---|", if other.is_empty() { "" } else { "---|" });
    for row in rows.iter().filter(|r| r.status != Status::NotExported) {
        let opset = row.opset.map_or(String::new(), |o| o.to_string());
        let start = format!("| {} | {} | {} | {opset} | {} | {}", row.name, row.family, row.exporter, row.nodes, row.operators.len());
        let other = heading.beside.as_ref().map_or(String::new(), |beside| match beside.of(row) {
            Some(row) if row.status == Status::Pass => format!(" {:.1e} |", row.max_rel),
            Some(row) => format!(" {} |", mark(row.status)),
            None => " |".into(),
        });
        let numbers = match row.module_bytes {
            0 => format!("| | | |{} | |", if other.is_empty() { "" } else { " |" }),
            bytes => format!(
                "| {} | {} | {:.1e} |{other} {:.2} s | {:.1} ms |",
                size(bytes as f64),
                size(f64::from(row.arena_bytes)),
                row.max_rel,
                row.export_ms / 1e3,
                row.run_ms
            ),
        };
        let _ = writeln!(text, "{start} | {} {numbers} {} |", row.dynamic.join(", "), mark(row.status));
    }
    for (status, title) in [
        (Status::Differs, "Differs from onnxruntime"),
        (Status::Fails, "Does not export to wasm"),
        (Status::NotExported, "PyTorch's exporter refuses"),
    ] {
        let chosen: Vec<&Row> = rows.iter().filter(|r| r.status == status).collect();
        if !chosen.is_empty() {
            let _ = writeln!(text, "\n## {title}\n");
            for row in chosen {
                let _ = writeln!(text, "- {}.{}: {}", row.name, row.exporter, one_line(&row.reason));
            }
        }
    }
    text
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Differs => "**differs**",
        Status::Fails => "**fails**",
        Status::NotExported => "not exported",
    }
}

/// The first lines of a reason on one, without characters that Markdown would read.
pub fn one_line(reason: &str) -> String {
    let joined = reason.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/").replace('<', "‹").replace('>', "›");
    match joined.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &joined[..end]),
        None => joined,
    }
}

fn size(bytes: f64) -> String {
    if bytes >= 1024.0 * 1024.0 { format!("{:.1} MiB", bytes / 1024.0 / 1024.0) } else { format!("{:.0} KiB", bytes / 1024.0) }
}
