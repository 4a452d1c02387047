//! Weights for minimal filtering: nine packed matrices in the file (of 3x3 taps), thirty-six in the module's memory. The
//! thirty-six would take four times the memory of the nine, and reading them from there as long as computing them. So every run
//! makes them anew, a block of columns at a time, and reads them back from the cache.

use super::nest::Nest;
use super::transform;
use super::winograd::Form;
use crate::cx::{Cx, NodeCx, pointer};
use crate::view::{Linear, Source, View};
use crate::write::halves;
use crate::write::pack::{self, Panels};
use ir::DType;
use ir::algorithm::Contract;
use kernel::{F32x4, I32, K, V, load};

/// Transformed weights that are made at a time: they should still be in the last cache when they are read.
const BLOCK_BYTES: usize = 4 << 20;
/// Matrices that are a multiple of this apart map to the same cache sets.
const CACHE_WAY: usize = 4096;

/// Columns whose weights are there at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    pub first_column: usize,
    pub panels: Panels,
}

/// The weights of one layer.
pub struct Weights {
    form: Form,
    /// A matrix for each tap, all columns.
    plain: View,
    /// Shape of each of them.
    panels: Panels,
    pub blocks: Vec<Block>,
    /// A matrix for each value, the columns of one block.
    pub transformed: View,
}

impl Weights {
    /// Adds the weights of `contract`, and room for transformed ones.
    pub fn new(cx: &mut Cx, nx: &NodeCx, contract: &Contract, form: &Form, panels: &Panels) -> Weights {
        let tensor = nx.constants[contract.b.operand].as_ref().expect("checked when the method was chosen");
        let b = crate::view::linear(&nx.inputs[contract.b.operand], &contract.b.index, contract.axes.len());
        let axes = &form.axes;
        let [kw, m, c] = [axes.tap_column, axes.output, axes.channel].map(|axis| b.strides[axis]);
        let kh = axes.tap_row.map_or(0, |axis| b.strides[axis]);
        let panels = spread(*panels);
        let nest = Nest::taps(&[(form.y.taps, kh), (form.x.taps, kw)], (panels.columns, m), (panels.depth, c));
        let bytes = pack::constant(tensor, &Linear { base: b.base, strides: vec![] }, &nest, &panels);
        let plain = halves::constant(cx, &nx.name, bytes, nx.origin);
        let most = cx.options.winograd_budget.map_or(BLOCK_BYTES, |bytes| BLOCK_BYTES.min(bytes as usize));
        let blocks = blocks(form.values(), &panels, most);
        let largest = blocks.iter().map(|b| form.values() * b.panels.bytes()).max().unwrap_or(0);
        let room = cx.buffer(&format!("{} transformed", nx.name), largest);
        cx.every_run.push(room);
        let transformed = View::dense(Source::Buffer(room), DType::F32, &[largest / 4]);
        Weights { form: *form, plain, panels, blocks, transformed }
    }

    /// Adds the step that makes the transformed weights of a block.
    pub fn transform(&self, cx: &mut Cx, nx: &NodeCx, block: &Block) {
        let (from_stride, to_stride) = (self.panels.bytes(), block.panels.bytes());
        let tasks = tasks(&block.panels);
        let per_task = vectors(&block.panels).div_ceil(tasks);
        let bytes = 16 * vectors(&block.panels);
        let mut k = K::new(format!("winograd_{}_weights_f32", self.form.name()));
        let (from, to) = (pointer(&mut k, "from", &self.plain), pointer(&mut k, "to", &self.transformed));
        let start = k.let_("start", k.task() * (per_task * 16) as i32);
        let end = k.let_("end", start + (per_task * 16) as i32);
        let end = k.let_("end", kernel::select::<I32>(kernel::i32_lt_u(end, bytes), end, bytes));
        k.for_("at", start, end, 16, |k, at| {
            let source = k.let_("source", from + at);
            let target = k.let_("target", to + at);
            let Form { y, x, .. } = &self.form;
            let at = |i: usize, j: usize| ((i * x.taps + j) * from_stride) as u32;
            let columns: Vec<_> = (0..x.taps)
                .map(|j| {
                    let g: Vec<V<F32x4>> = (0..y.taps).map(|i| k.let_("g", load::<F32x4>(source, at(i, j)))).collect();
                    y.filter(k, &g)
                })
                .collect();
            for (i, row) in transform::rows(&columns).iter().enumerate() {
                for (j, value) in x.filter(k, row).iter().enumerate() {
                    k.store(target, ((i * x.patch() + j) * to_stride) as u32, *value);
                }
            }
        });
        let first = (block.first_column * block.panels.depth) as i64;
        let args = vec![self.plain.arg_at(first), self.transformed.arg_at(0)];
        cx.step(k.finish(), args, tasks as u32, 0, nx.origin, &[&self.transformed], &[]);
    }
}

/// Cuts the columns into blocks of equally many panels and about so many `bytes`; the last one has the narrower panel, too.
fn blocks(values: usize, panels: &Panels, bytes: usize) -> Vec<Block> {
    let width = 4 * panels.vectors;
    let panel_bytes = values * panels.depth * width * 4;
    let most = (bytes / panel_bytes.max(1)).max(1);
    let count = panels.full().div_ceil(most).max(1);
    let each = panels.full().div_ceil(count).max(1) * width;
    let starts: Vec<usize> = (0..count).map(|i| i * each).filter(|start| *start < panels.columns).collect();
    let last = starts.len() - 1;
    let block = |(i, first_column): (usize, &usize)| {
        let columns = if i == last { panels.columns - first_column } else { each };
        Block { first_column: *first_column, panels: spread(Panels { columns, gap: 0, ..*panels }) }
    };
    starts.iter().enumerate().map(block).collect()
}

/// With matrices so far apart that a column's elements do not share one cache set.
fn spread(panels: Panels) -> Panels {
    let panels = Panels { gap: 0, ..panels };
    Panels { gap: if panels.bytes().is_multiple_of(CACHE_WAY) { 16 } else { 0 }, ..panels }
}

/// Vectors in one matrix.
fn vectors(panels: &Panels) -> usize {
    Panels { gap: 0, ..*panels }.bytes() / 16
}

fn tasks(panels: &Panels) -> usize {
    let vectors = vectors(panels);
    vectors.div_ceil(vectors.div_ceil(64).max(256).min(vectors.max(1)))
}
