//! Errors of the pass runner: the user's (unknown names) and the compiler's own (a pass that broke the graph).

use crate::{pipeline, rules};

#[derive(Debug, thiserror::Error)]
pub enum PassError {
    #[error("there is no pass `{name}`{}; passes are: {}", suggest(.name, &pipeline::names()), pipeline::names().join(", "))]
    UnknownPass { name: String },
    #[error("there is no rule or pass `{name}`{}; rules are: {}", suggest(.name, &rules::names()), rules::names().join(", "))]
    UnknownRule { name: String },
    #[error("the pass `{pass}` could not rebuild a node: {error}\nhint: this is a bug of the compiler; `--disable-pass {pass}` avoids it")]
    Op { pass: &'static str, error: ir::OpError },
    #[error(
        "the graph is not valid after the pass `{pass}`:\n  {}\nhint: this is a bug of the compiler; `--disable-pass {pass}` avoids it",
        .errors.join("\n  ")
    )]
    Verify { pass: &'static str, errors: Vec<String> },
    #[error(
        "the pass `{pass}` changed the result: {what} differs by {error:e} (allowed {allowed:e})\nhint: this is a bug of the compiler; `--disable-pass {pass}` avoids it"
    )]
    Check { pass: &'static str, what: String, error: f64, allowed: f64 },
    #[error("cannot evaluate the graph {when} the pass `{pass}`: {error}")]
    Eval { pass: &'static str, when: &'static str, error: String },
}

/// `, did you mean …?` when a known name is close.
fn suggest(name: &str, known: &[&str]) -> String {
    let best = known.iter().map(|k| (strsim::jaro_winkler(name, k), k)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.75).map_or(String::new(), |(_, k)| format!(", did you mean `{k}`?"))
}
