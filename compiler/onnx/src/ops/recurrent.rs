//! LSTM, GRU and RNN: the products of the inputs, hoisted over time, and the recurrence itself. Layouts, missing inputs and
//! activations are resolved here.

use super::{Row, many};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::contract::matmul::MatMul;
use ir::ops::recurrent::recurrent_op::{Cell, Direction, Recurrent};
use ir::pointwise::{Fn, Pointwise};
use ir::{DType, Dim, Tensor, ValueId};

pub(super) const ROWS: &[Row] =
    &[many("LSTM", |s| recurrent(s, Cell::Lstm)), many("GRU", |s| recurrent(s, Cell::Gru)), many("RNN", |s| recurrent(s, Cell::Rnn))];

/// Activations: name, expression, and defaults of alpha and beta where they have any. `ScaledTanh` must be given its own.
const ACTIVATIONS: &[(&str, &str, Option<f64>, Option<f64>)] = &[
    ("Sigmoid", "{sigmoid(%0)}", None, None),
    ("Tanh", "{tanh(%0)}", None, None),
    ("Relu", "{relu(%0)}", None, None),
    ("Softsign", "{div(%0, add(abs(%0), 1.0))}", None, None),
    ("Softplus", "{softplus(%0)}", None, None),
    ("LeakyRelu", "{select(less(%0, 0.0), mul(%0, $alpha), %0)}", Some(0.01), None),
    ("ThresholdedRelu", "{select(greater(%0, $alpha), %0, 0.0)}", Some(1.0), None),
    ("Elu", "{select(less(%0, 0.0), mul(sub(exp(%0), 1.0), $alpha), %0)}", Some(1.0), None),
    ("HardSigmoid", "{clamp(add(mul(%0, $alpha), $beta), 0.0, 1.0)}", Some(0.2), Some(0.5)),
    ("Affine", "{add(mul(%0, $alpha), $beta)}", Some(1.0), Some(0.0)),
    ("ScaledTanh", "{mul(tanh(mul(%0, $beta)), $alpha)}", Some(f64::NAN), Some(f64::NAN)),
];

/// The activations of each direction: f, g, h.
fn activations(s: &Site, cell: Cell, directions: usize) -> Result<Vec<[Pointwise; 3]>, Fault> {
    let usual: &[&str] = match cell {
        Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        Cell::Gru => &["Sigmoid", "Tanh"],
        Cell::Rnn => &["Tanh"],
    };
    let names: Vec<String> = match s.attributes.strings("activations")? {
        Some(names) => names.into_iter().map(String::from).collect(),
        None => usual.repeat(directions).into_iter().map(String::from).collect(),
    };
    if names.len() != usual.len() * directions {
        invalid!("{} activations are needed, found {}", usual.len() * directions, names.len());
    }
    // Alphas and betas are given in order for those activations that have one.
    let mut alphas = s.attributes.floats("activation_alpha")?.unwrap_or_default().iter();
    let mut betas = s.attributes.floats("activation_beta")?.unwrap_or_default().iter();
    let clip = s.attributes.float("clip")?;
    let mut all = vec![];
    for names in names.chunks(usual.len()) {
        let mut of_direction = [const { Pointwise { steps: vec![] } }; 3];
        for (i, name) in names.iter().enumerate() {
            let Some((name, text, alpha, beta)) = ACTIVATIONS.iter().find(|row| row.0.eq_ignore_ascii_case(name)) else {
                unsupported!("the activation `{name}` is not known");
            };
            let mut text = text.to_string();
            for (parameter, default, given) in [("$alpha", alpha, &mut alphas), ("$beta", beta, &mut betas)] {
                let Some(default) = default else { continue };
                // The shortest decimal number that reads as this float.
                let value = given.next().map_or(Ok(*default), |x| x.to_string().parse()).unwrap_or(f64::NAN);
                if !value.is_finite() {
                    invalid!("the activation {name} needs a finite {}", &parameter[1..]);
                }
                text = text.replace(parameter, &format!("{value:?}"));
            }
            let mut body = ir::text::parse_pointwise(&text).map_err(|e| Fault::invalid(format!("activation `{text}`: {e}")))?;
            // What the gates hand over is clipped; the cell state is not, as in onnxruntime.
            if let Some(clip) = clip.filter(|c| c.is_finite() && i < 2) {
                let bounds = ir::text::parse_pointwise(&format!("{{clamp(%0, {:?}, {clip:?})}}", -clip));
                body = body.substitute(0, &bounds.map_err(|e| Fault::invalid(format!("clip {clip}: {e}")))?);
            }
            of_direction[i] = body;
        }
        all.push(of_direction);
    }
    Ok(all)
}

/// Everything but the activations, with time first and all inputs there.
struct Layer {
    op: Recurrent,
    /// Inputs of the operator in order, and the dimension in which each holds the directions.
    inputs: Vec<(ValueId, Option<usize>)>,
}

fn recurrent(s: &mut Site, cell: Cell) -> Result<Vec<ValueId>, Fault> {
    let direction = match s.attributes.string_or("direction", "forward")? {
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        "bidirectional" => Direction::Bidirectional,
        other => invalid!("`direction` must be forward, reverse or bidirectional, found `{other}`"),
    };
    let batch_first = match s.attributes.int_or("layout", 0)? {
        0 => false,
        1 => true,
        other => invalid!("`layout` must be 0 or 1, found {other}"),
    };
    let directions = direction.backwards().len();
    let activations = activations(s, cell, directions)?;
    let layer = layer(s, cell, direction, batch_first)?;
    let mut outputs =
        if activations.iter().all(|a| *a == activations[0]) { add(s, &layer, &activations[0])? } else { apart(s, &layer, &activations)? };
    if batch_first {
        outputs[0] = s.transpose(outputs[0], &[2, 0, 1, 3])?;
        for state in &mut outputs[1..] {
            *state = s.transpose(*state, &[1, 0, 2])?;
        }
    }
    Ok(outputs)
}

fn add(s: &mut Site, layer: &Layer, [f, g, h]: &[Pointwise; 3]) -> Result<Vec<ValueId>, Fault> {
    let op = Recurrent { f: f.clone(), g: g.clone(), h: h.clone(), ..layer.op.clone() };
    let inputs: Vec<ValueId> = layer.inputs.iter().map(|(v, _)| *v).collect();
    let node = s.graph.add_node(op, &inputs, &s.origin, &s.name)?;
    Ok(s.graph.node(node).outputs.clone())
}

/// Directions with different activations: a node each.
fn apart(s: &mut Site, layer: &Layer, activations: &[[Pointwise; 3]]) -> Result<Vec<ValueId>, Fault> {
    let mut parts: Vec<Vec<ValueId>> = vec![];
    for (d, (activations, direction)) in activations.iter().zip([Direction::Forward, Direction::Reverse]).enumerate() {
        let mut inputs = vec![];
        for (value, axis) in &layer.inputs {
            let Some(axis) = *axis else {
                inputs.push((*value, None));
                continue;
            };
            let Some(count) = s.shape(*value)[axis].div_exact(&2.into()) else { invalid!("two directions do not divide {}", s.ty(*value)) };
            let start = count.clone() * Dim::from(d as i64);
            inputs.push((s.slice(*value, axis, start, count, 1)?, Some(axis)));
        }
        let one = Layer { op: Recurrent { direction, ..layer.op.clone() }, inputs };
        parts.push(add(s, &one, activations)?);
    }
    (0..parts[0].len()).map(|i| s.concat(&[parts[0][i], parts[1][i]], usize::from(i == 0))).collect()
}

fn layer(s: &mut Site, cell: Cell, direction: Direction, batch_first: bool) -> Result<Layer, Fault> {
    let (mut x, w, r) = (s.input(0)?, s.input(1)?, s.input(2)?);
    if [x, w, r].iter().any(|v| s.rank(*v) != 3) {
        invalid!("X, W and R must have rank 3, found {}, {} and {}", s.ty(x), s.ty(w), s.ty(r));
    }
    if batch_first {
        x = s.transpose(x, &[1, 0, 2])?;
    }
    let dtype = s.dtype(x);
    let (gates, directions) = (cell.gates() as i64, direction.backwards().len() as i64);
    let Some(hidden) = s.shape(r)[2].as_const() else { return Err(Fault::run_time("size of the hidden state")) };
    if let Some(size) = s.attributes.int("hidden_size")?
        && size != hidden
    {
        invalid!("`hidden_size` is {size}, but R is {}", s.ty(r));
    }
    let (steps, batch, width) = (s.shape(x)[0].clone(), s.shape(x)[1].clone(), s.shape(x)[2].clone());
    let expected = [Dim::from(directions), (gates * hidden).into(), width.clone()];
    if s.shape(w) != expected {
        invalid!("W is {}, expected {expected:?} for X of {}", s.ty(w), s.ty(x));
    }

    let linear = cell == Cell::Gru && s.attributes.flag("linear_before_reset")?;
    let columns = s.reshape(w, vec![Dim::from(directions * gates * hidden), width])?;
    let mut gates_in = s.add(MatMul { transpose_b: true, epilogue: Pointwise::identity() }, &[x, columns])?;
    let mut recurrent_bias = None;
    if let Some(b) = s.optional(3) {
        let part = |s: &mut Site, first: i64, count: i64| s.slice(b, 1, (first * hidden).into(), (count * hidden).into(), 1);
        if s.shape(b) != [Dim::from(directions), (2 * gates * hidden).into()] {
            invalid!("B is {}, expected [{directions}, {}]", s.ty(b), 2 * gates * hidden);
        }
        let of_input = part(s, 0, gates)?;
        let of_state = if linear {
            recurrent_bias = Some(part(s, gates + 2, 1)?);
            let early = part(s, gates, 2)?;
            let none = s.constant_value(Tensor::zeros(dtype, &[directions as usize, hidden as usize]));
            s.concat(&[early, none], 1)?
        } else {
            part(s, gates, gates)?
        };
        let bias = s.binary(Fn::Add, of_input, of_state)?;
        let bias = s.reshape(bias, vec![Dim::from(directions * gates * hidden)])?;
        gates_in = s.binary(Fn::Add, gates_in, bias)?;
    }

    let state = vec![Dim::from(directions), batch, hidden.into()];
    let mut inputs = vec![(gates_in, Some(2)), (r, Some(0)), (initial(s, 5, &state, dtype, batch_first)?, Some(0))];
    let mut peepholes = false;
    if cell == Cell::Lstm {
        inputs.push((initial(s, 6, &state, dtype, batch_first)?, Some(0)));
        if let Some(p) = s.optional(7) {
            peepholes = true;
            inputs.push((p, Some(0)));
        }
    }
    if linear {
        let none = Tensor::zeros(dtype, &[directions as usize, hidden as usize]);
        inputs.push((recurrent_bias.unwrap_or_else(|| s.constant_value(none)), Some(0)));
    }
    let lengths = lengths(s, &steps)?;
    inputs.extend(lengths.map(|v| (v, None)));
    let identity = Pointwise::identity;
    let op = Recurrent {
        cell,
        direction,
        f: identity(),
        g: identity(),
        h: identity(),
        input_forget: cell == Cell::Lstm && s.attributes.flag("input_forget")?,
        linear_before_reset: linear,
        peepholes,
        lengths: lengths.is_some(),
    };
    Ok(Layer { op, inputs })
}

/// An initial state with directions first; zeros where the file leaves it out.
fn initial(s: &mut Site, i: usize, shape: &[Dim], dtype: DType, batch_first: bool) -> Result<ValueId, Fault> {
    match s.optional(i) {
        Some(v) if batch_first => s.transpose(v, &[1, 0, 2]),
        Some(v) => Ok(v),
        None => match ir::dim::const_dims(shape) {
            Some(shape) => Ok(s.constant_value(Tensor::zeros(dtype, &shape))),
            None => {
                let zero = s.constant_value(Tensor::zeros(dtype, &[1; 3]));
                s.expand(zero, shape.to_vec())
            }
        },
    }
}

/// The steps of each batch element, unless all are known to take all steps.
fn lengths(s: &mut Site, steps: &Dim) -> Result<Option<ValueId>, Fault> {
    let Some(v) = s.optional(4) else { return Ok(None) };
    if let (Some(known), Some(steps)) = (s.constant(v), steps.as_const())
        && known.to_i64s().iter().all(|l| *l == steps)
    {
        return Ok(None);
    }
    s.cast(v, DType::I32).map(Some)
}
