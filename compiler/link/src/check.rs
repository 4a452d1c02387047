//! Checks that a plan can be linked; the memory plan itself is checked by `lower`.
//!
//! Checked: every id exists; a step has one argument per parameter, of the parameter's kind, that points into its
//! buffer or weight; buffers lie inside the arena; inputs and outputs lie inside their buffers; alignments are powers
//! of two that the places respect.

use kernel::ParamKind;
use lower::plan::{Arg, Plan, Port, StatePort, Step};

/// One inconsistency of a plan. Steps are named with the layers they compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("{step}: kernel {id} of {count} does not exist")]
    NoSuchKernel { step: String, id: usize, count: usize },
    #[error("{place}: {what} {id} of {count} does not exist")]
    NoSuchId { place: String, what: &'static str, id: usize, count: usize },
    #[error("{step}: kernel {kernel} takes {expected} arguments, found {found}")]
    ArgCount { step: String, kernel: String, expected: usize, found: usize },
    #[error("{step}: parameter {param} of kernel {kernel} is {expected:?}, found {found:?}")]
    ArgKind { step: String, kernel: String, param: String, expected: ParamKind, found: Arg },
    #[error("{place}: byte {end} of {what} {name}, which has {bytes}")]
    OutOfRange { place: String, what: &'static str, name: String, end: u64, bytes: u64 },
    #[error("{what} {name}: alignment {align} is not a power of two that its offset {offset} respects")]
    Alignment { what: &'static str, name: String, align: u32, offset: u32 },
}

/// Every inconsistency, in the plan's order; empty if it can be linked.
pub fn check(plan: &Plan) -> Vec<PlanError> {
    let mut problems = Vec::new();
    for buffer in &plan.buffers {
        aligned(&mut problems, "buffer", &buffer.name, buffer.align, buffer.offset);
        let end = u64::from(buffer.offset) + u64::from(buffer.bytes);
        let place = format!("buffer {}", buffer.name);
        in_range(&mut problems, &place, "arena", &plan.model, end, u64::from(plan.arena_bytes));
    }
    for weight in &plan.weights {
        aligned(&mut problems, "weight", &weight.name, weight.align, 0);
    }
    for (what, ports) in [("input", &plan.inputs), ("output", &plan.outputs)] {
        ports.iter().for_each(|port| check_port(&mut problems, plan, what, port));
    }
    plan.states.iter().for_each(|state| check_port(&mut problems, plan, "state", &spread(state)));
    for (index, step) in plan.steps.iter().enumerate() {
        check_step(&mut problems, plan, &step_name(index, step), step);
    }
    problems
}

fn step_name(index: usize, step: &Step) -> String {
    format!("step {index} ({})", step.origin.join(", "))
}

/// A state's port with the bytes from its first to its last element.
fn spread(state: &StatePort) -> Port {
    let Some(strides) = &state.strides else { return state.port.clone() };
    let elements: u64 = state.port.shape.iter().product();
    let last: u64 = state.port.shape.iter().zip(strides).map(|(size, stride)| size.saturating_sub(1) * stride).sum();
    let bytes = (u64::from(state.port.bytes) / elements.max(1)) * if elements == 0 { 0 } else { last + 1 };
    Port { bytes: u32::try_from(bytes).unwrap_or(u32::MAX), ..state.port.clone() }
}

fn check_port(problems: &mut Vec<PlanError>, plan: &Plan, what: &'static str, port: &Port) {
    let place = format!("{what} {}", port.name);
    let Some(buffer) = plan.buffers.get(port.buffer.0) else {
        return missing(problems, place, "buffer", port.buffer.0, plan.buffers.len());
    };
    let end = u64::from(port.offset) + u64::from(port.bytes);
    in_range(problems, &place, "buffer", &buffer.name, end, u64::from(buffer.bytes));
}

fn check_step(problems: &mut Vec<PlanError>, plan: &Plan, place: &str, step: &Step) {
    for id in step.reads.iter().chain(&step.writes) {
        if id.0 >= plan.buffers.len() {
            missing(problems, place.into(), "buffer", id.0, plan.buffers.len());
        }
    }
    for arg in &step.args {
        check_arg(problems, plan, place, *arg);
    }
    let Some(kernel) = plan.kernels.get(step.kernel.0) else {
        let (id, count) = (step.kernel.0, plan.kernels.len());
        return problems.push(PlanError::NoSuchKernel { step: place.into(), id, count });
    };
    let (expected, found) = (kernel.params.len(), step.args.len());
    if expected != found {
        let (step, kernel) = (place.into(), kernel.name.clone());
        return problems.push(PlanError::ArgCount { step, kernel, expected, found });
    }
    for (param, arg) in kernel.params.iter().zip(&step.args) {
        if kind(*arg) != param.kind {
            problems.push(PlanError::ArgKind {
                step: place.into(),
                kernel: kernel.name.clone(),
                param: param.name.clone(),
                expected: param.kind,
                found: *arg,
            });
        }
    }
}

fn kind(arg: Arg) -> ParamKind {
    match arg {
        Arg::Buffer(..) => ParamKind::Arena,
        Arg::Weight(..) => ParamKind::Weights,
        Arg::Records => ParamKind::Weights,
        Arg::Scalar(_) | Arg::Size(_) => ParamKind::Scalar,
    }
}

/// An argument may point one past the end: a kernel with nothing to read needs no byte.
fn check_arg(problems: &mut Vec<PlanError>, plan: &Plan, place: &str, arg: Arg) {
    match arg {
        Arg::Buffer(id, offset) => match plan.buffers.get(id.0) {
            Some(buffer) => in_range(problems, place, "buffer", &buffer.name, offset.into(), buffer.bytes.into()),
            None => missing(problems, place.into(), "buffer", id.0, plan.buffers.len()),
        },
        Arg::Weight(id, offset) => match plan.weights.get(id.0) {
            Some(weight) => in_range(problems, place, "weight", &weight.name, offset.into(), weight.bytes.len() as u64),
            None => missing(problems, place.into(), "weight", id.0, plan.weights.len()),
        },
        Arg::Size(id) if id.0 >= plan.free.sizes.len() => missing(problems, place.into(), "size", id.0, plan.free.sizes.len()),
        Arg::Scalar(_) | Arg::Size(_) | Arg::Records => {}
    }
}

fn missing(problems: &mut Vec<PlanError>, place: String, what: &'static str, id: usize, count: usize) {
    problems.push(PlanError::NoSuchId { place, what, id, count });
}

fn in_range(problems: &mut Vec<PlanError>, place: &str, what: &'static str, name: &str, end: u64, bytes: u64) {
    if end > bytes {
        problems.push(PlanError::OutOfRange { place: place.into(), what, name: name.into(), end, bytes });
    }
}

fn aligned(problems: &mut Vec<PlanError>, what: &'static str, name: &str, align: u32, offset: u32) {
    if !align.is_power_of_two() || !offset.is_multiple_of(align) {
        problems.push(PlanError::Alignment { what, name: name.into(), align, offset });
    }
}
