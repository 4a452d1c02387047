//! Writes [`ir::algorithm::Reduce`]. Where the reduced elements lie side by side, the lanes of a vector are elements of
//! one group (`inner`); where parallel ones do, each lane is a group of its own (`outer`). What depends on the group alone
//! is computed once per group.
//!
//! Order of summation: in `inner`, element i of a row goes to lane i mod 4 of accumulator i / 4 mod n (n ≤ 4), the
//! accumulators are added in order, then lanes 0 + 2 and 1 + 3, then these; in `outer`, elements are added in their order.

use crate::LowerError;
use crate::cx::{Cx, NodeCx, Options, new_kernel};
use crate::extent::{Extent, Size};
use crate::lanes::{Lanes, Pattern, Slot, load, store, zero};
use crate::pointwise::{self, Hoisted, hoist};
use crate::write::map::{unroll, uses};
use crate::write::nest::{Nest, Params, Tasks, Walk, loops};
use ir::algorithm::{Combine, Reduce};
use ir::pointwise::{Fn, Literal, Operand};
use ir::{DType, Pointwise, dtype, for_dtype};
use kernel::{E, F32x4, I32, I32x4, K, V, f32x4_ne, f32x4_pmax, f32x4_pmin};

mod inner;
mod outer;

/// Elements that one task reads, about.
const TASK_ELEMENTS: usize = 16 << 10;

pub fn write(cx: &mut Cx, nx: &NodeCx, nest: &Reduce) -> Result<(), LowerError> {
    let work = Work::new(nx, nest).map_err(|what| LowerError::Unsupported { layer: nx.name.clone(), what })?;
    if nx.output.elements() == 0 {
        return Ok(());
    }
    let rank = nest.axes.len();
    let sizes: Vec<Extent> = nest.axes.iter().map(|d| cx.extent(d)).collect();
    let output = Walk::new(&nx.output, &nest.out, rank);
    let x = nx.input(cx, nest.x.operand);
    let is_empty = nest.reduced.iter().any(|a| sizes[*a].most == 0);
    // An empty group reads nothing: its pointer is never used.
    let mut walks = vec![if is_empty { output.clone() } else { Walk::new(&x, &nest.x.index, rank) }];
    for i in &work.used {
        let access = &nest.epilogue.operands[*i];
        let view = nx.input(cx, access.operand);
        walks.push(Walk::new(&view, &access.index, rank));
    }
    walks.push(output);
    let parallel = (0..rank).filter(|a| !nest.reduced.contains(a));
    let order: Vec<usize> = parallel.chain((0..rank).filter(|a| nest.reduced.contains(a))).collect();
    let mut loop_nest = Nest { dims: sizes, walks }.reordered(&order);
    let boundary = loop_nest.merge(rank - nest.reduced.len());
    if boundary == loop_nest.dims.len() {
        loop_nest.dims.push(1.into());
        loop_nest.walks.iter_mut().for_each(|w| w.strides.push(0));
    }
    let (kernel, params, tasks) = kernel(&loop_nest, boundary, &work, &cx.options);
    let args = params.args(cx);
    cx.step(kernel, args, tasks, 0, nx.origin, &[&nx.output], &[]);
    Ok(())
}

/// What is computed, with its types.
struct Work<'a> {
    nest: &'a Reduce,
    /// The element's type and those of the stages' results.
    types: Vec<DType>,
    /// Types of the finishing expression's arguments.
    finish_types: Vec<DType>,
    /// The finished value's type and those of the epilogue's operands.
    epilogue_types: Vec<DType>,
    /// Which operands of the epilogue occur in it.
    used: Vec<usize>,
    output: DType,
    /// The step of `finish` whose value is that of the last stage's body, kept in the output between the two passes.
    kept: Option<usize>,
    /// Vectors of groups side by side, or of elements to be finished in one pass.
    unroll: usize,
}

impl Work<'_> {
    fn new<'a>(nx: &NodeCx, nest: &'a Reduce) -> Result<Work<'a>, String> {
        let mut types = vec![nx.inputs[nest.x.operand].dtype];
        for stage in &nest.stages {
            pointwise::supported(&stage.body, &types)?;
            let result = stage.body.result_type(&types)?;
            pointwise::supported(&Pointwise::of(function(stage.combine)), &[result, result])?;
            types.push(result);
        }
        let mut finish_types = types.clone();
        if nest.per_group {
            finish_types[0] = types[types.len() - 1];
        }
        pointwise::supported(&nest.finish, &finish_types)?;
        let mut epilogue_types = vec![nest.finish.result_type(&finish_types)?];
        epilogue_types.extend(nest.epilogue.operands.iter().map(|a| nx.inputs[a.operand].dtype));
        pointwise::supported(&nest.epilogue.body, &epilogue_types)?;
        let used = (0..nest.epilogue.operands.len()).filter(|i| uses(&nest.epilogue.body, i + 1)).collect();
        let unroll = nest.stages.iter().map(|s| unroll(&s.body)).min().unwrap_or(1);
        let output = nx.output.dtype;
        Ok(Work { nest, kept: kept(nest, &types, output), types, finish_types, epilogue_types, used, output, unroll })
    }
}

/// See [`Work::kept`]: worth it where the stage computes something expensive.
fn kept(nest: &Reduce, types: &[DType], output: DType) -> Option<usize> {
    let body = &nest.stages.last()?.body;
    let (kept, rest) = nest.finish.steps.split_at_checked(body.steps.len())?;
    let last = kept.len().checked_sub(1)?;
    let again = |o: &Operand| *o == Operand::Arg(0) || matches!(o, Operand::Step(s) if *s < last);
    let is_needed_again = rest.iter().flat_map(|s| &s.operands).any(again);
    let fits = output == DType::F32 && body.result_type(types).ok() == Some(DType::F32);
    let is_expensive = body.steps.iter().any(|s| !pointwise::is_cheap(s.f));
    (kept == body.steps && !nest.per_group && !is_needed_again && fits && is_expensive).then_some(last)
}

/// The running result of a stage for one vector.
struct Running {
    f: Fn,
    dtype: DType,
    result: Slot,
    /// Where a NaN was seen: the extrema of `f32` drop it, in exchange for one instruction instead of seven.
    nan: Option<V<I32x4>>,
}

impl Running {
    fn new(k: &mut K, combine: Combine, dtype: DType, neutral: Lanes) -> Running {
        let result = Slot::new(k, neutral);
        let drops_nan = matches!((combine, result.get()), (Combine::Min | Combine::Max, Lanes::F32(_)));
        let nan = drops_nan.then(|| k.let_("nan", zero::<I32x4>()));
        Running { f: function(combine), dtype, result, nan }
    }

    fn add(&self, k: &mut K, value: Lanes) {
        let next = match (self.nan, self.result.get(), value) {
            (Some(nan), Lanes::F32(result), Lanes::F32(x)) => {
                let x = k.in_local("x", x);
                k.set(nan, nan | f32x4_ne(x, x));
                Lanes::F32(if self.f == Fn::Min { f32x4_pmin(result, x) } else { f32x4_pmax(result, x) })
            }
            (_, result, value) => pointwise::binary(k, self.f, self.dtype, result, value),
        };
        self.result.set(k, next);
    }

    fn get(&self, k: &mut K) -> Lanes {
        match (self.nan, self.result.get()) {
            // All ones are a NaN.
            (Some(nan), Lanes::F32(result)) => Lanes::F32(result | nan.cast::<F32x4>()).bind(k),
            (_, result) => result,
        }
    }
}

fn function(combine: Combine) -> Fn {
    match combine {
        Combine::Sum => Fn::Add,
        Combine::Product => Fn::Mul,
        Combine::Min => Fn::Min,
        Combine::Max => Fn::Max,
    }
}

/// The value that changes nothing.
fn neutral(k: &mut K, combine: Combine, dtype: DType) -> Lanes {
    let literal = |float: f64, int: i64| if dtype.is_float() { Literal::Float(float) } else { Literal::Int(int) };
    let literal = match combine {
        Combine::Sum => Literal::Int(0),
        Combine::Product => Literal::Int(1),
        Combine::Min => for_dtype!(dtype, T => literal(f64::INFINITY, ir::Element::to_i64(dtype::highest::<T>()))),
        Combine::Max => for_dtype!(dtype, T => literal(f64::NEG_INFINITY, ir::Element::to_i64(dtype::lowest::<T>()))),
    };
    pointwise::splat(k, dtype, literal)
}

/// The kernel, its parameters and its number of tasks.
fn kernel(nest: &Nest, boundary: usize, work: &Work, options: &Options) -> (kernel::Kernel, Params, u32) {
    let bytes = work.types[0].bytes() as i64;
    let (parallel, reduced) = nest.dims.split_at(boundary);
    let x = &nest.walks[0].strides;
    let group: usize = reduced.iter().map(|d| d.most).product();
    let side_by_side = |d: &[i64]| d.last() == Some(&bytes);
    let outer = boundary > 0 && !side_by_side(&x[boundary..]) && (side_by_side(&x[..boundary]) || group <= 1);
    let multiple = if outer { 4 * work.unroll } else { 1 };
    let tasks = Tasks::new(parallel, TASK_ELEMENTS / group.max(1), multiple);
    let mut k = new_kernel(name(nest, boundary, work, outer), options);
    let last = nest.walks.len() - 1;
    let names = |i: usize| {
        if i == 0 {
            "x"
        } else if i == last {
            "y"
        } else {
            "operand"
        }
    };
    let params = nest.params(&mut k, names, &[]);
    let (parallel, reduced): (&[Size], &[Size]) = params.dims.split_at(boundary);
    let strides = nest.strides();
    let of_groups: Vec<Vec<i64>> = strides.iter().map(|s| s[..boundary].to_vec()).collect();
    let of_elements: Vec<Vec<i64>> = strides.iter().map(|s| s[boundary..].to_vec()).collect();
    let inner_groups = tasks.inner(&of_groups);
    tasks.emit(&mut k, parallel, &params.pointers, &of_groups, |k, pointers, dims| {
        if outer {
            let (size, dims) = dims.split_last().expect("there is a parallel axis");
            let row: Vec<i64> = inner_groups.iter().map(|s| s[dims.len()]).collect();
            loops(k, dims, pointers, &inner_groups, &mut |k, p| outer::groups(k, work, *size, p, &row, reduced, &of_elements));
        } else {
            loops(k, dims, pointers, &inner_groups, &mut |k, p| inner::group(k, work, p, reduced, &of_elements));
        }
    });
    (k.finish(), params, tasks.count)
}

/// What is known before the elements of a group are finished.
struct Known {
    finish: Hoisted,
    /// Values of the epilogue's operands that are the same for all elements.
    fixed: Vec<Option<Lanes>>,
    epilogue: Hoisted,
}

impl Known {
    /// `pointers` and `strides` are those of the epilogue's used operands, along the dimension of the lanes.
    fn new(k: &mut K, work: &Work, finish: Hoisted, pointers: &[V<I32>], strides: &[i64]) -> Known {
        let mut fixed = vec![None; work.epilogue_types.len()];
        for (at, i) in work.used.iter().enumerate() {
            if strides[at] == 0 {
                fixed[i + 1] = Some(load(k, work.epilogue_types[i + 1], pointers[at], 0, Pattern::Splat, 4).bind(k));
            }
        }
        let epilogue = hoist(k, &work.nest.epilogue.body, &work.epilogue_types, &fixed);
        Known { finish, fixed, epilogue }
    }
}

/// What an expression over the element and the stages' results computes without the element.
fn of_group(k: &mut K, body: &Pointwise, types: &[DType], results: &[Lanes]) -> Hoisted {
    let mut args = vec![None];
    args.extend(results.iter().cloned().map(Some));
    hoist(k, body, types, &args)
}

/// Finishes `n` elements, or groups, and stores them. `x` is their value, if the expression reads it; `at` and `strides` are those of the used operands and the output.
fn finish(k: &mut K, work: &Work, known: &Known, x: Option<Lanes>, results: &[Lanes], at: &[E<I32>], strides: &[i64], n: usize) {
    let mut args = vec![x.unwrap_or_else(|| Lanes::F32(zero()))];
    args.extend(results.iter().cloned());
    let value = pointwise::emit_after(k, &work.nest.finish, &work.finish_types, &args, &known.finish);
    let pattern = |i: usize, dtype: DType| if n == 1 { Pattern::Contiguous } else { Pattern::of(strides[i], dtype.bytes()) };
    let mut operands = vec![value];
    for i in 1..work.epilogue_types.len() {
        let dtype = work.epilogue_types[i];
        operands.push(match (&known.fixed[i], work.used.iter().position(|u| u + 1 == i)) {
            (Some(value), _) => value.clone(),
            (None, Some(at_i)) => load(k, dtype, at[at_i].clone(), 0, pattern(at_i, dtype), n),
            (None, None) => Lanes::F32(zero()),
        });
    }
    let value = pointwise::emit_after(k, &work.nest.epilogue.body, &work.epilogue_types, &operands, &known.epilogue);
    let last = at.len() - 1;
    store(k, work.output, at[last].clone(), 0, pattern(last, work.output), n, value);
}

/// `reduce_sum_max_f32_64_by_128`, …
fn name(nest: &Nest, boundary: usize, work: &Work, outer: bool) -> String {
    let stages: Vec<&str> = work
        .nest
        .stages
        .iter()
        .map(|s| match s.combine {
            Combine::Sum => "sum",
            Combine::Product => "product",
            Combine::Min => "min",
            Combine::Max => "max",
        })
        .collect();
    let join = |dims: &[Extent]| dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let (parallel, reduced) = nest.dims.split_at(boundary);
    let form = if outer { "outer" } else { "inner" };
    format!("reduce_{}_{form}_{}_{}_by_{}", stages.join("_"), work.types[0], join(parallel), join(reduced))
}
