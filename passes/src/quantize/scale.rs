//! Scales of stored tensors: one for all elements, or one per channel. A scale per channel costs nothing where the reader's
//! weights can take it in, which is how channels of different sizes share 8 bits (cross-layer equalisation: Nagel et al.,
//! "Data-free quantization through weight equalization and bias correction", 2019).

use super::expression::Builder;
use ir::pointwise::{Fn, Operand};
use ir::{Graph, Tensor};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
pub enum Scale {
    One(f32),
    Channels(Arc<[f32]>),
}

impl Scale {
    fn map2(&self, other: &Scale, f: impl Fn2) -> Scale {
        match (self, other) {
            (Scale::One(a), Scale::One(b)) => Scale::One(f(*a, *b)),
            (Scale::Channels(a), Scale::One(b)) => Scale::Channels(a.iter().map(|a| f(*a, *b)).collect()),
            (Scale::One(a), Scale::Channels(b)) => Scale::Channels(b.iter().map(|b| f(*a, *b)).collect()),
            (Scale::Channels(a), Scale::Channels(b)) => Scale::Channels(a.iter().zip(b.iter()).map(|(a, b)| f(*a, *b)).collect()),
        }
    }

    pub fn times(&self, other: &Scale) -> Scale {
        self.map2(other, |a, b| (f64::from(a) * f64::from(b)) as f32)
    }

    pub fn over(&self, other: &Scale) -> Scale {
        self.map2(other, |a, b| (f64::from(a) / f64::from(b)) as f32)
    }

    pub fn at(&self, channel: usize) -> f32 {
        match self {
            Scale::One(x) => *x,
            Scale::Channels(each) => each[channel],
        }
    }

    /// The product of `x`, an element of a result of `rank` dimensions with channels along `axis`, and the scale.
    pub fn multiply(&self, graph: &mut Graph, builder: &mut Builder, x: Operand, [rank, axis]: [usize; 2], name: &str) -> Operand {
        match self {
            Scale::One(by) => builder.scaled(x, *by),
            Scale::Channels(each) => {
                let value = graph.add_const(name, column(each, [rank, axis]));
                let by = builder.arg(value);
                builder.push(Fn::Mul, [x, by])
            }
        }
    }

    /// The sum of `x` and the number of its channel.
    pub fn add(&self, graph: &mut Graph, builder: &mut Builder, x: Operand, [rank, axis]: [usize; 2], name: &str) -> Operand {
        let by = match self {
            Scale::One(number) => Builder::number(*number),
            Scale::Channels(each) => builder.arg(graph.add_const(name, column(each, [rank, axis]))),
        };
        builder.push(Fn::Add, [x, by])
    }
}

/// `f(f32, f32) → f32`.
trait Fn2: std::ops::Fn(f32, f32) -> f32 {}
impl<T: std::ops::Fn(f32, f32) -> f32> Fn2 for T {}

/// One number per channel as a tensor that broadcasts to `rank` dimensions.
pub fn column<T: ir::dtype::Element>(each: &[T], [rank, axis]: [usize; 2]) -> Tensor {
    let mut shape = vec![1; rank - axis];
    shape[0] = each.len();
    Tensor::new(&shape, each)
}
