//! Maximum pooling of bytes whose channels lie side by side: sixteen channels of a position at a time.

use super::loops::{Tasks, for_rows};
use super::{Cursor, Nest, bytes};
use crate::cx::{Cx, NodeCx, new_kernel};
use ir::DType;
use ir::algorithm::{Axis, Combine};
use ir::tensor::indices;
use kernel::{E, I8x16, I32, i8x16_max_s, i8x16_max_u, i32_lt_u, load, select};

/// Channels of a vector.
const GROUP: usize = 16;
/// Largest window: all taps are written out.
const MOST_TAPS: usize = 49;

/// The axis of the channels, if the nest has this form.
pub fn channel(nest: &Nest) -> Option<Axis> {
    let plain = nest.window.w.is_none() && nest.window.combine == Combine::Max && nest.epilogue().is_identity();
    let side_by_side = |axis: &Axis| nest.x.stride(*axis) == 1 && nest.out.stride(*axis) == 1;
    let channel = nest.parallel.iter().copied().find(side_by_side)?;
    let forwards = nest.parallel.iter().chain(&nest.reduced).all(|axis| nest.x.stride(*axis) >= 0);
    let is_byte = matches!(nest.x.view.dtype, DType::U8 | DType::I8);
    (plain && forwards && is_byte && nest.extents[channel] >= GROUP && nest.product(&nest.reduced) <= MOST_TAPS).then_some(channel)
}

pub fn write(cx: &mut Cx, nest: &Nest, nx: &NodeCx, channel: Axis) {
    let rows: Vec<Axis> = nest.parallel.iter().copied().filter(|a| *a != channel).collect();
    let tasks = Tasks::of_rows(nest.product(&rows), nest.tasks_wanted(cx));
    let channels = nest.extents[channel];
    let mut k = new_kernel(nest.name(&format!("c{channels}")), &cx.options);
    let (x, out) = (nest.x.param(&mut k, "x"), nest.out.param(&mut k, "out"));
    let extents: Vec<usize> = nest.reduced.iter().map(|a| nest.extents[*a]).collect();
    let taps: Vec<i64> =
        indices(&extents).map(|tap| nest.reduced.iter().zip(&tap).map(|(a, t)| nest.x.step(*a) * *t as i64).sum()).collect();
    for_rows(&mut k, nest, &rows, None, &tasks, |k, row| {
        let x = Cursor { place: &nest.x, at: x }.moved(k, "at_row", row).at;
        let out = Cursor { place: &nest.out, at: out }.moved(k, "at_row", row).at;
        k.for_("channel", 0, channels.next_multiple_of(GROUP), GROUP as u32, |k, first| {
            let channel: E<I32> = if channels.is_multiple_of(GROUP) {
                first.get()
            } else {
                // The last vector reaches back rather than beyond the end.
                let last = (channels - GROUP) as i32;
                select::<I32>(i32_lt_u(first, last), first, last)
            };
            let channel = k.in_local("first", channel);
            let from = k.let_("from", x + channel);
            let read = |at: i64| load::<I8x16>(from + bytes(at), 0);
            let largest = taps[1..].iter().fold(read(taps[0]), |most, tap| {
                if nest.x.view.dtype == DType::U8 { i8x16_max_u(most, read(*tap)) } else { i8x16_max_s(most, read(*tap)) }
            });
            k.store(out + channel, 0, largest);
        });
    });
    cx.step(k.finish(), vec![nest.x.arg(), nest.out.arg()], tasks.count(), 0, nx.origin, &[&nest.out.view], &[]);
}
