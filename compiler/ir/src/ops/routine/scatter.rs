//! Lookups and updates by tensors of indices: `gather_elements`, `gather_nd`, `scatter_elements`, `scatter_nd`, `tensor_scatter`.
//! Negative indices count from the end; others outside the axis are an error.

use super::{Reduction, RoutineDef, in_rank, integers};
use crate::graph::TensorType;
use crate::ops::OpError;
use crate::{attrs, op_error};

attrs! {
    /// `data, indices` of one rank: each index replaces the coordinate along `axis` of its own place.
    pub struct GatherElements {
        pub axis: i64,
    }
}

fn same_rank(name: &str, axis: i64, inputs: &[&TensorType]) -> Result<(), OpError> {
    in_rank(name, axis, inputs[0])?;
    integers(name, inputs[1])?;
    if inputs[1].rank() != inputs[0].rank() {
        op_error!("{name}: indices {} have not the rank of {}", inputs[1], inputs[0]);
    }
    Ok(())
}

impl RoutineDef for GatherElements {
    const NAME: &'static str = "gather_elements";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        same_rank("gather_elements", self.axis, inputs)?;
        Ok(vec![TensorType { dtype: inputs[0].dtype, shape: inputs[1].shape.clone() }])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.axis]
    }
}

attrs! {
    /// `data, indices, updates`: data with elements replaced by, or combined with, the updates.
    pub struct ScatterElements {
        pub axis: i64,
        pub reduction: Reduction,
    }
}

impl RoutineDef for ScatterElements {
    const NAME: &'static str = "scatter_elements";

    fn inputs(&self) -> usize {
        3
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        same_rank("scatter_elements", self.axis, inputs)?;
        if inputs[2].shape != inputs[1].shape || inputs[2].dtype != inputs[0].dtype {
            op_error!("scatter_elements: updates {} do not fit indices {} and {}", inputs[2], inputs[1], inputs[0]);
        }
        Ok(vec![inputs[0].clone()])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.axis, self.reduction as i64]
    }
}

/// The length of the tuples, the last dimension of the indices.
fn tuple(name: &str, batch: usize, inputs: &[&TensorType]) -> Result<usize, OpError> {
    integers(name, inputs[1])?;
    let length = inputs[1].shape.last().and_then(|d| d.as_const()).and_then(|n| usize::try_from(n).ok());
    match length {
        Some(n) if n.saturating_add(batch) <= inputs[0].rank() && batch < inputs[1].rank() => Ok(n),
        _ => op_error!("{name}: the tuples of {} do not index {}", inputs[1], inputs[0]),
    }
}

attrs! {
    /// `data, indices`: the slices that tuples of indices, the last dimension of `indices`, name. The first `batch` dimensions run along.
    pub struct GatherNd {
        pub batch: i64,
    }
}

impl RoutineDef for GatherNd {
    const NAME: &'static str = "gather_nd";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let batch = self.batch as usize;
        let n = tuple("gather_nd", batch, inputs)?;
        if inputs[0].shape[..batch] != inputs[1].shape[..batch] {
            op_error!("gather_nd: {} and {} differ in their first {batch} dimensions", inputs[0], inputs[1]);
        }
        let places = &inputs[1].shape[..inputs[1].rank() - 1];
        let shape = places.iter().chain(&inputs[0].shape[batch + n..]).cloned().collect();
        Ok(vec![TensorType { dtype: inputs[0].dtype, shape }])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.batch]
    }
}

attrs! {
    /// `data, indices, updates`: data with slices replaced by, or combined with, the updates.
    pub struct ScatterNd {
        pub reduction: Reduction,
    }
}

impl RoutineDef for ScatterNd {
    const NAME: &'static str = "scatter_nd";

    fn inputs(&self) -> usize {
        3
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let n = tuple("scatter_nd", 0, inputs)?;
        let places = &inputs[1].shape[..inputs[1].rank() - 1];
        if !inputs[2].shape.iter().eq(places.iter().chain(&inputs[0].shape[n..])) || inputs[2].dtype != inputs[0].dtype {
            op_error!("scatter_nd: updates {} do not fit indices {} and {}", inputs[2], inputs[1], inputs[0]);
        }
        Ok(vec![inputs[0].clone()])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.reduction as i64]
    }
}

attrs! {
    /// `cache, update, first`: the cache with the update at positions `first[batch]…` of `axis`.
    pub struct TensorScatter {
        pub axis: i64,
        /// Positions wrap around.
        pub circular: bool,
    }
}

impl RoutineDef for TensorScatter {
    const NAME: &'static str = "tensor_scatter";

    fn inputs(&self) -> usize {
        3
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let axis = in_rank("tensor_scatter", self.axis, inputs[0])?;
        integers("tensor_scatter", inputs[2])?;
        let fits = |d: usize| d == axis || inputs[0].shape[d] == inputs[1].shape[d];
        let same = inputs[0].rank() == inputs[1].rank() && (0..inputs[0].rank()).all(fits);
        if !same || axis == 0 || inputs[2].elements() != inputs[0].shape[0] || inputs[0].dtype != inputs[1].dtype {
            op_error!("tensor_scatter: {} cannot be written into {} at {}", inputs[1], inputs[0], inputs[2]);
        }
        Ok(vec![inputs[0].clone()])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.axis, self.circular.into()]
    }
}
