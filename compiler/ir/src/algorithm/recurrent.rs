//! Recurrences over time as data, and their execution. A cell is a few matrix products with the state and pointwise
//! expressions of their results; LSTM, GRU and RNN differ in data only. How the weights lie in memory is elsewhere.

use super::interpret::InterpretError;
use crate::DType;
use crate::dim::{Dim, const_dims};
use crate::ops::map::eval_pointwise;
use crate::pointwise::Pointwise;
use crate::tensor::Tensor;

/// A recurrence. Per direction and batch element, over time:
///
/// ```text
/// for each phase:  product[g] = weights[g] · source      (a matrix per gate)
///                  results    = bodies(args)              (per unit, in order)
/// state[i] = result[next[i]];  Y[t] = state[0]
/// ```
///
/// The outputs are `Y: [steps, directions, batch, hidden]`, then the last value of every state,
/// `[directions, batch, hidden]`. State 0 is the one that the first phase multiplies.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrent {
    /// One per direction: whether time runs backwards.
    pub backwards: Vec<bool>,
    pub steps: Dim,
    pub batch: Dim,
    pub hidden: Dim,
    /// Number of gates.
    pub gates: usize,
    /// Operand `[steps, batch, directions · gates · hidden]`: what the inputs give to the gates.
    pub inputs: usize,
    /// Operand `[directions, gates · hidden, hidden]`.
    pub weights: usize,
    /// Operands `[directions, batch, hidden]`: the states before the first step.
    pub states: Vec<usize>,
    /// Vectors of `hidden` elements per direction, each a part of an operand `[directions, n · hidden]`.
    pub vectors: Vec<Part>,
    /// Operand `[batch]`, `i32`: steps of each batch element. Later elements of Y are 0; an element without steps has
    /// final states 0.
    pub lengths: Option<usize>,
    pub phases: Vec<Phase>,
    /// The number of the result that becomes each state.
    pub next: Vec<usize>,
}

/// Elements `part · hidden ..` of the last dimension of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub operand: usize,
    pub part: usize,
}

/// Products and what follows from them. Results are numbered across phases.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// The vector that the weights multiply.
    pub source: Source,
    /// Operands of the bodies: `%0`, `%1`, …
    pub args: Vec<Arg>,
    pub bodies: Vec<Pointwise>,
}

/// What the weights multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// State 0.
    State,
    /// A result of an earlier phase.
    Result(usize),
}

/// One operand of a phase's bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// The input's part of a gate plus its product.
    Gate(usize),
    /// A gate's product alone.
    Product(usize),
    /// The input's part of a gate.
    Input(usize),
    /// A state before this step.
    State(usize),
    /// One of [`Recurrent::vectors`].
    Vector(usize),
    /// An earlier result of this step.
    Result(usize),
}

impl Phase {
    /// The gates that this phase multiplies, in order, each once.
    pub fn products(&self) -> Vec<usize> {
        let mut gates = vec![];
        for arg in &self.args {
            if let Arg::Gate(g) | Arg::Product(g) = arg
                && !gates.contains(g)
            {
                gates.push(*g);
            }
        }
        gates
    }
}

impl Recurrent {
    /// Number of the first result of a phase.
    pub fn first_result(&self, phase: usize) -> usize {
        self.phases[..phase].iter().map(|p| p.bodies.len()).sum()
    }
}

/// All outputs of a recurrence, in `f64`.
pub fn interpret_recurrent(r: &Recurrent, operands: &[&Tensor]) -> Result<Vec<Tensor>, InterpretError> {
    let sizes = [&r.steps, &r.batch, &r.hidden].map(Clone::clone);
    let Some(sizes) = const_dims(&sizes) else {
        let free = sizes.into_iter().find(|d| !d.is_const()).expect("one is not constant");
        return Err(InterpretError::Symbolic(free));
    };
    let [steps, batch, hidden] = sizes[..] else { unreachable!("three sizes") };
    let directions = r.backwards.len();
    let values: Vec<Vec<f64>> = operands.iter().map(|t| t.to_f64s()).collect();
    let mut y = Tensor::zeros(DType::F64, &[steps, directions, batch, hidden]);
    let mut finals: Vec<Tensor> = r.states.iter().map(|_| Tensor::zeros(DType::F64, &[directions, batch, hidden])).collect();
    let units = |from: &[f64], at: usize| from[at..at + hidden].to_vec();
    for (d, backwards) in r.backwards.iter().enumerate() {
        for b in 0..batch {
            let row = (d * batch + b) * hidden;
            let length = r.lengths.map_or(steps, |l| values[l][b] as usize);
            let mut states: Vec<Vec<f64>> = r.states.iter().map(|s| units(&values[*s], row)).collect();
            for s in 0..length {
                let t = if *backwards { length - 1 - s } else { s };
                let input =
                    |g: usize| units(&values[r.inputs], (t * batch + b) * directions * r.gates * hidden + (d * r.gates + g) * hidden);
                let mut results: Vec<Vec<f64>> = vec![];
                for phase in &r.phases {
                    let x = match phase.source {
                        Source::State => states[0].clone(),
                        Source::Result(i) => results[i].clone(),
                    };
                    let product = |g: usize| -> Vec<f64> {
                        let weights = &values[r.weights][(d * r.gates + g) * hidden * hidden..][..hidden * hidden];
                        weights.chunks(hidden.max(1)).map(|row| row.iter().zip(&x).map(|(w, x)| w * x).sum()).collect()
                    };
                    for body in &phase.bodies {
                        let args = phase.args.iter().map(|arg| match *arg {
                            Arg::Gate(g) => input(g).iter().zip(product(g)).map(|(a, b)| a + b).collect(),
                            Arg::Product(g) => product(g),
                            Arg::Input(g) => input(g),
                            Arg::State(i) => states[i].clone(),
                            Arg::Vector(i) => {
                                let Part { operand, part } = r.vectors[i];
                                let per_direction = values[operand].len() / directions;
                                units(&values[operand], d * per_direction + part * hidden)
                            }
                            // A body may not use it yet.
                            Arg::Result(i) => results.get(i).cloned().unwrap_or_else(|| vec![f64::NAN; hidden]),
                        });
                        let args: Vec<Tensor> = args.map(|v: Vec<f64>| Tensor::new(&[hidden], &v)).collect();
                        let args: Vec<&Tensor> = args.iter().collect();
                        let value = eval_pointwise(body, &args, &[hidden]).map_err(|e| InterpretError::Scalar(e.0))?;
                        results.push(value.to_f64s());
                    }
                }
                states = r.next.iter().map(|i| results[*i].clone()).collect();
                let at = ((t * directions + d) * batch + b) * hidden;
                y.as_mut_slice::<f64>()[at..at + hidden].copy_from_slice(&states[0]);
            }
            if r.lengths.is_none() || length > 0 {
                for (last, state) in finals.iter_mut().zip(&states) {
                    last.as_mut_slice::<f64>()[row..row + hidden].copy_from_slice(state);
                }
            }
        }
    }
    Ok(std::iter::once(y).chain(finals).collect())
}
