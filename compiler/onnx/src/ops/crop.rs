//! Cropping and padding around the centre.

use super::{Row, one};
use crate::error::{Fault, invalid};
use crate::site::Site;
use ir::ops::shuffle::pad::Pad;
use ir::{Dim, ValueId};

pub(super) const ROWS: &[Row] = &[one("CenterCropPad", center_crop_pad)];

/// Cuts off half of what is too much at either end, or adds half of what is missing; odd rests go to the end.
fn center_crop_pad(s: &mut Site) -> Result<ValueId, Fault> {
    let (mut x, target) = (s.input(0)?, s.input(1)?);
    let target = s.ints(target, "shape")?;
    let rank = s.rank(x);
    let axes: Vec<i64> = s.attributes.ints("axes")?.map_or_else(|| (0..rank as i64).collect(), <[i64]>::to_vec);
    if axes.len() != target.len() {
        invalid!("the shape {target:?} does not fit the axes {axes:?}");
    }
    let (mut before, mut after) = (vec![Dim::from(0i64); rank], vec![Dim::from(0i64); rank]);
    for (axis, wanted) in axes.iter().zip(target) {
        let axis = s.axis(*axis, rank)?;
        let size = s.shape(x)[axis].as_const().ok_or_else(|| Fault::run_time("size of the input"))?;
        if wanted < 0 {
            invalid!("a dimension cannot have the size {wanted}");
        }
        if size > wanted {
            x = s.slice(x, axis, Dim::from((size - wanted) / 2), Dim::from(wanted), 1)?;
        } else {
            (before[axis], after[axis]) = (Dim::from((wanted - size) / 2), Dim::from(wanted - size - (wanted - size) / 2));
        }
    }
    if before.iter().chain(&after).all(|d| *d == 0) {
        return Ok(x);
    }
    s.add(Pad { before, after, value: 0.0 }, &[x])
}
