//! Writes [`ir::algorithm::routine::Routine`]: a kernel that passes addresses on, of a descriptor among the weights, of the tensors
//! and of scratch memory. The code is in the crate `routines`.

use crate::LowerError;
use crate::cx::{Cx, NodeCx};
use crate::extent::SizeParams;
use crate::plan::Arg;
use crate::view::{Source, View};
use crate::write::{free, shuffle};
use ir::DType;
use ir::algorithm::routine::Routine;
use ir::ops::routine::routine_dtype;
use kernel::{Const, Expr, I32, K, V};
use routines::frame::{ADDRESSES, HEAD_BYTES, Shape, encode};

pub fn write(cx: &mut Cx, nx: &NodeCx, routine: &Routine) -> Result<(), LowerError> {
    let bug = |what: &str| LowerError::Bug { layer: nx.name.clone(), what: format!("{}: {what}", routine.name) };
    let first = usize::from(routine.passes);
    let mut inputs = vec![];
    for i in first..nx.inputs.len() {
        let view = nx.input(cx, i);
        inputs.push(match view.is_dense() {
            true => view,
            false if !view.free.is_empty() => free::dense(cx, &view, &format!("{} dense", nx.name), nx.origin),
            false => dense_copy(cx, nx, &view)?,
        });
    }
    // Of free sizes, a routine's outputs are computed where they lie densely.
    let results: &[View] = if routine.passes { &[] } else { &nx.outputs };
    let mut outputs = vec![];
    for view in results {
        outputs.push(match view.is_dense() {
            true => view.clone(),
            false if !view.free.is_empty() => free::dense_place(cx, view, &format!("{} dense", nx.name)),
            false => return Err(bug("an output is not dense")),
        });
    }
    let outputs = &outputs[..];
    let row = routines::find(routine.name).ok_or_else(|| bug("is not in the table"))?;
    let shapes = |views: &'_ [View]| -> Vec<Vec<usize>> { views.iter().map(|v| v.shape.clone()).collect() };
    let (from, to) = (shapes(&inputs), shapes(outputs));
    let (from, to): (Vec<&[usize]>, Vec<&[usize]>) = (from.iter().map(|s| &s[..]).collect(), to.iter().map(|s| &s[..]).collect());
    let words = (row.scratch)(&routines::Shapes { inputs: &from, outputs: &to, ints: &routine.ints });
    let bytes = descriptor(routine, &inputs, outputs, words);
    let is_free = inputs.iter().chain(outputs).any(|v| !v.free.is_empty());
    let at = match is_free {
        true => cx.temporary(&format!("{} descriptor", nx.name), DType::I64, &[bytes.len().div_ceil(8)]),
        false => {
            let id = cx.weight(&format!("{} of {}", routine.name, nx.name), bytes.clone(), nx.origin);
            View::dense(Source::Weight(id), DType::I64, &[0])
        }
    };

    let mut views: Vec<View> = inputs.iter().chain(outputs).cloned().collect();
    let mut writes: Vec<View> = outputs.to_vec();
    let tensors = views.clone();
    if is_free {
        writes.push(at.clone());
    }
    if words > 0 {
        let scratch = cx.temporary(&format!("{} scratch", nx.name), DType::I64, &[words]);
        views.push(scratch.clone());
        writes.push(scratch);
    }
    if views.len() > ADDRESSES {
        return Err(bug("it has too many tensors"));
    }
    let mut k = K::new(format!("routine_{}", routine.name));
    let mut pointers = vec![];
    let mut args = vec![at.arg_at(0)];
    let at = crate::cx::pointer(&mut k, "descriptor", &at);
    for (i, view) in views.iter().enumerate() {
        // Of an empty tensor nothing is read, and nothing may have written it: its address is never used.
        let view = outputs.first().filter(|_| view.elements() == 0).unwrap_or(view);
        pointers.push(crate::cx::pointer(&mut k, &format!("t{i}"), view));
        args.push(view.arg_at(0));
    }
    if is_free {
        let mut sizes = SizeParams::default();
        write_descriptor(&mut k, at, &bytes, routine, &tensors, &mut sizes);
        args.extend(sizes.dims().map(|dim| cx.size(dim)));
    }
    call(&mut k, routine.name, at, &pointers);
    cx.step(k.finish(), args, 1, 0, nx.origin, &writes.iter().collect::<Vec<_>>(), &[]);
    for (dense, view) in outputs.iter().zip(results).filter(|(dense, view)| dense.source != view.source) {
        free::copy(cx, dense, view, false, nx.origin);
    }
    Ok(())
}

/// Stores a descriptor in which some sizes are only known at run time.
fn write_descriptor(k: &mut K, at: V<I32>, bytes: &[u8], routine: &Routine, tensors: &[View], sizes: &mut SizeParams) {
    for (i, word) in bytes.chunks_exact(4).enumerate() {
        let word = i32::from_le_bytes(word.try_into().expect("four bytes"));
        k.store::<I32>(at, 4 * i as u32, word);
    }
    let mut tensor = (HEAD_BYTES + 8 * (routine.ints.len() + routine.floats.len())) as u32;
    for view in tensors {
        for (d, dim) in &view.free {
            let size = sizes.get(k, dim);
            k.store(at, tensor + 8 + 4 * *d as u32, size);
        }
        tensor += 8 + 4 * view.shape.len() as u32;
    }
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

/// Fails unless a number, an `i64`, is at most so large.
pub fn check_at_most(cx: &mut Cx, nx: &NodeCx, number: &View, most: usize) -> Result<(), LowerError> {
    let more = cx.constant("more", &ir::Tensor::scalar(ir::B8(1)), nx.origin);
    let check = NodeCx {
        inputs: vec![number.clone(), number.clone(), more],
        constants: vec![None; 3],
        output: number.clone(),
        outputs: vec![],
        origin: nx.origin,
        name: nx.name.clone(),
        winograd: false,
    };
    write(cx, &check, &Routine { name: "check_trips", ints: vec![most as i64 + 1], floats: vec![], passes: true })
}

fn dense_copy(cx: &mut Cx, nx: &NodeCx, view: &View) -> Result<View, LowerError> {
    let copy = cx.temporary(&format!("{} dense", nx.name), view.dtype, &view.shape);
    shuffle::copy(cx, view, &copy, nx.origin)?;
    Ok(copy)
}

fn descriptor(routine: &Routine, inputs: &[View], outputs: &[View], scratch_words: usize) -> Vec<u8> {
    let mut bytes = vec![];
    let inputs: Vec<Shape> = inputs.iter().map(shape).collect();
    let outputs: Vec<Shape> = outputs.iter().map(shape).collect();
    encode(&inputs, &outputs, &routine.ints, &routine.floats, scratch_words, &mut |part| bytes.extend_from_slice(part));
    bytes
}

fn shape(view: &View) -> Shape<'_> {
    Shape { dtype: routine_dtype(view.dtype), dims: &view.shape }
}
