//! Attributes of one node, by name, with references to a function call's attributes resolved. Typed access only.

use crate::error::{Fault, invalid};
use crate::proto::attribute_proto::AttributeType;
use crate::proto::{AttributeProto, NodeProto};
use std::collections::HashMap;

/// Attributes of a node or of a function call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attributes<'m>(HashMap<&'m str, &'m AttributeProto>);

/// The shortest decimal number that reads as this `f32`: what the exporter wrote, 0.01 and not 0.009999999776.
fn widen(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

/// The kind of a value; old files leave it to be guessed from what is there.
fn kind(a: &AttributeProto) -> AttributeType {
    match a.r#type() {
        AttributeType::Undefined if a.f.is_some() => AttributeType::Float,
        AttributeType::Undefined if a.i.is_some() => AttributeType::Int,
        AttributeType::Undefined if a.s.is_some() => AttributeType::String,
        AttributeType::Undefined if a.t.is_some() => AttributeType::Tensor,
        AttributeType::Undefined if !a.ints.is_empty() => AttributeType::Ints,
        AttributeType::Undefined if !a.floats.is_empty() => AttributeType::Floats,
        AttributeType::Undefined if !a.strings.is_empty() => AttributeType::Strings,
        kind => kind,
    }
}

impl<'m> Attributes<'m> {
    /// The node's attributes; `outer` are those of the function call around it.
    pub fn of_node(node: &'m NodeProto, outer: &Attributes<'m>) -> Attributes<'m> {
        let resolved = node.attribute.iter().filter_map(|a| match a.ref_attr_name() {
            "" => Some((a.name(), a)),
            // A reference to an attribute that the caller left out, leaves it out here too.
            reference => outer.get(reference).map(|value| (a.name(), value)),
        });
        Attributes(resolved.collect())
    }

    /// Adds what is not there yet.
    pub fn with_defaults(mut self, defaults: &'m [AttributeProto]) -> Attributes<'m> {
        for a in defaults {
            self.0.entry(a.name()).or_insert(a);
        }
        self
    }

    pub fn get(&self, name: &str) -> Option<&'m AttributeProto> {
        self.0.get(name).copied()
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn of_kind(&self, name: &str, expected: AttributeType) -> Result<Option<&'m AttributeProto>, Fault> {
        match self.get(name) {
            Some(a) if kind(a) != expected => {
                invalid!("attribute `{name}` must be of kind {}, found {}", expected.as_str_name(), kind(a).as_str_name())
            }
            a => Ok(a),
        }
    }

    pub fn int(&self, name: &str) -> Result<Option<i64>, Fault> {
        Ok(self.of_kind(name, AttributeType::Int)?.map(AttributeProto::i))
    }
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, Fault> {
        Ok(self.int(name)?.unwrap_or(default))
    }
    /// An integer that stands for a bool.
    pub fn flag(&self, name: &str) -> Result<bool, Fault> {
        Ok(self.int_or(name, 0)? != 0)
    }
    pub fn float(&self, name: &str) -> Result<Option<f64>, Fault> {
        Ok(self.of_kind(name, AttributeType::Float)?.map(|a| widen(a.f())))
    }
    pub fn float_or(&self, name: &str, default: f64) -> Result<f64, Fault> {
        Ok(self.float(name)?.unwrap_or(default))
    }
    pub fn ints(&self, name: &str) -> Result<Option<&'m [i64]>, Fault> {
        Ok(self.of_kind(name, AttributeType::Ints)?.map(|a| &a.ints[..]))
    }
    pub fn floats(&self, name: &str) -> Result<Option<&'m [f32]>, Fault> {
        Ok(self.of_kind(name, AttributeType::Floats)?.map(|a| &a.floats[..]))
    }
    pub fn string(&self, name: &str) -> Result<Option<&'m str>, Fault> {
        let Some(a) = self.of_kind(name, AttributeType::String)? else { return Ok(None) };
        match std::str::from_utf8(a.s.as_deref().unwrap_or_default()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => invalid!("attribute `{name}` is not valid UTF-8"),
        }
    }
    pub fn strings(&self, name: &str) -> Result<Option<Vec<&'m str>>, Fault> {
        let Some(a) = self.of_kind(name, AttributeType::Strings)? else { return Ok(None) };
        match a.strings.iter().map(|s| std::str::from_utf8(s)).collect() {
            Ok(texts) => Ok(Some(texts)),
            Err(_) => invalid!("attribute `{name}` is not valid UTF-8"),
        }
    }
    pub fn string_or(&self, name: &str, default: &'m str) -> Result<&'m str, Fault> {
        Ok(self.string(name)?.unwrap_or(default))
    }
}
