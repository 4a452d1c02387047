//! Several groups at a time: each lane is a group, so that nothing is combined across lanes.

use super::{Known, Running, Work, finish, neutral, of_group};
use crate::extent::Size;
use crate::lanes::{Lanes, Pattern, load, store};
use crate::pointwise::{self, Hoisted};
use crate::write::nest::{loops, tiles};
use ir::algorithm::Stage;
use kernel::{E, I32, K, V};

/// A row of `size` groups; `row` are the strides from group to group.
pub fn groups(k: &mut K, work: &Work, size: Size, pointers: &[V<I32>], row: &[i64], dims: &[Size], strides: &[Vec<i64>]) {
    tiles(k, "group", size, 4 * work.unroll, |k, start, width| {
        let moved: Vec<V<I32>> =
            pointers.iter().zip(row).map(|(p, s)| if *s == 0 { *p } else { k.in_local("start", *p + start.clone() * *s as i32) }).collect();
        tile(k, work, width, &moved, row, dims, strides);
    });
}

/// Address of vector `v` and its number of lanes.
fn vector(pointer: V<I32>, stride: i64, v: usize, width: usize) -> (E<I32>, usize) {
    (pointer + (4 * v as i64 * stride) as i32, (width - 4 * v).min(4))
}

fn tile(k: &mut K, work: &Work, width: usize, pointers: &[V<I32>], row: &[i64], dims: &[Size], strides: &[Vec<i64>]) {
    let n_vectors = width.div_ceil(4);
    let mut results: Vec<Vec<Lanes>> = vec![vec![]; n_vectors];
    for (s, stage) in work.nest.stages.iter().enumerate() {
        let keep = work.kept.is_some() && s + 1 == work.nest.stages.len();
        let stage_results = reduce(k, work, stage, &results, pointers, (row, width), (dims, strides), keep);
        results.iter_mut().zip(stage_results).for_each(|(all, one)| all.push(one));
    }
    let last = pointers.len() - 1;
    let addresses = |pointers: &[V<I32>], v: usize| -> Vec<E<I32>> {
        pointers[1..].iter().zip(&row[1..]).map(|(p, s)| vector(*p, *s, v, width).0).collect()
    };
    // Values of operands that are the same for all groups may still differ between the elements of a group.
    if work.nest.per_group {
        for (v, results) in results.iter().enumerate() {
            let of_group_only = of_group(k, &work.nest.finish, &work.finish_types, results);
            let known = Known::new(k, work, of_group_only, &pointers[1..last], &row[1..last]);
            finish(k, work, &known, results.last().cloned(), results, &addresses(pointers, v), &row[1..], (width - 4 * v).min(4));
        }
        return;
    }
    let of_groups: Vec<_> = results.iter().map(|results| of_group(k, &work.nest.finish, &work.finish_types, results)).collect();
    loops(k, dims, pointers, strides, &mut |k, pointers| {
        let element = Known::new(k, work, Hoisted::default(), &pointers[1..last], &row[1..last]);
        for (v, results) in results.iter().enumerate() {
            let mut known = Known { finish: of_groups[v].clone(), fixed: element.fixed.clone(), epilogue: element.epilogue.clone() };
            let at = addresses(pointers, v);
            let n = (width - 4 * v).min(4);
            let x = match work.kept {
                Some(step) => {
                    let kept = load(k, work.output, at[at.len() - 1].clone(), 0, Pattern::of(row[last], work.output.bytes()), n);
                    known.finish = known.finish.with(step, kept);
                    None
                }
                None => {
                    let (at, n) = vector(pointers[0], row[0], v, width);
                    Some(load(k, work.types[0], at, 0, Pattern::of(row[0], work.types[0].bytes()), n))
                }
            };
            finish(k, work, &known, x, results, &at, &row[1..], n);
        }
    });
}

/// One stage for the groups of each vector.
fn reduce(
    k: &mut K,
    work: &Work,
    stage: &Stage,
    results: &[Vec<Lanes>],
    pointers: &[V<I32>],
    (row, width): (&[i64], usize),
    (dims, strides): (&[Size], &[Vec<i64>]),
    keep: bool,
) -> Vec<Lanes> {
    let types = &work.types[..=results[0].len()];
    let dtype = work.types[results[0].len() + 1];
    let nothing = neutral(k, stage.combine, dtype);
    let hoisted: Vec<_> = results.iter().map(|results| of_group(k, &stage.body, types, results)).collect();
    let sums: Vec<Running> = results.iter().map(|_| Running::new(k, stage.combine, dtype, nothing.clone())).collect();
    let ends = [0, pointers.len() - 1];
    let used = if keep { 2 } else { 1 };
    let starts: Vec<V<I32>> = ends[..used].iter().map(|i| pointers[*i]).collect();
    let steps: Vec<Vec<i64>> = ends[..used].iter().map(|i| strides[*i].clone()).collect();
    if dims.iter().all(|d| d.most > 0) {
        loops(k, dims, &starts, &steps, &mut |k, p| {
            for (v, sum) in sums.iter().enumerate() {
                let (at, n) = vector(p[0], row[0], v, width);
                let mut args = vec![load(k, work.types[0], at, 0, Pattern::of(row[0], work.types[0].bytes()), n)];
                args.extend(results[v].iter().cloned());
                let mut value = pointwise::emit_after(k, &stage.body, types, &args, &hoisted[v]);
                if keep {
                    value = value.bind(k);
                    let stride = row[ends[1]];
                    let pattern = if n == 1 { Pattern::Contiguous } else { Pattern::of(stride, work.output.bytes()) };
                    store(k, work.output, vector(p[1], stride, v, width).0, 0, pattern, n, value.clone());
                }
                sum.add(k, value);
            }
        });
    }
    sums.iter().map(|sum| sum.get(k)).collect()
}
