//! Non-maximum suppression.

use crate::tensor::Tensor;
use crate::{Call, Done, Shapes, expect_size, frame, sort};

/// One list of boxes in order of score, one of the chosen ones.
pub fn scratch(shapes: &Shapes) -> usize {
    shapes.input(0)[1] + 1
}

/// Corners in order, and area.
struct Region {
    low: [f64; 2],
    high: [f64; 2],
}

impl Region {
    fn read(boxes: &Tensor, at: usize, center: bool) -> Region {
        let [a, b, c, d] = [boxes.float(4 * at), boxes.float(4 * at + 1), boxes.float(4 * at + 2), boxes.float(4 * at + 3)];
        if center {
            // x and y of the centre, width, height.
            Region { low: [a - c / 2.0, b - d / 2.0], high: [a + c / 2.0, b + d / 2.0] }
        } else {
            // Two opposite corners in any order.
            Region { low: [a.min(c), b.min(d)], high: [a.max(c), b.max(d)] }
        }
    }

    fn area(&self) -> f64 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Intersection over union.
    fn overlap(&self, other: &Region) -> f64 {
        let width = (self.high[0].min(other.high[0]) - self.low[0].max(other.low[0])).max(0.0);
        let height = (self.high[1].min(other.high[1]) - self.low[1].max(other.low[1])).max(0.0);
        let common = width * height;
        let union = self.area() + other.area() - common;
        if self.area() <= 0.0 || other.area() <= 0.0 || union <= 0.0 { 0.0 } else { common / union }
    }
}

/// Inputs: boxes `[batches, n, 4]`, scores `[batches, classes, n]`, most boxes per class, largest overlap, smallest score. Integers:
/// whether boxes are centre and size, and whether there may be fewer rows than planned, behind which −1 follows. Output: `i64` `[count, 3]`: batch, class, box.
pub fn non_max_suppression(call: &mut Call) -> Done {
    let [boxes, scores, most, overlap, least, ..] = call.inputs;
    let (center, padded) = (call.int(0) != 0, call.int(1) != 0);
    let [out, ..] = &mut call.outputs;
    let (n, classes) = (boxes.dim(1), scores.dim(1));
    let most = usize::try_from(most.int(0).max(0)).unwrap_or(usize::MAX);
    let (overlap, least) = (overlap.float(0), least.float(0));
    let words = frame::as_u32(call.scratch);
    let (order, chosen) = words.split_at_mut(n.min(words.len()));
    let mut count = 0;
    for batch in 0..boxes.dim(0) {
        for class in 0..classes {
            let first = (batch * classes + class) * n;
            let better = |a: u32, b: u32| (!scores.key(first + a as usize), a) < (!scores.key(first + b as usize), b);
            sort::first_in_order(order, n, better);
            let mut n_chosen = 0;
            for candidate in order.iter() {
                let score = scores.float(first + *candidate as usize);
                if n_chosen >= most || score <= least || score.is_nan() {
                    break;
                }
                let region = Region::read(&boxes, batch * n + *candidate as usize, center);
                let kept = chosen.get(..n_chosen).unwrap_or(&[]);
                let hidden = |other: &u32| Region::read(&boxes, batch * n + *other as usize, center).overlap(&region) > overlap;
                if kept.iter().any(hidden) {
                    continue;
                }
                if let Some(slot) = chosen.get_mut(n_chosen) {
                    *slot = *candidate;
                }
                n_chosen += 1;
                out.set_int(3 * count, batch as i64);
                out.set_int(3 * count + 1, class as i64);
                out.set_int(3 * count + 2, i64::from(*candidate));
                count += 1;
            }
        }
    }
    if padded && count <= out.dim(0) {
        for i in 3 * count..3 * out.dim(0) {
            out.set_int(i, -1);
        }
        return Ok(());
    }
    expect_size(count, out.dim(0))
}
