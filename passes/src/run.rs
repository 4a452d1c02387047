//! Runs the pipeline: chooses passes, verifies after each, counts what they did. No clock: whoever wants times takes
//! them in the observer.

use crate::check::{self, CheckOptions};
use crate::context::{Context, Note};
use crate::control;
use crate::error::PassError;
use crate::pipeline::{Level, PIPELINE, Pass, names};
use crate::rules;
use ir::Graph;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub level: Level,
    /// Only these passes, whatever the level; in pipeline order.
    pub only: Option<Vec<String>>,
    /// Not these.
    pub disabled: Vec<String>,
    /// A rule, or a pass for all its rules, to report on: where it fired, and why it did not.
    pub explain: Option<String>,
    /// Evaluate before and after every pass.
    pub check: Option<CheckOptions>,
    /// What `quantize_int8` does; nothing without settings.
    pub quantize: Option<std::sync::Arc<crate::quantize::Settings>>,
    /// How `compress_weights` stores weights; it does nothing without.
    pub weights: Option<crate::WeightType>,
    /// End after the last occurrence of this pass.
    pub stop_after: Option<String>,
}

/// What one pass did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassReport {
    pub name: &'static str,
    /// How often something was changed.
    pub changed: usize,
    /// The same by rule, in order of first firing.
    pub rules: Vec<(&'static str, usize)>,
    pub nodes_before: usize,
    pub nodes_after: usize,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub passes: Vec<PassReport>,
    /// For the rule in [`Options::explain`].
    pub notes: Vec<Note>,
}

/// What an observer hears of.
#[derive(Debug)]
pub enum Event<'a> {
    Begin(&'static Pass),
    /// The pass is done and the graph verified.
    End(&'a PassReport),
}

/// Improves the graph. On error the graph is as the failing pass left it.
pub fn run(graph: &mut Graph, options: &Options, observer: &mut dyn FnMut(Event)) -> Result<Report, PassError> {
    run_passes(graph, &choose(options)?, options, observer)
}

fn run_passes(
    graph: &mut Graph,
    passes: &[&'static Pass],
    options: &Options,
    observer: &mut dyn FnMut(Event),
) -> Result<Report, PassError> {
    let mut context = Context::new(options.explain.as_deref());
    context.quantize.clone_from(&options.quantize);
    context.weights = options.weights;
    let mut report = Report::default();
    for pass in passes.iter().copied() {
        observer(Event::Begin(pass));
        let before = options.check.as_ref().filter(|_| !pass.rounds).map(|_| graph.clone());
        let nodes_before = graph.order().len();
        context.begin(pass.name);
        let op = |error| PassError::Op { pass: pass.name, error };
        // Ranges are those of the outer graph's tensors: layers within branches and loops stay as they are.
        let settings = context.quantize.take();
        control::within(graph, &mut context, pass.run).map_err(op)?;
        context.quantize = settings;
        (pass.run)(graph, &mut context).map_err(op)?;
        ir::verify::verify(graph)
            .map_err(|errors| PassError::Verify { pass: pass.name, errors: errors.iter().map(ToString::to_string).collect() })?;
        if let (Some(options), Some(before)) = (&options.check, &before) {
            check::same_results(before, graph, pass.name, options)?;
        }
        let done = PassReport {
            name: pass.name,
            changed: context.changes(),
            rules: context.counts().to_vec(),
            nodes_before,
            nodes_after: graph.order().len(),
        };
        observer(Event::End(&done));
        report.passes.push(done);
    }
    report.notes = context.into_notes();
    Ok(report)
}

/// The passes to run, after checking every name.
fn choose(options: &Options) -> Result<Vec<&'static Pass>, PassError> {
    let named = options.only.iter().flatten().chain(&options.disabled).chain(&options.stop_after);
    for name in named {
        if !names().contains(&&name[..]) {
            return Err(PassError::UnknownPass { name: name.clone() });
        }
    }
    if let Some(name) = options.explain.as_ref().filter(|n| !rules::names().contains(&&n[..]) && !names().contains(&&n[..])) {
        return Err(PassError::UnknownRule { name: name.clone() });
    }
    let mut chosen: Vec<&Pass> = PIPELINE
        .iter()
        .filter(|p| match &options.only {
            Some(only) => only.iter().any(|o| o == p.name),
            None => p.level <= options.level,
        })
        .filter(|p| !options.disabled.iter().any(|d| d == p.name))
        .collect();
    if let Some(stop) = &options.stop_after {
        let end = chosen.iter().rposition(|p| p.name == stop);
        chosen.truncate(end.map_or(0, |i| i + 1));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::ops::map::Map;
    use ir::pointwise::Fn;

    /// Takes one of the two operands away.
    static INVALID: Pass = Pass {
        name: "invalid",
        summary: "",
        place: "",
        level: Level::O1,
        rounds: false,
        run: |graph, _| {
            let node = graph.order()[0];
            graph.node_mut(node).inputs.pop();
            Ok(())
        },
    };

    /// Makes a product of a sum.
    static WRONG: Pass = Pass {
        name: "wrong",
        summary: "",
        place: "",
        level: Level::O1,
        rounds: false,
        run: |graph, _| {
            let node = graph.order()[0];
            graph.node_mut(node).op = Map::of(Fn::Mul).into();
            Ok(())
        },
    };

    fn error(pass: &'static Pass, check: Option<CheckOptions>) -> Option<String> {
        let text = "%x: f32[2] = input  %y: f32[2] = input  %z = add(%x, %y) @ \"layer\"  output \"z\" = %z";
        let mut graph = ir::text::parse_graph(text).ok()?;
        let options = Options { check, ..Options::default() };
        run_passes(&mut graph, &[pass], &options, &mut |_| {}).err().map(|e| e.to_string())
    }

    #[test]
    fn an_invalid_graph_names_the_pass_and_the_layer() {
        let text = error(&INVALID, None).unwrap_or_default();
        assert!(text.starts_with("the graph is not valid after the pass `invalid`:"), "{text}");
        assert!(text.contains("layer") && text.contains("bug of the compiler"), "{text}");
    }

    #[test]
    fn a_wrong_result_names_the_pass_and_the_layer() {
        assert_eq!(error(&WRONG, None), None, "the graph is valid");
        let text = error(&WRONG, Some(CheckOptions::default())).unwrap_or_default();
        assert!(
            text.starts_with("the pass `wrong` changed the result: output `z` (first different layer: `layer` (map)) differs by"),
            "{text}"
        );
    }
}
