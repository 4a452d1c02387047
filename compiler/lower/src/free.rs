//! Which free sizes a graph may have when it is lowered: those that the shapes of the inputs determine, within bounds, where
//! the writers of the operators support them.

use crate::LowerError;
use crate::driver::{algorithm, layer_name};
use crate::view::View;
use abi::manifest::Size;
use ir::algorithm::{Access, Contract, Reduce, Stage, Window};
use ir::dim::{Algebra, Bound, DimFn};
use ir::{Algorithm, DType, Dim, Graph, Node, Op, Pointwise, Symbols, ValueId};
use std::sync::Arc;

/// The symbols that hosts choose: those that are sizes of inputs, in their order.
pub fn symbols(graph: &Graph) -> Vec<(Arc<str>, Bound)> {
    let dims = graph.inputs.iter().flat_map(|id| &graph.ty(*id).shape);
    let mut symbols: Vec<(Arc<str>, Bound)> = vec![];
    for name in dims.filter_map(Dim::as_symbol) {
        if let Some(bound) = graph.symbols.get(&name)
            && !symbols.iter().any(|(known, _)| *known == name)
        {
            symbols.push((name, *bound));
        }
    }
    symbols
}

/// The symbols that nodes define, those of graphs within nodes included, in order.
pub fn found(graph: &Graph) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = vec![];
    for node in graph.order().into_iter().map(|id| graph.node(id)) {
        let within = node.op.subgraphs().into_iter().flat_map(|inner| found(inner));
        names.extend(within.chain(node.op.defines()).collect::<Vec<_>>());
    }
    names
}

/// The sizes of a tensor as hosts read them, if some are free.
pub fn spelled(view: &View) -> Option<Vec<Size>> {
    (!view.free.is_empty()).then(|| view.extents().iter().map(|e| e.dim().compute(&mut Spelled)).collect())
}

/// Dims as the manifest spells them.
struct Spelled;

impl Algebra for Spelled {
    type Value = Size;

    fn constant(&mut self, c: i64) -> Size {
        Size::Number(c)
    }

    fn symbol(&mut self, name: &str) -> Size {
        Size::Symbol(name.into())
    }

    fn add(&mut self, a: Size, b: Size) -> Size {
        Size::Apply("+".into(), a.into(), b.into())
    }

    fn multiply(&mut self, a: Size, b: Size) -> Size {
        Size::Apply("*".into(), a.into(), b.into())
    }

    fn binary(&mut self, f: DimFn, a: Size, b: Size) -> Size {
        Size::Apply(f.name().into(), a.into(), b.into())
    }
}

/// Every size that cannot stay free, by layer.
pub fn check(graph: &Graph) -> Result<(), Vec<LowerError>> {
    let mut errors = vec![];
    let bound = |name: Arc<str>| graph.symbols.get(&name).map(|bound| (name, *bound));
    let known = symbols(graph).into_iter().chain(found(graph).into_iter().filter_map(bound)).collect();
    Check { known, symbols: &graph.symbols, errors: &mut errors }.graph(graph);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

struct Check<'e> {
    known: Vec<(Arc<str>, Bound)>,
    symbols: &'e Symbols,
    errors: &'e mut Vec<LowerError>,
}

impl Check<'_> {
    fn graph(&mut self, graph: &Graph) {
        graph.inputs.iter().for_each(|id| self.size(graph, *id, || format!("input `{}`", graph.value(*id).name)));
        let order = graph.order();
        for node in order.iter().map(|id| graph.node(*id)) {
            node.op.subgraphs().into_iter().for_each(|within| self.graph(within));
            node.outputs.iter().for_each(|output| self.size(graph, *output, || layer_name(node)));
        }
        for node in order.iter().map(|id| graph.node(*id)) {
            if let Some(dim) = first_free(graph, node)
                && !is_supported(graph, node)
            {
                let symbol = dim.symbols().first().map(ToString::to_string).unwrap_or_default();
                let operator = node.op.name().to_string();
                self.errors.push(LowerError::FreeOperator { layer: layer_name(node), operator, dim: dim.to_string(), symbol });
            }
        }
    }

    fn is_bounded(&self, dim: &Dim) -> bool {
        let chosen = |s: &Arc<str>| self.known.iter().any(|(name, _)| name == s);
        dim.symbols().iter().all(chosen) && dim.range(self.symbols).1.is_some_and(|most| most <= i64::from(i32::MAX))
    }

    fn size(&mut self, graph: &Graph, id: ValueId, layer: impl Fn() -> String) {
        if let Some(dim) = graph.ty(id).shape.iter().find(|dim| !self.is_bounded(dim)) {
            let symbols = dim.symbols();
            let symbol = symbols.iter().find(|s| !self.is_bounded(&Dim::symbol(s))).or(symbols.first());
            let symbol = symbol.map(ToString::to_string).unwrap_or_default();
            self.errors.push(LowerError::FreeSize { layer: layer(), dim: dim.to_string(), symbol });
        }
    }
}

fn first_free<'g>(graph: &'g Graph, node: &Node) -> Option<&'g Dim> {
    node.inputs.iter().chain(&node.outputs).flat_map(|id| &graph.ty(*id).shape).find(|dim| !dim.is_const())
}

/// The algorithm of a window of free size as a writer takes it: weighted sums are products, other windows reductions. Right,
/// but not fast.
pub fn rephrased(algorithm: Algorithm) -> Algorithm {
    let Algorithm::Window(window) = algorithm else { return algorithm };
    if window.axes.iter().all(Dim::is_const) {
        return Algorithm::Window(window);
    }
    let Window { axes, x, w, combine, out, epilogue } = window;
    match w {
        Some(w) => Algorithm::Contract(Contract { axes, a: x, b: w, out, epilogue }),
        None => {
            let in_output = |axis: usize| out.iter().any(|i| i.coefficient(axis) != 0);
            Algorithm::Reduce(Reduce {
                reduced: (0..axes.len()).filter(|a| !in_output(*a)).collect(),
                axes,
                x,
                stages: vec![Stage { combine, body: Pointwise::identity() }],
                finish: Pointwise::identity(),
                per_group: true,
                out,
                epilogue,
            })
        }
    }
}

/// Whether the writer of a node takes free sizes.
fn is_supported(graph: &Graph, node: &Node) -> bool {
    let is_fixed = |access: &Access| access.index.iter().all(|i| i.offset.is_const());
    match algorithm(graph, node) {
        Algorithm::Contract(c) => is_fixed(&c.a) && is_fixed(&c.b) && graph.ty(node.inputs[c.a.operand]).dtype == DType::F32,
        Algorithm::Window(w) => is_fixed(&w.x) && (w.w.is_none() || graph.ty(node.inputs[w.x.operand]).dtype == DType::F32),
        Algorithm::Routine(r) => !r.passes,
        Algorithm::Recurrent(r) => r.batch.is_const() && r.hidden.is_const(),
        Algorithm::Map(_) | Algorithm::Reduce(_) | Algorithm::Shuffle(_) | Algorithm::Gather(_) => true,
        Algorithm::View | Algorithm::Sizes(_) | Algorithm::Measure(_) => true,
        Algorithm::Control => matches!(node.op, Op::If(_)),
    }
}
