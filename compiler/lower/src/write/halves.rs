//! Constants of `f32` that are numbers of `f16`, too, as `--weights f16` makes them, are stored as such: in half the bytes,
//! and nothing is lost. A step expands them, once where `once.rs` can arrange that.

use crate::cx::{Cx, pointer};
use crate::lanes::{self, Pattern};
use crate::plan::Arg;
use crate::view::{Source, View};
use ir::ops::map::scalar::cast;
use ir::{DType, Tensor};
use kernel::{I32, K, i32_lt_u, select};
use std::sync::Arc;

/// Fewer numbers stay as they are.
const LEAST: usize = 256;
/// Numbers that one task expands.
const PER_TASK: usize = 4096;
/// And one iteration.
const AT_ONCE: usize = 8;
/// Bits of an `f32` that no normal `f16` has.
const FINE: u32 = 0x1fff;

/// Stores the bytes of packed `f32` constants; where the numbers lie.
pub fn constant(cx: &mut Cx, name: &str, bytes: Vec<u8>, origin: &[Arc<str>]) -> View {
    let Some(halves) = halves(&bytes).filter(|_| cx.options.halves) else {
        return View::dense(Source::Weight(cx.weight(name, bytes, origin)), DType::F32, &[0]);
    };
    let count = halves.len();
    let stored = View::dense(Source::Weight(cx.weight(name, halves.bytes().to_vec(), origin)), DType::F16, &[0]);
    let expanded = cx.temporary(&format!("{name} expanded"), DType::F32, &[count]);
    let mut k = K::new("expand_f16");
    let (from, to, end) = (pointer(&mut k, "from", &stored), pointer(&mut k, "to", &expanded), k.scalar("count"));
    let start = k.let_("start", k.task() * PER_TASK as i32);
    let here = k.let_("end", start + PER_TASK as i32);
    let here = k.let_("end", select::<I32>(i32_lt_u(here, end), here, end));
    k.for_("i", start, here, AT_ONCE as u32, |k, i| {
        let source = k.let_("source", from + i * 2);
        let target = k.let_("target", to + i * 4);
        for at in (0..AT_ONCE as u32).step_by(4) {
            let value = lanes::load(k, DType::F16, source, 2 * at, Pattern::Contiguous, 4);
            lanes::store(k, DType::F32, target, 4 * at, Pattern::Contiguous, 4, value);
        }
    });
    let args = vec![stored.arg_at(0), expanded.arg_at(0), Arg::Scalar(count as i32)];
    cx.step(k.finish(), args, count.div_ceil(PER_TASK) as u32, 0, owner(origin), &[&expanded], &[]);
    expanded
}

/// The layer that weights belong to: the first of those that a step computes.
pub fn owner(origin: &[Arc<str>]) -> &[Arc<str>] {
    &origin[..origin.len().min(1)]
}

/// The numbers as `f16`, filled up with zeros to whole iterations, if none changes by that.
fn halves(bytes: &[u8]) -> Option<Tensor> {
    let bits = || bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    if bytes.len() < 4 * LEAST || bits().any(|b| b & FINE != 0) {
        return None;
    }
    let mut numbers: Vec<f32> = bits().map(f32::from_bits).collect();
    numbers.resize(numbers.len().next_multiple_of(AT_ONCE), 0.0);
    let numbers = Tensor::new(&[numbers.len()], &numbers);
    let halves = cast(&numbers, DType::F16);
    (cast(&halves, DType::F32).bytes() == numbers.bytes()).then_some(halves)
}
