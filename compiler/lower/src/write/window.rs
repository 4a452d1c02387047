//! Writes [`ir::algorithm::Window`]: depthwise convolution and pooling. The operand has a margin where taps reach
//! outside of it, so that no kernel has border branches. `channels.rs` is the fast form of floats, `bytes.rs` and
//! `maximum.rs` are those of bytes, `general.rs` all others.

use crate::LowerError;
use crate::cx::{Cx, NodeCx, pointer};
use crate::plan::{Arg, Method};
use crate::pointwise;
use crate::view::{Linear, View, linear};
use ir::algorithm::{Affine, Axis, Combine, Contract, Window};
use ir::ops::contract::sum_type;
use ir::pointwise::Fn;
use ir::{DType, Pointwise};
use kernel::{E, I32, K, V};

mod bytes;
mod channels;
mod general;
mod loops;
mod maximum;
mod quads;

pub fn write(cx: &mut Cx, nx: &NodeCx, window: &Window) -> Result<(), LowerError> {
    let nest = Nest::new(cx, nx, window)?;
    if nest.extents.contains(&0) {
        return Ok(());
    }
    cx.method = window.w.is_some().then_some(Method::Depthwise);
    if let Some(channel) = maximum::channel(&nest) {
        maximum::write(cx, &nest, nx, channel);
        return Ok(());
    }
    if let Some(form) = bytes::Bytes::of(&nest, nx) {
        form.write(cx, &nest, nx);
        return Ok(());
    }
    match channels::Channels::of(&nest, nx) {
        Some(form) => {
            form.write(cx, &nest, nx);
            Ok(())
        }
        None => general::write(cx, &nest, nx),
    }
}

/// A contraction of any element type, read where it lies: sums of integers wrap, those of 16-bit floats are rounded once.
pub fn write_products(cx: &mut Cx, nx: &NodeCx, contract: &Contract) -> Result<(), LowerError> {
    let Contract { axes, a, b, out, epilogue } = contract.clone();
    let window = Window { axes, x: a, w: Some(b), combine: Combine::Sum, out, epilogue };
    let mut nest = Nest::new(cx, nx, &window)?;
    if nest.parallel.iter().any(|axis| nest.extents[*axis] == 0) {
        return Ok(());
    }
    if nest.extents.contains(&0) {
        nest.x = nest.x.unread(&nest.out);
    }
    general::write(cx, &nest, nx)
}

/// The nest with all indices resolved to addresses.
struct Nest<'a> {
    window: &'a Window,
    extents: Vec<usize>,
    /// The axes of the output, and those that are combined, both in order.
    parallel: Vec<Axis>,
    reduced: Vec<Axis>,
    x: Place,
    out: Place,
    operands: Vec<Place>,
    /// Type of the combination: that of the operand, or of sums of products.
    sum: DType,
    /// Types of the result and the operands: the epilogue's arguments.
    types: Vec<DType>,
}

impl<'a> Nest<'a> {
    fn new(cx: &mut Cx, nx: &NodeCx, window: &'a Window) -> Result<Nest<'a>, LowerError> {
        let extents: Vec<usize> = window.axes.iter().map(|d| d.as_const().expect("sizes are bound") as usize).collect();
        let is_parallel = |axis: &Axis| window.out.iter().any(|affine| affine.coefficient(*axis) != 0);
        let (parallel, reduced) = (0..extents.len()).partition(is_parallel);
        let mut place = |index: &[Affine], operand: usize| Place::new(nx.input(cx, operand), index, &extents);
        let x = place(&window.x.index, window.x.operand);
        let operands: Vec<Place> = window.epilogue.operands.iter().map(|a| place(&a.index, a.operand)).collect();
        let out = Place::new(nx.output.clone(), &window.out, &extents);
        let sum = match &window.w {
            Some(w) => sum_type(x.view.dtype, nx.inputs[w.operand].dtype).expect("the operator has checked its operands"),
            None => x.view.dtype,
        };
        let types: Vec<DType> = std::iter::once(sum).chain(operands.iter().map(|o| o.view.dtype)).collect();
        let nest = Nest { window, extents, parallel, reduced, x, out, operands, sum, types };
        pointwise::supported(nest.epilogue(), &nest.types).map_err(|what| LowerError::Unsupported { layer: nx.name.clone(), what })?;
        Ok(nest)
    }

    fn epilogue(&self) -> &Pointwise {
        &self.window.epilogue.body
    }

    fn product(&self, axes: &[Axis]) -> usize {
        axes.iter().map(|a| self.extents[*a]).product()
    }

    /// Multiply-accumulates of the whole nest; pooling has none.
    fn macs(&self) -> u64 {
        if self.window.w.is_some() { self.work() } else { 0 }
    }

    /// Combinations of the whole nest.
    fn work(&self) -> u64 {
        self.extents.iter().map(|e| *e as u64).product()
    }

    /// How many tasks are wanted: so few that each is worth its call, and so many that a large layer is called often
    /// enough to be compiled well within its first run.
    fn tasks_wanted(&self, cx: &Cx) -> usize {
        const MIN_TASKS: u64 = 8;
        const SMALL: u64 = 1 << 16;
        let work = self.work();
        let tasks = work.div_ceil(cx.options.macs_per_task.max(1));
        (if work > SMALL { tasks.max(MIN_TASKS) } else { tasks }) as usize
    }

    /// `depthwise_f32_3x3_c144_w28`, and the functions of the epilogue.
    fn name(&self, form: &str) -> String {
        let functions: String = self.epilogue().steps.iter().map(|step| format!("_{}", step.f.name())).collect();
        self.short_name(form) + &functions
    }

    /// `depthwise_f32_3x3_c144_w28`
    fn short_name(&self, form: &str) -> String {
        let kind = match (&self.window.w, self.window.combine) {
            (Some(_), _) => "depthwise",
            (None, Combine::Max) => "maxpool",
            (None, Combine::Min) => "minpool",
            (None, Combine::Sum) => "sumpool",
            (None, Combine::Product) => "productpool",
        };
        let taps: Vec<String> = self.reduced.iter().map(|a| self.extents[*a].to_string()).collect();
        format!("{kind}_{}_{}_{form}", self.x.view.dtype, taps.join("x"))
    }
}

/// The function that combines two values.
fn combine_fn(combine: Combine) -> Fn {
    match combine {
        Combine::Sum => Fn::Add,
        Combine::Product => Fn::Mul,
        Combine::Min => Fn::Min,
        Combine::Max => Fn::Max,
    }
}

/// A tensor as the nest addresses it.
struct Place {
    view: View,
    linear: Linear,
}

impl Place {
    fn new(view: View, index: &[Affine], extents: &[usize]) -> Place {
        let mut linear = linear(&view, index, extents.len());
        // An axis of one element has no stride.
        linear.strides.iter_mut().zip(extents).filter(|(_, e)| **e == 1).for_each(|(s, _)| *s = 0);
        Place { view, linear }
    }

    /// The place of an operand without elements, which sums of nothing do not read and nobody wrote: that of the result.
    fn unread(&self, out: &Place) -> Place {
        let view = View { dtype: self.view.dtype, ..out.view.clone() };
        Place { view, linear: Linear { base: 0, strides: vec![0; self.linear.strides.len()] } }
    }

    /// Elements from one index of an axis to the next.
    fn stride(&self, axis: Axis) -> i64 {
        self.linear.strides[axis]
    }

    /// Bytes from one index of an axis to the next.
    fn step(&self, axis: Axis) -> i64 {
        self.stride(axis) * self.view.dtype.bytes() as i64
    }

    fn arg(&self) -> Arg {
        self.view.arg_at(self.linear.base)
    }

    fn param(&self, k: &mut K, name: &str) -> V<I32> {
        pointer(k, name, &self.view)
    }
}

/// A tensor whose address is known in a part of the kernel.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    place: &'a Place,
    at: V<I32>,
}

impl Cursor<'_> {
    /// The cursor moved along axes.
    fn moved(self, k: &mut K, name: &str, by: &[(Axis, E<I32>)]) -> Self {
        let mut address = self.at.get();
        for (axis, index) in by {
            address = address + index.clone() * bytes(self.place.step(*axis));
        }
        Cursor { at: k.in_local(name, address), ..self }
    }
}

/// A distance in bytes as a constant of address arithmetic.
fn bytes(n: i64) -> i32 {
    i32::try_from(n).expect("distances inside a tensor fit in 31 bits")
}
