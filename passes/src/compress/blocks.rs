//! Weights in blocks along their depth: whole numbers of 4 or 8 bits, and a scale for each block. Found in weights that are
//! such products already, or made by rounding to 4 bits.

use ir::ops::map::Map;
use ir::ops::map::scalar::cast;
use ir::ops::shuffle::concat::Concat;
use ir::ops::shuffle::reshape::Reshape;
use ir::pointwise::{Fn, Literal, Operand, Pointwise};
use ir::{DType, Dim, Graph, OpError, Tensor, ValueId};
use std::sync::Arc;

/// Where the depth of weights lies: `[outer, depth, inner]` in the order of their elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    outer: usize,
    depth: usize,
    inner: usize,
}

/// Numbers of a block that is made here: fewer bits for scales against less error.
const BLOCK: usize = 32;
/// Blocks that are looked for, beside whole columns.
const BLOCKS: [usize; 5] = [256, 128, 64, 32, 16];
/// The element of 4 bits that stands for 0, where blocks have no offsets of their own.
const MIDDLE: i64 = 8;
/// Whole numbers of at most this size are looked for.
const LARGEST: u32 = 255;

impl Form {
    /// Channels run along the first dimension, or along the last one of a matrix; what is left is the depth.
    pub fn of(shape: &[usize], axis: usize) -> Option<Form> {
        let elements: usize = shape.iter().product();
        let form = match axis {
            _ if elements == 0 => return None,
            0 => Form { outer: shape[0], depth: elements / shape[0], inner: 1 },
            _ if axis + 1 == shape.len() => {
                let depth = shape[axis - 1];
                Form { outer: elements / depth / shape[axis], depth, inner: shape[axis] }
            }
            _ if axis + 2 == shape.len() => Form { outer: elements / shape[axis + 1], depth: shape[axis + 1], inner: 1 },
            _ => return None,
        };
        Some(form)
    }

    /// The numbers of the block of a place in `[outer, blocks, inner]`.
    fn block<'a>(&self, numbers: &'a [f32], size: usize, at: usize) -> impl Iterator<Item = &'a f32> + use<'a> {
        let blocks = self.depth / size;
        let (inner, outer) = (at % self.inner, at / self.inner);
        let start = (outer / blocks * self.depth + outer % blocks * size) * self.inner + inner;
        numbers[start..].iter().step_by(self.inner).take(size)
    }

    fn count(&self, size: usize) -> usize {
        self.outer * (self.depth / size) * self.inner
    }
}

/// Constants `[outer, blocks, size, inner]`, with 1 for the size in scales and offsets. Of 4 bits two elements share a byte:
/// the lower half holds the first half of the block.
#[derive(Debug, Clone, Copy)]
pub struct Blocks {
    pub elements: ValueId,
    scales: ValueId,
    /// What an element of 4 bits is more than its number.
    offsets: Option<ValueId>,
    nibbles: bool,
}

/// Numbers and scales by block.
struct Found {
    size: usize,
    /// By block, in the order of the block.
    numbers: Vec<Vec<i64>>,
    scales: Vec<f32>,
}

impl Blocks {
    /// Weights that are products of small whole numbers and a scale per column or block, exactly.
    pub fn exact(graph: &mut Graph, name: &str, weights: &[f32], form: Form) -> Option<Blocks> {
        let sizes = std::iter::once(form.depth).chain(BLOCKS.into_iter().filter(|b| *b < form.depth && form.depth.is_multiple_of(*b)));
        let found = sizes.into_iter().find_map(|size| products(weights, form, size))?;
        let scales = Tensor::new(&[found.scales.len()], &found.scales);
        Blocks::store(graph, name, form, &found, scales)
    }

    /// Weights rounded to 4 bits, with scales of 16 bits. Nothing for a depth that has no blocks.
    pub fn rounded(graph: &mut Graph, name: &str, weights: &[f32], form: Form) -> Option<Blocks> {
        let size = [BLOCK, 16, 8].into_iter().find(|b| form.depth.is_multiple_of(*b))?;
        let (numbers, scales): (Vec<_>, Vec<_>) =
            (0..form.count(size)).map(|at| nearest(&form.block(weights, size, at).copied().collect::<Vec<_>>())).unzip();
        let halves = cast(&Tensor::new(&[scales.len()], &scales), DType::F16);
        Blocks::store(graph, name, form, &Found { size, numbers, scales }, halves)
    }

    fn store(graph: &mut Graph, name: &str, form: Form, found: &Found, scales: Tensor) -> Option<Blocks> {
        let blocks = form.depth / found.size;
        let least = |block: &Vec<i64>| block.iter().copied().min().unwrap_or(0);
        let most = |block: &Vec<i64>| block.iter().copied().max().unwrap_or(0);
        let nibbles = found.size.is_multiple_of(2) && found.numbers.iter().all(|b| most(b) - least(b) <= 15);
        let plain = found.numbers.iter().all(|b| least(b) >= -MIDDLE && most(b) < MIDDLE);
        let fits = nibbles || found.numbers.iter().all(|b| least(b) >= -128 && most(b) <= 127);
        // Small blocks of bytes with their scales save little.
        if !fits || found.size < 8 {
            return None;
        }
        let stored = if nibbles { found.size / 2 } else { found.size };
        let mut bytes = vec![0u8; form.outer * blocks * stored * form.inner];
        for (at, numbers) in found.numbers.iter().enumerate() {
            let start = at / form.inner * stored * form.inner + at % form.inner;
            let offset = if plain { MIDDLE } else { -least(numbers) };
            for i in 0..stored {
                bytes[start + i * form.inner] = match nibbles {
                    true => ((numbers[i] + offset) | (numbers[stored + i] + offset) << 4) as u8,
                    false => numbers[i] as u8,
                };
            }
        }
        let dtype = if nibbles { DType::U8 } else { DType::I8 };
        let elements = Tensor::from_bytes(dtype, &[form.outer, blocks, stored, form.inner], &bytes)?;
        let per_block = [form.outer, blocks, 1, form.inner];
        let offsets = (nibbles && !plain).then(|| {
            let offsets: Vec<i8> = found.numbers.iter().map(|b| -least(b) as i8).collect();
            graph.add_const(&format!("{name}.offset"), Tensor::new(&per_block, &offsets))
        });
        Some(Blocks {
            elements: graph.add_const(name, elements),
            scales: graph.add_const(&format!("{name}.scale"), scales.reshaped(&per_block)),
            offsets,
            nibbles,
        })
    }

    pub fn values(&self) -> Vec<ValueId> {
        [self.elements, self.scales].into_iter().chain(self.offsets).collect()
    }

    /// The same with every tensor replaced.
    pub fn each(&self, mut f: impl FnMut(ValueId) -> Result<ValueId, OpError>) -> Result<Blocks, OpError> {
        let offsets = self.offsets.map(&mut f).transpose()?;
        Ok(Blocks { elements: f(self.elements)?, scales: f(self.scales)?, offsets, nibbles: self.nibbles })
    }

    /// The numbers in `f32`; `lead` are the dimensions in front of the blocks.
    pub fn expanded(&self, graph: &mut Graph, lead: &[Dim], shape: Vec<Dim>, origin: &[Arc<str>], name: &str) -> Result<ValueId, OpError> {
        let parts: &[Option<i64>] = if self.nibbles { &[Some(0), Some(4)] } else { &[None] };
        let mut expanded = vec![];
        for shift in parts {
            let mut body = Pointwise::identity();
            let mut x = Operand::Arg(0);
            if let Some(shift) = shift {
                let literal = |i: i64| Operand::Literal(Literal::Int(i));
                x = body.push(Fn::Cast(DType::I32), vec![x]);
                x = match shift {
                    0 => body.push(Fn::And, vec![x, literal(15)]),
                    _ => body.push(Fn::Shr, vec![x, literal(*shift)]),
                };
                let offset = match self.offsets {
                    Some(_) => body.push(Fn::Cast(DType::I32), vec![Operand::Arg(2)]),
                    None => literal(MIDDLE),
                };
                x = body.push(Fn::Sub, vec![x, offset]);
            }
            x = body.push(Fn::Cast(DType::F32), vec![x]);
            let scale = match graph.ty(self.scales).dtype {
                DType::F32 => Operand::Arg(1),
                _ => body.push(Fn::Cast(DType::F32), vec![Operand::Arg(1)]),
            };
            body.push(Fn::Mul, vec![x, scale]);
            expanded.push(graph.add(Map { body }, &self.values(), origin, name)?);
        }
        let all = match expanded[..] {
            [one] => one,
            _ => graph.add(Concat { axis: lead.len() as i64 + 1 }, &expanded, origin, name)?,
        };
        graph.add(Reshape { shape }, &[all], origin, name)
    }
}

/// The whole numbers of all blocks of a size, if they are products with a scale per block.
fn products(weights: &[f32], form: Form, size: usize) -> Option<Found> {
    let mut found = Found { size, numbers: vec![], scales: vec![] };
    for at in 0..form.count(size) {
        let block: Vec<f32> = form.block(weights, size, at).copied().collect();
        let unit = unit(&block)?;
        found.numbers.push(block.iter().map(|x| (x / unit).round() as i64).collect());
        found.scales.push(unit);
    }
    Some(found)
}

/// The largest number of which all others are small multiples, in the rounding of `f32`.
fn unit(block: &[f32]) -> Option<f32> {
    let largest = block.iter().fold(0f32, |m, x| m.max(x.abs()));
    if largest == 0.0 {
        return Some(1.0);
    }
    if !largest.is_normal() {
        return None;
    }
    let exact = |unit: &f32| block.iter().all(|x| (x / unit).round() * unit == *x);
    (1..=LARGEST).find_map(|k| {
        let unit = largest / k as f32;
        let near = block.iter().all(|x| ((x / unit) - (x / unit).round()).abs() < 1e-3);
        let candidates = [unit, unit.next_up(), unit.next_down()];
        if near { candidates.into_iter().find(exact) } else { None }
    })
}

/// Whole numbers from −8 to 7 and the scale with the least squared error: the number farthest from 0 becomes −8, or
/// somewhat less is cut off.
fn nearest(block: &[f32]) -> (Vec<i64>, f32) {
    const FACTORS: [f32; 8] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 1.07, 1.14];
    let farthest = block.iter().copied().fold(0f32, |m, x| if x.abs() > m.abs() { x } else { m });
    let round = |scale: f32| -> Vec<i64> {
        let number = |x: &f32| if scale == 0.0 { 0 } else { (x / scale).round_ties_even().clamp(-8.0, 7.0) as i64 };
        block.iter().map(number).collect()
    };
    let error =
        |scale: f32| -> f64 { block.iter().zip(round(scale)).map(|(x, q)| (f64::from(*x) - q as f64 * f64::from(scale)).powi(2)).sum() };
    let scales: Vec<f32> = FACTORS.iter().map(|f| farthest / -8.0 * f).collect();
    let halves = cast(&cast(&Tensor::new(&[scales.len()], &scales), DType::F16), DType::F32);
    let best = halves.as_slice::<f32>().iter().copied().min_by(|a, b| error(*a).total_cmp(&error(*b))).expect("there are factors");
    (round(best), best)
}
