//! Steps whose kernels differ in sizes only call one kernel, which gets the sizes as arguments. There is less code to compile, and an
//! engine that optimises what is called often has optimised a kernel by the time that later layers need it.

use crate::plan::{Arg, Free, KernelId, Plan};
use kernel::{CodeKey, Kernel, Sizes};
use std::collections::HashMap;

/// Parameters that a shared kernel may have beside its own.
const MOST_SIZES: usize = 64;

/// A step's kernels, one of each plan.
type Kernels = Vec<KernelId>;

/// What becomes parameters of a shared kernel.
struct Differences {
    /// By position in the code the number of the size that is given there, if the members differ.
    chosen: Vec<Option<usize>>,
    /// The sizes: a value for each member.
    sizes: Vec<Vec<i32>>,
}

/// Shares kernels within each of `plans`, which differ in nothing but kernels: their argument records stay the same. Not where a step
/// writes sizes into the records: it knows their places.
pub fn share(plans: &mut [Plan]) {
    let Some(first) = plans.first().filter(|plan| plan.free == Free::default()) else { return };
    let sizes: Vec<Vec<Sizes>> = plans.iter().map(|plan| plan.kernels.iter().map(Kernel::sizes).collect()).collect();
    let of_step = |i: usize| -> Kernels { plans.iter().map(|plan| plan.steps[i].kernel).collect() };
    let steps: Vec<Kernels> = (0..first.steps.len()).map(of_step).collect();
    // What is equal but for sizes, in the order of first use.
    let mut groups: Vec<Vec<&Kernels>> = vec![];
    let mut by_code: HashMap<Vec<&CodeKey>, usize> = HashMap::new();
    for kernels in &steps {
        let code = kernels.iter().zip(&sizes).map(|(id, sizes)| &sizes[id.0].code).collect();
        let group = *by_code.entry(code).or_insert(groups.len());
        match groups.get_mut(group) {
            None => groups.push(vec![kernels]),
            Some(members) if !members.contains(&kernels) => members.push(kernels),
            Some(_) => {}
        }
    }
    let mut shared: HashMap<&Kernels, (Kernels, Vec<i32>)> = HashMap::new();
    for members in groups.iter().filter(|members| members.len() > 1) {
        let values_of = |kernels: &Kernels| -> Vec<i32> { kernels.iter().zip(&sizes).flat_map(|(id, s)| s[id.0].values.clone()).collect() };
        let values: Vec<Vec<i32>> = members.iter().map(|kernels| values_of(kernels)).collect();
        let Some(Differences { chosen, sizes: given }) = differences(&values) else { continue };
        let mut rest = &chosen[..];
        let mut ids = vec![];
        for (v, plan) in plans.iter_mut().enumerate() {
            let (own, after) = rest.split_at(sizes[v][members[0][v].0].values.len());
            rest = after;
            let mut kernel = plan.kernels[members[0][v].0].with_sizes(own, given.len());
            kernel.name = common_name(members.iter().map(|m| &plan.kernels[m[v].0].name[..]));
            ids.push(KernelId(plan.kernels.len()));
            plan.kernels.push(kernel);
        }
        for (i, kernels) in members.iter().enumerate() {
            shared.insert(kernels, (ids.clone(), given.iter().map(|values| values[i]).collect()));
        }
    }
    for (i, kernels) in steps.iter().enumerate() {
        let Some((ids, values)) = shared.get(kernels) else { continue };
        for (plan, id) in plans.iter_mut().zip(ids) {
            plan.steps[i].kernel = *id;
            plan.steps[i].args.extend(values.iter().map(|value| Arg::Scalar(*value)));
        }
    }
    plans.iter_mut().for_each(drop_unused);
}

/// In what members differ, given all their sizes; `None` where that is too much.
fn differences(members: &[Vec<i32>]) -> Option<Differences> {
    let mut sizes: Vec<Vec<i32>> = vec![];
    let mut chosen = vec![None; members[0].len()];
    for (position, chosen) in chosen.iter_mut().enumerate() {
        let column: Vec<i32> = members.iter().map(|values| values[position]).collect();
        if column.iter().all(|value| *value == column[0]) {
            continue;
        }
        *chosen = sizes.iter().position(|known| *known == column).or_else(|| {
            sizes.push(column);
            Some(sizes.len() - 1)
        });
        if sizes.len() > MOST_SIZES {
            return None;
        }
    }
    Some(Differences { chosen, sizes })
}

/// The parts of names that all of them have.
fn common_name<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<Vec<&str>> = names.map(|name| name.split('_').collect()).collect();
    let is_common = |i: usize| names.iter().all(|name| name.len() == names[0].len() && name[i] == names[0][i]);
    let common: Vec<&str> = (0..names[0].len()).filter(|i| is_common(*i)).map(|i| names[0][i]).collect();
    if common.is_empty() { names[0].join("_") } else { common.join("_") }
}

/// Leaves the kernels that steps call, in the order of their first call.
fn drop_unused(plan: &mut Plan) {
    let mut numbers: HashMap<KernelId, KernelId> = HashMap::new();
    let mut kept: Vec<KernelId> = vec![];
    for step in &mut plan.steps {
        step.kernel = *numbers.entry(step.kernel).or_insert_with(|| {
            kept.push(step.kernel);
            KernelId(kept.len() - 1)
        });
    }
    plan.kernels = kept.iter().map(|id| plan.kernels[id.0].clone()).collect();
}
