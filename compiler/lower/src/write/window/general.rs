//! The form for everything else: any element type, any strides. Sixteen elements along one axis of the output at a time,
//! each tap read where it lies. It is correct first; models that matter go through `channels.rs`.

use super::loops::{Tasks, for_rows, for_taps, split_taps};
use super::{Cursor, Nest, Place, bytes, combine_fn};
use crate::LowerError;
use crate::cx::{Cx, NodeCx, new_kernel};
use crate::lanes::{self, Lanes, Pattern};
use crate::pointwise;
use ir::algorithm::{Axis, Combine};
use ir::pointwise::Fn;
use ir::tensor::indices;
use ir::{DType, Pointwise};
use kernel::{E, F32x4, F64x2, I32, I32x4, I64x2, K, V};

const LANES: usize = 4;
/// Elements of a tile.
const TILE: usize = 4 * LANES;
/// Taps in one unrolled body.
const UNROLLED: usize = 9;

pub fn write(cx: &mut Cx, nest: &Nest, nx: &NodeCx) -> Result<(), LowerError> {
    let dtype = nest.sum;
    let function = Pointwise::of(combine_fn(nest.window.combine));
    let unsupported = |what: String| LowerError::Unsupported { layer: nx.name.clone(), what };
    pointwise::supported(&function, &[dtype, dtype]).map_err(unsupported)?;
    if nest.window.combine == Combine::Product {
        return Err(unsupported("a window of products".into()));
    }
    let w = nest.window.w.as_ref().map(|a| Place::new(nx.input(cx, a.operand), &a.index, &nest.extents));
    let w = if nest.extents.contains(&0) { w.map(|w| w.unread(&nest.out)) } else { w };
    if w.is_some() {
        pointwise::supported(&Pointwise::of(Fn::Mul), &[dtype, dtype]).map_err(unsupported)?;
    }
    let vector = vector_axis(nest);
    let rows: Vec<Axis> = nest.parallel.iter().copied().filter(|a| Some(*a) != vector).collect();
    let tasks = Tasks::of_rows(nest.product(&rows), nest.tasks_wanted(cx));
    let width = vector.map_or(1, |a| nest.extents[a]);

    let mut k = new_kernel(nest.name(&format!("n{width}")), &cx.options);
    let places: Vec<Option<&Place>> =
        [Some(&nest.x), w.as_ref(), Some(&nest.out)].into_iter().chain(nest.operands.iter().map(Some)).collect();
    let names = ["x", "w", "out"].into_iter().chain(std::iter::repeat("operand"));
    let cursors: Vec<Option<Cursor>> =
        places.iter().zip(names).map(|(place, name)| place.map(|place| Cursor { place, at: place.param(&mut k, name) })).collect();
    let args = places.iter().flatten().map(|place| place.arg()).collect();
    let form = General { nest, vector, function, dtype };
    for_rows(&mut k, nest, &rows, None, &tasks, |k, row| {
        let at_row = moved(k, &cursors, "at_row", row);
        k.for_tiles("tile", width, TILE, |k, start, width| {
            let by: Vec<(Axis, E<I32>)> = vector.map(|axis| (axis, start)).into_iter().collect();
            let at_tile = moved(k, &at_row, "at_tile", &by);
            form.tile(k, &at_tile, width);
        });
    });
    cx.step(k.finish(), args, tasks.count(), nest.macs(), nx.origin, &[&nest.out.view], &[]);
    Ok(())
}

fn moved<'a>(k: &mut K, cursors: &[Option<Cursor<'a>>], name: &str, by: &[(Axis, E<I32>)]) -> Vec<Option<Cursor<'a>>> {
    cursors.iter().map(|c| c.map(|c| c.moved(k, name, by))).collect()
}

/// The axis along which the output is contiguous, else the longest one.
fn vector_axis(nest: &Nest) -> Option<Axis> {
    let mut axes = nest.parallel.iter().copied().filter(|a| nest.extents[*a] > 1);
    axes.clone().find(|a| nest.out.stride(*a) == 1).or_else(|| axes.by_ref().max_by_key(|a| nest.extents[*a]))
}

struct General<'n> {
    nest: &'n Nest<'n>,
    /// None: there is one element.
    vector: Option<Axis>,
    function: Pointwise,
    dtype: DType,
}

impl General<'_> {
    /// `width` elements. Cursors: the operand, the weights, the output, the epilogue's operands.
    fn tile(&self, k: &mut K, cursors: &[Option<Cursor>], width: usize) {
        let vectors: Vec<usize> = (0..width).step_by(LANES).map(|start| (width - start).min(LANES)).collect();
        // Maximum and minimum may start from any tap, since counting it twice changes nothing.
        let sums: Vec<Slot> = vectors
            .iter()
            .enumerate()
            .map(|(i, n)| {
                let slot = Slot::of(k, self.dtype);
                let first = match self.nest.window.combine {
                    Combine::Sum => slot.zero(),
                    _ => self.read(k, cursors[0].as_ref(), 0, i, *n).expect("the operand is there"),
                };
                slot.set(k, first);
                slot
            })
            .collect();
        let (looped, unrolled) = split_taps(self.nest, UNROLLED);
        let extents: Vec<usize> = unrolled.iter().map(|a| self.nest.extents[*a]).collect();
        for_taps(k, self.nest, looped, [cursors[0], cursors[1]], &mut |k, [x, w]| {
            for tap in indices(&extents) {
                let along =
                    |c: &Option<Cursor>| c.map_or(0, |c| unrolled.iter().zip(&tap).map(|(a, t)| c.place.step(*a) * *t as i64).sum::<i64>());
                let (x_offset, w_offset) = (along(&x), along(&w));
                let one_weight = w.filter(|w| self.step(w.place) == 0).and_then(|w| self.read(k, Some(&w), w_offset, 0, LANES));
                let one_weight = one_weight.map(|w| w.bind(k));
                for (i, (n, sum)) in vectors.iter().zip(&sums).enumerate() {
                    let value = self.read(k, x.as_ref(), x_offset, i, *n).expect("the operand is there");
                    let weight = one_weight.clone().or_else(|| self.read(k, w.as_ref(), w_offset, i, *n));
                    let value = self.combine(k, sum.get(), value, weight);
                    sum.set(k, value);
                }
            }
        });
        let out = cursors[2].expect("the output is there");
        for (i, (n, sum)) in vectors.iter().zip(&sums).enumerate() {
            let mut args = vec![sum.get()];
            args.extend(cursors[3..].iter().filter_map(|c| self.read(k, c.as_ref(), 0, i, *n)));
            let value = pointwise::emit(k, self.nest.epilogue(), &self.nest.types, &args);
            let dtype = out.place.view.dtype;
            let at = out.at + bytes(self.step(out.place) * (LANES * i) as i64);
            lanes::store(k, dtype, at, 0, self.pattern(out.place, *n), *n, value);
        }
    }

    fn combine(&self, k: &mut K, sum: Lanes, value: Lanes, weight: Option<Lanes>) -> Lanes {
        match (sum, value, weight) {
            (Lanes::F32(sum), Lanes::F32(x), Some(Lanes::F32(w))) => Lanes::F32(k.mul_add(x, w, sum)),
            (sum, value, None) => pointwise::emit(k, &self.function, &[self.dtype; 2], &[sum, value]),
            (sum, value, Some(w)) => {
                let product = pointwise::emit(k, &Pointwise::of(Fn::Mul), &[self.dtype; 2], &[value, w]);
                pointwise::emit(k, &self.function, &[self.dtype; 2], &[sum, product])
            }
        }
    }

    /// Bytes from one element of the vector axis to the next.
    fn step(&self, place: &Place) -> i64 {
        self.vector.map_or(0, |axis| place.step(axis))
    }

    fn pattern(&self, place: &Place, n: usize) -> Pattern {
        match n {
            1 => Pattern::Contiguous,
            _ => Pattern::of(self.step(place), place.view.dtype.bytes()),
        }
    }

    /// Vector `i` of a tile, `offset` bytes on.
    fn read(&self, k: &mut K, cursor: Option<&Cursor>, offset: i64, i: usize, n: usize) -> Option<Lanes> {
        let Cursor { place, at } = cursor?;
        let at = *at + bytes(offset + self.step(place) * (LANES * i) as i64);
        let pattern = if self.step(place) == 0 { Pattern::Splat } else { self.pattern(place, n) };
        Some(lanes::load(k, place.view.dtype, at, 0, pattern, n))
    }
}

/// Locals that hold four elements.
enum Slot {
    F32(V<F32x4>),
    I32(V<I32x4>),
    Mask(V<I32x4>),
    I64([V<I64x2>; 2]),
    F64([V<F64x2>; 2]),
}

impl Slot {
    fn of(k: &mut K, dtype: DType) -> Slot {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 => Slot::F32(k.local("sum")),
            DType::Bool => Slot::Mask(k.local("sum")),
            DType::I64 | DType::U64 => Slot::I64([k.local("sum"), k.local("sum")]),
            DType::F64 => Slot::F64([k.local("sum"), k.local("sum")]),
            _ => Slot::I32(k.local("sum")),
        }
    }

    fn zero(&self) -> Lanes {
        match self {
            Slot::F32(_) => Lanes::F32(lanes::zero()),
            Slot::I32(_) => Lanes::I32(lanes::zero()),
            Slot::Mask(_) => Lanes::Mask(lanes::zero()),
            Slot::I64(_) => Lanes::I64([lanes::zero(), lanes::zero()]),
            Slot::F64(_) => Lanes::F64([lanes::zero(), lanes::zero()]),
        }
    }

    fn get(&self) -> Lanes {
        match self {
            Slot::F32(v) => Lanes::F32(v.get()),
            Slot::I32(v) => Lanes::I32(v.get()),
            Slot::Mask(v) => Lanes::Mask(v.get()),
            Slot::I64(v) => Lanes::I64(v.map(V::get)),
            Slot::F64(v) => Lanes::F64(v.map(V::get)),
        }
    }

    /// # Panics
    /// When the value is of another kind than the slot.
    fn set(&self, k: &mut K, value: Lanes) {
        match (self, value) {
            (Slot::F32(v), Lanes::F32(x)) => k.set(*v, x),
            (Slot::I32(v), Lanes::I32(x)) | (Slot::Mask(v), Lanes::Mask(x)) => k.set(*v, x),
            (Slot::I64(v), Lanes::I64(x)) => v.iter().zip(x).for_each(|(v, x)| k.set(*v, x)),
            (Slot::F64(v), Lanes::F64(x)) => v.iter().zip(x).for_each(|(v, x)| k.set(*v, x)),
            (_, value) => panic!("a slot of another type gets {value:?}"),
        }
    }
}
