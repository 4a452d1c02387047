//! Runs the f32 model with the tensors that will be quantised as further outputs, and keeps histograms of them.

use super::data::Data;
use super::histogram::{Histogram, Method};
use super::module::Module;
use super::together::Together;
use crate::{Error, NamedTensor};
use ir::{DType, Graph, Tensor};
use passes::quantize::{ChannelStatistics, Feedback, Observed, Point};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was seen of one tensor.
#[derive(Debug, Default)]
struct Seen {
    histogram: Histogram,
    channels: Channels,
    together: Together,
}

/// Sums per channel.
#[derive(Debug, Default)]
struct Channels {
    histograms: Vec<Histogram>,
    sum: Vec<f64>,
    squares: Vec<f64>,
    /// Numbers in each channel.
    count: u64,
}

impl Channels {
    fn add(&mut self, tensor: &Tensor, axis: usize) {
        if tensor.rank() == 0 {
            return;
        }
        let (n, inner) = (tensor.shape[axis], tensor.shape[axis + 1..].iter().product::<usize>());
        if self.sum.is_empty() {
            self.histograms = vec![Histogram::of_channel(); n];
            (self.sum, self.squares) = (vec![0.0; n], vec![0.0; n]);
        }
        if n == 0 || inner == 0 {
            return;
        }
        let numbers = tensor.as_slice::<f32>();
        if inner == 1 {
            for row in numbers.chunks_exact(n) {
                for (c, x) in row.iter().enumerate() {
                    self.histograms[c].add(std::slice::from_ref(x));
                    self.sum[c] += f64::from(*x);
                    self.squares[c] += f64::from(*x * *x);
                }
            }
        } else {
            for (i, run) in numbers.chunks_exact(inner).enumerate() {
                let c = i % n;
                self.histograms[c].add(run);
                let (mut sum, mut squares) = (0f64, 0f64);
                for part in run.chunks(1024) {
                    let (mut s, mut q) = (0f32, 0f32);
                    for x in part {
                        s += x;
                        q += x * x;
                    }
                    (sum, squares) = (sum + f64::from(s), squares + f64::from(q));
                }
                self.sum[c] += sum;
                self.squares[c] += squares;
            }
        }
        self.count += (numbers.len() / n) as u64;
    }

    /// Ranges by a method; `within` is that of the whole tensor.
    fn statistics(&self, method: Method, within: (f32, f32)) -> Option<ChannelStatistics> {
        let range = |h: &Histogram| match method {
            Method::Mse | Method::Best => h.channel_range(),
            // Of tails and distributions a channel has seen too little.
            _ => (h.min.clamp(within.0, within.1), h.max.clamp(within.0, within.1)),
        };
        let (low, high) = self.histograms.iter().map(range).unzip();
        let mean = |sums: &[f64]| sums.iter().map(|s| (s / self.count.max(1) as f64) as f32).collect();
        (self.count > 0).then(|| ChannelStatistics { low, high, mean: mean(&self.sum), square: mean(&self.squares) })
    }
}

/// The model with further outputs, and what they were.
pub struct Observer {
    points: Vec<Point>,
    seen: Vec<Seen>,
    module: Module,
}

impl Observer {
    /// `graph` is the f32 graph that `points` belong to.
    pub fn new(graph: &Graph, points: Vec<Point>, config: &crate::Config) -> Result<Observer, Error> {
        let seen = points.iter().map(|_| Seen::default()).collect();
        let probes: Vec<_> = points.iter().map(|p| p.value).collect();
        Ok(Observer { module: Module::with_probes(graph, &probes, config)?, points, seen })
    }

    /// Runs one sample: the model's outputs, and the observed tensors in order.
    pub fn run(&mut self, sample: &[NamedTensor]) -> Result<(Vec<NamedTensor>, Vec<Tensor>), Error> {
        self.module.run(sample)
    }

    /// Counts what a run gave.
    pub fn count(&mut self, tensors: &[Tensor], sample: usize) -> Result<(), Error> {
        for ((point, seen), tensor) in self.points.iter().zip(&mut self.seen).zip(tensors) {
            if tensor.dtype != DType::F32 {
                continue;
            }
            seen.histogram.add(tensor.as_slice::<f32>());
            if seen.histogram.broken {
                let sentence = format!("the tensor `{}` holds NaN or infinity for the calibration sample {sample}", point.name);
                return Err(Error::Usage(format!("{sentence}\nhint: is the data normalised as in training?")));
            }
            seen.channels.add(tensor, point.axis);
            if point.together {
                seen.together.add(tensor, point.axis, sample);
            }
        }
        Ok(())
    }

    /// The ranges by one method.
    pub fn ranges(&self, method: Method) -> BTreeMap<String, Observed> {
        let observed = |seen: &Seen| {
            let (low, high) = seen.histogram.range(method);
            Observed { low, high, channels: seen.channels.statistics(method, (low, high)) }
        };
        self.points.iter().zip(&self.seen).map(|(point, seen)| (point.name.clone(), observed(seen))).collect()
    }

    /// How channels occur together, by name of the tensor.
    pub fn feedback(&self) -> BTreeMap<String, Arc<Feedback>> {
        let of = |(point, seen): (&Point, &Seen)| Some((point.name.clone(), Arc::new(seen.together.feedback()?)));
        self.points.iter().zip(&self.seen).filter_map(of).collect()
    }

    /// What the model takes.
    pub fn manifest(&self) -> &abi::manifest::Manifest {
        self.module.manifest()
    }
}

/// One sample of four is held back: it measures what the others made. Which ones has no period, unlike data that often
/// goes through its classes in turn.
pub fn is_held_back(sample: usize) -> bool {
    (sample as u32).wrapping_mul(0x9e37_79b9) >> 30 == 3
}

/// So many held-back samples are measured at most.
pub const MOST_HELD: usize = 64;

/// A held-back sample and what the f32 model makes of it.
pub struct Held {
    pub sample: usize,
    pub outputs: Vec<NamedTensor>,
}

/// Runs all samples: counts them, and keeps the outputs of those that are held back. With fewer than four samples all
/// are counted and measured.
pub fn calibrate(observer: &mut Observer, data: &Data, progress: &mut dyn FnMut(usize)) -> Result<(usize, Vec<Held>), Error> {
    let mut held = vec![];
    let mut few = vec![];
    let n = data.for_each(&mut |sample, inputs| {
        progress(sample);
        let back = is_held_back(sample);
        if back && held.len() >= MOST_HELD {
            return Ok(true);
        }
        let (outputs, tensors) = observer.run(inputs)?;
        if back {
            held.push(Held { sample, outputs });
        } else {
            observer.count(&tensors, sample)?;
            if sample < 3 {
                few.push(Held { sample, outputs });
            }
        }
        Ok(true)
    })?;
    Ok((n, if held.is_empty() { few } else { held }))
}
