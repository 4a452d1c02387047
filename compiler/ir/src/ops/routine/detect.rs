//! `non_max_suppression(boxes, scores, most, overlap, least)` and `det(x)`.

use super::{RoutineDef, floats, one, ranks};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::TensorType;
use crate::ops::OpError;
use crate::{attrs, op_error};

attrs! {
    /// Boxes `[batches, n, 4]` in order of their scores `[batches, classes, n]`, without those that overlap a better one of the same
    /// class: `i64` `[count, 3]` of batch, class, box. The count is declared, and checked at run time.
    pub struct NonMaxSuppression {
        /// Boxes are centre and size, not two corners.
        pub center: bool,
        /// There may be fewer; rows of −1 follow.
        pub padded: bool,
        pub count: Vec<Dim>,
    }
}

impl RoutineDef for NonMaxSuppression {
    const NAME: &'static str = "non_max_suppression";

    fn inputs(&self) -> usize {
        5
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        ranks("non_max_suppression", inputs, &[3, 3])?;
        let (boxes, scores) = (inputs[0], inputs[1]);
        let fits = boxes.shape[2] == 4 && boxes.shape[0] == scores.shape[0] && boxes.shape[1] == scores.shape[2];
        if !fits || inputs[2..].iter().any(|t| t.elements() != 1) {
            op_error!("non_max_suppression: boxes {boxes} and scores {scores} do not fit");
        }
        Ok(vec![TensorType::new(DType::I64, [one("non_max_suppression", &self.count)?, 3i64.into()])])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.center.into(), self.padded.into()]
    }
}

attrs! {
    /// Determinants of the matrices in the last two dimensions.
    pub struct Det {}
}

impl RoutineDef for Det {
    const NAME: &'static str = "det";

    fn inputs(&self) -> usize {
        1
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        floats("det", inputs[0])?;
        let shape = &inputs[0].shape;
        let square = shape.len() >= 2 && shape[shape.len() - 1] == shape[shape.len() - 2];
        if !square {
            op_error!("det needs square matrices, found {}", inputs[0]);
        }
        Ok(vec![TensorType { dtype: inputs[0].dtype, shape: shape[..shape.len() - 2].to_vec() }])
    }
}
