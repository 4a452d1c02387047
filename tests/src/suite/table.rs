//! Totals of a run as text: by kind and mode, by reason, by operator, and one line per case that does not pass.

use super::{Mode, Report, Status};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Reasons and operators that are shown at most.
const SHOWN: usize = 400;

/// All tables.
pub fn text(reports: &[Report]) -> String {
    let mut text = totals(reports);
    for mode in modes(reports) {
        text += &reasons(reports, mode);
    }
    text + &operators(reports) + &times(reports)
}

fn modes(reports: &[Report]) -> Vec<Mode> {
    reports.first().map(|r| r.runs.iter().map(|(mode, _)| *mode).collect()).unwrap_or_default()
}

/// Pass, fail, unsupported by kind and mode.
pub fn totals(reports: &[Report]) -> String {
    let mut counts: BTreeMap<(&str, Mode), [usize; 3]> = BTreeMap::new();
    for report in reports {
        for (mode, run) in &report.runs {
            for kind in [report.kind.as_str(), "~ all"] {
                let column = Status::ALL.iter().position(|s| *s == run.status()).expect("all are listed");
                counts.entry((kind, *mode)).or_default()[column] += 1;
            }
        }
    }
    let mut text = format!("{:<20} {:<5} {:>6} {:>6} {:>12} {:>6}\n", "kind", "mode", "pass", "fail", "unsupported", "of");
    for ((kind, mode), [pass, fail, unsupported]) in counts {
        let all = pass + fail + unsupported;
        line(&mut text, format!("{:<20} {:<5} {pass:>6} {fail:>6} {unsupported:>12} {all:>6}", kind.trim_start_matches("~ "), mode.name()));
    }
    text
}

fn line(text: &mut String, line: String) {
    writeln!(text, "{line}").expect("strings take everything");
}

/// Reasons in one mode, the most frequent first: count, reason, one example.
fn reasons(reports: &[Report], mode: Mode) -> String {
    let mut categories: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for report in reports {
        for (_, run) in report.runs.iter().filter(|(m, _)| *m == mode) {
            if let Err(reason) = &run.outcome {
                *categories.entry(format!("{} {}", reason.status.name(), reason.category)).or_default() += 1;
                groups.entry(grouped(&reason.text())).or_insert_with(|| (0, report.path())).0 += 1;
            }
        }
    }
    let mut text = format!("\n{}: categories\n", mode.name());
    let mut categories: Vec<_> = categories.into_iter().collect();
    categories.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    categories.into_iter().for_each(|(category, n)| line(&mut text, format!("{n:>6}  {category}")));
    text += &format!("\n{}: reasons\n", mode.name());
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
    groups.iter().take(SHOWN).for_each(|(reason, (n, example))| line(&mut text, format!("{n:>6}  {reason}   e.g. {example}")));
    text
}

/// Quoted names and numbers in brackets do not tell reasons apart.
fn grouped(reason: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut depth = 0;
    for c in reason.chars() {
        match c {
            '`' => {
                quoted = !quoted;
                out.push_str(if quoted { "`…" } else { "`" });
            }
            _ if quoted => {}
            '[' => {
                depth += 1;
                out.push_str("[…");
            }
            ']' => {
                depth -= 1;
                out.push(']');
            }
            _ if depth > 0 => {}
            c => out.push(c),
        }
    }
    out
}

/// Operators of cases that do not pass, the most frequent first; each case counts for all its operators.
fn operators(reports: &[Report]) -> String {
    let modes = modes(reports);
    let mut counts: BTreeMap<&str, (usize, Vec<usize>)> = BTreeMap::new();
    for report in reports {
        for operator in &report.operators {
            let (all, failing) = counts.entry(operator).or_insert_with(|| (0, vec![0; modes.len()]));
            *all += 1;
            for (n, (_, run)) in failing.iter_mut().zip(&report.runs) {
                *n += usize::from(run.status() != Status::Pass);
            }
        }
    }
    let mut rows: Vec<_> = counts.into_iter().filter(|(_, (_, failing))| failing.iter().any(|n| *n > 0)).collect();
    rows.sort_by_key(|(_, (_, failing))| std::cmp::Reverse(failing.iter().sum::<usize>()));
    let mut text = "\noperators of cases that do not pass\n".to_string();
    let heads: Vec<String> = modes.iter().map(|m| format!("{:>6}", m.name())).collect();
    line(&mut text, format!("{} {:>6}", heads.join(" "), "of"));
    for (operator, (all, failing)) in rows.iter().take(SHOWN) {
        let failing: Vec<String> = failing.iter().map(|n| format!("{n:>6}")).collect();
        line(&mut text, format!("{} {all:>6}  {operator}", failing.join(" ")));
    }
    text
}

/// Where the time went.
fn times(reports: &[Report]) -> String {
    let mut text = "\nseconds in all\n".to_string();
    for mode in modes(reports) {
        let runs = reports.iter().flat_map(|r| &r.runs).filter(|(m, _)| *m == mode).map(|(_, run)| run.times);
        let sums = runs.fold([0.0; 6], |mut sums, t| {
            let stages = [t.import, t.passes, t.lower, t.link, t.load, t.run];
            sums.iter_mut().zip(stages).for_each(|(sum, ms)| *sum += ms / 1e3);
            sums
        });
        let [import, passes, lower, link, load, run] = sums.map(|s| format!("{s:.1}"));
        line(&mut text, format!("{}: import {import}, passes {passes}, lower {lower}, link {link}, load {load}, run {run}", mode.name()));
    }
    text
}

/// One line per case and mode that does not pass: name, mode, reason.
pub fn failures(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        for (mode, run) in &report.runs {
            if let Err(reason) = &run.outcome {
                line(&mut text, format!("{}\t{}\t{reason}", report.path(), mode.name()));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_shapes_do_not_tell_reasons_apart() {
        assert_eq!(grouped("input `x`: f32[2, 3] is wrong"), "input `…`: f32[…] is wrong");
    }
}
