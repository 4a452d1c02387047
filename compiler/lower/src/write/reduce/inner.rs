//! One group at a time: the lanes are elements of the group, combined with each other at the end of each stage.

use super::{Known, Running, Work, finish, function, neutral, of_group};
use crate::extent::Size;
use crate::lanes::{Lanes, Pattern, load, store};
use crate::pointwise::{self, binary};
use crate::write::map::unroll;
use crate::write::nest::{loops, vectors};
use ir::DType;
use ir::algorithm::Stage;
use kernel::{I32, K, V, i32x4_const, shuffle32, shuffle64};

/// Pointers are those of the element, the epilogue's operands and the output, at the group's start.
pub fn group(k: &mut K, work: &Work, pointers: &[V<I32>], dims: &[Size], strides: &[Vec<i64>]) {
    let (size, rows) = dims.split_last().expect("at least one dimension");
    let mut results: Vec<Lanes> = vec![];
    for (s, stage) in work.nest.stages.iter().enumerate() {
        let keep = work.kept.is_some() && s + 1 == work.nest.stages.len();
        let result = reduce(k, work, stage, &results, pointers, (rows, *size), strides, keep);
        results.push(result);
    }
    let last = pointers.len() - 1;
    let lane_strides: Vec<i64> = strides.iter().map(|s| s[rows.len()]).collect();
    let of_group_only = of_group(k, &work.nest.finish, &work.finish_types, &results);
    if work.nest.per_group {
        let known = Known::new(k, work, of_group_only, &pointers[1..last], &lane_strides[1..last]);
        let at: Vec<_> = pointers[1..].iter().map(|p| p.get()).collect();
        return finish(k, work, &known, results.last().cloned(), &results, &at, &lane_strides[1..], 1);
    }
    // The element itself is read, or what the last stage left in the output.
    let source = if work.kept.is_some() { last } else { 0 };
    let dtype = if work.kept.is_some() { work.output } else { work.types[0] };
    let pattern = Pattern::of(lane_strides[source], dtype.bytes());
    loops(k, rows, pointers, strides, &mut |k, pointers| {
        let known = Known::new(k, work, of_group_only.clone(), &pointers[1..last], &lane_strides[1..last]);
        vectors(k, *size, work.unroll, pointers, &lane_strides, |k, _, at, n| {
            let x = load(k, dtype, at[source].clone(), 0, pattern, n);
            match work.kept {
                Some(step) => {
                    let known = Known { finish: known.finish.with(step, x), fixed: known.fixed.clone(), epilogue: known.epilogue.clone() };
                    finish(k, work, &known, None, &results, &at[1..], &lane_strides[1..], n);
                }
                None => finish(k, work, &known, Some(x), &results, &at[1..], &lane_strides[1..], n),
            }
        });
    });
}

/// One stage: its result in every lane. With `keep` the body's values go to the output.
fn reduce(
    k: &mut K,
    work: &Work,
    stage: &Stage,
    results: &[Lanes],
    pointers: &[V<I32>],
    (rows, size): (&[Size], Size),
    strides: &[Vec<i64>],
    keep: bool,
) -> Lanes {
    let types = &work.types[..=results.len()];
    let dtype = work.types[results.len() + 1];
    let f = function(stage.combine);
    let hoisted = of_group(k, &stage.body, types, results);
    let nothing = neutral(k, stage.combine, dtype);
    let unroll = unroll(&stage.body).min(size.most.div_ceil(4)).max(1);
    let sums: Vec<Running> = (0..unroll).map(|_| Running::new(k, stage.combine, dtype, nothing.clone())).collect();
    let ends = [0, pointers.len() - 1];
    let lane_strides = ends.map(|i| strides[i][rows.len()]);
    let pattern = Pattern::of(lane_strides[0], work.types[0].bytes());
    let group: usize = rows.iter().map(|d| d.most).product::<usize>() * size.most;
    if group > 0 {
        loops(k, rows, &ends.map(|i| pointers[i]), &ends.map(|i| strides[i].clone()), &mut |k, p| {
            let (p, s) = if keep { (p, &lane_strides[..]) } else { (&p[..1], &lane_strides[..1]) };
            vectors(k, size, unroll, p, s, |k, v, at, n| {
                let mut args = vec![load(k, work.types[0], at[0].clone(), 0, pattern, n)];
                args.extend(results.iter().cloned());
                let mut value = pointwise::emit_after(k, &stage.body, types, &args, &hoisted);
                if keep {
                    value = value.bind(k);
                    let pattern = if n == 1 { Pattern::Contiguous } else { Pattern::of(lane_strides[1], work.output.bytes()) };
                    store(k, work.output, at[1].clone(), 0, pattern, n, value.clone());
                }
                if n < 4 {
                    let valid = i32x4_const(std::array::from_fn(|i| if i < n { -1 } else { 0 }));
                    value = pointwise::select(k, valid, value, nothing.clone());
                }
                sums[v].add(k, value);
            });
        });
    }
    let sums: Vec<Lanes> = sums.iter().map(|sum| sum.get(k)).collect();
    let total = sums.into_iter().reduce(|total, sum| binary(k, f, dtype, total, sum)).expect("at least one");
    across(k, f, dtype, total)
}

/// Combines the lanes; the result is in all of them.
fn across(k: &mut K, f: ir::pointwise::Fn, dtype: DType, x: Lanes) -> Lanes {
    let swaps: [[u8; 4]; 2] = [[2, 3, 0, 1], [1, 0, 3, 2]];
    swaps.into_iter().fold(x.bind(k), |x, swap| {
        let other = swapped(&x, swap);
        binary(k, f, dtype, x, other).bind(k)
    })
}

fn swapped(x: &Lanes, swap: [u8; 4]) -> Lanes {
    // Halves of wide values change places, or the lanes within each half.
    let within = [swap[0] % 2, swap[1] % 2];
    match x {
        Lanes::F32(x) => Lanes::F32(shuffle32(swap, x, x)),
        Lanes::I32(x) => Lanes::I32(shuffle32(swap, x, x)),
        Lanes::Mask(x) => Lanes::Mask(shuffle32(swap, x, x)),
        Lanes::I64([a, b]) if swap[0] == 2 => Lanes::I64([b.clone(), a.clone()]),
        Lanes::F64([a, b]) if swap[0] == 2 => Lanes::F64([b.clone(), a.clone()]),
        Lanes::I64(x) => Lanes::I64(x.clone().map(|x| shuffle64(within, &x, &x))),
        Lanes::F64(x) => Lanes::F64(x.clone().map(|x| shuffle64(within, &x, &x))),
    }
}
