//! A histogram of one activation that grows with its range, and the ways to choose the range of a quantised tensor from
//! it. It keeps no elements: memory does not depend on how much was seen.

use serde::{Deserialize, Serialize};

/// Bins on either side of zero for a whole tensor, and for one of its channels.
const BINS: usize = 4096;
const CHANNEL_BINS: usize = 256;
/// The smallest range that is looked at: 2⁻³⁰.
const SMALLEST: f64 = 1.0 / (1 << 30) as f64;
/// Levels of an 8-bit number.
const LEVELS: usize = 256;

/// How ranges are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every method below is tried on held-back samples; the one nearest to the f32 model stays
    #[default]
    Best,
    /// The smallest and the largest number seen
    MinMax,
    /// Leaves out one number of ten thousand on either side
    Percentile,
    /// The least Kullback–Leibler divergence between the numbers and their 256 levels
    Entropy,
    /// The least mean squared error
    Mse,
}

impl Method {
    /// What [`Method::Best`] chooses from, in order.
    pub const ALL: [Method; 4] = [Method::Mse, Method::MinMax, Method::Percentile, Method::Entropy];

    pub fn name(self) -> &'static str {
        match self {
            Method::Best => "best",
            Method::MinMax => "min-max",
            Method::Percentile => "percentile",
            Method::Entropy => "entropy",
            Method::Mse => "mse",
        }
    }
}

/// Counts of numbers in equal bins over −range..range, where `range` is a power of two.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    range: f64,
    bins: Vec<u64>,
    /// Exact zeros are counted apart: every grid holds them.
    zeros: u64,
    pub min: f32,
    pub max: f32,
    /// A number that is not finite was seen.
    pub broken: bool,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::with_bins(BINS)
    }
}

impl Histogram {
    /// A coarser one, of which there are many.
    pub fn of_channel() -> Histogram {
        Histogram::with_bins(CHANNEL_BINS)
    }

    fn with_bins(half: usize) -> Histogram {
        Histogram { range: SMALLEST, bins: vec![0; 2 * half], zeros: 0, min: f32::INFINITY, max: f32::NEG_INFINITY, broken: false }
    }

    /// Bins on either side of zero.
    fn half(&self) -> usize {
        self.bins.len() / 2
    }

    pub fn add(&mut self, numbers: &[f32]) {
        let (mut low, mut high, mut sum) = (f32::INFINITY, f32::NEG_INFINITY, 0.0f32);
        for x in numbers {
            (low, high) = (low.min(*x), high.max(*x));
            sum += x * 0.0;
        }
        if sum != 0.0 {
            self.broken = true;
            return;
        }
        if numbers.is_empty() {
            return;
        }
        (self.min, self.max) = (self.min.min(low), self.max.max(high));
        let largest = f64::from(low.abs().max(high.abs()));
        while largest >= self.range {
            self.double();
        }
        let half = self.half();
        let scale = (half as f64 / self.range) as f32;
        for x in numbers {
            if *x == 0.0 {
                self.zeros += 1;
            } else {
                // Rounding may carry a number just below the range into the bin behind the last.
                let bin = (x * scale + half as f32) as usize;
                self.bins[bin.min(2 * half - 1)] += 1;
            }
        }
    }

    /// Twice the range: two bins become one.
    fn double(&mut self) {
        let mut bins = vec![0; self.bins.len()];
        for (i, count) in self.bins.iter().enumerate() {
            bins[self.half() / 2 + i / 2] += count;
        }
        (self.bins, self.range) = (bins, self.range * 2.0);
    }

    fn width(&self) -> f64 {
        self.range / self.half() as f64
    }

    /// The middle of a bin.
    fn middle(&self, bin: usize) -> f64 {
        (bin as f64 + 0.5 - self.half() as f64) * self.width()
    }

    /// The range of numbers to represent, which holds zero.
    pub fn range(&self, method: Method) -> (f32, f32) {
        let whole = (self.min.min(0.0), self.max.max(0.0));
        if self.bins.iter().all(|n| *n == 0) {
            return if whole.0 <= whole.1 { whole } else { (0.0, 0.0) };
        }
        let (low, high) = match method {
            Method::MinMax => return whole,
            Method::Percentile => self.percentile(1e-4),
            Method::Entropy => self.least(whole, 48, true, |low, high| self.divergence(low, high)),
            Method::Mse | Method::Best => {
                let sums = Sums::of(self);
                self.least(whole, 96, false, |low, high| sums.error(self, low, high))
            }
        };
        (low.max(whole.0).min(0.0), high.min(whole.1).max(0.0))
    }

    /// The range of one channel's numbers, of which rounding makes the least mean squared error. It need not hold zero:
    /// ends that are no zeros move towards the mean.
    pub fn channel_range(&self) -> (f32, f32) {
        /// So many ranges are tried for each end.
        const STEPS: usize = 15;
        let sums = Sums::of(self);
        let [n, sum, _] = sums.0[self.bins.len()];
        if n == 0.0 {
            return if self.min <= self.max { (self.min, self.max) } else { (0.0, 0.0) };
        }
        let (min, max, mean) = (f64::from(self.min), f64::from(self.max), sum / (n + self.zeros as f64));
        let end = |end: f64, i: usize| mean + (end - mean) * (1.0 - 0.05 * i as f64);
        let steps = |end: f64| if end == 0.0 { 1 } else { STEPS };
        let mut best = (f64::INFINITY, (self.min, self.max));
        for i in 0..steps(min) {
            for j in 0..steps(max) {
                let (low, high) = (if min == 0.0 { 0.0 } else { end(min, i) }, if max == 0.0 { 0.0 } else { end(max, j) });
                let cost = sums.error(self, low, high);
                if cost < best.0 {
                    best = (cost, (low as f32, high as f32));
                }
            }
        }
        best.1
    }

    /// Leaves out `tail` of the numbers on either side.
    fn percentile(&self, tail: f64) -> (f32, f32) {
        let total = self.zeros + self.bins.iter().sum::<u64>();
        let limit = (total as f64 * tail) as u64;
        let cut = |mut bins: Box<dyn Iterator<Item = usize>>| {
            let mut seen = 0;
            bins.find(|bin| {
                seen += self.bins[*bin];
                seen > limit
            })
        };
        let low = cut(Box::new(0..self.half())).map_or(0.0, |bin| self.middle(bin) - self.width() / 2.0);
        let high = cut(Box::new((self.half()..2 * self.half()).rev())).map_or(0.0, |bin| self.middle(bin) + self.width() / 2.0);
        (low as f32, high as f32)
    }

    /// The range with the least cost among shrunken ones; both ends shrink alike, or each on its own.
    fn least(&self, whole: (f32, f32), steps: usize, alike: bool, cost: impl Fn(f64, f64) -> f64) -> (f32, f32) {
        let mut best = (f64::INFINITY, whole);
        let factor = |i: usize| 1.0 - 0.9 * i as f64 / steps as f64;
        for i in 0..steps {
            let lows = if alike || whole.0 == 0.0 { i..i + 1 } else { 0..steps };
            for j in lows {
                if whole.1 == 0.0 && i > 0 && !alike {
                    continue;
                }
                let range = (f64::from(whole.0) * factor(j), f64::from(whole.1) * factor(i));
                let cost = cost(range.0, range.1);
                if cost < best.0 {
                    best = (cost, (range.0 as f32, range.1 as f32));
                }
            }
        }
        best.1
    }

    /// How much the distribution changes when it is cut to a range and told by [`LEVELS`] levels (Migacz, "8-bit
    /// inference with TensorRT", 2017).
    fn divergence(&self, low: f64, high: f64) -> f64 {
        let bin = |x: f64| ((x / self.width()) + self.half() as f64).clamp(0.0, 2.0 * self.half() as f64) as usize;
        let (first, last) = (bin(low), bin(high).max(bin(low) + 1).min(2 * self.half()));
        let inside = &self.bins[first..last];
        let mut reference: Vec<f64> = inside.iter().map(|n| *n as f64).collect();
        let n = reference.len();
        reference[0] += self.bins[..first].iter().sum::<u64>() as f64;
        reference[n - 1] += self.bins[last..].iter().sum::<u64>() as f64;
        let (mut divergence, total) = (0.0, reference.iter().sum::<f64>());
        let kept = inside.iter().sum::<u64>() as f64;
        if total == 0.0 || kept == 0.0 {
            return f64::INFINITY;
        }
        for level in 0..LEVELS.min(n) {
            let part = level * n / LEVELS.min(n)..(level + 1) * n / LEVELS.min(n);
            let filled = inside[part.clone()].iter().filter(|c| **c > 0).count().max(1) as f64;
            let mean = inside[part.clone()].iter().sum::<u64>() as f64 / filled;
            for i in part {
                if reference[i] > 0.0 {
                    let (p, q) = (reference[i] / total, if inside[i] > 0 { mean / kept } else { 1e-12 });
                    divergence += p * (p / q).ln();
                }
            }
        }
        divergence
    }
}

/// Running sums over the bins: how many numbers, their sum and the sum of their squares.
struct Sums(Vec<[f64; 3]>);

impl Sums {
    fn of(histogram: &Histogram) -> Sums {
        let mut sums = vec![[0.0; 3]];
        for (bin, count) in histogram.bins.iter().enumerate() {
            let ([n, sum, squares], x, count) = (sums[bin], histogram.middle(bin), *count as f64);
            sums.push([n + count, sum + count * x, squares + count * x * x]);
        }
        Sums(sums)
    }

    /// Sum of (x − bound)² over bins.
    fn squares(&self, bins: std::ops::Range<usize>, bound: f64) -> f64 {
        let of = |i: usize| self.0[bins.end][i] - self.0[bins.start][i];
        (of(2) - 2.0 * bound * of(1) + bound * bound * of(0)).max(0.0)
    }

    /// The squared error of rounding to the levels of a range: uniform inside, the distance outside.
    fn error(&self, histogram: &Histogram, low: f64, high: f64) -> f64 {
        let step = (high - low) / (LEVELS - 1) as f64;
        let bin = |x: f64| (x / histogram.width() + histogram.half() as f64).round().clamp(0.0, 2.0 * histogram.half() as f64) as usize;
        let (first, last) = (bin(low), bin(high));
        let inside = self.0[last][0] - self.0[first][0];
        inside * step * step / 12.0 + self.squares(0..first, low) + self.squares(last..2 * histogram.half(), high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_zero_and_what_was_seen() {
        let mut histogram = Histogram::default();
        histogram.add(&[0.5, 2.0, 1.0]);
        histogram.add(&[0.0, 300.0]);
        assert_eq!(histogram.range(Method::MinMax), (0.0, 300.0));
        assert_eq!(histogram.zeros, 1);
        assert_eq!(histogram.bins.iter().sum::<u64>(), 4, "growing loses nothing");
        assert_eq!(Histogram::default().range(Method::Mse), (0.0, 0.0), "nothing was seen");
        histogram.add(&[f32::NAN]);
        assert!(histogram.broken);
    }

    /// Triangular numbers on −1..1 and a single outlier. A range up to t costs 100,000 ((1 + t) / 255)² / 12 for rounding and
    /// (40 − t)² for cutting, least at t = 35.3.
    fn with_outlier() -> Histogram {
        let mut histogram = Histogram::default();
        let numbers: Vec<f32> = (0..100_000).map(|i| (i % 317) as f32 / 317.0 - (i % 331) as f32 / 331.0).collect();
        histogram.add(&numbers);
        histogram.add(&[40.0]);
        histogram
    }

    #[test]
    fn an_outlier_is_cut_off() {
        let histogram = with_outlier();
        for (method, most) in [(Method::Percentile, 2.0), (Method::Entropy, 40.0), (Method::Mse, 36.0)] {
            let (low, high) = histogram.range(method);
            assert!((-1.01..-0.5).contains(&low), "{method:?}: {low}");
            assert!((0.5..most).contains(&high), "{method:?}: {high}");
        }
        assert_eq!(histogram.range(Method::MinMax).1, 40.0);
    }

    #[test]
    fn uniform_numbers_keep_their_range() {
        let mut histogram = Histogram::default();
        histogram.add(&(0..10_000).map(|i| i as f32 / 10_000.0).collect::<Vec<_>>());
        for method in Method::ALL {
            let (low, high) = histogram.range(method);
            assert!(low == 0.0 && high > 0.97, "{method:?}: {low}..{high}");
        }
    }
}
