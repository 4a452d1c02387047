//! Other element types and special values for instances that the generator made.

use crate::instances::Rng;
use ir::{DType, Op, Tensor};

/// The type of the first operand, and of all that share it, becomes another now and then; some elements become special.
pub fn vary(op: &Op, mut inputs: Vec<Tensor>, rng: &mut Rng) -> (Op, Vec<Tensor>) {
    if let Some(from) = inputs.first().map(|t| t.dtype)
        && rng.range(0, 1) == 0
        && op.name() != "gather"
    {
        let to = rng.pick(DType::ALL);
        inputs.iter_mut().filter(|t| t.dtype == from).for_each(|t| *t = rng.tensor(to, &t.shape.clone()));
    }
    // Many steps of a recurrence with random weights double a rounding error again and again.
    if rng.range(0, 3) == 0 && op.name() != "recurrent" {
        enlarge(op, &mut inputs, rng);
    }
    let (chance, list) = match op.name() {
        "map" => (2, ANY),
        // States and lengths stay as they are.
        "recurrent" => return (op.clone(), inputs),
        _ => (4, SIMPLE),
    };
    if rng.range(1, chance) == 1 {
        // Padding is multiplied with weights as zeros are, so that weights which are not finite give NaN there; the
        // meaning leaves padding out. Indices stay in range.
        let spared = matches!(op.name(), "conv" | "gather").then_some(1);
        inputs.iter_mut().enumerate().filter(|(i, _)| Some(*i) != spared).for_each(|(_, t)| specialise(t, list, rng));
    }
    (op.clone(), inputs)
}

/// Most elements of an operand.
const ELEMENTS: usize = 10_000;

/// All sizes from 2 on grow by one factor, so that what fitted mostly fits: rows of many vectors with rests.
fn enlarge(op: &Op, inputs: &mut [Tensor], rng: &mut Rng) {
    let factor = rng.pick(&[3usize, 5, 9, 13]);
    let shape = |t: &Tensor| t.shape.iter().map(|d| if *d > 1 { d * factor } else { *d }).collect::<Vec<usize>>();
    if inputs.iter().any(|t| shape(t).iter().product::<usize>() > ELEMENTS) {
        return;
    }
    for t in inputs {
        let (old, shape) = (t.clone(), shape(t));
        // Indices stay in range.
        let repeat = op.name() == "gather" && !t.is_empty();
        *t = if repeat { Tensor::from_fn(t.dtype, &shape, |i| old.get_f64(i % old.len())) } else { rng.tensor(t.dtype, &shape) };
    }
}

const SIMPLE: &[f64] = &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0];

const ANY: &[f64] =
    &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 1e-40, -1e-40, 6e-8, 1.0, -1.0, 0.5, 2.5, 3.5, -7.0, 100.0, 300.0, -88.0];

fn specialise(t: &mut Tensor, list: &[f64], rng: &mut Rng) {
    let dtype = t.dtype;
    let random = rng.tensor(dtype, &t.shape.clone());
    let value = |i: usize, rng: &mut Rng| if rng.range(0, 2) == 0 { rng.pick(list) } else { random.get_f64(i) };
    if dtype.is_float() {
        *t = Tensor::from_fn(dtype, &t.shape.clone(), |i| value(i, rng));
    } else if dtype.is_int() && dtype.bits() >= 8 {
        // The ends of the range, and any bits.
        let size = dtype.bytes();
        let sign = 1u64 << (8 * size - 1);
        for i in 0..t.len() {
            let bits = match rng.range(0, 8) {
                0 => sign,
                1 => sign - 1,
                2 => u64::MAX,
                3 => 0,
                4 => rng.bits(),
                _ => continue,
            };
            t.bytes_mut()[i * size..][..size].copy_from_slice(&bits.to_le_bytes()[..size]);
        }
    }
}
