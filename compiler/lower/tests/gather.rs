//! Gathers along all axes, by indices of all integer types and ranks, constant or not, against `eval`.

mod common;

use common::{Rng, check, execute_plan};
use ir::ops::gather::gather_op::Gather;
use ir::{DType, Graph, Tensor, TensorType};

fn graph(axis: usize, data: &Tensor, indices: &Tensor, constant: [bool; 2]) -> (Graph, Vec<Tensor>) {
    let mut g = Graph::new("gather");
    let mut inputs = vec![];
    let mut add = |g: &mut Graph, t: &Tensor, constant: bool| {
        if constant {
            return g.add_const("c", t.clone());
        }
        inputs.push(t.clone());
        g.add_input("x", TensorType::of(t))
    };
    let ids = [add(&mut g, data, constant[0]), add(&mut g, indices, constant[1])];
    let y = g.add(Gather { axis: axis as i64 }, &ids, &["layer".into()], "y").unwrap();
    g.add_output("y", y);
    (g, inputs)
}

#[test]
fn gathers() {
    let mut rng = Rng(1);
    let types = [DType::F32, DType::F32, DType::U8, DType::F16, DType::I64, DType::Bool];
    let index_types = [DType::I64, DType::I64, DType::I32, DType::I32, DType::U8, DType::I16, DType::U32];
    for case in 0..300 {
        let rank = rng.range(1, 4);
        let shape: Vec<usize> = (0..rank).map(|_| rng.range(1, 9)).collect();
        let axis = rng.range(0, rank - 1);
        let dtype = types[rng.range(0, 5)];
        let data = Tensor::from_fn(dtype, &shape, |i| (i % if dtype == DType::Bool { 2 } else { 200 }) as f64);
        let index_rank = rng.range(0, 2);
        let index_shape: Vec<usize> = (0..index_rank).map(|_| if rng.chance(4) { 0 } else { rng.range(1, 6) }).collect();
        let index_type = index_types[rng.range(0, 6)];
        let n = shape[axis] as i64;
        let low = if index_type.class() == ir::dtype::Class::Unsigned { 0 } else { -n };
        let ordered = rng.chance(40);
        let indices = Tensor::from_fn(index_type, &index_shape, |i| {
            if ordered { (i as i64 % n) as f64 } else { (low + (rng.next() % (n - low) as u64) as i64) as f64 }
        });
        let constant = [rng.chance(30), rng.chance(40)];
        let (g, inputs) = graph(axis, &data, &indices, constant);
        println!("case {case}: {g}");
        check(&g, &inputs, 0.0);
    }
}

#[test]
fn embedding() {
    let mut rng = Rng(2);
    for (rows, width, n) in [(100, 384, 128), (50, 33, 700), (7, 20000, 3), (9000, 1, 9000)] {
        let table = rng.tensor(DType::F32, &[rows, width]);
        let indices = Tensor::from_fn(DType::I64, &[1, n], |_| (rng.next() % rows as u64) as f64);
        let (g, inputs) = graph(0, &table, &indices, [true, false]);
        check(&g, &inputs, 0.0);
    }
}

/// An index outside the axis ends the run with its value, constant or not; nothing outside the tensor is touched.
#[test]
fn indices_outside_the_axis_are_reported() {
    let data = Tensor::new(&[3], &[1.0f32, 2.0, 3.0]);
    for bad in [3i64, -4, 5, i64::MAX, i64::MIN] {
        let indices = Tensor::new(&[4], &[2, -3, bad, 0]);
        for constant in [false, true] {
            let (g, inputs) = graph(0, &data, &indices, [false, constant]);
            let plan = lower::lower(&g, &Default::default()).unwrap();
            let error = execute_plan(&plan, &inputs).unwrap_err().to_string();
            assert!(error.contains("IndexOutOfRange"), "{bad}: {error}");
        }
    }
}
