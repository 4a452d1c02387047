//! Free sizes at run time: the first step of a plan, which computes sizes from the symbols' values and writes them into the
//! argument records; tensors that hold sizes; copies between the dense tensors that hosts see and views with room.

use crate::cx::{Cx, Definition, Values, pointer};
use crate::extent::{Extent, Size, SizeParams};
use crate::plan::{Arg, Free, KernelId, SizeId, Step};
use crate::view::{Source, View};
use crate::write::nest::loops;
use abi::{ARG_BYTES, StepRecord};
use ir::Dim;
use ir::dim::{Algebra, Bound, DimFn};
use kernel::{E, I32, I64, K, V, i32_div_s, i32_lt_s, i32_rem_s, i32_wrap_i64, i64_extend_i32_s, load, select};
use std::sync::Arc;

/// Dims as code. Numbers stay below 2³¹: they count elements or bytes of a 32-bit memory.
struct Code<'k> {
    k: &'k mut K,
    symbols: Vec<(Arc<str>, V<I32>)>,
}

impl Algebra for Code<'_> {
    type Value = E<I32>;

    fn constant(&mut self, c: i64) -> E<I32> {
        (c as i32).into()
    }

    fn symbol(&mut self, name: &str) -> E<I32> {
        let known = self.symbols.iter().find(|(symbol, _)| **symbol == *name);
        known.expect("hosts choose the values of all symbols").1.get()
    }

    fn add(&mut self, a: E<I32>, b: E<I32>) -> E<I32> {
        a + b
    }

    fn multiply(&mut self, a: E<I32>, b: E<I32>) -> E<I32> {
        a * b
    }

    fn binary(&mut self, f: DimFn, a: E<I32>, b: E<I32>) -> E<I32> {
        let (a, b) = (self.k.in_local("a", a), self.k.in_local("b", b));
        // The remainder has the divisor's sign, which is positive.
        let remainder = |k: &mut K| k.let_("remainder", i32_rem_s(i32_rem_s(a, b) + b, b));
        match f {
            DimFn::Min => select::<I32>(i32_lt_s(a, b), a, b),
            DimFn::Max => select::<I32>(i32_lt_s(a, b), b, a),
            DimFn::Mod => remainder(self.k).get(),
            DimFn::FloorDiv => {
                let remainder = remainder(self.k);
                i32_div_s(a - remainder, b)
            }
        }
    }
}

/// Puts the step that computes the sizes before all others, if there are symbols, and writes the code of those that give symbols
/// their values during the run.
pub fn first_step(cx: &mut Cx, symbols: Vec<(Arc<str>, Bound)>, kept: Vec<Arc<str>>, found: Vec<Arc<str>>) -> Free {
    let Some(Source::Buffer(at)) = cx.symbols_at.as_ref().map(|view| view.source) else { return Free::default() };
    // The argument records follow the step records; the first step's own come first.
    let mut record = (cx.steps.len() as u32 + 1) * StepRecord::BYTES + 2 * ARG_BYTES;
    let mut records = vec![];
    for arg in cx.steps.iter().flat_map(|step| &step.args) {
        if let Arg::Size(id) = arg {
            records.push((record, *id));
        }
        record += ARG_BYTES;
    }
    for definition in std::mem::take(&mut cx.definitions) {
        let mut k = K::new(format!("define_{}", definition.symbols.len()));
        let (values, at) = (k.arena("symbols"), k.weights("records"));
        let new: Vec<E<I32>> = match &definition.values {
            Values::Measured(view) => {
                let from = pointer(&mut k, "n", view);
                vec![i32_wrap_i64(load::<I64>(from, 0))]
            }
            Values::Sizes(dims) => {
                let mut params = SizeParams::default();
                dims.iter().map(|dim| dim.as_const().map_or_else(|| params.get(&mut k, dim).get(), |c| (c as i32).into())).collect()
            }
        };
        for (symbol, value) in definition.symbols.iter().zip(new) {
            let place = symbols.iter().position(|(name, _)| name == symbol).expect("every symbol has a place");
            k.store(values, 4 * place as u32, value);
        }
        let mentions = |dim: &Dim| dim.symbols().iter().any(|s| definition.symbols.contains(s));
        write_sizes(&mut k, values, at, &symbols, &cx.sizes, &records, &mentions);
        cx.steps[definition.step].kernel = cx.kernel(k.finish());
    }
    let mut k = K::new("sizes");
    let (values, place) = (k.arena("symbols"), k.weights("records"));
    write_sizes(&mut k, values, place, &symbols, &cx.sizes, &records, &|_| true);
    let kernel = cx.kernel(k.finish());
    let args = vec![Arg::Buffer(at, 0), Arg::Records];
    let origin = vec!["free sizes".to_string()];
    cx.steps.insert(0, Step { kernel, args, tasks: 1, sequential: false, origin, macs: 0, reads: vec![at], writes: vec![], branch: None });
    cx.steps.iter_mut().filter_map(|step| step.branch.as_mut()).for_each(|branch| branch.target += 1);
    Free { symbols, found, at: Some(at), kept, sizes: cx.sizes.clone() }
}

/// Writes the sizes that `choose` wants, computed from the symbols' values, into the argument records.
fn write_sizes(
    k: &mut K,
    values: V<I32>,
    place: V<I32>,
    symbols: &[(Arc<str>, Bound)],
    sizes: &[Dim],
    records: &[(u32, SizeId)],
    choose: &dyn Fn(&Dim) -> bool,
) {
    let needed: Vec<Arc<str>> = sizes.iter().filter(|dim| choose(dim)).flat_map(Dim::symbols).collect();
    let mut known = vec![];
    for (i, (name, bound)) in symbols.iter().enumerate().filter(|(_, (name, _))| needed.contains(name)) {
        // Whatever a host wrote, no kernel leaves its tensors.
        let value = k.let_("value", load::<I32>(values, 4 * i as u32));
        let (least, most) = (bound.min as i32, bound.max.unwrap_or(bound.min) as i32);
        let value = k.let_("value", select::<I32>(i32_lt_s(value, least), least, value));
        known.push((name.clone(), k.let_("value", select::<I32>(i32_lt_s(most, value), most, value))));
    }
    let mut code = Code { k, symbols: known };
    let mut computed = vec![None; sizes.len()];
    for (i, dim) in sizes.iter().enumerate().filter(|(_, dim)| choose(dim)) {
        let value = dim.compute(&mut code);
        computed[i] = Some(code.k.let_("size", value));
    }
    for (record, id) in records {
        if let Some(size) = computed[id.0] {
            code.k.store(place, *record, size);
        }
    }
}

/// Adds a step that gives symbols their values. `begin` are tensors that later steps fill as far as the new sizes say, if at all.
pub fn define(cx: &mut Cx, symbols: Vec<Arc<str>>, values: Values, begin: &[View], origin: &[Arc<str>]) {
    let at = cx.symbols_at.clone().expect("a graph with symbols has a place for their values");
    let mut args = vec![at.arg_at(0), Arg::Records];
    match &values {
        Values::Measured(view) => args.push(view.arg_at(view.offset)),
        Values::Sizes(dims) => {
            let mut each: Vec<&Dim> = vec![];
            for dim in dims.iter().filter(|dim| !dim.is_const()) {
                if !each.contains(&dim) {
                    each.push(dim);
                }
            }
            args.extend(each.into_iter().map(|dim| cx.size(dim)));
        }
    }
    let buffer = |view: &View| if let Source::Buffer(id) = view.source { Some(id) } else { None };
    let read = if let Values::Measured(view) = &values { Some(view) } else { None };
    cx.definitions.push(Definition { step: cx.steps.len(), symbols, values: values.clone() });
    cx.steps.push(Step {
        // The code depends on all sizes of the plan: it is written in the end.
        kernel: KernelId(0),
        args,
        tasks: 1,
        sequential: false,
        origin: origin.iter().map(ToString::to_string).collect(),
        macs: 0,
        reads: std::iter::once(&at).chain(read).filter_map(buffer).collect(),
        writes: std::iter::once(&at).chain(begin).filter_map(buffer).collect(),
        branch: None,
    });
}

/// Adds a step that writes sizes into a tensor of `i64`.
pub fn sizes(cx: &mut Cx, dims: &[Dim], to: &View, origin: &[Arc<str>]) {
    let mut k = K::new(format!("sizes_{}", dims.len()));
    let y = pointer(&mut k, "y", to);
    let mut params = SizeParams::default();
    for (i, dim) in dims.iter().enumerate() {
        let value: E<I64> = match dim.as_const() {
            Some(c) => c.into(),
            None => i64_extend_i32_s(params.get(&mut k, dim)),
        };
        k.store(y, 8 * i as u32, value);
    }
    let mut args = vec![to.arg_at(0)];
    args.extend(params.dims().map(|dim| cx.size(dim)));
    cx.step(k.finish(), args, 1, 0, origin, &[to], &[]);
}

/// Adds a step that copies between the elements of `view` one after the other at the start of `dense`, and `view`.
pub fn copy(cx: &mut Cx, dense: &View, view: &View, to_dense: bool, origin: &[Arc<str>]) {
    // Nothing writes a tensor that has no element at any size.
    if view.elements() == 0 {
        return;
    }
    let extents = view.extents();
    let first = view.dense_from();
    let run: Dim = extents[first..].iter().map(Extent::dim).product::<Dim>() * view.dtype.bytes();
    let mut k = K::new(if to_dense { "copy_to_dense" } else { "copy_from_dense" });
    let (whole, parts) = (pointer(&mut k, "dense", dense), pointer(&mut k, "view", view));
    let mut params = SizeParams::default();
    let outer: Vec<Size> = extents[..first].iter().map(|e| params.size(&mut k, e)).collect();
    let run = match run.as_const() {
        Some(bytes) => E::from(bytes as i32),
        None => params.get(&mut k, &run).get(),
    };
    let cursor = k.let_("cursor", whole);
    let strides: Vec<i64> = view.strides[..first].iter().map(|s| s * view.dtype.bytes() as i64).collect();
    loops(&mut k, &outer, &[parts], &[strides], &mut |k, p| {
        let (to, from) = if to_dense { (cursor, p[0]) } else { (p[0], cursor) };
        k.copy(to, from, run.clone());
        k.set(cursor, cursor + run.clone());
    });
    let mut args = vec![dense.arg_at(0), view.arg_at(view.offset)];
    args.extend(params.dims().map(|dim| cx.size(dim)));
    cx.step(k.finish(), args, 1, 0, origin, &[if to_dense { dense } else { view }], &[]);
}

/// A place for the elements of `view` one after the other.
pub fn dense_place(cx: &mut Cx, view: &View, name: &str) -> View {
    let place = cx.temporary(name, view.dtype, &[view.elements()]);
    View { source: place.source, offset: 0, strides: View::dense(place.source, view.dtype, &view.shape).strides, ..view.clone() }
}

/// A copy of `view` whose elements lie one after the other.
pub fn dense(cx: &mut Cx, view: &View, name: &str, origin: &[Arc<str>]) -> View {
    let place = dense_place(cx, view, name);
    copy(cx, &place, view, true, origin);
    place
}

/// `input` under other dimensions: as it is where all strides stay constant, else in a copy.
pub fn reshaped(cx: &mut Cx, name: &str, input: &View, to: &[Extent], origin: &[Arc<str>]) -> View {
    if let Some(view) = input.reshaped(to) {
        return view;
    }
    let view = cx.tensor(name, input.dtype, to);
    if view.is_dense() {
        copy(cx, &view, input, true, origin);
    } else if input.is_dense() {
        copy(cx, input, &view, false, origin);
    } else {
        let dense = cx.temporary(&format!("{name} dense"), input.dtype, &view.shape);
        copy(cx, &dense, input, true, origin);
        copy(cx, &dense, &view, false, origin);
    }
    view
}
