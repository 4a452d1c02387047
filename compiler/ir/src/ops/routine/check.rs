//! `check_sizes(data, list)` and `check_axes(data, axes)`: data, after a check at run time that a tensor which decides a shape has
//! the values that the shape was planned for.

use super::{RoutineDef, integers, numbers, walkable};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::OpError;
use crate::{attrs, op_error};

attrs! {
    /// Element i of the list is `expected[i]`, or `other[i]`, or one of `wild`.
    pub struct CheckSizes {
        pub expected: Vec<Dim>,
        pub other: Vec<Dim>,
        pub wild: Vec<i64>,
    }
}

impl RoutineDef for CheckSizes {
    const NAME: &'static str = "check_sizes";
    const PASSES: bool = true;

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let n = self.expected.len();
        if self.other.len() != n || inputs[1].elements() != n as i64 {
            op_error!("check_sizes: {n} sizes are expected, found {}", inputs[1]);
        }
        Ok(vec![inputs[0].clone()])
    }
    fn ints(&self) -> Vec<i64> {
        // The other value may be −1, which is no size: each is converted for itself.
        let one = |d: &Dim| d.as_const().unwrap_or(i64::MIN);
        let pairs = self.expected.iter().zip(&self.other).flat_map(|(e, o)| [one(e), one(o)]);
        pairs.chain(self.wild.iter().copied()).collect()
    }
}

attrs! {
    /// Inserting (`unsqueeze`) or dropping (`squeeze`) dimensions of size 1 along the axes turns `before` into `after`.
    pub struct CheckAxes {
        pub insert: bool,
        pub before: Vec<Dim>,
        pub after: Vec<Dim>,
    }
}

impl RoutineDef for CheckAxes {
    const NAME: &'static str = "check_axes";
    const PASSES: bool = true;

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        integers("check_axes", inputs[1])?;
        walkable("check_axes", inputs[0])?;
        Ok(vec![inputs[0].clone()])
    }
    fn ints(&self) -> Vec<i64> {
        let mut ints = vec![i64::from(self.insert), self.before.len() as i64];
        ints.extend(numbers(&self.before));
        ints.extend(numbers(&self.after));
        ints
    }
}
