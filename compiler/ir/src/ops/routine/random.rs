//! Random numbers: `random_uniform()`, `random_normal()`, `bernoulli(p)`, `multinomial(x)`. A seed and a position decide each: every
//! run gives the same.

use super::{RoutineDef, floats, ranks};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::OpError;
use crate::{attrs, op_error};

attrs! {
    /// Uniform in low..high.
    pub struct RandomUniform {
        pub seed: i64,
        pub low: f64,
        pub high: f64,
        pub dtype: DType,
        pub shape: Vec<Dim>,
    }
}

fn floating(name: &str, dtype: DType, shape: &[Dim]) -> Result<Vec<TensorType>, OpError> {
    let ty = TensorType { dtype, shape: shape.to_vec() };
    floats(name, &ty)?;
    Ok(vec![ty])
}

impl RoutineDef for RandomUniform {
    const NAME: &'static str = "random_uniform";

    fn inputs(&self) -> usize {
        0
    }
    fn types(&self, _inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        floating("random_uniform", self.dtype, &self.shape)
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.seed]
    }
    fn floats(&self) -> Vec<f64> {
        vec![self.low, self.high]
    }
}

attrs! {
    /// Normal with a mean and a standard deviation.
    pub struct RandomNormal {
        pub seed: i64,
        pub mean: f64,
        pub scale: f64,
        pub dtype: DType,
        pub shape: Vec<Dim>,
    }
}

impl RoutineDef for RandomNormal {
    const NAME: &'static str = "random_normal";

    fn inputs(&self) -> usize {
        0
    }
    fn types(&self, _inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        floating("random_normal", self.dtype, &self.shape)
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.seed]
    }
    fn floats(&self) -> Vec<f64> {
        vec![self.mean, self.scale]
    }
}

attrs! {
    /// 1 with the probability that the input says, else 0.
    pub struct Bernoulli {
        pub seed: i64,
        pub dtype: DType,
    }
}

impl RoutineDef for Bernoulli {
    const NAME: &'static str = "bernoulli";

    fn inputs(&self) -> usize {
        1
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        floats("bernoulli", inputs[0])?;
        Ok(vec![TensorType { dtype: self.dtype, shape: inputs[0].shape.clone() }])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.seed]
    }
}

attrs! {
    /// `[batches, classes]` of unnormalised log-probabilities → `[batches, samples]` of classes.
    pub struct Multinomial {
        pub seed: i64,
        pub samples: i64,
        pub dtype: DType,
    }
}

impl RoutineDef for Multinomial {
    const NAME: &'static str = "multinomial";

    fn inputs(&self) -> usize {
        1
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        ranks("multinomial", inputs, &[2])?;
        floats("multinomial", inputs[0])?;
        if !self.dtype.is_int() || self.samples < 0 {
            op_error!("multinomial gives integers, not {}", self.dtype);
        }
        Ok(vec![TensorType::new(self.dtype, [inputs[0].shape[0].clone(), self.samples.into()])])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.seed]
    }
}
