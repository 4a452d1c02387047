//! Writes [`ir::algorithm::routine::Routine`]: a kernel that passes addresses on, of a descriptor among the weights, of the tensors
//! and of scratch memory. The code is in the crate `routines`.

use crate::LowerError;
use crate::cx::{Cx, NodeCx};
use crate::plan::{Arg, WeightId};
use crate::view::View;
use crate::write::shuffle;
use ir::DType;
use ir::algorithm::routine::Routine;
use ir::ops::routine::routine_dtype;
use kernel::{Const, Expr, I32, K, V};
use routines::frame::{ADDRESSES, Shape, encode};

pub fn write(cx: &mut Cx, nx: &NodeCx, routine: &Routine) -> Result<(), LowerError> {
    let bug = |what: &str| LowerError::Bug { layer: nx.name.clone(), what: format!("{}: {what}", routine.name) };
    let first = usize::from(routine.passes);
    let mut inputs = vec![];
    for i in first..nx.inputs.len() {
        let view = nx.input(cx, i);
        inputs.push(if view.is_dense() { view } else { dense_copy(cx, nx, &view)? });
    }
    let outputs: &[View] = if routine.passes { &[] } else { &nx.outputs };
    if !outputs.iter().all(View::is_dense) {
        return Err(bug("an output is not dense"));
    }
    let row = routines::find(routine.name).ok_or_else(|| bug("is not in the table"))?;
    let shapes = |views: &'_ [View]| -> Vec<Vec<usize>> { views.iter().map(|v| v.shape.clone()).collect() };
    let (from, to) = (shapes(&inputs), shapes(outputs));
    let (from, to): (Vec<&[usize]>, Vec<&[usize]>) = (from.iter().map(|s| &s[..]).collect(), to.iter().map(|s| &s[..]).collect());
    let words = (row.scratch)(&routines::Shapes { inputs: &from, outputs: &to, ints: &routine.ints });
    let descriptor = descriptor(cx, nx, routine, &inputs, outputs, words);

    let mut views: Vec<View> = inputs.iter().chain(outputs).cloned().collect();
    let mut writes: Vec<View> = outputs.to_vec();
    if words > 0 {
        let scratch = cx.temporary(&format!("{} scratch", nx.name), DType::I64, &[words]);
        views.push(scratch.clone());
        writes.push(scratch);
    }
    if views.len() > ADDRESSES {
        return Err(bug("it has too many tensors"));
    }
    let mut k = K::new(format!("routine_{}", routine.name));
    let at = k.weights("descriptor");
    let mut pointers = vec![];
    let mut args = vec![Arg::Weight(descriptor, 0)];
    for (i, view) in views.iter().enumerate() {
        // Of an empty tensor nothing is read, and nothing may have written it: its address is never used.
        let view = outputs.first().filter(|_| view.elements() == 0).unwrap_or(view);
        pointers.push(crate::cx::pointer(&mut k, &format!("t{i}"), view));
        args.push(view.arg_at(0));
    }
    call(&mut k, routine.name, at, &pointers);
    cx.step(k.finish(), args, 1, 0, nx.origin, &writes.iter().collect::<Vec<_>>(), &[]);
    Ok(())
}

/// Calls a routine with its descriptor and the addresses of its tensors.
pub fn call(k: &mut K, name: &str, descriptor: V<I32>, tensors: &[V<I32>]) {
    let mut addresses: Vec<Expr> = [&[descriptor], tensors].concat().iter().map(|v| Expr::Local(v.local())).collect();
    addresses.resize(ADDRESSES + 1, Expr::Const(Const::I32(0)));
    k.call(name, addresses);
}

/// The descriptor of a routine that reads one element and fails.
pub fn failure(cx: &mut Cx, nx: &NodeCx, name: &str, dtype: DType) -> Arg {
    let mut bytes = vec![];
    let element = Shape { dtype: routine_dtype(dtype), dims: &[] };
    encode(&[element], &[], &[], &[], 0, &mut |part| bytes.extend_from_slice(part));
    Arg::Weight(cx.weight(&format!("{name} of {}", nx.name), bytes, nx.origin), 0)
}

fn dense_copy(cx: &mut Cx, nx: &NodeCx, view: &View) -> Result<View, LowerError> {
    let copy = cx.temporary(&format!("{} dense", nx.name), view.dtype, &view.shape);
    shuffle::copy(cx, view, &copy, nx.origin)?;
    Ok(copy)
}

fn descriptor(cx: &mut Cx, nx: &NodeCx, routine: &Routine, inputs: &[View], outputs: &[View], scratch_words: usize) -> WeightId {
    let mut bytes = vec![];
    let inputs: Vec<Shape> = inputs.iter().map(shape).collect();
    let outputs: Vec<Shape> = outputs.iter().map(shape).collect();
    encode(&inputs, &outputs, &routine.ints, &routine.floats, scratch_words, &mut |part| bytes.extend_from_slice(part));
    cx.weight(&format!("{} of {}", routine.name, nx.name), bytes, nx.origin)
}

fn shape(view: &View) -> Shape<'_> {
    Shape { dtype: routine_dtype(view.dtype), dims: &view.shape }
}
