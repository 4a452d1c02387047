//! The expectation file: what is known to pass, and why the rest does not. One line per case: its path, `eval`, wasm,
//! separated by tabs; `same` in the last column repeats the one before.

use super::{Mode, Report, scripts};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

const HEADER: &str = "# What becomes of the ONNX backend tests: case, eval, wasm. Written by the suite; see tests/src/suite.rs.\n";
const SAME: &str = "same";

/// `tests/suite/expected.txt`.
pub fn path() -> PathBuf {
    scripts().join("expected.txt")
}

/// Expected texts by case and mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    cases: BTreeMap<String, [String; 2]>,
}

/// `pass`, also with a note in brackets.
fn passes(text: &str) -> bool {
    text == "pass" || text.starts_with("pass ")
}

/// How a run differs from the expectation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What passed and does not, or is new and does not pass.
    pub regressions: Vec<String>,
    /// What passes and was not expected to.
    pub passes: Vec<String>,
    /// Other reasons than expected.
    pub reasons: Vec<String>,
    /// Expected cases that did not run.
    pub gone: Vec<String>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let lists = [
            ("regressions", &self.regressions),
            ("unexpected passes", &self.passes),
            ("changed reasons", &self.reasons),
            ("cases that are gone", &self.gone),
        ];
        for (title, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            writeln!(f, "{} {title}:", list.len())?;
            list.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        Ok(())
    }
}

impl Expected {
    /// The file of the repository; nothing where there is none yet.
    pub fn load() -> Result<Expected> {
        match std::fs::read_to_string(path()) {
            Ok(text) => Expected::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Expected::default()),
            Err(error) => Err(error).with_context(|| path().display().to_string()),
        }
    }

    pub fn parse(text: &str) -> Result<Expected> {
        let mut cases = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let mut fields = line.split('\t');
            let wrong = || format!("expected three fields separated by tabs, found `{line}`");
            let (case, eval, wasm) = (fields.next(), fields.next(), fields.next());
            let (case, eval, wasm) = (case.with_context(wrong)?, eval.with_context(wrong)?, wasm.with_context(wrong)?);
            let wasm = if wasm == SAME { eval } else { wasm };
            cases.insert(case.to_string(), [eval.to_string(), wasm.to_string()]);
        }
        Ok(Expected { cases })
    }

    /// Takes over what ran. Where everything ran (`whole`), what did not is forgotten.
    pub fn update(&mut self, reports: &[Report], whole: bool) {
        let mut cases = if whole { BTreeMap::new() } else { self.cases.clone() };
        for report in reports {
            let mut texts = self.cases.get(&report.path()).cloned().unwrap_or_default();
            for (mode, run) in &report.runs {
                texts[*mode as usize] = run.text();
            }
            cases.insert(report.path(), texts);
        }
        self.cases = cases;
    }

    /// How a run differs. Where everything ran (`whole`), every expected case must have.
    pub fn compare(&self, reports: &[Report], whole: bool) -> Changes {
        let mut changes = Changes::default();
        for report in reports {
            let expected = self.cases.get(&report.path());
            for (mode, run) in &report.runs {
                let (found, expected) = (run.text(), expected.map_or("", |texts| &texts[*mode as usize]));
                if found == expected {
                    continue;
                }
                let line = format!("{} {}: expected `{expected}`, found `{found}`", mode.name(), report.path());
                let list = match (passes(expected), passes(&found)) {
                    // Also one with another note than before.
                    (_, true) => &mut changes.passes,
                    (true, false) => &mut changes.regressions,
                    _ if expected.is_empty() => &mut changes.regressions,
                    _ => &mut changes.reasons,
                };
                let more = run.outcome.as_ref().err().map(|r| &r.more).filter(|more| !more.is_empty());
                list.push(match more {
                    Some(more) => format!("{line} ({more})"),
                    None => line,
                });
            }
        }
        if whole {
            let ran: std::collections::BTreeSet<String> = reports.iter().map(Report::path).collect();
            changes.gone = self.cases.keys().filter(|case| !ran.contains(*case)).cloned().collect();
        }
        changes
    }

    pub fn save(&self) -> Result<()> {
        wasm_torch::write_atomically(&path(), self.text().as_bytes())?;
        Ok(())
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = HEADER.to_string();
        for (case, [eval, wasm]) in &self.cases {
            let wasm = if wasm == eval { SAME } else { wasm };
            writeln!(text, "{case}\t{eval}\t{wasm}").expect("strings take everything");
        }
        text
    }

    /// How many cases are expected to pass in a mode.
    pub fn passing(&self, mode: Mode) -> usize {
        self.cases.values().filter(|texts| passes(&texts[mode as usize])).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Reason, Run, Times};
    use super::*;

    fn report(name: &str, outcome: super::super::Outcome) -> Report {
        let run = Run { outcome, note: None, times: Times::default() };
        let runs = Mode::ALL.map(|mode| (mode, run.clone())).to_vec();
        Report { kind: "node".into(), name: name.into(), operators: vec![], runs }
    }

    #[test]
    fn changes_are_told_apart() {
        let text = format!("{HEADER}node/a\tpass\tsame\nnode/b\tfail trap: t\tpass\nnode/c\tpass\tsame\n");
        let mut expected = Expected::parse(&text).unwrap();
        assert_eq!(expected.text(), text);
        assert_eq!((expected.passing(Mode::Eval), expected.passing(Mode::Wasm)), (2, 3));
        let reports = [report("a", Err(Reason::fail("trap", "u"))), report("b", Err(Reason::fail("trap", "u")))];
        let changes = expected.compare(&reports, true);
        assert_eq!(changes.regressions.len(), 3, "{changes}");
        assert_eq!((changes.passes.len(), changes.reasons.len(), &changes.gone[..]), (0, 1, &["node/c".to_string()][..]));
        assert_eq!(expected.compare(&[report("b", Ok(()))], false).passes.len(), 1);
        expected.update(&reports, true);
        assert!(expected.compare(&reports, true).is_empty());
    }
}
