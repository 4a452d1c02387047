//! How the channels of a tensor occur together: their covariance, from some places of every sample.

use ir::Tensor;
use passes::quantize::Feedback;

/// So many places of one sample are looked at.
const PLACES: usize = 24;

/// Sums of products of channels; memory does not depend on how much was seen.
#[derive(Debug, Default)]
pub struct Together {
    /// Subtracted from every number, so that sums stay small: the first place.
    origin: Vec<f32>,
    sums: Vec<f64>,
    /// The lower triangle, row by row.
    products: Vec<f32>,
    places: usize,
}

impl Together {
    pub fn add(&mut self, tensor: &Tensor, axis: usize, sample: usize) {
        let (n, inner) = (tensor.shape[axis], tensor.shape[axis + 1..].iter().product::<usize>());
        let all = tensor.len().checked_div(n).unwrap_or(0);
        let numbers = tensor.as_slice::<f32>();
        let places = all.min(PLACES);
        for i in 0..places {
            // Others in every sample.
            let place = i * all / places + sample * 7 % (all / places);
            let first = place / inner * n * inner + place % inner;
            let row: Vec<f32> = (0..n).map(|c| numbers[first + c * inner]).collect();
            self.add_place(row);
        }
    }

    fn add_place(&mut self, mut row: Vec<f32>) {
        let n = row.len();
        if self.origin.is_empty() {
            self.origin.clone_from(&row);
            (self.sums, self.products) = (vec![0.0; n], vec![0.0; n * (n + 1) / 2]);
        }
        row.iter_mut().zip(&self.origin).for_each(|(x, o)| *x -= o);
        self.sums.iter_mut().zip(&row).for_each(|(sum, x)| *sum += f64::from(*x));
        for (i, x) in row.iter().enumerate() {
            let first = i * (i + 1) / 2;
            self.products[first..=first + i].iter_mut().zip(&row).for_each(|(sum, y)| *sum += x * y);
        }
        self.places += 1;
    }

    /// What rounding needs to know; nothing, if nothing was seen.
    pub fn feedback(&self) -> Option<Feedback> {
        let (n, count) = (self.origin.len(), self.places as f64);
        let covariance = |i: usize, j: usize| {
            let (i, j) = (i.max(j), i.min(j));
            f64::from(self.products[i * (i + 1) / 2 + j]) / count - self.sums[i] * self.sums[j] / (count * count)
        };
        let numbers: Vec<f64> = (0..n * n).map(|at| covariance(at / n, at % n)).collect();
        (n > 0).then(|| Feedback::of(&numbers, n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::DType;

    #[test]
    fn every_place_is_one_row_of_channels() {
        let tensor = Tensor::random(DType::F32, &[2, 3, 2, 2], 1);
        let mut together = Together::default();
        together.add(&tensor, 1, 0);
        assert_eq!(together.places, 8);
        // The same numbers with channels last are the same rows.
        let x = tensor.as_slice::<f32>();
        let rows: Vec<f32> = (0..24).map(|i| x[i / 12 * 12 + i % 3 * 4 + i / 3 % 4]).collect();
        let mut last = Together::default();
        last.add(&Tensor::new(&[8, 3], &rows), 1, 5);
        assert_eq!((last.places, last.feedback()), (8, together.feedback()));
        assert_eq!(Together::default().feedback(), None);
    }
}
