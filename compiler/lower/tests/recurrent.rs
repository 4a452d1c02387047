//! LSTM, GRU and RNN: random instances against `eval`.

mod common;

use common::{Rng, check, check_with};
use ir::ops::contract::conv::{Conv, DataLayout};
use ir::ops::recurrent::recurrent_op::{Cell, Direction, Recurrent};
use ir::text::parse_pointwise;
use ir::{DType, Graph, Op, Pointwise, Tensor, TensorType, ValueId};

const ACTIVATIONS: &[&str] = &[
    "{sigmoid(%0)}",
    "{tanh(%0)}",
    "{relu(%0)}",
    "{tanh(clamp(%0, -0.5, 0.5))}",
    "{div(%0, add(1.0, abs(%0)))}",
    "{add(max(%0, 0.0), mul(0.01, min(%0, 0.0)))}",
    "{clamp(add(mul(0.2, %0), 0.5), 0.0, 1.0)}",
];

/// Sizes and what is special about an instance.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    steps: usize,
    batch: usize,
    hidden: usize,
    constant: bool,
}

fn add(graph: &mut Graph, inputs: &mut Vec<Tensor>, tensor: Tensor, constant: bool) -> ValueId {
    if constant {
        return graph.add_const("c", tensor);
    }
    inputs.push(tensor);
    let ty = TensorType::of(inputs.last().unwrap());
    graph.add_input(&format!("x{}", inputs.len()), ty)
}

/// A graph of one node, all of whose outputs are the graph's.
fn instance(rng: &mut Rng, op: Recurrent, sizes: Sizes) -> (Graph, Vec<Tensor>) {
    let Sizes { steps, batch, hidden, constant } = sizes;
    let (directions, gates) = (op.direction.backwards().len(), op.cell.gates());
    let mut graph = Graph::new("recurrent");
    let mut inputs = vec![];
    let x = rng.tensor(DType::F32, &[steps, batch, directions * gates * hidden]);
    let mut operands = vec![add(&mut graph, &mut inputs, x, false)];
    // Sums of about the same size whatever the width.
    let scale = 2.0 / (hidden as f64).sqrt();
    let weights = Tensor::from_fn(DType::F32, &[directions, gates * hidden, hidden], |_| scale * rng.float());
    operands.push(add(&mut graph, &mut inputs, weights, constant));
    let states = if op.cell == Cell::Lstm { 2 } else { 1 };
    for _ in 0..states {
        let state = rng.tensor(DType::F32, &[directions, batch, hidden]);
        operands.push(add(&mut graph, &mut inputs, state, rng.chance(30)));
    }
    if op.peepholes {
        let p = rng.tensor(DType::F32, &[directions, 3 * hidden]);
        operands.push(add(&mut graph, &mut inputs, p, constant));
    }
    if op.linear_before_reset {
        let bias = rng.tensor(DType::F32, &[directions, hidden]);
        operands.push(add(&mut graph, &mut inputs, bias, constant));
    }
    if op.lengths {
        let lengths: Vec<i32> = (0..batch).map(|_| rng.range(0, steps) as i32).collect();
        operands.push(add(&mut graph, &mut inputs, Tensor::new(&[batch], &lengths), constant));
    }
    let node = graph.add_node(Op::from(op), &operands, &["layer".into()], "y").unwrap();
    for (i, output) in graph.node(node).outputs.clone().into_iter().enumerate() {
        graph.add_output(&format!("y{i}"), output);
    }
    (graph, inputs)
}

fn random(rng: &mut Rng, cell: Cell) -> Recurrent {
    let activation = |rng: &mut Rng, usual: usize| {
        let at = if rng.chance(60) { usual } else { rng.range(0, ACTIVATIONS.len() - 1) };
        parse_pointwise(ACTIVATIONS[at]).unwrap()
    };
    Recurrent {
        cell,
        direction: Direction::ALL[rng.range(0, 2)],
        f: activation(rng, 0),
        g: activation(rng, 1),
        h: activation(rng, 1),
        input_forget: cell == Cell::Lstm && rng.chance(20),
        linear_before_reset: cell == Cell::Gru && rng.chance(50),
        peepholes: cell == Cell::Lstm && rng.chance(30),
        lengths: rng.chance(30),
    }
}

#[test]
fn random_instances() {
    for cell in Cell::ALL {
        let mut rng = Rng(11 + *cell as u64);
        for _ in 0..70 {
            let op = random(&mut rng, *cell);
            let sizes = Sizes { steps: rng.range(1, 5), batch: rng.range(1, 7), hidden: rng.range(1, 41), constant: rng.chance(70) };
            let (graph, inputs) = instance(&mut rng, op, sizes);
            check(&graph, &inputs, 2e-5);
        }
    }
}

#[test]
fn fused_multiply_add_stays_close() {
    let mut rng = Rng(5);
    for cell in Cell::ALL {
        let op = random(&mut rng, *cell);
        let (graph, inputs) = instance(&mut rng, op, Sizes { steps: 4, batch: 2, hidden: 24, constant: true });
        check_with(&graph, &inputs, 2e-5, &lower::Options { relaxed: true, ..Default::default() });
    }
}

#[test]
fn nothing_to_do() {
    let mut rng = Rng(6);
    for (steps, batch, hidden) in [(0, 2, 3), (3, 0, 3), (0, 0, 3), (2, 2, 0)] {
        for lengths in [false, true] {
            let op = Recurrent { lengths, ..random(&mut rng, Cell::Lstm) };
            let (graph, inputs) = instance(&mut rng, op, Sizes { steps, batch, hidden, constant: true });
            check(&graph, &inputs, 1e-6);
        }
    }
}

/// The first output alone, or the last state alone, is read by others.
#[test]
fn outputs_that_nobody_needs() {
    let mut rng = Rng(7);
    for keep in 0..3 {
        let op = random(&mut rng, Cell::Lstm);
        let (mut graph, inputs) = instance(&mut rng, op, Sizes { steps: 3, batch: 2, hidden: 10, constant: true });
        graph.outputs = vec![graph.outputs[keep].clone()];
        check(&graph, &inputs, 1e-5);
    }
}

/// A padded convolution wants a margin around what it reads.
#[test]
fn outputs_with_a_margin() {
    let mut rng = Rng(8);
    for from in 0..3 {
        let op = Recurrent { direction: Direction::Bidirectional, ..random(&mut rng, Cell::Lstm) };
        let (mut graph, inputs) = instance(&mut rng, op, Sizes { steps: 3, batch: 4, hidden: 6, constant: true });
        let x = graph.outputs[from].value;
        let spatial = graph.ty(x).rank() - 2;
        let channels = graph.ty(x).const_shape().unwrap()[1];
        let kernel: Vec<usize> = [3, channels].into_iter().chain(vec![3; spatial]).collect();
        let weights = graph.add_const("w", rng.tensor(DType::F32, &kernel));
        let conv = Conv {
            strides: vec![1; spatial],
            pads: vec![1; 2 * spatial],
            dilations: vec![1; spatial],
            group: 1,
            data: DataLayout::Nchw,
            pad_value: 0,
            epilogue: Pointwise::identity(),
        };
        let y = graph.add(conv, &[x, weights], &["conv".into()], "y").unwrap();
        graph.outputs.clear();
        graph.add_output("y", y);
        check(&graph, &inputs, 2e-5);
    }
}

#[test]
fn other_types_are_refused() {
    let mut graph = Graph::new("recurrent");
    let mut input = |shape: &[i64]| graph.add_input("x", TensorType::new(DType::F64, shape.iter().copied()));
    let operands = [input(&[2, 1, 3]), input(&[1, 3, 3]), input(&[1, 1, 3])];
    let tanh = parse_pointwise("{tanh(%0)}").unwrap();
    let op = Recurrent {
        cell: Cell::Rnn,
        direction: Direction::Forward,
        f: tanh.clone(),
        g: tanh.clone(),
        h: tanh,
        input_forget: false,
        linear_before_reset: false,
        peepholes: false,
        lengths: false,
    };
    let y = graph.add(op, &operands, &["layer".into()], "y").unwrap();
    graph.add_output("y", y);
    let errors = lower::lower(&graph, &lower::Options::default()).unwrap_err();
    assert_eq!(errors[0].to_string(), "layer: a recurrence of f64 elements is not supported");
}
