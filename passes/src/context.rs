//! What passes report while they run: counts of changes, and, for one rule that the user asked about, where it fired
//! and why it did not. It decides nothing.

use ir::NodeId;
use ir::{Graph, ValueId};
use std::fmt;
use std::sync::Arc;

/// One place where the explained rule matched or nearly matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub pass: &'static str,
    pub rule: &'static str,
    /// The layer or value concerned.
    pub at: String,
    /// `None`: it fired.
    pub missed: Option<String>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.missed {
            None => write!(f, "{}: {} fired at {}", self.pass, self.rule, self.at),
            Some(why) => write!(f, "{}: {} did not fire at {}: {why}", self.pass, self.rule, self.at),
        }
    }
}

/// Collects what one run of the pipeline does.
#[derive(Debug, Default)]
pub struct Context {
    pass: &'static str,
    counts: Vec<(&'static str, usize)>,
    explain: Option<String>,
    notes: Vec<Note>,
    /// How `compress_weights` stores weights.
    pub(crate) weights: Option<crate::WeightType>,
    /// What `quantize_int8` is told.
    pub(crate) quantize: Option<Arc<crate::quantize::Settings>>,
}

impl Context {
    /// Notes are kept for the rule of this name, or for all rules of the pass of this name.
    pub fn new(explain: Option<&str>) -> Context {
        Context { explain: explain.map(Into::into), ..Context::default() }
    }

    /// What follows is done by this pass.
    pub fn begin(&mut self, pass: &'static str) {
        self.pass = pass;
        self.counts.clear();
    }

    /// Counts of the current pass by rule, in order of first firing.
    pub(crate) fn counts(&self) -> &[(&'static str, usize)] {
        &self.counts
    }

    /// What the explained rule did so far.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    pub(crate) fn into_notes(self) -> Vec<Note> {
        self.notes
    }

    pub(crate) fn changes(&self) -> usize {
        self.counts.iter().map(|(_, n)| n).sum()
    }

    pub(crate) fn explains(&self, rule: &str) -> bool {
        self.explain.as_deref().is_some_and(|name| name == rule || name == self.pass)
    }

    /// A rule changed the graph.
    pub(crate) fn fired(&mut self, rule: &'static str, at: impl FnOnce() -> String) {
        match self.counts.iter_mut().find(|(name, _)| *name == rule) {
            Some((_, n)) => *n += 1,
            None => self.counts.push((rule, 1)),
        }
        if self.explains(rule) {
            self.note(rule, at(), None);
        }
    }

    /// A rule looked at a likely place and left it alone.
    pub(crate) fn missed(&mut self, rule: &'static str, at: impl FnOnce() -> String, why: impl FnOnce() -> String) {
        if self.explains(rule) {
            self.note(rule, at(), Some(why()));
        }
    }

    fn note(&mut self, rule: &'static str, at: String, missed: Option<String>) {
        let note = Note { pass: self.pass, rule, at, missed };
        // Rules run until nothing changes, so that one place is looked at several times.
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// What people call a node: its layers, else its output's name.
pub(crate) fn node_name(graph: &Graph, node: NodeId) -> String {
    let node = graph.node(node);
    let layers: Vec<&str> = node.origin.iter().map(|o| &**o).collect();
    let name = if layers.is_empty() { graph.value(node.outputs[0]).name.clone() } else { layers.join(" + ") };
    format!("`{name}` ({})", node.op.name())
}

/// What people call a value: its producer's layers, else its name.
pub(crate) fn value_name(graph: &Graph, value: ValueId) -> String {
    match graph.producer(value) {
        Some(node) => node_name(graph, node),
        None => format!("`{}`", graph.value(value).name),
    }
}

/// Layers of several nodes in order, each once.
pub(crate) fn union_origin(graph: &Graph, nodes: impl IntoIterator<Item = NodeId>) -> Vec<Arc<str>> {
    let mut origin: Vec<Arc<str>> = vec![];
    for node in nodes {
        for layer in &graph.node(node).origin {
            if !origin.contains(layer) {
                origin.push(layer.clone());
            }
        }
    }
    origin
}
