//! The order of packed byte weights: `[panel][run][quad][vector][column][4]`. A *run* is a stretch of the depth whose
//! elements lie side by side in A, a *quad* four of them. A run that is no multiple of four ends with a quad that reaches
//! back: what it repeats has zero weights, so that nothing is read beyond the run.

use crate::view::Linear;
use crate::write::contract::nest::{Nest, positions};
use ir::Tensor;

/// Columns of a full panel.
pub const WIDTH: usize = 8;

/// Shape of packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    pub columns: usize,
    /// Number of runs and elements of each; at least four.
    pub runs: usize,
    pub run: usize,
}

impl Panels {
    /// Number of full panels.
    pub fn full(&self) -> usize {
        self.columns / WIDTH
    }
    /// Number of panels, the narrower last one included.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(WIDTH)
    }
    /// Where the quads of a run start.
    pub fn quads(&self) -> Vec<usize> {
        let whole = (0..self.run / 4).map(|q| 4 * q);
        whole.chain((!self.run.is_multiple_of(4)).then(|| self.run - 4)).collect()
    }
    /// Bytes of one run of a panel of `vectors` times four columns.
    pub fn run_bytes(&self, vectors: usize) -> usize {
        self.run.div_ceil(4) * vectors * 16
    }
    /// Bytes of a row of A in 16-bit elements.
    pub fn widened_bytes(&self) -> usize {
        8 * self.runs * self.run.div_ceil(4)
    }
    pub fn panel_bytes(&self, vectors: usize) -> usize {
        self.runs * self.run_bytes(vectors)
    }
    /// Vectors of four columns in panel `i`.
    fn vectors(&self, i: usize) -> usize {
        (self.columns - i * WIDTH).min(WIDTH).div_ceil(4)
    }
    pub fn bytes(&self) -> usize {
        (0..self.count()).map(|i| self.panel_bytes(self.vectors(i))).sum()
    }
}

/// The bytes of constant weights in packed order.
pub fn constant(tensor: &Tensor, b: &Linear, nest: &Nest, panels: &Panels) -> Vec<u8> {
    let from = tensor.as_slice::<i8>();
    let columns = positions(&nest.columns_in_b);
    let depth = positions(&nest.depth_in_b);
    let mut out = Vec::with_capacity(panels.bytes());
    for panel in 0..panels.count() {
        let width = 4 * panels.vectors(panel);
        for run in depth.chunks(panels.run) {
            for (q, start) in panels.quads().into_iter().enumerate() {
                // What the quads before have done already.
                let done = 4 * q - start;
                for column in panel * WIDTH..panel * WIDTH + width {
                    for (j, down) in run[start..start + 4].iter().enumerate() {
                        let weight = columns.get(column).filter(|_| j >= done).map(|across| from[(b.base + down + across) as usize]);
                        out.push(weight.unwrap_or(0) as u8);
                    }
                }
            }
        }
    }
    out
}
