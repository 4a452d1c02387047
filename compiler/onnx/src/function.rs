//! Calls of model-local functions: their bodies are expanded in place. Attribute references, nested calls and names are
//! resolved here; nothing of functions is left in the graph.

use crate::attributes::Attributes;
use crate::error::{Fault, invalid};
use crate::import::{Importer, Scope, Slot, domain};
use crate::proto::{FunctionProto, NodeProto};

/// Calls within calls; more is a function that calls itself.
const DEPTH_LIMIT: usize = 32;

impl<'m> Importer<'m> {
    /// Expands a call: what its outputs are.
    pub(crate) fn call(
        &mut self,
        function: &'m FunctionProto,
        node: &'m NodeProto,
        inputs: Vec<Slot<'m>>,
        attributes: Attributes<'m>,
        outer: &Scope<'m>,
    ) -> Result<Vec<Slot<'m>>, Fault> {
        if outer.depth >= DEPTH_LIMIT {
            invalid!("the function calls nest deeper than {DEPTH_LIMIT}; functions must not call themselves");
        }
        if inputs.len() > function.input.len() || node.output.len() > function.output.len() {
            let (i, o) = (function.input.len(), function.output.len());
            invalid!("the function takes {i} inputs and gives {o} outputs; the call has {} and {}", node.input.len(), node.output.len());
        }
        let (layers, prefix) = self.origin(node, outer);
        let name = if node.name().is_empty() { node.output.first().map_or("", String::as_str) } else { node.name() };
        let mut opsets = outer.opsets.clone();
        opsets.extend(function.opset_import.iter().map(|o| (domain(o.domain()), o.version())));
        let slots = function.input.iter().enumerate();
        let mut scope = Scope {
            slots: slots.map(|(i, name)| (name.as_str(), inputs.get(i).copied().unwrap_or(Slot::Absent))).collect(),
            attributes: attributes.with_defaults(&function.attribute_proto),
            opsets,
            caller: Some((layers, format!("{prefix}{name}"))),
            depth: outer.depth + 1,
            ..Scope::default()
        };
        self.run(&function.node, &mut scope);
        let outputs = function.output.iter().map(|name| match scope.slots.get(name.as_str()) {
            Some(slot) => Ok(*slot),
            None => Err(Fault::invalid(format!("no node of the function computes its output `{name}`"))),
        });
        outputs.collect()
    }
}
