//! `nhwc_layout`: puts channels last. Convolutions and pooling read `[N, spatial…, C]`; transposes move down, from users'
//! operands to users' results, until they meet and cancel.
//!
//! Before: `c = conv(x; data=nchw); r = relu(c); p = pool(r; data=nchw); output p`. After: `x' = transpose(x);
//! c = conv(x'; data=nhwc); r = relu(c); p' = pool(r; data=nhwc); p = transpose(p'); output p`.
//!
//! One walk in the order of computation. For every value it keeps a *form*: another value, already computed, and the
//! permutation that would give the original back. Transposing is postponed until a user needs the original; a user that
//! can work on the permuted value does, and its result is permuted too. No user is made to transpose twice, and a value
//! is transposed to each order at most once, so that the walk ends and does not add work in a circle.

mod flatten;
mod forms;
mod operators;
mod reshape;

use crate::context::Context;
use crate::rules;
use forms::Forms;
use ir::{Graph, OpError};

pub fn nhwc_layout(graph: &mut Graph, context: &mut Context) -> Result<(), OpError> {
    let mut forms = Forms::default();
    for node in graph.order() {
        operators::rewrite(graph, &mut forms, context, node)?;
    }
    for i in 0..graph.outputs.len() {
        let value = graph.outputs[i].value;
        graph.outputs[i].value = forms.original(graph, value, &[])?;
    }
    rules::apply(graph, context, "nhwc_layout")?;
    flatten::flatten_matmul(graph, context)?;
    graph.compact();
    Ok(())
}
