//! Fusion: a pointwise expression moves across an edge into the node that produces its operand. The three passes differ
//! only in which producers they look at.
//!
//! Before: `c = conv(x, w); r = map{relu(add(%0, %1))}(c, b)`. After: `r = conv(x, w, b; epilogue={relu(add(%0, %1))})`.

mod absorb;
pub(crate) mod body;
mod hoist;
mod merge;
mod split;
mod uses;
mod widen;

use crate::context::Context;
use crate::{fold, rules};
use ir::ops::Op;
use ir::{Graph, OpError};
pub(crate) use uses::Uses;

/// Steps of one expression. An epilogue runs per register tile: far beyond this, intermediate results spill, and the
/// loop that a separate map costs is the cheaper one.
const MAX_STEPS: usize = 24;
/// Tensors of one expression, `%0` not counted. Each is a pointer to keep in a register of the loop.
const MAX_OPERANDS: usize = 6;

/// Which producers a pass moves expressions into.
type Target = fn(&Op) -> bool;

fn is_conv(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::Pool(_))
}

fn is_linear(op: &Op) -> bool {
    matches!(op, Op::MatMul(_))
}

fn has_epilogue(op: &Op) -> bool {
    op.def().epilogue().is_some()
}

/// Batch norm, bias, residual sum and activation into convolutions and pooling.
pub fn fuse_conv_bn_relu(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    split::split_maps(graph, is_conv)?;
    apply_rules(graph, context, "fuse_conv_bn_relu")?;
    fuse_into(graph, context, is_conv)
}

/// Scale, bias, residual sum and activation into matrix products.
pub fn fuse_linear_activation(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    split::split_maps(graph, is_linear)?;
    apply_rules(graph, context, "fuse_linear_activation")?;
    fuse_into(graph, context, is_linear)
}

/// Maps into maps, then into whatever has an epilogue.
pub fn fuse_pointwise(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    apply_rules(graph, context, "fuse_pointwise")?;
    loop {
        let before = context.changes();
        hoist::hoist_maps(graph, context, has_epilogue);
        merge::merge_maps(graph, context, None);
        absorb::absorb(graph, context, has_epilogue);
        if context.changes() == before {
            widen::read_elements(graph, context);
            graph.compact();
            return Ok(());
        }
    }
}

/// The rules of a pass. They write new weights and biases as graph; folding computes them, which may let more rules fire.
fn apply_rules(graph: &mut Graph, context: &mut Context, pass: &str) -> Result<(), OpError> {
    loop {
        rules::apply(graph, context, pass)?;
        let before = context.changes();
        fold::fold_nodes(graph, context);
        if context.changes() == before {
            return Ok(());
        }
    }
}

/// Absorbs maps; where several maps read one producer (as in `mul(x, sigmoid(x))`), merges those first.
fn fuse_into(graph: &mut Graph, context: &mut Context, target: Target) -> Result<(), OpError> {
    loop {
        let before = context.changes();
        hoist::hoist_maps(graph, context, target);
        absorb::absorb(graph, context, target);
        merge::merge_maps(graph, context, Some(target));
        if context.changes() == before {
            graph.compact();
            return Ok(());
        }
    }
}
