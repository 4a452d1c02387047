//! Rounding with feedback: a weight that is rounded moves those after it, so that the errors of a row's weights cancel for
//! inputs that occur together (Frantar et al., "GPTQ", 2022, in the form of Chee et al., "QuIP", 2023, algorithm 3).

use super::grid::Weights;
use ir::Tensor;

/// Inputs of more channels are not looked at: memory and time grow with the square and the cube.
pub const MOST_CHANNELS: usize = 1536;
/// This part of every channel's variance is taken as its own, whatever the others do.
const OWN: f64 = 0.01;

/// How the channels of a layer's input occur together, in the form that rounding needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Feedback {
    /// Channels by falling variance: the order in which weights are rounded.
    order: Vec<u32>,
    /// Row by row, in that order: what an error of the row's channel adds to each later channel.
    moves: Vec<f32>,
}

impl Feedback {
    /// From the covariance of `n` channels, n · n numbers: with those of later channels beyond the diagonal it is M D Mᵀ,
    /// where M is upper triangular with ones on its diagonal. M is kept.
    pub fn of(covariance: &[f64], n: usize) -> Feedback {
        let variance = |c: usize| covariance[c * n + c];
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by(|a, b| variance(*b as usize).total_cmp(&variance(*a as usize)));
        let mut rest: Vec<f64> = order.iter().flat_map(|i| order.iter().map(|j| covariance[*i as usize * n + *j as usize])).collect();
        let least = (0..n).map(|i| rest[i * n + i]).fold(0.0, f64::max) * 1e-9;
        (0..n).for_each(|i| rest[i * n + i] += OWN * rest[i * n + i] + least);
        let mut moves = vec![0f32; n * n];
        for k in (0..n).rev() {
            let (before, last) = rest.split_at_mut(k * n);
            let last = &last[..=k];
            let pivot = last[k].max(f64::MIN_POSITIVE);
            for i in 0..k {
                let part = last[i] / pivot;
                moves[i * n + k] = part as f32;
                before[i * n..=i * n + i].iter_mut().zip(last).for_each(|(x, y)| *x -= part * y);
            }
        }
        Feedback { order, moves }
    }

    pub fn channels(&self) -> usize {
        self.order.len()
    }

    /// Rounds weights, which have one number per input channel for each output channel: output `o` and input `c` at
    /// `o · strides[0] + c · strides[1]`. `factors` are those of the inputs' channels, which the weights hold already.
    pub fn round(&self, weights: &Tensor, strides: [usize; 2], factors: impl Fn(usize) -> f32, scales: Vec<f32>) -> Weights {
        let (n, numbers) = (self.channels(), weights.as_slice::<f32>());
        let factors: Vec<f32> = self.order.iter().map(|c| factors(*c as usize)).collect();
        let mut rounded = vec![0i8; numbers.len()];
        let mut row = vec![0f32; n];
        for (o, scale) in scales.iter().enumerate() {
            let place = |k: usize| o * strides[0] + self.order[k] as usize * strides[1];
            // Without the factors: as the covariance was.
            (0..n).for_each(|k| row[k] = numbers[place(k)] / factors[k]);
            for k in 0..n {
                let element = (row[k] * factors[k] / scale).round_ties_even().clamp(-127.0, 127.0);
                rounded[place(k)] = element as i8;
                let error = (numbers[place(k)] - element * scale) / factors[k];
                let moves = &self.moves[k * n + k + 1..(k + 1) * n];
                row[k + 1..].iter_mut().zip(moves).for_each(|(x, m)| *x += error * m);
            }
        }
        Weights { elements: Tensor::new(&weights.shape, &rounded), scales }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::DType;

    #[test]
    fn errors_of_inputs_that_occur_together_cancel() {
        // Channels that are one number with different factors, and a little noise of their own.
        let n = 16;
        let each = |c: usize| 1.0 - 0.04 * c as f64;
        let covariance: Vec<f64> = (0..n * n).map(|i| each(i / n) * each(i % n) + if i / n == i % n { 0.001 } else { 0.0 }).collect();
        let weights = Tensor::random(DType::F32, &[64, n], 3);
        let nearest = Weights::of(&weights, 0, None, 1.0);
        let error = |rounded: &Weights| {
            let element = |i: usize| f32::from(rounded.elements.as_slice::<i8>()[i]) * rounded.scales[i / n];
            let moved = |o: usize, c: usize| f64::from(weights.as_slice::<f32>()[o * n + c] - element(o * n + c));
            (0..64).map(|o| (0..n).map(|c| moved(o, c) * each(c)).sum::<f64>().powi(2)).sum::<f64>()
        };
        let fed = Feedback::of(&covariance, n).round(&weights, [n, 1], |_| 1.0, nearest.scales.clone());
        assert!(error(&fed) < error(&nearest) / 4.0, "{} against {}", error(&fed), error(&nearest));
    }

    #[test]
    fn without_correlation_it_rounds_to_the_nearest() {
        let weights = Tensor::new(&[3, 2], &[0.31f32, 0.44, -0.27, 0.12, 1.0, 0.36]);
        let nearest = Weights::of(&weights, 1, None, 1.0);
        let fed = Feedback::of(&[2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], 3);
        assert_eq!(fed.round(&weights, [1, 2], |_| 1.0, nearest.scales.clone()), nearest);
    }
}
