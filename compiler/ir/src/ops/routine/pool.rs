//! Windows with positions: `max_pool_indices`, `max_unpool`, `max_roi_pool`, `col2im`.

use super::{RoutineDef, floats, integers, numbers, one, ranks};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::OpError;
use crate::ops::contract::conv::window_size;
use crate::{attrs, op_error};

/// Most spatial dimensions.
const AXES: usize = 4;

attrs! {
    /// `[N, C, spatial…]`: maxima of windows, and their positions in the flattened input (`i64`). Pads are begins, then ends.
    pub struct MaxPoolIndices {
        pub kernel: Vec<i64>,
        pub strides: Vec<i64>,
        pub pads: Vec<i64>,
        pub dilations: Vec<i64>,
        /// Positions count the first spatial dimension fastest.
        pub columns_first: bool,
    }
}

impl RoutineDef for MaxPoolIndices {
    const NAME: &'static str = "max_pool_indices";

    fn inputs(&self) -> usize {
        1
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let (x, n) = (inputs[0], self.kernel.len());
        let lists = [self.strides.len(), self.dilations.len(), self.pads.len() / 2];
        if x.rank() != n + 2 || n > AXES || lists != [n; 3] || self.strides.iter().chain(&self.kernel).any(|v| *v < 1) {
            op_error!("max_pool_indices: the window {:?} does not fit {x}", self.kernel);
        }
        let mut shape = x.shape.clone();
        for i in 0..n {
            shape[2 + i] =
                window_size(&x.shape[2 + i], self.kernel[i], self.strides[i], self.dilations[i], self.pads[i] + self.pads[n + i]);
        }
        Ok(vec![TensorType { dtype: x.dtype, shape: shape.clone() }, TensorType { dtype: DType::I64, shape }])
    }
    fn ints(&self) -> Vec<i64> {
        let axes = (0..self.kernel.len()).flat_map(|i| [self.kernel[i], self.strides[i], self.pads[i], self.dilations[i]]);
        std::iter::once(self.columns_first.into()).chain(axes).collect()
    }
}

attrs! {
    /// `x, positions`: zeros of `shape` with the elements where a pooling of an image of the shape `original` took them from.
    pub struct MaxUnpool {
        pub original: Vec<Dim>,
        pub shape: Vec<Dim>,
    }
}

impl RoutineDef for MaxUnpool {
    const NAME: &'static str = "max_unpool";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        integers("max_unpool", inputs[1])?;
        let rank = inputs[0].rank();
        if inputs[0].shape != inputs[1].shape || self.original.len() != rank || self.shape.len() != rank {
            op_error!("max_unpool: {} and {} do not fit {:?}", inputs[0], inputs[1], self.shape);
        }
        Ok(vec![TensorType { dtype: inputs[0].dtype, shape: self.shape.clone() }])
    }
    fn ints(&self) -> Vec<i64> {
        numbers(&self.original)
    }
}

attrs! {
    /// `x, regions`: maxima over a grid of `size` (height, width) on each region `[batch, x1, y1, x2, y2] · scale`.
    pub struct MaxRoiPool {
        pub size: Vec<i64>,
        pub scale: f64,
    }
}

impl RoutineDef for MaxRoiPool {
    const NAME: &'static str = "max_roi_pool";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        ranks("max_roi_pool", inputs, &[4, 2])?;
        inputs.iter().try_for_each(|t| floats("max_roi_pool", t))?;
        let [height, width] = self.size[..] else { op_error!("max_roi_pool: {:?} is not a height and a width", self.size) };
        if inputs[1].shape[1] != 5 || height < 1 || width < 1 {
            op_error!("max_roi_pool: regions of five numbers are needed, found {}", inputs[1]);
        }
        let shape = vec![inputs[1].shape[0].clone(), inputs[0].shape[1].clone(), height.into(), width.into()];
        Ok(vec![TensorType { dtype: inputs[0].dtype, shape }])
    }
    fn floats(&self) -> Vec<f64> {
        vec![self.scale]
    }
}

attrs! {
    /// `[N, C · block, positions], block` → `[N, C, image…]`: blocks at every position of a sliding window, added up. The size of
    /// the block is a list; that it fits is checked at run time.
    pub struct Col2Im {
        pub channels: Vec<Dim>,
        pub image: Vec<Dim>,
        pub dilations: Vec<i64>,
        pub pads: Vec<i64>,
        pub strides: Vec<i64>,
    }
}

impl RoutineDef for Col2Im {
    const NAME: &'static str = "col2im";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let (x, n) = (inputs[0], self.image.len());
        ranks("col2im", inputs, &[3, 1])?;
        integers("col2im", inputs[1])?;
        let lists = [self.dilations.len(), self.pads.len() / 2, self.strides.len()];
        let positive = self.dilations.iter().chain(&self.strides).all(|v| *v > 0);
        if lists != [n; 3] || n == 0 || n > AXES || !positive || inputs[1].shape[0] != n as i64 {
            op_error!("col2im: blocks {} do not fit an image {:?}", inputs[1], self.image);
        }
        let channels = one("col2im", &self.channels)?;
        let shape = [x.shape[0].clone(), channels].into_iter().chain(self.image.iter().cloned()).collect();
        Ok(vec![TensorType { dtype: x.dtype, shape }])
    }
    fn ints(&self) -> Vec<i64> {
        let n = self.image.len();
        (0..n).flat_map(|i| [self.dilations[i], self.pads[i], self.pads[n + i], self.strides[i]]).collect()
    }
}
