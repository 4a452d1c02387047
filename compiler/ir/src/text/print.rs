//! Printing of graphs, operators and attributes. The header of [`super`] shows the form.

use crate::attr::Attr;
use crate::graph::{Def, Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::pointwise::Fn;
use crate::tensor::Tensor;
use crate::{DType, for_dtype};
use std::fmt::{self, Display, Formatter, Write};

/// Constants of at most this many elements print them.
const INLINE: usize = 8;

impl Display for Attr {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Attr::Int(i) => write!(f, "{i}"),
            Attr::Float(x) => write!(f, "{x:?}"),
            Attr::Bool(b) => write!(f, "{b}"),
            Attr::Dims(dims) => write!(f, "[{}]", join(dims, ",")),
            Attr::Name(name) => f.write_str(name),
            Attr::Pointwise(body) => write!(f, "{body}"),
            Attr::Graph(graph) => write!(f, "{{{}\n}}", graph.to_string().trim_end().replace('\n', "\n  ")),
        }
    }
}

/// The operator with its attributes: `conv(strides=[1,1], …)`, `relu`.
impl Display for Op {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if let Some(single) = single_function(self) {
            return write!(f, "{single}");
        }
        let attrs = attributes(self);
        if attrs.is_empty() { f.write_str(self.name()) } else { write!(f, "{}({attrs})", self.name()) }
    }
}

/// The function's name as the text forms write it: `add`, `cast_f32`.
impl Display for Fn {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Fn::Cast(to) => write!(f, "cast_{to}"),
            Fn::Bits(to) => write!(f, "bits_{to}"),
            g => f.write_str(g.name()),
        }
    }
}

fn single_function(op: &Op) -> Option<Fn> {
    match op {
        Op::Map(map) => map.body.as_single(),
        _ => None,
    }
}

fn attributes(op: &Op) -> String {
    let attrs: Vec<String> = op.attrs().iter().map(|(name, value)| format!("{name}={value}")).collect();
    attrs.join(", ")
}

fn join<T: Display>(items: &[T], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

impl Display for Graph {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "graph {:?}", self.name)?;
        for (name, bound) in &self.symbols {
            write!(f, "symbol {}: {}..", crate::Dim::symbol(name), bound.min)?;
            bound.max.map_or(Ok(()), |max| write!(f, "{max}"))?;
            f.write_char('\n')?;
        }
        let mut printer = Printer { graph: self, numbers: vec![None; self.value_ids().count()], next: 0 };
        for input in &self.inputs {
            let left = printer.define(*input);
            writeln!(f, "{left} = input")?;
        }
        for node in self.order() {
            printer.constants(&self.node(node).inputs, f)?;
            printer.node(node, f)?;
        }
        let outputs: Vec<ValueId> = self.outputs.iter().map(|o| o.value).collect();
        printer.constants(&outputs, f)?;
        for output in &self.outputs {
            writeln!(f, "output {:?} = {}", output.name, printer.name(output.value))?;
        }
        Ok(())
    }
}

struct Printer<'a> {
    graph: &'a Graph,
    /// The number of each value that was printed.
    numbers: Vec<Option<usize>>,
    next: usize,
}

impl Printer<'_> {
    /// Numbers a value: the left side of its line.
    fn define(&mut self, id: ValueId) -> String {
        self.numbers[id.0 as usize] = Some(self.next);
        let value = self.graph.value(id);
        let name = if value.name.is_empty() { String::new() } else { format!(" {:?}", value.name) };
        let left = format!("%{}{name}: {}", self.next, value.ty);
        self.next += 1;
        left
    }

    fn name(&self, id: ValueId) -> String {
        match self.numbers.get(id.0 as usize).copied().flatten() {
            Some(number) => format!("%{number}"),
            // Only in graphs that do not verify.
            None => format!("%undefined_{}", id.0),
        }
    }

    /// Prints the constants among the values that were not printed yet.
    fn constants(&mut self, values: &[ValueId], f: &mut Formatter) -> fmt::Result {
        for id in values {
            if let (Def::Const(tensor), None) = (&self.graph.value(*id).def, self.numbers[id.0 as usize]) {
                let left = self.define(*id);
                writeln!(f, "{left} = const {}", constant(tensor))?;
            }
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId, f: &mut Formatter) -> fmt::Result {
        let node = self.graph.node(id);
        let inputs: Vec<String> = node.inputs.iter().map(|v| self.name(*v)).collect();
        let left: Vec<String> = node.outputs.iter().map(|v| self.define(*v)).collect();
        write!(f, "{} = ", left.join(", "))?;
        match single_function(&node.op).filter(|g| g.arity() == inputs.len()) {
            Some(function) => write!(f, "{function}({})", inputs.join(", "))?,
            None => {
                let attrs = attributes(&node.op);
                let separator = if attrs.is_empty() { "" } else { "; " };
                write!(f, "{}({}{separator}{attrs})", node.op.name(), inputs.join(", "))?;
            }
        }
        if !node.origin.is_empty() {
            let origin: Vec<String> = node.origin.iter().map(|name| format!("{name:?}")).collect();
            write!(f, " @ {}", origin.join(", "))?;
        }
        f.write_char('\n')
    }
}

/// A constant's elements: all of them when few, `splat(x)` when equal, otherwise a hash of the content.
fn constant(tensor: &Tensor) -> String {
    if tensor.len() <= INLINE {
        let elements: Vec<String> = (0..tensor.len()).map(|i| element(tensor, i)).collect();
        return format!("[{}]", elements.join(", "));
    }
    let size = tensor.dtype.bytes();
    if tensor.bytes().chunks(size).all(|bytes| bytes == &tensor.bytes()[..size]) {
        return format!("splat({})", element(tensor, 0));
    }
    format!("#{:016x}", tensor.content_hash())
}

fn element(tensor: &Tensor, i: usize) -> String {
    match tensor.dtype {
        DType::Bool => (tensor.get_f64(i) != 0.0).to_string(),
        DType::F16 | DType::BF16 => format!("{:?}", tensor.get_f64(i) as f32),
        dtype => for_dtype!(dtype, T => format!("{:?}", tensor.as_slice::<T>()[i])),
    }
}
