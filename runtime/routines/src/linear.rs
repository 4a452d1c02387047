//! Determinants of square matrices, by elimination with row exchanges, in `f64`.

use crate::{Call, Done, Shapes};

pub fn scratch(shapes: &Shapes) -> usize {
    shapes.input(0).last().map_or(0, |n| n * n)
}

/// Input: `[…, n, n]`; output: `[…]`.
pub fn det(call: &mut Call) -> Done {
    let x = call.inputs[0];
    let n = x.dim(x.rank().wrapping_sub(1));
    let [out, ..] = &mut call.outputs;
    let Some(cells) = call.scratch.get_mut(..n * n) else { return Ok(()) };
    for m in 0..out.len() {
        cells.iter_mut().enumerate().for_each(|(i, c)| *c = x.float(m * n * n + i).to_bits());
        let mut result = 1.0;
        for column in 0..n {
            let value = |cells: &[u64], row: usize, column: usize| cells.get(row * n + column).map_or(0.0, |c| f64::from_bits(*c));
            let largest =
                |best: usize, row: usize| if value(cells, row, column).abs() > value(cells, best, column).abs() { row } else { best };
            let pivot = (column..n).fold(column, largest);
            if pivot != column {
                result = -result;
                for j in 0..n {
                    let (a, b) = (column * n + j, pivot * n + j);
                    if a < cells.len() && b < cells.len() {
                        cells.swap(a, b);
                    }
                }
            }
            let diagonal = value(cells, column, column);
            result *= diagonal;
            if diagonal == 0.0 {
                break;
            }
            for row in column + 1..n {
                let factor = value(cells, row, column) / diagonal;
                for j in column..n {
                    let next = value(cells, row, j) - factor * value(cells, column, j);
                    if let Some(c) = cells.get_mut(row * n + j) {
                        *c = next.to_bits();
                    }
                }
            }
        }
        out.set_float(m, result);
    }
    Ok(())
}
