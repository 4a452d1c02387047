//! Steps that depend on constants only run once: weights that are stored in fewer bits are expanded, and packed for their
//! products, by the module's first run. What other steps read of their results keeps its contents between runs.
//!
//! ```text
//!   branch to A if done
//!   expand …; pack …
//!   done = 1
//! A: …
//! ```

use crate::cx::{Cx, pointer};
use crate::plan::{Arg, Branch, BufferId, Step};
use crate::view::{Source, View};
use kernel::K;

/// Steps of fewer bytes of results may run every time.
const LEAST: u32 = 4096;

/// Moves such steps to the front, under a branch. Not where there are branches already: their targets are numbers.
/// `ports` are what the host writes and reads.
pub fn hoist(cx: &mut Cx, ports: &[&View]) {
    if !cx.symbols.is_empty() || cx.steps.iter().any(|s| s.branch.is_some()) {
        return;
    }
    let ports: Vec<BufferId> = ports.iter().filter_map(|v| buffer(v)).collect();
    let once = steps_of_constants(cx, &ports);
    let bytes: u32 =
        (0..once.len()).filter(|i| once[*i]).flat_map(|i| &cx.steps[i].writes).map(|b| cx.buffers[b.0].bytes).max().unwrap_or(0);
    if bytes < LEAST {
        return;
    }
    let read_later: Vec<BufferId> = (0..once.len()).filter(|i| !once[*i]).flat_map(|i| cx.steps[i].reads.clone()).collect();
    for i in (0..once.len()).filter(|i| once[*i]) {
        for at in cx.steps[i].writes.clone().into_iter().filter(|b| read_later.contains(b)) {
            cx.buffers[at.0].persistent = true;
        }
    }
    let (first, rest): (Vec<usize>, Vec<usize>) = (0..once.len()).partition(|i| once[*i]);
    let mut number = vec![0; once.len()];
    let mut old: Vec<Option<Step>> = std::mem::take(&mut cx.steps).into_iter().map(Some).collect();
    let origin = old[first[0]].as_ref().map(|s| s.origin.clone()).unwrap_or_default();
    let done = cx.persistent("constants are computed", 4);
    mark(cx, &done, &origin, true);
    cx.steps[0].branch = Some(Branch { when: true, target: first.len() + 2 });
    for (group, ends) in [(first, true), (rest, false)] {
        for i in group {
            number[i] = cx.steps.len();
            cx.steps.extend(old[i].take());
        }
        if ends {
            mark(cx, &done, &origin, false);
        }
    }
    cx.products.iter_mut().for_each(|product| product.step = number[product.step]);
}

/// The step that looks at the flag, or the one that sets it.
fn mark(cx: &mut Cx, done: &View, origin: &[String], looks: bool) {
    let mut k = K::new(if looks { "branch" } else { "constants_computed" });
    let at = pointer(&mut k, "flag", done);
    if !looks {
        k.store8(at, 0, 1i32);
    }
    let writes: &[&View] = if looks { &[] } else { &[done] };
    cx.step(k.finish(), vec![done.arg_at(0)], u32::from(!looks), 0, &[], writes, &[]);
    cx.steps.last_mut().expect("added above").origin = origin.to_vec();
}

fn buffer(view: &View) -> Option<BufferId> {
    match view.source {
        Source::Buffer(id) => Some(id),
        Source::Weight(_) => None,
    }
}

/// By step: whether all that it reads is constant, and nothing else writes what it writes.
fn steps_of_constants(cx: &Cx, ports: &[BufferId]) -> Vec<bool> {
    let reads_weights = |s: &Step| s.args.iter().any(|a| matches!(a, Arg::Weight(..)));
    let plain =
        |s: &Step| s.writes.iter().chain(&s.reads).all(|b| !cx.buffers[b.0].persistent && !cx.every_run.contains(b) && !ports.contains(b));
    let mut once: Vec<bool> = cx.steps.iter().map(|s| plain(s) && (reads_weights(s) || !s.reads.is_empty())).collect();
    loop {
        // A buffer is constant when it has writers, and all of them are.
        let mut constant = vec![None; cx.buffers.len()];
        for (step, once) in cx.steps.iter().zip(&once) {
            step.writes.iter().for_each(|b| constant[b.0] = Some(constant[b.0].unwrap_or(true) && *once));
        }
        let before = once.clone();
        for (step, once) in cx.steps.iter().zip(&mut once) {
            *once &= step.reads.iter().chain(&step.writes).all(|b| constant[b.0] == Some(true));
        }
        if once == before {
            return once;
        }
    }
}
