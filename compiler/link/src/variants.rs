//! The kinds of code a file may hold, and the proof that two plans differ in nothing but their kernels. How code of a
//! kind is made is spread over the link; what a host may run, it decides itself.

use lower::plan::Plan;
use std::fmt;
use std::str::FromStr;

/// A kind of code: which features beyond the baseline it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SIMD, one thread: every engine runs it.
    Baseline,
    /// Fused multiply-adds: other rounding.
    Relaxed,
    /// A shared memory and a thread pool.
    Threads,
    RelaxedThreads,
}

impl Kind {
    /// In the order in which they lie in a file.
    pub const ALL: [Kind; 4] = [Kind::Baseline, Kind::Relaxed, Kind::Threads, Kind::RelaxedThreads];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Baseline => abi::manifest::BASELINE,
            Kind::Relaxed => "relaxed",
            Kind::Threads => "threads",
            Kind::RelaxedThreads => "relaxed+threads",
        }
    }

    pub const fn relaxed(self) -> bool {
        matches!(self, Kind::Relaxed | Kind::RelaxedThreads)
    }

    pub const fn threads(self) -> bool {
        matches!(self, Kind::Threads | Kind::RelaxedThreads)
    }

    /// Name of the custom section that holds it as a further variant.
    pub fn section(self) -> String {
        format!("{}{}", abi::VARIANT_SECTION, self.name())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(name: &str) -> Result<Kind, String> {
        let known = || Kind::ALL.map(Kind::name).join(", ");
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| format!("there is no variant `{name}`; there are: {}", known()))
    }
}

/// The first difference between two plans besides their kernels, as a sentence. Without one, the code of both works on
/// the same memory, records and weights.
pub fn difference(plan: &Plan, other: &Plan) -> Option<String> {
    let differs = |what: &str| Some(format!("{what} differ"));
    if plan.arena_bytes != other.arena_bytes || plan.live_bytes != other.live_bytes {
        return differs("the arenas");
    }
    let place = |plan: &Plan| plan.buffers.iter().map(|b| (b.offset, b.bytes, b.align)).collect::<Vec<_>>();
    if place(plan) != place(other) {
        return differs("the buffers");
    }
    let ports = |plan: &Plan| {
        let states = plan.states.iter().map(|state| &state.port);
        plan.inputs
            .iter()
            .chain(&plan.outputs)
            .chain(states)
            .map(|p| (p.name.clone(), p.shape.clone(), p.buffer, p.offset, p.bytes))
            .collect::<Vec<_>>()
    };
    if ports(plan) != ports(other) {
        return differs("the inputs or outputs");
    }
    if plan.free != other.free {
        return differs("the free sizes");
    }
    if plan.steps.len() != other.steps.len() {
        return differs("the numbers of steps");
    }
    for (number, (a, b)) in plan.steps.iter().zip(&other.steps).enumerate() {
        if (&a.args, a.tasks, a.sequential, a.macs, a.branch, &a.origin) != (&b.args, b.tasks, b.sequential, b.macs, b.branch, &b.origin) {
            return Some(format!("step {number} ({}) differs", a.origin.join(", ")));
        }
    }
    let weights = plan.weights.len() == other.weights.len();
    let differ = plan.weights.iter().zip(&other.weights).find(|(a, b)| a.bytes != b.bytes || a.align != b.align);
    match differ {
        _ if !weights => differs("the numbers of weights"),
        Some((weight, _)) => Some(format!("the weight {} differs", weight.name)),
        None => None,
    }
}
