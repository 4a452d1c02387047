//! Grids: which real numbers 8-bit integers stand for. Activations have one scale and zero point, weights a scale per
//! output channel and no zero point.

use ir::Tensor;

/// Element q of `u8` stands for `(q − zero) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub scale: f32,
    pub zero: u8,
}

impl Grid {
    /// The finest grid that holds `low..high` and exactly 0; `low ≤ 0 ≤ high`.
    pub fn over(low: f32, high: f32) -> Grid {
        let scale = ((f64::from(high) - f64::from(low)) / 255.0) as f32;
        if scale < f32::MIN_POSITIVE {
            return Grid { scale: 1.0, zero: 0 };
        }
        Grid { scale, zero: (-low / scale).round().clamp(0.0, 255.0) as u8 }
    }

    /// The element nearest to a number.
    pub fn element(&self, x: f32) -> u8 {
        ((x / self.scale).round_ties_even() + f32::from(self.zero)).clamp(0.0, 255.0) as u8
    }
}

/// Weights as `i8` from −127 to 127 and the scale of each output channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    pub elements: Tensor,
    pub scales: Vec<f32>,
}

/// The largest absolute bias that the sums take.
const LARGEST_BIAS: f64 = (1 << 29) as f64;

impl Weights {
    /// Rounds `f32` weights, whose channels run along `axis`. `bias` per channel counts in steps of `scale · input`
    /// in the sums, and must fit there.
    pub fn of(weights: &Tensor, axis: usize, bias: Option<&[f32]>, input: f32) -> Weights {
        let numbers = weights.as_slice::<f32>();
        let channels = Channels::of(weights, axis);
        let mut scales = vec![0f32; channels.count];
        for (i, x) in numbers.iter().enumerate() {
            let scale = &mut scales[channels.of_element(i)];
            *scale = scale.max(x.abs() / 127.0);
        }
        for (c, scale) in scales.iter_mut().enumerate() {
            let bias = bias.map_or(0.0, |b| f64::from(b[c].abs()));
            *scale = scale.max((bias / LARGEST_BIAS / f64::from(input)) as f32);
            if *scale < f32::MIN_POSITIVE {
                *scale = 1.0;
            }
        }
        let rounded: Vec<i8> = numbers
            .iter()
            .enumerate()
            .map(|(i, x)| (x / scales[channels.of_element(i)]).round_ties_even().clamp(-127.0, 127.0) as i8)
            .collect();
        Weights { elements: Tensor::new(&weights.shape, &rounded), scales }
    }
}

/// How the elements of a tensor belong to the channels along one axis.
#[derive(Debug, Clone, Copy)]
pub struct Channels {
    pub count: usize,
    inner: usize,
}

impl Channels {
    pub fn of(tensor: &Tensor, axis: usize) -> Channels {
        Channels { count: tensor.shape[axis], inner: tensor.shape[axis + 1..].iter().product() }
    }

    pub fn of_element(&self, i: usize) -> usize {
        i / self.inner % self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_hold_zero() {
        assert_eq!(Grid::over(0.0, 255.0), Grid { scale: 1.0, zero: 0 });
        let grid = Grid::over(-1.0, 2.0);
        assert_eq!((grid.zero, grid.element(0.0), grid.element(-9.0), grid.element(9.0)), (85, 85, 0, 255));
        assert_eq!(Grid::over(0.0, 0.0), Grid { scale: 1.0, zero: 0 });
    }

    #[test]
    fn weights_are_symmetric_per_channel() {
        let weights = Weights::of(&Tensor::new(&[3, 2], &[127f32, -254.0, 1.0, 0.5, 0.0, 0.0]), 0, None, 1.0);
        assert_eq!(weights.scales[..2], [2.0, 1.0 / 127.0]);
        assert_eq!(weights.elements.as_slice::<i8>(), [64, -127, 127, 64, 0, 0]);
        let columns = Weights::of(&Tensor::new(&[2, 2], &[127f32, 1.0, 0.0, 127.0]), 1, Some(&[0.0, 1e12]), 0.5);
        assert_eq!(columns.scales[0], 1.0);
        assert!(1e12 / (f64::from(columns.scales[1]) * 0.5) <= LARGEST_BIAS * 1.001, "the bias fits into the sums");
    }
}
