//! Operators whose positions are tensors: `dynamic_slice`, `dynamic_pad`, `reduce_axes`, `cumulate`. The sizes of their results are
//! declared, and checked at run time.

use super::{Reduction, RoutineDef, integers, walkable};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::OpError;
use crate::{attr_enum, attrs, op_error};

attrs! {
    /// `x, starts, ends, axes, steps`, with ONNX's meaning; no axes are the first ones, no steps are 1.
    pub struct DynamicSlice {
        pub shape: Vec<Dim>,
    }
}

fn declared(name: &str, shape: &[Dim], inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
    walkable(name, inputs[0])?;
    if shape.len() != inputs[0].rank() {
        op_error!("{name}: the result {shape:?} has not the rank of {}", inputs[0]);
    }
    Ok(vec![TensorType { dtype: inputs[0].dtype, shape: shape.to_vec() }])
}

impl RoutineDef for DynamicSlice {
    const NAME: &'static str = "dynamic_slice";

    fn inputs(&self) -> usize {
        5
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        inputs[1..].iter().try_for_each(|t| integers("dynamic_slice", t))?;
        declared("dynamic_slice", &self.shape, inputs)
    }
}

attr_enum! {
    /// What padding repeats.
    pub enum PadMode {
        Constant = "constant",
        Reflect = "reflect",
        Edge = "edge",
        Wrap = "wrap",
    }
}

attrs! {
    /// `x, pads, value, axes`: pads are begins, then ends; no axes are all. Negative pads crop.
    pub struct DynamicPad {
        pub mode: PadMode,
        pub shape: Vec<Dim>,
    }
}

impl RoutineDef for DynamicPad {
    const NAME: &'static str = "dynamic_pad";

    fn inputs(&self) -> usize {
        4
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        [inputs[1], inputs[3]].iter().try_for_each(|t| integers("dynamic_pad", t))?;
        if inputs[2].dtype != inputs[0].dtype {
            op_error!("dynamic_pad: {} cannot be padded with {}", inputs[0], inputs[2]);
        }
        declared("dynamic_pad", &self.shape, inputs)
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.mode as i64]
    }
}

attrs! {
    /// `x, axes`: combines along axes that are known at run time only; no axes are all, or none with `noop`.
    pub struct ReduceAxes {
        pub kind: Reduction,
        pub keepdims: bool,
        pub noop: bool,
        pub shape: Vec<Dim>,
    }
}

impl RoutineDef for ReduceAxes {
    const NAME: &'static str = "reduce_axes";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        integers("reduce_axes", inputs[1])?;
        walkable("reduce_axes", inputs[0])?;
        Ok(vec![TensorType { dtype: inputs[0].dtype, shape: self.shape.clone() }])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.kind as i64, self.keepdims.into(), self.noop.into()]
    }
}

attrs! {
    /// `x, axis`: running sums or products.
    pub struct Cumulate {
        pub product: bool,
        /// An element is left out of its own result.
        pub exclusive: bool,
        pub reverse: bool,
    }
}

impl RoutineDef for Cumulate {
    const NAME: &'static str = "cumulate";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        integers("cumulate", inputs[1])?;
        if inputs[1].elements() != 1 {
            op_error!("cumulate needs one axis, found {}", inputs[1]);
        }
        Ok(vec![inputs[0].clone()])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.product.into(), self.exclusive.into(), self.reverse.into()]
    }
}
