//! The cells as recurrences: their equations in the notation of pointwise expressions, and which products they need.

use super::recurrent_op::{Cell, Recurrent};
use crate::algorithm::recurrent::{Arg, Part, Phase, Recurrent as Recurrence, Source};
use crate::graph::TensorType;
use crate::pointwise::{Fn, Literal, Operand, Pointwise};

/// The lowering of the operator for inputs of these types.
pub fn recurrence(op: &Recurrent, inputs: &[&TensorType]) -> Recurrence {
    let at = op.inputs();
    let parts =
        |operand: Option<usize>, n: usize| operand.into_iter().flat_map(move |operand| (0..n).map(move |part| Part { operand, part }));
    let (phases, next) = match op.cell {
        Cell::Lstm => lstm(op),
        Cell::Gru if op.linear_before_reset => gru_linear(op),
        Cell::Gru => gru(op),
        Cell::Rnn => rnn(op),
    };
    Recurrence {
        backwards: op.direction.backwards().to_vec(),
        steps: inputs[0].shape[0].clone(),
        batch: inputs[0].shape[1].clone(),
        hidden: inputs[1].shape[2].clone(),
        gates: op.cell.gates(),
        inputs: 0,
        weights: 1,
        states: std::iter::once(2).chain(at.c0).collect(),
        vectors: parts(at.peepholes, 3).chain(parts(at.recurrent_bias, 1)).collect(),
        lengths: at.lengths,
        phases,
        next,
    }
}

/// c = f(f̂ + pf·c)·c + f(î + pi·c)·g(ĉ), then h = f(ô + po·c)·h(c). Results: c, h.
fn lstm(op: &Recurrent) -> (Vec<Phase>, Vec<usize>) {
    use Arg::{Gate, Result, State, Vector};
    let mut args = vec![Gate(0), Gate(1), Gate(3), State(1), Result(0)];
    let [i, o, new, c_before, c_after] = [0, 1, 2, 3, 4].map(Operand::Arg);
    let mut forget = None;
    if !op.input_forget {
        args.push(Gate(2));
        forget = Some(Operand::Arg(5));
    }
    let first_peephole = args.len();
    if op.peepholes {
        args.extend([Vector(0), Vector(1), Vector(2)]);
    }
    let seen = |e: &mut Pointwise, gate: Operand, vector: usize, c: Operand| {
        if !op.peepholes {
            return gate;
        }
        let product = e.push(Fn::Mul, vec![Operand::Arg(first_peephole + vector), c]);
        e.push(Fn::Add, vec![gate, product])
    };
    let mut cell = Pointwise::identity();
    let i = seen(&mut cell, i, 0, c_before);
    let i = apply(&mut cell, &op.f, i);
    let f = match forget {
        Some(f) => {
            let f = seen(&mut cell, f, 2, c_before);
            apply(&mut cell, &op.f, f)
        }
        None => cell.push(Fn::Sub, vec![ONE, i]),
    };
    let new = apply(&mut cell, &op.g, new);
    let kept = cell.push(Fn::Mul, vec![f, c_before]);
    let added = cell.push(Fn::Mul, vec![i, new]);
    let sum = cell.push(Fn::Add, vec![kept, added]);
    let mut hidden = Pointwise::identity();
    let o = seen(&mut hidden, o, 1, c_after);
    let o = apply(&mut hidden, &op.f, o);
    let c = apply(&mut hidden, &op.h, c_after);
    let product = hidden.push(Fn::Mul, vec![o, c]);
    let bodies = vec![ending(cell, sum), ending(hidden, product)];
    (vec![Phase { source: Source::State, args, bodies }], vec![1, 0])
}

/// z = f(ẑ), r·h = f(r̂)·h; then h = (1 − z)·g(x + R·(r·h)) + z·h.
fn gru(op: &Recurrent) -> (Vec<Phase>, Vec<usize>) {
    let (a, b, c) = (Operand::Arg(0), Operand::Arg(1), Operand::Arg(2));
    let (mut z, mut reset, mut hidden) = (Pointwise::identity(), Pointwise::identity(), Pointwise::identity());
    let update = apply(&mut z, &op.f, a);
    let r = apply(&mut reset, &op.f, b);
    let kept = reset.push(Fn::Mul, vec![r, c]);
    let gates = Phase {
        source: Source::State,
        args: vec![Arg::Gate(0), Arg::Gate(1), Arg::State(0)],
        bodies: vec![ending(z, update), ending(reset, kept)],
    };
    let new = apply(&mut hidden, &op.g, a);
    let sum = mix(&mut hidden, b, new, c);
    let state =
        Phase { source: Source::Result(1), args: vec![Arg::Gate(2), Arg::Result(0), Arg::State(0)], bodies: vec![ending(hidden, sum)] };
    (vec![gates, state], vec![2])
}

/// h = (1 − z)·g(x + f(r̂)·(R·h + rb)) + z·h, z = f(ẑ).
fn gru_linear(op: &Recurrent) -> (Vec<Phase>, Vec<usize>) {
    let args = vec![Arg::Gate(0), Arg::Gate(1), Arg::Product(2), Arg::Input(2), Arg::Vector(0), Arg::State(0)];
    let [z, r, product, x, bias, before] = [0, 1, 2, 3, 4, 5].map(Operand::Arg);
    let mut e = Pointwise::identity();
    let r = apply(&mut e, &op.f, r);
    let biased = e.push(Fn::Add, vec![product, bias]);
    let reset = e.push(Fn::Mul, vec![r, biased]);
    let new = e.push(Fn::Add, vec![x, reset]);
    let new = apply(&mut e, &op.g, new);
    let z = apply(&mut e, &op.f, z);
    let sum = mix(&mut e, z, new, before);
    (vec![Phase { source: Source::State, args, bodies: vec![ending(e, sum)] }], vec![0])
}

fn rnn(op: &Recurrent) -> (Vec<Phase>, Vec<usize>) {
    (vec![Phase { source: Source::State, args: vec![Arg::Gate(0)], bodies: vec![op.f.clone()] }], vec![0])
}

const ONE: Operand = Operand::Literal(Literal::Float(1.0));

/// (1 − z)·new + z·before
fn mix(e: &mut Pointwise, z: Operand, new: Operand, before: Operand) -> Operand {
    let rest = e.push(Fn::Sub, vec![ONE, z]);
    let added = e.push(Fn::Mul, vec![rest, new]);
    let kept = e.push(Fn::Mul, vec![z, before]);
    e.push(Fn::Add, vec![added, kept])
}

/// Appends `f(x)`.
fn apply(e: &mut Pointwise, f: &Pointwise, x: Operand) -> Operand {
    let mut moved: Vec<Operand> = vec![];
    for step in &f.steps {
        let operands = step.operands.iter().map(|o| match *o {
            Operand::Arg(_) => x,
            Operand::Step(i) => moved[i],
            literal => literal,
        });
        let operands = operands.collect();
        moved.push(e.push(step.f, operands));
    }
    moved.last().copied().unwrap_or(x)
}

/// The expression with this result: an argument is passed on by adding nothing.
fn ending(mut e: Pointwise, result: Operand) -> Pointwise {
    match result {
        Operand::Arg(0) => Pointwise::identity(),
        Operand::Step(_) => {
            e.result_last(result);
            e
        }
        other => {
            e.push(Fn::Mul, vec![other, ONE]);
            e
        }
    }
}
