//! Every operator's lowering, executed, gives what its meaning says, on random instances.

use crate::instances::{Rng, instance};
use ir::algorithm::interpret;
use ir::algorithm::recurrent::interpret_recurrent;
use ir::{Algorithm, DType, Op, Tensor, TensorType};

/// Instances with at least one element, per operator; empty ones are checked on the way.
const INSTANCES: usize = 250;

fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-9,
        DType::F32 => 1e-5,
        DType::F16 => 4e-3,
        DType::BF16 => 3e-2,
        _ => 0.0,
    }
}

fn differs(a: &Tensor, b: &Tensor) -> Option<usize> {
    (0..a.len()).find(|i| {
        let (x, y) = (a.get_f64(*i), b.get_f64(*i));
        !(x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance(a.dtype) * (1.0 + x.abs()))
    })
}

fn check(name: &str) {
    let mut rng = Rng(name.bytes().fold(1, |h, b| h * 31 + u64::from(b)));
    let (mut valid, mut tried) = (0, 0);
    while valid < INSTANCES {
        tried += 1;
        assert!(tried < 20 * INSTANCES, "{name}: only {valid} of {tried} instances fit");
        let (op, inputs) = instance(name, &mut rng);
        let types: Vec<TensorType> = inputs.iter().map(TensorType::of).collect();
        let types: Vec<&TensorType> = types.iter().collect();
        let Ok(outputs) = op.infer(&types) else { continue };
        let shown = || format!("{op} of {}", types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        let operands: Vec<&Tensor> = inputs.iter().collect();
        let meaning = op.eval(&operands).unwrap_or_else(|e| panic!("{}: {e}", shown())).remove(0);
        assert_eq!(TensorType::of(&meaning), outputs[0], "{}", shown());
        let algorithm = op.def().algorithm(&types, &outputs[0]);
        let lowered = interpret(&algorithm, &operands, &outputs[0]).unwrap_or_else(|e| panic!("{}: {e}", shown()));
        assert_eq!(TensorType::of(&lowered), outputs[0], "{}", shown());
        if let Some(i) = differs(&meaning, &lowered) {
            panic!("{}: element {i} is {} by meaning and {} by algorithm", shown(), meaning.get_f64(i), lowered.get_f64(i));
        }
        if let Algorithm::Recurrent(recurrence) = &algorithm {
            let all = interpret_recurrent(recurrence, &operands).unwrap_or_else(|e| panic!("{}: {e}", shown()));
            for (o, (state, expected)) in all.iter().zip(op.eval(&operands).unwrap()).enumerate() {
                assert!(differs(&expected, state).is_none(), "{}: output {o} by algorithm differs", shown());
            }
        }
        valid += usize::from(!meaning.is_empty());
    }
}

/// Operators that hold graphs: their own tests cover them.
const CONTROL: [&str; 3] = ["if", "loop", "measure"];

/// Operators that are no routines.
fn nests() -> impl Iterator<Item = &'static str> {
    Op::NAMES.iter().copied().filter(|name| routines::find(name).is_none() && !CONTROL.contains(name))
}

#[test]
fn meaning_and_algorithm_agree() {
    let failures: Vec<&str> = nests().filter(|name| std::panic::catch_unwind(|| check(name)).is_err()).collect();
    assert!(failures.is_empty(), "{failures:?}");
}
