//! `fuse_attention_ops`: puts attention into the form that the lowering computes without moving heads. Scales of queries
//! and keys go behind the product or into the projections' weights (rules and this pass); projections of one tensor that
//! are split into heads become one product with their weights side by side.
//!
//! Before: `q = matmul(x, wq, bq; epilogue={add(%0, %1)}); k = matmul(x, wk, bk; …); v = …`, each behind a reshape. After:
//! `y = matmul(x, concat(wq, wk, wv), concat(bq, bk, bv); …); q = slice(y); k = slice(y); v = slice(y)`.

use crate::context::{Context, node_name, union_origin};
use crate::fuse::Uses;
use crate::{fold, rules};
use ir::ops::Op;
use ir::ops::contract::matmul::MatMul;
use ir::ops::map::Map;
use ir::ops::shuffle::{concat::Concat, reshape::Reshape, slice::Slice};
use ir::pointwise::{Fn, Literal, Operand, Pointwise};
use ir::{Dim, Graph, NodeId, OpError, ValueId};
use std::collections::BTreeMap;

const RULE: &str = "merge_projections";

pub fn fuse_attention_ops(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    rules::apply(graph, context, "fuse_attention_ops")?;
    read_cached_keys(graph, context)?;
    merge_projections(graph, context)?;
    fold::fold_nodes(graph, context);
    graph.compact();
    Ok(())
}

/// Products by transposed and scaled keys of free number read the keys as they lie: `matmul(q, mul(transpose(k), s))` becomes
/// `matmul(mul(q, s), k; transpose_b=true)`. Of keys of fixed number a transpose is a view.
fn read_cached_keys(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let uses = Uses::of(graph);
    for id in graph.order() {
        let node = graph.node(id);
        let Op::MatMul(op) = &node.op else { continue };
        let keys = node.inputs[1];
        if op.transpose_b || !graph.ty(keys).dtype.is_float() || graph.ty(keys).const_shape().is_some() {
            continue;
        }
        let Some((lying, scale)) = untransposed(graph, &uses, keys) else { continue };
        context.fired("cached_keys", || node_name(graph, id));
        let (epilogue, mut inputs, origin) = (op.epilogue.clone(), node.inputs.clone(), node.origin.clone());
        let name = graph.value(inputs[0]).name.clone();
        if let Some(factor) = scale {
            let mut body = Pointwise::identity();
            body.push(Fn::Mul, vec![Operand::Arg(0), Operand::Literal(factor)]);
            inputs[0] = graph.add(Map { body }, &[inputs[0]], &origin, &name)?;
        }
        let mut shape = graph.ty(keys).shape.clone();
        let rank = shape.len();
        shape.swap(rank - 2, rank - 1);
        inputs[1] = if graph.ty(lying).shape == shape { lying } else { graph.add(Reshape { shape }, &[lying], &origin, &name)? };
        let node = graph.node_mut(id);
        node.op = MatMul { transpose_b: true, epilogue }.into();
        node.inputs = inputs;
    }
    Ok(())
}

/// What a matrix is the transpose of, and what else scales it, behind reshapes that only add or drop dimensions of size 1.
fn untransposed(graph: &Graph, uses: &Uses, matrix: ValueId) -> Option<(ValueId, Option<Literal>)> {
    let (mut at, mut scale, mut is_transposed) = (matrix, None, false);
    let matrices = |value: ValueId| {
        let shape = &graph.ty(value).shape;
        let rank = shape.len();
        (rank >= 2).then(|| (shape[..rank - 2].iter().filter(|d| **d != 1).cloned().collect::<Vec<_>>(), shape[rank - 2..].to_vec()))
    };
    while uses.is_single(at)
        && let Some(producer) = graph.producer(at)
    {
        let node = graph.node(producer);
        let from = *node.inputs.first()?;
        match &node.op {
            Op::Map(map) if node.inputs.len() == 1 && scale.is_none() => match scale_of(&map.body, false) {
                Some(Some(factor)) if matches!(factor, Literal::Float(_)) => scale = Some(factor),
                _ => break,
            },
            Op::Reshape(_) if matrices(from).is_some() && matrices(from) == matrices(at) => {}
            Op::Transpose(transpose) if !is_transposed => {
                let rank = transpose.perm.len() as i64;
                let mut swapped: Vec<i64> = (0..rank).collect();
                if rank < 2 {
                    break;
                }
                swapped.swap(rank as usize - 2, rank as usize - 1);
                if transpose.perm != swapped {
                    break;
                }
                is_transposed = true;
            }
            _ => break,
        }
        at = from;
    }
    is_transposed.then_some((at, scale))
}

/// `(x · weights + bias) · scale`, with constant weights of shape `[depth, columns]`.
struct Projection {
    node: NodeId,
    weights: ValueId,
    columns: Dim,
    bias: Option<ValueId>,
    scale: Option<Literal>,
}

fn merge_projections(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let uses = Uses::of(graph);
    // By the projected tensor, and whether there is a bias.
    let mut groups: BTreeMap<(ValueId, bool), Vec<Projection>> = BTreeMap::new();
    for id in graph.order() {
        if !matches!(graph.node(id).op, Op::MatMul(_)) {
            continue;
        }
        match projection(graph, &uses, id) {
            Ok(found) => groups.entry((graph.node(id).inputs[0], found.bias.is_some())).or_default().push(found),
            Err(why) => context.missed(RULE, || node_name(graph, id), || why),
        }
    }
    for ((x, _), group) in groups.into_iter().filter(|(_, group)| group.len() > 1) {
        context.fired(RULE, || group.iter().map(|p| node_name(graph, p.node)).collect::<Vec<_>>().join(", "));
        merge(graph, x, &group)?;
    }
    Ok(())
}

fn projection(graph: &Graph, uses: &Uses, id: NodeId) -> Result<Projection, String> {
    let node = graph.node(id);
    let Op::MatMul(op) = &node.op else { return Err("it is no matrix product".into()) };
    let result = node.outputs[0];
    // Whatever splits the heads reads a slice as it lies; others might need a copy.
    let is_split = uses.is_single(result) && uses.readers(result).iter().all(|r| matches!(graph.node(*r).op, Op::Reshape(_)));
    if !is_split {
        return Err("its result is not split by one reshape".into());
    }
    let weights = node.inputs[1];
    let [_, columns] = &graph.ty(weights).shape[..] else { return Err("the weights are no matrix".into()) };
    if graph.constant(weights).is_none() || op.transpose_b || !graph.ty(weights).dtype.is_float() {
        return Err("the weights are not a constant matrix of columns".into());
    }
    let bias = node.inputs.get(2).copied();
    let fits = |b: &ValueId| graph.constant(*b).is_some() && graph.ty(*b).shape == [columns.clone()];
    if node.inputs.len() > 3 || !bias.iter().all(fits) {
        return Err("its epilogue reads more than one constant per column".into());
    }
    let scale = scale_of(&op.epilogue, bias.is_some()).ok_or("its epilogue is no bias with a scale")?;
    Ok(Projection { node: id, weights, columns: columns.clone(), bias, scale })
}

/// The factor of an epilogue `(%0 + %1) · factor` or `%0 · factor`, the inner `Option` being none for a factor of 1.
fn scale_of(epilogue: &Pointwise, has_bias: bool) -> Option<Option<Literal>> {
    let mut steps = &epilogue.steps[..];
    let mut sum = Operand::Arg(0);
    if has_bias {
        let (first, rest) = steps.split_first()?;
        let adds = first.f == Fn::Add
            && [[Operand::Arg(0), Operand::Arg(1)], [Operand::Arg(1), Operand::Arg(0)]]
                .contains(&[*first.operands.first()?, *first.operands.get(1)?]);
        if !adds {
            return None;
        }
        (steps, sum) = (rest, Operand::Step(0));
    }
    match steps {
        [] => Some(None),
        [step] if step.f == Fn::Mul => match step.operands[..] {
            [a, Operand::Literal(factor)] | [Operand::Literal(factor), a] if a == sum => Some(Some(factor)),
            _ => None,
        },
        _ => None,
    }
}

fn merge(graph: &mut Graph, x: ValueId, group: &[Projection]) -> Result<(), OpError> {
    let origin = union_origin(graph, group.iter().map(|p| p.node));
    let name = graph.value(graph.node(group[0].node).outputs[0]).name.clone();
    let mut side_by_side = |axis: i64, part: &dyn std::ops::Fn(&Projection) -> ValueId| -> Result<ValueId, OpError> {
        let mut parts = vec![];
        for projection in group {
            let value = part(projection);
            parts.push(match projection.scale {
                None => value,
                Some(factor) => {
                    let mut body = Pointwise::identity();
                    body.push(Fn::Mul, vec![Operand::Arg(0), Operand::Literal(factor)]);
                    let name = graph.value(value).name.clone();
                    graph.add(Map { body }, &[value], &origin, &name)?
                }
            });
        }
        graph.add(Concat { axis }, &parts, &origin, &name)
    };
    let mut inputs = vec![x, side_by_side(1, &|p| p.weights)?];
    let mut epilogue = Pointwise::identity();
    if group[0].bias.is_some() {
        inputs.push(side_by_side(0, &|p| p.bias.expect("all of a group have one"))?);
        epilogue = Pointwise::of(Fn::Add);
    }
    let product = graph.add(MatMul { transpose_b: false, epilogue }, &inputs, &origin, &name)?;
    let mut start = Dim::from(0i64);
    for projection in group {
        let result = graph.node(projection.node).outputs[0];
        let counts = graph.ty(result).shape.clone();
        let rank = counts.len();
        let mut starts = vec![Dim::from(0i64); rank];
        starts[rank - 1] = start.clone();
        start = start + projection.columns.clone();
        let node = graph.node_mut(projection.node);
        node.op = Slice { starts, counts, steps: vec![1; rank] }.into();
        node.inputs = vec![product];
    }
    Ok(())
}
