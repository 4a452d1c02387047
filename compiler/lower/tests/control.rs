//! Branches and loops against `eval`: by hand, and random ones within each other.

mod common;

use common::{Rng, check, execute_plan};
use ir::ops::control::{If, Loop, Subgraph};
use ir::ops::map::Map;
use ir::ops::reduce::reduce_op::{Reduce, ReduceKind};
use ir::ops::shuffle::{concat::Concat, reshape::Reshape, slice::Slice, transpose::Transpose};
use ir::pointwise::Fn;
use ir::text::parse_graph;
use ir::verify::verify;
use ir::{B8, DType, Graph, Pointwise, Tensor, TensorType, ValueId};

/// Checks a text on each list of inputs.
fn check_text(text: &str, cases: &[Vec<Tensor>]) {
    let graph = parse_graph(text).unwrap();
    verify(&graph).unwrap();
    cases.iter().for_each(|inputs| check(&graph, inputs, 1e-6));
}

fn scalar(n: i64) -> Tensor {
    Tensor::scalar(n)
}
fn flag(b: bool) -> Tensor {
    Tensor::scalar(B8(b.into()))
}
fn floats(n: usize) -> Tensor {
    Rng(n as u64).tensor(DType::F32, &[n])
}

#[test]
fn a_branch_takes_one_way() {
    let text = r#"%c: bool[] = input %x: f32[40] = input
        %y, %z = if(%c, %x;
            then={graph "t" %x: f32[40] = input %a = relu(%x) %b = add(%a, %x) output "a" = %a output "b" = %b},
            otherwise={graph "e" %x: f32[40] = input %w: f32[40] = const random(3) %a = mul(%x, %w) output "a" = %w output "b" = %a})
        %s = add(%y, %z) output "s" = %s output "y" = %y"#;
    check_text(text, &[vec![flag(true), floats(40)], vec![flag(false), floats(40)]]);
}

#[test]
fn a_branch_may_pass_what_it_captures() {
    let text = r#"%c: bool[] = input %x: f32[7] = input
        %d = if(%c, %x; then={graph "t" %x: f32[7] = input output "x" = %x},
            otherwise={graph "e" %x: f32[7] = input %y = reshape(%x; shape=[1,7]) %n = neg(%y) %z = reshape(%n; shape=[7]) output "z" = %z})
        output "d" = %d output "x" = %x"#;
    check_text(text, &[vec![flag(true), floats(7)], vec![flag(false), floats(7)]]);
}

#[test]
fn a_constant_condition_needs_no_folding() {
    let text = r#"%c: bool[] = const [true] %x: f32[7] = input
        %d = if(%c, %x; then={graph "t" %x: f32[7] = input %y = relu(%x) output "y" = %y},
            otherwise={graph "e" %x: f32[7] = input output "x" = %x}) output "d" = %d"#;
    check_text(text, &[vec![floats(7)]]);
}

/// Two values change places in every iteration, a third one grows by what is captured.
const SWAP: &str = r#"%n: i64[] = input %c: bool[] = input %x: f32[9] = input %y: f32[9] = input
    %a, %b, %s = loop(%n, %c, %x, %y, %x, %y; carried=3, capacity=[], body={graph "b"
        %i: i64[] = input %a: f32[9] = input %b: f32[9] = input %s: f32[9] = input %y: f32[9] = input
        %k: bool[] = const [true] %t = add(%s, %y) output "k" = %k output "a" = %b output "b" = %a output "s" = %t})
    output "a" = %a output "b" = %b output "s" = %s output "x" = %x"#;

#[test]
fn carried_values_may_change_places() {
    let case = |n: i64, go: bool| vec![scalar(n), flag(go), floats(9), Rng(77).tensor(DType::F32, &[9])];
    check_text(SWAP, &[case(0, true), case(1, true), case(4, true), case(5, false), case(-1, true)]);
}

#[test]
fn a_condition_from_data_ends_a_loop() {
    let text = r#"%n: i64[] = input %x: f32[33] = input %limit: f32[] = input %c: bool[] = const [true]
        %y, %j = loop(%n, %c, %x, %n, %limit; carried=2, capacity=[], body={graph "b"
            %i: i64[] = input %x: f32[33] = input %j: i64[] = input %limit: f32[] = input
            %y = add(%x, %x) %m = reduce(%y; kind=max, axes=[0]) %k = less(%m, %limit)
            output "k" = %k output "y" = %y output "i" = %i})
        output "y" = %y output "j" = %j"#;
    let case = |n: i64, limit: f32| vec![scalar(n), floats(33), Tensor::scalar(limit)];
    check_text(text, &[case(100, 1000.0), case(3, 1000.0), case(100, 0.0), case(0, 0.0)]);
}

/// Running sums along the first axis, and the iteration numbers, backwards.
const SCAN: &str = r#"%x: f32[5,3] = input %n: i64[] = const [5] %c: bool[] = const [true] %z: f32[3] = const splat(0.5)
    %s, %all, %numbers = loop(%n, %c, %z, %x; carried=1, capacity=[5], body={graph "b"
        %i: i64[] = input %s: f32[3] = input %x: f32[5,3] = input %k: bool[] = const [true]
        %four: i64[] = const [4] %at = sub(%four, %i) %row = gather(%x, %at; axis=0) %t = add(%s, %row)
        output "k" = %k output "t" = %t output "t2" = %t output "at" = %at})
    output "s" = %s output "all" = %all output "numbers" = %numbers"#;

#[test]
fn stacked_results_are_in_the_order_of_iterations() {
    check_text(SCAN, &[vec![Rng(5).tensor(DType::F32, &[5, 3])]]);
}

#[test]
fn stacks_of_another_size_than_declared_are_an_error() {
    let text = SCAN.replace("%n: i64[] = const [5]", "%n: i64[] = input");
    let graph = parse_graph(&text).unwrap();
    let plan = lower::lower(&graph, &lower::Options::default()).unwrap();
    let run = |n: i64| execute_plan(&plan, &[Tensor::zeros(DType::F32, &[5, 3]), scalar(n)]).map(|_| ());
    run(5).unwrap();
    for n in [0, 4, 6, 1 << 40] {
        let error = run(n).unwrap_err();
        assert!(error.contains("SizeOutOfBounds"), "{n}: {error}");
    }
}

#[test]
fn a_stack_may_be_empty() {
    let text = SCAN.replace("const [5]", "const [0]").replace("capacity=[5]", "capacity=[0]");
    check_text(&text, &[vec![Tensor::zeros(DType::F32, &[5, 3])]]);
}

#[test]
fn loops_within_loops_keep_what_the_outer_one_captured() {
    let text = r#"%n: i64[] = input %m: i64[] = input %x: f32[20] = input %w: f32[20] = input %c: bool[] = const [true]
        %late = exp(%w)
        %y = loop(%n, %c, %x, %m, %w, %late; carried=1, capacity=[], body={graph "outer"
            %i: i64[] = input %x: f32[20] = input %m: i64[] = input %w: f32[20] = input %late: f32[20] = input
            %k: bool[] = const [true] %h = mul(%x, %w)
            %y = loop(%m, %k, %h, %x, %w; carried=1, capacity=[], body={graph "inner"
                %j: i64[] = input %h: f32[20] = input %x: f32[20] = input %w: f32[20] = input
                %two: i64[] = const [2] %r = mod(%j, %two) %z: i64[] = const [0] %odd = equal(%r, %z) %k: bool[] = const [true]
                %g = if(%odd, %h, %x, %w; then={graph "t" %h: f32[20] = input %x: f32[20] = input %w: f32[20] = input
                    %a = sub(%h, %w) output "a" = %a}, otherwise={graph "e" %h: f32[20] = input %x: f32[20] = input %w: f32[20] = input
                    %a = add(%x, %h) %b = tanh(%a) output "b" = %b})
                output "k" = %k output "g" = %g})
            %z = add(%y, %late) output "k" = %k output "z" = %z})
        output "y" = %y"#;
    let case = |n: i64, m: i64| vec![scalar(n), scalar(m), floats(20), Rng(3).tensor(DType::F32, &[20])];
    check_text(text, &[case(3, 4), case(0, 3), case(2, 0), case(1, 1)]);
}

/// Grows a graph of values that stay small, with branches and loops in it.
struct Maker<'r> {
    rng: &'r mut Rng,
}

impl Maker<'_> {
    fn add(&mut self, g: &mut Graph, op: impl Into<ir::Op>, inputs: &[ValueId]) -> ValueId {
        g.add(op, inputs, &["layer".into()], "v").unwrap_or_else(|e| panic!("{e}\n{g}"))
    }

    fn some(&mut self, list: &[ValueId]) -> ValueId {
        list[self.rng.range(0, list.len() - 1)]
    }

    /// A number and a condition that depend on data.
    fn steer(&mut self, g: &mut Graph, x: ValueId) -> (ValueId, ValueId) {
        let axes = (0..g.ty(x).rank() as i64).collect();
        let sum = self.add(g, Reduce { kind: ReduceKind::Sum, axes, keepdims: false, epilogue: Pointwise::identity() }, &[x]);
        let zero = g.add_const("zero", Tensor::scalar(0.0f32));
        let condition = self.add(g, Map::of(Fn::Less), &[zero, sum]);
        let number = self.add(g, Map::of(Fn::Cast(DType::I64)), &[sum]);
        let four = g.add_const("four", Tensor::scalar(4i64));
        (self.add(g, Map::of(Fn::Mod), &[number, four]), condition)
    }

    /// One more value among `list`, all of shape [3, 4].
    fn grow(&mut self, g: &mut Graph, list: &mut Vec<ValueId>, depth: usize) {
        let (a, b) = (self.some(list), self.some(list));
        let choice = self.rng.range(0, if depth > 0 { 9 } else { 6 });
        let new = match choice {
            0 => self.add(g, Map::of(Fn::Tanh), &[a]),
            1 | 2 => {
                let sum = self.add(g, Map::of(if choice == 1 { Fn::Sub } else { Fn::Mul }), &[a, b]);
                self.add(g, Map::of(Fn::Tanh), &[sum])
            }
            3 => {
                let turned = self.add(g, Transpose { perm: vec![1, 0] }, &[a]);
                self.add(g, Reshape { shape: vec![3i64.into(), 4i64.into()] }, &[turned])
            }
            4 => {
                let both = self.add(g, Concat { axis: 1 }, &[a, b]);
                let (starts, counts) = (vec![0i64.into(), 2i64.into()], vec![3i64.into(), 4i64.into()]);
                self.add(g, Slice { starts, counts, steps: vec![1, 1] }, &[both])
            }
            5 => g.add_const("c", self.rng.tensor(DType::F32, &[3, 4])),
            6 => self.add(g, Reshape { shape: vec![3i64.into(), 4i64.into()] }, &[a]),
            7 => {
                let (_, condition) = self.steer(g, a);
                let captured: Vec<ValueId> = (0..self.rng.range(1, 3)).map(|_| self.some(list)).collect();
                let results = self.rng.range(1, 2);
                let then = self.body(g, &[], &captured, results, 0, depth - 1);
                let otherwise = self.body(g, &[], &captured, results, 0, depth - 1);
                let inputs: Vec<ValueId> = [condition].into_iter().chain(captured).collect();
                return list.extend(self.node(g, If { then, otherwise, sizes: Default::default() }.into(), &inputs));
            }
            _ => {
                let (trips, condition) = self.steer(g, a);
                let carried: Vec<ValueId> = (0..self.rng.range(1, 3)).map(|_| self.some(list)).collect();
                let captured: Vec<ValueId> = (0..self.rng.range(0, 2)).map(|_| self.some(list)).collect();
                let stacked = self.rng.range(0, 1);
                let (trips, condition) = match stacked {
                    0 => (trips, condition),
                    _ => (g.add_const("three", Tensor::scalar(3i64)), g.add_const("go", flag(true))),
                };
                let body = self.body(g, &carried, &captured, carried.len(), stacked, depth - 1);
                let inputs: Vec<ValueId> = [trips, condition].into_iter().chain(carried.iter().copied()).chain(captured).collect();
                let capacity = if stacked > 0 { vec![3i64.into()] } else { vec![] };
                let mut results = self.node(g, Loop { carried: carried.len() as i64, capacity, body }.into(), &inputs);
                if stacked > 0 {
                    let stack = results.pop().expect("a result");
                    results.push(self.add(
                        g,
                        Reduce { kind: ReduceKind::Max, axes: vec![0], keepdims: false, epilogue: Pointwise::identity() },
                        &[stack],
                    ));
                }
                return list.extend(results);
            }
        };
        list.push(new);
    }

    fn node(&mut self, g: &mut Graph, op: ir::Op, inputs: &[ValueId]) -> Vec<ValueId> {
        let node = g.add_node(op, inputs, &["flow".into()], "v").unwrap_or_else(|e| panic!("{e}\n{g}"));
        g.node(node).outputs.clone()
    }

    /// A body of these inputs; of a loop, when something is carried.
    fn body(&mut self, outer: &Graph, carried: &[ValueId], captured: &[ValueId], results: usize, stacked: usize, depth: usize) -> Subgraph {
        let mut g = Graph::new("body");
        let number = (!carried.is_empty()).then(|| g.add_input("i", TensorType::new(DType::I64, [0i64; 0])));
        let mut list: Vec<ValueId> = carried.iter().chain(captured).map(|v| g.add_input("x", outer.ty(*v).clone())).collect();
        for (i, id) in list.clone().into_iter().enumerate() {
            g.value_mut(id).name = format!("x{i}");
        }
        for _ in 0..self.rng.range(1, 6) {
            self.grow(&mut g, &mut list, depth);
        }
        if let Some(number) = number {
            let last = *list.last().expect("not empty");
            let keep = match stacked {
                0 => self.steer(&mut g, last).1,
                _ => {
                    let many = g.add_const("many", Tensor::scalar(100i64));
                    self.add(&mut g, Map::of(Fn::Less), &[number, many])
                }
            };
            g.add_output("keep", keep);
        }
        for i in 0..results + stacked {
            let value = self.some(&list);
            g.add_output(&format!("y{i}"), value);
        }
        Subgraph::new(g)
    }
}

#[test]
fn random_control_flow() {
    let (mut branches, mut loops) = (0, 0);
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let mut g = Graph::new("random");
        let mut list: Vec<ValueId> = (0..2).map(|i| g.add_input(&format!("x{i}"), TensorType::new(DType::F32, [3i64, 4]))).collect();
        let mut maker = Maker { rng: &mut rng };
        for _ in 0..8 {
            maker.grow(&mut g, &mut list, 3);
        }
        for i in 0..3 {
            let value = list[list.len() - 1 - i];
            g.add_output(&format!("y{i}"), value);
        }
        verify(&g).unwrap_or_else(|e| panic!("seed {seed}: {e:?}\n{g}"));
        let text = g.to_string();
        assert_eq!(parse_graph_again(&text, &g), text, "seed {seed}");
        branches += text.matches("= if(").count();
        loops += text.matches("= loop(").count();
        let inputs = [rng.tensor(DType::F32, &[3, 4]), rng.tensor(DType::F32, &[3, 4])];
        check(&g, &inputs, 1e-4);
    }
    println!("{branches} branches, {loops} loops");
    assert!(branches > 200 && loops > 200);
}

/// The text of the parsed text, constants looked up in the graph and the graphs within.
fn parse_graph_again(text: &str, graph: &Graph) -> String {
    fn find(graph: &Graph, hash: u64) -> Option<std::sync::Arc<Tensor>> {
        let own = graph.value_ids().filter_map(|id| graph.constant(id)).find(|t| t.content_hash() == hash).cloned();
        own.or_else(|| graph.order().into_iter().flat_map(|id| graph.node(id).op.subgraphs()).find_map(|body| find(body, hash)))
    }
    ir::text::parse_graph_with(text, &|hash| find(graph, hash)).unwrap_or_else(|e| panic!("{e}\n{text}")).to_string()
}
