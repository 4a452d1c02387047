//! Packs recurrent weights into panels: `[panel][depth][gate][units of the panel]`, the last panel narrower and rounded
//! up to whole vectors. Units beyond the layer are zero at export and arbitrary at run time: they reach no stored element.

use super::Tile;
use crate::LowerError;
use crate::cx::{Cx, NodeCx};
use crate::view::View;
use crate::write::shuffle;
use ir::DType;

/// The weights of some gates of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panels {
    pub hidden: usize,
    pub gates: Vec<usize>,
    pub tile: Tile,
}

/// A run of equal panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub first_unit: usize,
    pub count: usize,
    /// Units of each panel.
    pub units: usize,
    /// First element in the packed weights.
    pub start: usize,
}

impl Run {
    pub fn vectors(&self) -> usize {
        self.units.div_ceil(4)
    }
}

impl Panels {
    /// The full panels, then the narrower one; each if there is one.
    pub fn runs(&self) -> Vec<Run> {
        let units = 4 * self.tile.vectors;
        let full = self.hidden / units;
        let runs = [
            Run { first_unit: 0, count: full, units, start: 0 },
            Run { first_unit: full * units, count: 1, units: self.hidden % units, start: full * self.elements(units) },
        ];
        runs.into_iter().filter(|r| r.count * r.units > 0).collect()
    }

    /// Elements of one step of depth of a panel.
    pub fn row(&self, units: usize) -> usize {
        self.gates.len() * units.next_multiple_of(4)
    }

    /// Elements of a panel.
    pub fn elements(&self, units: usize) -> usize {
        self.hidden * self.row(units)
    }

    fn total(&self) -> usize {
        self.runs().iter().map(|r| r.count * self.elements(r.units)).sum()
    }

    /// The bytes of constant weights `[gates · hidden, hidden]`.
    pub fn constant(&self, from: &[f32]) -> Vec<u8> {
        let mut out = vec![0f32; self.total()];
        for run in self.runs() {
            for panel in 0..run.count {
                let start = run.start + panel * self.elements(run.units);
                let first = run.first_unit + panel * run.units;
                for depth in 0..self.hidden {
                    for (g, gate) in self.gates.iter().enumerate() {
                        let to = start + depth * self.row(run.units) + g * run.units.next_multiple_of(4);
                        for unit in 0..run.units {
                            out[to + unit] = from[(gate * self.hidden + first + unit) * self.hidden + depth];
                        }
                    }
                }
            }
        }
        bytemuck::cast_slice(&out).to_vec()
    }

    /// Adds steps that pack weights that are computed at run time, from element `first` of a view whose last two dimensions
    /// are `[gates · hidden, hidden]`; the packed weights.
    pub fn at_run_time(&self, cx: &mut Cx, nx: &NodeCx, view: &View, first: i64) -> Result<View, LowerError> {
        let packed = cx.temporary(&format!("{} packed", nx.name), DType::F32, &[self.total()]);
        let [.., down, across] = view.strides[..] else { unreachable!("weights have rank 3") };
        let hidden = self.hidden;
        // `first` counts elements of a dense tensor.
        let base = view.offset + first / (hidden * hidden) as i64 * hidden as i64 * down;
        for run in self.runs() {
            for (g, gate) in self.gates.iter().enumerate() {
                let shape = vec![run.count, hidden, run.units];
                let row = self.row(run.units) as i64;
                let from = View {
                    shape: shape.clone(),
                    offset: base + (gate * hidden + run.first_unit) as i64 * down,
                    strides: vec![run.units as i64 * down, across, down],
                    ..view.clone()
                };
                let to = View {
                    shape,
                    offset: (run.start + g * run.units.next_multiple_of(4)) as i64,
                    strides: vec![self.elements(run.units) as i64, row, 1],
                    ..packed.clone()
                };
                shuffle::copy(cx, &from, &to, nx.origin)?;
            }
        }
        Ok(packed)
    }
}
