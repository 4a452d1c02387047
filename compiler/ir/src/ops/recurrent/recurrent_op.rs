//! `recurrent(x, r, h0, …)`: LSTM, GRU and simple RNN over time, after the products of the inputs with their weights.
//!
//! Inputs, in order (T steps, D directions, B batch, G gates, H hidden):
//! - `x: [T, B, D·G·H]`: X·Wᵀ plus all biases (but the one below),
//! - `r: [D, G·H, H]`: recurrent weights,
//! - `h0: [D, B, H]`, and for an LSTM `c0: [D, B, H]`,
//! - with `peepholes`: `p: [D, 3·H]`, for the input, output and forget gate,
//! - with `linear_before_reset`: `rb: [D, H]`, the recurrent bias of the hidden gate,
//! - with `lengths`: `[B]`, `i32`.
//!
//! Outputs: `y: [T, D, B, H]`, `h: [D, B, H]`, and for an LSTM `c: [D, B, H]`.

use crate::algorithm::Algorithm;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::map::eval_pointwise;
use crate::ops::{Arity, OpDef, OpError};
use crate::pointwise::Pointwise;
use crate::tensor::Tensor;
use crate::{attr_enum, attrs, op_error};

attr_enum! {
    /// The cell. Gates are in ONNX's order.
    pub enum Cell {
        /// Gates i, o, f, c.
        Lstm = "lstm",
        /// Gates z, r, h.
        Gru = "gru",
        Rnn = "rnn",
    }
}

attr_enum! {
    pub enum Direction {
        Forward = "forward",
        Reverse = "reverse",
        /// Forward, then reverse.
        Bidirectional = "bidirectional",
    }
}

attrs! {
    /// `f`, `g`, `h` are the activations as ONNX names them: a GRU has no `h`, an RNN only `f`. Clipping is a part of them.
    pub struct Recurrent {
        pub cell: Cell,
        pub direction: Direction,
        pub f: Pointwise,
        pub g: Pointwise,
        pub h: Pointwise,
        /// LSTM: the forget gate is one minus the input gate.
        pub input_forget: bool,
        /// GRU: the reset gate multiplies the hidden gate's product instead of the state before it.
        pub linear_before_reset: bool,
        /// LSTM: the gates see the cell state.
        pub peepholes: bool,
        /// Batch elements have fewer steps than T.
        pub lengths: bool,
    }
}

impl Cell {
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Rnn => 1,
        }
    }
}

impl Direction {
    /// One per direction: whether time runs backwards.
    pub fn backwards(self) -> &'static [bool] {
        match self {
            Direction::Forward => &[false],
            Direction::Reverse => &[true],
            Direction::Bidirectional => &[false, true],
        }
    }
}

/// Positions of the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inputs {
    pub c0: Option<usize>,
    pub peepholes: Option<usize>,
    pub recurrent_bias: Option<usize>,
    pub lengths: Option<usize>,
    pub count: usize,
}

impl Recurrent {
    pub(super) fn inputs(&self) -> Inputs {
        let mut count = 3;
        let mut next = |there: bool| {
            count += usize::from(there);
            there.then_some(count - 1)
        };
        let (c0, peepholes) = (next(self.cell == Cell::Lstm), next(self.peepholes));
        let (recurrent_bias, lengths) = (next(self.linear_before_reset), next(self.lengths));
        Inputs { c0, peepholes, recurrent_bias, lengths, count }
    }
}

impl OpDef for Recurrent {
    fn arity(&self) -> Arity {
        Arity::Exactly(self.inputs().count)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        if (self.peepholes || self.input_forget) && self.cell != Cell::Lstm {
            op_error!("only an LSTM has peepholes and `input_forget`");
        }
        if self.linear_before_reset && self.cell != Cell::Gru {
            op_error!("only a GRU has `linear_before_reset`");
        }
        let (x, r) = (inputs[0], inputs[1]);
        let (gates, directions) = (self.cell.gates() as i64, self.direction.backwards().len() as i64);
        if !x.dtype.is_float() {
            op_error!("recurrent needs floating-point elements, found {x}");
        }
        if x.rank() != 3 || r.rank() != 3 {
            op_error!("recurrent needs x and r of rank 3, found {x} and {r}");
        }
        let (steps, batch, hidden) = (x.shape[0].clone(), x.shape[1].clone(), r.shape[2].clone());
        let d = Dim::from(directions);
        let state = vec![d.clone(), batch.clone(), hidden.clone()];
        let expect = |i: usize, shape: &[Dim]| -> Result<(), OpError> {
            let dtype = if Some(i) == self.inputs().lengths { DType::I32 } else { x.dtype };
            let expected = TensorType { dtype, shape: shape.to_vec() };
            if *inputs[i] != expected {
                op_error!("recurrent: input {} is {}, expected {expected}", i + 1, inputs[i]);
            }
            Ok(())
        };
        let at = self.inputs();
        expect(0, &[steps.clone(), batch.clone(), hidden.clone() * Dim::from(gates * directions)])?;
        expect(1, &[d.clone(), hidden.clone() * Dim::from(gates), hidden.clone()])?;
        expect(2, &state)?;
        at.c0.map_or(Ok(()), |i| expect(i, &state))?;
        at.peepholes.map_or(Ok(()), |i| expect(i, &[d.clone(), hidden.clone() * Dim::from(3)]))?;
        at.recurrent_bias.map_or(Ok(()), |i| expect(i, &[d.clone(), hidden.clone()]))?;
        at.lengths.map_or(Ok(()), |i| expect(i, std::slice::from_ref(&batch)))?;
        for body in [&self.f, &self.g, &self.h] {
            let one = body.args() == 1 && body.result_type(&[x.dtype]).map_err(OpError)? == x.dtype;
            if !one {
                op_error!("recurrent: the activation {body} is no function of one {}", x.dtype);
            }
        }
        let y = TensorType { dtype: x.dtype, shape: vec![steps, d, batch, hidden] };
        let last = TensorType { dtype: x.dtype, shape: state };
        let states = if self.cell == Cell::Lstm { 2 } else { 1 };
        Ok(std::iter::once(y).chain(std::iter::repeat_n(last, states)).collect())
    }

    /// In `f64`, rounded at the end.
    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let (steps, batch) = (inputs[0].shape[0], inputs[0].shape[1]);
        let (directions, hidden) = (inputs[2].shape[0], inputs[2].shape[2]);
        let at = self.inputs();
        let values: Vec<Vec<f64>> = inputs.iter().map(|t| t.to_f64s()).collect();
        let activate = |body: &Pointwise, v: Vec<f64>| -> Result<Vec<f64>, OpError> {
            Ok(eval_pointwise(body, &[&Tensor::new(&[v.len()], &v)], &[v.len()])?.to_f64s())
        };
        let (f, g, h) = (|v| activate(&self.f, v), |v| activate(&self.g, v), |v| activate(&self.h, v));
        let mut y = vec![0.0; steps * directions * batch * hidden];
        let (mut last_h, mut last_c) = (vec![0.0; directions * batch * hidden], vec![0.0; directions * batch * hidden]);
        for (d, backwards) in self.direction.backwards().iter().enumerate() {
            for b in 0..batch {
                let length = match at.lengths {
                    Some(i) => usize::try_from(values[i][b] as i64).ok().filter(|l| *l <= steps),
                    None => Some(steps),
                };
                let Some(length) = length else {
                    op_error!("recurrent: a length of {} is not in 0..={steps}", values[at.lengths.unwrap_or(0)][b]);
                };
                let state = (d * batch + b) * hidden;
                let mut ht = values[2][state..state + hidden].to_vec();
                let mut ct = at.c0.map_or(vec![], |i| values[i][state..state + hidden].to_vec());
                for s in 0..length {
                    let t = if *backwards { length - 1 - s } else { s };
                    let gates = self.cell.gates();
                    let x = |gate: usize| {
                        values[0][(t * batch + b) * directions * gates * hidden + (d * gates + gate) * hidden..][..hidden].to_vec()
                    };
                    // R of one gate times v.
                    let r = |gate: usize, v: &[f64]| -> Vec<f64> {
                        (0..hidden)
                            .map(|j| (0..hidden).map(|k| values[1][((d * gates + gate) * hidden + j) * hidden + k] * v[k]).sum())
                            .collect()
                    };
                    let p = |gate: usize, c: &[f64]| match at.peepholes {
                        Some(i) => mul(&values[i][(d * 3 + gate) * hidden..][..hidden], c),
                        None => vec![0.0; hidden],
                    };
                    match self.cell {
                        Cell::Lstm => {
                            let it = f(add(&add(&x(0), &r(0, &ht)), &p(0, &ct)))?;
                            let ft = if self.input_forget { one_minus(&it) } else { f(add(&add(&x(2), &r(2, &ht)), &p(2, &ct)))? };
                            let new = g(add(&x(3), &r(3, &ht)))?;
                            ct = add(&mul(&ft, &ct), &mul(&it, &new));
                            let ot = f(add(&add(&x(1), &r(1, &ht)), &p(1, &ct)))?;
                            ht = mul(&ot, &h(ct.clone())?);
                        }
                        Cell::Gru => {
                            let zt = f(add(&x(0), &r(0, &ht)))?;
                            let rt = f(add(&x(1), &r(1, &ht)))?;
                            let recurrent = match at.recurrent_bias {
                                Some(i) => mul(&rt, &add(&r(2, &ht), &values[i][d * hidden..][..hidden])),
                                None => r(2, &mul(&rt, &ht)),
                            };
                            let new = g(add(&x(2), &recurrent))?;
                            ht = add(&mul(&one_minus(&zt), &new), &mul(&zt, &ht));
                        }
                        Cell::Rnn => ht = f(add(&x(0), &r(0, &ht)))?,
                    }
                    y[((t * directions + d) * batch + b) * hidden..][..hidden].copy_from_slice(&ht);
                }
                // Elements without steps have zeros, as in onnxruntime; the specification is silent.
                if length > 0 || at.lengths.is_none() {
                    last_h[state..state + hidden].copy_from_slice(&ht);
                    last_c[state..state + ct.len()].copy_from_slice(&ct);
                }
            }
        }
        let dtype = inputs[0].dtype;
        let tensor = |shape: &[usize], v: &[f64]| Tensor::from_fn(dtype, shape, |i| v[i]);
        let mut outputs = vec![tensor(&[steps, directions, batch, hidden], &y), tensor(&[directions, batch, hidden], &last_h)];
        if self.cell == Cell::Lstm {
            outputs.push(tensor(&[directions, batch, hidden], &last_c));
        }
        Ok(outputs)
    }

    fn algorithm(&self, inputs: &[&TensorType], _: &TensorType) -> Algorithm {
        Algorithm::Recurrent(super::cells::recurrence(self, inputs))
    }
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}
fn mul(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}
fn one_minus(a: &[f64]) -> Vec<f64> {
    a.iter().map(|a| 1.0 - a).collect()
}
