//! `constant_folding`: computes nodes that depend on constants only, and applies the rules that drop no-ops.
//!
//! Before: `s = sqrt(const); y = mul(x, s); z = add(y, 0)`. After: `y = mul(x, const)`. Folding uses the operators'
//! own `eval`. It does not fold what would make the file much larger. Constants of one element become literals of the
//! expressions that read them.

use crate::context::{Context, node_name};
use crate::control::fold_control;
use crate::fuse::body::{Body, drop_unused};
use crate::rules;
use ir::ops::Op;
use ir::pointwise::{Fn, Literal, Operand, Pointwise, Step};
use ir::{DType, Def, Graph, NodeId, OpError, Tensor, ValueId};
use std::sync::Arc;

/// A folded result may have this many times the bytes of its operands …
const MAX_GROWTH: usize = 4;
/// … or this many bytes in any case: small tables cost less than the code that computes them.
const SMALL_BYTES: usize = 4096;

pub fn constant_folding(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    loop {
        let before = context.changes();
        fold_control(graph, context)?;
        fold_nodes(graph, context);
        drop_equal_casts(graph, context);
        inline_scalars(graph, context);
        rules::apply(graph, context, "constant_folding")?;
        if context.changes() == before {
            return Ok(());
        }
    }
}

/// Replaces nodes whose operands are all constant.
pub(crate) fn fold_nodes(graph: &mut Graph, context: &mut Context) {
    for id in graph.order() {
        if let Some(tensor) = known_sizes(graph, graph.node(id).outputs[0]) {
            context.fired("known_sizes", || node_name(graph, id));
            become_constants(graph, id, vec![tensor]);
            continue;
        }
        let node = graph.node(id);
        let constants: Option<Vec<Arc<Tensor>>> = node.inputs.iter().map(|v| graph.constant(*v).cloned()).collect();
        let Some(constants) = constants.filter(|c| !c.is_empty() && !matches!(node.op, Op::Loop(_)) && node.op.defines().is_empty()) else {
            continue;
        };
        let Some(bytes) = node.outputs.iter().map(|v| bytes_of(graph, *v)).sum::<Option<usize>>() else { continue };
        let limit = SMALL_BYTES.max(MAX_GROWTH * constants.iter().map(|t| t.bytes().len()).sum::<usize>());
        if bytes > limit {
            context.missed("fold_constant", || node_name(graph, id), || format!("the result has {bytes} bytes, the limit is {limit}"));
            continue;
        }
        let tensors = match node.op.eval(&constants.iter().map(|t| &**t).collect::<Vec<_>>()) {
            Ok(tensors) => tensors,
            // It fails at run time too, if it runs at all.
            Err(why) => {
                context.missed("fold_constant", || node_name(graph, id), || why.to_string());
                continue;
            }
        };
        context.fired("fold_constant", || node_name(graph, id));
        become_constants(graph, id, tensors);
    }
}

fn bytes_of(graph: &Graph, value: ValueId) -> Option<usize> {
    let ty = graph.ty(value);
    Some(ty.const_shape()?.iter().product::<usize>() * ty.dtype.bytes())
}

/// The tensor behind a value whose elements are sizes without symbols.
fn known_sizes(graph: &Graph, value: ValueId) -> Option<Tensor> {
    let value = graph.value(value);
    let shape = value.ty.const_shape()?;
    let sizes: Vec<i64> = value.sizes.as_ref()?.iter().map(ir::Dim::as_const).collect::<Option<_>>()?;
    if sizes.len() != shape.iter().product::<usize>() || !value.ty.dtype.is_int() {
        return None;
    }
    Some(ir::ops::map::scalar::cast(&Tensor::new(&shape, &sizes), value.ty.dtype))
}

/// The outputs of a node become constants in place, under their names; the node goes.
fn become_constants(graph: &mut Graph, node: NodeId, tensors: Vec<Tensor>) {
    let outputs = graph.node(node).outputs.clone();
    graph.remove_node(node);
    for (value, tensor) in outputs.into_iter().zip(tensors) {
        graph.value_mut(value).def = Def::Const(Arc::new(tensor));
    }
}

/// Drops casts to the type that the operand has already. (As a rule this would be one row per element type.)
fn drop_equal_casts(graph: &mut Graph, context: &mut Context) {
    for id in graph.order() {
        let node = graph.node(id);
        let Op::Map(map) = &node.op else { continue };
        let types: Vec<_> = node.inputs.iter().map(|v| graph.ty(*v).dtype).collect();
        let Ok(steps) = map.body.step_types(&types) else { continue };
        let needless = |step: &Step| {
            let Fn::Cast(to) = step.f else { return false };
            match step.operands[0] {
                Operand::Arg(i) => types[i] == to,
                Operand::Step(i) => steps[i] == to,
                Operand::Literal(_) => false,
            }
        };
        if !map.body.steps.iter().any(needless) {
            continue;
        }
        let mut body = Pointwise::identity();
        let mut moved: Vec<Operand> = vec![];
        for step in &map.body.steps {
            let operands: Vec<Operand> = step.operands.iter().map(|o| if let Operand::Step(i) = o { moved[*i] } else { *o }).collect();
            moved.push(if needless(step) { operands[0] } else { body.push(step.f, operands) });
        }
        // The result must be the last step: an expression that ends in a dropped cast of an argument is an identity.
        match moved.last() {
            Some(Operand::Step(last)) if *last + 1 == body.steps.len() => {}
            Some(Operand::Arg(0)) => body = Pointwise::identity(),
            _ => continue,
        }
        context.fired("equal_cast", || node_name(graph, id));
        let identity = body.is_identity();
        let (from, to) = (node.inputs[0], node.outputs[0]);
        let same = graph.ty(from) == graph.ty(to);
        graph.node_mut(id).op = ir::ops::map::Map { body }.into();
        if identity && same {
            graph.replace_uses(to, from);
        }
    }
}

/// `map{add(%0, %1)}(x, const 2)` becomes `map{add(%0, 2.0)}(x)`, in epilogues too.
fn inline_scalars(graph: &mut Graph, context: &mut Context) {
    for id in graph.order() {
        let node = graph.node(id);
        let is_map = matches!(node.op, Op::Map(_));
        let own = if is_map { 0 } else { node.op.own_inputs(node.inputs.len()) };
        let body = match &node.op {
            Op::Map(map) => map.body.clone(),
            op => op.def().epilogue().cloned().unwrap_or_default(),
        };
        // Argument 0 of an epilogue is the operator's own result.
        let skip = usize::from(!is_map);
        let literals: Vec<Option<Literal>> = (0..body.args())
            .map(|i| if i < skip { None } else { node.inputs.get(own + i - skip).and_then(|v| literal(graph, *v)) })
            .collect();
        let mut new = body.clone();
        for step in &mut new.steps {
            let inlined: Vec<Operand> = step.operands.iter().map(|o| inlined(o, &literals)).collect();
            // A literal takes its type from a tensor beside it; the test of `select` gives none. (Tests are `bool`, which
            // is never inlined.)
            let values = &inlined[usize::from(step.f == Fn::Select)..];
            if values.iter().any(|o| !matches!(o, Operand::Literal(_))) {
                step.operands = inlined;
            }
        }
        if new == body {
            continue;
        }
        let args: Vec<ValueId> =
            if is_map { node.inputs.clone() } else { std::iter::once(node.outputs[0]).chain(node.inputs[own..].iter().copied()).collect() };
        let Body { expression, args } = drop_unused(Body { expression: new, args }, skip);
        if is_map && !keeps_shape(graph, &args, node.outputs[0]) {
            continue;
        }
        let inputs: Vec<ValueId> = node.inputs[..own].iter().chain(&args[skip..]).copied().collect();
        context.fired("inline_scalar", || node_name(graph, id));
        let node = graph.node_mut(id);
        node.inputs = inputs;
        match &mut node.op {
            Op::Map(map) => map.body = expression,
            op => {
                if let Some(epilogue) = op.def_mut().epilogue_mut() {
                    *epilogue = expression;
                }
            }
        }
    }
}

fn inlined(operand: &Operand, literals: &[Option<Literal>]) -> Operand {
    match *operand {
        Operand::Arg(i) => literals[i].map_or(*operand, Operand::Literal),
        o => o,
    }
}

/// The one element of a constant, where a literal holds it exactly.
fn literal(graph: &Graph, value: ValueId) -> Option<Literal> {
    let tensor = graph.constant(value).filter(|t| t.len() == 1)?;
    match tensor.dtype {
        DType::Bool | DType::U64 => None,
        dtype if dtype.is_float() => Some(Literal::Float(tensor.get_f64(0))),
        _ => Some(Literal::Int(tensor.to_i64s()[0])),
    }
}

/// A map of these operands still has the shape of its result.
fn keeps_shape(graph: &Graph, args: &[ValueId], result: ValueId) -> bool {
    let shapes: Vec<_> = args.iter().map(|v| &graph.ty(*v).shape[..]).collect();
    ir::ops::map::broadcast_dims(&shapes).is_ok_and(|shape| shape == graph.ty(result).shape)
}
