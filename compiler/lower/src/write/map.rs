//! Writes [`ir::algorithm::Map`]: one pass over the output, the innermost dimension by vectors. What does not change along
//! a row is loaded and computed once per row.

use crate::LowerError;
use crate::cx::{Cx, NodeCx, Options, new_kernel};
use crate::extent::Size;
use crate::lanes::{Lanes, Pattern, load, store};
use crate::pointwise;
use crate::view::Source;
use crate::write::nest::{Nest, Params, TASK_BYTES, Tasks, Walk, loops, vectors};
use ir::algorithm::Map;
use ir::pointwise::{Fn, Operand};
use ir::{DType, Pointwise};
use kernel::{K, V};

pub fn write(cx: &mut Cx, nx: &NodeCx, nest: &Map) -> Result<(), LowerError> {
    let types: Vec<DType> = nx.inputs.iter().map(|v| v.dtype).collect();
    pointwise::supported(&nest.body, &types).map_err(|what| LowerError::Unsupported { layer: nx.name.clone(), what })?;
    if nx.output.elements() == 0 {
        return Ok(());
    }
    let rank = nest.axes.len();
    let used: Vec<usize> = (0..nest.operands.len()).filter(|i| uses(&nest.body, *i)).collect();
    let mut walks: Vec<Walk> = vec![];
    for i in &used {
        let access = &nest.operands[*i];
        let view = nx.input(cx, access.operand);
        walks.push(Walk::new(&view, &access.index, rank));
    }
    walks.push(Walk::of(&nx.output));
    let overwritten: Vec<_> = walks[..used.len()].iter().filter(|w| w.view.source == nx.output.source).map(|w| w.view.clone()).collect();
    let mut loop_nest = Nest { dims: nx.output.extents(), walks };
    loop_nest.merge(0);
    if loop_nest.dims.is_empty() {
        loop_nest.dims.push(1.into());
        loop_nest.walks.iter_mut().for_each(|w| w.strides.push(0));
    }
    let body = Body { expression: &nest.body, types: &types, used: &used, output: nx.output.dtype, unroll: unroll(&nest.body) };
    let tasks = Tasks::new(&loop_nest.dims, TASK_BYTES / nx.output.dtype.bytes(), 4 * body.unroll);
    let (kernel, params) = kernel(&loop_nest, tasks, &body, &cx.options);
    let args = params.args(cx);
    let overwritten: Vec<_> = overwritten.iter().filter(|v| matches!(v.source, Source::Buffer(_))).collect();
    cx.step(kernel, args, tasks.count, 0, nx.origin, &[&nx.output], &overwritten);
    Ok(())
}

/// What is computed for each element.
struct Body<'a> {
    expression: &'a Pointwise,
    /// Types of all arguments, and which of them occur.
    types: &'a [DType],
    used: &'a [usize],
    output: DType,
    unroll: usize,
}

fn kernel(nest: &Nest, tasks: Tasks, body: &Body, options: &Options) -> (kernel::Kernel, Params) {
    let mut k = new_kernel(name(nest, body), options);
    let params = nest.params(&mut k, |i| if i + 1 == nest.walks.len() { "y" } else { "x" }, &[]);
    let strides = nest.strides();
    let inner = tasks.inner(&strides);
    tasks.emit(&mut k, &params.dims, &params.pointers, &strides, |k, pointers, dims| {
        let (row, outer) = dims.split_last().expect("at least one dimension");
        loops(k, outer, pointers, &inner, &mut |k, pointers| {
            let strides: Vec<i64> = inner.iter().map(|s| s[outer.len()]).collect();
            write_row(k, body, *row, pointers, &strides);
        });
    });
    (k.finish(), params)
}

fn write_row(k: &mut K, body: &Body, size: Size, pointers: &[V<kernel::I32>], strides: &[i64]) {
    let n_inputs = body.used.len();
    let pattern = |i: usize| Pattern::of(strides[i], if i < n_inputs { body.types[body.used[i]] } else { body.output }.bytes());
    // Arguments that are the same for the whole row.
    let mut fixed: Vec<Option<Lanes>> = vec![None; body.types.len()];
    for (i, arg) in body.used.iter().enumerate() {
        if size.most > 1 && pattern(i) == Pattern::Splat {
            fixed[*arg] = Some(load(k, body.types[*arg], pointers[i], 0, Pattern::Splat, 4).bind(k));
        }
    }
    let hoisted = pointwise::hoist(k, body.expression, body.types, &fixed);
    vectors(k, size, body.unroll, pointers, strides, |k, _, at, n| {
        let mut args: Vec<Lanes> = vec![Lanes::F32(crate::lanes::zero()); body.types.len()];
        for (i, arg) in body.used.iter().enumerate() {
            args[*arg] = match &fixed[*arg] {
                Some(value) => value.clone(),
                None => load(k, body.types[*arg], at[i].clone(), 0, pattern(i), n),
            };
        }
        let value = pointwise::emit_after(k, body.expression, body.types, &args, &hoisted);
        let pattern = if n == 1 { Pattern::Contiguous } else { pattern(n_inputs) };
        store(k, body.output, at[n_inputs].clone(), 0, pattern, n, value);
    });
}

/// Whether an argument occurs in an expression.
pub fn uses(body: &Pointwise, arg: usize) -> bool {
    if body.is_identity() { arg == 0 } else { body.steps.iter().any(|s| s.operands.contains(&Operand::Arg(arg))) }
}

/// Vectors per pass: more for bodies of few instructions.
pub fn unroll(body: &Pointwise) -> usize {
    let cost = |f: Fn| match f {
        Fn::Exp | Fn::Log | Fn::Tanh | Fn::Erf | Fn::Sigmoid => 8,
        f if pointwise::is_cheap(f) => 1,
        _ => 16,
    };
    match body.steps.iter().map(|s| cost(s.f)).sum::<usize>() {
        0..=4 => 4,
        5..=15 => 2,
        _ => 1,
    }
}

/// `map_add_relu_f32_x_64x56`, …
fn name(nest: &Nest, body: &Body) -> String {
    let functions: Vec<&str> = body.expression.steps.iter().take(4).map(|s| s.f.name()).collect();
    let functions = if functions.is_empty() { "copy".into() } else { functions.join("_") };
    let dims: Vec<String> = nest.dims.iter().map(ToString::to_string).collect();
    format!("map_{functions}_{}_{}", body.output, dims.join("x"))
}
