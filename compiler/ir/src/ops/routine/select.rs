//! Operators that choose elements by their values: `top_k`, `unique`, `nonzero`, `compress`, `reverse_sequence`. Counts that
//! depend on data are declared, and checked at run time.

use super::{RoutineDef, in_rank, integers, one, ranks};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::OpError;
use crate::{attrs, op_error};

fn resized(x: &TensorType, axis: usize, size: Dim) -> TensorType {
    let mut ty = x.clone();
    ty.shape[axis] = size;
    ty
}

attrs! {
    /// The `k` largest or smallest elements along an axis, in order; equal ones by position. Results: values, positions (`i64`).
    pub struct TopK {
        pub axis: i64,
        pub largest: bool,
        pub k: Vec<Dim>,
    }
}

impl RoutineDef for TopK {
    const NAME: &'static str = "top_k";

    fn inputs(&self) -> usize {
        1
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let axis = in_rank("top_k", self.axis, inputs[0])?;
        let k = one("top_k", &self.k)?;
        if let (Some(k), Some(n)) = (k.as_const(), inputs[0].shape[axis].as_const())
            && !(0..=n).contains(&k)
        {
            op_error!("top_k: {k} elements of {n}, dimension {axis} of {}", inputs[0]);
        }
        let values = resized(inputs[0], axis, k);
        let positions = TensorType { dtype: DType::I64, ..values.clone() };
        Ok(vec![values, positions])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.axis, self.largest.into()]
    }
}

attrs! {
    /// The different slices along `axis`, or elements (−1); in the order of first occurrence unless `sorted`. Results: these,
    /// their first positions, the number of each position's, counts; all `i64` but the first.
    pub struct Unique {
        pub axis: i64,
        pub sorted: bool,
        pub count: Vec<Dim>,
    }
}

impl RoutineDef for Unique {
    const NAME: &'static str = "unique";

    fn inputs(&self) -> usize {
        1
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let count = one("unique", &self.count)?;
        let list = |n: Dim| TensorType::new(DType::I64, [n]);
        let (values, n) = match self.axis {
            -1 => (TensorType { dtype: inputs[0].dtype, shape: vec![count.clone()] }, inputs[0].elements()),
            axis => {
                let axis = in_rank("unique", axis, inputs[0])?;
                (resized(inputs[0], axis, count.clone()), inputs[0].shape[axis].clone())
            }
        };
        Ok(vec![values, list(count.clone()), list(n), list(count)])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.axis, self.sorted.into()]
    }
}

attrs! {
    /// Indices of the elements that are not 0: `i64` `[rank, count]`.
    pub struct NonZero {
        pub count: Vec<Dim>,
    }
}

impl RoutineDef for NonZero {
    const NAME: &'static str = "nonzero";

    fn inputs(&self) -> usize {
        1
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        Ok(vec![TensorType::new(DType::I64, [Dim::from(inputs[0].rank() as i64), one("nonzero", &self.count)?])])
    }
}

attrs! {
    /// `x, condition`: the slices along `axis` where the list of bools, which may be shorter, is true.
    pub struct Compress {
        pub axis: i64,
        pub count: Vec<Dim>,
    }
}

impl RoutineDef for Compress {
    const NAME: &'static str = "compress";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        ranks("compress", inputs, &[usize::MAX, 1])?;
        if inputs[1].dtype != DType::Bool {
            op_error!("compress needs a list of bools, found {}", inputs[1]);
        }
        let axis = in_rank("compress", self.axis, inputs[0])?;
        Ok(vec![resized(inputs[0], axis, one("compress", &self.count)?)])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.axis]
    }
}

attrs! {
    /// `x, lengths`: the first elements of each batch in reverse. The axes are 0 and 1 in some order.
    pub struct ReverseSequence {
        pub time: i64,
        pub batch: i64,
    }
}

impl RoutineDef for ReverseSequence {
    const NAME: &'static str = "reverse_sequence";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        integers("reverse_sequence", inputs[1])?;
        ranks("reverse_sequence", inputs, &[usize::MAX, 1])?;
        let fits = inputs[0].rank() >= 2 && matches!((self.time, self.batch), (0, 1) | (1, 0));
        if !fits || inputs[1].shape[0] != inputs[0].shape[self.batch as usize] {
            op_error!("reverse_sequence: lengths {} do not fit {} along {} and {}", inputs[1], inputs[0], self.time, self.batch);
        }
        Ok(vec![inputs[0].clone()])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.time, self.batch]
    }
}
