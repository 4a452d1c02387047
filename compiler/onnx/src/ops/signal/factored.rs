//! Long Fourier transforms as two rounds of short ones (Cooley and Tukey): with N = N₁·N₂, n = n₁·N₂ + n₂ and
//! k = k₁ + k₂·N₁, transforms over n₁, a factor per (k₁, n₂), then transforms over n₂. Each round is a product with a
//! constant table, so that it takes N·(N₁ + N₂) instead of N² multiplications.

use super::{Transform, libm_cos, libm_sin};
use crate::error::Fault;
use crate::site::Site;
use ir::ops::contract::matmul::MatMul;
use ir::{DType, Dim, Tensor, ValueId};
use std::f64::consts::TAU;

/// Shorter transforms are one product.
const SHORTEST: i64 = 512;
/// Shorter rounds do not pay.
const SHORTEST_ROUND: i64 = 8;

impl Transform {
    /// N₁ and N₂, as near to each other as they can be, where two rounds are less work.
    pub(super) fn factors(&self) -> Option<[i64; 2]> {
        if self.length < SHORTEST || self.from != self.length || self.half_in || !self.complex_out {
            return None;
        }
        let first = (SHORTEST_ROUND..=self.length.isqrt()).rev().find(|n| self.length % n == 0)?;
        Some([first, self.length / first])
    }

    /// [`Transform::apply`] in two rounds.
    pub(super) fn apply_factored(&self, s: &mut Site, x: ValueId, [first, second]: [i64; 2]) -> Result<ValueId, Fault> {
        let shape = s.shape(x);
        let dtype = s.dtype(x);
        let rank = shape.len();
        let flat: Dim = shape[..rank - 2].iter().product();
        let parts = if self.complex_in { 2 } else { 1 };
        let dims = |sizes: &[i64]| -> Vec<Dim> { std::iter::once(flat.clone()).chain(sizes.iter().map(|d| Dim::from(*d))).collect() };
        let product = MatMul::plain;

        // [parts, n₁] × n₂, real parts first.
        let mut planes = x;
        if parts == 2 {
            planes = s.reshape(planes, dims(&[self.length, 2]))?;
            planes = s.transpose(planes, &[0, 2, 1])?;
        }
        planes = s.reshape(planes, dims(&[parts * first, second]))?;
        let table = s.constant_value(self.round(dtype, [2 * first, parts * first], first, |row, column| {
            // Rows (part, k₁), columns (part, n₁).
            (row % first, row / first, column % first, column / first, 1.0)
        }));
        let rounds = s.add(product(), &[table, planes])?;

        // The factors between the rounds, over (k₁, n₂).
        let (re, im) = (s.slice(rounds, 1, 0i64.into(), first.into(), 1)?, s.slice(rounds, 1, first.into(), first.into(), 1)?);
        let mut twiddle = |f: fn(f64) -> f64| {
            let angle = |i: usize| (i as i64 / second) * (i as i64 % second) % self.length;
            s.constant_value(Tensor::from_fn(dtype, &[first as usize, second as usize], |i| f(self.angle(angle(i), self.length))))
        };
        let (cos, sin) = (twiddle(libm_cos), twiddle(libm_sin));
        let turned_re = s.term("sub(mul(?a, ?c), mul(?b, ?d))", &[re, im, cos, sin])?;
        let turned_im = s.term("add(mul(?a, ?d), mul(?b, ?c))", &[re, im, cos, sin])?;
        let turned = s.concat(&[turned_re, turned_im], 2)?;

        let scale = if self.inverse { 1.0 / self.length as f64 } else { 1.0 };
        let table = s.constant_value(self.round(dtype, [2 * second, 2 * second], second, |row, column| {
            // Rows (part, n₂), columns (k₂, part).
            (column / 2, column % 2, row % second, row / second, scale)
        }));
        let y = s.add(product(), &[turned, table])?;
        let y = s.reshape(y, dims(&[first, second, 2]))?;
        let y = s.transpose(y, &[0, 2, 1, 3])?;
        let y = s.reshape(y, dims(&[self.length, 2]))?;
        let y = if self.to < self.length { s.slice(y, 1, 0i64.into(), self.to.into(), 1)? } else { y };
        let mut result = shape[..rank - 2].to_vec();
        result.extend([Dim::from(self.to), Dim::from(2i64)]);
        s.reshape(y, result)
    }

    fn angle(&self, turns: i64, length: i64) -> f64 {
        let sign = if self.inverse { 1.0 } else { -1.0 };
        sign * TAU * (turns % length) as f64 / length as f64
    }

    /// The table of one round of transforms of `length`; `at(row, column)` tells the frequency and part of the result, the
    /// position and part of the operand, and a factor.
    fn round(&self, dtype: DType, shape: [i64; 2], length: i64, at: impl Fn(i64, i64) -> (i64, i64, i64, i64, f64)) -> Tensor {
        Tensor::from_fn(dtype, &[shape[0] as usize, shape[1] as usize], |i| {
            let (k, part_out, n, part_in, factor) = at(i as i64 / shape[1], i as i64 % shape[1]);
            let angle = self.angle(n * k, length);
            factor
                * match (part_in, part_out) {
                    (0, 0) | (1, 1) => libm_cos(angle),
                    (0, _) => libm_sin(angle),
                    _ => -libm_sin(angle),
                }
        })
    }
}
